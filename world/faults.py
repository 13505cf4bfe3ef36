"""What may go wrong in a run, drawn from the seed: some faults off, some extreme."""

from __future__ import annotations

from random import Random

import msgspec

MS = 1_000_000
SECOND = 1_000_000_000


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """One field per fault; `FAULTS` says what each does. Those in `_max_ms`, `_ms` are extents, those `_per_minute`
    expected events per minute (of each service, where services are meant), `orders_per_s` is a limit, all others are
    chances per occasion. The defaults are a calm day.
    """

    bus_delay_max_ms: int = 5
    bus_lag_max_ms: int = 0
    bus_drop: float = 0.0
    bus_duplicate: float = 0.0
    bus_cut_per_minute: float = 0.0
    bus_cut_at_answer: float = 0.0
    crash_per_drain: float = 0.0
    crash_per_minute: float = 0.0
    restart_after_max_ms: int = 1_500
    outage_per_minute: float = 0.0
    stall_per_minute: float = 0.0
    clock_jump_per_minute: float = 0.0
    torn_write: float = 0.0
    disk_full_per_minute: float = 0.0
    venue_delay_max_ms: int = 40
    venue_away_per_minute: float = 0.0
    request_lost: float = 0.0
    request_late: float = 0.0
    answer_lost: float = 0.0
    unknown_code: float = 0.0
    server_error: float = 0.0
    throttle_per_minute: float = 0.0
    refused: float = 0.0
    read_fails: float = 0.0
    read_late: float = 0.0
    query_lag_ms: int = 0
    position_lag_ms: int = 0
    position_gap_ms: int = 0
    snapshot_rows: int = 50
    snapshot_torn: float = 0.0
    stream_lost: float = 0.0
    stream_duplicate: float = 0.0
    stream_reorder_ms: int = 0
    stream_drop_per_minute: float = 0.0
    stream_silence_per_minute: float = 0.0
    market_freeze_per_minute: float = 0.0
    list_gaps: float = 0.0
    cancel_late: float = 0.0
    request_expired: float = 0.0
    orders_per_s: int = 0
    rate_penalty_ms: int = 0

    @staticmethod
    def none() -> Faults:
        return Faults()

    @staticmethod
    def swarm(random: Random) -> Faults:
        """Each kind is off in about half of the seeds; where it is on, its size varies by an order of magnitude.

        Those of `UNDRAWN` are always off.
        """

        def some(high: float) -> float:
            return 0.0 if random.random() < 0.5 else high * 10 ** -random.random()

        return Faults(
            bus_delay_max_ms=random.choice((1, 5, 50, 400)),
            bus_lag_max_ms=random.choice((0, 0, 100, 1_500)),
            bus_drop=some(0.1),
            bus_duplicate=some(0.1),
            crash_per_drain=some(0.0125),
            crash_per_minute=some(2.0),
            restart_after_max_ms=random.choice((300, 1_500, 6_000)),
            outage_per_minute=some(0.3),
            stall_per_minute=some(0.5),
            clock_jump_per_minute=some(1.0),
            torn_write=some(0.02),
            disk_full_per_minute=some(0.3),
            venue_delay_max_ms=random.choice((10, 100, 1_500)),
            venue_away_per_minute=some(0.5),
            request_lost=some(0.2),
            request_late=some(0.1),
            answer_lost=some(0.3),
            unknown_code=some(0.1),
            server_error=some(0.2),
            throttle_per_minute=some(1.0),
            refused=some(0.2),
            read_fails=some(0.3),
            read_late=some(0.2),
            query_lag_ms=random.choice((0, 0, 200, 1_500)),
            position_lag_ms=random.choice((0, 0, 500, 2_000)),
            snapshot_rows=random.choice((0, 10, 50, 250)),
            snapshot_torn=some(0.5),
            stream_lost=some(0.3),
            stream_duplicate=some(0.3),
            stream_reorder_ms=random.choice((0, 0, 50, 1_000)),
            stream_drop_per_minute=some(3.0),
            stream_silence_per_minute=some(1.0),
            market_freeze_per_minute=some(1.0),
            cancel_late=some(0.5),
            list_gaps=some(0.3),
            orders_per_s=random.choice((0, 0, 0, 8, 3, 1)),
            rate_penalty_ms=random.choice((0, 0, 0, 500, 5_000)),
            bus_cut_per_minute=some(2.0),
            bus_cut_at_answer=some(0.2),
        )

    def on(self) -> dict[str, float]:
        """What is not as on a calm day."""
        calm = Faults.none()
        figures = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: figure for name, figure in figures.items() if figure != getattr(calm, name)}

    def mix(self) -> str:
        """What is on, in one line: `crash_per_minute=0.31 query_lag_ms=200 ...`."""
        figures = self.on().items()
        return " ".join(f"{name}={figure:.2g}" if figure < 1 else f"{name}={figure:g}" for name, figure in figures)


FAULTS: dict[str, str] = {
    "bus_delay_max_ms": "a message between services takes so long at the most",
    "bus_lag_max_ms": "each link of a publisher to a subscriber is late by its own amount for some seconds, so that "
    "messages of different publishers overtake each other",
    "bus_drop": "a message is lost: published, replayed, requested or answered",
    "bus_duplicate": "a message arrives twice; a request too",
    "bus_cut_per_minute": "for 3 to 12 s a service and one of those that listen to it hear nothing of each other",
    "bus_cut_at_answer": "the same begins with an answer, which is lost, and in half of the cases the service that "
    "gave it dies",
    "crash_per_drain": "a core dies in a drain: before the commit, after it, or half-way through the effects",
    "crash_per_minute": "a core dies at a random moment",
    "restart_after_max_ms": "how long it takes at the most until it runs again",
    "outage_per_minute": "a service dies and stays down for 5 to 40 s; the risk service too",
    "stall_per_minute": "a process is stopped for 2 to 12 s and goes on",
    "clock_jump_per_minute": "the wall clock of the machine is set forward or back by up to 10 s",
    "torn_write": "the power fails in the middle of a write: nothing of the batch survives",
    "snapshot_rows": "a snapshot of execution's journal is made after so many rows, 0 for never",
    "snapshot_torn": "a snapshot ends somewhere in its middle",
    "disk_full_per_minute": "the disk of one journal is full for 5 to 30 s, with more or less reserve",
    "venue_delay_max_ms": "a request to the venue, or its answer, takes so long at the most",
    "venue_away_per_minute": "the venue cannot be reached for 2 to 30 s; its market and our orders go on",
    "request_lost": "an order request never arrives, and times out",
    "request_late": "an order request arrives seconds late, after it has timed out",
    "answer_lost": "an order request is carried out and its answer is lost",
    "unknown_code": "it is carried out and answered with a code that nobody listed",
    "server_error": "it is answered with a 5xx, carried out or not",
    "throttle_per_minute": "for 1 to 8 s the venue refuses requests because there are too many",
    "refused": "an order is refused for a reason of the venue's own",
    "read_fails": "a read fails",
    "read_late": "what a read saw arrives up to 6 s later",
    "query_lag_ms": "orders and fills younger than this are in no list yet",
    "list_gaps": "an order is missing in a list of orders, as pages move while they are read",
    "position_lag_ms": "the positions shown are so old",
    "position_gap_ms": "in each minute a position is in no list for so long, as by a copy of the venue's that lags",
    "stream_lost": "a push is missing on a stream that stays up",
    "stream_duplicate": "a push comes twice",
    "stream_reorder_ms": "pushes overtake each other by so much",
    "stream_drop_per_minute": "the private stream breaks",
    "stream_silence_per_minute": "the private stream stays up and tells nothing for 5 to 40 s",
    "market_freeze_per_minute": "market data stop for 3 to 30 s, or the last ones come again and again",
    "cancel_late": "a cancel is acknowledged and carried out up to 4 s later, and the order may trade meanwhile",
    "orders_per_s": "of placements, of amendments and of cancels so many are taken in a second, more are refused; "
    "0 for the exchange's own limit",
    "rate_penalty_ms": "after one too many of a kind, all of that kind are refused for so long",
    "request_expired": "an opening order arrives 13 to 25 s late, long after the venue should have dropped it: "
    "more can be opened than was granted",
}
"""What each fault does."""

UNDRAWN: frozenset[str] = frozenset({"position_gap_ms", "request_expired"})
"""Those that no seed draws: the venue breaks its word, and not every promise can be kept, or they came later."""

"""What may go wrong in a run, drawn from the seed: some faults off, some extreme."""

from __future__ import annotations

from random import Random

import msgspec

MS = 1_000_000
SECOND = 1_000_000_000


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities are per occasion unless the name says otherwise.

    crash_per_drain: a core dies in one of its drains (before the commit, after it, or half-way through the effects).
    crash_per_minute: expected crashes of each core per minute at a random moment.
    refused: the venue refuses an order for a reason of its own. stream_lost: a push is missing on a stream that
    stays up. position_lag_ms: how old the positions are that the venue shows. snapshot_rows: a snapshot of
    execution's journal is made after so many rows, 0 for never. snapshot_torn: it ends somewhere in its middle.
    """

    bus_delay_max_ms: int = 5
    bus_drop: float = 0.0
    bus_duplicate: float = 0.0
    crash_per_drain: float = 0.0
    crash_per_minute: float = 0.0
    restart_after_max_ms: int = 1_500
    venue_delay_max_ms: int = 40
    request_lost: float = 0.0
    request_late: float = 0.0
    answer_lost: float = 0.0
    unknown_code: float = 0.0
    read_fails: float = 0.0
    stream_duplicate: float = 0.0
    stream_drop_per_minute: float = 0.0
    stream_reorder_ms: int = 0
    query_lag_ms: int = 0
    stall_per_minute: float = 0.0
    refused: float = 0.0
    stream_lost: float = 0.0
    position_lag_ms: int = 0
    snapshot_rows: int = 50
    snapshot_torn: float = 0.0

    @staticmethod
    def none() -> Faults:
        return Faults()

    @staticmethod
    def swarm(random: Random) -> Faults:
        """Each kind is off in about half of the seeds; where it is on, its size varies by an order of magnitude."""

        def some(high: float) -> float:
            return 0.0 if random.random() < 0.5 else high * 10 ** -random.random()

        return Faults(
            bus_delay_max_ms=random.choice((1, 5, 50, 400)),
            bus_drop=some(0.1),
            bus_duplicate=some(0.1),
            crash_per_drain=some(0.01),
            crash_per_minute=some(2.0),
            restart_after_max_ms=random.choice((300, 1_500, 6_000)),
            venue_delay_max_ms=random.choice((10, 100, 1_500)),
            request_lost=some(0.2),
            request_late=some(0.1),
            answer_lost=some(0.3),
            unknown_code=some(0.1),
            read_fails=some(0.3),
            stream_duplicate=some(0.3),
            stream_drop_per_minute=some(3.0),
            stream_reorder_ms=random.choice((0, 0, 50, 1_000)),
            query_lag_ms=random.choice((0, 0, 200, 1_500)),
            stall_per_minute=some(0.5),
            refused=some(0.2),
            stream_lost=some(0.3),
            position_lag_ms=random.choice((0, 0, 500, 2_000)),
            snapshot_rows=random.choice((0, 10, 50, 250)),
            snapshot_torn=some(0.5),
        )

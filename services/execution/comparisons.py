"""When execution compares itself with the venue: after what may have hidden something, and once a minute."""

from __future__ import annotations

from collections.abc import Iterator

from services.execution import rows
from services.execution.effects import FetchSnapshot
from services.execution.records import Leg
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns
from shared.messages.venue import VenueSnapshot
from shared.strategy.wording import DAY_NS

_HISTORY_MAX_NS = 80 * DAY_NS
_OVERLAP_NS = 600 * SECOND
_MARGIN_NS = 60 * SECOND
_TOLD_EVERY_NS = 300 * SECOND
_HOUR_NS = 3_600 * SECOND
_FEES_PATIENCE_NS = 60 * SECOND
_UNREACHABLE_AFTER = 4


class ComparisonSchedule:
    """Asks for snapshots of the venue, one at a time, and repeats what failed. Volatile.

    `synced` is False until the first comparison after a start, a reconnect or a stall: until then nothing new is
    placed. `looked_ns` is when the last snapshot that was compared had been asked for, 0 for never. `stream_up` is
    what is known of the private stream, None for nothing yet.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self.synced = False
        self.stream_up: bool | None = None
        self.looked_ns = 0
        self._must_ask_after_ns = 0
        self._hold_until_ns = 0
        self._wanted: tuple[int, str] | None = None
        self._in_flight_ns: int | None = None
        self._asked_ns = 0
        self._failures = 0
        self._fees_until_ns = 0

    @property
    def is_failing(self) -> bool:
        """True when the last comparison that was asked for could not be made."""
        return self._failures > 0

    def looked_since(self, at_ns: int) -> bool:
        """True when a comparison was asked for after `at_ns` and has been answered."""
        return self.looked_ns > at_ns

    def want(self, trigger: str, at_ns: int) -> None:
        """Compare with the venue at `at_ns` at the latest."""
        if self._wanted is None or at_ns < self._wanted[0]:
            self._wanted = (at_ns, trigger)

    def want_fees(self) -> None:
        """An execution came without its fee: look for it, again and again for a while, as lists lag."""
        self._fees_until_ns = self._work.now_ns + _FEES_PATIENCE_NS
        self._want_fees()

    def _want_fees(self) -> None:
        self.want("fees", self._work.now_ns + self._work.config.fee_poll_ms * MS)

    def distrust(self, trigger: str) -> None:
        """Something may have been missed: place nothing new before the next comparison."""
        self.synced = False
        self._must_ask_after_ns = max(self._work.now_ns, self._hold_until_ns)
        self._wanted = (self._must_ask_after_ns, trigger)

    def hold(self) -> None:
        """Orders may be on their way of which no row speaks: trust no look at the venue before all have arrived."""
        config = self._work.config
        self._hold_until_ns = self._work.now_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        self.distrust("unwritten")

    def begin(self) -> None:
        """Nothing is known yet. The stream is about to come up, and what was asked before that would have to be asked
        again after a pause: give it as long as that pause."""
        self.distrust("start")
        self._wanted = (self._work.now_ns + self._work.config.snapshot_pause_ms * MS, "start")

    def advance(self) -> int | None:
        """Ask for a snapshot when one is due; returns when to look again."""
        work = self._work
        if self._in_flight_ns is not None:
            timeout_ns = self._in_flight_ns + work.config.snapshot_timeout_ms * MS
            if work.now_ns < timeout_ns:
                return timeout_ns
            self.failed("no answer")
        if self._wanted is None:
            return None
        at_ns, trigger = self._wanted
        at_ns = max(at_ns, self._asked_ns + work.config.snapshot_pause_ms * MS)
        if work.now_ns < at_ns:
            return at_ns
        self._wanted = None
        self._in_flight_ns = self._asked_ns = work.now_ns
        since_ns = self._since_ns()
        # the venue may show a payment long after it was made
        funding_since_ns = min(since_ns, max(work.now_ns - DAY_NS, 0))
        work.send(
            FetchSnapshot(
                trigger=trigger,
                since_ns=since_ns,
                funding_of=self._perpetuals(funding_since_ns),
                funding_since_ns=funding_since_ns,
                deliveries=any(not leg.instrument.is_option for leg in self._expired()),
                coins_of=self._pairs(),
            )
        )
        return work.now_ns + work.config.snapshot_timeout_ms * MS

    def failed(self, reason: str) -> None:
        """The snapshot could not be read: again, later."""
        config = self._work.config
        self._in_flight_ns = None
        self._failures += 1
        pause_ns = backoff_ns(config.reconcile_retry_first_ms, config.reconcile_retry_max_ms, self._failures - 1)
        trigger = "retry" if self._wanted is None else self._wanted[1]
        self._wanted = (self._work.now_ns + pause_ns, trigger)
        if self._failures == _UNREACHABLE_AFTER:
            self._work.alert(
                "venue_unreadable",
                "critical",
                self._work.account_id,
                f"orders and positions cannot be compared with the venue: {reason}",
            )

    def arrived(self, snapshot: VenueSnapshot) -> bool:
        """A snapshot came; False when a newer one was compared before it."""
        self._in_flight_ns = None
        self._failures = 0
        self._work.resolve("venue_unreadable", self._work.account_id, "the venue can be read again")
        if snapshot.asked_ns < self.looked_ns:
            self._plan_next()
            return False
        return True

    def compared(self, snapshot: VenueSnapshot) -> None:
        """Everything that the snapshot says was taken over: plan the next one."""
        if abs(snapshot.asked_ns - self._work.book.compared_ns) >= _TOLD_EVERY_NS:
            self._work.record(rows.VenueCompared(snapshot.asked_ns))
        if snapshot.asked_ns >= self._must_ask_after_ns:
            self.synced = True
        self._plan_next()

    def _since_ns(self) -> int:
        """Far enough back for everything that is still open: orders, fees, settlements. What an order that rested at
        the last comparison has done since comes after that, however old it is."""
        book = self._work.book
        now_ns = self._work.now_ns
        looked_ns = self.looked_ns or self._looked_before()
        since_ns = looked_ns - _OVERLAP_NS if looked_ns else now_ns - DAY_NS
        for number in book.unsettled:
            order = book.orders[number]
            if order.created_ns >= looked_ns or order.state not in ("WORKING", "CANCELLING"):
                since_ns = min(since_ns, order.created_ns - _MARGIN_NS)
        for venue_trade_id in book.feeless:
            since_ns = min(since_ns, book.fills[venue_trade_id].venue_ns - _MARGIN_NS)
        for leg in self._expired():
            since_ns = min(since_ns, leg.instrument.expiry_ns - _HOUR_NS)
        return max(since_ns, now_ns - _HISTORY_MAX_NS, 0)

    def _expired(self) -> Iterator[Leg]:
        """Legs that are held and wait for their settlement."""
        work = self._work
        for trade in work.book.active_trades():
            for leg in trade.legs:
                if leg.held_quantity > 0 and leg.instrument.expiry_ns <= work.now_ns:
                    yield leg

    def _perpetuals(self, since_ns: int) -> tuple[str, ...]:
        """Those that a trade holds, or held at `since_ns` or later."""
        book = self._work.book
        found = {leg.symbol for trade in book.active_trades() for leg in trade.legs if leg.instrument.is_perpetual}
        found |= {symbol for symbol, moved_ns in book.perpetuals.items() if moved_ns >= since_ns}
        return tuple(sorted(found))

    def _pairs(self) -> tuple[str, ...]:
        """Pairs of spot that a trade has a leg in."""
        trades = self._work.book.active_trades()
        return tuple(sorted({leg.symbol for trade in trades for leg in trade.legs if leg.instrument.is_spot}))

    def _looked_before(self) -> int:
        """When the process before looked last; 0 where that says nothing, as no clock was right then and now."""
        compared_ns = self._work.book.compared_ns
        return compared_ns if compared_ns <= self._work.now_ns else 0

    def _plan_next(self) -> None:
        work = self._work
        config = work.config
        if not self.synced:
            self.want("again", work.now_ns)
        if self.stream_up is False and work.book.unsettled:
            self.want("stream_down", work.now_ns + config.stream_down_poll_ms * MS)
        if work.book.feeless and work.now_ns < self._fees_until_ns:
            self._want_fees()
        if any(self._expired()):
            self.want("settlement", work.now_ns + config.settlement_poll_ms * MS)
        self.want("regular", work.now_ns + config.reconcile_interval_ms * MS)

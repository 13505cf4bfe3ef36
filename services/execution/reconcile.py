"""The venue is the truth, the journal is the memory: compare them, take over what was missed, report the rest."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.execution import rows
from services.execution.book import DAY_NS, ZERO, Leg, Trade
from services.execution.effects import CancelOrder, FetchSnapshot
from services.execution.evidence import Evidence
from services.execution.facts import Facts
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns
from shared.ids import parse_client_order_id, trade_id
from shared.messages.control import Difference, ReconciliationReport
from shared.messages.venue import (
    OPEN_VENUE_STATES,
    OrderRef,
    VenueExercise,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueSnapshot,
)
from shared.options.chain import snap_price

_HISTORY_MAX_NS = 80 * DAY_NS
_OVERLAP_NS = 600 * SECOND
_MARGIN_NS = 60 * SECOND
_HOUR_NS = 3_600 * SECOND
_UNREACHABLE_AFTER = 4
_DIRECT_KEPT = 1_000


class _Suspect(msgspec.Struct):
    """A position that did not agree, seen for the first time at `asked_ns`."""

    expected: Decimal
    actual: Decimal
    asked_ns: int


class Reconciler:
    """Asks for snapshots and compares them. `synced` is False until the first success after a start, a reconnect
    or a stall: until then nothing new is placed.

    Volatile: what it learns for good becomes rows (fills, order states, legs closed outside, settlements).
    """

    def __init__(self, work: Workspace, facts: Facts, evidence: Evidence) -> None:
        self._work = work
        self._facts = facts
        self._evidence = evidence
        self.synced = False
        self.stream_up: bool | None = None
        self.foreign: dict[str, Decimal] = {}
        self._must_ask_after_ns = 0
        self._wanted: tuple[int, str] | None = None
        self._in_flight_ns: int | None = None
        self._asked_ns = 0
        self._failures = 0
        self._looked_ns = 0
        self._positions: dict[str, VenuePosition] = {}
        self._suspects: dict[str, _Suspect] = {}
        self._direct: dict[int, VenueFill] = {}

    def position_cap(self, trade: Trade, leg: Leg) -> Decimal | None:
        """How much of the leg the venue's position still holds for this trade; None when it cannot say.

        It can say only when nothing of ours traded, or may have traded, in the symbol since the last comparison.
        """
        if not self._looked_ns or not self._is_quiet(leg.symbol, self._looked_ns):
            return None
        position = self._positions.get(leg.symbol)
        held = ZERO if position is None else position.quantity * leg.sign
        claimed = ZERO
        for other in self._work.book.active_trades():
            if other.trade_id != trade.trade_id:
                claimed += sum(
                    (e.held_quantity for e in other.legs if e.symbol == leg.symbol and e.side == leg.side), ZERO
                )
        return max(ZERO, held - claimed)

    def position_mark(self, symbol: str) -> float | None:
        """The venue's mark of a position, if it is fresh."""
        position = self._positions.get(symbol)
        tolerance_ns = self._work.config.market_tolerance_ms * MS
        if position is None or self._work.now_ns - self._looked_ns > tolerance_ns:
            return None
        return position.mark

    @property
    def is_failing(self) -> bool:
        """True when the last comparison that was asked for could not be made."""
        return self._failures > 0

    def is_suspect(self, symbol: str) -> bool:
        """True while the venue's position was seen once to disagree with our trades, and not yet again."""
        return symbol in self._suspects and symbol not in self.foreign

    def looked_since(self, at_ns: int) -> bool:
        """True when a comparison was asked for after `at_ns` and has been answered."""
        return self._looked_ns > at_ns

    def want(self, trigger: str, at_ns: int) -> None:
        """Compare with the venue at `at_ns` at the latest."""
        if self._wanted is None or at_ns < self._wanted[0]:
            self._wanted = (at_ns, trigger)

    def distrust(self, trigger: str) -> None:
        """Something may have been missed: place nothing new before the next comparison."""
        self.synced = False
        self._must_ask_after_ns = self._work.now_ns
        self._wanted = (self._work.now_ns, trigger)

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
        work.send(FetchSnapshot(trigger=trigger, since_ns=self._since_ns()))
        return work.now_ns + work.config.snapshot_timeout_ms * MS

    def _since_ns(self) -> int:
        """Far enough back for everything that is still open: orders, fees, settlements."""
        book = self._work.book
        now_ns = self._work.now_ns
        since_ns = self._looked_ns - _OVERLAP_NS if self._looked_ns else now_ns - DAY_NS
        for number in book.unsettled:
            since_ns = min(since_ns, book.orders[number].created_ns - _MARGIN_NS)
        for venue_trade_id in book.feeless:
            since_ns = min(since_ns, book.fills[venue_trade_id].venue_ns - _MARGIN_NS)
        for trade in book.active_trades():
            for leg in trade.legs:
                if leg.held_quantity > 0 and leg.instrument.expiry_ns <= now_ns:
                    since_ns = min(since_ns, leg.instrument.expiry_ns - _HOUR_NS)
        return max(since_ns, now_ns - _HISTORY_MAX_NS, 0)

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

    def compare(self, snapshot: VenueSnapshot) -> None:
        """Take over what was missed and publish every difference."""
        work = self._work
        self._in_flight_ns = None
        self._failures = 0
        work.resolve("venue_unreadable", work.account_id, "the venue can be read again")
        if snapshot.asked_ns < self._looked_ns:
            self._plan_next()
            return
        differences = self._orders(snapshot) + self._fills(snapshot)
        self._keep_direct_fills(snapshot)
        self._exercises(snapshot)
        self._looked_ns = snapshot.asked_ns
        self._positions = {position.symbol: position for position in snapshot.positions}
        differences += self._compare_positions(snapshot)
        if snapshot.asked_ns >= self._must_ask_after_ns:
            self.synced = True
        self._plan_next()
        work.publish(
            "exec.{account}.reconciliation",
            ReconciliationReport(
                account_id=work.account_id,
                trigger=snapshot.trigger,
                at_ns=work.now_ns,
                differences=tuple(differences),
            ),
        )

    def _plan_next(self) -> None:
        work = self._work
        config = work.config
        if not self.synced:
            self.want("again", work.now_ns)
        if self.stream_up is False and work.book.unsettled:
            self.want("stream_down", work.now_ns + config.stream_down_poll_ms * MS)
        if any(
            leg.held_quantity > 0 and leg.instrument.expiry_ns <= work.now_ns
            for trade in work.book.active_trades()
            for leg in trade.legs
        ):
            self.want("settlement", work.now_ns + config.settlement_poll_ms * MS)
        self.want("regular", work.now_ns + config.reconcile_interval_ms * MS)

    def _orders(self, snapshot: VenueSnapshot) -> list[Difference]:
        work = self._work
        differences: list[Difference] = []
        seen: set[int] = set()
        for venue_order in snapshot.orders:
            order = self._facts.order_of(venue_order.client_order_id, venue_order.venue_order_id)
            if order is None:
                differences += self._unknown_order(venue_order)
                order = self._facts.order_of(venue_order.client_order_id, venue_order.venue_order_id)
            if order is None:
                continue
            seen.add(order.client_order_id)
            before = order.state
            self._facts.sighting(venue_order, snapshot.asked_ns)
            long_ago_ns = order.state_ns + work.config.settled_view_ms * MS
            if venue_order.state in OPEN_VENUE_STATES and order.is_final and snapshot.asked_ns > long_ago_ns:
                # Final in the journal, open at the venue: the venue is right, and the order must go.
                work.send(CancelOrder(work.ref(order)))
                differences.append(
                    Difference(
                        kind="state_mismatch",
                        symbol=order.symbol,
                        detail=f"order {order.client_order_id} is {before} in the journal and open at the venue",
                        quantity=order.quantity,
                        trade_id=order.trade_id,
                    )
                )
        for number in tuple(work.book.unsettled):
            order = work.book.orders[number]
            old = snapshot.asked_ns > order.state_ns + work.config.settled_view_ms * MS
            if number not in seen and old and order.state in ("WORKING", "CANCELLING"):
                self._evidence.doubt(order)
                differences.append(
                    Difference(
                        kind="vanished_order",
                        symbol=order.symbol,
                        detail=f"order {number} is {order.state} in the journal and in no list of the venue: queried",
                        quantity=order.quantity,
                        trade_id=order.trade_id,
                    )
                )
        return differences

    def _unknown_order(self, venue_order: VenueOrder) -> list[Difference]:
        """An order at the venue that the journal does not know: ours by its id, or foreign."""
        work = self._work
        is_open = venue_order.state in OPEN_VENUE_STATES
        number = venue_order.client_order_id
        key = None if number is None else parse_client_order_id(number, work.desk_number)
        if key is None or number is None:
            if not is_open:
                return []
            return [
                Difference(
                    kind="foreign_order",
                    symbol=venue_order.symbol,
                    detail=f"order {venue_order.venue_order_id} is open at the venue and not ours",
                    quantity=venue_order.quantity,
                )
            ]
        trade = work.book.trades.get(trade_id(key.trade_number))
        matches = (
            trade is not None
            and key.leg_index < len(trade.legs)
            and trade.legs[key.leg_index].symbol == venue_order.symbol
        )
        if trade is not None and matches and (is_open or venue_order.filled_quantity > 0):
            work.record(
                rows.OrderRequested(
                    client_order_id=number,
                    trade_id=trade.trade_id,
                    leg_index=key.leg_index,
                    purpose=key.purpose,
                    attempt=key.attempt,
                    symbol=venue_order.symbol,
                    side=venue_order.side,
                    quantity=venue_order.quantity,
                    price=venue_order.price,
                    reduce_only=venue_order.reduce_only,
                    why="found at the venue and missing in the journal",
                    adopted=True,
                )
            )
            detail = f"order {number} was missing in the journal: taken over into {trade.trade_id}"
        elif is_open:
            work.send(
                CancelOrder(
                    OrderRef(
                        client_order_id=number,
                        venue_order_id=venue_order.venue_order_id,
                        symbol=venue_order.symbol,
                    )
                )
            )
            detail = f"order {number} is ours by its id and belongs to no known trade: cancelled"
        else:
            return []
        work.alert("order_unknown_to_journal", "critical", str(number), f"{venue_order.symbol}: {detail}")
        return [
            Difference(
                kind="foreign_order",
                symbol=venue_order.symbol,
                detail=detail,
                quantity=venue_order.quantity,
                trade_id=None if trade is None else trade.trade_id,
            )
        ]

    def _fills(self, snapshot: VenueSnapshot) -> list[Difference]:
        differences: list[Difference] = []
        in_transit_ns = self._work.config.settled_view_ms * MS
        for fill in snapshot.fills:
            if self._facts.fill(fill) and fill.venue_ns < snapshot.asked_ns - in_transit_ns:
                taken = self._work.book.fills[fill.venue_trade_id]
                differences.append(
                    Difference(
                        kind="missed_fill",
                        symbol=fill.symbol,
                        detail=f"trade {fill.venue_trade_id} of order {taken.client_order_id} came by no stream",
                        quantity=fill.quantity,
                        trade_id=taken.trade_id,
                    )
                )
        return differences

    def _keep_direct_fills(self, snapshot: VenueSnapshot) -> None:
        """Remember what a direct flatten traded, until the second look at positions says whose it was."""
        orders = {order.venue_order_id for order in snapshot.orders if self._is_direct(order.client_order_id)}
        for fill in snapshot.fills:
            if fill.venue_order_id in orders or self._is_direct(fill.client_order_id):
                self._direct[fill.venue_trade_id] = fill
        while len(self._direct) > _DIRECT_KEPT:
            del self._direct[next(iter(self._direct))]

    def _is_direct(self, client_order_id: int | None) -> bool:
        """True for an order of `voldesk flatten --direct`: flattens by its id, and execution did not send it."""
        if client_order_id is None or client_order_id in self._work.book.orders:
            return False
        key = parse_client_order_id(client_order_id, self._work.desk_number)
        return key is not None and key.purpose == "flatten"

    def _exercises(self, snapshot: VenueSnapshot) -> None:
        for exercise in snapshot.exercises:
            self._exercise(exercise)

    def _exercise(self, exercise: VenueExercise) -> None:
        """Share one settlement among the trades that hold the symbol, by what they hold."""
        sign = 1 if exercise.quantity > 0 else -1
        holders = [
            (trade, index, leg)
            for trade in self._work.book.active_trades()
            for index, leg in enumerate(trade.legs)
            if leg.symbol == exercise.symbol
            and leg.sign == sign
            and leg.held_quantity > 0
            and leg.instrument.expiry_ns <= self._work.now_ns
            and not self._work.book.unsettled_of(trade, index)
        ]
        held = sum((leg.held_quantity for _, _, leg in holders), ZERO)
        whole = max(held, abs(exercise.quantity))
        for trade, index, leg in holders:
            share = leg.held_quantity / whole
            self._work.record(
                rows.LegSettled(
                    trade_id=trade.trade_id,
                    leg_index=index,
                    quantity=leg.held_quantity,
                    settlement_price=exercise.settlement_price,
                    cash_flow_usd=_cents(exercise.settlement_cash_flow_usd * share),
                    fee_usd=_cents(exercise.fee_usd * share),
                    venue_ns=exercise.venue_ns,
                )
            )

    def _is_quiet(self, symbol: str, asked_ns: int) -> bool:
        """True when the positions asked for at `asked_ns` contain all that we did in the symbol."""
        work = self._work
        if any(work.book.orders[number].symbol == symbol for number in work.book.unsettled):
            return False
        return asked_ns > work.last_traded_ns.get(symbol, 0) + work.config.settled_view_ms * MS

    def _compare_positions(self, snapshot: VenueSnapshot) -> list[Difference]:
        work = self._work
        expected: dict[str, Decimal] = {}
        expired: set[str] = set()
        for trade in work.book.active_trades():
            for leg in trade.legs:
                expected[leg.symbol] = expected.get(leg.symbol, ZERO) + leg.sign * leg.held_quantity
                if leg.instrument.expiry_ns <= work.now_ns:
                    expired.add(leg.symbol)
        differences: list[Difference] = []
        for symbol in sorted((expected.keys() | self._positions.keys() | self._suspects.keys()) - expired):
            ours = expected.get(symbol, ZERO)
            position = self._positions.get(symbol)
            actual = ZERO if position is None else position.quantity
            if not self._is_quiet(symbol, snapshot.asked_ns):
                if actual != ours and self.foreign.get(symbol, ZERO) != actual - ours:
                    self.want("confirm", work.now_ns + work.config.confirm_ms * MS)
                continue
            if actual == ours:
                self._suspects.pop(symbol, None)
                self.foreign.pop(symbol, None)
                work.resolve("foreign_position", symbol, f"{symbol}: the venue and the journal agree")
                continue
            differences += self._disagreement(symbol, ours, actual, snapshot.asked_ns)
        for symbol in [symbol for symbol in self._suspects if symbol in expired]:
            del self._suspects[symbol]
        return differences

    def _disagreement(self, symbol: str, ours: Decimal, actual: Decimal, asked_ns: int) -> list[Difference]:
        """A position that disagrees counts when a second look, some time later, says the same."""
        work = self._work
        confirm_ns = work.config.confirm_ms * MS
        suspect = self._suspects.get(symbol)
        if suspect is None or (suspect.expected, suspect.actual) != (ours, actual):
            self._suspects[symbol] = _Suspect(ours, actual, asked_ns)
            self.want("confirm", work.now_ns + confirm_ns)
            return []
        if asked_ns < suspect.asked_ns + confirm_ns:
            self.want("confirm", suspect.asked_ns + confirm_ns)
            return []
        sign = 1 if ours > 0 else -1
        missing = abs(ours) - max(ZERO, actual * sign) if ours else ZERO
        foreign = actual - ours if missing <= 0 else min(ZERO, actual * sign) * sign
        differences: list[Difference] = []
        if missing > 0:
            differences += self._gone_from_outside(symbol, sign, missing, ours, actual)
            self._suspects.pop(symbol, None)
        if foreign:
            self.foreign[symbol] = foreign
            detail = f"the venue holds {actual}, our trades hold {ours}"
            work.alert("foreign_position", "warning", symbol, f"{symbol}: {detail}; the desk does not touch the rest")
            kind = "quantity_mismatch" if ours else "foreign_position"
            differences.append(Difference(kind=kind, symbol=symbol, detail=detail, quantity=foreign))
        else:
            self.foreign.pop(symbol, None)
        return differences

    def _gone_from_outside(
        self, symbol: str, sign: int, missing: Decimal, ours: Decimal, actual: Decimal
    ) -> list[Difference]:
        """The venue holds less than our trades: a direct flatten or somebody else closed it. The newest trade loses
        first."""
        work = self._work
        differences: list[Difference] = []
        for trade in sorted(work.book.active_trades(), key=lambda trade: trade.number, reverse=True):
            for index, leg in enumerate(trade.legs):
                lost = min(leg.held_quantity, missing)
                if leg.symbol != symbol or leg.sign != sign or lost <= 0:
                    continue
                missing -= lost
                flattened = self._closed_directly(trade, index, lost)
                if flattened:
                    differences.append(
                        Difference(
                            kind="quantity_mismatch",
                            symbol=symbol,
                            detail="closed at the venue by a direct flatten",
                            quantity=flattened,
                            trade_id=trade.trade_id,
                        )
                    )
                lost -= flattened
                if not lost:
                    continue
                detail = f"the venue holds {actual}, our trades hold {ours}, and no order of ours closed it"
                quote = work.market.quote(leg.instrument, work.now_ns)
                tick = leg.instrument.tick_size
                price = None if quote is None or quote.mark is None else snap_price(quote.mark, tick, up=sign < 0)
                work.record(
                    rows.LegClosedOutside(
                        trade_id=trade.trade_id, leg_index=index, quantity=lost, price=price, reason=detail
                    )
                )
                work.alert(
                    "leg_closed_outside",
                    "critical",
                    f"{trade.trade_id}/{symbol}",
                    f"{trade.trade_id}, {symbol}: {detail}",
                )
                differences.append(
                    Difference(
                        kind="quantity_mismatch",
                        symbol=symbol,
                        detail=detail,
                        quantity=lost,
                        trade_id=trade.trade_id,
                    )
                )
        return differences

    def _closed_directly(self, trade: Trade, index: int, lost: Decimal) -> Decimal:
        """Book executions of a direct flatten against the leg, at most `lost`; returns how much that is."""
        work = self._work
        leg = trade.legs[index]
        closing = "sell" if leg.side == "buy" else "buy"
        total = ZERO
        for fill in self._direct.values():
            if fill.symbol != leg.symbol or fill.side != closing or fill.venue_ns < trade.created_ns:
                continue
            booked = work.book.direct_fills.get(fill.venue_trade_id)
            free = fill.quantity if booked is None else fill.quantity - booked.quantity
            quantity = min(free, lost - total)
            if quantity <= 0:
                continue
            fee_usd = fill.fee_usd or ZERO
            paid_usd = ZERO if booked is None else booked.fee_usd
            share_usd = fee_usd - paid_usd if quantity == free else _cents(fee_usd * quantity / fill.quantity)
            work.record(
                rows.LegClosedOutside(
                    trade_id=trade.trade_id,
                    leg_index=index,
                    quantity=quantity,
                    price=fill.price,
                    reason="closed at the venue by a direct flatten",
                    fee_usd=share_usd,
                    venue_trade_id=fill.venue_trade_id,
                )
            )
            total += quantity
        return total


def _cents(amount: Decimal) -> Decimal:
    """A share of an amount of money to a millionth, in plain notation."""
    return Decimal(format(amount.quantize(Decimal("0.000001")).normalize(), "f"))

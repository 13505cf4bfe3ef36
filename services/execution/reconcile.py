"""The venue is the truth, the journal is the memory: compare them, take over what was missed, report the rest."""

from __future__ import annotations

from collections.abc import Sequence

from services.execution import rows
from services.execution.comparisons import ComparisonSchedule
from services.execution.direct import to_millionths
from services.execution.effects import CancelOrder
from services.execution.evidence import Evidence
from services.execution.facts import Facts
from services.execution.funding import book_funding
from services.execution.positions import PositionWitness
from services.execution.records import ZERO
from services.execution.workspace import MS, Workspace
from shared.ids import parse_client_order_id, trade_id
from shared.messages.reconciliation import (
    Difference,
    Done,
    ForeignOrder,
    ForeignPosition,
    LostOrder,
    MissedFill,
    ReconciliationReport,
    StateMismatch,
    VanishedOrder,
)
from shared.messages.venue import OPEN_VENUE_STATES, OrderRef, VenueExercise, VenueOrder, VenueSnapshot


class DifferenceLog:
    """Publishes every comparison, and journals each difference once: when it is found, and when it is over.

    What a comparison repeats of the one before it is the same finding; so is what stands since before a restart.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._told: dict[str, Difference] = {}

    def report(self, snapshot: VenueSnapshot, differences: Sequence[Difference], undecided: frozenset[str]) -> None:
        """Tell what a comparison found. `undecided`: symbols whose position it could not judge."""
        work = self._work
        found = work.book.differences
        told = {difference.name: difference for difference in differences}
        for name, difference in told.items():
            known = found.get(name)
            stands = known is not None and known.stands and _is_same(known.difference, difference)
            if self._told.get(name) != difference and not stands:
                work.record(rows.DifferenceFound(difference=difference, trigger=snapshot.trigger))
        over = tuple(
            name
            for name, known in found.items()
            if known.stands
            and name not in told
            and not (isinstance(known.difference, ForeignPosition) and known.difference.symbol in undecided)
        )
        if over:
            work.record(rows.DifferencesEnded(names=over))
        self._told = told
        work.publish(
            "exec.{account}.reconciliation",
            ReconciliationReport(
                account_id=work.account_id,
                trigger=snapshot.trigger,
                at_ns=work.now_ns,
                differences=tuple(differences),
            ),
        )


def _is_same(known: Difference, seen: Difference) -> bool:
    """True for what stands as it was found; what our own trades hold beside a foreign position does not matter."""
    if isinstance(known, ForeignPosition) and isinstance(seen, ForeignPosition):
        return known.quantity == seen.quantity
    return known == seen


class Reconciler:
    """Judges one snapshot at a time: orders, fills, settlements, and through `positions` what is held.

    Everything that it finds becomes rows (fills, order states, legs closed outside, settlements) and a report.
    """

    def __init__(self, work: Workspace, facts: Facts, evidence: Evidence, schedule: ComparisonSchedule) -> None:
        self._work = work
        self._facts = facts
        self._evidence = evidence
        self._schedule = schedule
        self._log = DifferenceLog(work)
        self.positions = PositionWitness(work, schedule)

    def compare(self, snapshot: VenueSnapshot) -> None:
        """Take over what was missed and publish every difference."""
        if not self._schedule.arrived(snapshot):
            return
        differences = self._orders(snapshot) + self._fills(snapshot)
        differences += self._vanished(snapshot)
        self.positions.direct.keep_fills(snapshot)
        self._exercises(snapshot)
        book_funding(self._work, snapshot)
        self._schedule.looked_ns = snapshot.asked_ns
        differences += self.positions.compare(snapshot)
        self._schedule.compared(snapshot)
        self._log.report(snapshot, differences, self.positions.undecided)

    def _orders(self, snapshot: VenueSnapshot) -> list[Difference]:
        work = self._work
        differences: list[Difference] = []
        for venue_order in snapshot.orders:
            order = self._facts.order_of(venue_order.client_order_id, venue_order.venue_order_id)
            if order is None:
                differences += self._unknown_order(venue_order)
                order = self._facts.order_of(venue_order.client_order_id, venue_order.venue_order_id)
            if order is None:
                continue
            before = order.state
            self._facts.sighting(venue_order, snapshot.asked_ns)
            long_ago_ns = order.state_ns + work.config.settled_view_ms * MS
            if venue_order.state in OPEN_VENUE_STATES and order.is_final and snapshot.asked_ns > long_ago_ns:
                # Final in the journal, open at the venue: the venue is right, and the order must go.
                work.send(CancelOrder(work.ref(order)))
                differences.append(
                    StateMismatch(
                        symbol=order.symbol,
                        done="cancelled",
                        detail=f"order {order.client_order_id} is {before} in the journal and open at the venue",
                        trade_id=order.trade_id,
                        client_order_id=order.client_order_id,
                        quantity=order.quantity,
                        state=before,
                    )
                )
        return differences

    def _vanished(self, snapshot: VenueSnapshot) -> list[Difference]:
        """Orders that rest by the journal, and are in none of the lists: each is looked for by itself. That is a
        difference only of one that the lists would show if it had ended; the history begins at `since_ns`. Of a stop
        order that waits it is none: whether the venue lists these is not documented."""
        work = self._work
        found = (self._facts.order_of(each.client_order_id, each.venue_order_id) for each in snapshot.orders)
        seen = {order.client_order_id for order in found if order is not None}
        differences: list[Difference] = []
        for number in tuple(work.book.unsettled):
            order = work.book.orders[number]
            old = snapshot.asked_ns > order.state_ns + work.config.settled_view_ms * MS
            if number in seen or not old or order.state not in ("WORKING", "CANCELLING") or order.quote_id:
                continue
            self._evidence.doubt(order)
            if order.created_ns >= snapshot.since_ns and not order.is_waiting:
                differences.append(
                    VanishedOrder(
                        symbol=order.symbol,
                        done="queried",
                        detail=f"order {number} is {order.state} in the journal and in no list of the venue",
                        trade_id=order.trade_id,
                        client_order_id=number,
                        quantity=order.quantity,
                        state=order.state,
                    )
                )
        return differences

    def _unknown_order(self, venue_order: VenueOrder) -> list[Difference]:
        """An order at the venue that no trade is known to have: ours by its id, or foreign. Sales of the cash rule
        are followed by that."""
        work = self._work
        is_open = venue_order.state in OPEN_VENUE_STATES
        number = venue_order.client_order_id
        if number in work.book.cash.sales:
            return []
        key = None if number is None else parse_client_order_id(number, work.desk_number)
        if key is None or number is None:
            if not is_open:
                return []
            return [
                ForeignOrder(
                    symbol=venue_order.symbol,
                    done="left_alone",
                    detail=f"order {venue_order.venue_order_id} is open at the venue and not the desk's",
                    venue_order_id=venue_order.venue_order_id,
                    side=venue_order.side,
                    quantity=venue_order.quantity,
                    price=venue_order.price,
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
                    price=(venue_order.at_market and venue_order.trigger_price) or venue_order.price,
                    reduce_only=venue_order.reduce_only,
                    why="found at the venue and missing in the journal",
                    adopted=True,
                    trigger_price=venue_order.trigger_price,
                    at_market=venue_order.at_market,
                )
            )
            done: Done = "taken_over"
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
            done = "cancelled"
            detail = f"order {number} is ours by its id and belongs to no known trade: cancelled"
        else:
            return []
        work.alert("order_unknown_to_journal", "critical", str(number), f"{venue_order.symbol}: {detail}")
        return [
            LostOrder(
                symbol=venue_order.symbol,
                done=done,
                detail=detail,
                trade_id=None if trade is None else trade.trade_id,
                client_order_id=number,
                venue_order_id=venue_order.venue_order_id,
                side=venue_order.side,
                quantity=venue_order.quantity,
                price=venue_order.price,
            )
        ]

    def _fills(self, snapshot: VenueSnapshot) -> list[Difference]:
        differences: list[Difference] = []
        in_transit_ns = self._work.config.settled_view_ms * MS
        for fill in snapshot.fills:
            if self._facts.fill(fill) and fill.venue_ns < snapshot.asked_ns - in_transit_ns:
                taken = self._work.book.fills[fill.venue_trade_id]
                differences.append(
                    MissedFill(
                        symbol=fill.symbol,
                        done="taken_over",
                        detail=f"the venue's trade {fill.venue_trade_id} of order {taken.client_order_id} came by no "
                        f"stream: {fill.side} {fill.quantity} at {fill.price}",
                        trade_id=taken.trade_id,
                        client_order_id=taken.client_order_id,
                        venue_trade_id=fill.venue_trade_id,
                        quantity=fill.quantity,
                        price=fill.price,
                    )
                )
        return differences

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
        cash_usd, fee_usd = exercise.settlement_cash_flow_usd, exercise.fee_usd
        for number, (trade, index, leg) in enumerate(holders, start=1):
            share = leg.held_quantity / whole
            cash_share_usd = to_millionths(exercise.settlement_cash_flow_usd * share)
            fee_share_usd = to_millionths(exercise.fee_usd * share)
            if number == len(holders) and held == whole:
                # The last one takes what is left, so that the shares are the settlement to the last decimal.
                cash_share_usd, fee_share_usd = cash_usd, fee_usd
            cash_usd, fee_usd = cash_usd - cash_share_usd, fee_usd - fee_share_usd
            self._work.record(
                rows.LegSettled(
                    trade_id=trade.trade_id,
                    leg_index=index,
                    quantity=leg.held_quantity,
                    settlement_price=exercise.settlement_price,
                    cash_flow_usd=cash_share_usd,
                    fee_usd=fee_share_usd,
                    venue_ns=exercise.venue_ns,
                )
            )

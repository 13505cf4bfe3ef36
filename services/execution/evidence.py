"""Orders whose outcome is not known: what is asked, how often, and what counts as an answer."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.execution import rows
from services.execution.amending import amendment_counts_ns
from services.execution.effects import QueryOrder
from services.execution.facts import Facts
from services.execution.records import Order
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns
from shared.messages.venue import OrderQueried

_ANSWERS_BEFORE_ASSUMING = 3
_QUERY_TIMEOUT_NS = 20 * SECOND
_STREAM_HEAD_START_NS = 300 * MS
_HISTORY_MARGIN_NS = 60 * SECOND


class _Query(msgspec.Struct):
    """The questions asked about one order since `first_ns`, while its state was that of `state_ns`."""

    first_ns: int
    state_ns: int
    next_ns: int
    asked_ns: int | None = None
    asked: int = 0
    answers: int = 0
    absent_since_ns: int | None = None


class Evidence:
    """Asks the venue about orders until it is known what became of them. Queries are volatile: a restart asks anew.

    A query is not an order: asking twice harms nothing, so nothing of it is journalled.
    """

    def __init__(self, workspace: Workspace, facts: Facts) -> None:
        self._work = workspace
        self._facts = facts
        self._queries: dict[int, _Query] = {}
        self._doubted: dict[int, None] = {}
        self._wakes: dict[int, int | None] = {}
        """When to look at an order again that does not change, None for never; one that is not in it is due."""

        self._hold_until_ns = 0

    def doubt(self, order: Order) -> None:
        """Something does not add up about this order: query it now."""
        if order.client_order_id in self._work.book.unsettled:
            self._doubted[order.client_order_id] = None
            self._wakes.pop(order.client_order_id, None)

    def hold(self) -> None:
        """Our clock may have passed over time that the venue did not see: what was sent before may still arrive."""
        config = self._work.config
        self._hold_until_ns = self._work.now_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        self._wakes.clear()

    def look(self) -> int | None:
        """Look at each order that may still trade, if it changed in this step or its time has come; returns when to
        look again."""
        work = self._work
        unsettled, touched, now_ns = work.book.unsettled, work.touched_orders, work.now_ns
        for number in [number for number in self._queries if number not in unsettled]:
            self._forget(number)
        if len(self._wakes) > len(unsettled):
            self._wakes = {number: wake_ns for number, wake_ns in self._wakes.items() if number in unsettled}
        first_ns: int | None = None
        for number in tuple(unsettled):
            wake_ns = self._wakes.get(number, now_ns)
            if number in touched or (wake_ns is not None and wake_ns <= now_ns):
                wake_ns = self._wakes[number] = self._look_at(work.book.orders[number])
            if wake_ns is not None and (first_ns is None or wake_ns < first_ns):
                first_ns = wake_ns
        return first_ns

    def _look_at(self, order: Order) -> int | None:
        work = self._work
        if order.quote_id:
            # The venue has no order of this id: what became of the quote is asked by `rfq_desk`.
            return None
        if order.state == "SENDING":
            guard_ns = order.created_ns + work.config.sending_guard_ms * MS
            if work.now_ns < guard_ns:
                return guard_ns
            self._facts.move(order, "UNKNOWN", f"no outcome within {work.config.sending_guard_ms} ms")
        due_ns = self._due_ns(order)
        if due_ns is None:
            self._forget(order.client_order_id)
            return None
        query = self._queries.get(order.client_order_id)
        if query is None or query.state_ns != order.state_ns:
            query = _Query(
                first_ns=work.now_ns if query is None else query.first_ns, state_ns=order.state_ns, next_ns=due_ns
            )
            self._queries[order.client_order_id] = query
        wake_ns = self._ask_when_due(order, query)
        alert_ns = self._alert_ns(query)
        return wake_ns if work.now_ns >= alert_ns else min(wake_ns, alert_ns)

    def _alert_ns(self, query: _Query) -> int:
        return query.first_ns + self._work.config.query_alert_after_ms * MS

    def _due_ns(self, order: Order) -> int | None:
        """When an order in this state is first asked about; None if there is nothing to ask."""
        if order.client_order_id in self._doubted:
            return self._work.now_ns
        match order.state:
            case "UNKNOWN":
                return order.unknown_ns
            case "WORKING" if order.is_amending:
                return order.amend_ns + self._work.config.cancel_confirm_ms * MS
            case "CANCELLING":
                return order.state_ns + self._work.config.cancel_confirm_ms * MS
            case _ if order.filled_quantity < order.sighted_quantity:
                return order.updated_ns + _STREAM_HEAD_START_NS
            case _:
                return None

    def _ask_when_due(self, order: Order, query: _Query) -> int:
        work = self._work
        if work.now_ns >= self._alert_ns(query):
            since_s = (work.now_ns - max(order.state_ns, order.amend_ns)) // SECOND
            work.alert(
                "order_unresolved",
                "critical" if order.state == "UNKNOWN" else "warning",
                str(order.client_order_id),
                f"{order.symbol}: order {order.client_order_id} of {order.trade_id} is {_doing(order)} since "
                f"{since_s} s; the venue is asked again and again",
            )
        if query.asked_ns is not None:
            timeout_ns = query.asked_ns + _QUERY_TIMEOUT_NS
            if work.now_ns < timeout_ns:
                return timeout_ns
            self._schedule(order, query)
        if order.client_order_id in self._doubted and query.asked == 0:
            query.next_ns = min(query.next_ns, work.now_ns)
        if work.now_ns < query.next_ns:
            return query.next_ns
        query.asked_ns = work.now_ns
        query.asked += 1
        work.send(
            QueryOrder(
                client_order_id=order.client_order_id,
                venue_order_id=order.venue_order_id,
                symbol=order.symbol,
                since_ns=order.created_ns - _HISTORY_MARGIN_NS,
            )
        )
        return work.now_ns + _QUERY_TIMEOUT_NS

    def _schedule(self, order: Order, query: _Query) -> None:
        """When to ask next: later each time, but not past the instant from which absence, or an old price, counts."""
        config = self._work.config
        query.asked_ns = None
        pause_ns = backoff_ns(config.query_retry_first_ms, config.query_retry_max_ms, query.asked - 1)
        query.next_ns = self._work.now_ns + pause_ns
        absence_ns = self._absence_counts_ns(order)
        if order.state == "UNKNOWN" and self._work.now_ns < absence_ns:
            query.next_ns = min(query.next_ns, absence_ns)
        if order.is_amending and self._work.now_ns < (counts_ns := amendment_counts_ns(order, self._work)):
            query.next_ns = min(query.next_ns, counts_ns)

    def _absence_counts_ns(self, order: Order) -> int:
        config = self._work.config
        known_ns = order.unknown_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        return max(known_ns, self._hold_until_ns)

    def failed(self, client_order_id: int) -> None:
        """The query itself failed: it says nothing, and is repeated later."""
        self._wakes.pop(client_order_id, None)
        query = self._queries.get(client_order_id)
        order = self._work.book.orders.get(client_order_id)
        if query is not None and order is not None:
            self._schedule(order, query)

    def answered(self, answer: OrderQueried) -> None:
        """Take in what a query found."""
        order = self._work.book.orders.get(answer.client_order_id)
        if order is None:
            return
        self._doubted.pop(answer.client_order_id, None)
        self._wakes.pop(answer.client_order_id, None)
        for fill in answer.fills:
            self._facts.fill(fill, answer.client_order_id)
        if answer.order is not None:
            self._facts.sighting(answer.order, answer.asked_ns)
        query = self._queries.get(answer.client_order_id)
        if query is None:
            return
        query.answers += 1
        if answer.order is None:
            self._absent(order, query, answer.asked_ns)
        else:
            query.absent_since_ns = None
        if order.is_final or answer.order is not None:
            self._assume_fill(order, query, None if answer.order is None else answer.order.average_price)
        if order.client_order_id in self._work.book.unsettled:
            if query.state_ns != order.state_ns:
                query.state_ns = order.state_ns
            self._schedule(order, query)

    def _absent(self, order: Order, query: _Query, asked_ns: int) -> None:
        """Query, open orders and history all lack the order."""
        if order.is_final:
            return
        seen_before = order.venue_order_id is not None or order.filled_quantity > 0
        if order.state == "UNKNOWN" and not seen_before:
            if asked_ns >= self._absence_counts_ns(order):
                self._facts.move(order, "NEVER_PLACED", "absent at the venue after the request's validity")
            return
        # It was there once, so all three lists lag or lie: only a long absence counts, and it is alarmed.
        self._doubted[order.client_order_id] = None
        if query.absent_since_ns is None:
            query.absent_since_ns = asked_ns
        elif asked_ns >= query.absent_since_ns + self._work.config.vanished_after_ms * MS:
            self._doubted.pop(order.client_order_id, None)
            self._work.alert(
                "order_vanished",
                "critical",
                str(order.client_order_id),
                f"{order.symbol}: order {order.client_order_id} was at the venue and is in none of its lists now",
            )
            self._facts.move(order, "CANCELLED", "gone from query, open orders and history")

    def _assume_fill(self, order: Order, query: _Query, average_price: Decimal | None) -> None:
        """Count what the order's state shows as filled once its executions could not be had for long."""
        config = self._work.config
        if order.filled_quantity >= order.sighted_quantity or query.answers < _ANSWERS_BEFORE_ASSUMING:
            return
        if self._work.now_ns < query.first_ns + config.assume_fill_after_ms * MS:
            return
        self._work.record(
            rows.FillAssumed(
                client_order_id=order.client_order_id,
                filled_quantity=order.sighted_quantity,
                average_price=order.price if average_price is None else average_price,
            )
        )

    def _forget(self, client_order_id: int) -> None:
        self._doubted.pop(client_order_id, None)
        if self._queries.pop(client_order_id, None) is not None:
            self._work.resolve("order_unresolved", str(client_order_id), f"order {client_order_id} is resolved")


def _doing(order: Order) -> str:
    return "being amended" if order.is_amending else order.state

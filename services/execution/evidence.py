"""Orders whose outcome is not known: what is asked, how often, and what counts as an answer."""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.amending import amendment_counts_ns
from services.execution.asking import QUERY_TIMEOUT_NS, Asking, Query
from services.execution.facts import Facts
from services.execution.records import Order
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.messages.steps import Step
from shared.messages.venue import OrderQueried, OrdersListed, OrdersListFailed

_ANSWERS_BEFORE_ASSUMING = 3
_STREAM_HEAD_START_NS = 300 * MS


class Evidence:
    """Asks the venue about orders until it is known what became of them. Queries are volatile: a restart asks anew.

    A query is not an order: asking twice harms nothing, so nothing of it is journalled.
    """

    def __init__(self, workspace: Workspace, facts: Facts) -> None:
        self._work = workspace
        self._facts = facts
        self._queries: dict[int, Query] = {}
        self._asking = Asking(workspace)
        self._doubted: dict[int, None] = {}
        self._wakes: dict[int, int] = {}
        """When to look at an order again that does not change; at one that is not in it when it does."""

        self._first_wake_ns: int | None = None
        """No order is to be looked at before; somewhat early where the one that it was of is gone."""

        self._looked: tuple[Step, int] | None = None
        """The step that was looked at last, and how many rows it had."""

        self._due: dict[int, None] = {}
        self._all_are_due = True

        self._hold_until_ns = 0

    def doubt(self, order: Order) -> None:
        """Something does not add up about this order: query it now."""
        if order.client_order_id in self._work.book.unsettled:
            self._doubted[order.client_order_id] = self._due[order.client_order_id] = None

    def hold(self) -> None:
        """Our clock may have passed over time that the venue did not see: what was sent before may still arrive."""
        config = self._work.config
        self._hold_until_ns = self._work.now_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        self._all_are_due = True

    def look(self) -> int | None:
        """Look at each order that may still trade, if it changed in this step or its time has come; returns when to
        look again."""
        work = self._work
        unsettled, now_ns = work.book.unsettled, work.now_ns
        if self._has_looked and not self._due and not self._all_are_due:
            return self._first_wake_ns
        if not self._queries.keys() <= unsettled.keys():
            for number in [number for number in self._queries if number not in unsettled]:
                self._forget(number)
        wakes = self._wakes
        if not wakes.keys() <= unsettled.keys():
            for number in [number for number in wakes if number not in unsettled]:
                del wakes[number]
        # Of all that rests, which may be hundreds, little is due in any one step.
        is_late = self._first_wake_ns is not None and self._first_wake_ns <= now_ns
        late = [number for number, wake_ns in wakes.items() if wake_ns <= now_ns] if is_late else ()
        due = unsettled if self._all_are_due else dict.fromkeys((*late, *self._due, *work.touched_orders))
        self._all_are_due, self._due = False, {}
        for number in tuple(due):
            if number not in unsettled:
                continue
            wake_ns = self._look_at(work.book.orders[number])
            if wake_ns is None:
                wakes.pop(number, None)
            else:
                wakes[number] = wake_ns
        if asked := self._asking.ask(self._queries):
            alert_ns = min(self._alert_ns(self._queries[number]) for number in asked)
            timeout_ns = now_ns + QUERY_TIMEOUT_NS
            wake_ns = timeout_ns if alert_ns <= now_ns else min(timeout_ns, alert_ns)
            wakes |= dict.fromkeys(asked, wake_ns)
        self._first_wake_ns = min(wakes.values(), default=None)
        self._looked = work.step, len(work.step.rows)
        return self._first_wake_ns

    @property
    def _has_looked(self) -> bool:
        """Whether nothing was decided since the last look, in the same step."""
        if self._looked is None:
            return False
        step, rows_seen = self._looked
        return step is self._work.step and rows_seen == len(step.rows)

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
        confirmed_ns = work.now_ns + work.config.cancel_confirm_ms * MS
        is_told = order.filled_quantity >= order.sighted_quantity
        if query is None and is_told and work.now_ns < due_ns <= confirmed_ns:
            # an amendment or a cancel on its way is in no doubt yet
            return due_ns
        if query is None or query.state_ns != order.state_ns:
            query = Query(
                first_ns=work.now_ns if query is None else query.first_ns, state_ns=order.state_ns, next_ns=due_ns
            )
            self._queries[order.client_order_id] = query
        wake_ns = self._ask_when_due(order, query)
        alert_ns = self._alert_ns(query)
        return wake_ns if work.now_ns >= alert_ns else earliest(wake_ns, alert_ns)

    def _alert_ns(self, query: Query) -> int:
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

    def _ask_when_due(self, order: Order, query: Query) -> int | None:
        """When to look again; None once it waits to be asked about."""
        work, number = self._work, order.client_order_id
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
            timeout_ns = query.asked_ns + QUERY_TIMEOUT_NS
            if work.now_ns < timeout_ns:
                return timeout_ns
            query.lists_fail |= query.by_list
            self._schedule(order, query)
        if number in self._doubted and query.asked == 0:
            query.next_ns = min(query.next_ns, work.now_ns)
        if work.now_ns < query.next_ns:
            self._asking.drop(number)
            return query.next_ns
        self._asking.want(number)
        return None

    def _schedule(self, order: Order, query: Query) -> None:
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
        self._due[client_order_id] = None
        query = self._queries.get(client_order_id)
        order = self._work.book.orders.get(client_order_id)
        if query is not None and order is not None:
            self._schedule(order, query)

    def list_failed(self, failure: OrdersListFailed) -> None:
        """The lists could not be read: each order is looked for by itself, later."""
        for number in failure.client_order_ids:
            if query := self._queries.get(number):
                query.lists_fail = True
            self.failed(number)

    def listed(self, listing: OrdersListed) -> None:
        """Take in what the lists show of many orders. That they lack one proves nothing by itself: pages move while
        they are read. It is queried alone, once the absence counts that this adds to."""
        for answer in listing.found:
            self.answered(answer)
        for fill in listing.fills:
            self._facts.fill(fill)
        for number in listing.missing:
            self._due[number] = None
            query, order = self._queries.get(number), self._work.book.orders.get(number)
            if query is None or order is None or query.asked_ns is None or not query.by_list:
                continue
            counts = order.state != "UNKNOWN" or listing.asked_ns >= self._absence_counts_ns(order)
            self._schedule(order, query)
            if counts:
                query.unlisted_ns, query.next_ns = listing.asked_ns, self._work.now_ns

    def answered(self, answer: OrderQueried) -> None:
        """Take in what a query found."""
        order = self._work.book.orders.get(answer.client_order_id)
        if order is None:
            return
        self._doubted.pop(answer.client_order_id, None)
        self._due[answer.client_order_id] = None
        for fill in answer.fills:
            self._facts.fill(fill, answer.client_order_id)
        if answer.order is not None:
            self._facts.sighting(answer.order, answer.asked_ns)
        query = self._queries.get(answer.client_order_id)
        if query is None:
            return
        query.answers += 1
        unlisted_ns, query.unlisted_ns, query.lists_fail = query.unlisted_ns, None, False
        if answer.order is not None:
            query.absent_since_ns = None
        elif not answer.alone:
            self._absent(order, query, answer.asked_ns)
        elif unlisted_ns is not None:
            self._absent(order, query, min(answer.asked_ns, unlisted_ns))
        if order.is_final or answer.order is not None:
            self._assume_fill(order, query, None if answer.order is None else answer.order.average_price)
        if order.client_order_id in self._work.book.unsettled:
            if query.state_ns != order.state_ns:
                query.state_ns = order.state_ns
            self._schedule(order, query)

    def _absent(self, order: Order, query: Query, asked_ns: int) -> None:
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

    def _assume_fill(self, order: Order, query: Query, average_price: Decimal | None) -> None:
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
        self._asking.drop(client_order_id)
        if self._queries.pop(client_order_id, None) is not None:
            self._work.resolve("order_unresolved", str(client_order_id), f"order {client_order_id} is resolved")


def _doing(order: Order) -> str:
    return "being amended" if order.is_amending else order.state

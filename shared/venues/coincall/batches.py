"""Orders in the venue's batches: up to 40 in one call, each with an outcome of its own, found by its id.

Creating and amending in batches is a right that most accounts lack. It is asked for once, with a batch of nothing;
without it the orders go out singly, a few at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
)
from shared.venues.coincall import build, errors, parse, wire
from shared.venues.coincall.endpoints import BATCH_CANCEL, BATCH_CREATE, BATCH_MODIFY
from shared.venues.coincall.errors import NO_MORE_MARGIN, NO_RIGHT, NOT_SENT_CODE
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.parse import ParseError
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.coincall.wire import Answer, Lost, NotSent

BATCH_MAX = 40
SINGLES_AT_ONCE = 5
"""Without the right: so few that little is on its way when the margin turns out not to suffice, and enough that forty
orders do not wait for each other's round trips."""
_MARGIN_TEXT = "not sent: the margin did not suffice for an order before it in the batch"

Placed = OrderAcked | OrderRefused | OutcomeUnknown
Amended = AmendAcked | AmendRefused | AmendUnknown
Cancelled = CancelAcked | CancelRefused | OutcomeUnknown
T = TypeVar("T")


class Batches:
    """The batch calls of one account. `place`, `amend`: the single calls, for an account without the right."""

    def __init__(
        self,
        rest: RestClient,
        place: Callable[[NewOrder], Awaitable[Placed]],
        amend: Callable[[Amendment], Awaitable[Amended]],
    ) -> None:
        self._rest = rest
        self._place = place
        self._amend = amend
        self._granted: bool | None = None

    async def granted(self) -> bool:
        """Whether the account may create and amend in batches. Asked until the venue has answered once."""
        if self._granted is None:
            result = await self._rest.send(BATCH_MODIFY, {"orders": []}, "close")
            if isinstance(result, Answer):
                self._granted = _right_of(result)
        return bool(self._granted)

    async def place(self, orders: Sequence[NewOrder]) -> tuple[Placed, ...]:
        """Send each order once; outcomes in the order of `orders`. When the margin does not suffice for one, what has
        not left yet is not sent: OrderRefused, kind "rejected", code 0."""
        granted = len(orders) > 1 and await self.granted()
        outcomes: list[Placed] = []
        for part in _parts(orders, BATCH_MAX if granted else SINGLES_AT_ONCE):
            if any(isinstance(done, OrderRefused) and done.code == NO_MORE_MARGIN for done in outcomes):
                outcomes += [_without_margin(order) for order in part]
            elif granted and len(part) > 1:
                outcomes += await self._place_part(part)
            else:
                outcomes += await asyncio.gather(*map(self._place, part))
        return tuple(outcomes)

    async def _place_part(self, orders: Sequence[NewOrder]) -> list[Placed]:
        lane = _lane(order.reduce_only for order in orders)
        params: dict[str, Value] = {"orders": [build.new_order(order) for order in orders]}
        result = await self._rest.send(BATCH_CREATE, params, lane)
        rows = _rows(wire.BatchRow, result)
        if isinstance(rows, list) and len(rows) != len(orders):
            # Only the order of the results says whose each is: one missing makes all of them nobody's.
            rows = Lost(f"{len(rows)} results for {len(orders)} orders")
        if not isinstance(rows, list):
            return [errors.place_outcome(order.client_order_id, rows) for order in orders]
        return [
            errors.place_outcome(order.client_order_id, row.answer()) for order, row in zip(orders, rows, strict=True)
        ]

    async def amend(self, changes: Sequence[Amendment]) -> tuple[Amended, ...]:
        """Send each amendment once; outcomes in the order of `changes`. Results of a batch name the venue's ids: an
        order whose id is not known is amended by itself."""
        named = [change for change in changes if change.order.venue_order_id is not None]
        outcomes: dict[int, Amended] = {}
        if len(named) > 1 and await self.granted():
            for part in _parts(named, BATCH_MAX):
                for outcome in await self._amend_part(part):
                    outcomes[outcome.client_order_id] = outcome
        left = [change for change in changes if change.order.client_order_id not in outcomes]
        for part in _parts(left, SINGLES_AT_ONCE):
            for outcome in await asyncio.gather(*map(self._amend, part)):
                outcomes[outcome.client_order_id] = outcome
        return tuple(outcomes[change.order.client_order_id] for change in changes)

    async def _amend_part(self, changes: Sequence[Amendment]) -> list[Amended]:
        lane = _lane(change.reduce_only for change in changes)
        params: dict[str, Value] = {"orders": [build.amendment(change) for change in changes]}
        result = await self._rest.send(BATCH_MODIFY, params, lane)
        rows = _rows(wire.BatchRow, result)
        if not isinstance(rows, list):
            return [errors.amend_outcome(change.order.client_order_id, rows) for change in changes]
        by_id = {row.order_id(): row for row in rows if row.order_id() is not None}
        found = [by_id.pop(change.order.venue_order_id, None) for change in changes]
        nameless = iter(_nameless_refusals(rows, found.count(None)))
        return [
            errors.amend_outcome(change.order.client_order_id, _result_of(row or next(nameless, None)))
            for change, row in zip(changes, found, strict=True)
        ]

    async def cancel(self, orders: Sequence[OrderRef]) -> tuple[Cancelled, ...]:
        """Ask for each cancel once, by the venue's id where it is known; outcomes in the order of `orders`. No right
        is needed."""
        outcomes: dict[int, Cancelled] = {}
        named = [order for order in orders if order.venue_order_id is not None]
        unnamed = [order for order in orders if order.venue_order_id is None]
        for group, field in ((named, "orderIdList"), (unnamed, "clientOrderIdList")):
            for part in _parts(group, BATCH_MAX):
                for outcome in await self._cancel_part(part, field):
                    outcomes[outcome.client_order_id] = outcome
        return tuple(outcomes[order.client_order_id] for order in orders)

    async def _cancel_part(self, orders: Sequence[OrderRef], field: str) -> list[Cancelled]:
        ids: list[Value] = [
            order.client_order_id if order.venue_order_id is None else order.venue_order_id for order in orders
        ]
        result = await self._rest.send(BATCH_CANCEL, {field: ids}, "cancel")
        rows = _rows(wire.BatchCancelRow, result)
        if not isinstance(rows, list):
            return [errors.cancel_outcome(order.client_order_id, rows) for order in orders]
        return [_cancelled(order, rows) for order in orders]


def _right_of(answer: Answer) -> bool | None:
    """What the answer to a batch of nothing says: refused as such by an account that has the right; an address that
    does not exist, or a refusal of the key, for one that has not; anything else says nothing."""
    if answer.status == 404 or answer.code in NO_RIGHT:
        return False
    kind = errors.kind_of(answer)
    if kind == "auth":
        return False
    return True if answer.code is not None and kind in (None, "rejected") else None


def _cancelled(order: OrderRef, rows: Sequence[wire.BatchCancelRow]) -> Cancelled:
    number = order.client_order_id
    for row in rows:
        if row.names(order.venue_order_id, number):
            if row.scode == 0:
                return CancelAcked(client_order_id=number)
            return CancelRefused(client_order_id=number, code=row.scode, text=row.smsg or "")
    return OutcomeUnknown(client_order_id=number, reason="no result of the batch names this order")


def _rows(kind: type[T], result: Answer | NotSent | Lost) -> list[T] | Answer | NotSent | Lost:
    """The results of a batch that was carried out; for any other, what became of every order in it."""
    data = errors.data_of(result)
    if data is None:
        return result
    try:
        return parse.decoded_list(kind, data)
    except ParseError as error:
        return Lost(f"the results cannot be read: {error}")


def _nameless_refusals(rows: Sequence[wire.BatchRow], missing: int) -> list[wire.BatchRow]:
    """The results without an order's id, when they are as many as orders without a result and all say that nothing
    was changed: whose each is matters little then."""
    nameless = [row for row in rows if row.order_id() is None]
    refused = all(errors.refusal_of(row.answer(), errors.ALREADY_DONE) is not None for row in nameless)
    return nameless if refused and len(nameless) == missing else []


def _result_of(row: wire.BatchRow | None) -> Answer | Lost:
    return Lost("no result of the batch names this order") if row is None else row.answer()


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _lane(reduce_only: Iterable[bool]) -> Lane:
    return "close" if all(reduce_only) else "open"


def _without_margin(order: NewOrder) -> OrderRefused:
    return OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=NOT_SENT_CODE, text=_MARGIN_TEXT)

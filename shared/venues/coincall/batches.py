"""Orders in the venue's batches: up to 40 in one call, each with an outcome of its own, found by its id.

Creating and amending in batches is a right that most accounts lack. It is asked for once, with a batch of nothing;
without it, or once the venue says that it is gone, the orders go out singly, a few at once.
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
from shared.venues.coincall.endpoints import BATCH_CANCEL, BATCH_CREATE, BATCH_MODIFY, Endpoint
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


class Margin:
    """Whether the margin, which is one for all products, has sufficed for every order of one request so far."""

    def __init__(self) -> None:
        self.suffices = True

    def seen(self, outcomes: Iterable[Placed]) -> None:
        if any(isinstance(each, OrderRefused) and each.code == NO_MORE_MARGIN for each in outcomes):
            self.suffices = False


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
        self._doubted = False

    async def granted(self) -> bool:
        """Whether the account may create and amend in batches. Asked until the venue has answered once."""
        if self._granted is None:
            result = await self._rest.send(BATCH_MODIFY, {"orders": []}, "close")
            if isinstance(result, Answer):
                self._granted = _right_of(result)
        return bool(self._granted)

    def _is_gone(self, result: Answer | NotSent | Lost) -> bool:
        """Whether the answer to a batch certainly says that there is no such right. Asked for anew once; a batch that
        is refused though the right was granted again means that there is none."""
        if not errors.lacks_right(result):
            self._doubted = self._doubted and not isinstance(result, Answer)
            return False
        self._granted = False if self._doubted else None
        self._doubted = True
        return True

    async def place(self, orders: Sequence[NewOrder], margin: Margin | None = None) -> tuple[Placed, ...]:
        """Send each order once; outcomes in the order of `orders`. When the margin does not suffice for one, here or
        in another part of the request, what has not left yet and does not only reduce is not sent: OrderRefused, kind
        "rejected", code 0."""
        margin = margin or Margin()
        outcomes: list[Placed] = []
        while (left := orders[len(outcomes) :]) and margin.suffices:
            if len(left) < 2 or not await self.granted():
                break
            placed = await self._place_part(left[:BATCH_MAX])
            if placed is None:
                break
            margin.seen(placed)
            outcomes += placed
        return (*outcomes, *await placed_singly(left, self._place, margin))

    async def _place_part(self, orders: Sequence[NewOrder]) -> list[Placed] | None:
        """None when the right is gone, and none of them was sent."""
        lane = _lane(order.reduce_only for order in orders)
        params: dict[str, Value] = {"orders": [build.new_order(order) for order in orders]}
        result = await self._rest.send(BATCH_CREATE, params, lane)
        if self._is_gone(result):
            return None
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
        if len(named) > 1:
            for part in _parts(named, BATCH_MAX):
                for outcome in await self._amend_part(part) if await self.granted() else ():
                    outcomes[outcome.client_order_id] = outcome
        left = [change for change in changes if change.order.client_order_id not in outcomes]
        for part in _parts(left, SINGLES_AT_ONCE):
            for outcome in await asyncio.gather(*map(self._amend, part)):
                outcomes[outcome.client_order_id] = outcome
        return tuple(outcomes[change.order.client_order_id] for change in changes)

    async def _amend_part(self, changes: Sequence[Amendment]) -> list[Amended]:
        """Without any outcome when the right is gone, and nothing was amended."""
        lane = _lane(change.reduce_only for change in changes)
        params: dict[str, Value] = {"orders": [build.amendment(change) for change in changes]}
        result = await self._rest.send(BATCH_MODIFY, params, lane)
        if self._is_gone(result):
            return []
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


async def placed_singly(
    orders: Sequence[NewOrder], place: Callable[[NewOrder], Awaitable[Placed]], margin: Margin
) -> list[Placed]:
    """Send each order once by itself, a few at once; outcomes in the order of `orders`. None is begun after one, here
    or wherever else `margin` is looked at, for which the margin did not suffice; but those that only reduce are, as
    they need none: a stop order that protects a position is not kept back for want of what others need."""
    outcomes: list[Placed] = []
    for part in _parts(orders, SINGLES_AT_ONCE):
        sent = part if margin.suffices else [order for order in part if order.reduce_only]
        placed = await asyncio.gather(*map(place, sent))
        margin.seen(placed)
        by_id = {outcome.client_order_id: outcome for outcome in placed}
        outcomes += [by_id.get(order.client_order_id) or _without_margin(order) for order in part]
    return outcomes


async def cancelled_together(
    rest: RestClient,
    orders: Sequence[OrderRef],
    cancel: Callable[[OrderRef], Awaitable[Cancelled]],
    endpoint: Endpoint = BATCH_CANCEL,
) -> tuple[Cancelled, ...]:
    """Ask for each cancel once, by the venue's id where it is known; outcomes in the order of `orders`. No right is
    needed. Where the venue has no such call all the same, or refuses it as a whole, each goes by itself: together
    they would be refused again and again, and rest."""
    outcomes: dict[int, Cancelled] = {}
    named = [order for order in orders if order.venue_order_id is not None]
    unnamed = [order for order in orders if order.venue_order_id is None]
    for group, field in ((named, "orderIdList"), (unnamed, "clientOrderIdList")):
        for part in _parts(group, BATCH_MAX):
            ids: list[Value] = [order.venue_order_id or order.client_order_id for order in part]
            result = await rest.send(endpoint, {field: ids}, "cancel")
            is_refused = isinstance(result, Answer) and errors.kind_of(result) == "rejected"
            if errors.lacks_right(result) or is_refused:
                found: Iterable[Cancelled] = await asyncio.gather(*map(cancel, part))
            elif isinstance(rows := _rows(wire.BatchCancelRow, result), list):
                found = [_cancelled(order, rows) for order in part]
            else:
                found = [errors.cancel_outcome(order.client_order_id, rows) for order in part]
            outcomes |= {outcome.client_order_id: outcome for outcome in found}
    return tuple(outcomes[order.client_order_id] for order in orders)


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

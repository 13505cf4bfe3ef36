"""Options and futures of one account behind one interface: orders go where their symbol belongs, lists are whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from shared.messages.contracts import ContractOrder
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
    StreamDown,
    StreamUp,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from shared.options.instruments import base_of, instrument_kind
from shared.tasks import spawn
from shared.venues.coincall.batches import Amended, Cancelled, Placed
from shared.venues.coincall.errors import NOT_SENT_CODE
from shared.venues.coincall.gateway import CoincallGateway
from shared.venues.ports import AccountPush, BookPush, VenueError

T = TypeVar("T")
AccountStream = Callable[[AccountPush | StreamUp | StreamDown], None]


class EveryProduct(CoincallGateway):
    """As CoincallGateway, and perpetuals and dated futures beside options.

    Absence stays evidence: an order is unknown only when both products lack it, and a list of which one part cannot
    be read is not read at all. Spot is not traded here: it has neither reduce-only orders nor positions.
    """

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        match instrument_kind(order.symbol):
            case "option":
                return await super().place(order)
            case "spot":
                return OrderRefused(
                    client_order_id=order.client_order_id,
                    kind="rejected",
                    code=NOT_SENT_CODE,
                    text=f"not sent: {order.symbol} is spot, which is not traded here",
                )
            case _:
                return await self.futures.place(contract_order(order))

    async def place_batch(self, orders: Sequence[NewOrder]) -> tuple[Placed, ...]:
        """Options in the venue's batches, each future by itself."""
        options = [order for order in orders if instrument_kind(order.symbol) == "option"]
        others = [order for order in orders if instrument_kind(order.symbol) != "option"]
        placed = await asyncio.gather(super().place_batch(options), _all(self.place(order) for order in others))
        outcomes = {each.client_order_id: each for part in placed for each in part}
        return tuple(outcomes[order.client_order_id] for order in orders)

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown:
        if instrument_kind(change.order.symbol) == "option":
            return await super().amend(change)
        return await self.futures.amend(change)

    async def amend_batch(self, changes: Sequence[Amendment]) -> tuple[Amended, ...]:
        options = [change for change in changes if instrument_kind(change.order.symbol) == "option"]
        others = [change for change in changes if instrument_kind(change.order.symbol) != "option"]
        amended = await asyncio.gather(super().amend_batch(options), _all(self.amend(change) for change in others))
        outcomes = {each.client_order_id: each for part in amended for each in part}
        return tuple(outcomes[change.order.client_order_id] for change in changes)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        if instrument_kind(order.symbol) == "option":
            return await super().cancel(order)
        return await self.futures.cancel(order)

    async def cancel_batch(self, orders: Sequence[OrderRef]) -> tuple[Cancelled, ...]:
        options = [order for order in orders if instrument_kind(order.symbol) == "option"]
        others = [order for order in orders if instrument_kind(order.symbol) != "option"]
        done = await asyncio.gather(super().cancel_batch(options), _all(self.cancel(order) for order in others))
        outcomes = {each.client_order_id: each for part in done for each in part}
        return tuple(outcomes[order.client_order_id] for order in orders)

    async def cancel_symbol(self, symbol: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        if instrument_kind(symbol) == "option":
            return await super().cancel_symbol(symbol)
        return await self.futures.cancel_symbol(symbol)

    async def cancel_all(self, underlying: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Options of the underlying, its perpetual, its dated futures in which something rests or is held, whatever
        becomes of the others; the first outcome that is no success. A stop order that waits may be in no list: in a
        dated future in which nothing else is, it is not found."""
        outcomes = [await super().cancel_all(underlying)]
        try:
            resting = await self.futures.open_orders()
            held = await self.futures.positions()
        except VenueError as error:
            outcomes.append(OutcomeUnknown(client_order_id=0, reason=f"open futures orders: {error.kind}: {error}"))
        else:
            symbols = {underlying, *(order.symbol for order in resting), *(position.symbol for position in held)}
            ours = sorted(symbol for symbol in symbols if f"{base_of(symbol)}USD" == underlying)
            outcomes += [await self.futures.cancel_symbol(symbol) for symbol in ours]
        return next((each for each in outcomes if not isinstance(each, CancelAcked)), outcomes[0])

    async def order(self, client_order_id: int) -> VenueOrder | None:
        found = await super().order(client_order_id)
        return await self.futures.order(client_order_id) if found is None else found

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return await super().open_orders() + await self.futures.open_orders()

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        found = await super().order_history(since_ns) + await self.futures.order_history(since_ns)
        return tuple(sorted(found, key=lambda order: (order.created_ns, order.venue_order_id)))

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        found = await super().fills(since_ns) + await self.futures.fills(since_ns)
        return tuple(sorted(found, key=lambda fill: (fill.venue_ns, fill.venue_trade_id)))

    async def order_book(self, symbol: str) -> BookPush:
        if instrument_kind(symbol) == "option":
            return await super().order_book(symbol)
        return await self.futures.order_book(symbol)

    async def positions(self) -> tuple[VenuePosition, ...]:
        """Futures too, with a delta of one per coin."""
        options = await super().positions()
        return options + tuple(
            VenuePosition(
                symbol=position.symbol,
                quantity=position.quantity,
                average_price=position.average_price,
                mark=position.mark,
                unrealized_pnl_usd=position.unrealized_pnl_usd,
                delta=float(position.quantity),
            )
            for position in await self.futures.positions()
        )

    async def stream_account(self, deliver: AccountStream) -> None:
        """Both sockets; up when both are, down when one is."""
        up = {"options": False, "futures": False}

        def told(name: str) -> AccountStream:
            def on(item: AccountPush | StreamUp | StreamDown) -> None:
                if isinstance(item, StreamUp | StreamDown):
                    up[name] = isinstance(item, StreamUp)
                if not isinstance(item, StreamUp) or all(up.values()):
                    deliver(item)

            return on

        tasks = [
            spawn(super().stream_account(told("options")), name="coincall options account"),
            spawn(self.futures.stream_account(told("futures")), name="coincall futures account"),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*calls))


def contract_order(order: NewOrder) -> ContractOrder:
    """An order of the desk as one of futures."""
    if order.trigger_price is not None:
        return ContractOrder(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            order_type="stop_market" if order.at_market else "stop_limit",
            price=None if order.at_market else order.price,
            trigger_price=order.trigger_price,
            reduce_only=order.reduce_only,
        )
    return ContractOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        order_type="post_only" if order.post_only else "limit",
        price=order.price,
        time_in_force="GTC" if order.post_only else order.time_in_force,
        reduce_only=order.reduce_only,
    )

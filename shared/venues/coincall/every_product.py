"""Options, futures and spot behind one interface: orders go where their symbol belongs, lists are whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self, TypeVar

from msgspec.structs import replace

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
from shared.options.instruments import instrument_kind, underlying_of
from shared.tasks import spawn
from shared.venues.coincall.batches import Amended, Cancelled, Margin, Placed, placed_singly
from shared.venues.coincall.errors import NOT_SENT_CODE
from shared.venues.coincall.gateway import CoincallGateway
from shared.venues.ports import AccountPush, BookPush, VenueError

AskedT = TypeVar("AskedT", NewOrder, Amendment, OrderRef)
OutcomeT = TypeVar("OutcomeT", Placed, Amended, Cancelled)
AccountStream = Callable[[AccountPush | StreamUp | StreamDown], None]


class EveryProduct(CoincallGateway):
    """As CoincallGateway, and perpetuals, dated futures and spot beside options.

    Absence stays evidence: an order is unknown only when every product lacks it, and a list of which one part cannot
    be read is not read at all. Spot has neither positions nor reduce-only orders: its coins are the account's.
    """

    has_futures: bool = True
    """Whether futures are traded, and read."""

    pairs: tuple[str, ...] = ()
    """Pairs of spot against USDT that are traded, and whose orders and fills are read."""

    def limited_to(self, *, futures: bool, pairs: Sequence[str]) -> Self:
        """The same gateway, with these products beside options."""
        self.has_futures, self.pairs = futures, tuple(pairs)
        return self

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        kind = instrument_kind(order.symbol)
        if kind == "option":
            return await super().place(order)
        if kind == "spot" and order.symbol in self.pairs:
            # spot has no reduce-only orders: what it sells was bought before
            return await self.spot.place(replace(contract_order(order), reduce_only=False))
        if kind == "spot" or not self.has_futures:
            return OrderRefused(
                client_order_id=order.client_order_id,
                kind="rejected",
                code=NOT_SENT_CODE,
                text=f"not sent: {order.symbol} is not traded here",
            )
        return await self.futures.place(contract_order(order))

    async def place_batch(self, orders: Sequence[NewOrder]) -> tuple[Placed, ...]:
        margin = Margin()

        async def singly(those: Sequence[NewOrder]) -> Sequence[Placed]:
            return await placed_singly(those, self.place, margin)

        return await _by_product(
            orders, lambda order: order, lambda those: self._batches.place(those, margin), singly, singly
        )

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown:
        match instrument_kind(change.order.symbol):
            case "option":
                return await super().amend(change)
            case "spot":
                return AmendRefused(
                    client_order_id=change.order.client_order_id,
                    kind="rejected",
                    code=NOT_SENT_CODE,
                    text="not sent: the venue moves no order of spot",
                )
            case _:
                return await self.futures.amend(change)

    async def amend_batch(self, changes: Sequence[Amendment]) -> tuple[Amended, ...]:
        async def each(those: Sequence[Amendment]) -> Sequence[Amended]:
            return await asyncio.gather(*map(self.amend, those))

        return await _by_product(changes, lambda change: change.order, super().amend_batch, each, each)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        match instrument_kind(order.symbol):
            case "option":
                return await super().cancel(order)
            case "spot":
                return await self.spot.cancel(order)
            case _:
                return await self.futures.cancel(order)

    async def cancel_batch(self, orders: Sequence[OrderRef]) -> tuple[Cancelled, ...]:
        async def each(those: Sequence[OrderRef]) -> Sequence[Cancelled]:
            return await asyncio.gather(*map(self.spot.cancel, those))

        return await _by_product(orders, lambda order: order, super().cancel_batch, self.futures.cancel_batch, each)

    async def cancel_all(self, underlying: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Options of the underlying, its perpetual, its dated futures in which something rests or is held, and its
        pair of spot, whatever becomes of the others; the first outcome that is no success. A stop order that waits
        may be in no list: in a dated future in which nothing else is, it is not found."""
        outcomes = [await super().cancel_all(underlying)]
        if self.has_futures:
            outcomes += await self._cancel_futures(underlying)
        outcomes += [await self.spot.cancel_symbol(pair) for pair in self.pairs if underlying_of(pair) == underlying]
        return next((each for each in outcomes if not isinstance(each, CancelAcked)), outcomes[0])

    async def _cancel_futures(self, underlying: str) -> list[CancelAcked | CancelRefused | OutcomeUnknown]:
        try:
            resting = await self.futures.open_orders()
            held = await self.futures.positions()
        except VenueError as error:
            return [OutcomeUnknown(client_order_id=0, reason=f"open futures orders: {error.kind}: {error}")]
        symbols = {underlying, *(order.symbol for order in resting), *(position.symbol for position in held)}
        ours = sorted(symbol for symbol in symbols if underlying_of(symbol) == underlying)
        return [await self.futures.cancel_symbol(symbol) for symbol in ours]

    async def order(self, client_order_id: int) -> VenueOrder | None:
        found = await super().order(client_order_id)
        if found is None and self.has_futures:
            found = await self.futures.order(client_order_id)
        return await self.spot.order(client_order_id) if found is None and self.pairs else found

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        found = await super().open_orders()
        if self.has_futures:
            found += await self.futures.open_orders()
        return found + await self.spot.open_orders() if self.pairs else found

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        found = await super().order_history(since_ns)
        if self.has_futures:
            found += await self.futures.order_history(since_ns)
        for pair in self.pairs:
            found += await self.spot.order_history(pair, since_ns)
        return tuple(sorted(found, key=lambda order: (order.created_ns, order.venue_order_id)))

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        found = await super().fills(since_ns)
        if self.has_futures:
            found += await self.futures.fills(since_ns)
        for pair in self.pairs:
            found += await self.spot.fills(pair, since_ns)
        return tuple(sorted(found, key=lambda fill: (fill.venue_ns, fill.venue_trade_id)))

    async def order_book(self, symbol: str) -> BookPush:
        match instrument_kind(symbol):
            case "option":
                return await super().order_book(symbol)
            case "spot":
                return await self.spot.order_book(symbol)
            case _:
                return await self.futures.order_book(symbol)

    async def positions(self) -> tuple[VenuePosition, ...]:
        """Futures too, with a delta of one per coin."""
        options = await super().positions()
        if not self.has_futures:
            return options
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
        """Every socket; up when all are, down when one is.

        Of spot orders alone: its pushed executions do not tell the fee, which is taken from the coins, so each counts
        once the list of fills tells of it.
        """
        streams = {"options": super().stream_account}
        if self.has_futures:
            streams["futures"] = self.futures.stream_account
        if self.pairs:
            streams["spot"] = self.spot.stream_account
        up = dict.fromkeys(streams, False)

        def told(name: str) -> AccountStream:
            def on(item: AccountPush | StreamUp | StreamDown) -> None:
                if isinstance(item, StreamUp | StreamDown):
                    up[name] = isinstance(item, StreamUp)
                elif name == "spot" and isinstance(item, VenueFill):
                    return
                if not isinstance(item, StreamUp) or all(up.values()):
                    deliver(item)

            return on

        tasks = [spawn(run(told(name)), name=f"coincall {name} account") for name, run in streams.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


async def _by_product(
    asked: Sequence[AskedT],
    order_of: Callable[[AskedT], NewOrder | OrderRef],
    options: Callable[[Sequence[AskedT]], Awaitable[Sequence[OutcomeT]]],
    futures: Callable[[Sequence[AskedT]], Awaitable[Sequence[OutcomeT]]],
    spot: Callable[[Sequence[AskedT]], Awaitable[Sequence[OutcomeT]]],
) -> tuple[OutcomeT, ...]:
    """Each product by its own call, at once; outcomes in the order of `asked`."""
    parts: tuple[list[AskedT], list[AskedT], list[AskedT]] = ([], [], [])
    for each in asked:
        parts[{"option": 0, "spot": 2}.get(instrument_kind(order_of(each).symbol), 1)].append(each)
    calls = [call(part) for call, part in zip((options, futures, spot), parts, strict=True) if part]
    done = await asyncio.gather(*calls)
    outcomes = {outcome.client_order_id: outcome for found in done for outcome in found}
    return tuple(outcomes[order_of(each).client_order_id] for each in asked)


def contract_order(order: NewOrder) -> ContractOrder:
    """An order of the desk as one of futures or spot."""
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

"""Carries the effects of the cash rule to the venue's spot, and every outcome back. It decides nothing."""

from __future__ import annotations

from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

from services.execution.cash_effects import (
    CashRead,
    CashReadFailed,
    FindSale,
    FindStrays,
    ReadCash,
    SaleFound,
    SaleNotAnswered,
    StraysFound,
    StraysNotFound,
    WithdrawSale,
)
from services.execution.cash_rule import CashSeen, Holding
from shared.clock import Clock
from shared.messages.venue import OPEN_VENUE_STATES, OutcomeUnknown, VenueFill, VenueOrder
from shared.options.book import unpack_levels
from shared.venues.ports import CashGateway, VenueError

Errand = tuple[Coroutine[Any, Any, Any], str, Any, tuple[int, ...]]


class CashCourier:
    """What an effect of the cash rule takes, for the courier that carries it."""

    def __init__(self, gateway: CashGateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock

    def errand(self, effect: ReadCash | WithdrawSale | FindSale | FindStrays) -> Errand:
        """The call, its name, its outcome if it raises, and the order it is about."""
        match effect:
            case WithdrawSale(order=ref):
                number = ref.client_order_id
                unknown = OutcomeUnknown(client_order_id=number, reason="the cancel failed here")
                return self._gateway.spot.cancel(ref), f"withdraw-sale-{number}", unknown, (number,)
            case FindSale(client_order_id=number):
                failed = SaleNotAnswered(number, "the query failed here")
                return self._find(effect), f"find-sale-{number}", failed, (number,)
            case FindStrays():
                return self._strays(effect), "find-strays", StraysNotFound("the reads failed here"), ()
            case ReadCash():
                return self._read(effect), "read-cash", CashReadFailed("the reads failed here"), ()

    async def _read(self, read: ReadCash) -> CashRead | CashReadFailed:
        asked_ns = self._clock.now_ns()
        spot = self._gateway.spot
        try:
            holdings = await self._gateway.holdings(read.asset)
            resting = await spot.open_orders()
            usdt, asset = holdings.get("USDT"), holdings.get(read.asset)
            if usdt is None:
                return CashReadFailed("the account does not tell its USDT")
            spec = index = book = None
            if usdt.cash < read.below_usdt:
                spec = next((each for each in await spot.specifications() if each.symbol == read.symbol), None)
            if spec is not None:
                index = (await spot.ticker(read.symbol)).index
                book = await spot.order_book(read.symbol)
        except VenueError as error:
            return CashReadFailed(f"{error.kind}: {error}")
        sales = [order for order in resting if order.symbol == read.symbol and order.side == "sell"]
        seen = CashSeen(
            usdt=usdt.cash,
            asset=Holding(Decimal(0), Decimal(0)) if asset is None else Holding(asset.cash, asset.free),
            claimed=sum((order.quantity - order.filled_quantity for order in sales), Decimal(0)),
            spec=spec,
            index=None if index is None else Decimal(repr(index)),
            bids=() if book is None else _levels(book.bids),
            asks=() if book is None else _levels(book.asks),
        )
        return CashRead(asked_ns, seen, tuple(sales))

    async def _strays(self, query: FindStrays) -> StraysFound | StraysNotFound:
        asked_ns = self._clock.now_ns()
        spot = self._gateway.spot
        try:
            # orders first: what one of them sells meanwhile is among the fills
            orders = await spot.open_orders()
            fills = await spot.fills(query.symbol, query.since_ns)
        except VenueError as error:
            return StraysNotFound(f"{error.kind}: {error}")
        return StraysFound(asked_ns=asked_ns, orders=orders, fills=fills)

    async def _find(self, query: FindSale) -> SaleFound | SaleNotAnswered:
        asked_ns = self._clock.now_ns()
        spot, number = self._gateway.spot, query.client_order_id
        try:
            order = await spot.order(number)
            if order is None:
                order = _of(number, await spot.open_orders())
            if order is None:
                order = _of(number, await spot.order_history(query.symbol, query.since_ns))
            fills: tuple[VenueFill, ...] = ()
            if order is None or order.filled_quantity or order.state not in OPEN_VENUE_STATES:
                # the row of an order may lag behind its fills
                fills = await spot.fills(query.symbol, query.since_ns)
        except VenueError as error:
            return SaleNotAnswered(number, f"{error.kind}: {error}")
        venue_id = None if order is None else order.venue_order_id
        return SaleFound(
            client_order_id=number,
            asked_ns=asked_ns,
            order=order,
            fills=tuple(
                fill
                for fill in fills
                if fill.client_order_id == number or (venue_id is not None and fill.venue_order_id == venue_id)
            ),
        )


def _of(number: int, orders: tuple[VenueOrder, ...]) -> VenueOrder | None:
    return next((order for order in orders if order.client_order_id == number), None)


def _levels(side: bytes) -> tuple[tuple[Decimal, Decimal], ...]:
    levels = unpack_levels(side)
    return tuple((Decimal(repr(float(price))), Decimal(repr(float(size)))) for price, size in levels.T)

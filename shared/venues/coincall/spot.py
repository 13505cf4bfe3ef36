"""Spot of Coincall, over the REST client of options: one budget of calls, one breaker. Coins are in the account."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from shared.messages.contracts import ContractOrder, SpotSpec, SpotTicker
from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    VenueFill,
    VenueOrder,
    VenueOrderState,
)
from shared.venues.coincall import build, errors, parse, parse_on_demand
from shared.venues.coincall import contract_endpoints as endpoints
from shared.venues.coincall.endpoints import Endpoint
from shared.venues.coincall.errors import NOT_SENT_CODE
from shared.venues.coincall.futures import read
from shared.venues.coincall.history import windows
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded, decoded_list, exact, side_of
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.coincall.wire import Id, Measure, Millis, Number, VenueId
from shared.venues.ports import BookPush, VenueError

LIST_MAX = 1_000
"""Rows of one answer. The lists of spot have no pages: a full one is asked for again from its newest row on."""

_STATES: dict[int, VenueOrderState] = {0: "new", 1: "filled", 2: "partial", 3: "cancelled"}

T = TypeVar("T", VenueOrder, VenueFill)


class LotRow(msgspec.Struct, frozen=True):
    basePrecision: Decimal
    minQty: Decimal
    maxQty: Decimal


class PriceRow(msgspec.Struct, frozen=True):
    tickSize: Decimal


class InstrumentRow(msgspec.Struct, frozen=True):
    symbol: str
    baseCoin: str
    quoteCoin: str
    lotSizeFilter: LotRow
    priceFilter: PriceRow
    enableTrading: int = 1


class OverviewRow(msgspec.Struct, frozen=True):
    s: str
    c: Measure = None
    i: Measure = None


class BookRow(msgspec.Struct, frozen=True):
    s: str
    ts: Millis
    b: list[tuple[float, float]] = []
    a: list[tuple[float, float]] = []


class OrderRow(msgspec.Struct, frozen=True):
    orderId: VenueId
    symbol: str
    qty: Decimal
    price: Decimal
    tradeSide: int
    status: int
    ts: Millis
    clientOrderId: Id = None
    fillQty: Number = None
    avgPrice: Number = None
    updateTime: Millis | None = None


class FillRow(msgspec.Struct, frozen=True):
    orderId: VenueId
    tradeId: VenueId
    symbol: str
    tradeSide: int
    price: Decimal
    qty: Decimal
    ts: Millis
    clientOrderId: Id = None
    fee: Number = None
    feeCurrency: str | None = None
    isTaker: int | None = None


class CoincallSpot:
    """Spot of one account, by the rules of option orders: each call is sent once, every outcome is returned, a code
    outside the table of refusals is an unknown outcome. There are neither amendments nor reduce-only orders."""

    def __init__(self, rest: RestClient, on_skipped: Callable[[str], None]) -> None:
        self._rest = rest
        self._on_skipped = on_skipped

    async def specifications(self) -> tuple[SpotSpec, ...]:
        """The pairs against USDT that can be traded."""
        data = await self._rest.read(endpoints.SPOT_INSTRUMENTS, {"limit": LIST_MAX})
        return read(lambda body: parse_specifications(body, self._on_skipped), data)

    async def ticker(self, symbol: str) -> SpotTicker:
        """Last price and index of one pair."""
        data = await self._rest.read(endpoints.SPOT_OVERVIEW, {"symbol": symbol})
        row = read(lambda body: decoded(OverviewRow, body), data)
        if row.s != symbol:
            raise VenueError("unknown", f"overview of {row.s}, asked for {symbol}")
        return SpotTicker(symbol=symbol, last=row.c or None, index=row.i or None)

    async def order_book(self, symbol: str, depth: int = 50) -> BookPush:
        data = await self._rest.read(endpoints.SPOT_BOOK, {"symbol": symbol, "depth": depth})
        row = read(lambda body: decoded(BookRow, body), data)
        sides = [([price for price, _ in side], [size for _, size in side]) for side in (row.b, row.a)]
        return read(lambda _: parse_on_demand.book(symbol, row.ts * NS_PER_MS, *sides), data)

    async def place(self, order: ContractOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        """Send one order, once. What spot cannot do is refused here: OrderRefused with code 0 and "not sent: ..."."""
        wrong = _impossible(order)
        if wrong is not None:
            return OrderRefused(
                client_order_id=order.client_order_id, kind="rejected", code=NOT_SENT_CODE, text=f"not sent: {wrong}"
            )
        lane: Lane = "close" if order.side == "sell" else "open"
        result = await self._rest.send(endpoints.CREATE_SPOT_ORDER, build.spot_order(order), lane)
        return errors.place_outcome(order.client_order_id, result)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Ask for one cancel, once."""
        params: dict[str, Value] = {name: str(value) for name, value in build.order_reference(order).items()}
        result = await self._rest.send(endpoints.CANCEL_SPOT_ORDER, params, "cancel")
        return errors.cancel_outcome(order.client_order_id, result)

    async def order(self, client_order_id: int) -> VenueOrder | None:
        """Query one order; None when the venue does not know it among those of spot."""
        answer = await self._rest.read_answer(endpoints.SPOT_ORDER, {"clientOrderId": str(client_order_id)})
        if errors.is_not_found(answer) or answer.data == b"null":
            return None
        kind = errors.kind_of(answer)
        if kind is not None:
            raise VenueError(kind, f"spot order: {errors.describe(answer)}", answer.code)
        found = read(parse_order, answer.data)
        if found.client_order_id != client_order_id:
            raise VenueError("unknown", f"spot order: asked for {client_order_id}, told of {found.client_order_id}")
        return found

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        data = await self._rest.read(endpoints.SPOT_OPEN_ORDERS)
        return read(lambda body: tuple(parse_order(row) for row in decoded_list(msgspec.Raw, body)), data)

    async def order_history(self, symbol: str, since_ns: int) -> tuple[VenueOrder, ...]:
        """Orders of one pair created since then, open ones too, oldest first."""
        rows = await self._since(
            endpoints.SPOT_ALL_ORDERS, symbol, since_ns, parse_order, lambda row: (row.created_ns, row.venue_order_id)
        )
        return tuple(rows)

    async def fills(self, symbol: str, since_ns: int) -> tuple[VenueFill, ...]:
        """Executions in one pair since then, oldest first."""
        rows = await self._since(
            endpoints.SPOT_FILLS, symbol, since_ns, parse_fill, lambda row: (row.venue_ns, row.venue_trade_id)
        )
        return tuple(rows)

    async def _since(
        self,
        endpoint: Endpoint,
        symbol: str,
        since_ns: int,
        read_row: Callable[[msgspec.Raw], T],
        key_of: Callable[[T], tuple[int, int]],
    ) -> list[T]:
        """All rows of a list that tells the newest first; a full answer is gone on with before its oldest row."""
        found: dict[tuple[int, int], T] = {}
        for start_ms, last_ms in windows(since_ns, self._rest.venue_now_ns()):
            end_ms = last_ms
            while True:
                params: dict[str, Value] = {
                    "symbol": symbol,
                    "limit": LIST_MAX,
                    "startTime": start_ms,
                    "endTime": end_ms,
                }
                data = await self._rest.read(endpoint, params)
                rows = read(lambda body: [read_row(row) for row in decoded_list(msgspec.Raw, body)], data)
                found |= {key_of(row): row for row in rows}
                oldest_ms = min((key_of(row)[0] for row in rows), default=0) // NS_PER_MS
                if len(rows) < LIST_MAX or oldest_ms <= start_ms:
                    break
                if oldest_ms >= end_ms:
                    raise VenueError("unknown", f"{endpoint.name}: more than {LIST_MAX} rows in one millisecond")
                end_ms = oldest_ms
        return [found[key] for key in sorted(found)]


def parse_specifications(data: bytes, skipped: Callable[[str], None]) -> tuple[SpotSpec, ...]:
    """Pairs against USDT. A row that cannot be read is reported to `skipped` and left out."""
    found = []
    for item in decoded_list(msgspec.Raw, data):
        try:
            row = decoded(InstrumentRow, item)
            tick, lot = exact(row.priceFilter.tickSize), exact(row.lotSizeFilter.basePrecision)
            if tick <= 0 or lot <= 0:
                raise ParseError(f"{row.symbol}: tickSize {tick} and basePrecision {lot} must be above 0")
        except ParseError as error:
            skipped(f"spot instrument: {error}")
            continue
        if row.enableTrading and row.quoteCoin == "USDT":
            found.append(
                SpotSpec(
                    symbol=row.symbol,
                    coin=row.baseCoin,
                    tick_size=tick,
                    lot_size=lot,
                    min_quantity=exact(row.lotSizeFilter.minQty),
                    max_quantity=exact(row.lotSizeFilter.maxQty),
                )
            )
    return tuple(found)


def parse_order(data: msgspec.Raw | bytes) -> VenueOrder:
    row = decoded(OrderRow, data)
    state = _STATES.get(row.status)
    if state is None:
        raise ParseError(f"spot order {row.orderId}: status {row.status} is not known")
    return VenueOrder(
        venue_order_id=row.orderId,
        client_order_id=parse.client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=side_of(row.tradeSide),
        quantity=exact(row.qty),
        filled_quantity=exact(row.fillQty or Decimal(0)),
        price=exact(row.price),
        average_price=exact(row.avgPrice) if row.avgPrice else None,
        state=state,
        reduce_only=False,
        created_ns=row.ts * NS_PER_MS,
        updated_ns=(row.updateTime or row.ts) * NS_PER_MS,
    )


def parse_fill(data: msgspec.Raw | bytes) -> VenueFill:
    """The fee in USD: one in the coin that was bought counts at the price of the fill."""
    row = decoded(FillRow, data)
    price = exact(row.price)
    fee = None if row.fee is None else exact(row.fee)
    if fee is not None and row.feeCurrency not in (None, "USDT"):
        if row.feeCurrency != row.symbol.removesuffix("USDT"):
            raise ParseError(f"spot fill {row.tradeId}: fee in {row.feeCurrency}, which has no price here")
        fee = exact(fee * price)
    return VenueFill(
        venue_trade_id=row.tradeId,
        venue_order_id=row.orderId,
        client_order_id=parse.client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=side_of(row.tradeSide),
        quantity=exact(row.qty),
        price=price,
        fee_usd=fee,
        is_taker=bool(row.isTaker),
        venue_ns=row.ts * NS_PER_MS,
    )


def _impossible(order: ContractOrder) -> str | None:
    if order.order_type in ("stop_limit", "stop_market"):
        return "spot has no stop orders"
    if order.time_in_force != "GTC":
        return f"spot has no time in force {order.time_in_force}"
    return "spot has no reduce-only orders" if order.reduce_only else None

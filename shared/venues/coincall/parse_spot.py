"""Coincall's structures of spot to our messages; as `parse.py`: rows about money must all be readable."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from shared.ids import trade_number_of_order
from shared.messages.base import Side
from shared.messages.contracts import SpotSpec, SpotTicker
from shared.messages.on_demand import PERIOD_NS, Kline, KlinePeriod, MarketTrade
from shared.messages.venue import VenueFill, VenueOrder, VenueOrderState
from shared.venues.coincall import parse, parse_on_demand
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded, decoded_list, exact, side_of
from shared.venues.coincall.wire import Id, Measure, Millis, Number, VenueId
from shared.venues.ports import BookPush, LastTradesPush

T = TypeVar("T")
INTERVALS: dict[KlinePeriod, str] = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "60min",
    "4h": "4hour",
    "1d": "1day",
    "1w": "1week",
}
"""The venue's names of the periods."""

_STATES: dict[int, VenueOrderState] = {0: "new", 1: "filled", 2: "partial", 3: "cancelled"}
_SIDES = {"buy": 1, "sell": 2, "1": 1, "2": 2}


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
    s: str | None = None
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
    tradeSide: int
    status: int
    ts: Millis
    price: Number = None
    clientOrderId: Id = None
    fillQty: Number = None
    avgPrice: Number = None
    updateTime: Millis | None = None


class OwnerRow(msgspec.Struct, frozen=True):
    """What tells whose an order or fill is."""

    orderId: VenueId
    symbol: str
    clientOrderId: Id = None


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


class TradeRow(msgspec.Struct, frozen=True):
    symbol: str
    price: Decimal
    qty: Decimal
    side: int
    ts: Millis


class KlineRow(msgspec.Struct, frozen=True):
    endTime: Millis
    open: float
    close: float
    low: float
    high: float
    volume: Measure = None


class OrderFrame(msgspec.Struct, frozen=True):
    """A push of the order topic: sides are words, and what an event does not change may be left out."""

    orderId: VenueId
    symbol: str
    qty: Decimal
    tradeSide: str | int
    status: int
    createTime: Millis
    price: Number = None
    clientOrderId: Id = None
    filledQty: Number = None
    avgPrice: Number = None
    matchTime: Millis | None = None


class TradeFrame(msgspec.Struct, frozen=True):
    """A push of the trade topic. `volume` is a value, `matchVolume` what was traded."""

    orderId: VenueId
    tradeId: VenueId
    symbol: str
    tradeSide: str | int
    price: Decimal
    matchVolume: Decimal
    ts: Millis
    clientOrderId: Id = None
    isTaker: int | None = None


def parse_specifications(data: bytes, skipped: Callable[[str], None]) -> tuple[SpotSpec, ...]:
    """Pairs against USDT. A row that cannot be read is reported to `skipped` and left out."""
    found = []
    for item in decoded_list(msgspec.Raw, data):
        try:
            row = decoded(InstrumentRow, item)
            tick, lot = exact(row.priceFilter.tickSize), exact(row.lotSizeFilter.basePrecision)
            least, most = exact(row.lotSizeFilter.minQty), exact(row.lotSizeFilter.maxQty)
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
                    min_quantity=least,
                    max_quantity=most,
                )
            )
    return tuple(found)


def parse_book(data: msgspec.Raw | bytes, symbol: str) -> BookPush:
    """The book by REST."""
    row = decoded(BookRow, data)
    sides = [([price for price, _ in side], [size for _, size in side]) for side in (row.b, row.a)]
    return parse_on_demand.book(symbol, row.ts * NS_PER_MS, *sides)


def parse_ticker(data: msgspec.Raw | bytes) -> SpotTicker:
    """The overview of one pair: its fields, a map that has them under the symbol, or both."""
    row = decoded(OverviewRow, data)
    if row.s is None:
        rows = list(decoded(dict[str, OverviewRow], data).values())
        if len(rows) != 1 or rows[0].s is None:
            raise ParseError(f"overview of {len(rows)} pairs, expected one that is named")
        row = rows[0]
    assert row.s is not None
    return SpotTicker(symbol=row.s, last=row.c or None, index=row.i or None)


def parse_trades(data: msgspec.Raw | bytes) -> tuple[MarketTrade, ...]:
    """Trades of anybody, newest first, in whatever order the venue lists them."""
    trades = [
        MarketTrade(
            symbol=row.symbol,
            side=side_of(row.side),
            price=exact(row.price),
            quantity=exact(row.qty),
            venue_ns=row.ts * NS_PER_MS,
        )
        for row in decoded_list(TradeRow, data)
    ]
    return parse_on_demand.newest_first(trades)


def parse_trades_frame(data: msgspec.Raw | bytes) -> tuple[LastTradesPush, ...]:
    """A push of the trade topic of the market: one LastTradesPush per pair in it (as a rule one)."""
    found: dict[str, list[MarketTrade]] = {}
    for trade in parse_trades(data):
        found.setdefault(trade.symbol, []).append(trade)
    return tuple(LastTradesPush(symbol=symbol, trades=tuple(trades)) for symbol, trades in found.items())


def parse_klines(data: msgspec.Raw | bytes, period: KlinePeriod) -> tuple[Kline, ...]:
    """Oldest first; the venue names the end of a bar, we its beginning."""
    klines = [
        Kline(
            start_ns=row.endTime * NS_PER_MS - PERIOD_NS[period],
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            volume=row.volume or 0.0,
        )
        for row in decoded_list(KlineRow, data)
    ]
    return tuple(sorted(klines, key=lambda kline: kline.start_ns))


def parse_rows(data: bytes, read_row: Callable[[msgspec.Raw], T], skipped: Callable[[str], None]) -> list[T | None]:
    """A list of orders or fills. One that cannot be read and bears no desk's number is reported to `skipped` and is
    None; one that does, or of which nobody can tell, raises ParseError."""
    found: list[T | None] = []
    for row in decoded_list(msgspec.Raw, data):
        try:
            found.append(read_row(row))
        except ParseError as error:
            owner = decoded(OwnerRow, row)
            number = parse.client_order_id_of(owner.clientOrderId, owner.orderId)
            if number is not None and trade_number_of_order(number) is not None:
                raise
            skipped(f"{owner.symbol}, order {owner.orderId} of somebody else: {error}")
            found.append(None)
    return found


def _state_of(row: OrderRow | OrderFrame) -> VenueOrderState:
    state = _STATES.get(row.status)
    if state is None:
        raise ParseError(f"spot order {row.orderId}: status {row.status} is not known")
    return state


def parse_order(data: msgspec.Raw | bytes) -> VenueOrder:
    """One order of spot; `price` is 0 where there is none, as of a market order."""
    row = decoded(OrderRow, data)
    state = _state_of(row)
    return VenueOrder(
        venue_order_id=row.orderId,
        client_order_id=parse.client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=side_of(row.tradeSide),
        quantity=exact(row.qty),
        filled_quantity=exact(row.fillQty or Decimal(0)),
        price=exact(row.price or Decimal(0)),
        average_price=exact(row.avgPrice) if row.avgPrice else None,
        state=state,
        reduce_only=False,
        created_ns=row.ts * NS_PER_MS,
        updated_ns=(row.updateTime or row.ts) * NS_PER_MS,
    )


def parse_fill(data: msgspec.Raw | bytes) -> VenueFill:
    """The fee in USD: one in the coin that was bought counts at the price of the fill, one in a third coin is not
    known."""
    row = decoded(FillRow, data)
    price = exact(row.price)
    fee, fee_coins = None if row.fee is None else exact(row.fee), Decimal(0)
    if fee is not None and row.feeCurrency not in (None, "USDT"):
        is_kept = row.feeCurrency == row.symbol.removesuffix("USDT")
        fee, fee_coins = (exact(fee * price), fee) if is_kept else (None, fee_coins)
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
        fee_coins=fee_coins,
    )


def parse_order_frame(data: msgspec.Raw | bytes) -> VenueOrder:
    """A push of the account's orders."""
    row = decoded(OrderFrame, data)
    state = _state_of(row)
    return VenueOrder(
        venue_order_id=row.orderId,
        client_order_id=parse.client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=_side(row.tradeSide),
        quantity=exact(row.qty),
        filled_quantity=exact(row.filledQty or Decimal(0)),
        price=exact(row.price or Decimal(0)),
        average_price=exact(row.avgPrice) if row.avgPrice else None,
        state=state,
        reduce_only=False,
        created_ns=row.createTime * NS_PER_MS,
        updated_ns=(row.matchTime or row.createTime) * NS_PER_MS,
    )


def parse_trade_frame(data: msgspec.Raw | bytes) -> VenueFill:
    """A push of the account's executions. Its fee names no coin and has no certain sign: the list of fills tells."""
    row = decoded(TradeFrame, data)
    return VenueFill(
        venue_trade_id=row.tradeId,
        venue_order_id=row.orderId,
        client_order_id=parse.client_order_id_of(row.clientOrderId, row.orderId),
        symbol=row.symbol,
        side=_side(row.tradeSide),
        quantity=exact(row.matchVolume),
        price=exact(row.price),
        fee_usd=None,
        is_taker=bool(row.isTaker),
        venue_ns=row.ts * NS_PER_MS,
    )


def _side(told: str | int) -> Side:
    return side_of(_SIDES.get(told.lower(), 0) if isinstance(told, str) else told)

"""Coincall's order books, last trades and k-lines to our structures. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import gt, lt

import msgspec

from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
from shared.venues.coincall import wire
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded, decoded_list, exact, side_of
from shared.venues.ports import BookPush

PERIODS: dict[KlinePeriod, str] = {
    "1m": "m1",
    "5m": "m5",
    "15m": "m15",
    "30m": "m30",
    "1h": "h1",
    "4h": "h4",
    "1d": "d1",
    "1w": "w1",
}
"""The venue's names of the periods; its months and quarters outlast most options."""

Level = tuple[float, float]


def parse_book(data: bytes, symbol: str) -> BookPush:
    """The book by REST. Raises ParseError for one that cannot be one."""
    row = decoded(wire.BookRow, data)
    bids, asks = ((level.price, level.size) for level in row.bids or ()), ((x.price, x.size) for x in row.asks or ())
    return _book(symbol, 0, bids, asks)


def parse_book_frame(data: msgspec.Raw | bytes, frame_ts_ms: int | None) -> BookPush:
    """A push of the order-book channel, always a full image. Raises ParseError for one that cannot be one."""
    frame = decoded(wire.BookFrame, data)
    bids, asks = ((level.pr, level.sz) for level in frame.bids or ()), ((x.pr, x.sz) for x in frame.asks or ())
    return _book(frame.s, (frame.ts or frame_ts_ms or 0) * NS_PER_MS, bids, asks)


def parse_last_trades(data: bytes) -> tuple[MarketTrade, ...]:
    """Newest first, in whatever order the venue lists them."""
    trades = [
        MarketTrade(
            symbol=row.symbol,
            side=side_of(row.tradeSide),
            price=exact(row.price),
            quantity=exact(row.qty),
            venue_ns=row.time * NS_PER_MS,
        )
        for row in decoded_list(wire.LastTradeRow, data)
    ]
    return tuple(sorted(trades, key=lambda trade: trade.venue_ns, reverse=True))


def parse_klines(data: bytes, skipped: Callable[[str], None]) -> tuple[Kline, ...]:
    """Oldest first. A bar without its prices is left out, one whose high and low do not enclose them is reported to
    `skipped` and left out."""
    klines = []
    for row in decoded_list(wire.KlineRow, data):
        if row.open is None or row.high is None or row.low is None or row.close is None:
            continue
        prices = (row.open, row.high, row.low, row.close)
        if not (
            all(0 <= price < math.inf for price in prices) and row.low == min(prices) and row.high == max(prices)
        ):
            skipped(f"kline at {row.time}: open, high, low, close {prices} are no bar")
            continue
        klines.append(
            Kline(
                start_ns=row.time * NS_PER_MS,
                open=row.open,
                high=row.high,
                low=row.low,
                close=row.close,
                volume=row.volume or 0.0,
            )
        )
    return tuple(sorted(klines, key=lambda kline: kline.start_ns))


def _book(symbol: str, venue_ns: int, bids: Iterable[Level], asks: Iterable[Level]) -> BookPush:
    book = BookPush(
        symbol=symbol,
        venue_ns=venue_ns,
        bids=_side(symbol, "bids", bids, gt),
        asks=_side(symbol, "asks", asks, lt),
    )
    if book.bids and book.asks and book.bids[0][0] >= book.asks[0][0]:
        raise ParseError(f"book of {symbol} is crossed: bid {book.bids[0][0]}, ask {book.asks[0][0]}")
    return book


def _side(
    symbol: str, name: str, levels: Iterable[Level], better: Callable[[float, float], bool]
) -> tuple[Level, ...]:
    """Levels with a size, which must be finite and in order."""
    kept: list[Level] = []
    for price, size in levels:
        if not (0 < price < math.inf and 0 <= size < math.inf):
            raise ParseError(f"book of {symbol}: level {price} x {size} of its {name}")
        if kept and not better(kept[-1][0], price):
            raise ParseError(f"book of {symbol}: its {name} are out of order at {price}")
        if size:
            kept.append((price, size))
    return tuple(kept)

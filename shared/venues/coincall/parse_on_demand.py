"""Coincall's order books, last trades and k-lines to our structures. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
from shared.options.book import pack_sides
from shared.venues.coincall import wire
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded, decoded_list, exact, side_of
from shared.venues.ports import BookPush, LastTradesPush

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

_BLANKS_BEFORE_QUOTE = re.compile(rb'[ \t]+"')

Levels = tuple[list[float], list[float]]
"""Prices and sizes."""


def parse_book(data: bytes, symbol: str) -> BookPush:
    """The book by REST. Raises ParseError for one that cannot be one."""
    row = decoded(wire.BookRow, data)
    bids, asks = (
        ([level.price for level in side or ()], [level.size for level in side or ()]) for side in (row.bids, row.asks)
    )
    return book(symbol, 0, bids, asks)


def parse_book_frame(data: msgspec.Raw | bytes, frame_ts_ms: int | None) -> BookPush:
    """A push of the order-book channel, always a full image. Raises ParseError for one that cannot be one."""
    try:
        frame = decoded(wire.BookFrame, data)
    except ParseError:
        # numbers of the futures book were seen with blanks behind them
        frame = decoded(wire.BookFrame, _BLANKS_BEFORE_QUOTE.sub(b'"', bytes(data)))
    bids, asks = (
        ([level.pr for level in side or ()], [level.sz for level in side or ()]) for side in (frame.bids, frame.asks)
    )
    return book(frame.s, (frame.ts or frame_ts_ms or 0) * NS_PER_MS, bids, asks)


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
    return newest_first(trades)


def parse_last_trades_frame(data: msgspec.Raw | bytes) -> tuple[LastTradesPush, ...]:
    """A push of the last-trade channel: one LastTradesPush per option in it (as a rule one)."""
    found: dict[str, list[MarketTrade]] = {}
    for row in decoded_list(wire.LastTradeFrameRow, data):
        trade = MarketTrade(
            symbol=row.s,
            side=side_of(row.sd),
            price=exact(row.pr),
            quantity=exact(row.q),
            venue_ns=row.ts * NS_PER_MS,
        )
        found.setdefault(row.s, []).append(trade)
    return tuple(LastTradesPush(symbol=symbol, trades=newest_first(trades)) for symbol, trades in found.items())


def newest_first(trades: Sequence[MarketTrade]) -> tuple[MarketTrade, ...]:
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


def book(symbol: str, venue_ns: int, bids: Levels, asks: Levels) -> BookPush:
    """Best prices first. Raises ParseError for sides that cannot be one book."""
    bids_packed, best_bid = _side(symbol, "bids", bids, -1.0)
    asks_packed, best_ask = _side(symbol, "asks", asks, 1.0)
    if best_bid is not None and best_ask is not None and best_bid >= best_ask:
        raise ParseError(f"book of {symbol} is crossed: bid {best_bid}, ask {best_ask}")
    return BookPush(symbol=symbol, venue_ns=venue_ns, bids=bids_packed, asks=asks_packed)


def _side(symbol: str, name: str, levels: Levels, direction: float) -> tuple[bytes, float | None]:
    """The levels that have a size, packed, and the best price; all must be finite and worse one after the other."""
    prices, sizes = np.array(levels[0]), np.array(levels[1])
    if not prices.size:
        return b"", None
    usable = (prices > 0.0) & (prices < np.inf) & (sizes >= 0.0) & (sizes < np.inf)
    if not usable.all():
        at = int(usable.argmin())
        raise ParseError(f"book of {symbol}: level {prices[at]} x {sizes[at]} of its {name}")
    ordered = direction * (prices[1:] - prices[:-1]) > 0.0
    if not ordered.all():
        raise ParseError(f"book of {symbol}: its {name} are out of order at {prices[int(ordered.argmin()) + 1]}")
    kept = sizes > 0.0
    if not kept.all():
        prices, sizes = prices[kept], sizes[kept]
    return pack_sides(prices, sizes), float(prices[0]) if prices.size else None

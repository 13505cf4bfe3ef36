"""Market data on demand: order books while a consumer asks for them; last trades, k-lines and funding when asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side

KlinePeriod = Literal["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
_MINUTE_NS = 60_000_000_000
PERIOD_NS: dict[KlinePeriod, int] = {
    "1m": _MINUTE_NS,
    "5m": 5 * _MINUTE_NS,
    "15m": 15 * _MINUTE_NS,
    "30m": 30 * _MINUTE_NS,
    "1h": 60 * _MINUTE_NS,
    "4h": 240 * _MINUTE_NS,
    "1d": 1_440 * _MINUTE_NS,
    "1w": 10_080 * _MINUTE_NS,
}

CACHE_AGE_MAX_MS = 30_000
"""Nothing older is ever answered from the cache, whatever a request tolerates."""


class OrderBook(Message, frozen=True, kw_only=True, array_like=True, tag="order_book.1"):
    """The order book of one option, future or spot pair, up to 100 levels a side. Read it through
    `shared.options.book.BookView`.

    `bids` and `asks` hold float64, little-endian, shape (2, n), row-major: prices in USD per unit, then sizes in
    coins of the underlying, best first. `received_ns` is when it was last known to be so, pushed or read; an age is
    measured from it. `venue_ns` is 0 for one that was read, which carries no time. `missing` says why nothing is
    known; the book is then empty. An empty book without it is one without orders.
    """

    symbol: str
    underlying: str
    venue_ns: int
    received_ns: int
    source: Literal["stream", "poll"]
    missing: str
    bids: bytes
    asks: bytes


class LeaseBooks(Message, frozen=True, kw_only=True, tag="lease_books.1"):
    """Ask market data for order books: all that `consumer` wants now, for `lease_ms` (1 to 60 s).

    It replaces what the same consumer asked for before; no symbol at all ends it. Ask again, under a new request id,
    well before the lease ends (a third of it is a good pace): so a consumer that dies is forgotten, and after a
    restart of market data its books come back. While anybody has it a book flows on `book.<underlying>.<symbol>`,
    and the option's last trades on `last_trades.<underlying>.<symbol>`.
    """

    consumer: str
    symbols: tuple[str, ...]
    lease_ms: int = 15_000


class BookRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A book that is not kept. `code`: bad_symbol, not_listed, too_many_books."""

    symbol: str
    code: str
    detail: str


class BooksLeased(Message, frozen=True, kw_only=True, tag="books_leased.1"):
    """`books`: what is held now of those that are kept, for who was not listening when it was published."""

    until_ns: int
    books: tuple[OrderBook, ...]
    refused: tuple[BookRefused, ...]


class GetOrderBook(Message, frozen=True, kw_only=True, tag="get_order_book.1"):
    """One order book, once. `max_age_ms`: how old a value from the cache may be; 0 has the venue asked anew."""

    symbol: str
    max_age_ms: int = CACHE_AGE_MAX_MS


class OrderBookAnswer(Message, frozen=True, kw_only=True, tag="order_book_answer.1"):
    """`age_ms`: how long before the answer the book was received."""

    age_ms: int
    book: OrderBook


class GetLastTrades(Message, frozen=True, kw_only=True, tag="get_last_trades.1"):
    """The last trades of one option, future or spot pair. `max_age_ms` as in `GetOrderBook`."""

    symbol: str
    max_age_ms: int = CACHE_AGE_MAX_MS


class MarketTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade of anybody. `side` is the taker's; price in USD per unit, quantity in coins of the underlying."""

    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    venue_ns: int


class LastTrades(Message, frozen=True, kw_only=True, tag="last_trades.1"):
    """Newest first: as an answer as many as the venue tells, `age_ms` as in `OrderBookAnswer`; on its topic, with
    every new one, the newest fifty, `age_ms` 0."""

    symbol: str
    received_ns: int
    age_ms: int
    trades: tuple[MarketTrade, ...]


class GetKlines(Message, frozen=True, kw_only=True, tag="get_klines.1"):
    """The k-lines of one option, perpetual ("BTCUSD"), dated future or spot pair ("BTCUSDT") over the last `periods`
    (1 to 1,000), the running one included. `max_age_ms` as in `GetOrderBook`."""

    symbol: str
    period: KlinePeriod
    periods: int = 100
    max_age_ms: int = CACHE_AGE_MAX_MS


class Kline(msgspec.Struct, frozen=True, kw_only=True):
    """One bar from `start_ns` on. Prices in USD per unit, volume in coins of the underlying."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Klines(Message, frozen=True, kw_only=True, tag="klines.1"):
    """Oldest first. Periods in which nothing traded may be missing. `age_ms` as in `OrderBookAnswer`."""

    symbol: str
    period: KlinePeriod
    received_ns: int
    age_ms: int
    klines: tuple[Kline, ...]


class GetFundingRate(Message, frozen=True, kw_only=True, tag="get_funding_rate.1"):
    """The rate of the next funding of a perpetual ("BTCUSD"). `max_age_ms` as in `GetOrderBook`."""

    symbol: str
    max_age_ms: int = CACHE_AGE_MAX_MS


class FundingRateAnswer(Message, frozen=True, kw_only=True, tag="funding_rate_answer.1"):
    """`rate`: a fraction of quantity * mark, for the whole period that ends at `next_funding_ns`; longs pay when it
    is positive. `age_ms` as in `OrderBookAnswer`."""

    symbol: str
    rate: float
    next_funding_ns: int
    received_ns: int
    age_ms: int

"""What market data exchanges with its shell beside bus messages and the pushes of `shared.venues.ports`."""

from __future__ import annotations

import msgspec

from shared.messages.contracts import FundingRate, FuturesTicker, SpotSpec
from shared.messages.market import Instrument
from shared.messages.on_demand import GetFundingRate, GetKlines, GetLastTrades, GetOrderBook, Kline, MarketTrade
from shared.venues.ports import BookPush, ChainPush, IndexPush, VenueErrorKind

ReadKey = GetOrderBook | GetLastTrades | GetKlines | GetFundingRate
"""What is read on request: the request itself with `max_age_ms` 0."""


class InstrumentsLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the options that the venue lists for one underlying now, its perpetual and dated futures where futures
    are traded, and its spot pair where that is looked at."""

    underlying: str
    instruments: tuple[Instrument, ...]
    perpetual: Instrument | None = None
    spot: SpotSpec | None = None
    futures: tuple[Instrument, ...] = ()


class FundingRead(msgspec.Struct, frozen=True):
    """Input: the rate of a perpetual's next funding."""

    rate: FundingRate


class FuturesRead(msgspec.Struct, frozen=True):
    """Input: marks of futures, which nothing pushes of dated ones."""

    tickers: tuple[FuturesTicker, ...]


class MarketRead(msgspec.Struct, frozen=True, kw_only=True):
    """Input: what REST tells of an expiry or of the index where the stream is silent."""

    push: ChainPush | IndexPush


class ReloadInstruments(msgspec.Struct, frozen=True):
    """Effect: what the venue quotes is not what our list says; read the list again."""

    underlying: str


class OpenInterestRead(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the chain of one expiry as REST tells it, of which only the open interest counts."""

    chain: ChainPush


class Compared(msgspec.Struct, frozen=True):
    """Effect: the largest absolute difference between our figures and the venue's by name: of Greeks, and of implied
    volatilities where the price's tick is worth less than one volatility point. NaN where none is comparable."""

    underlying: str
    largest: dict[str, float]


class FollowBooks(msgspec.Struct, frozen=True):
    """Effect: keep exactly these order books subscribed."""

    symbols: tuple[str, ...]


class RenewBook(msgspec.Struct, frozen=True):
    """Effect: the book's stream froze; subscribe to it again."""

    symbol: str


class ReadBook(msgspec.Struct, frozen=True):
    """Effect: read a book by REST; answered by BookRead or BookReadFailed."""

    symbol: str


class ReadLastTrades(msgspec.Struct, frozen=True):
    """Effect: read the last trades of a leased option; answered by LastTradesRead or LastTradesReadFailed."""

    symbol: str


class LastTradesRead(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    trades: tuple[MarketTrade, ...]


class LastTradesReadFailed(msgspec.Struct, frozen=True):
    symbol: str


class BookRead(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the book as REST tells it. `asked_ns` is when it was asked for."""

    asked_ns: int
    book: BookPush


class BookReadFailed(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    kind: VenueErrorKind
    reason: str


class ReadVenue(msgspec.Struct, frozen=True):
    """Effect: read what was requested; answered by VenueRead or VenueReadFailed."""

    key: ReadKey


class VenueRead(msgspec.Struct, frozen=True, kw_only=True):
    """Input: what the venue answered."""

    key: ReadKey
    value: BookPush | tuple[MarketTrade, ...] | tuple[Kline, ...] | FundingRate


class VenueReadFailed(msgspec.Struct, frozen=True, kw_only=True):
    key: ReadKey
    kind: VenueErrorKind
    reason: str

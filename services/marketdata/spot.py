"""The spot pair of one underlying: its book and its last price, each with its age."""

from __future__ import annotations

import math
from typing import Literal

from services.marketdata.columns import is_overtaken
from shared.messages.contracts import SpotSpec, SpotTicker
from shared.messages.market import SpotQuote
from shared.messages.on_demand import OrderBook
from shared.options.book import best_of
from shared.options.instruments import underlying_of
from shared.venues.ports import BookPush, LastTradesPush

Source = Literal["stream", "poll"]
_LAST_AGE_MAX_NS = 60_000_000_000
"""A last price that was told longer ago is not shown."""


class SpotPair:
    """What was received of a pair. A push counts as received when it is handled."""

    def __init__(self, spec: SpotSpec) -> None:
        self.spec = spec
        self._book: BookPush | None = None
        self._source: Source = "poll"
        self._book_ns = self._venue_ns = 0
        self._last, self._last_ns = math.nan, 0

    @property
    def received_ns(self) -> int:
        """When the book was received; 0 for never."""
        return self._book_ns

    def take_book(self, push: BookPush, source: Source, now_ns: int) -> None:
        """Keep the book, unless a newer one has just been taken."""
        if push.venue_ns and is_overtaken(push.venue_ns, now_ns, self._venue_ns, self._book_ns):
            return
        self._book, self._source = push, source
        self._book_ns = now_ns
        self._venue_ns = push.venue_ns or self._venue_ns

    def take_ticker(self, ticker: SpotTicker, now_ns: int) -> None:
        self._take_last(ticker.last, now_ns)

    def take_trades(self, push: LastTradesPush, now_ns: int) -> None:
        if push.trades:
            self._take_last(float(push.trades[0].price), now_ns)

    def _take_last(self, price: float | None, now_ns: int) -> None:
        if price is not None and math.isfinite(price) and price > 0:
            self._last, self._last_ns = price, now_ns

    def forget_times(self) -> None:
        """Nothing that was received counts as fresh any more."""
        self._book_ns = self._last_ns = 0

    def is_silent(self, now_ns: int, silence_ns: int) -> bool:
        return self._book_ns < now_ns - silence_ns

    def shown(self, now_ns: int, age_max_ns: int) -> SpotQuote | None:
        """What may be shown now; None when the book is missing or too old."""
        if self._book is None or self.is_silent(now_ns, age_max_ns):
            return None
        bid, bid_size = best_of(self._book.bids)
        ask, ask_size = best_of(self._book.asks)
        return SpotQuote(
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
            last=self._last if now_ns - self._last_ns <= _LAST_AGE_MAX_NS else math.nan,
            venue_ns=self._venue_ns,
            received_ns=self._book_ns,
        )

    def held(self, now_ns: int, age_max_ns: int) -> OrderBook | None:
        """The whole book; None when it is missing or too old."""
        if self._book is None or self.is_silent(now_ns, age_max_ns):
            return None
        return OrderBook(
            symbol=self.spec.symbol,
            underlying=underlying_of(self.spec.symbol),
            venue_ns=self._venue_ns,
            received_ns=self._book_ns,
            source=self._source,
            missing="",
            bids=self._book.bids,
            asks=self._book.asks,
        )

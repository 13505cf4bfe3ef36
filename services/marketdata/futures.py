"""The futures of one underlying: book and mark of each, the perpetual's next funding, and the ages of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from services.marketdata.columns import is_overtaken
from shared.messages.contracts import FundingRate
from shared.messages.market import FutureQuote, Instrument, PerpetualQuote
from shared.options.book import best_of
from shared.venues.ports import BookPush

_FUNDING_AGE_MAX_NS = 600_000_000_000
"""A rate changes once a minute; one that was read longer ago is not shown."""


class Future:
    """What was received of a future. A push counts as received when it is handled."""

    def __init__(self) -> None:
        self._bid = self._bid_size = self._ask = self._ask_size = math.nan
        self._mark = math.nan
        self._book_venue_ns = self._book_ns = self._mark_ns = 0

    def take_book(self, push: BookPush, now_ns: int) -> None:
        """Keep the best levels, unless a newer book has just been taken; an empty side is missing."""
        if push.venue_ns and is_overtaken(push.venue_ns, now_ns, self._book_venue_ns, self._book_ns):
            return
        self._bid, self._bid_size = best_of(push.bids)
        self._ask, self._ask_size = best_of(push.asks)
        self._book_ns = now_ns
        self._book_venue_ns = push.venue_ns or self._book_venue_ns

    def take_mark(self, mark: float, now_ns: int) -> None:
        if math.isfinite(mark) and mark > 0:
            self._mark, self._mark_ns = mark, now_ns

    def forget_times(self) -> None:
        """Nothing that was received counts as fresh any more."""
        self._book_ns = self._mark_ns = 0

    def book_is_silent(self, now_ns: int, silence_ns: int) -> bool:
        return self._book_ns < now_ns - silence_ns

    def shown(self, symbol: str, now_ns: int, age_max_ns: int) -> FutureQuote | None:
        """What may be shown now; None when book or mark are missing or too old: one without the other decides
        nothing."""
        received_ns = min(self._book_ns, self._mark_ns)
        if not received_ns or now_ns - received_ns > age_max_ns:
            return None
        return FutureQuote(
            symbol=symbol,
            bid=self._bid,
            ask=self._ask,
            bid_size=self._bid_size,
            ask_size=self._ask_size,
            mark=self._mark,
            venue_ns=self._book_venue_ns,
            received_ns=received_ns,
        )


class Futures:
    """The futures of one underlying that are listed; the perpetual has the underlying's name."""

    def __init__(self, underlying: str) -> None:
        self._underlying = underlying
        self._listed: dict[str, Future] = {}
        self._funding: FundingRate | None = None
        self._funding_ns = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._listed)

    def keep(self, perpetual: Instrument | None, dated: Iterable[Instrument]) -> None:
        """These are listed now. A perpetual that was listed stays: a list without it could not be read."""
        symbols = [self._underlying] if perpetual is not None or self._underlying in self._listed else []
        symbols += [instrument.symbol for instrument in dated]
        self._listed = {symbol: self._listed.get(symbol) or Future() for symbol in symbols}

    def get(self, symbol: str) -> Future | None:
        return self._listed.get(symbol)

    def take_perpetual_mark(self, mark: float, now_ns: int) -> None:
        if (perpetual := self._listed.get(self._underlying)) is not None:
            perpetual.take_mark(mark, now_ns)

    def take_funding(self, rate: FundingRate, now_ns: int) -> None:
        self._funding, self._funding_ns = rate, now_ns

    def forget_times(self) -> None:
        """Nothing that was received counts as fresh any more."""
        self._funding_ns = 0
        for future in self._listed.values():
            future.forget_times()

    def silent_books(self, now_ns: int, silence_ns: int) -> tuple[str, ...]:
        """Those whose book nothing was received of for so long."""
        return tuple(name for name, future in self._listed.items() if future.book_is_silent(now_ns, silence_ns))

    def shown(self, now_ns: int, age_max_ns: int) -> tuple[PerpetualQuote | None, tuple[FutureQuote, ...]]:
        """The perpetual and the dated futures, as far as they may be shown now."""
        quotes = {quote.symbol: quote for quote in self._quotes(now_ns, age_max_ns)}
        own = quotes.pop(self._underlying, None)
        return None if own is None else self._perpetual(own, now_ns), tuple(quotes.values())

    def _quotes(self, now_ns: int, age_max_ns: int) -> Iterator[FutureQuote]:
        for symbol, future in self._listed.items():
            quote = future.shown(symbol, now_ns, age_max_ns)
            if quote is not None:
                yield quote

    def _perpetual(self, quote: FutureQuote, now_ns: int) -> PerpetualQuote:
        funding = self._funding
        if funding is not None and now_ns - self._funding_ns > _FUNDING_AGE_MAX_NS:
            funding = None
        return PerpetualQuote(
            bid=quote.bid,
            ask=quote.ask,
            bid_size=quote.bid_size,
            ask_size=quote.ask_size,
            mark=quote.mark,
            funding_rate=math.nan if funding is None else float(funding.rate),
            next_funding_ns=0 if funding is None else funding.next_funding_ns,
            venue_ns=quote.venue_ns,
            received_ns=quote.received_ns,
        )

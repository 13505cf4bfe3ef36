"""The perpetual of one underlying: its book, its mark and the rate of its next funding, each with its age."""

from __future__ import annotations

import math

from services.marketdata.columns import is_overtaken
from shared.messages.contracts import FundingRate
from shared.messages.market import PerpetualQuote
from shared.options.book import best_of
from shared.venues.ports import BookPush

_FUNDING_AGE_MAX_NS = 600_000_000_000
"""A rate changes once a minute; one that was read longer ago is not shown."""


class Perpetual:
    """What was received of a perpetual. A push counts as received when it is handled."""

    def __init__(self) -> None:
        self._bid = self._bid_size = self._ask = self._ask_size = math.nan
        self._mark = math.nan
        self._book_venue_ns = self._book_ns = self._mark_ns = self._funding_ns = 0
        self._funding: FundingRate | None = None

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

    def take_funding(self, rate: FundingRate, now_ns: int) -> None:
        self._funding, self._funding_ns = rate, now_ns

    def forget_times(self) -> None:
        """Nothing that was received counts as fresh any more."""
        self._book_ns = self._mark_ns = self._funding_ns = 0

    def book_is_silent(self, now_ns: int, silence_ns: int) -> bool:
        return self._book_ns < now_ns - silence_ns

    def shown(self, now_ns: int, age_max_ns: int) -> PerpetualQuote | None:
        """What may be shown now; None when book or mark are missing or too old: one without the other decides
        nothing."""
        received_ns = min(self._book_ns, self._mark_ns)
        if not received_ns or now_ns - received_ns > age_max_ns:
            return None
        funding = self._funding
        if funding is not None and now_ns - self._funding_ns > _FUNDING_AGE_MAX_NS:
            funding = None
        return PerpetualQuote(
            bid=self._bid,
            ask=self._ask,
            bid_size=self._bid_size,
            ask_size=self._ask_size,
            mark=self._mark,
            funding_rate=math.nan if funding is None else float(funding.rate),
            next_funding_ns=0 if funding is None else funding.next_funding_ns,
            venue_ns=self._book_venue_ns,
            received_ns=received_ns,
        )

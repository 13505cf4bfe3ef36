"""The quotes that makers gave on our requests, and which of them is good. Volatile: after a restart they are read
again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from shared.messages.base import Side, opposite
from shared.messages.rfq import JudgedQuote, QuotesFetched, QuoteVerdict, RfqParams, VenueQuote
from shared.options.comparison import Comparison, StructureLeg, Yardstick, compare, is_buying, signed_cost

_REQUESTS_KEPT = 200
_QUOTES_KEPT = 100


class QuoteView:
    """Quotes by request, each in the last state that was told. One that has ended does not come back, whatever a late
    push says."""

    def __init__(self) -> None:
        self._quotes: dict[str, dict[str, VenueQuote]] = {}
        self._seen_ns: dict[str, dict[str, int]] = {}
        self._read_ns: dict[str, int] = {}

    def take(self, quote: VenueQuote, seen_ns: int, request_id: str = "") -> None:
        """A quote as it was at `seen_ns`. `request_id` for a report that lacks it."""
        request_id = quote.request_id or request_id
        if not request_id:
            return
        quotes = self._quotes.setdefault(request_id, {})
        seen = self._seen_ns.setdefault(request_id, {})
        known = quotes.get(quote.quote_id)
        if known is None or known.state == "open":
            quotes[quote.quote_id] = quote
        seen[quote.quote_id] = max(seen_ns, seen.get(quote.quote_id, 0))
        if len(quotes) > _QUOTES_KEPT:
            oldest = next(iter(quotes))
            del quotes[oldest]
            seen.pop(oldest, None)
        while len(self._quotes) > _REQUESTS_KEPT:
            self.forget(next(iter(self._quotes)))

    def take_list(self, fetched: QuotesFetched) -> None:
        """All quotes of a request."""
        for quote in fetched.quotes:
            if quote.request_id in ("", fetched.request_id):
                self.take(quote, fetched.asked_ns, fetched.request_id)
        self._read_ns[fetched.request_id] = max(fetched.asked_ns, self._read_ns.get(fetched.request_id, 0))
        while len(self._read_ns) > _REQUESTS_KEPT:
            del self._read_ns[next(iter(self._read_ns))]

    def of(self, request_id: str) -> list[VenueQuote]:
        """The quotes on a request, whatever their state."""
        return list(self._quotes.get(request_id, {}).values())

    def quote(self, request_id: str, quote_id: str) -> VenueQuote | None:
        return self._quotes.get(request_id, {}).get(quote_id)

    def seen_ns(self, request_id: str, quote_id: str) -> int:
        """When the quote was last pushed or listed, 0 for never."""
        return self._seen_ns.get(request_id, {}).get(quote_id, 0)

    def read_ns(self, request_id: str) -> int:
        """When the newest list of the request's quotes that has arrived was asked for, 0 for never."""
        return self._read_ns.get(request_id, 0)

    def forget(self, request_id: str) -> None:
        self._quotes.pop(request_id, None)
        self._seen_ns.pop(request_id, None)
        self._read_ns.pop(request_id, None)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a quote must be for. `legs` as the structure declares them, with the quantity to trade; `action` "buy"
    trades them so, "sell" the other way round. `worst_prices`: by symbol, USD per unit, where a grant bounds them.
    `floors`: by symbol, USD per unit, what each sale with a floor of its own must bring at least; None where that
    hangs on a fair price that is not known.
    """

    legs: tuple[StructureLeg, ...]
    action: Side
    worst_prices: Mapping[str, Decimal]
    floors: Mapping[str, Decimal | None] = {}

    def side_of(self, leg: StructureLeg) -> Side:
        """What we do with the leg."""
        return "buy" if is_buying(leg.side, self.action) else "sell"


def judge(
    quote: VenueQuote,
    wanted: Wanted,
    measure: Yardstick,
    params: RfqParams,
    *,
    now_ns: int,
    seen_ns: int,
    tolerance_ns: int,
    margin_ns: int,
) -> JudgedQuote:
    """Whether the quote may be taken, or the first reason why not.

    `seen_ns`: when it was last seen open; older than `tolerance_ns` it decides nothing. `margin_ns`: how much longer
    it must be valid.
    """
    prices = {leg.symbol: leg.price for leg in quote.legs}
    by_symbol = {leg.symbol: leg for leg in quote.legs}

    def verdict(word: QuoteVerdict, comparison: Comparison | None = None) -> JudgedQuote:
        if comparison is None:
            return JudgedQuote(quote_id=quote.quote_id, verdict=word)
        return JudgedQuote(
            quote_id=quote.quote_id,
            verdict=word,
            cost_usd=comparison.cost_usd,
            improvement_usd=comparison.improvement_usd,
            improvement_pct=comparison.improvement_pct,
            over_mark_pct=comparison.over_mark_pct,
        )

    if quote.state != "open":
        return verdict("not_open")
    if len(by_symbol) != len(quote.legs) or by_symbol.keys() != {leg.symbol for leg in wanted.legs}:
        return verdict("wrong_legs")
    if any(by_symbol[leg.symbol].side != opposite(wanted.side_of(leg)) for leg in wanted.legs):
        return verdict("wrong_side")
    if any(by_symbol[leg.symbol].quantity != leg.quantity for leg in wanted.legs):
        return verdict("wrong_quantity")
    comparison = compare(signed_cost(wanted.legs, wanted.action, prices), measure)
    if now_ns - seen_ns > tolerance_ns:
        return verdict("stale", comparison)
    if quote.expiry_ns - now_ns < margin_ns:
        return verdict("expiring", comparison)
    if any(_is_past(wanted, leg, prices[leg.symbol]) for leg in wanted.legs):
        return verdict("outside_grant", comparison)
    if None in wanted.floors.values():
        return verdict("no_mark", comparison)
    if any(floor is not None and prices[symbol] < floor for symbol, floor in wanted.floors.items()):
        return verdict("below_floor", comparison)
    return verdict(_by_price(comparison, params), comparison)


def best(judged: Sequence[JudgedQuote]) -> JudgedQuote | None:
    """The good one that costs least; of equals the first."""
    good = [each for each in judged if each.verdict == "good" and each.cost_usd is not None]
    return min(good, key=lambda each: each.cost_usd or 0.0, default=None)


def _by_price(comparison: Comparison, params: RfqParams) -> QuoteVerdict:
    if comparison.over_mark_pct is None:
        return "no_mark"
    if comparison.over_mark_pct > params.max_over_mark_pct:
        return "past_mark"
    if comparison.improvement_usd is None:
        return "good"
    if comparison.improvement_usd < params.min_improvement_usd:
        return "improvement_usd_too_small"
    pct = comparison.improvement_pct
    # Where nothing can be divided by, any improvement is infinitely many per cent and none is none.
    enough = comparison.improvement_usd > 0 or params.min_improvement_pct <= 0 if pct is None else False
    if not enough and (pct is None or pct < params.min_improvement_pct):
        return "improvement_pct_too_small"
    return "good"


def _is_past(wanted: Wanted, leg: StructureLeg, price: Decimal) -> bool:
    bound = wanted.worst_prices.get(leg.symbol)
    if price <= 0:
        return True
    if bound is None:
        return False
    return price > bound if wanted.side_of(leg) == "buy" else price < bound

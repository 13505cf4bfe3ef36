"""What a structure costs on the order book at full size, and how much better or worse a quote is.

One signed cost for both directions: a structure is bought as it is declared and sold the other way round, and what
is paid counts > 0, what is received < 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Side
from shared.options.chain import Quote

Levels = tuple[tuple[float, float], ...]
"""(price in USD per unit, size in coins), best first."""

Basis = Literal["book", "half_spread", "mark"]

NEAR_ZERO_SHARE = 0.05
"""A book cost below this share of the money that changes hands says nothing as a denominator."""


class StructureLeg(msgspec.Struct, frozen=True):
    """One leg as its structure declares it; `quantity` in coins."""

    symbol: str
    side: Side
    quantity: Decimal


class LegMarket(msgspec.Struct, frozen=True):
    """What the order book of one leg offers, and its mark; None and empty where nothing is known."""

    bids: Levels = ()
    asks: Levels = ()
    mark: float | None = None

    @staticmethod
    def of_quote(quote: Quote) -> LegMarket:
        """The top of the book, where price and size are known."""

        def level(price: float | None, size: float | None) -> Levels:
            return () if price is None or size is None or price <= 0 or size <= 0 else ((price, size),)

        return LegMarket(level(quote.bid, quote.bid_size), level(quote.ask, quote.ask_size), quote.mark)


class Yardstick(msgspec.Struct, frozen=True, kw_only=True):
    """What a structure costs without a quote, USD for its full size, paid > 0.

    book_cost_usd: taking the other side of every book, None where one lacks the size. mid_cost_usd: at the middle of
    every book. book_gross_usd: Σ |price × quantity| of the former. mark_cost_usd, mark_gross_usd: the same at mark,
    None where a mark is missing. shallow: symbols whose book lacks the size.
    """

    book_cost_usd: float | None
    mid_cost_usd: float | None
    book_gross_usd: float
    mark_cost_usd: float | None
    mark_gross_usd: float
    shallow: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A quote against the yardstick; improvements > 0 are better for the taker.

    improvement_usd: book cost minus quote. improvement_pct: that in per cent of |book cost| (`basis` "book"), or of
    half the spread of the structure where the book cost is near zero ("half_spread"); None where neither can divide,
    and without a book at all ("mark"). over_mark_usd, over_mark_pct: how much worse than mark, the latter in per cent
    of Σ |mark × quantity|; None without marks.
    """

    cost_usd: float
    basis: Basis
    improvement_usd: float | None
    improvement_pct: float | None
    over_mark_usd: float | None
    over_mark_pct: float | None


def is_buying(side: Side, action: Side) -> bool:
    """Whether a leg is bought when its structure is bought or sold (`action`)."""
    return (side == "buy") == (action == "buy")


def signed_cost(legs: Sequence[StructureLeg], action: Side, prices: Mapping[str, float | Decimal]) -> float:
    """Σ price × quantity in USD, paid > 0. `prices` by symbol, USD per unit."""
    total = 0.0
    for leg in legs:
        amount = float(prices[leg.symbol]) * float(leg.quantity)
        total += amount if is_buying(leg.side, action) else -amount
    return total


def sweep_price(levels: Levels, quantity: float) -> float | None:
    """The average price of taking `quantity` from the levels; None when they hold less."""
    left, paid = quantity, 0.0
    for price, size in levels:
        taken = min(left, size)
        paid += taken * price
        left -= taken
        # A size is a float: what a lot is short of by rounding is there.
        if left <= 1e-9 * quantity:
            return paid / (quantity - left)
    return None


def yardstick(legs: Sequence[StructureLeg], action: Side, markets: Mapping[str, LegMarket]) -> Yardstick:
    """Measure the structure on the books and at mark. A symbol without a market counts as one without anything."""
    taken: dict[str, float] = {}
    middles: dict[str, float] = {}
    marks: dict[str, float] = {}
    shallow: list[str] = []
    for leg in legs:
        market = markets.get(leg.symbol, LegMarket())
        levels = market.asks if is_buying(leg.side, action) else market.bids
        price = sweep_price(levels, float(leg.quantity))
        if price is None:
            shallow.append(leg.symbol)
        else:
            taken[leg.symbol] = price
        if market.bids and market.asks:
            middles[leg.symbol] = (market.bids[0][0] + market.asks[0][0]) / 2
        if market.mark is not None:
            marks[leg.symbol] = market.mark
    return Yardstick(
        book_cost_usd=None if shallow else signed_cost(legs, action, taken),
        mid_cost_usd=signed_cost(legs, action, middles) if len(middles) == len(legs) else None,
        book_gross_usd=_gross(legs, taken),
        mark_cost_usd=signed_cost(legs, action, marks) if len(marks) == len(legs) else None,
        mark_gross_usd=_gross(legs, marks),
        shallow=tuple(shallow),
    )


def compare(cost_usd: float, measure: Yardstick) -> Comparison:
    """How much better than the book a quote of `cost_usd` (paid > 0) is, and how much worse than mark."""
    over_usd = over_pct = None
    if measure.mark_cost_usd is not None:
        over_usd = cost_usd - measure.mark_cost_usd
        over_pct = over_usd / measure.mark_gross_usd * 100 if measure.mark_gross_usd > 0 else None
    book_usd = measure.book_cost_usd
    if book_usd is None:
        return Comparison(
            cost_usd=cost_usd,
            basis="mark",
            improvement_usd=None,
            improvement_pct=None,
            over_mark_usd=over_usd,
            over_mark_pct=over_pct,
        )
    improvement_usd = book_usd - cost_usd
    basis: Basis = "book"
    whole_usd = abs(book_usd)
    if whole_usd < NEAR_ZERO_SHARE * measure.book_gross_usd:
        basis = "half_spread"
        whole_usd = 0.0 if measure.mid_cost_usd is None else book_usd - measure.mid_cost_usd
    return Comparison(
        cost_usd=cost_usd,
        basis=basis,
        improvement_usd=improvement_usd,
        improvement_pct=improvement_usd / whole_usd * 100 if whole_usd > 0 else None,
        over_mark_usd=over_usd,
        over_mark_pct=over_pct,
    )


def _gross(legs: Sequence[StructureLeg], prices: Mapping[str, float]) -> float:
    return sum(abs(prices[leg.symbol]) * float(leg.quantity) for leg in legs if leg.symbol in prices)

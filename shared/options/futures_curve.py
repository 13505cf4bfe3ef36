"""The futures of a chain beside its index: what each costs more or less than the coin, and what that is in a year."""

from __future__ import annotations

import math

import msgspec

from shared.options.chain import ChainView
from shared.options.symbols import NS_PER_DAY, NS_PER_YEAR

_FUNDINGS_PER_YEAR = 3 * 365


class FuturePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One future. Prices in USD per coin; NaN where a figure is missing.

    expiry_ns: None of the perpetual. basis_pct: (mark / index − 1) × 100. year_pct: of a dated future the basis × 365
    days / days left, from a day on; of the perpetual the rate of its next funding × 3 × 365 × 100, paid by longs when
    it is positive. funding_rate: of the perpetual, a fraction. received_ns: None when nothing fresh is known of it.
    """

    symbol: str
    expiry_ns: int | None
    bid: float
    ask: float
    mark: float
    basis_pct: float
    year_pct: float
    funding_rate: float
    received_ns: int | None


def futures_curve(view: ChainView) -> list[FuturePoint]:
    """The perpetual, then the dated futures by expiry; empty where none is traded. As of the chain's receipt."""
    index_price, now_ns = view.snapshot.index_price, view.snapshot.received_ns
    points = []
    for future in view.listed.future_of.values():
        bid, ask, mark = (_or_nan(view.value(future.symbol, name)) for name in ("bid", "ask", "mark"))
        basis_pct = (mark / index_price - 1) * 100
        funding_rate, year_pct = math.nan, math.nan
        if future.is_perpetual:
            funding_rate = math.nan if view.snapshot.perpetual is None else view.snapshot.perpetual.funding_rate
            year_pct = funding_rate * _FUNDINGS_PER_YEAR * 100
        elif future.expiry_ns - now_ns >= NS_PER_DAY:
            year_pct = basis_pct * NS_PER_YEAR / (future.expiry_ns - now_ns)
        points.append(
            FuturePoint(
                symbol=future.symbol,
                expiry_ns=None if future.is_perpetual else future.expiry_ns,
                bid=bid,
                ask=ask,
                mark=mark,
                basis_pct=basis_pct,
                year_pct=year_pct,
                funding_rate=funding_rate,
                received_ns=None if math.isnan(mark) else view.received_ns(future.symbol),
            )
        )
    return points


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value

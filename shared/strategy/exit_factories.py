"""Factories of exit conditions on a trade's expiries, strikes, payoff and short legs. Each returns data.

Each raises ValueError naming the argument. Percentages are per cent, prices USD.
"""

from __future__ import annotations

from shared.messages.conditions import (
    BeforeExpiry,
    BreakevenTouched,
    CreditMultiple,
    DteExit,
    IvChange,
    MaxProfitShare,
    PriceBasis,
    ShortLegDelta,
    ShortStrikeTouched,
    TimeElapsed,
    TrailingProfit,
    UnderlyingBeyond,
)
from shared.strategy.checking import number, price_basis


def dte_exit(days: int) -> DteExit:
    """Close when the leg that expires first has a DTE (whole days left, rounded down) of at most `days`.

    >>> dte_exit(21).days
    21
    """
    if isinstance(days, bool) or not isinstance(days, int) or days < 0:
        raise ValueError(f"dte_exit: days {days!r} must be whole days, 0 or more")
    return DteExit(days=days)


def before_expiry(hours: float) -> BeforeExpiry:
    """Close `hours` before the leg that expires first trades no more (15 minutes before its expiry).

    >>> before_expiry(2).hours
    2.0
    """
    return BeforeExpiry(hours=number("before_expiry", "hours", hours, above_zero=True))


def time_elapsed_pct(pct: float) -> TimeElapsed:
    """Close when `pct` per cent of the time from opening to the first expiry has passed.

    >>> time_elapsed_pct(50).pct
    50.0
    """
    return TimeElapsed(pct=number("time_elapsed_pct", "pct", pct, high=100, above_zero=True))


def max_profit(pct: float, *, price: PriceBasis = "mark") -> MaxProfitShare:
    """Close at `pct` per cent of the most that the structure can make at its first expiry, at its opening prices.

    For structures with a largest profit; with legs of several expiries there is none that is certain. price: "mark"
    or "mid".

    >>> max_profit(60).pct
    60.0
    """
    return MaxProfitShare(
        pct=number("max_profit", "pct", pct, high=100, above_zero=True), price=price_basis("max_profit", price)
    )


def credit_multiple(multiple: float, *, price: PriceBasis = "mark") -> CreditMultiple:
    """Close at a loss of `multiple` times the credit that was received, fees counted. price: "mark" or "mid".

    >>> credit_multiple(2).multiple
    2.0
    """
    return CreditMultiple(
        multiple=number("credit_multiple", "multiple", multiple, above_zero=True),
        price=price_basis("credit_multiple", price),
    )


def underlying_beyond(*, above: float | None = None, below: float | None = None) -> UnderlyingBeyond:
    """Close when the index of the trade's underlying is at or above `above`, or at or below `below`, USD.

    >>> underlying_beyond(above=110_000).above
    110000.0
    """
    if above is None and below is None:
        raise ValueError("underlying_beyond needs above=, below=, or both, in USD")
    upper = None if above is None else number("underlying_beyond", "above", above, above_zero=True)
    lower = None if below is None else number("underlying_beyond", "below", below, above_zero=True)
    if upper is not None and lower is not None and lower >= upper:
        raise ValueError(f"underlying_beyond: below {lower:g} must be less than above {upper:g}")
    return UnderlyingBeyond(above=upper, below=lower)


def short_strike_touched(buffer_pct: float = 0.0) -> ShortStrikeTouched:
    """Close when the index is within `buffer_pct` per cent of a short strike that is held, or beyond it.

    >>> short_strike_touched(1).buffer_pct
    1.0
    """
    return ShortStrikeTouched(buffer_pct=number("short_strike_touched", "buffer_pct", buffer_pct, high=100))


def short_leg_delta(limit: float) -> ShortLegDelta:
    """Close when |delta| of a short leg that is held is at least `limit`, per unit.

    >>> short_leg_delta(0.4).limit
    0.4
    """
    return ShortLegDelta(limit=number("short_leg_delta", "limit", limit, high=1, above_zero=True))


def breakeven_touched(buffer_pct: float = 0.0) -> BreakevenTouched:
    """Close when the trade would lose at expiry if the index, or one up to `buffer_pct` per cent away, stayed.

    For legs of one expiry that make something where they were opened: a credit. It is due at once for a structure
    that must move first, such as a bought straddle.

    >>> breakeven_touched(0.5).buffer_pct
    0.5
    """
    return BreakevenTouched(buffer_pct=number("breakeven_touched", "buffer_pct", buffer_pct, high=50))


def trailing_profit(
    giveback_pct: float,
    *,
    start_pct: float | None = None,
    start_usd: float | None = None,
    price: PriceBasis = "mark",
) -> TrailingProfit:
    """Close when P&L, once it has reached the start, has given back `giveback_pct` per cent of its peak.

    The start is start_pct per cent of the absolute entry premium, or start_usd. The peak is kept to half a per cent
    of itself, over restarts of the host too. price: "mark" or "mid".

    >>> trailing_profit(30, start_pct=25).giveback_pct
    30.0
    """
    if (start_pct is None) == (start_usd is None):
        raise ValueError("trailing_profit takes exactly one of start_pct= (of the entry premium) and start_usd=")
    return TrailingProfit(
        giveback_pct=number("trailing_profit", "giveback_pct", giveback_pct, high=100, above_zero=True),
        start_pct=None if start_pct is None else number("trailing_profit", "start_pct", start_pct, above_zero=True),
        start_usd=None if start_usd is None else number("trailing_profit", "start_usd", start_usd, above_zero=True),
        price=price_basis("trailing_profit", price),
    )


def iv_change(*, up_points: float | None = None, down_points: float | None = None) -> IvChange:
    """Close when the mean mark volatility of the held legs has risen by `up_points` volatility points (0.01), or
    fallen by `down_points`, since the host first looked at the open trade.

    >>> iv_change(up_points=10).up_points
    10.0
    """
    if up_points is None and down_points is None:
        raise ValueError("iv_change needs up_points=, down_points=, or both")
    return IvChange(
        up_points=None if up_points is None else number("iv_change", "up_points", up_points, above_zero=True),
        down_points=None if down_points is None else number("iv_change", "down_points", down_points, above_zero=True),
    )

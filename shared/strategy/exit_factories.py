"""Factories of exit conditions on a trade's expiries, strikes, payoff and short legs. Each returns data.

Each raises ValueError naming the argument. Percentages are per cent, prices USD.
"""

from __future__ import annotations

from shared.messages.conditions import (
    BeforeExpiry,
    BreakevenTouched,
    CreditMultiple,
    DteExit,
    MaxProfitShare,
    PriceBasis,
    ShortLegDelta,
    ShortStrikeTouched,
    TimeElapsed,
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

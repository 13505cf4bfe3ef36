"""Checks of what strategy files give to the factories of conditions."""

from __future__ import annotations

import math
from typing import get_args

from shared.messages.conditions import PriceBasis
from shared.strategy.legs import index_name


def number(
    factory: str,
    name: str,
    value: object,
    *,
    low: float | None = 0.0,
    high: float | None = None,
    above_zero: bool = False,
) -> float:
    """A finite number within its bounds. Raises ValueError naming factory and argument."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{factory}: {name} {value!r} must be a finite number")
    if above_zero and value <= 0:
        raise ValueError(f"{factory}: {name} {value!r} must be above 0")
    if low is not None and value < low:
        raise ValueError(f"{factory}: {name} {value!r} must be at least {low:g}")
    if high is not None and value > high:
        raise ValueError(f"{factory}: {name} {value!r} must be at most {high:g}")
    return float(value)


def bounds(
    factory: str, low: object, high: object, *, least: float | None = None
) -> tuple[float | None, float | None]:
    """Two ends of a range, one of which may be None. Raises ValueError when both are, and when the range is empty."""
    if low is None and high is None:
        raise ValueError(f"{factory} needs a lower bound, an upper bound, or both")
    lower = None if low is None else number(factory, "lower bound", low, low=least)
    upper = None if high is None else number(factory, "upper bound", high, low=least)
    if lower is not None and upper is not None and lower > upper:
        raise ValueError(f"{factory}: from {lower:g} to {upper:g} is empty: put the smaller value first")
    return lower, upper


def price_basis(factory: str, price: PriceBasis) -> PriceBasis:
    """ "mark" or "mid". Raises ValueError."""
    if price not in get_args(PriceBasis):
        raise ValueError(f"{factory}: price {price!r} must be one of {', '.join(get_args(PriceBasis))}")
    return price


def index_or_none(underlying: str | None) -> str | None:
    """The venue's index name, None for none. Raises ValueError."""
    return None if underlying is None else index_name(underlying)

"""What trend filters and volatility ratios are computed from: arrays of closed candles in, figures out. Pure."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Trend(NamedTuple):
    """The SuperTrend of each bar from the `bars`-th on: its line, in the unit of the prices, and whether it is up."""

    line: F8
    is_up: Flags


def ema(values: F8, bars: int) -> F8:
    """The exponential moving average, shape (n - bars + 1,): of values[bars - 1] and all after it.

    EMA = previous + 2 / (bars + 1) * (value - previous), begun with the mean of the first `bars` values. Source:
    Appel, Technical Analysis (2005), with the start that charting programs share. Raises ValueError for fewer values
    than bars.
    """
    _check(values, bars)
    weight = 2.0 / (bars + 1)
    rest = values[bars:].tolist()
    averages = accumulate(
        rest, lambda before, value: before + weight * (value - before), initial=float(values[:bars].mean())
    )
    return np.fromiter(averages, dtype=np.float64, count=len(rest) + 1)


def true_range(high: F8, low: F8, close: F8) -> F8:
    """The range of each bar but the first with the close before it, shape (n - 1,). Source: Wilder, New Concepts in
    Technical Trading Systems (1978)."""
    before = close[:-1]
    ranges: F8 = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    return ranges


def average_true_range(high: F8, low: F8, close: F8, bars: int) -> F8:
    """Wilder's average of the true range, shape (n - bars,): of the bar with index `bars` and all after it.

    ATR = previous + (true range - previous) / bars, begun with the mean of the first `bars` ranges. Source: Wilder
    (1978). Raises ValueError for fewer ranges than bars.
    """
    ranges = true_range(high, low, close)
    _check(ranges, bars)
    rest = ranges[bars:].tolist()
    averages = accumulate(
        rest, lambda before, value: before + (value - before) / bars, initial=float(ranges[:bars].mean())
    )
    return np.fromiter(averages, dtype=np.float64, count=len(rest) + 1)


def supertrend(high: F8, low: F8, close: F8, bars: int, multiplier: float) -> Trend:
    """The SuperTrend of each bar from index `bars` on, shape (n - bars,) each; it begins as down.

    Bands: (high + low) / 2 -+ multiplier * ATR(bars). The lower band does not fall unless the close before was below
    it, the upper one does not rise unless that was above it. Up turns to down with a close below the lower band, down
    to up with one above the upper; the line is the band that the trend runs along. Source: Seban's indicator as
    charting programs have it. Raises ValueError for too few bars.
    """
    width = multiplier * average_true_range(high, low, close, bars)
    middle = (high[bars:] + low[bars:]) / 2
    lowers, uppers, closes = (middle - width).tolist(), (middle + width).tolist(), close[bars:].tolist()
    lower, upper, before, is_up = -math.inf, math.inf, closes[0], False
    lines: list[float] = []
    ups: list[bool] = []
    for wanted_lower, wanted_upper, price in zip(lowers, uppers, closes, strict=True):
        lower = wanted_lower if before < lower else max(wanted_lower, lower)
        upper = wanted_upper if before > upper else min(wanted_upper, upper)
        if lines:
            is_up = price >= lower if is_up else price > upper
        lines.append(lower if is_up else upper)
        ups.append(is_up)
        before = price
    return Trend(np.array(lines), np.array(ups, dtype=bool))


def realised_volatility(close: F8, bars_per_year: float) -> float:
    """The volatility of closes at equal distances, a fraction a year: sqrt(mean(r^2) * bars_per_year), r the change
    of ln(close) from one to the next; the mean return counts as 0, as in a variance swap.

    Raises ValueError for fewer than two closes or one that is not above 0.
    """
    if len(close) < 2 or not (np.isfinite(close) & (close > 0)).all():
        raise ValueError(f"realised_volatility needs two closes or more, all above 0; {len(close)} were given")
    returns = np.diff(np.log(close))
    return float(np.sqrt(np.mean(returns**2) * bars_per_year))


def _check(values: F8, bars: int) -> None:
    if bars < 1 or len(values) < bars:
        raise ValueError(f"{bars} bars need as many values, {len(values)} were given")

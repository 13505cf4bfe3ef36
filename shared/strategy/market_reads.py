"""What conditions ask of the market beyond chains: candles, funding rates, past implied volatility."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.conditions import (
    AllOf,
    AnyCondition,
    AnyOf,
    EmaCross,
    ForAtLeast,
    FundingLevel,
    IvRank,
    Not,
    PriceEma,
    RealisedImplied,
    SpotMove,
    SuperTrend,
)
from shared.messages.on_demand import PERIOD_NS, FundingRateAnswer, KlinePeriod
from shared.strategy.candles import BARS_MAX, YEAR_NS, Candles
from shared.strategy.wording import DAY_NS, HOUR_NS, MINUTE_NS, duration_text

CandleKey = tuple[str, KlinePeriod]
IvKey = tuple[str, float]
"""Underlying and days ahead."""

_SETTLING_BARS = 3
"""An average needs so many times its bars after its first ones until what it began with counts for 0.3 %."""

SPARE_BARS = 2
"""Read beside the finished ones: the running candle, and one for where the range begins."""
_UNTRADED_PERIODS = 3
_UNTRADED_MIN_NS = 10 * MINUTE_NS


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """candles: how many finished ones, by contract and period. ivs: which implied volatilities are to be sampled.
    funding: of which perpetuals."""

    candles: Mapping[CandleKey, int] = {}
    ivs: frozenset[IvKey] = frozenset()
    funding: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.candles or self.ivs or self.funding)


class IvHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of one implied volatility at the money, at most one an hour, oldest first: UTC ns and fractions a year,
    shape (n,) each."""

    at_ns: NDArray[np.int64]
    vols: NDArray[np.float64]


class MarketReads(msgspec.Struct, frozen=True, kw_only=True):
    """What was read for conditions. tolerance_ns: the greatest age, from receipt, at which it still decides.

    failures: why the last read of something failed, by the key that it would have.
    """

    candles: Mapping[CandleKey, Candles] = {}
    funding: Mapping[str, FundingRateAnswer] = {}
    ivs: Mapping[IvKey, IvHistory] = {}
    failures: Mapping[CandleKey | str, str] = {}
    tolerance_ns: int = 3 * MINUTE_NS

    def fresh_candles(self, underlying: str, period: KlinePeriod, bars: int, now_ns: int) -> Candles | str:
        """The candles of a perpetual with at least `bars` finished ones, or why they cannot be used."""
        found, of = self.candles.get((underlying, period)), f"{period} candles of {underlying}"
        failure = self.failures.get((underlying, period))
        said = f": {failure}" if failure else ""
        if found is None:
            return f"no {of} yet{said}"
        age_ns = abs(now_ns - found.received_ns)
        if age_ns > self.tolerance_ns:
            return f"no {of} for {duration_text(age_ns / HOUR_NS)}{said}"
        silence_ns = now_ns - found.newest_ns - PERIOD_NS[period]
        if found.newest_ns and silence_ns > max(_UNTRADED_PERIODS * PERIOD_NS[period], _UNTRADED_MIN_NS):
            return f"the newest of the {of} ended {duration_text(silence_ns / HOUR_NS)} ago"
        if len(found) < bars:
            return f"{len(found)} of {bars} {of} are known"
        traded = int(np.count_nonzero(found.traded[-bars:]))
        if 2 * traded < bars:
            return f"only {traded} of the last {bars} {of} traded"
        return found

    def fresh_funding(self, underlying: str, now_ns: int) -> FundingRateAnswer | str:
        """The funding rate of a perpetual, or why it cannot be used."""
        found, failure = self.funding.get(underlying), self.failures.get(underlying)
        said = f": {failure}" if failure else ""
        if found is None:
            return f"no funding rate of {underlying} yet{said}"
        age_ns = abs(now_ns - found.received_ns)
        if age_ns > self.tolerance_ns:
            return f"no funding rate of {underlying} for {duration_text(age_ns / HOUR_NS)}{said}"
        return found


def needs_of(conditions: Iterable[AnyCondition]) -> Needs:
    """What must be read for these conditions to be answered."""
    candles: dict[CandleKey, int] = {}
    ivs: set[IvKey] = set()
    funding: set[str] = set()

    left = list(conditions)
    while left:
        match left.pop():
            case AllOf(conditions=inner) | AnyOf(conditions=inner):
                left += inner
            case Not(condition=part) | ForAtLeast(condition=part):
                left.append(part)
            case SpotMove() | PriceEma() | EmaCross() | SuperTrend() | RealisedImplied() as condition:
                period, bars = bars_needed(condition)
                key = condition.underlying, period
                candles[key] = max(bars, candles.get(key, 0))
            case IvRank(underlying=underlying, days=days):
                ivs.add((underlying, days))
            case FundingLevel(underlying=underlying):
                funding.add(underlying)
            case _:
                pass
    return Needs(candles=candles, ivs=frozenset(ivs), funding=frozenset(funding))


def joined(needs: Iterable[Needs]) -> Needs:
    """What all of these need."""
    candles: dict[CandleKey, int] = {}
    ivs: frozenset[IvKey] = frozenset()
    funding: frozenset[str] = frozenset()
    for each in needs:
        for key, bars in each.candles.items():
            candles[key] = max(bars, candles.get(key, 0))
        ivs |= each.ivs
        funding |= each.funding
    return Needs(candles=candles, ivs=ivs, funding=funding)


def bars_needed(
    condition: SpotMove | PriceEma | EmaCross | SuperTrend | RealisedImplied,
) -> tuple[KlinePeriod, int]:
    """The period and the number of finished candles that a condition is judged on."""
    match condition:
        case SpotMove(minutes=minutes):
            period = period_for(minutes * MINUTE_NS, ("1m", "5m", "15m", "1h", "4h", "1d"), 240)
            return period, math.ceil(minutes * MINUTE_NS / PERIOD_NS[period]) + 1
        case RealisedImplied(days=days):
            period = period_for(days * DAY_NS, ("15m", "1h", "4h", "1d"), 720)
            return period, max(round(days * DAY_NS / PERIOD_NS[period]), 1) + 1
        case PriceEma(bars=bars, candle=period):
            return period, settled_bars(bars)
        case EmaCross(slow_bars=bars, candle=period, within_bars=within_bars):
            return period, settled_bars(bars) + (within_bars or 0)
        case SuperTrend(bars=bars, candle=period):
            return period, settled_bars(bars) + 1
        case _:
            assert_never(condition)


def settled_bars(bars: int) -> int:
    """After how many candles an average of `bars` no longer depends on where it began."""
    return (1 + _SETTLING_BARS) * bars


def period_for(span_ns: float, periods: Sequence[KlinePeriod], bars_max: int) -> KlinePeriod:
    """The shortest of the periods of which a span has at most so many; the longest where none is long enough."""
    for period in periods:
        if span_ns <= bars_max * PERIOD_NS[period]:
            return period
    return periods[-1]


def bars_to_read(bars: int) -> int:
    """How many candles to ask for so that `bars` finished ones are among them."""
    return min(bars + SPARE_BARS, BARS_MAX)


def bars_a_year(period: KlinePeriod) -> float:
    """Of 365 days."""
    return YEAR_NS / PERIOD_NS[period]

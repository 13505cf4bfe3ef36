"""Answers the conditions that ask of the market alone, for entries and exits alike."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from shared.messages.conditions import (
    EmaCross,
    FundingLevel,
    IvLevel,
    IvRank,
    MarketCondition,
    PriceEma,
    RealisedImplied,
    SpotMove,
    SuperTrend,
)
from shared.messages.on_demand import PERIOD_NS
from shared.strategy.candles import Candles
from shared.strategy.indicators import F8, Trend, ema, realised_volatility, supertrend
from shared.strategy.market_reads import bars_a_year, bars_needed
from shared.strategy.views import EntryView, ExitView, Verdict
from shared.strategy.wording import DAY_NS, HOUR_NS, MINUTE_NS, duration_text, range_text

CandleCondition = SpotMove | PriceEma | EmaCross | SuperTrend | RealisedImplied
_SAMPLED_SHARE = 0.5
"""Of the hours of a history so many must have a sample."""


def market_condition(condition: MarketCondition, view: EntryView | ExitView, now_ns: int) -> Verdict:
    """Does the market say yes?"""
    match condition:
        case IvLevel():
            vol = _iv_pct(view, condition.underlying, condition.days, now_ns)
            if isinstance(vol, str):
                return Verdict.wait(vol)
            reason = f"iv of {condition.underlying} in {condition.days:g} days is {vol:.1f} %"
            return _within(vol, condition.min_pct, condition.max_pct, reason, " %")
        case IvRank():
            return _iv_rank(condition, view, now_ns)
        case FundingLevel(underlying=underlying, min_pct=low, max_pct=high):
            funding = view.market.fresh_funding(underlying, now_ns)
            if isinstance(funding, str):
                return Verdict.wait(funding)
            pct = funding.rate * 100
            return _within(pct, low, high, f"funding of {underlying} is {pct:.4f} %", " %")
        case SpotMove() | PriceEma() | EmaCross() | SuperTrend() | RealisedImplied():
            period, bars = bars_needed(condition)
            candles = view.market.fresh_candles(condition.underlying, period, bars, now_ns)
            if isinstance(candles, str):
                return Verdict.wait(candles)
            return _of_candles(condition, candles, bars, view, now_ns)
        case _:
            assert_never(condition)


def _of_candles(
    condition: CandleCondition, candles: Candles, bars: int, view: EntryView | ExitView, now_ns: int
) -> Verdict:
    match condition:
        case SpotMove():
            return _spot_move(condition, candles, now_ns)
        case PriceEma():
            return _price_ema(condition, candles)
        case EmaCross():
            return _ema_cross(condition, candles)
        case SuperTrend(bars=trend_bars, multiplier=multiplier, side=side):
            trend = candles.once(
                ("supertrend", trend_bars, multiplier),
                lambda: supertrend(candles.high, candles.low, candles.close, trend_bars, multiplier),
            )
            return _super_trend(trend, trend_bars, multiplier, side, candles)
        case RealisedImplied():
            return _realised_implied(condition, candles, bars, view, now_ns)
        case _:
            assert_never(condition)


def _spot_move(condition: SpotMove, candles: Candles, now_ns: int) -> Verdict:
    """From the close of the newest candle that had ended so long ago to the newest price."""
    period_ns = PERIOD_NS[candles.period]
    back = math.ceil((candles.ended_ns - (now_ns - condition.minutes * MINUTE_NS)) / period_ns)
    last = candles.last
    if last is None or not 0 <= back < len(candles):
        return Verdict.wait(f"no candle of {candles.symbol} of {duration_text(condition.minutes / 60)} ago")
    before = float(candles.close[-1 - back])
    moved_pct = (last / before - 1) * 100
    match condition.direction:
        case "up":
            is_open = moved_pct >= condition.pct
        case "down":
            is_open = moved_pct <= -condition.pct
        case "either":
            is_open = abs(moved_pct) >= condition.pct
    wanted = {"up": "up by", "down": "down by", "either": "either way by"}[condition.direction]
    reason = f"{candles.symbol} moved {moved_pct:+.2f} % in {duration_text(condition.minutes / 60)}"
    return Verdict(is_open, f"{reason}, wanted {wanted} {condition.pct:g} %")


def _price_ema(condition: PriceEma, candles: Candles) -> Verdict:
    average = float(_ema(candles, condition.bars)[-1])
    close = float(candles.close[-1])
    edge = condition.buffer_pct / 100
    is_open = close > average * (1 + edge) if condition.side == "above" else close < average * (1 - edge)
    buffer = f" by {condition.buffer_pct:g} %" if condition.buffer_pct else ""
    reason = f"{candles.symbol} closed a {candles.period} candle at {close:.2f}, EMA({condition.bars}) {average:.2f}"
    return Verdict(is_open, f"{reason}, wanted {condition.side}{buffer}")


def _ema_cross(condition: EmaCross, candles: Candles) -> Verdict:
    fast, slow = _ema(candles, condition.fast_bars), _ema(candles, condition.slow_bars)
    above = fast[-len(slow) :] > slow
    is_side = above if condition.side == "above" else fast[-len(slow) :] < slow
    reason = (
        f"{candles.period} EMA({condition.fast_bars}) of {candles.symbol} is {float(fast[-1]):.2f}, "
        f"EMA({condition.slow_bars}) {float(slow[-1]):.2f}, wanted {condition.side}"
    )
    if condition.within_bars is None or not is_side[-1]:
        return Verdict(bool(is_side[-1]), reason)
    since = len(is_side) - 1 - int(np.flatnonzero(~is_side)[-1]) if not is_side.all() else len(is_side)
    shown = f"{since} candles" if not is_side.all() else f"at least {since} candles"
    return Verdict(
        since <= condition.within_bars, f"{reason} for at most {condition.within_bars}: it is so for {shown}"
    )


def _super_trend(trend: Trend, bars: int, multiplier: float, side: str, candles: Candles) -> Verdict:
    is_up = bool(trend.is_up[-1])
    reason = (
        f"{candles.period} SuperTrend({bars}, {multiplier:g}) of {candles.symbol} is {'up' if is_up else 'down'}, "
        f"line {float(trend.line[-1]):.2f}, close {float(candles.close[-1]):.2f}"
    )
    return Verdict(is_up == (side == "up"), f"{reason}, wanted {side}")


def _realised_implied(
    condition: RealisedImplied, candles: Candles, bars: int, view: EntryView | ExitView, now_ns: int
) -> Verdict:
    implied = _iv_pct(view, condition.underlying, condition.days, now_ns)
    if isinstance(implied, str):
        return Verdict.wait(implied)
    realised = 100 * candles.once(
        ("realised", bars), lambda: realised_volatility(candles.close[-bars:], bars_a_year(candles.period))
    )
    ratio = realised / implied
    reason = (
        f"{condition.underlying} realised {realised:.1f} % over {condition.days:g} days, implied {implied:.1f} %: "
        f"ratio {ratio:.2f}"
    )
    return _within(ratio, condition.min_ratio, condition.max_ratio, reason, "")


def _iv_rank(condition: IvRank, view: EntryView | ExitView, now_ns: int) -> Verdict:
    now_pct = _iv_pct(view, condition.underlying, condition.days, now_ns)
    if isinstance(now_pct, str):
        return Verdict.wait(now_pct)
    needed_h = condition.history_min_days * 24
    of = f"iv samples of {condition.underlying} in {condition.days:g} days"
    history = view.market.ivs.get((condition.underlying, condition.days))
    if history is None:
        return Verdict.wait(f"no {of} yet, {duration_text(needed_h)} are needed")
    chosen = history.at_ns >= now_ns - condition.lookback_days * DAY_NS
    count = int(np.count_nonzero(chosen))
    reach_h = (now_ns - int(history.at_ns[chosen][0])) / HOUR_NS if count else 0.0
    if reach_h < needed_h - 1:
        return Verdict.wait(f"{of} reach back {duration_text(reach_h)} of {duration_text(needed_h)}")
    if count < _SAMPLED_SHARE * reach_h:
        return Verdict.wait(f"only {count} {of} in {duration_text(reach_h)}")
    samples = history.vols[chosen] * 100
    low, high = min(float(samples.min()), now_pct), max(float(samples.max()), now_pct)
    if condition.measure == "percentile":
        standing = float(np.count_nonzero(samples < now_pct)) / count * 100
    elif high == low:
        return Verdict.wait(f"the {count} {of} are all {low:.1f} %")
    else:
        standing = (now_pct - low) / (high - low) * 100
    reason = (
        f"iv of {condition.underlying} in {condition.days:g} days is {now_pct:.1f} %, {condition.measure} "
        f"{standing:.0f} of {count} samples from {low:.1f} to {high:.1f} % over {duration_text(reach_h)}"
    )
    return _within(standing, condition.min_pct, condition.max_pct, reason, "")


def _iv_pct(view: EntryView | ExitView, underlying: str, days: float, now_ns: int) -> float | str:
    """The implied volatility at the money, or why there is none."""
    chain = view.fresh_chain(underlying, now_ns)
    if isinstance(chain, str):
        return chain
    vol = chain.atm_iv(days, now_ns)
    return f"no implied volatility of {underlying}" if vol is None else vol * 100


def _ema(candles: Candles, bars: int) -> F8:
    return candles.once(("ema", bars), lambda: ema(candles.close, bars))


def _within(value: float, low: float | None, high: float | None, reason: str, unit: str) -> Verdict:
    inside = (low is None or value >= low) and (high is None or value <= high)
    return Verdict(inside, f"{reason}, wanted {range_text(low, high)}{unit}")

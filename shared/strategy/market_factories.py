"""Factories of conditions on the market, for entries and exits, and of entries by events and past losses. Each
returns data.

Candles are those of the perpetual of `underlying`; only finished ones count, so that an answer does not change back.

Percentages are per cent, volatilities in volatility points (50 is 50 %). Each raises ValueError naming the argument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

from shared.messages.conditions import (
    AwayFromEvents,
    CooldownAfterLoss,
    DaysToEvent,
    EmaCross,
    FundingLevel,
    IvLevel,
    IvRank,
    PriceEma,
    RealisedImplied,
    SpotMove,
    SuperTrend,
)
from shared.messages.on_demand import KlinePeriod
from shared.strategy.candles import BARS_MAX
from shared.strategy.checking import bounds, number
from shared.strategy.factories import utc_datetime_exit
from shared.strategy.legs import index_name
from shared.strategy.market_reads import SPARE_BARS, bars_needed

_LOOKBACK_DAYS_MAX = 366.0
ChoiceT = TypeVar("ChoiceT", bound=str)
ConditionT = TypeVar("ConditionT", SpotMove, PriceEma, EmaCross, SuperTrend, RealisedImplied)


def iv_level(
    min_pct: float | None = None, max_pct: float | None = None, *, days: float = 30, underlying: str = "BTC"
) -> IvLevel:
    """Open while the implied volatility at the money, `days` from now, is within these bounds, per cent a year.

    >>> iv_level(min_pct=45).min_pct
    45.0
    """
    low, high = bounds("iv_level", min_pct, max_pct, least=0)
    return IvLevel(
        days=number("iv_level", "days", days, above_zero=True),
        min_pct=low,
        max_pct=high,
        underlying=index_name(underlying),
    )


def iv_rank(
    min_pct: float | None = None,
    max_pct: float | None = None,
    *,
    lookback_days: float = 30,
    history_min_days: float | None = None,
    days: float = 30,
    measure: Literal["rank", "percentile"] = "rank",
    underlying: str = "BTC",
) -> IvRank:
    """While the implied volatility at the money, `days` ahead, stands within these bounds, 0 to 100, among its hourly
    samples of the last `lookback_days`.

    "rank": (now - lowest) / (highest - lowest) * 100; "percentile": the share of samples below it. The host samples
    from when a strategy first needs it, and remembers it over restarts; until the samples reach back
    `history_min_days` (None: the whole lookback) it waits.

    >>> iv_rank(min_pct=60, lookback_days=90, history_min_days=14).measure
    'rank'
    """
    low, high = bounds("iv_rank", min_pct, max_pct, least=0)
    lookback = number("iv_rank", "lookback_days", lookback_days, high=_LOOKBACK_DAYS_MAX, above_zero=True)
    history = lookback if history_min_days is None else history_min_days
    return IvRank(
        lookback_days=lookback,
        history_min_days=number("iv_rank", "history_min_days", history, high=lookback, above_zero=True),
        days=number("iv_rank", "days", days, above_zero=True),
        min_pct=low,
        max_pct=high,
        measure=_one_of("iv_rank", "measure", measure, ("rank", "percentile")),
        underlying=index_name(underlying),
    )


def realised_implied_ratio(
    min_ratio: float | None = None, max_ratio: float | None = None, *, days: float = 30, underlying: str = "BTC"
) -> RealisedImplied:
    """While realised volatility over the last `days` / implied volatility at the money `days` ahead is within these
    bounds: below 1 options cost more than what the market moved.

    >>> realised_implied_ratio(max_ratio=0.8).max_ratio
    0.8
    """
    low, high = bounds("realised_implied_ratio", min_ratio, max_ratio, least=0)
    return _readable(
        "realised_implied_ratio",
        RealisedImplied(
            days=number("realised_implied_ratio", "days", days, low=0.25),
            min_ratio=low,
            max_ratio=high,
            underlying=index_name(underlying),
        ),
    )


def spot_move(
    pct: float,
    *,
    minutes: float | None = None,
    hours: float | None = None,
    direction: Literal["up", "down", "either"] = "either",
    underlying: str = "BTC",
) -> SpotMove:
    """While the price has moved by `pct` per cent or more over the last `minutes` or `hours`. Inside `not_`: while it
    is calm.

    >>> spot_move(2, hours=4, direction="down").minutes
    240.0
    """
    if (minutes is None) == (hours is None):
        raise ValueError("spot_move takes exactly one of minutes= and hours=")
    span = number("spot_move", "hours", hours) * 60 if minutes is None else number("spot_move", "minutes", minutes)
    return _readable(
        "spot_move",
        SpotMove(
            pct=number("spot_move", "pct", pct, above_zero=True),
            minutes=number("spot_move", "minutes", span, low=1),
            direction=_one_of("spot_move", "direction", direction, ("up", "down", "either")),
            underlying=index_name(underlying),
        ),
    )


def price_ema(
    bars: int,
    side: Literal["above", "below"] = "above",
    *,
    candle: KlinePeriod = "1h",
    buffer_pct: float = 0.0,
    underlying: str = "BTC",
) -> PriceEma:
    """While the last finished candle closed above, or below, the exponential moving average of `bars` closes, by more
    than `buffer_pct` per cent of it.

    >>> price_ema(50, candle="4h").side
    'above'
    """
    return _readable(
        "price_ema",
        PriceEma(
            bars=_bars("price_ema", "bars", bars),
            side=_one_of("price_ema", "side", side, ("above", "below")),
            candle=_one_of("price_ema", "candle", candle, get_args(KlinePeriod)),
            buffer_pct=number("price_ema", "buffer_pct", buffer_pct, high=100),
            underlying=index_name(underlying),
        ),
    )


def ema_cross(
    fast_bars: int,
    slow_bars: int,
    side: Literal["above", "below"] = "above",
    *,
    candle: KlinePeriod = "1h",
    within_bars: int | None = None,
    underlying: str = "BTC",
) -> EmaCross:
    """While the fast exponential moving average is above, or below, the slow one; with `within_bars` only for so many
    candles after it crossed.

    >>> ema_cross(12, 26, "below", candle="4h", within_bars=3).within_bars
    3
    """
    fast, slow = _bars("ema_cross", "fast_bars", fast_bars), _bars("ema_cross", "slow_bars", slow_bars)
    if fast >= slow:
        raise ValueError(f"ema_cross: fast_bars {fast} must be less than slow_bars {slow}")
    return _readable(
        "ema_cross",
        EmaCross(
            fast_bars=fast,
            slow_bars=slow,
            side=_one_of("ema_cross", "side", side, ("above", "below")),
            candle=_one_of("ema_cross", "candle", candle, get_args(KlinePeriod)),
            within_bars=None if within_bars is None else _bars("ema_cross", "within_bars", within_bars),
            underlying=index_name(underlying),
        ),
    )


def supertrend(
    bars: int = 10,
    multiplier: float = 3.0,
    side: Literal["up", "down"] = "up",
    *,
    candle: KlinePeriod = "1h",
    underlying: str = "BTC",
) -> SuperTrend:
    """While the SuperTrend of `bars` candles and `multiplier` average true ranges points up, or down.

    >>> supertrend(10, 3, "down", candle="15m").multiplier
    3.0
    """
    return _readable(
        "supertrend",
        SuperTrend(
            bars=_bars("supertrend", "bars", bars),
            multiplier=number("supertrend", "multiplier", multiplier, above_zero=True),
            side=_one_of("supertrend", "side", side, ("up", "down")),
            candle=_one_of("supertrend", "candle", candle, get_args(KlinePeriod)),
            underlying=index_name(underlying),
        ),
    )


def funding_rate(
    min_pct: float | None = None, max_pct: float | None = None, *, underlying: str = "BTC"
) -> FundingLevel:
    """While the rate of the perpetual's next funding, per cent of its value for the whole period, is within these
    bounds; positive: longs pay.

    >>> funding_rate(max_pct=0.01).max_pct
    0.01
    """
    low, high = bounds("funding_rate", min_pct, max_pct)
    return FundingLevel(min_pct=low, max_pct=high, underlying=index_name(underlying))


def days_to_event(
    events: Sequence[dt.datetime], min_days: float | None = None, max_days: float | None = None
) -> DaysToEvent:
    """Open while the next of these instants is at least `min_days` and at most `max_days` of 24 h ahead.

    >>> halving = dt.datetime(2028, 4, 15, tzinfo=dt.UTC)
    >>> days_to_event([halving], min_days=2, max_days=10).max_days
    10.0
    """
    low, high = bounds("days_to_event", min_days, max_days, least=0)
    return DaysToEvent(at_ns=_instants("days_to_event", events), min_days=low, max_days=high)


def away_from_events(
    events: Sequence[dt.datetime], *, before_hours: float = 24, after_hours: float = 1
) -> AwayFromEvents:
    """Open unless one of these instants is less than `before_hours` ahead or `after_hours` ago; with time zones.

    >>> fed = dt.datetime(2026, 3, 18, 18, tzinfo=dt.UTC)
    >>> away_from_events([fed], before_hours=48).before_hours
    48.0
    """
    return AwayFromEvents(
        at_ns=_instants("away_from_events", events),
        before_hours=number("away_from_events", "before_hours", before_hours),
        after_hours=number("away_from_events", "after_hours", after_hours),
    )


def cooldown_after_loss(hours: float) -> CooldownAfterLoss:
    """Open when the strategy's last trade that lost money, fees counted, ended at least `hours` ago.

    >>> cooldown_after_loss(12).hours
    12.0
    """
    return CooldownAfterLoss(hours=number("cooldown_after_loss", "hours", hours, above_zero=True))


def _instants(factory: str, events: Sequence[dt.datetime]) -> tuple[int, ...]:
    if isinstance(events, dt.datetime) or not events:
        raise ValueError(f"{factory}: events must be a list of datetimes with a time zone")
    return tuple(sorted(utc_datetime_exit(at).at_ns for at in events))


def _bars(factory: str, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{factory}: {name} {value!r} must be a whole number, 1 or more")
    return value


def _one_of(factory: str, name: str, value: ChoiceT, allowed: Sequence[ChoiceT]) -> ChoiceT:
    if value not in allowed:
        raise ValueError(f"{factory}: {name} {value!r} must be one of {', '.join(map(str, allowed))}")
    return value


def _readable(factory: str, condition: ConditionT) -> ConditionT:
    """A condition that is judged on as many candles as can be read."""
    period, bars = bars_needed(condition)
    most = BARS_MAX - SPARE_BARS
    if bars > most:
        raise ValueError(
            f"{factory}: it is judged on {bars} candles of {period}, and {most} can be read: take fewer bars or a "
            "longer candle"
        )
    return condition

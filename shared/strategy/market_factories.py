"""Factories of entry conditions on the market, on events and on past losses. Each returns data.

Percentages are per cent, volatilities in volatility points (50 is 50 %). Each raises ValueError naming the argument.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from shared.messages.conditions import AwayFromEvents, CooldownAfterLoss, IvLevel
from shared.strategy.checking import bounds, number
from shared.strategy.factories import utc_datetime_exit
from shared.strategy.legs import index_name


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


def away_from_events(
    events: Sequence[dt.datetime], *, before_hours: float = 24, after_hours: float = 1
) -> AwayFromEvents:
    """Open unless one of these instants is less than `before_hours` ahead or `after_hours` ago; with time zones.

    >>> fed = dt.datetime(2026, 3, 18, 18, tzinfo=dt.UTC)
    >>> away_from_events([fed], before_hours=48).before_hours
    48.0
    """
    if isinstance(events, dt.datetime) or not events:
        raise ValueError("away_from_events: events must be a list of datetimes with a time zone")
    return AwayFromEvents(
        at_ns=tuple(sorted(utc_datetime_exit(at).at_ns for at in events)),
        before_hours=number("away_from_events", "before_hours", before_hours),
        after_hours=number("away_from_events", "after_hours", after_hours),
    )


def cooldown_after_loss(hours: float) -> CooldownAfterLoss:
    """Open when the strategy's last trade that lost money, fees counted, ended at least `hours` ago.

    >>> cooldown_after_loss(12).hours
    12.0
    """
    return CooldownAfterLoss(hours=number("cooldown_after_loss", "hours", hours, above_zero=True))

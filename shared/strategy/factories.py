"""Factories of entry and exit conditions, by the names that strategy files use. Each returns data.

Every factory raises ValueError naming the argument and what is allowed. Times are UTC. Percentages are per cent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Never, get_args, overload

from shared.messages.conditions import (
    AccountDeltaLimit,
    Comparison,
    Greek,
    LegGreekLimit,
    MaxAccountDelta,
    MaxHold,
    MaxLoss,
    MaxMarginUtilisation,
    MinAvailableMargin,
    MinEquity,
    NoExistingPosition,
    PriceBasis,
    ProfitTarget,
    StructureDeltaLimit,
    TimeExit,
    TimeWindow,
    UtcDatetimeExit,
    WeekdayFilter,
)
from shared.strategy.checking import index_or_none, number, price_basis

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def time_window(start_hour: int, end_hour: int) -> TimeWindow:
    """Open from `start_hour`:00 to before `end_hour`:00 UTC; crosses midnight when start > end. 0 to 24 is always.

    >>> time_window(9, 20).end_minute
    1200
    """
    for name, hour, top in (("start_hour", start_hour, 23), ("end_hour", end_hour, 24)):
        if not isinstance(hour, int) or not 0 <= hour <= top:
            raise ValueError(f"time_window: {name} {hour!r} must be a whole hour from 0 to {top}")
    return _window("time_window", start_hour * 60, end_hour * 60)


def utc_time_window(start: dt.time, end: dt.time) -> TimeWindow:
    """As `time_window`, to the minute: from `start` to before `end`, UTC.

    >>> utc_time_window(dt.time(9, 30), dt.time(20)).start_minute
    570
    """
    for name, moment in (("start", start), ("end", end)):
        if not isinstance(moment, dt.time) or moment.second or moment.microsecond:
            raise ValueError(f"utc_time_window: {name} {moment!r} must be a datetime.time of whole minutes")
        if moment.utcoffset():
            raise ValueError(f"utc_time_window: {name} {moment!r} must be UTC")
    return _window("utc_time_window", start.hour * 60 + start.minute, end.hour * 60 + end.minute)


def weekday_filter(days: Sequence[str]) -> WeekdayFilter:
    """Open on these UTC weekdays: "mon", "tue", "wed", "thu", "fri", "sat", "sun".

    >>> weekday_filter(["mon", "fri"]).weekdays
    (0, 4)
    """
    if isinstance(days, str) or not days:
        raise ValueError(f"weekday_filter: days {days!r} must be a list such as ['mon', 'tue']")
    numbers = set()
    for day in days:
        if str(day).lower()[:3] not in WEEKDAYS:
            raise ValueError(f"weekday_filter: day {day!r} must be one of {', '.join(WEEKDAYS)}")
        numbers.add(WEEKDAYS.index(str(day).lower()[:3]))
    return WeekdayFilter(weekdays=tuple(sorted(numbers)))


def min_available_margin_pct(pct: float) -> MinAvailableMargin:
    """Open while available margin is at least `pct` per cent of equity.

    >>> min_available_margin_pct(30).pct
    30.0
    """
    return MinAvailableMargin(pct=number("min_available_margin_pct", "pct", pct, high=100))


def min_equity(usd: float) -> MinEquity:
    """Open while equity is at least `usd`.

    >>> min_equity(5_000).usd
    5000.0
    """
    return MinEquity(usd=number("min_equity", "usd", usd))


def max_account_delta(limit: float, underlying: str | None = None) -> MaxAccountDelta:
    """Open while |delta| of the account is at most `limit`, in coins of `underlying` (None: summed over all).

    >>> max_account_delta(0.5, "BTC").underlying
    'BTCUSD'
    """
    return MaxAccountDelta(limit=number("max_account_delta", "limit", limit), underlying=index_or_none(underlying))


def max_margin_utilization(pct: float) -> MaxMarginUtilisation:
    """Open while initial margin is at most `pct` per cent of equity.

    >>> max_margin_utilization(40).pct
    40.0
    """
    return MaxMarginUtilisation(pct=number("max_margin_utilization", "pct", pct))


def no_existing_position_in(symbols: Sequence[str]) -> NoExistingPosition:
    """Open while the account holds nothing whose symbol begins with one of these ("BTC", or a whole symbol).

    >>> no_existing_position_in(["BTC"]).symbols
    ('BTC',)
    """
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not names or not all(names):
        raise ValueError("no_existing_position_in: symbols must be a list of symbols or of their beginnings")
    return NoExistingPosition(symbols=names)


def profit_target(
    *unsaid: Never, pct: float | None = None, usd: float | None = None, price: PriceBasis = "mark"
) -> ProfitTarget:
    """Close at this profit, fees deducted: `pct` per cent of the absolute entry premium, or `usd`.

    price: "mark", or "mid", the middle of each book that is narrow enough, else mark; never one side of a book.

    >>> profit_target(pct=50).pct
    50.0
    """
    pct, usd = _one_of("profit_target", unsaid, pct, usd)
    return ProfitTarget(pct=pct, usd=usd, price=price_basis("profit_target", price))


def max_loss(
    *unsaid: Never, pct: float | None = None, usd: float | None = None, price: PriceBasis = "mark"
) -> MaxLoss:
    """Close at this loss, fees included: `pct` per cent of the absolute entry premium, or `usd`.

    price: as of `profit_target`. What execution enforces by itself is judged by marks.

    >>> max_loss(usd=200, price="mid").price
    'mid'
    """
    pct, usd = _one_of("max_loss", unsaid, pct, usd)
    return MaxLoss(pct=pct, usd=usd, price=price_basis("max_loss", price))


def max_hold_hours(hours: float) -> MaxHold:
    """Close when the trade has been open for this long.

    >>> max_hold_hours(24).hours
    24.0
    """
    return MaxHold(hours=number("max_hold_hours", "hours", hours, above_zero=True))


def time_exit(hour: int, minute: int = 0) -> TimeExit:
    """Close at the first hour:minute UTC after opening.

    >>> time_exit(7, 30).hour
    7
    """
    for name, value, top in (("hour", hour, 23), ("minute", minute, 59)):
        if not isinstance(value, int) or not 0 <= value <= top:
            raise ValueError(f"time_exit: {name} {value!r} must be a whole number from 0 to {top}")
    return TimeExit(hour=hour, minute=minute)


def utc_datetime_exit(when: dt.datetime) -> UtcDatetimeExit:
    """Close at this instant. It must carry a time zone.

    >>> utc_datetime_exit(dt.datetime(1970, 1, 1, 1, tzinfo=dt.UTC)).at_ns
    3600000000000
    """
    if not isinstance(when, dt.datetime) or when.utcoffset() is None:
        raise ValueError(f"utc_datetime_exit: {when!r} must be a datetime with a time zone, e.g. tzinfo=datetime.UTC")
    return UtcDatetimeExit(at_ns=(when - _EPOCH) // dt.timedelta(microseconds=1) * 1_000)


def account_delta_limit(limit: float, underlying: str | None = None) -> AccountDeltaLimit:
    """Close when |delta| of the account exceeds `limit`, in coins of `underlying` (None: summed over all).

    >>> account_delta_limit(1.0).limit
    1.0
    """
    return AccountDeltaLimit(
        limit=number("account_delta_limit", "limit", limit), underlying=index_or_none(underlying)
    )


def structure_delta_limit(limit: float) -> StructureDeltaLimit:
    """Close when |Σ signed quantity × delta| of the trade's legs exceeds `limit`, in coins of the underlying.

    >>> structure_delta_limit(0.03).limit
    0.03
    """
    return StructureDeltaLimit(limit=number("structure_delta_limit", "limit", limit))


@overload
def leg_greek_limit(greek: Greek, limit: float) -> LegGreekLimit: ...
@overload
def leg_greek_limit(leg_index: int, greek: Greek, op: Comparison, value: float) -> LegGreekLimit: ...
def leg_greek_limit(*given: object, **named: object) -> LegGreekLimit:
    """Close by a leg's Greek, per unit and signed by the leg's side. Arguments may be named.

    `leg_greek_limit("delta", 0.4)` (greek, limit): when |delta| of any leg exceeds 0.4.
    `leg_greek_limit(1, "delta", "<", -0.4)` (leg_index, greek, op, value): when that of leg 1 compares true.

    >>> leg_greek_limit(1, "delta", "<", -0.4).leg_index
    1
    >>> leg_greek_limit(greek="delta", limit=0.4).comparison
    'abs>'
    """
    of_one = ("leg_index", "greek", "op", "value")
    is_of_one = "leg_index" in named or (bool(given) and isinstance(given[0], int))
    names = of_one if is_of_one else ("greek", "limit")
    arguments = dict(zip(names, given, strict=False)) | named
    if len(given) + len(named) != len(names) or set(arguments) != set(names):
        raise ValueError("leg_greek_limit takes (greek, limit) or (leg_index, greek, op, value)")
    if not is_of_one:
        return _leg_greek(None, arguments["greek"], "abs>", arguments["limit"])
    leg_index = arguments["leg_index"]
    if isinstance(leg_index, bool) or not isinstance(leg_index, int) or leg_index < 0:
        raise ValueError(f"leg_greek_limit: leg_index {leg_index!r} must be a whole number, 0 or more")
    return _leg_greek(leg_index, arguments["greek"], arguments["op"], arguments["value"])


def _leg_greek(leg_index: int | None, greek: object, op: object, limit: object) -> LegGreekLimit:
    for name in get_args(Greek):
        for comparison in get_args(Comparison):
            if name == greek and comparison == op:
                value = number("leg_greek_limit", "limit", limit, low=None)
                return LegGreekLimit(greek=name, limit=value, comparison=comparison, leg_index=leg_index)
    raise ValueError(
        f"leg_greek_limit: greek {greek!r} must be one of {', '.join(get_args(Greek))} "
        f"and op {op!r} one of {', '.join(get_args(Comparison))}"
    )


def _window(factory: str, start_minute: int, end_minute: int) -> TimeWindow:
    if start_minute == end_minute:
        raise ValueError(f"{factory}: start and end are the same, so it would never open; 0 to 24 is the whole day")
    return TimeWindow(start_minute=start_minute, end_minute=end_minute)


def _one_of(
    factory: str, unsaid: tuple[object, ...], pct: float | None, usd: float | None
) -> tuple[float | None, float | None]:
    if unsaid:
        # files for other programs mean per cent by it, or USD
        raise ValueError(
            f"{factory}: say what {unsaid[0]!r} is: {factory}(pct={unsaid[0]}) or {factory}(usd={unsaid[0]})"
        )
    if (pct is None) == (usd is None):
        raise ValueError(f"{factory} takes exactly one of pct= (of the entry premium) and usd=")
    if pct is not None:
        return number(factory, "pct", pct, above_zero=True), None
    return None, number(factory, "usd", usd, above_zero=True)

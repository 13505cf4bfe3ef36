"""Factories give data, and refuse what could not be meant."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

import msgspec
import pytest

from shared.messages.conditions import (
    EntryCondition,
    ExitCondition,
    LegGreekLimit,
    MaxLoss,
    NoExistingPosition,
    ProfitTarget,
    TimeWindow,
    UtcDatetimeExit,
    WeekdayFilter,
)
from shared.strategy import (
    account_delta_limit,
    leg_greek_limit,
    max_account_delta,
    max_hold_hours,
    max_loss,
    max_margin_utilization,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    structure_delta_limit,
    time_exit,
    time_window,
    utc_datetime_exit,
    utc_time_window,
    weekday_filter,
)
from tests.unit.strategy.making import at


def test_each_factory_gives_a_condition_that_travels_as_a_message() -> None:
    entries: list[EntryCondition] = [
        time_window(8, 20),
        utc_time_window(dt.time(8, 30), dt.time(0, 0)),
        weekday_filter(["mon", "Fri"]),
        min_available_margin_pct(30),
        min_equity(1_000),
        max_account_delta(0.5, "btc"),
        max_margin_utilization(50),
        no_existing_position_in(["BTC"]),
    ]
    exits: list[ExitCondition] = [
        profit_target(pct=50),
        max_loss(usd=100),
        max_hold_hours(24),
        time_exit(15, 30),
        utc_datetime_exit(dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)),
        account_delta_limit(1),
        structure_delta_limit(0.2),
        leg_greek_limit("delta", 0.4),
    ]
    wire = msgspec.msgpack.encode((entries, exits))
    assert msgspec.msgpack.decode(wire, type=tuple[list[EntryCondition], list[ExitCondition]]) == (entries, exits)


def test_windows_are_minutes_of_the_utc_day() -> None:
    assert time_window(22, 2) == TimeWindow(start_minute=1_320, end_minute=120)
    assert time_window(0, 24) == TimeWindow(start_minute=0, end_minute=1_440)
    assert utc_time_window(dt.time(9, 5), dt.time(17, 45)) == TimeWindow(start_minute=545, end_minute=1_065)


def test_weekdays_are_sorted_and_each_is_there_once() -> None:
    assert weekday_filter(["wed", "monday", "WED"]) == WeekdayFilter(weekdays=(0, 2))


def test_profit_and_loss_take_pct_or_usd_by_keyword() -> None:
    assert profit_target(pct=50) == ProfitTarget(pct=50.0)
    assert max_loss(usd=250) == MaxLoss(usd=250.0)


def test_leg_greek_limit_takes_both_forms() -> None:
    assert leg_greek_limit("delta", 0.4) == LegGreekLimit(greek="delta", limit=0.4)
    assert leg_greek_limit(1, "vega", ">=", 30) == LegGreekLimit(
        greek="vega", limit=30.0, comparison=">=", leg_index=1
    )
    assert (
        leg_greek_limit(greek="delta", limit=0.4)
        == leg_greek_limit("delta", limit=0.4)
        == leg_greek_limit("delta", 0.4)
    )
    by_name = leg_greek_limit(leg_index=1, greek="vega", op=">=", value=30)
    assert by_name == leg_greek_limit(1, "vega", op=">=", value=30) == leg_greek_limit(1, "vega", ">=", 30)


def test_a_single_symbol_may_be_given_without_a_list() -> None:
    assert no_existing_position_in("ETH") == NoExistingPosition(symbols=("ETH",))


def test_a_datetime_in_another_zone_is_the_same_instant() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    given = dt.datetime(2026, 3, 4, 14, 0, 0, 1, tzinfo=zone)
    assert utc_datetime_exit(given) == UtcDatetimeExit(at_ns=at("2026-03-04T12:00") + 1_000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: time_window(8, 8), "never open"),
        (lambda: time_window(24, 2), "start_hour 24"),
        (lambda: time_window(0, 25), "end_hour 25"),
        (lambda: utc_time_window(dt.time(8, 0, 1), dt.time(9)), "whole minutes"),
        (lambda: utc_time_window(dt.time(8, tzinfo=dt.timezone(dt.timedelta(hours=1))), dt.time(9)), "UTC"),
        (lambda: weekday_filter([]), "must be a list"),
        (lambda: weekday_filter("mon"), "must be a list"),
        (lambda: weekday_filter(["mon", "xyz"]), "'xyz'"),
        (lambda: min_available_margin_pct(101), "at most 100"),
        (lambda: min_available_margin_pct(-1), "at least 0"),
        (lambda: min_equity(math.nan), "finite"),
        (lambda: max_account_delta(math.inf), "finite"),
        (lambda: max_account_delta(1, "B.TC"), "underlying"),
        (lambda: no_existing_position_in([]), "symbols"),
        (lambda: no_existing_position_in([""]), "symbols"),
        (lambda: profit_target(), "exactly one"),
        (lambda: profit_target(50), r"say what 50 is: profit_target\(pct=50\) or profit_target\(usd=50\)"),  # type: ignore[arg-type]
        (lambda: max_loss(50), r"say what 50 is: max_loss\(pct=50\)"),  # type: ignore[arg-type]
        (lambda: profit_target(pct=1, usd=1), "exactly one"),
        (lambda: max_loss(pct=0), "above 0"),
        (lambda: max_hold_hours(0), "above 0"),
        (lambda: time_exit(24), "hour 24"),
        (lambda: time_exit(1, 60), "minute 60"),
        (lambda: utc_datetime_exit(dt.datetime.fromisoformat("2026-03-04")), "time zone"),
        (lambda: structure_delta_limit(-0.1), "at least 0"),
        (lambda: leg_greek_limit("speed", 1.0), "greek 'speed'"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit(0, "delta", "~", 1.0), "op '~'"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit(-1, "delta", "<", 1.0), "leg_index -1"),
        (lambda: leg_greek_limit("delta", 0.1, 3), "takes"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit("delta", greek="delta"), "takes"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit(0, "delta", 0.4), "takes"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit(greek="delta", threshold=0.4), "takes"),  # type: ignore[call-overload]
        (lambda: leg_greek_limit(True, "delta", ">", 0.4), "leg_index True"),
        (lambda: leg_greek_limit(leg_index=0.0, greek="delta", op=">", value=1), "leg_index 0.0"),  # type: ignore[call-overload]
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_argument_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

"""When schedules fire: triggers, filters, calendars, time zones and changes of the clock."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.strategy.schedule import Schedule, cron, daily_at, every, firings, last_firing, next_firing

SECOND = 1_000_000_000


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * SECOND


def shown(schedule: Schedule, after: str, count: int) -> list[str]:
    """The next firings, UTC to the minute."""
    found = firings(schedule, ns(after), count)
    return [f"{dt.datetime.fromtimestamp(at // SECOND, dt.UTC):%Y-%m-%dT%H:%M}" for at in found]


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        (cron("0 9 * * mon-fri"), "2026-03-06T09:00", ["2026-03-09T09:00", "2026-03-10T09:00"]),
        (cron("*/30 * * * *", hours=(22, 1)), "2026-03-06T22:45", ["2026-03-06T23:00", "2026-03-06T23:30"]),
        (every(minutes=15), "2026-03-06T09:01", ["2026-03-06T09:15", "2026-03-06T09:30"]),
        (every(hours_=6, weekdays=["sat"]), "2026-03-06T09:00", ["2026-03-07T00:00", "2026-03-07T06:00"]),
        (daily_at("07:30", "19:00"), "2026-03-06T09:00", ["2026-03-06T19:00", "2026-03-07T07:30"]),
        (daily_at("07:30", day="month_end"), "2026-02-01T00:00", ["2026-02-28T07:30", "2026-03-31T07:30"]),
        (daily_at("07:30", day="month_start"), "2026-02-01T08:00", ["2026-03-01T07:30", "2026-04-01T07:30"]),
        (daily_at("07:30", nth_weekday=(3, "fri")), "2026-03-01T00:00", ["2026-03-20T07:30", "2026-04-17T07:30"]),
        (daily_at("07:30", nth_weekday=(-1, "mon")), "2026-03-01T00:00", ["2026-03-30T07:30", "2026-04-27T07:30"]),
        (daily_at("07:30", day="weekly_expiry"), "2026-03-01T00:00", ["2026-03-06T07:30", "2026-03-13T07:30"]),
        (daily_at("07:30", day="monthly_expiry"), "2026-03-01T00:00", ["2026-03-27T07:30", "2026-04-24T07:30"]),
        (daily_at("07:30", day="quarterly_expiry"), "2026-03-28T00:00", ["2026-06-26T07:30", "2026-09-25T07:30"]),
        (
            daily_at("12:00", day="monthly_expiry", days_before=3),
            "2026-03-01T00:00",
            ["2026-03-24T12:00", "2026-04-21T12:00"],
        ),
        (cron("0 8 L * *"), "2026-02-01T00:00", ["2026-02-28T08:00", "2026-03-31T08:00"]),
    ],
)
def test_a_schedule_fires_when_its_trigger_and_every_filter_say_so(
    schedule: Schedule, after: str, expected: list[str]
) -> None:
    assert shown(schedule, after, len(expected)) == expected


def test_holidays_and_weekends_of_an_exchange_are_left_out() -> None:
    at_open = daily_at("09:30", zone="America/New_York", holidays="NYSE")
    # Thursday 25 December is a holiday, and so is the first of January; the weekend is none of the exchange's
    assert shown(at_open, "2025-12-24T15:00", 3) == ["2025-12-26T14:30", "2025-12-29T14:30", "2025-12-30T14:30"]
    first = daily_at("09:30", zone="America/New_York", holidays="NYSE", day="month_start")
    assert shown(first, "2025-12-30T00:00", 2) == ["2026-01-02T14:30", "2026-02-02T14:30"]
    last = daily_at("15:45", zone="America/New_York", holidays="NYSE", day="month_end")
    assert shown(last, "2026-01-01T00:00", 2) == ["2026-01-30T20:45", "2026-02-27T20:45"]


def test_days_are_counted_back_from_the_last_session_of_a_month_alone() -> None:
    # 31 January 2026 is a Saturday: its last session is the 30th, and the day before that one is the 29th
    before_last = daily_at("12:00", holidays="NYSE", day="month_end", days_before=1)
    assert shown(before_last, "2026-01-20T00:00", 1) == ["2026-01-29T12:00"]
    assert shown(before_last, "2026-01-29T12:00", 1) == ["2026-02-26T12:00"]
    # 1 March 2026 is a Sunday: the first session is Monday, and three days before it is a Friday
    before_first = daily_at("12:00", holidays="NYSE", day="month_start", days_before=3)
    assert shown(before_first, "2026-02-20T00:00", 1) == ["2026-02-27T12:00"]


def test_the_wall_clock_of_the_zone_counts_over_changes_of_the_clock() -> None:
    new_york = daily_at("09:30", zone="America/New_York")
    assert shown(new_york, "2026-03-07T00:00", 3) == ["2026-03-07T14:30", "2026-03-08T13:30", "2026-03-09T13:30"]
    # 02:30 does not exist on that day
    skipped = daily_at("02:30", zone="America/New_York")
    on_the_day = [at for at in shown(skipped, "2026-03-08T00:00", 3) if at.startswith("2026-03-08")]
    assert len(on_the_day) == 1
    # 01:30 exists twice on that day and fires once
    repeated = daily_at("01:30", zone="America/New_York")
    assert len([at for at in shown(repeated, "2026-11-01T00:00", 3) if at.startswith("2026-11-01")]) == 1


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll"])
@pytest.mark.parametrize("lines", [("30 1 * * *", "30 2 * * *"), ("0,20,40 0-4 * * *",), ("*/20 1-3 * * *",)])
def test_around_changes_of_the_clock_every_firing_lies_ahead_and_is_found_looking_back(
    zone: str, lines: tuple[str, ...]
) -> None:
    schedule = Schedule(crons=lines, zone=zone)
    changes = [
        at
        for at in range(ns("2026-01-01T00:00"), ns("2027-01-01T00:00"), 1_800 * SECOND)
        if offset(zone, at) != offset(zone, at + 1_800 * SECOND)
    ]
    assert len(changes) == 2
    for change_ns in changes:
        days = firings(schedule, change_ns - 30 * 3_600 * SECOND, 200)
        assert days == sorted(set(days))
        for after_ns in range(change_ns - 8 * 3_600 * SECOND, change_ns + 8 * 3_600 * SECOND, 600 * SECOND):
            assert next_firing(schedule, after_ns) == next(at for at in days if at > after_ns)
            assert last_firing(schedule, 0, after_ns) == [at for at in days if at <= after_ns][-1]


def offset(zone: str, at_ns: int) -> dt.timedelta | None:
    return dt.datetime.fromtimestamp(at_ns // SECOND, ZoneInfo(zone)).utcoffset()


def test_a_firing_is_not_among_those_after_it_and_is_the_last_one_at_its_own_time() -> None:
    schedule = daily_at("07:30")
    at = ns("2026-03-06T07:30")
    assert next_firing(schedule, at) == ns("2026-03-07T07:30")
    assert next_firing(schedule, at - 1) == at
    assert last_firing(schedule, 0, at) == at
    assert last_firing(schedule, 0, at - 1) == ns("2026-03-05T07:30")
    assert last_firing(schedule, at, at + 60 * SECOND) is None


def test_a_day_that_never_comes_never_fires() -> None:
    never = daily_at("07:30", day="month_start", nth_weekday=(5, "fri"))
    assert last_firing(never, 0, ns("2026-03-06T00:00")) is None
    assert next_firing(never, ns("2026-03-06T00:00")) is None


SCHEDULES = st.sampled_from(
    [
        daily_at("01:30", "02:30", zone="America/New_York"),
        daily_at("02:30", zone="Europe/Berlin", weekdays=["sun"]),
        every(minutes=25, zone="America/New_York", hours=(0, 4)),
        every(seconds=1_700),
        cron("*/20 1-3 * * *", zone="Europe/Berlin"),
        cron("15 8 * * fri#1", zone="Asia/Tokyo"),
        daily_at("16:00", zone="America/New_York", holidays="NYSE"),
    ]
)


@example(cron("*/20 1-3 * * *", zone="Europe/Berlin"), 1_794_268_799_999_999_881, 119)
@example(daily_at("01:30", "02:30", zone="America/New_York"), ns("2026-11-01T06:00"), 1)
@settings(max_examples=150, deadline=None)
@given(SCHEDULES, st.integers(ns("2026-03-01T00:00"), ns("2026-11-10T00:00")), st.integers(1, 4 * 86_400 * SECOND))
def test_looking_back_finds_what_looking_ahead_found(schedule: Schedule, since_ns: int, length_ns: int) -> None:
    now_ns = since_ns + length_ns
    ahead, at = [], next_firing(schedule, since_ns)
    while at is not None and at <= now_ns:
        ahead.append(at)
        at = next_firing(schedule, at)
    assert last_firing(schedule, since_ns, now_ns) == (ahead[-1] if ahead else None)
    assert ahead == sorted(set(ahead)) == [at for at in firings(schedule, since_ns, len(ahead) + 1) if at <= now_ns]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: cron("9 * *"), "cron line '9 * *'"),
        (lambda: cron("61 * * * *"), "five fields are needed"),
        (lambda: daily_at("noon"), "'noon' must be a time as '07:30'"),
        (lambda: cron("0 30 9 * * *"), "has 6 fields; five are"),
        (lambda: daily_at("07:30+02:00"), "to the minute, as '07:30', of the zone= that is given"),
        (lambda: daily_at("07:30:15"), "to the minute, as '07:30'"),
        (lambda: daily_at(), "give at least one time"),
        (lambda: every(), "1 second or more"),
        (lambda: daily_at("07:30", zone="Mars"), "zone 'Mars' is no IANA time zone"),
        (lambda: daily_at("07:30", holidays="MOON"), "holidays 'MOON' is no calendar"),
        (lambda: daily_at("07:30", weekdays=["someday"]), "'someday' must be one of mon, tue"),
        (lambda: daily_at("07:30", nth_weekday=(6, "fri")), "1 to 5 or -1 to -5"),
        (lambda: daily_at("07:30", hours=(9, 9)), "two different whole hours"),
        (lambda: daily_at("07:30", day="payday"), "schedule: Invalid enum value 'payday'"),
        (lambda: daily_at("07:30", days_before=-1), "days_before -1 must lie within 0 to 366"),
        (lambda: daily_at("07:30", timezone="UTC"), "a schedule has no timezone: it takes zone, "),
    ],
)
def test_a_schedule_that_cannot_be_says_why(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("*", r"\*").replace("(", r"\(")):
        make()

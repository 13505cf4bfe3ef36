"""When something is due: by the clock, on days of a calendar, in a time zone that is named. Pure: the time is given.

A schedule is a function of time alone, so that a restart changes nothing in it. What a change of the clock skips
fires right after it; what it repeats fires once.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from shared.strategy.factories import WEEKDAYS

SECOND_NS = 1_000_000_000
_HORIZON = dt.timedelta(days=5 * 366)
"""A schedule that does not fire within five years counts as one that never does."""

Day = Literal["month_start", "month_end", "daily_expiry", "weekly_expiry", "monthly_expiry", "quarterly_expiry"]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Made by `cron`, `every` and `daily_at`. Every filter that is given must hold on the local date or hour.

    crons: cron lines of five fields, any of which fires; or every_seconds: at multiples of it since 1970-01-01 UTC.
    zone: an IANA time zone. weekdays: 0 is Monday. hours: from (included) to (excluded), over midnight if from > to.
    day: see `Day`; nth_weekday: (n, weekday), from the end of the month when n < 0. days_before: so many calendar
    days before that day. holidays: a calendar on whose holidays, and weekends, nothing fires.
    """

    crons: tuple[str, ...] = ()
    every_seconds: int | None = None
    zone: str = "UTC"
    weekdays: tuple[int, ...] = ()
    hours: tuple[int, int] | None = None
    day: Day | None = None
    nth_weekday: tuple[int, int] | None = None
    days_before: int = 0
    holidays: str = ""

    @property
    def text(self) -> str:
        """In words."""
        parts = [f"every {self.every_seconds} s"] if self.every_seconds else [" or ".join(self.crons)]
        if self.weekdays:
            parts.append("on " + ", ".join(WEEKDAYS[day] for day in self.weekdays))
        if self.hours is not None:
            parts.append(f"from {self.hours[0]:02d}:00 to before {self.hours[1]:02d}:00")
        before = f"{self.days_before} days before " if self.days_before else ""
        if self.day is not None:
            parts.append(f"{before}{self.day.replace('_', ' ')}")
        if self.nth_weekday is not None:
            parts.append(f"{before}weekday {self.nth_weekday[0]} of the month: {WEEKDAYS[self.nth_weekday[1]]}")
        if self.holidays:
            parts.append(f"not on holidays of {self.holidays}")
        return f"{', '.join(parts)} ({self.zone})"


def cron(line: str, **filters: Any) -> Schedule:
    """Fires when a cron line of five fields does: minute, hour, day of month, month, day of week.

    `L` is the last day of the month, `fri#2` its second Friday. filters: `zone` (an IANA name, UTC unless given),
    `weekdays`, `hours`, `day`, `nth_weekday`, `days_before`, `holidays`, see `Schedule`. Raises ValueError naming
    what is wrong.

    >>> cron("30 9 * * mon-fri", zone="America/New_York", holidays="NYSE").text
    '30 9 * * mon-fri, not on holidays of NYSE (America/New_York)'
    """
    return _checked(crons=(line,), **filters)


def daily_at(*times: str, **filters: Any) -> Schedule:
    """Fires at these times of the day, "HH:MM". filters: as of `cron`.

    >>> daily_at("07:30", day="monthly_expiry").text
    '30 7 * * *, monthly expiry (UTC)'
    """
    lines = []
    for time in times:
        try:
            at = dt.time.fromisoformat(time)
        except (TypeError, ValueError):
            raise ValueError(f"daily_at: {time!r} must be a time as '07:30'") from None
        if at.tzinfo is not None or at.second or at.microsecond:
            raise ValueError(
                f"daily_at: {time!r} must be a time to the minute, as '07:30', of the zone= that is given"
            )
        lines.append(f"{at.minute} {at.hour} * * *")
    if not lines:
        raise ValueError("daily_at: give at least one time, as '07:30'")
    return _checked(crons=tuple(lines), **filters)


def every(*, seconds: int = 0, minutes: int = 0, hours_: int = 0, **filters: Any) -> Schedule:
    """Fires at multiples of this since 1970-01-01 00:00 UTC, whatever started when. filters: as of `cron`.

    >>> every(minutes=15, hours=(9, 17), zone="Europe/Berlin").text
    'every 900 s, from 09:00 to before 17:00 (Europe/Berlin)'
    """
    total = seconds + 60 * minutes + 3_600 * hours_
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        raise ValueError("every: give seconds, minutes or hours_ as whole numbers, 1 second or more in all")
    return _checked(every_seconds=total, **filters)


def next_firing(schedule: Schedule, after_ns: int) -> int | None:
    """The first firing after `after_ns` (UTC ns), None if there is none within five years."""
    return next(_firings(schedule, after_ns, forwards=True), None)


def last_firing(schedule: Schedule, since_ns: int, now_ns: int) -> int | None:
    """The latest firing after `since_ns` up to `now_ns`; None when nothing was due."""
    found = next(_firings(schedule, now_ns + 1, forwards=False, since_ns=since_ns), None)
    return None if found is None or found <= since_ns else found


def firings(schedule: Schedule, after_ns: int, count: int) -> list[int]:
    """The next firings after `after_ns`, at most `count`."""
    found = []
    for at_ns in _firings(schedule, after_ns, forwards=True):
        found.append(at_ns)
        if len(found) >= count:
            break
    return found


def _firings(schedule: Schedule, from_ns: int, *, forwards: bool, since_ns: int | None = None) -> Iterator[int]:
    """Firings beyond `from_ns`, which is not among them, in this direction."""
    zone = ZoneInfo(schedule.zone)
    start = _local(from_ns, zone)
    if forwards and from_ns % SECOND_NS:
        start = _local(from_ns - from_ns % SECOND_NS, zone)
    elif not forwards and from_ns % SECOND_NS:
        start = _local(from_ns - from_ns % SECOND_NS + SECOND_NS, zone)
    limit_ns = int((start + _HORIZON if forwards else start - _HORIZON).timestamp()) * SECOND_NS
    limit_ns = limit_ns if since_ns is None else max(limit_ns, since_ns)
    at: dt.datetime | None = start
    while at is not None:
        at = _candidate(schedule, at, forwards=forwards)
        if at is None:
            return
        # whole numbers: a float of nanoseconds since 1970 cannot tell one instant from the next
        at_ns = int(at.timestamp()) * SECOND_NS
        if at_ns > limit_ns if forwards else at_ns <= limit_ns:
            return
        if not _is_day(schedule, at.date()):
            at = _edge_of_day(at, forwards=forwards)
        elif _is_hour(schedule, at.hour):
            yield at_ns


def _candidate(schedule: Schedule, beyond: dt.datetime, *, forwards: bool) -> dt.datetime | None:
    """The next time beyond this one at which the trigger fires, whatever the filters say."""
    if schedule.every_seconds is not None:
        step, seconds = schedule.every_seconds, int(beyond.timestamp())
        found = (seconds // step + 1) * step if forwards else (seconds - 1) // step * step
        return dt.datetime.fromtimestamp(found, beyond.tzinfo)
    times = [_cron_candidate(line, beyond, forwards=forwards) for line in schedule.crons]
    known = [time for time in times if time is not None]
    # by the instant: datetimes of one zone compare by the wall clock, which a change of the clock turns back
    return (min if forwards else max)(known, key=dt.datetime.timestamp) if known else None


def _cron_candidate(line: str, beyond: dt.datetime, *, forwards: bool) -> dt.datetime | None:
    """The next time beyond this one at which the line fires.

    The library reads the wall clock without asking which of two equal hours it is. Near a change of the clock it
    starts some hours before, and what is not beyond is left out here.
    """
    # imported here because most strategies have no schedule
    from cronsim import CronSim

    instant = beyond.timestamp()
    early, late = (
        dt.datetime.fromtimestamp(instant + hours * 3_600, beyond.tzinfo) for hours in (-_CHANGE_HOURS, _CHANGE_HOURS)
    )
    start = beyond
    if early.utcoffset() != late.utcoffset():
        start = early if forwards else late
    for at in CronSim(line, start, reverse=not forwards):
        if at.timestamp() > instant if forwards else at.timestamp() < instant:
            return at
    return None


_CHANGE_HOURS = 4
"""More than any zone has moved its clock at once, but for the few that crossed the date line."""


def _edge_of_day(at: dt.datetime, *, forwards: bool) -> dt.datetime:
    """Just before the next local day, or the beginning of this one: nothing else of this day can fire."""
    if forwards:
        midnight = dt.datetime.combine(at.date() + dt.timedelta(days=1), dt.time(), at.tzinfo)
        return dt.datetime.fromtimestamp(midnight.timestamp() - 1, at.tzinfo)
    return dt.datetime.combine(at.date(), dt.time(), at.tzinfo)


def _is_hour(schedule: Schedule, hour: int) -> bool:
    if schedule.hours is None:
        return True
    start, end = schedule.hours
    return start <= hour < end if start < end else hour >= start or hour < end


def _is_day(schedule: Schedule, day: dt.date) -> bool:
    if schedule.weekdays and day.weekday() not in schedule.weekdays:
        return False
    if schedule.holidays and not _is_session(schedule.holidays, day):
        return False
    target = day + dt.timedelta(days=schedule.days_before)
    if schedule.nth_weekday is not None and not _is_nth_weekday(target, *schedule.nth_weekday):
        return False
    return schedule.day is None or _is_special(schedule.day, target, schedule.holidays)


def _is_special(kind: Day, day: dt.date, holidays: str) -> bool:
    """Coincall's expiries: every day, Fridays, the last Friday of a month, and of a quarter. Of a calendar the first
    and last session of the month count, without one its first and last day."""
    match kind:
        case "daily_expiry":
            return True
        case "weekly_expiry":
            return day.weekday() == _FRIDAY
        case "monthly_expiry":
            return _is_nth_weekday(day, -1, _FRIDAY)
        case "quarterly_expiry":
            return day.month % 3 == 0 and _is_nth_weekday(day, -1, _FRIDAY)
    if holidays and not _is_session(holidays, day):
        return False
    step = dt.timedelta(days=-1 if kind == "month_start" else 1)
    beyond = day + step
    while holidays and beyond.month == day.month and not _is_session(holidays, beyond):
        beyond += step
    return beyond.month != day.month


_FRIDAY = 4


def _is_nth_weekday(day: dt.date, nth: int, weekday: int) -> bool:
    if day.weekday() != weekday:
        return False
    if nth > 0:
        return (day.day - 1) // 7 + 1 == nth
    next_month = (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
    return -(((next_month - day).days - 1) // 7 + 1) == nth


def _is_session(name: str, day: dt.date) -> bool:
    return day.weekday() < 5 and day not in _calendar(name)


@functools.lru_cache(maxsize=16)
def _calendar(name: str) -> Any:
    """The holidays of a market ("NYSE", "ECB") or a country ("US", "DE"). Raises ValueError when there are none."""
    # imported here because its tables are large and few strategies need them
    import holidays

    try:
        return holidays.financial_holidays(name)
    except NotImplementedError:
        pass
    try:
        return holidays.country_holidays(name)
    except NotImplementedError:
        markets = ", ".join(sorted(holidays.list_supported_financial()))
        raise ValueError(f"holidays {name!r} is no calendar: use a market ({markets}) or a country as 'US'") from None


def _local(at_ns: int, zone: ZoneInfo) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ns // SECOND_NS, zone)


def _checked(**fields: Any) -> Schedule:
    """Raises ValueError naming the field and what is allowed."""
    known = [name for name in Schedule.__struct_fields__ if name not in ("crons", "every_seconds")]
    for name in fields:
        if name not in (*known, "crons", "every_seconds"):
            raise ValueError(f"a schedule has no {name}: it takes {', '.join(known)}")
    if "weekdays" in fields:
        fields["weekdays"] = tuple(_weekday("weekdays", each) for each in fields["weekdays"])
    if "nth_weekday" in fields:
        fields["nth_weekday"] = _nth(fields["nth_weekday"])
    if "hours" in fields:
        fields["hours"] = _hours(fields["hours"])
    try:
        schedule = msgspec.convert(fields, Schedule)
    except msgspec.ValidationError as error:
        raise ValueError(f"schedule: {error}") from None
    if not 0 <= schedule.days_before <= 366:
        raise ValueError(f"days_before {schedule.days_before} must lie within 0 to 366")
    try:
        ZoneInfo(schedule.zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"zone {schedule.zone!r} is no IANA time zone, as 'UTC' or 'America/New_York'") from None
    if schedule.holidays:
        _calendar(schedule.holidays)
    if schedule.crons:
        from cronsim import CronSim, CronSimError

        for line in schedule.crons:
            try:
                CronSim(line, dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
            except CronSimError as error:
                raise ValueError(f"cron line {line!r}: {error}; five fields are needed: '30 9 * * mon-fri'") from None
            if len(line.split()) != 5:
                # whether a sixth one is of seconds or of years differs from one program to the next
                raise ValueError(f"cron line {line!r} has {len(line.split())} fields; five are: '30 9 * * mon-fri'")
    return schedule


def _weekday(field: str, given: object) -> int:
    name = given.lower()[:3] if isinstance(given, str) else ""
    if name not in WEEKDAYS:
        raise ValueError(f"{field}: {given!r} must be one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(name)


def _nth(given: object) -> tuple[int, int]:
    if not isinstance(given, Sequence) or len(given) != 2 or given[0] not in (1, 2, 3, 4, 5, -1, -2, -3, -4, -5):
        raise ValueError(f"nth_weekday {given!r} must be a number, 1 to 5 or -1 to -5, and a weekday, as (3, 'fri')")
    return int(given[0]), _weekday("nth_weekday", given[1])


def _hours(given: object) -> tuple[int, int]:
    good = isinstance(given, Sequence) and len(given) == 2 and all(isinstance(each, int) for each in given)
    if not good or not (0 <= given[0] <= 23 and 0 <= given[1] <= 24) or given[0] == given[1]:  # type: ignore[index]
        raise ValueError(f"hours {given!r} must be two different whole hours, from and to, as (9, 17)")
    return given[0], given[1]  # type: ignore[index]

"""The next firings of what a strategy does by its schedules."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from shared.strategy.config import StrategyConfig
from shared.strategy.schedule import Schedule, firings
from shared.views import iso


def schedules_of(config: StrategyConfig) -> list[tuple[str, Schedule]]:
    """What each schedule of a strategy is for: entry, exit, or its action."""
    found = [("entry", config.entry_schedule), ("exit", config.exit_schedule)]
    named = [(name, schedule) for name, schedule in found if schedule is not None]
    return named + [(action.key.partition(":")[0], action.schedule) for action in config.actions]


def preview(config: StrategyConfig, now_ns: int, count: int) -> list[tuple[int, str, Schedule]]:
    """The next `count` firings of all its schedules, and the first of each that comes later, in the order of time:
    what fires often does not hide what fires once a month."""
    coming = [
        (number, (at_ns, name, schedule))
        for name, schedule in schedules_of(config)
        for number, at_ns in enumerate(firings(schedule, now_ns, count))
    ]
    coming.sort(key=lambda each: each[1][:2])
    return [firing for place, (number, firing) in enumerate(coming) if place < count or number == 0]


def local_text(at_ns: int, zone: str) -> str:
    """ "Fri 2026-03-06 09:30 America/New_York"."""
    return f"{dt.datetime.fromtimestamp(at_ns // 1_000_000_000, ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def firing_json(at_ns: int, name: str, schedule: Schedule) -> dict[str, Any]:
    return {"at": iso(at_ns), "local": local_text(at_ns, schedule.zone), "does": name, "schedule": schedule.text}

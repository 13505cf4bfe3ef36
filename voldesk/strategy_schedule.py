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
    """The next `count` firings of all its schedules, in the order of time."""
    coming = [
        (at_ns, name, schedule)
        for name, schedule in schedules_of(config)
        for at_ns in firings(schedule, now_ns, count)
    ]
    return sorted(coming, key=lambda each: (each[0], each[1]))[:count]


def local_text(at_ns: int, zone: str) -> str:
    """ "Fri 2026-03-06 09:30 America/New_York"."""
    return f"{dt.datetime.fromtimestamp(at_ns // 1_000_000_000, ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def firing_json(at_ns: int, name: str, schedule: Schedule) -> dict[str, Any]:
    return {"at": iso(at_ns), "local": local_text(at_ns, schedule.zone), "does": name, "schedule": schedule.text}

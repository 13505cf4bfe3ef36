"""What a strategy does by its schedule, beside looking at entries and exits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal

import msgspec

from shared.strategy.schedule import Schedule
from shared.strategy.views import DeskView

ActionKind = Literal["close", "pause", "resume", "call"]
ScheduledFunction = Callable[[DeskView, int], None]


class ScheduledAction(msgspec.Struct, frozen=True, kw_only=True):
    """Made by `close_on`, `pause_on`, `resume_on` and `call_on`. late_seconds: how late a firing that was missed, the
    host being down, is still carried out; None: however late. Of several that were missed only the last counts."""

    kind: ActionKind
    schedule: Schedule
    late_seconds: float | None = None
    function: ScheduledFunction | None = None

    @property
    def key(self) -> str:
        """Names it over restarts: another schedule is another action."""
        name = "" if self.function is None else f" {getattr(self.function, '__name__', 'function')}"
        return f"{self.kind}{name}: {self.schedule.text}"


def close_on(schedule: Schedule) -> ScheduledAction:
    """Closes every trade that was made before the firing, however late the host is back.

    >>> from shared.strategy.schedule import daily_at
    >>> close_on(daily_at("07:30", weekdays=["fri"])).key
    'close: 30 7 * * *, on fri (UTC)'
    """
    return _action("close", schedule, None)


def pause_on(schedule: Schedule) -> ScheduledAction:
    """Pauses the strategy as `voldesk strategies pause` does, however late the host is back.

    >>> from shared.strategy.schedule import daily_at
    >>> pause_on(daily_at("00:00", weekdays=["sat"])).kind
    'pause'
    """
    return _action("pause", schedule, None)


def resume_on(schedule: Schedule, *, late_seconds: float = 300.0) -> ScheduledAction:
    """Resumes the strategy, whoever paused it; not when the host is back more than `late_seconds` after it.

    >>> from shared.strategy.schedule import daily_at
    >>> resume_on(daily_at("09:00", weekdays=["mon"]), late_seconds=3_600).late_seconds
    3600
    """
    return _action("resume", schedule, late_seconds)


def call_on(function: ScheduledFunction, schedule: Schedule, *, late_seconds: float = 300.0) -> ScheduledAction:
    """Calls function(desk, now_ns) once per firing; not when the host is back more than `late_seconds` after it.

    Raises ValueError when it cannot be called so.

    >>> from shared.strategy.schedule import daily_at
    >>> def remind(desk, now_ns):
    ...     print(len(desk.trades))
    >>> call_on(remind, daily_at("07:30")).key
    'call remind: 30 7 * * * (UTC)'
    """
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"call_on: {function.__name__} is async and would never run: make it a plain def")
    try:
        inspect.signature(function).bind(None, 0)
    except TypeError as error:
        raise ValueError(f"call_on: the function must take two arguments, the DeskView and now_ns: {error}") from None
    return _action("call", schedule, late_seconds, function)


def _action(
    kind: ActionKind, schedule: Schedule, late_seconds: float | None, function: ScheduledFunction | None = None
) -> ScheduledAction:
    if not isinstance(schedule, Schedule):
        raise ValueError(f"{kind}_on: {schedule!r} must be made by cron, every or daily_at")
    if late_seconds is not None and not late_seconds >= 0:
        raise ValueError(f"{kind}_on: late_seconds {late_seconds!r} must be 0 or more")
    return ScheduledAction(kind=kind, schedule=schedule, late_seconds=late_seconds, function=function)

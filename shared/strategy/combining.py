"""Conditions made of conditions. Each part is a condition of the same kind (entry or exit), or a plain function."""

from __future__ import annotations

from typing import Any

from shared.messages.conditions import AllOf, AnyOf, Condition, ForAtLeast, Not
from shared.strategy.checking import number


def all_of(*conditions: Any) -> AllOf:
    """Yes when every part says yes; a certain no wins over a part that waits.

    >>> from shared.strategy import time_window, weekday_filter
    >>> len(all_of(time_window(9, 12), weekday_filter(["fri"])).conditions)
    2
    """
    return AllOf(conditions=_parts("all_of", conditions))


def any_of(*conditions: Any) -> AnyOf:
    """Yes when one part says yes; a certain yes wins over a part that waits.

    >>> from shared.strategy import max_hold_hours, profit_target
    >>> len(any_of(profit_target(pct=50), max_hold_hours(24)).conditions)
    2
    """
    return AnyOf(conditions=_parts("any_of", conditions))


def not_(condition: Any) -> Not:
    """Yes when the part says no; while the part waits it waits too.

    >>> from shared.strategy import weekday_filter
    >>> not_(weekday_filter(["sat", "sun"])).condition.weekdays
    (5, 6)
    """
    return Not(condition=_parts("not_", (condition,))[0])


def for_at_least(condition: Any, *, seconds: float) -> ForAtLeast:
    """Yes when the part has said yes at every look for `seconds`; over restarts of the host too.

    While the part waits, this waits, and its time is neither counted as broken nor begun anew.

    >>> from shared.strategy import max_loss
    >>> for_at_least(max_loss(usd=200), seconds=60).seconds
    60.0
    """
    part = _parts("for_at_least", (condition,))[0]
    return ForAtLeast(condition=part, seconds=number("for_at_least", "seconds", seconds, above_zero=True))


def _parts(factory: str, conditions: tuple[Any, ...]) -> tuple[Any, ...]:
    if not conditions:
        raise ValueError(f"{factory} needs at least one condition")
    for condition in conditions:
        if not (isinstance(condition, Condition) or callable(condition)):
            raise ValueError(f"{factory}: {condition!r} must be a condition or a plain function")
    return conditions

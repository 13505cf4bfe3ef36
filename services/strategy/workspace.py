"""What the parts of a host's core share: the step that is being decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from services.strategy.rows import Row
from shared.messages.steps import Entry, RaiseAlert, Step
from shared.messages.system import Severity


class Workspace:
    """One per core. `begin` opens a step; `record`, `alert` and `send` add to it.

    fold: applies a row to the parts that keep it. changed: the strategies whose status may have changed since it was
    published. ignored: how many inputs were of no use, by the reason.
    """

    def __init__(self, fold: Callable[[Entry], None], changed: set[str]) -> None:
        self._fold = fold
        self.changed = changed
        self.ignored: Counter[str] = Counter()
        self.now_ns = 0
        self.cause_id = ""
        self.step = Step()

    def begin(self, now_ns: int, cause_id: str) -> None:
        """Start a new step. Time never runs backwards here, whatever the caller's clock does."""
        self.now_ns = max(now_ns, self.now_ns)
        self.cause_id = cause_id
        self.step = Step()

    def record(self, row: Row) -> None:
        """Decide a fact: it is applied at once and journalled before any effect of this step."""
        entry = Entry(self.now_ns, self.cause_id, row)
        self._fold(entry)
        self.step.rows.append(entry)

    def send(self, *effects: Any) -> None:
        self.step.effects.extend(effects)

    def alert(self, code: str, severity: Severity, subject: str, text: str, *, resolved: bool = False) -> None:
        """Tell a person."""
        self.send(RaiseAlert(code=code, severity=severity, subject=subject, text=text, resolved=resolved))

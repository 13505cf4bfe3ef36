"""What strategies do by their schedules: each firing once, over restarts.

Durable is which firing of an action was the last that was carried out, or left out for being late; the row is
committed with what it brings about. A close is a time before which trades were made: it is never forgotten halfway.
"""

from __future__ import annotations

from collections.abc import Callable

from services.strategy.rows import ActionFired, Row, StrategyTold
from services.strategy.slot import Slot
from shared.strategy.actions import ScheduledAction
from shared.strategy.schedule import last_firing, next_firing
from shared.strategy.views import SECOND_NS
from shared.strategy.wording import utc_text


class Agenda:
    """`record` and `alert` are the core's; `call` runs a function of a strategy."""

    def __init__(
        self,
        record: Callable[[Row], None],
        alert: Callable[..., None],
        call: Callable[[Slot, ScheduledAction], None],
    ) -> None:
        self._record = record
        self._alert = alert
        self._call = call
        self._due_ns: dict[tuple[str, str], int | None] = {}

    def look(self, slot: Slot, now_ns: int) -> bool:
        """Carry out what is due of a strategy; True if anything was."""
        acted = False
        for action in slot.loaded.actions:
            due_ns = self._next(slot, action, now_ns)
            if due_ns is None or now_ns < due_ns:
                continue
            fired_ns = last_firing(action.schedule, slot.memory.fired_ns[action.key], now_ns)
            if fired_ns is not None:
                self._fire(slot, action, fired_ns, now_ns)
                acted = True
            self._due_ns[slot.name, action.key] = next_firing(action.schedule, now_ns)
        return acted

    def next_deadline_ns(self) -> int | None:
        """When something is due next."""
        return min((due for due in self._due_ns.values() if due is not None), default=None)

    def forget(self, strategy: str) -> None:
        """Its file has changed: what is due is looked up anew."""
        self._due_ns = {key: due for key, due in self._due_ns.items() if key[0] != strategy}

    def _next(self, slot: Slot, action: ScheduledAction, now_ns: int) -> int | None:
        key = slot.name, action.key
        if key not in self._due_ns:
            if action.key not in slot.memory.fired_ns:
                # what fired before the action was there is not its business
                self._record(ActionFired(strategy=slot.name, action=action.key, firing_ns=now_ns, done=False))
            self._due_ns[key] = next_firing(action.schedule, slot.memory.fired_ns[action.key])
        return self._due_ns[key]

    def _fire(self, slot: Slot, action: ScheduledAction, fired_ns: int, now_ns: int) -> None:
        late_s = (now_ns - fired_ns) / SECOND_NS
        done = action.late_seconds is None or late_s <= action.late_seconds
        self._record(ActionFired(strategy=slot.name, action=action.key, firing_ns=fired_ns, done=done))
        if not done:
            text = f"{slot.name}: {action.key} was due at {utc_text(fired_ns)}, {late_s:.0f} s ago: left out"
            self._alert("schedule_missed", "warning", slot.name, text)
        elif action.kind in ("pause", "resume"):
            if slot.memory.is_news(action.kind):
                self._record(StrategyTold(strategy=slot.name, action=action.kind, requested_by=action.key))
        elif action.kind == "call":
            self._call(slot, action)

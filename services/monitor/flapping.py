"""Alerts that begin and end again and again: told of once, and then held back until they are steady."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Literal

import msgspec

from services.monitor.alert_config import FlappingSection
from services.monitor.effects import AlertRecord
from shared.messages.system import SEVERITY_RANK

Verdict = Literal["usual", "flapping", "held"]
NEVER_HELD = frozenset({"halted"})
"""Somebody's act each time, and no trouble that comes and goes."""

_KEPT = 5_000
_SECOND = 1_000_000_000


class _Matter(msgspec.Struct, kw_only=True):
    """One (code, subject). begun_ns: beginnings within the window; opened_ns: of the one that is open, None: over.

    held_id: the alert that was told last, while it flaps; "" while it does not. told: what was told then.
    since_ns: when that was, or when it was told again last; begins, open_ns: how often it began and how long it was
    open since then. acknowledged_by: "" while nobody has seen to it as held_id.
    """

    begun_ns: deque[int]
    newest: AlertRecord
    changed_ns: int
    opened_ns: int | None = None
    alert_id: str = ""
    held_id: str = ""
    told: AlertRecord | None = None
    since_ns: int = 0
    begins: int = 0
    open_ns: int = 0
    acknowledged_by: str = ""

    def hold(self, alert_id: str, told: AlertRecord) -> None:
        """It was told now, as this one."""
        self.held_id, self.told, self.acknowledged_by = alert_id, told, ""
        self.since_ns, self.begins, self.open_ns = told.raised_ns, 1, 0

    def release(self) -> None:
        self.held_id, self.told, self.acknowledged_by = "", None, ""

    def open_until(self, now_ns: int) -> int:
        """How long it was open since it was told, ns."""
        open_ns = 0 if self.opened_ns is None else max(now_ns - max(self.opened_ns, self.since_ns), 0)
        return self.open_ns + open_ns


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """What was held back and is steady: open (told under `alert_id`, its own) or over (under that which was told)."""

    record: AlertRecord
    alert_id: str
    lasted_ns: int


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """What flaps on, and was held back as long as it may be: due at `due_ns` as `alert_id`. record: as told then."""

    record: AlertRecord
    alert_id: str
    due_ns: int
    held_ns: int
    begins: int
    open_share: float


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What flaps now: the alert as which it was told, when, and who has acknowledged that, "" nobody."""

    alert_id: str
    told: AlertRecord
    acknowledged_by: str


class Flapping:
    """Judges each alert that is new, worse, further or over, by the times at which they were raised: what was written
    before a restart, handed over in its order, brings it to where it was."""

    def __init__(self, settings: FlappingSection) -> None:
        self._settings = settings
        self._matters: OrderedDict[tuple[str, str], _Matter] = OrderedDict()

    def note(self, record: AlertRecord, alert_id: str, *, after_s: float = 0.0) -> Verdict:
        """Whether to tell it as usual, to tell that it flaps, or to hold it back.

        after_s: what is over sooner is not told at all, and so does not count.
        """
        now_ns = record.raised_ns
        if not self._settings.begins or record.is_notice or record.code in NEVER_HELD:
            return "usual"
        if record.severity == "info" and not record.resolved:
            return "usual"
        key = (record.code, record.subject)
        matter = self._matters.pop(key, None)
        if matter is None:
            if record.resolved:
                return "usual"
            matter = _Matter(begun_ns=deque(), newest=record, changed_ns=now_ns)
        self._matters[key] = matter
        if len(self._matters) > _KEPT:
            self._matters.popitem(last=False)
        if record.resolved:
            verdict = self._ended(matter, now_ns, after_s)
        elif matter.opened_ns is None:
            verdict = self._begun(matter, record, alert_id, now_ns)
        else:
            verdict = _went_on(matter, record)
        matter.newest = record
        return verdict

    def restore(self, record: AlertRecord, alert_id: str, *, after_s: float = 0.0) -> None:
        """Take over an alert that was written before a restart, oldest first."""
        self.steady(record.raised_ns)
        self.overdue(record.raised_ns)
        self.note(record, alert_id, after_s=after_s)

    def steady(self, now_ns: int) -> list[Steady]:
        """What has been open or over for long enough, and is told now; afterwards it is judged as if it were new."""
        found = []
        for key, matter in list(self._matters.items()):
            if not matter.held_id:
                if matter.opened_ns is None and now_ns - matter.changed_ns > self._settings.window_s * _SECOND:
                    del self._matters[key]
                continue
            is_open = matter.opened_ns is not None
            wanted_s = self._settings.open_s if is_open else self._settings.over_s
            lasted_ns = now_ns - matter.changed_ns
            if lasted_ns < wanted_s * _SECOND:
                continue
            alert_id = matter.alert_id if is_open else matter.held_id
            found.append(Steady(record=matter.newest, alert_id=alert_id, lasted_ns=lasted_ns))
            matter.release()
            matter.begun_ns.clear()
            if matter.opened_ns is not None:
                matter.begun_ns.append(matter.opened_ns)
        return found

    def overdue(self, now_ns: int) -> list[Overdue]:
        """What has been held back for as long as it may be and nobody has acknowledged; it is held back further then.

        When it is due follows from when it was told alone, so it is the same after a restart.
        """
        found = []
        for matter in self._matters.values():
            if matter.told is None:
                continue
            is_critical = matter.told.severity == "critical"
            held_ns = round(
                (self._settings.longest_critical_s if is_critical else self._settings.longest_s) * _SECOND
            )
            due = None
            while matter.since_ns + held_ns <= now_ns:
                due_ns = matter.since_ns + held_ns
                due = Overdue(
                    record=matter.told,
                    alert_id=matter.held_id,
                    due_ns=due_ns,
                    held_ns=held_ns,
                    begins=matter.begins,
                    open_share=min(matter.open_until(due_ns) / held_ns, 1.0),
                )
                matter.since_ns, matter.begins, matter.open_ns = due_ns, 0, 0
            if due is not None and not matter.acknowledged_by:
                found.append(due)
        return found

    def held_as(self, code: str, subject: str) -> Held | None:
        """As what it was told that flaps, None: it does not."""
        matter = self._matters.get((code, subject))
        if matter is None or matter.told is None:
            return None
        return Held(alert_id=matter.held_id, told=matter.told, acknowledged_by=matter.acknowledged_by)

    def acknowledge(self, alert_id: str, by: str, seen_ns: int | None) -> tuple[str, str] | None:
        """Note who has seen to what flaps and was told as this; its (code, subject), None: nothing of that id flaps,
        or worse was told after `seen_ns`."""
        for key, matter in self._matters.items():
            if matter.told is not None and matter.held_id == alert_id:
                if seen_ns is not None and seen_ns < matter.told.raised_ns:
                    return None
                matter.acknowledged_by = by
                return key
        return None

    @property
    def held(self) -> tuple[tuple[str, str], ...]:
        """(code, subject) of what flaps now."""
        return tuple(key for key, matter in self._matters.items() if matter.held_id)

    def _begun(self, matter: _Matter, record: AlertRecord, alert_id: str, now_ns: int) -> Verdict:
        matter.opened_ns = matter.changed_ns = now_ns
        matter.alert_id = alert_id
        matter.begun_ns.append(now_ns)
        while matter.begun_ns[0] <= now_ns - self._settings.window_s * _SECOND:
            matter.begun_ns.popleft()
        if matter.held_id:
            matter.begins += 1
            return _went_on(matter, record)
        if len(matter.begun_ns) < self._settings.begins:
            return "usual"
        matter.hold(alert_id, record)
        return "flapping"

    def _ended(self, matter: _Matter, now_ns: int, after_s: float) -> Verdict:
        matter.open_ns = matter.open_until(now_ns)
        opened_ns, matter.opened_ns = matter.opened_ns, None
        matter.changed_ns = now_ns
        if opened_ns is not None and now_ns - opened_ns < after_s * _SECOND:
            if matter.begun_ns and matter.begun_ns[-1] == opened_ns:
                matter.begun_ns.pop()
            if matter.held_id == matter.alert_id:
                # that it flaps was not told yet
                matter.release()
        return "held" if matter.held_id else "usual"


def _went_on(matter: _Matter, record: AlertRecord) -> Verdict:
    """While it flaps only what is worse than what was told, or at another stage, is told."""
    if not matter.held_id or matter.told is None:
        return "usual"
    is_worse = SEVERITY_RANK[record.severity] > SEVERITY_RANK[matter.told.severity]
    if not is_worse and record.stage in ("", matter.told.stage):
        return "held"
    matter.hold(matter.alert_id, record)
    return "usual"

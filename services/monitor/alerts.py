"""The book of alerts: one matter per (code, subject), told when it begins, gets worse and ends."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from services.monitor.effects import AlertRecord
from shared.messages.system import Severity

_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one (code, subject). `count` is how often it was raised since `first_ns`."""

    record: AlertRecord
    first_ns: int
    last_ns: int
    count: int

    @property
    def is_open(self) -> bool:
        return not (self.record.resolved or self.record.is_notice or self.record.severity == "info")


class AlertBook:
    """Deduplicates by (code, subject) and keeps the newest matters; those that are open are never dropped."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._matters: dict[tuple[str, str], Matter] = {}

    def restore(self, records: Iterable[AlertRecord]) -> None:
        """Take over what was logged before a restart, oldest first."""
        for record in records:
            self.offer(record)

    def offer(self, record: AlertRecord) -> AlertRecord | None:
        """Note a record. Returns it if a person should be told: it is new, worse than before, or over."""
        key = (record.code, record.subject)
        matter = self._matters.pop(key, None)
        if matter is None and record.resolved:
            return None
        if matter is not None and (record.raised_ns, record.resolved) <= (matter.last_ns, matter.record.resolved):
            self._matters[key] = matter
            return None
        starts_anew = matter is None or matter.record.resolved
        self._matters[key] = Matter(
            record=record,
            first_ns=record.raised_ns if matter is None or starts_anew else matter.first_ns,
            last_ns=record.raised_ns,
            count=1 if matter is None or starts_anew else matter.count + (not record.resolved),
        )
        self._prune()
        if matter is None or starts_anew:
            return None if record.resolved else record
        worse = _RANK[record.severity] > _RANK[matter.record.severity]
        return record if record.resolved or worse else None

    def is_open(self, code: str, subject: str) -> bool:
        matter = self._matters.get((code, subject))
        return matter is not None and not matter.record.resolved

    def raised_by(self, service: str, *, before_ns: int) -> tuple[tuple[str, str], ...]:
        """(code, subject) of what a service raised before a time, not again since, and never ended."""
        return tuple(
            key
            for key, matter in self._matters.items()
            if matter.is_open and matter.record.service == service and matter.last_ns < before_ns
        )

    def knows(self, code: str, subject: str) -> bool:
        return (code, subject) in self._matters

    def matters(self) -> tuple[Matter, ...]:
        """All matters, newest first."""
        return tuple(sorted(self._matters.values(), key=lambda matter: matter.last_ns, reverse=True))

    def _prune(self) -> None:
        for key, matter in list(self._matters.items()):
            if len(self._matters) <= self._keep:
                return
            if not matter.is_open:
                del self._matters[key]

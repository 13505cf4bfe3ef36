"""The book of alerts: one matter per (code, subject), told when it begins, gets worse or further, and ends."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import msgspec

from services.monitor.effects import AlertRecord
from shared.messages.alerts import AlertView
from shared.messages.system import SEVERITY_RANK
from shared.messages.trades import Refusal

_NOTICE_AGAIN_NS = 600_000_000_000
"""A notice of the same matter is told again after so long, and only counted before."""


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one (code, subject). `count` is how often it was raised since `first_ns`.

    alert_id: names it from its beginning to its end, on every screen. told_ns: when that was raised which was told
    last. acknowledged_by: "" while nobody has. held_id: the alert as which people were told of it while it flaps, ""
    while it does not. held_by: who is in acknowledged_by only for having acknowledged that one; "" nobody.
    """

    record: AlertRecord
    first_ns: int
    last_ns: int
    told_ns: int
    count: int
    alert_id: str
    acknowledged_by: str = ""
    held_id: str = ""
    held_by: str = ""

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
        """Note a record. Returns it if a person should be told: it is new, worse than before, further, or over."""
        key = (record.code, record.subject)
        matter = self._matters.pop(key, None)
        if matter is None and record.resolved:
            return None
        if matter is not None and (record.raised_ns, record.resolved) <= (matter.last_ns, matter.record.resolved):
            self._matters[key] = matter
            return None
        if matter is None or _starts_anew(matter, record):
            first_ns, count, acknowledged_by = record.raised_ns, 1, ""
        else:
            first_ns, count = matter.first_ns, matter.count + (not record.resolved)
            acknowledged_by = "" if _is_news(record, matter) else matter.acknowledged_by
        is_told = matter is None or _starts_anew(matter, record) or record.resolved or _is_news(record, matter)
        self._matters[key] = Matter(
            record=record,
            first_ns=first_ns,
            last_ns=record.raised_ns,
            told_ns=record.raised_ns if matter is None or is_told else matter.told_ns,
            count=count,
            alert_id=alert_id_of(record, first_ns),
            acknowledged_by=acknowledged_by,
            held_id="" if matter is None else matter.held_id,
            held_by="" if matter is None or not acknowledged_by else matter.held_by,
        )
        self._prune()
        if matter is None or _starts_anew(matter, record):
            return None if record.resolved else record
        return record if is_told else None

    def acknowledge(self, alert_id: str, by: str, seen_ns: int | None = None) -> None:
        """Note who has seen to it; an id that is not known changes nothing, nor does it where worse came after."""
        matter = self.find(alert_id)
        if matter is not None and (seen_ns is None or seen_ns >= matter.told_ns):
            key = (matter.record.code, matter.record.subject)
            self._matters[key] = msgspec.structs.replace(matter, acknowledged_by=by, held_by="")

    def hold(self, code: str, subject: str, held_id: str, acknowledged_by: str) -> None:
        """Note as what people were told of it that flaps, and who has acknowledged that; "": it does not flap.

        What flapped and stays open is told under its own id, which nobody has acknowledged by that.
        """
        matter = self._matters.get((code, subject))
        if matter is None:
            return
        by, held_by = acknowledged_by or matter.acknowledged_by, acknowledged_by
        if not held_id and matter.held_by and matter.is_open and matter.held_id != matter.alert_id:
            by = ""
        self._matters[code, subject] = msgspec.structs.replace(
            matter, held_id=held_id, acknowledged_by=by, held_by=held_by
        )

    def find(self, alert_id: str) -> Matter | None:
        """By its own id, or that as which people were told of it while it flaps."""
        return next((each for each in self._matters.values() if alert_id in (each.alert_id, each.held_id)), None)

    def get(self, code: str, subject: str) -> Matter | None:
        return self._matters.get((code, subject))

    def is_open(self, code: str, subject: str) -> bool:
        matter = self._matters.get((code, subject))
        return matter is not None and not matter.record.resolved

    def open_of(self, code: str) -> tuple[str, ...]:
        """The subjects of the open matters of a code."""
        return tuple(subject for each, subject in self._matters if each == code and self.is_open(code, subject))

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


def _starts_anew(matter: Matter, record: AlertRecord) -> bool:
    again = matter.record.is_notice and record.raised_ns - matter.first_ns >= _NOTICE_AGAIN_NS
    return matter.record.resolved or again


def _is_news(record: AlertRecord, matter: Matter) -> bool:
    """Worse, or at another stage."""
    is_worse = SEVERITY_RANK[record.severity] > SEVERITY_RANK[matter.record.severity]
    return is_worse or record.stage not in ("", matter.record.stage)


def alert_id_of(record: AlertRecord, first_ns: int) -> str:
    """Short enough to type on a phone: six letters and digits of a hash over what it is and when it began."""
    digest = hashlib.sha256(f"{record.code}\0{record.subject}\0{first_ns}".encode()).digest()
    return base64.b32encode(digest)[:6].decode().lower()


def alert_view(matter: Matter) -> AlertView:
    """A matter as it is shown to people."""
    record = matter.record
    return AlertView(
        alert_id=matter.alert_id,
        code=record.code,
        severity=record.severity,
        subject=record.subject,
        text=record.text,
        service=record.service,
        first_ns=matter.first_ns,
        last_ns=matter.last_ns,
        count=matter.count,
        is_open=matter.is_open,
        is_notice=record.is_notice,
        acknowledged_by=matter.acknowledged_by,
    )


def no_alert(alert_id: str) -> Refusal:
    return Refusal(
        code="no_such_alert", detail=f"no alert has the id {alert_id[:32]}", remedy="see them: voldesk alerts"
    )

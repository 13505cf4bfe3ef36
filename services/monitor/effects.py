"""What the monitor exchanges with its shell beside bus messages: the alert log."""

from __future__ import annotations

import msgspec

from shared.messages.system import Severity


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the alert log. (code, subject) is one matter; `resolved` says that it is over.

    A notice has happened and needs no end: it is never open.
    """

    code: str
    severity: Severity
    subject: str
    text: str
    service: str
    raised_ns: int
    resolved: bool = False
    is_notice: bool = False


class AppendAlert(msgspec.Struct, frozen=True):
    """Effect: write the record to the log, and to the alert file of the run directory."""

    record: AlertRecord


class AlertsRestored(msgspec.Struct, frozen=True):
    """Input, first after a start: the newest lines of the alert file, oldest first."""

    records: tuple[AlertRecord, ...]

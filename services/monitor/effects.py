"""What the monitor exchanges with its shell beside bus messages: the alert log."""

from __future__ import annotations

import msgspec

from shared.messages.system import Severity


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the alert log. (code, subject) is one matter; `resolved` says that it is over.

    A notice has happened and needs no end: it is never open. route: where it goes, "" as its kind says. stage: how
    far the matter has come, "" where that is all one; another one than before is news.
    """

    code: str
    severity: Severity
    subject: str
    text: str
    service: str
    raised_ns: int
    resolved: bool = False
    is_notice: bool = False
    route: str = ""
    stage: str = ""


class AppendAlert(msgspec.Struct, frozen=True):
    """Effect: write the record to the log, and to the alert file of the run directory."""

    record: AlertRecord


class AlertsRestored(msgspec.Struct, frozen=True):
    """Input, first after a start: the alert file's newest lines and those of what is open, oldest first."""

    records: tuple[AlertRecord, ...]


class Deliver(msgspec.Struct, frozen=True, kw_only=True):
    """Effect: send the text, which names the message; answer with `Delivered` or `DeliveryFailed`.

    severity: the worst of what it tells to have begun; "info" where all is over.
    """

    message_id: str
    channel: str
    text: str
    severity: Severity = "info"


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the other side has confirmed the message."""

    message_id: str


class DeliveryFailed(msgspec.Struct, frozen=True, kw_only=True):
    """Input: it was not taken, or nobody knows.

    retry_after_s: not before then, when the other side said so. is_final: trying again is of little use before a
    person has changed something.
    """

    message_id: str
    reason: str
    retry_after_s: float | None = None
    is_final: bool = False


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True):
    """Input: somebody has seen to an alert."""

    alert_id: str
    by: str


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the shell has seen something of its own that is an alert, or, with `is_over`, that it is over."""

    code: str
    subject: str
    text: str
    is_over: bool = False

"""What the monitor journals: what is to be told, by which message, and what became of it."""

from __future__ import annotations

import msgspec

from services.monitor.effects import AlertRecord


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One alert for one channel. Its id follows from alert, event and channel, so that nothing is told twice.

    not_before_ns: when it may be told. reminder: 0 for the alert itself, then 1, 2 ... each time it is told again.
    note: why it comes by this channel, "" when it is the channel's own. flaps: it is open and over again and again.
    """

    notice_id: str
    alert_id: str
    channel: str
    record: AlertRecord
    not_before_ns: int
    reminder: int = 0
    note: str = ""
    flaps: bool = False


class NoticeQueued(msgspec.Struct, frozen=True, tag="notice_queued.1"):
    notice: Notice


class NoticesDropped(msgspec.Struct, frozen=True, kw_only=True, tag="notices_dropped.1"):
    """They are told no more: over before they were told, or too old."""

    notice_ids: tuple[str, ...]
    reason: str


class MessageFormed(msgspec.Struct, frozen=True, kw_only=True, tag="message_formed.1"):
    """These notices go out together in this text, which names the message."""

    message_id: str
    channel: str
    notice_ids: tuple[str, ...]
    text: str


class AttemptFailed(msgspec.Struct, frozen=True, kw_only=True, tag="attempt_failed.1"):
    """`attempts` have failed so far; the next is due at `retry_ns`, and not before where the other side said so."""

    message_id: str
    attempts: int
    retry_ns: int
    reason: str
    is_final: bool
    other_side_said: bool = False


class MessageDelivered(msgspec.Struct, frozen=True, kw_only=True, tag="message_delivered.1"):
    message_id: str


class MessageGivenUp(msgspec.Struct, frozen=True, kw_only=True, tag="message_given_up.1"):
    message_id: str
    reason: str


class AlertAcknowledged(msgspec.Struct, frozen=True, kw_only=True, tag="alert_acknowledged.1"):
    """seen_ns: when that was raised which was told last, None: not known. What got worse after it was not seen."""

    alert_id: str
    by: str
    seen_ns: int | None = None


class SummaryMade(msgspec.Struct, frozen=True, kw_only=True, tag="summary_made.1"):
    """The summary of the day with this number (days since 1970, UTC) was made."""

    day: int
    equity_usd: str


MonitorRow = (
    NoticeQueued
    | NoticesDropped
    | MessageFormed
    | AttemptFailed
    | MessageDelivered
    | MessageGivenUp
    | AlertAcknowledged
    | SummaryMade
)

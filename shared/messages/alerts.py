"""The open alerts, asked of the monitor, and their acknowledgement."""

from __future__ import annotations

import msgspec

from shared.messages.base import Message
from shared.messages.system import Severity


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """One matter, from its beginning to its end. `count`: how often it was raised since `first_ns`.

    acknowledged_by: who has seen to it, "" while nobody has. is_notice: it has happened and is never open.
    """

    alert_id: str
    code: str
    severity: Severity
    subject: str
    text: str
    service: str
    first_ns: int
    last_ns: int
    count: int
    is_open: bool
    is_notice: bool
    acknowledged_by: str


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """One way by which people are told. failing_since_ns: None while it works; waiting: alerts not delivered yet."""

    name: str
    via: str
    failing_since_ns: int | None
    reason: str
    waiting: int
    delivered: int


class ListAlerts(Message, frozen=True, kw_only=True, tag="list_alerts.1"):
    """Ask the monitor for its alerts, newest first; only those that are open unless `include_ended`."""

    include_ended: bool = False
    limit: int = 100


class AlertList(Message, frozen=True, kw_only=True, tag="alert_list.1"):
    alerts: tuple[AlertView, ...]
    channels: tuple[ChannelView, ...]


class AcknowledgeAlert(Message, frozen=True, kw_only=True, tag="acknowledge_alert.1"):
    """Say that somebody sees to it: it is not told again. What does not end by itself ends with this."""

    alert_id: str
    requested_by: str


class AlertAcknowledgement(Message, frozen=True, kw_only=True, tag="alert_acknowledgement.1"):
    alert: AlertView

"""voldesk alerts: what is open, which channel fails, and acknowledging."""

from __future__ import annotations

import json

import pytest

from shared.messages.alerts import (
    AcknowledgeAlert,
    AlertAcknowledgement,
    AlertList,
    AlertView,
    ChannelView,
    ListAlerts,
)
from shared.messages.base import Message
from shared.messages.trades import Refusal
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import OPENED_NS

OPEN = AlertView(
    alert_id="k3f9a2",
    code="venue_unreadable",
    severity="critical",
    subject="acc1",
    text="the venue [answers] nothing",
    service="execution",
    first_ns=OPENED_NS,
    last_ns=OPENED_NS,
    count=1,
    is_open=True,
    is_notice=False,
    acknowledged_by="",
)
PHONE = ChannelView(
    name="phone", via="telegram", failing_since_ns=OPENED_NS, reason="bot was blocked", waiting=3, delivered=7
)


def monitor(message: Message) -> Message | None:
    match message:
        case ListAlerts():
            return AlertList(alerts=(OPEN,), channels=(PHONE,))
        case AcknowledgeAlert(alert_id="k3f9a2"):
            return AlertAcknowledgement(alert=OPEN)
        case _:
            return Refusal(code="no_such_alert", detail="no alert has this id", remedy="see them: voldesk alerts")


def test_open_alerts_are_a_table_and_a_channel_that_fails_is_said(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    peers.answer("monitor", monitor)
    ran = Ran("alerts")
    assert ran.code == 0, ran.err
    for text in ("k3f9a2", "critical", "Venue unreadable", "the venue [answers] nothing", "paper · account acc1"):
        assert text in ran.out, text
    assert "channel phone fails since" in ran.out
    assert "bot was blocked; 3 alerts wait" in ran.out


def test_as_json_an_alert_has_stable_keys(peers: Peers) -> None:
    peers.answer("monitor", monitor)
    body = json.loads(Ran("alerts", "--json").out)
    assert body["alerts"][0]["id"] == "k3f9a2"
    assert body["alerts"][0]["open"] is True
    assert body["alerts"][0]["acknowledged_by"] is None
    assert body["channels"][0]["waiting"] == 3


def test_one_is_acknowledged_by_its_id_as_a_message_shows_it(peers: Peers) -> None:
    peers.answer("monitor", monitor)
    ran = Ran("alerts", "--ack", "#K3F9A2")
    assert ran.code == 0, ran.err
    assert "it stays open until it is over" in ran.out
    (asked,) = [message for message in peers.asked if isinstance(message, AcknowledgeAlert)]
    assert asked.requested_by.startswith("cli")


def test_an_id_that_is_not_known_is_refused_with_the_remedy(peers: Peers) -> None:
    peers.answer("monitor", monitor)
    ran = Ran("alerts", "--ack", "nosuch")
    assert ran.code == 1
    assert "see them: voldesk alerts" in ran.err

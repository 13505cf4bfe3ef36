"""voldesk alerts: what is open, which channel fails, and acknowledging."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from services.monitor.channels.build import make_senders
from services.monitor.channels.courier import SendFailed
from services.monitor.config import MonitorConfig
from shared.config import load_config
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


def test_open_alerts_are_a_table_and_a_channel_that_fails_is_said(peers: Peers) -> None:
    peers.answer("monitor", monitor)
    ran = Ran("alerts")
    assert ran.code == 0, ran.err
    table = ran.out.partition("channel phone")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    for text in ("k3f9a2", "critical", "Venue unreadable: the venue [answers] nothing", "paper · account acc1"):
        assert text in " ".join(table.split()), text
    assert "channel phone fails since" in ran.out
    assert "bot was blocked; 3 alerts wait" in ran.out


def test_who_has_seen_to_an_alert_stands_behind_it(peers: Peers) -> None:
    seen = msgspec.structs.replace(OPEN, acknowledged_by="telegram:ann")
    peers.answer("monitor", lambda _: AlertList(alerts=(seen,), channels=()))
    assert "(seen to by telegram:ann)" in " ".join(Ran("alerts").out.split())


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


class _Without(PathFinder):
    """Python's own search for modules, as it is where the extras are not installed."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if fullname in ("telegram", "apprise") else PathFinder.find_spec(fullname, path, target)


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    finders = [finder for finder in sys.meta_path if finder is not PathFinder]
    monkeypatch.setattr(sys, "meta_path", [*finders, _Without])
    for name in ("telegram", "apprise"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("without_extras")
@pytest.mark.parametrize(
    ("section", "remedy"),
    [
        ('[monitor.channels.phone]\nvia = "telegram"\nchat_id = 1\n', "make install-telegram"),
        ('[monitor.channels.room]\nvia = "notify"\n', "make install-notify"),
        ('[[monitor.telegram.users]]\nid = 1\nname = "anna"\n', "make install-telegram"),
    ],
)
def test_a_channel_whose_library_is_not_installed_is_refused_with_what_to_install(
    home: Path, section: str, remedy: str
) -> None:
    path = home / "voldesk.toml"
    path.write_text(f"{path.read_text()}\n{section}")
    ran = Ran("check-config")
    assert ran.code == 78
    assert remedy in ran.err


@pytest.mark.usefixtures("without_extras")
async def test_without_its_library_a_channel_says_so_at_each_message_and_nothing_dies(home: Path) -> None:
    path = home / "voldesk.toml"
    path.write_text(f'{path.read_text()}\n[monitor.channels.phone]\nvia = "telegram"\nchat_id = 1\n')
    desk = load_config()
    sender = make_senders(desk, desk.section("monitor", MonitorConfig))["phone"]
    with pytest.raises(SendFailed, match="make install-telegram"):
        await sender.send("x", "warning")

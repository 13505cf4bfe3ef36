"""A command that is configured for one desk does nothing to another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.config import load_config
from shared.messages.base import Message
from shared.messages.trades import CloseTrade, ListTrades, TradeList
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.console import Failure
from voldesk.identity import check_identity, record_identity

COMMANDS = [
    ["flatten", "--direct", "--force", "--yes"],
    ["flatten", "--yes"],
    ["up", "--yes"],
    ["down"],
    ["status"],
    ["restart", "risk"],
    ["trades"],
    ["trade", "t1"],
    ["orders"],
    ["positions"],
    ["account"],
    ["strategies"],
    ["halt"],
    ["resume", "--yes"],
    ["close", "t1", "--yes"],
    ["cancel", "--all", "--yes"],
    ["logs"],
    ["check-config"],
]


def belongs(home: Path) -> None:
    """The run directory becomes that of the configured desk."""
    (home / "run").mkdir()
    record_identity(load_config())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_refuses_the_run_directory_of_another_venue(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    belongs(home)
    monkeypatch.setenv("TRADING_ENVIRONMENT", "production")
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.count("\n") == 1
    assert f"{home / 'run'} belongs to paper account acc1 (venue sim)" in ran.err
    assert "the configuration says LIVE account acc1 (venue production); unset TRADING_ENVIRONMENT" in ran.err


def test_another_account_is_another_desk(home: Path) -> None:
    belongs(home)
    path = home / "voldesk.toml"
    path.write_text(path.read_text().replace("acc1", "acc2"))
    with pytest.raises(Failure, match=r"belongs to paper account acc1 .* says paper account acc2") as refused:
        record_identity(load_config())
    assert str(path) in refused.value.remedy


def test_the_first_start_decides_and_later_ones_agree(home: Path) -> None:
    belongs(home)
    before = (home / "run" / "desk.json").read_bytes()
    assert json.loads(before) == {"venue": "sim", "mode": "paper", "account_id": "acc1"}
    record_identity(load_config())
    assert (home / "run" / "desk.json").read_bytes() == before
    assert Ran("check-config").code == 0


def test_a_damaged_record_is_refused_and_not_overwritten(home: Path) -> None:
    belongs(home)
    (home / "run" / "desk.json").write_text("{")
    with pytest.raises(Failure, match="cannot be read"):
        check_identity(load_config())
    assert Ran("flatten", "--direct", "--yes").code == 78


@pytest.mark.parametrize(
    "command",
    [
        ["trades"],
        ["close", "t1", "--yes"],
        ["halt"],
        ["flatten", "--direct", "--yes"],
        ["flatten", "--direct", "--force", "--yes"],
    ],
    ids=" ".join,
)
def test_a_service_of_another_mode_is_asked_nothing(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Also where no record was written, as when a service was started by hand."""
    peers.answer("execution", lambda _: TradeList(trades=()))
    monkeypatch.setenv("TRADING_ENVIRONMENT", "production")
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert "execution runs for paper account acc1 (venue sim), the configuration says LIVE" in ran.err
    assert peers.asked == []


def test_a_request_without_an_answer_may_still_take_effect_and_a_question_cannot(peers: Peers) -> None:
    def silent(_: Message) -> None:
        return None

    peers.answer("execution", silent)
    closed = Ran("close", "t1", "--yes")
    assert closed.code == 69
    assert "did not answer within 3 s; what was asked may still take effect" in closed.err
    assert "check with `voldesk trade t1` before you repeat it" in closed.err
    listed = Ran("trades")
    assert listed.code == 69
    assert "may still take effect" not in listed.err
    assert [type(message) for message in peers.asked] == [CloseTrade, ListTrades]

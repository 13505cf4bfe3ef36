"""What the shell offers after Tab, asked as a shell asks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.trades import ListOrders, ListTrades, OrderList, TradeList
from shared.views import order_name
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import ORDER, TRADE
from voldesk.completion import complete_open_trade, complete_order, complete_trade

VOLDESK = [sys.executable, "-c", "import sys; sys.argv[0] = 'voldesk'; from voldesk.main import app; app()"]


def offered(line: str) -> list[str]:
    """What bash is offered for the word at the end of the line."""
    words = line.split(" ")
    environment = os.environ | {
        "_VOLDESK_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(VOLDESK, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def execution(message: Message) -> Message:
    closed = msgspec.structs.replace(TRADE, trade_id="t7", state="CLOSED")
    match message:
        case ListTrades():
            return TradeList(trades=(TRADE, closed))
        case ListOrders():
            return OrderList(orders=(ORDER,))
    raise AssertionError(message)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("voldesk doc", ["doctor"]),
        ("voldesk restart ri", ["risk"]),
        ("voldesk logs supe", ["supervisord"]),
        ("voldesk chain B", ["BTCUSD"]),
        ("voldesk exchange mo", ["move"]),
        ("voldesk exchange move B", ["BTCUSD"]),
        ("voldesk exchange fault fro", ["frozen-book"]),
        ("voldesk tap md.BTCUSD.ch", ["md.BTCUSD.chain"]),
        ("voldesk halt --level fl", ["flatten"]),
        ("voldesk trade t", []),
    ],
)
def test_names_are_offered_from_the_configuration_without_a_desk(home: Path, line: str, expected: list[str]) -> None:
    assert offered(line) == expected


def test_enabled_strategies_are_offered(home: Path) -> None:
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + '[strategy]\nenabled = ["alpha", "beta"]\n')
    assert offered("voldesk why a") == ["alpha"]
    assert offered("voldesk strategies pause b") == ["beta"]
    path.write_text(path.read_text().replace('["alpha", "beta"]', '"alpha"'))
    assert offered("voldesk why a") == []


def test_a_broken_configuration_offers_less_and_says_nothing(home: Path) -> None:
    (home / "voldesk.toml").write_text("[desk\n")
    for line in ("voldesk why a", "voldesk restart r", "voldesk chain B", "voldesk tap e", "voldesk trade t"):
        assert offered(line) == []


def test_trades_and_orders_come_from_the_running_desk(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLDESK_COMPLETION_TIMEOUT_MS", "30000")
    peers.answer("execution", execution)
    assert complete_trade("t") == [("t59495869", "demo_strangle OPEN"), ("t7", "demo_strangle CLOSED")]
    assert complete_trade("t7") == [("t7", "demo_strangle CLOSED")]
    assert complete_open_trade("t") == [("t59495869", "demo_strangle OPEN")]
    assert complete_order("t59495869.0") == [(f"t59495869.{order_name(ORDER)}", f"buy {ORDER.symbol}")]
    assert offered("voldesk close t") == ["t59495869"]


@pytest.mark.parametrize(("shell", "place"), [("bash", ".bash_completions/voldesk.sh"), ("zsh", ".zfunc/_voldesk")])
def test_completion_is_installed_into_the_home_of_the_user(tmp_path: Path, shell: str, place: str) -> None:
    command = [*VOLDESK, "--install-completion", shell]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"complete_{shell}" in (tmp_path / place).read_text()
    # that of another shell, whichever this one is
    assert [path.name for path in tmp_path.rglob("*voldesk*") if path.is_file()] == [Path(place).name]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_the_shell_that_is_named(shell: str) -> None:
    ran = Ran("--show-completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_VOLDESK_COMPLETE=complete_{shell}" in ran.out


def test_without_a_name_completion_is_that_of_the_shell_it_is_asked_in(tmp_path: Path) -> None:
    # the second command keeps bash from giving its process to the first
    line = f"{shlex.join(VOLDESK)} --show-completion; exit $?"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "_VOLDESK_COMPLETE=complete_bash" in done.stdout


def test_a_shell_that_is_not_known_is_refused_with_those_that_are() -> None:
    ran = Ran("--install-completion", "tcsh")
    assert (ran.code, ran.out) == (2, "")
    assert "use bash, zsh, fish, powershell, pwsh" in ran.err


def test_a_desk_that_is_silent_for_longer_than_allowed_is_as_none(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.answer("execution", lambda message: None)
    for allowed in ("1", "0", "soon"):
        monkeypatch.setenv("VOLDESK_COMPLETION_TIMEOUT_MS", allowed)
        assert complete_trade("t") == []

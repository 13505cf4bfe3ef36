"""What the shell offers after Tab, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.trades import ListOrders, ListTrades, OrderList, TradeList
from shared.views import order_name
from tests.unit.voldesk.peers import Peers
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
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "_VOLDESK_COMPLETE" in (tmp_path / place).read_text()


def test_a_desk_that_is_silent_for_longer_than_allowed_is_as_none(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.answer("execution", lambda message: None)
    for allowed in ("1", "0", "soon"):
        monkeypatch.setenv("VOLDESK_COMPLETION_TIMEOUT_MS", allowed)
        assert complete_trade("t") == []

"""The strategy host as a process: alone, and in a whole desk whose host is killed while a trade is open."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.bus import Bus, NoAnswer
from shared.config import load_config
from shared.messages.control import ListStrategies, StrategyCommand, StrategyCommandDone, StrategyList, StrategyStatus
from shared.messages.trades import ListTrades, TradeList, TradeUpdate
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from shared.service.watch import EXIT_BUG
from tests.integration.bus.harness import ROOT

NS_PER_DAY = 86_400 * 10**9
PAUSE_S = 0.4
"""Between two questions to a desk that is on its way."""

CONFIGURATION = """
[desk]
name = "hosted"
venue = "sim"
underlyings = ["BTCUSD"]

[strategy]
enabled = ["quick", "broken"]
folders = ["mine"]
deadline_grace_s = 600
"""
"""With a grace that a host on a busy machine needs to be back: execution closes only what the host does not."""
QUICK = """
from shared.strategy import ExecutionParams, StrategyConfig, max_hold_hours, strangle


def quick():
    return StrategyConfig(
        name="quick",
        legs=strangle(qty="0.1", dte="next", side="buy"),
        exit_conditions=[max_hold_hours(15 / 3600)],
        execution_mode="limit",
        execution_params=ExecutionParams(fill_timeout_seconds=3.0, aggressive_buffer_pct=10.0),
        max_trades_per_day=1,
        cooldown_seconds=3_600,
        check_interval_seconds=1,
    )
"""


class Desk:
    """Processes of one desk, each with its log in a file."""

    def __init__(self, directory: Path) -> None:
        path = directory / "voldesk.toml"
        path.write_text(CONFIGURATION)
        (directory / "mine").mkdir()
        (directory / "mine" / "quick.py").write_text(QUICK)
        (directory / "mine" / "broken.py").write_text("def broken():\n    return 1 / 0\n")
        self.directory = directory
        self._environment = {
            key: value for key, value in os.environ.items() if key not in ("TRADING_ENVIRONMENT", "VOLDESK_RUN_DIR")
        }
        self._environment["VOLDESK_CONFIG"] = str(path)
        self.config = load_config(path, self._environment)
        ensure_paper_secrets(self.config.run_dir)
        ensure_grant_key(self.config.run_dir)
        resolve_ports(self.config.run_dir, self.config.ports)
        self.bus = Bus.client(self.config)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: str) -> None:
        with (self.directory / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, service: str) -> None:
        self.processes[service].send_signal(signal.SIGKILL)
        self.processes[service].wait()

    def stop(self, service: str) -> int:
        self.processes[service].terminate()
        return self.processes[service].wait(60)

    async def strategies(self) -> dict[str, StrategyStatus]:
        answer = await self.bus.ask("strategy", ListStrategies(), 60_000)
        assert isinstance(answer, StrategyList), answer
        return {status.strategy: status for status in answer.strategies}

    async def until_closed(self, strategy: str, gates: list[str]) -> None:
        """Until exactly these gates are closed; the host judges some only with its first look."""
        shown: list[str] = []
        for _ in range(150):
            status = (await self.strategies())[strategy]
            shown = [gate.name for gate in status.gates if not gate.open]
            if shown == gates:
                return
            await asyncio.sleep(PAUSE_S)
        pytest.fail(f"closed gates of {strategy}: {shown}")

    def write(self, strategy: str, text: str) -> None:
        """Change a strategy file while its host runs."""
        (self.directory / "mine" / f"{strategy}.py").write_text(text)

    async def until_state(self, strategy: str, state: str, reason: str, change: Callable[[], None]) -> None:
        """Until a change of its file has this effect."""
        change()
        shown: StrategyStatus | None = None
        for _ in range(300):
            shown = (await self.strategies())[strategy]
            if shown.state == state and reason in shown.reason:
                return
            await asyncio.sleep(PAUSE_S)
        pytest.fail(f"{strategy} is {shown}")

    async def trades(self) -> tuple[TradeUpdate, ...]:
        try:
            answer = await self.bus.ask("execution", ListTrades(), 60_000)
        except NoAnswer:
            return ()
        assert isinstance(answer, TradeList), answer
        return answer.trades

    async def wait_for(self, state: str) -> TradeUpdate:
        """The desk's one trade, once it is in `state`."""
        found: list[TradeUpdate] = []
        shown = ""
        for _ in range(150):
            trades = await self.trades()
            shown = f"{[(trade.trade_id, trade.state, trade.reason) for trade in trades]}"
            found = [trade for trade in trades if trade.state == state]
            if found:
                return found[0]
            await asyncio.sleep(PAUSE_S)
        pytest.fail(f"no trade became {state}: {shown}; {(await self.strategies())['quick']}")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.bus.close()
    for process in desk.processes.values():
        process.kill()
        process.wait()


async def test_a_host_starts_alone_uses_a_broken_file_once_mended_and_keeps_a_pause_over_a_kill(desk: Desk) -> None:
    desk.start("strategy")
    statuses = await desk.strategies()
    where = f"{desk.directory / 'mine' / 'broken.py'}:2"
    assert statuses["broken"].state == "failed"
    assert statuses["broken"].reason == f"ZeroDivisionError: division by zero at {where}"
    assert statuses["quick"].state == "running"
    expected = ["execution", "risk", "market_data", "account", "legs"]
    await desk.until_closed("quick", expected)
    await desk.until_state("broken", "running", "", lambda: desk.write("broken", QUICK.replace("quick", "broken")))
    unusable = "its changed file is not used: SyntaxError"
    await desk.until_state("quick", "running", unusable, lambda: desk.write("quick", "def quick(:\n"))
    command = StrategyCommand(action="pause", strategy="quick", requested_by="test")
    assert await desk.bus.ask("strategy", command, 60_000) == StrategyCommandDone(strategies=("quick",))
    desk.kill("strategy")
    desk.write("quick", QUICK)
    desk.start("strategy")
    assert (await desk.strategies())["quick"].state == "paused"
    assert desk.stop("strategy") == 0


BLOCKING = """
import time


def waits(view, now_ns):
    time.sleep(10_000)


def broken():
    from shared.strategy import StrategyConfig, strangle

    return StrategyConfig(name="broken", legs=strangle("0.1"), entry_conditions=[waits])
"""


async def test_a_strategy_that_blocks_ends_the_host_which_runs_without_it_until_its_file_is_mended(
    desk: Desk,
) -> None:
    path = desk.directory / "voldesk.toml"
    path.write_text(path.read_text() + "block_max_s = 3\n")
    desk.write("broken", BLOCKING)
    desk.start("strategy")
    assert desk.processes["strategy"].wait(120) == EXIT_BUG
    desk.start("strategy")
    statuses = await desk.strategies()
    assert statuses["quick"].state == "running"
    assert statuses["broken"].state == "failed"
    line = BLOCKING.splitlines().index("    time.sleep(10_000)") + 1
    assert f"at {desk.directory / 'mine' / 'broken.py'}:{line}: a strategy must not wait" in statuses["broken"].reason
    await desk.until_state("broken", "running", "", lambda: desk.write("broken", QUICK.replace("quick", "broken")))
    assert desk.stop("strategy") == 0


@pytest.mark.e2e
async def test_a_trade_is_opened_and_its_exit_still_happens_when_the_host_is_killed_in_between(desk: Desk) -> None:
    for service in ("exchange", "marketdata", "risk", "execution", "strategy"):
        desk.start(service)
    opened = await desk.wait_for("OPEN")
    desk.kill("strategy")
    desk.start("strategy")
    closed = await desk.wait_for("CLOSED")
    assert closed.trade_id == opened.trade_id
    assert closed.intent_id == "quick-1"
    assert closed.reason.startswith("open for ")
    status = (await desk.strategies())["quick"]
    assert closed.opened_ns is not None
    today = closed.opened_ns // NS_PER_DAY == time.time_ns() // NS_PER_DAY
    assert (status.trades_today, status.open_trades, status.next_ordinal) == (int(today), 0, 2)
    assert len(await desk.trades()) == 1
    assert {service: desk.stop(service) for service in reversed(desk.processes)} == dict.fromkeys(desk.processes, 0)


WATCHING = """
from shared.strategy import StrategyConfig, funding_rate, spot_move, strangle


def broken():
    return StrategyConfig(
        name="broken",
        legs=strangle("0.1"),
        entry_conditions=[spot_move(90, minutes=1), funding_rate(-0.75, 0.75)],
        check_interval_seconds=1,
    )
"""


@pytest.mark.long
async def test_candles_and_funding_of_the_venue_reach_a_host_and_are_read_again_after_a_kill(
    desk: Desk,
) -> None:
    desk.write("broken", WATCHING)
    for service in ("exchange", "marketdata", "strategy"):
        desk.start(service)

    async def seen() -> None:
        """Until both conditions are judged; a candle of a minute must have ended a minute ago."""
        shown: dict[str, str] = {}
        for _ in range(1_000):
            status = (await desk.strategies())["broken"]
            shown = {gate.name: gate.reason for gate in status.gates}
            if shown.get("spot_move", "").startswith("BTCUSD m") and "funding of" in shown.get("funding_rate", ""):
                return
            await asyncio.sleep(PAUSE_S)
        pytest.fail(f"never judged: {shown}")

    await seen()
    desk.kill("strategy")
    desk.start("strategy")
    await seen()

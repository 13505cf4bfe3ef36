"""The monitor as a process that tells a phone: through its death, and through the phone's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from services.monitor.web.store import store_path
from shared.bus import Bus, NoAnswer
from shared.config import load_config
from shared.messages.alerts import AcknowledgeAlert, AlertList, AlertView, ListAlerts
from shared.messages.control import Halt, HaltsAnswered, HaltState, RaiseHalt
from shared.messages.steps import Request
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from tests.integration.monitor.mistaken import MISTAKEN_ABOUT
from tests.telegram_api import TOKEN, Call, TelegramDouble
from tests.unit.monitor.desk import halts, heartbeat, trade

ROOT = Path(__file__).parents[3]
PATIENCE_S = 90.0
CONFIGURATION = """
[desk]
name = "told"
venue = "sim"
underlyings = ["BTCUSD"]

[monitor]
services = ["marketdata"]
startup_grace_ms = 1000

[monitor.channels.phone]
via = "telegram"
chat_id = 42

[monitor.routes.default]
channels = ["phone"]

[monitor.telegram]
base_url = "{base_url}"

[[monitor.telegram.users]]
id = 42
name = "anna"
role = "operate"
"""


class Monitor:
    def __init__(self, directory: Path, base_url: str) -> None:
        path = directory / "voldesk.toml"
        path.write_text(CONFIGURATION.format(base_url=base_url))
        secret = directory / ".env"
        secret.write_text(f"VOLDESK_TELEGRAM_TOKEN={TOKEN}\n")
        secret.chmod(0o600)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRADING_", "VOLDESK_"))}
        self.environment["VOLDESK_CONFIG"] = str(path)
        self.config = load_config(path, self.environment)
        ensure_paper_secrets(self.config.run_dir)
        ensure_grant_key(self.config.run_dir)
        self.log = directory / "monitor.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, module: str = "services.monitor") -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )

    def end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)

    async def alerts(self) -> tuple[AlertView, ...]:
        """What the monitor knows of, what is over included."""
        async with asyncio.timeout(PATIENCE_S), Bus.client(self.config) as bus:
            while True:
                try:
                    answer = await bus.ask("monitor", ListAlerts(include_ended=True))
                except NoAnswer:
                    continue
                assert isinstance(answer, AlertList)
                return answer.alerts

    async def until_idle(self) -> None:
        """Wait until the monitor says that nothing waits for the phone."""
        async with asyncio.timeout(PATIENCE_S), Bus.client(self.config) as bus:
            while True:
                try:
                    answer = await bus.ask("monitor", ListAlerts(include_ended=True))
                except NoAnswer:
                    continue
                if isinstance(answer, AlertList) and answer.alerts and answer.channels[0].waiting == 0:
                    return
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def double() -> AsyncIterator[TelegramDouble]:
    telegram = TelegramDouble()
    await telegram.start()
    yield telegram
    await telegram.stop()


def of(calls: list[Call], words: str) -> list[str]:
    """The ids of the messages with these words."""
    return [call.text.splitlines()[-1] for call in calls if words in call.text]


async def test_what_was_not_confirmed_before_a_kill_comes_again_under_its_id_and_what_was_does_not(
    double: TelegramDouble, tmp_path: Path
) -> None:
    monitor = Monitor(tmp_path, double.base_url)
    double.faults.append("lost")
    try:
        monitor.start()
        (first,) = await double.until(1)
        assert first.text.startswith("paper · main · desk told\nCRITICAL · Service down: marketdata is down")
        monitor.end(signal.SIGKILL)
        monitor.start()
        await double.until(2)
        await monitor.until_idle()
        monitor.end(signal.SIGKILL)
        monitor.start()
        await monitor.until_idle()
    finally:
        monitor.end(signal.SIGTERM)
    (first_id, second_id) = of(double.sent(), "Service down")
    assert first_id == second_id
    assert TOKEN not in monitor.log.read_text()
    written = [json.loads(line) for line in (monitor.config.run_dir / "alerts.jsonl").read_text().splitlines()]
    assert [line["code"] for line in written if line["subject"] == "marketdata"] == ["service_down"]


async def test_a_phone_that_is_away_is_told_when_it_is_back(double: TelegramDouble, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, double.base_url)
    double.is_down = True
    try:
        monitor.start()
        deadline = time.monotonic() + PATIENCE_S
        while "alert not delivered" not in monitor.log.read_text():
            assert time.monotonic() < deadline, monitor.log.read_text()
            await asyncio.sleep(0.1)
        double.is_down = False
        calls = await double.until(1)
    finally:
        monitor.end(signal.SIGTERM)
    assert len(set(of(calls, "Service down"))) == 1


async def test_a_halt_from_the_phone_reaches_execution_and_the_audit_says_who(
    double: TelegramDouble, tmp_path: Path
) -> None:
    monitor = Monitor(tmp_path, double.base_url)
    execution = Bus("execution", monitor.config)
    asked: list[Request] = []

    def answer(request: Request) -> None:
        asked.append(request)
        assert isinstance(request.message, RaiseHalt)
        halt = Halt(level="no_new_trades", reason=request.message.reason, raised_by="telegram:anna", raised_ns=1)
        state = HaltState(account_id="main", halt_epoch=1, halts=(halt,))
        execution.reply(request.request_id, HaltsAnswered(state=state))

    execution.open(lambda sequences: msgspec.structs.replace(heartbeat("execution"), event_sequences=sequences))
    execution.serve(answer)
    try:
        monitor.start()
        double.say("/halt cancel_all I see smoke")
        await double.until_said("halts in force: no_new_trades")
    finally:
        monitor.end(signal.SIGTERM)
        execution.close()
    (request,) = asked
    assert request.message == RaiseHalt(level="cancel_all", reason="I see smoke", requested_by="telegram:anna")
    with sqlite3.connect(store_path(monitor.config.run_dir)) as db:
        lines = db.execute("SELECT action_id, who, address, what, outcome FROM audit").fetchall()
    assert lines == [
        (request.request_id, "telegram:anna", "telegram", "halt at cancel_all", "halts in force: no_new_trades")
    ]


async def test_an_input_that_its_core_fails_on_is_told_to_the_phone_and_costs_nothing_else(
    double: TelegramDouble, tmp_path: Path
) -> None:
    monitor = Monitor(tmp_path, double.base_url)
    execution = Bus("execution", monitor.config)
    execution.open(lambda sequences: msgspec.structs.replace(heartbeat("execution"), event_sequences=sequences))
    mistaken = "tests.integration.monitor.mistaken"
    try:
        monitor.start(mistaken)
        await double.until_said("Service down: marketdata")
        known = await monitor.alerts()
        (down,) = [each.alert_id for each in known if each.code == "service_down"]
        async with Bus.client(monitor.config) as bus:
            await bus.ask("monitor", AcknowledgeAlert(alert_id=down, requested_by="cli:eva"), 60_000)
        execution.publish("exec.main.trade", trade("OPEN", trade_id=MISTAKEN_ABOUT))
        failed = await double.until_said("Input dropped")
        assert failed.text.startswith("paper · main · desk told\nCRITICAL · Input dropped: ")
        assert "Inbound: ZeroDivisionError" in failed.text
        execution.publish("exec.main.halt", halts("no_new_trades"))
        await double.until_said("trading is halted")
        assert monitor.process is not None
        assert monitor.process.poll() is None, "it goes on with a core that is made anew from the journal"
        monitor.end(signal.SIGKILL)
        monitor.start(mistaken)
        await monitor.until_idle()
        after = {each.code: each for each in await monitor.alerts()}
    finally:
        monitor.end(signal.SIGTERM)
        execution.close()
    assert after["service_down"].alert_id == down
    assert after["service_down"].acknowledged_by == "cli:eva"
    assert {"core_failed", "halted"} <= after.keys()
    for words in ("Service down: marketdata", "Input dropped", "trading is halted"):
        assert len(set(of(double.sent(), words))) == 1, words
    assert '"code": "core_failed"' in monitor.log.read_text()

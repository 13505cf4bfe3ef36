"""The service shell with real processes: start, stop, kill, errors, stalls, locks, metrics, logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.bus import Bus, NoAnswer
from shared.config import DeskConfig
from shared.errors import StartRefused
from shared.messages.control import HaltsAnswered, HaltState
from shared.messages.system import Alert, GetStatus, Heartbeat
from shared.messages.trades import Refusal
from shared.ports import resolve_ports
from shared.secrets import ensure_paper_secrets
from shared.service.lock import ServiceLock
from tests.integration.bus.harness import ROOT, Heard, raise_halt, until
from tests.unit.shared.samples import MINIMAL, write_desk

START_MS = 120_000


class Service:
    """The sample service in a process of its own, its log in a file."""

    def __init__(self, desk: DeskConfig, trouble: str, output: int | None, environment: dict[str, str]) -> None:
        self.log = desk.path.parent / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.service.sample"],
                cwd=ROOT,
                env={**os.environ, "VOLDESK_CONFIG": str(desk.path), "SAMPLE": trouble, **environment},
                stdout=log if output is None else output,
                stderr=subprocess.STDOUT,
            )

    async def exit_code(self) -> int:
        await until(lambda: self.process.poll() is not None, "the process ends")
        return self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """All that are whole: the last one may be read while it is written."""
        return [json.loads(line) for line in self.log.read_text().rpartition("\n")[0].splitlines()]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]


class Desk:
    def __init__(self, config: DeskConfig) -> None:
        self.config = config
        self.bus = Bus.client(config)
        self.services: list[Service] = []

    def start(self, trouble: str = "", output: int | None = None, **environment: str) -> Service:
        service = Service(self.config, trouble, output, environment)
        self.services.append(service)
        return service

    async def status(self, deadline_ms: int = START_MS) -> Heartbeat:
        status = await self.bus.ask("execution", GetStatus(), deadline_ms)
        assert isinstance(status, Heartbeat)
        return status

    async def tell(self, reason: str, deadline_ms: int = START_MS) -> HaltState:
        answer = await self.bus.ask("execution", raise_halt(reason), deadline_ms)
        assert isinstance(answer, HaltsAnswered), answer
        return answer.state

    def scrape(self) -> str:
        port = resolve_ports(self.config.run_dir, self.config.ports)["metrics-execution"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def close(self) -> None:
        self.bus.close()
        for service in self.services:
            service.process.kill()
            service.process.wait()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(write_desk(tmp_path))
    yield desk
    desk.close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def test_a_service_says_who_it_is_and_that_it_is_ready(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    status = await desk.status()
    assert (status.service, status.account_id, status.mode, status.venue) == ("execution", "main", "paper", "sim")
    assert (status.pid, status.starts, status.ready, status.detail) == (service.process.pid, 1, True, "counting")
    assert status.event_sequences == {"exec.main.halt": 1, "sys.execution.alert": 1}
    with pytest.raises(StartRefused, match=f"process {service.process.pid}"):
        ServiceLock(desk.config.run_dir, "execution")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_told_to_stop_stops_its_shell_and_ends_with_0(desk: Desk, number: signal.Signals) -> None:
    service = desk.start()
    await desk.tell("count")
    service.process.send_signal(number)
    assert await service.exit_code() == 0
    assert service.events()[-2:] == ["sample stopped", "stopped"]
    ServiceLock(desk.config.run_dir, "execution").release()


@pytest.mark.parametrize("trouble", ["slow", "hangs"])
async def test_a_service_that_hangs_while_starting_or_stopping_still_ends_in_seconds(
    desk: Desk, trouble: str
) -> None:
    service = desk.start(trouble)
    await desk.status()
    begun = time.monotonic()
    service.process.terminate()
    assert await service.exit_code() == 0
    assert time.monotonic() - begun < 60, "it sleeps for a quarter of an hour"


async def test_while_it_starts_a_service_beats_and_is_not_ready(desk: Desk) -> None:
    desk.start("slow")
    status = await desk.status()
    assert (status.ready, status.detail) == (False, "starting")
    heard = Heard()
    desk.bus.subscribe("execution", ["sys."], heard.append)
    await until(lambda: len(heard.messages("sys.execution.heartbeat")) >= 2)
    with pytest.raises(NoAnswer):
        await desk.tell("count", deadline_ms=500)


async def test_the_log_says_when_a_service_is_not_ready_any_more_and_when_it_is_again(desk: Desk) -> None:
    service = desk.start()
    await desk.status()
    await desk.tell("unready")
    await until(lambda: "not ready any more" in service.events(), "the log says that it is not ready")
    await desk.tell("ready")
    await until(lambda: "ready" in service.events(), "the log says that it is ready")
    lines = {line["event"]: line["detail"] for line in service.lines() if "detail" in line}
    assert lines["started"] == lines["ready"] == "counting"
    assert lines["not ready any more"] == "told to be unready"
    assert service.events().count("ready") == 1


async def test_a_second_instance_ends_with_78_and_names_the_first_which_goes_on(desk: Desk) -> None:
    first = desk.start()
    await desk.tell("count")
    second = desk.start()
    assert await second.exit_code() == 78
    (line,) = second.lines()
    assert f"execution already runs in {desk.config.run_dir} (process {first.process.pid})" in line["reason"]
    assert line["remedy"]
    assert (await desk.tell("count")).halt_epoch == 2


async def test_after_kill_9_the_count_goes_on_in_a_new_epoch(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    before = await desk.status()
    service.process.kill()
    await service.exit_code()
    desk.start()
    assert (await desk.tell("count")).halt_epoch == 2
    after = await desk.status()
    assert (before.starts, after.starts) == (1, 2)
    assert after.epoch > before.epoch


async def test_kill_9_in_the_middle_of_writing_loses_nothing_that_was_answered(desk: Desk) -> None:
    for _ in range(3):
        service = desk.start()
        before = (await desk.tell("quiet")).halt_epoch
        asked = [asyncio.ensure_future(desk.tell("count")) for _ in range(400)]
        await until(lambda asked=asked: sum(one.done() for one in asked) >= 40)  # type: ignore[misc]
        service.process.kill()
        await service.exit_code()
        for one in asked:
            one.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        answered = max(answer.halt_epoch for answer in answers if isinstance(answer, HaltState))
        again = desk.start()
        assert before + 40 <= answered <= (await desk.tell("quiet")).halt_epoch
        again.process.terminate()
        assert await again.exit_code() == 0


async def test_a_request_on_which_the_core_fails_is_refused_and_alarmed_and_the_state_is_the_journals(
    desk: Desk,
) -> None:
    service = desk.start()
    heard = Heard()
    desk.bus.subscribe("execution", ["sys."], heard.append)
    await desk.tell("count")
    refusal = await desk.bus.ask("execution", raise_halt("fail"), START_MS)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "internal_error"
    assert (await desk.tell("count")).halt_epoch == 2
    await until(
        lambda: (
            {alert.code for alert in heard.messages("sys.execution.alert") if isinstance(alert, Alert)}
            >= {"sample_started", "core_failed"}
        )
    )
    (failure,) = (line for line in service.lines() if line["event"] == "handler failed")
    assert "the core failed as it was told to" in failure["exception"]
    assert 'voldesk_handler_errors_total{account="main",mode="paper",service="execution",source="core"} 1.0' in (
        await asyncio.to_thread(desk.scrape)
    )


async def test_a_journal_that_cannot_be_written_drops_nothing_that_is_asked_again(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    (path,) = (desk.config.run_dir / "journals").glob("*.sqlite3")
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    asking = asyncio.ensure_future(desk.tell("count"))
    await until(lambda: "handler failed" in service.events())
    foreign.execute("ROLLBACK")
    foreign.close()
    assert (await asking).halt_epoch == 2
    assert service.process.poll() is None


async def test_ten_errors_in_a_row_end_the_service_with_70(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    for _ in range(9):
        await desk.bus.ask("execution", raise_halt("fail"), START_MS)
    # the tenth refusal may or may not leave the process before it ends
    with contextlib.suppress(NoAnswer):
        await desk.bus.ask("execution", raise_halt("fail"), deadline_ms=500)
    assert await service.exit_code() == 70
    assert service.events()[-1] == "too many errors in a row: the process ends"
    assert service.events().count("handler failed") == 10


async def test_nine_errors_and_a_success_go_on_for_ever(desk: Desk) -> None:
    service = desk.start()
    for _ in range(3):
        for _ in range(9):
            await desk.bus.ask("execution", raise_halt("fail"), START_MS)
        await desk.tell("count")
    assert (await desk.tell("count")).halt_epoch == 4
    assert service.process.poll() is None


async def test_a_failed_assertion_ends_the_service_with_70_at_once(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    with pytest.raises(NoAnswer):
        await desk.bus.ask("execution", raise_halt("assert"), deadline_ms=1_000)
    assert await service.exit_code() == 70
    assert service.events()[-1] == "failed assertion: the process ends"
    assert "sample stopped" not in service.events()


@pytest.mark.parametrize("what", ["effect fails", "task fails"])
async def test_an_effect_or_a_task_that_fails_is_logged_with_its_traceback_and_survived(
    desk: Desk, what: str
) -> None:
    service = desk.start()
    await desk.tell(what)
    await until(lambda: "handler failed" in service.events())
    assert (await desk.tell("count")).halt_epoch == 1
    (line,) = (line for line in service.lines() if line["event"] == "handler failed")
    assert "Traceback" in line["exception"]


async def test_what_a_start_made_is_not_looked_through_for_garbage_again_and_again(desk: Desk) -> None:
    service = desk.start()

    def told() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line["event"] == "objects" and line["left_alone"]]

    deadline = time.monotonic() + START_MS / 1_000
    while not told() and time.monotonic() < deadline:
        await desk.tell("objects")
    assert told(), "the service never settled"
    assert told()[0]["left_alone"] > 5 * told()[0]["looked_at"]


async def test_after_a_stop_of_the_process_the_core_hears_of_the_gap_before_anything_else(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("arm")
    await until(lambda: (desk.config.run_dir / "journals").exists())
    service.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.5)  # the length of the gap is what is tested
    asking = asyncio.ensure_future(desk.tell("count"))
    await asyncio.sleep(0.1)
    service.process.send_signal(signal.SIGCONT)
    await asking
    kinds = (await desk.tell("quiet")).account_id.split(",")
    assert kinds.index("Stalled") < kinds.index("Counted")
    assert "time passed without this process: it stood still, or the clock was set forward" in service.events()
    (stalls,) = [line for line in desk.scrape().splitlines() if line.startswith("voldesk_loop_stalls_total{")]
    assert float(stalls.rpartition(" ")[2]) >= 1


async def test_a_core_is_ticked_when_its_deadline_is_due(desk: Desk) -> None:
    desk.start()
    await desk.tell("arm")
    deadline = time.monotonic() + 60
    while "Ticked" not in (await desk.tell("quiet")).account_id:
        assert time.monotonic() < deadline


async def test_a_deadline_that_was_journalled_is_kept_by_the_next_process(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("arm")
    service.process.kill()
    await service.exit_code()
    desk.start()
    deadline = time.monotonic() + 60
    while "Ticked" not in (await desk.tell("quiet")).account_id:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("refuse", "the sample was told not to start. tell it something else"),
        ("key", "execution has no API key for sim"),
    ],
)
async def test_a_refused_start_is_one_line_with_a_remedy_and_78(desk: Desk, trouble: str, said: str) -> None:
    service = desk.start(trouble)
    assert await service.exit_code() == 78
    refusals = [line for line in service.lines() if line["event"] == "start refused"]
    assert len(refusals) == 1
    assert said in f"{refusals[0]['reason']}. {refusals[0]['remedy']}"
    assert "exception" not in refusals[0]


async def test_a_mistake_in_the_configuration_ends_with_78(desk: Desk) -> None:
    desk.config.path.write_text(MINIMAL + "numbre = 3\n")
    service = desk.start()
    assert await service.exit_code() == 78
    assert "did you mean number?" in service.lines()[-1]["remedy"]


async def test_a_journal_of_another_account_ends_with_78(desk: Desk) -> None:
    service = desk.start()
    await desk.tell("count")
    service.process.terminate()
    await service.exit_code()
    other = desk.start(TRADING_ENVIRONMENT="beta")
    assert await other.exit_code() == 78
    (refusal,) = (line for line in other.lines() if line["event"] == "start refused")
    assert "belongs to environment 'sim', not 'beta'" in refusal["reason"]


@pytest.mark.parametrize("trouble", ["error", "ends"])
async def test_a_start_that_fails_and_a_run_that_ends_by_itself_are_restarted_by_70(desk: Desk, trouble: str) -> None:
    service = desk.start(trouble)
    assert await service.exit_code() == 70


async def test_no_secret_reaches_the_log(desk: Desk) -> None:
    keys = ensure_paper_secrets(desk.config.run_dir)
    service = desk.start()
    await desk.tell("leak")
    await until(lambda: "handler failed" in service.events())
    text = service.log.read_text()
    assert "***" in text
    assert not any(key.secret in text for key in keys)


async def test_metrics_carry_service_mode_and_account_and_count_the_bus(desk: Desk) -> None:
    desk.start()
    await desk.tell("count")
    text = await asyncio.to_thread(desk.scrape)
    labels = 'account="main",mode="paper",service="execution"'
    assert f"voldesk_starts{{{labels}}} 1.0" in text
    assert f"voldesk_ready{{{labels}}} 1.0" in text
    # a machine on which the process stood still has told the core so: one more input, one more row
    stalls = float(text.partition(f"\nvoldesk_loop_stalls_total{{{labels}}} ")[2].split()[0])
    assert f"voldesk_inputs_total{{{labels}}} {1 + stalls}" in text
    assert any(f"voldesk_commit_seconds_count{{{labels}}} {1.0 + more}" in text for more in range(int(stalls) + 1))
    assert 'voldesk_bus_requests_total{account="main",kind="served",mode="paper",service="execution"} 1.0' in text
    for name in (
        "voldesk_loop_lag_seconds_count",
        "voldesk_heartbeat_timestamp_seconds",
        "voldesk_bus_messages_total",
    ):
        assert name in text


async def test_requests_are_counted_by_kind_answer_and_reason_and_timed(desk: Desk) -> None:
    desk.start()
    await desk.tell("count")
    refused = await desk.bus.ask("execution", raise_halt("fail"), START_MS)
    assert isinstance(refused, Refusal)
    text = await asyncio.to_thread(desk.scrape)
    common = 'account="main"'
    for sample in (
        f'voldesk_requests_answered_total{{{common},answer="halts_answered",mode="paper",reason="",'
        'request="raise_halt",service="execution"} 1.0',
        f'voldesk_requests_answered_total{{{common},answer="refusal",mode="paper",reason="internal_error",'
        'request="raise_halt",service="execution"} 1.0',
        f'voldesk_request_seconds_count{{{common},mode="paper",request="raise_halt",service="execution"}} 2.0',
        f'voldesk_bus_delay_seconds_count{{{common},mode="paper",service="execution",topic="request"}} 2.0',
        f'voldesk_journal_rows_total{{{common},mode="paper",row="counted",service="execution"}} 1.0',
        f'voldesk_core_failures_total{{{common},mode="paper",service="execution"}} 1.0',
        f'voldesk_alerts_raised_total{{{common},code="core_failed",mode="paper",service="execution",'
        'severity="critical"} 1.0',
        f'voldesk_queue_depth{{{common},mode="paper",service="execution"}} 0.0',
        f'voldesk_queue_oldest_age_seconds{{{common},mode="paper",service="execution"}} 0.0',
    ):
        assert sample in text, sample


async def test_a_line_about_health_is_written_at_the_configured_interval(tmp_path: Path) -> None:
    desk = Desk(write_desk(tmp_path, f"{MINIMAL}[logging]\nhealth_interval_s = 1\n"))
    service = desk.start()
    await desk.tell("count")
    await desk.bus.ask("execution", raise_halt("fail"), START_MS)
    told = len([event for event in service.events() if event == "health"])
    await until(lambda: len([event for event in service.events() if event == "health"]) >= told + 2)
    line = [line for line in service.lines() if line["event"] == "health"][-1]
    assert line["level"] == "info"
    assert (line["ready"], line["detail"]) == (True, "counting")
    assert line["inputs"] >= 2, "and one for each time that the process stood still"
    assert (line["queue"], line["dropped"], line["errors"]) == (0, 0, 1)
    assert line["uptime_s"] >= 1
    assert line["memory_mb"] > 10
    assert line["cpu_pct"] >= 0
    desk.close()


async def test_a_taken_metrics_port_does_not_keep_the_service_from_working(tmp_path: Path, taken_port: int) -> None:
    desk = Desk(write_desk(tmp_path, f"{MINIMAL}[ports]\nmetrics-execution = {taken_port}\n"))
    service = desk.start()
    assert (await desk.tell("count")).halt_epoch == 1
    assert "metrics cannot be served yet" in service.events()
    desk.close()


async def test_a_service_outlives_the_reader_of_its_log(desk: Desk) -> None:
    reader, writer = os.pipe()
    service = desk.start(output=writer)
    os.close(writer)
    await desk.tell("count")
    os.close(reader)
    await desk.tell("effect fails")
    assert (await desk.tell("count")).halt_epoch == 2
    service.process.terminate()
    assert await service.exit_code() == 0


async def test_two_desks_run_side_by_side(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Desk(write_desk(tmp_path / "other"))
    try:
        desk.start()
        other.start()
        assert (await desk.tell("count")).halt_epoch == 1
        assert (await other.tell("count")).halt_epoch == 1
        assert (await desk.status()).pid != (await other.status()).pid
    finally:
        other.close()


async def test_a_run_directory_too_deep_for_sockets_works_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    desk = Desk(write_desk(deep))
    try:
        desk.start()
        assert (await desk.tell("count")).halt_epoch == 1
    finally:
        desk.close()

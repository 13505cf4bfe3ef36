"""Execution as a real process on a file system that is really full: no venue is needed to be halted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.config import DeskConfig
from shared.latch import read_latches, write_latch
from shared.messages.control import FlattenLatch, HaltsAnswered, HaltState
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from tests.integration.bus.harness import ROOT, Heard, raise_halt, until
from tests.unit.shared.full_disk import fill, small_disk
from tests.unit.shared.samples import MINIMAL, write_desk

_START_MS = 120_000


class Execution:
    """One process at a time, its log in a file that is not on the full disk."""

    def __init__(self, desk: DeskConfig) -> None:
        self.desk = desk
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.desk.path.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.execution"],
                cwd=ROOT,
                env={**os.environ, "VOLDESK_CONFIG": str(self.desk.path)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def said(self, text: str) -> bool:
        return text in (self.desk.path.parent / "log").read_text()


@pytest.fixture
def execution(tmp_path: Path) -> Iterator[Execution]:
    with small_disk(tmp_path / "d", 16) as disk:
        desk = write_desk(tmp_path, f"{MINIMAL}run_dir = '{disk}'\n[journal]\nreserve_mb = 1\n")
        ensure_paper_secrets(desk.run_dir)
        ensure_grant_key(desk.run_dir)
        resolve_ports(desk.run_dir, desk.ports)
        execution = Execution(desk)
        yield execution
        execution.kill()


async def halted(bus: Bus, reason: str) -> HaltState:
    answer = await bus.ask("execution", raise_halt(reason), _START_MS)
    assert isinstance(answer, HaltsAnswered), answer
    return answer.state


async def test_a_direct_flatten_taken_over_in_memory_outlives_a_kill(execution: Execution) -> None:
    execution.start()
    run_dir = execution.desk.run_dir
    async with Bus.client(execution.desk) as bus:
        await halted(bus, "first")
        ballast = fill(run_dir)
        for number in range(2_000):
            await halted(bus, f"{number} {'x' * 400}")
            if execution.said('"to": "memory"'):
                break
        write_latch(run_dir, FlattenLatch(latch_id="now", raised_by="flatten --direct", reason="enough"))
        for _ in range(100):
            state = await halted(bus, "again")
            if any(halt.level == "flatten" for halt in state.halts):
                break
        heard = Heard()
        bus.subscribe("execution", ["sys."], heard.append)
        await until(lambda: len(heard.messages("sys.execution.heartbeat")) >= 5, "it had time to look again")
        assert [latch.latch_id for latch in read_latches(run_dir)] == ["now"]
        execution.kill()
        ballast.unlink()
        execution.start()
        levels = {halt.level for halt in (await halted(bus, "after")).halts}
        assert "flatten" in levels
        await until(lambda: read_latches(run_dir) == [], "its halt is on disk")

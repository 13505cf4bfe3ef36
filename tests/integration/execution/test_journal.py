"""Execution as a real process: snapshots that another process makes, and a journal damaged between two runs."""

from __future__ import annotations

import errno
import json
import os
import random
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from services.execution.compact import main
from services.execution.config import ExecutionConfig
from services.execution.fold import snapshots_of
from services.execution.rows import HaltsLifted, Row
from shared.bus import Bus
from shared.messages.control import HaltState
from shared.messages.steps import Entry, RaiseAlert
from shared.messages.system import Alert
from shared.metrics import Metrics
from shared.ports import resolve_ports
from shared.quarantine import quarantined
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from shared.service.compaction import Compaction
from shared.service.context import ServiceContext
from shared.service.journals import binding_of, journal_path
from shared.snapshots import snapshot_files
from shared.store import SqliteJournal
from shared.tasks import spawn
from tests.integration.bus.harness import ROOT, Heard, until
from tests.integration.execution.test_full_disk import Execution, halted
from tests.unit.execution.test_perpetual_trades import PerpetualScript
from tests.unit.shared.samples import MINIMAL, write_desk

SNAPSHOT_ROWS = 40


@pytest.fixture
def execution(tmp_path: Path) -> Iterator[Execution]:
    desk = write_desk(
        tmp_path, f"{MINIMAL}run_dir = '{tmp_path}/d'\n[journal]\nreserve_mb = 1\nsnapshot_rows = {SNAPSHOT_ROWS}\n"
    )
    ensure_paper_secrets(desk.run_dir)
    ensure_grant_key(desk.run_dir)
    resolve_ports(desk.run_dir, desk.ports)
    execution = Execution(desk)
    yield execution
    execution.kill()


def shown(execution: Execution, name: str) -> dict[str, float]:
    """The samples of a metric by their outcome."""
    port = resolve_ports(execution.desk.run_dir, execution.desk.ports)["metrics-execution"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples]
    return {each.labels.get("outcome", ""): each.value for each in samples if each.name == f"voldesk_{name}"}


async def test_a_restart_goes_on_from_the_snapshot_that_another_process_made_and_its_loss_costs_only_time(
    execution: Execution,
) -> None:
    path = journal_path(execution.desk, "execution")
    execution.start()
    async with Bus.client(execution.desk) as bus:
        for number in range(SNAPSHOT_ROWS):
            before = await halted(bus, f"drill {number}")
        await until(lambda: snapshot_files(path) != [], "a snapshot was made")
        await until(lambda: shown(execution, "journal_snapshots_total") == {"made": 1}, "it is counted")
        assert shown(execution, "journal_replay_rows")[""] < SNAPSHOT_ROWS
        execution.kill()
        execution.start()
        assert (await halted(bus, "drill 0")).halts == before.halts
        (snapshot, *_) = snapshot_files(path)
        execution.kill()
        snapshot.write_bytes(snapshot.read_bytes()[:-1])
        heard = Heard()
        bus.subscribe("execution", ["sys.execution.alert"], heard.append)
        execution.start()
        assert (await halted(bus, "drill 0")).halts == before.halts
        await until(lambda: "snapshot_unusable" in _codes(heard), "it is told")
        assert [file.name.partition(".quarantined-")[0] for file in quarantined(path.parent)] == [snapshot.name]


def compact(execution: Execution, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "services.execution.compact", *arguments],
        cwd=ROOT,
        env={**os.environ, "VOLDESK_CONFIG": str(execution.desk.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_damage_in_rows_that_no_start_reads_is_found_when_all_are_verified(execution: Execution) -> None:
    desk = execution.desk
    path, binding = journal_path(desk, "execution"), binding_of(desk)
    journal = SqliteJournal(path, binding, Row)
    journal.append([Entry(number, "", HaltsLifted(lifted_by="drill")) for number in range(20)])
    assert compact(execution) == {"sequence": 20, "rows": 20, "bytes": snapshot_files(path)[0].stat().st_size}
    journal.append([Entry(20, "", HaltsLifted(lifted_by="drill"))])
    assert compact(execution, "--verify")["rows"] == 1
    journal.close()
    damage(path, 3)
    assert compact(execution)["rows"] == 0
    assert "row 3 is not as it was written" in compact(execution, "--verify")["damaged"]


def test_a_snapshot_is_made_where_a_low_priority_is_refused(
    execution: Execution, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = journal_path(execution.desk, "execution")
    journal = SqliteJournal(path, binding_of(execution.desk), Row)
    journal.append([Entry(number, "", HaltsLifted(lifted_by="drill")) for number in range(20)])
    journal.close()
    monkeypatch.setenv("VOLDESK_CONFIG", str(execution.desk.path))
    monkeypatch.setattr(os, "nice", refuse)
    monkeypatch.setattr(sys, "argv", ["compact"])
    mask = os.umask(0o077)
    try:
        assert main() == 0
    finally:
        os.umask(mask)
    assert json.loads(capsys.readouterr().out)["sequence"] == 20
    assert len(snapshot_files(path)) == 1


def damage(path: Path, sequence: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET at_ns = 7 WHERE sequence = ?", (sequence,))
        connection.commit()


async def test_damage_in_rows_that_no_start_reads_is_told(
    execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service looks once a day, in a process of its own; here it looks at once."""
    monkeypatch.setattr("shared.service.compaction._FIRST_VERIFY_S", 0.0)
    monkeypatch.setenv("VOLDESK_CONFIG", str(execution.desk.path))
    desk = execution.desk
    path, binding = journal_path(desk, "execution"), binding_of(desk)
    snapshots = snapshots_of(path, binding, ExecutionConfig())
    journal = SqliteJournal(path, binding, Row, snapshots=snapshots)
    journal.append([Entry(number, "", HaltsLifted(lifted_by="drill")) for number in range(20)])
    compact(execution)
    assert journal.snapshot() is not None
    damage(path, 3)
    told: list[RaiseAlert] = []
    context = SimpleNamespace(
        desk=desk,
        name="execution",
        metrics=Metrics("execution", "paper", "main"),
        log=structlog.get_logger(),
        alert=told.append,
    )
    compaction = Compaction(cast(ServiceContext, context), journal, snapshots, "services.execution.compact")
    looking = spawn(compaction.run(), name="compaction")
    await until(lambda: told != [], "it is told")
    looking.cancel()
    journal.close()
    (alert,) = told
    assert (alert.code, alert.severity, alert.subject) == ("journal_damaged", "critical", "execution")
    assert "row 3 is not as it was written" in alert.text
    assert "copy the journal" in alert.text


def _codes(heard: Heard) -> list[str]:
    return [message.code for message in heard.messages("sys.execution.alert") if isinstance(message, Alert)]


@pytest.mark.parametrize("seed", [2])
async def test_a_damaged_journal_is_kept_told_of_and_followed_by_a_halt_that_only_the_operator_lifts(
    execution: Execution, seed: int
) -> None:
    path = journal_path(execution.desk, "execution")
    execution.start()
    async with Bus.client(execution.desk) as bus:
        for number in range(SNAPSHOT_ROWS // 4):
            await halted(bus, f"drill {number}")
        execution.kill()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            (number,) = connection.execute("SELECT max(sequence) FROM entries").fetchone()
            (row,) = connection.execute("SELECT row FROM entries WHERE sequence = ?", (number - seed,)).fetchone()
        content = path.read_bytes()
        position = content.rindex(row) + random.Random(seed).randrange(len(row))
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        damaged = path.read_bytes()
        execution.start()
        state = await halted(bus, "after")
        _assert_halted(state, number - seed)
        (kept,) = quarantined(path.parent)
        assert kept.read_bytes() == damaged
        execution.kill()
        execution.start()
        _assert_halted(await halted(bus, "after"), number - seed)
        assert quarantined(path.parent) == [kept]


def _assert_halted(state: HaltState, row: int) -> None:
    reasons = {halt.raised_by: halt.reason for halt in state.halts}
    assert set(reasons) == {"journal", "test"}
    assert f"row {row} is not as it was written; it is kept as execution-" in reasons["journal"]
    assert reasons["journal"].endswith("compare positions and orders with the venue, then `voldesk resume`")


def test_without_futures_a_desk_whose_trade_holds_a_perpetual_does_not_start(execution: Execution) -> None:
    script = PerpetualScript()
    script.started()
    script.opened("buy", "0.01", 1)
    desk = execution.desk
    journal = SqliteJournal(journal_path(desk, "execution"), binding_of(desk), Row)
    journal.append(script.entries)
    journal.close()
    execution.start()
    assert execution.process is not None
    assert execution.process.wait(60) == 78
    assert execution.said("open trades have legs in BTCUSD, and [desk] futures is off")

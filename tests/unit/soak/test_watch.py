"""What is read of a desk from outside: lines across a turn-over, alerts, complaints, sizes and rows."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from soak.watch import Pulse, Watch

BEGAN = 1_763_640_000.0


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def log_line(level: str, event: str, **fields: object) -> str:
    at = "2025-11-20T12:01:00.500000Z"
    return json.dumps({"service": "risk", "level": level, "event": event, "at": at, **fields}) + "\n"


def test_complaints_are_lines_from_warning_up_and_what_is_none_of_ours_but_no_alerts(tmp_path: Path) -> None:
    (tmp_path / "logs" / "health").mkdir(parents=True)
    watch = Watch(tmp_path, BEGAN)
    health = tmp_path / "logs" / "health"
    append(health / "risk.jsonl", log_line("info", "ready") + log_line("warning", "slow", code="x"))
    append(health / "monitor.jsonl", log_line("error", "alert", code="halted"))
    append(tmp_path / "logs" / "monitor.log", "Traceback (most recent\n")
    append(tmp_path / "logs" / "supervisord.log", "CRIT Supervisor is running as root.\n")
    told = watch.complaints()
    assert sorted((each.service, each.level, each.text) for each in told) == [
        ("monitor", "none", "Traceback (most recent"),
        ("risk", "warning", "slow code=x"),
    ]
    assert [each.at_s for each in told if each.service == "risk"] == [60.5]
    assert watch.complaints() == []


def test_alerts_are_those_of_the_alert_file_with_their_time_in_the_run(tmp_path: Path) -> None:
    record = {
        "code": "halted",
        "severity": "critical",
        "subject": "soak",
        "text": "t",
        "service": "monitor",
        "raised_ns": int((BEGAN + 12.5) * 1e9),
        "resolved": False,
        "is_notice": False,
        "route": "",
        "mode": "paper",
        "account_id": "soak",
    }
    append(tmp_path / "alerts.jsonl", json.dumps(record) + "\n{broken\n")
    (alert,) = Watch(tmp_path, BEGAN).alerts()
    assert (alert.code, alert.at_s, alert.severity, alert.resolved) == ("halted", 12.5, "critical", False)


def test_files_count_by_what_they_are_and_journals_by_their_rows(tmp_path: Path) -> None:
    (tmp_path / "journals").mkdir()
    path = tmp_path / "journals" / "execution-soak.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO entries VALUES (?)", [(1,), (2,), (7,)])
        connection.commit()
    for number in (10, 20):
        append(path.with_name(f"{path.name}.snapshot-{number}"), "x" * 524_288)
    files = Watch(tmp_path, BEGAN).files(60.0)
    assert files.rows == {"execution": 7}
    assert files.sizes_mb["journals/execution.snapshot"] == 1.0


def test_a_machine_that_gives_time_has_no_gap() -> None:
    pulse = Pulse(time.time())
    pulse.stop()
    assert pulse.spells() == []

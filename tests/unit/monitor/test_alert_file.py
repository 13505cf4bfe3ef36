"""The alert file survives crashes, restarts and its own growth."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from services.monitor.alert_file import AlertFile
from services.monitor.effects import AlertRecord
from tests.unit.shared.full_disk import fill, small_disk


def record(number: int) -> AlertRecord:
    return AlertRecord(
        code="c", severity="warning", subject=str(number), text="naïve", service="risk", raised_ns=number
    )


def test_what_was_written_is_read_again_newest_last(tmp_path: Path) -> None:
    file = AlertFile(tmp_path / "alerts.jsonl", "paper", "main")
    assert file.remembered(10) == ()
    notices = [msgspec.structs.replace(record(number), is_notice=True) for number in range(5)]
    for notice in notices:
        file.append(notice)
    assert file.remembered(2) == tuple(notices[3:])
    line = json.loads((tmp_path / "alerts.jsonl").read_text().splitlines()[0])
    assert (line["mode"], line["account_id"], line["subject"]) == ("paper", "main", "0")


def test_a_line_cut_off_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    AlertFile(path, "paper", "main").append(record(1))
    with path.open("ab") as torn:
        torn.write(b'{"code": "c", "sev\xff')
    file = AlertFile(path, "paper", "main")
    file.append(record(2))
    assert file.remembered(10) == (record(1), record(2))


def test_a_large_file_is_turned_over_and_the_one_before_is_still_read(tmp_path: Path) -> None:
    size = len(msgspec.json.encode(record(0)))
    file = AlertFile(tmp_path / "alerts.jsonl", "paper", "main", max_bytes=4 * size)
    for number in range(10):
        file.append(record(number))
    newest = file.remembered(100)
    assert newest[-1] == record(9)
    assert len(newest) < 10
    assert max(path.name for path in tmp_path.iterdir()) == "alerts.jsonl.1"


def test_what_is_open_is_remembered_however_much_came_and_went_since(tmp_path: Path) -> None:
    file = AlertFile(tmp_path / "alerts.jsonl", "paper", "main")
    begun, worse = record(0), msgspec.structs.replace(record(0), severity="critical", raised_ns=1)
    file.append(begun)
    file.append(worse)
    file.append(msgspec.structs.replace(record(2), is_notice=True))
    for number in range(3, 40):
        file.append(record(number))
        file.append(msgspec.structs.replace(record(number), resolved=True, raised_ns=number + 1))
    newest = (record(39), msgspec.structs.replace(record(39), resolved=True, raised_ns=40))
    assert file.remembered(2) == (begun, worse, *newest)
    over = msgspec.structs.replace(record(0), resolved=True, raised_ns=50)
    file.append(over)
    assert file.remembered(1) == (begun, worse, over)
    file.append(record(51))
    assert file.remembered(1) == (record(51),)


def test_alerts_of_another_account_are_passed_over(tmp_path: Path) -> None:
    AlertFile(tmp_path / "alerts.jsonl", "paper", "other").append(record(1))
    assert AlertFile(tmp_path / "alerts.jsonl", "paper", "main").remembered(10) == ()


def test_on_a_full_disk_records_wait_and_are_written_once_there_is_space(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as directory:
        file = AlertFile(directory / "alerts.jsonl", "paper", "main")
        file.append(record(0))
        ballast = fill(directory)
        refused = 0
        for number in range(1, 100):
            try:
                file.append(record(number))
            except OSError:
                refused += 1
        assert refused > 1
        assert len(file.remembered(1_000)) == 100 - refused
        ballast.unlink()
        file.append(record(100))
        assert file.remembered(1_000) == tuple(record(number) for number in range(101))

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import threading
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from shared.entries import Binding, JournalRefused
from shared.errors import JournalDamaged
from shared.messages.steps import Entry
from shared.store import SqliteJournal, main, quarantine

MAIN = Binding(venue="coincall", environment="sim", account_id="main")


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    price: Decimal


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    reason: str
    parts: tuple[int, ...] = ()


Row = Opened | Closed
ENTRIES = [Entry(1, "a", Opened(Decimal("0.10"))), Entry(2, "", Closed("done", (1, 2)))]


def open_journal(path: Path, binding: Binding = MAIN) -> SqliteJournal:
    return SqliteJournal(path, binding, Row)


def test_a_lock_that_the_doctor_holds_for_a_moment_refuses_no_start(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    glance = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(glance, fcntl.LOCK_EX)
    released = threading.Timer(0.05, os.close, [glance])
    released.start()
    open_journal(path).close()
    released.join()


def test_rows_come_back_in_order_and_exactly_after_reopening(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite3")
    journal.append(ENTRIES)
    journal.append([Entry(3, "c", Opened(Decimal("1E+2")))])
    journal.close()
    again = open_journal(tmp_path / "j.sqlite3")
    assert list(again.load()) == [*ENTRIES, Entry(3, "c", Opened(Decimal("1E+2")))]
    again.close()


def test_a_batch_that_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite3")
    with pytest.raises(OverflowError):
        journal.append([ENTRIES[0], Entry(1 << 70, "", Closed("x"))])
    assert list(journal.load()) == []
    journal.append(ENTRIES)
    assert list(journal.load()) == ENTRIES
    journal.close()


def test_a_batch_of_rows_that_may_lag_does_not_wait_for_the_disk_and_any_other_does(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.sqlite3", MAIN, Row, may_lag=(Opened,))
    opened, closed = ENTRIES
    written = []
    for batch in ([opened], [opened, closed], [opened, opened], [closed]):
        journal.append(batch)
        written.append(journal.synchronous)
    assert written == ["NORMAL", "FULL", "NORMAL", "FULL"]
    assert list(journal.load()) == [opened, opened, closed, opened, opened, closed]
    journal.close()


def test_loading_streams_and_rows_may_be_added_meanwhile(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite3")
    journal.append([Entry(number, "", Closed("x")) for number in range(2_500)])
    loading = journal.load()
    assert next(loading).at_ns == 0
    journal.append([Entry(9_999, "", Closed("later"))])
    assert sum(1 for _ in loading) >= 2_499
    journal.close()


@pytest.mark.parametrize("change", [{"venue": "deribit"}, {"environment": "production"}, {"account_id": "other"}])
def test_a_journal_of_another_venue_environment_or_account_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    open_journal(tmp_path / "j.sqlite3").close()
    with pytest.raises(JournalRefused, match=f"belongs to {next(iter(change))}.*not '{next(iter(change.values()))}'"):
        open_journal(tmp_path / "j.sqlite3", msgspec.structs.replace(MAIN, **change))


def test_a_journal_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    open_journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE binding SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(JournalRefused, match="belongs to format '99'"):
        open_journal(path)


def test_a_journal_in_use_is_refused_and_free_again_after_closing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite3")
    with pytest.raises(JournalRefused, match="in use"):
        open_journal(tmp_path / "j.sqlite3")
    journal.close()
    open_journal(tmp_path / "j.sqlite3").close()


def test_a_row_is_never_changed_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    journal = open_journal(path)
    journal.append(ENTRIES)
    journal.close()
    connection = sqlite3.connect(path)
    for statement in ("UPDATE entries SET at_ns = 0", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("position", [0, 4_096 * 2 + 10])
def test_a_damaged_file_is_refused_with_the_command_that_moves_it_aside(tmp_path: Path, position: int) -> None:
    path = tmp_path / "j.sqlite3"
    journal = open_journal(path)
    journal.append([Entry(number, "", Closed("x" * 200)) for number in range(500)])
    journal.close()
    data = bytearray(path.read_bytes())
    data[position : position + 4_096] = b"\xff" * 4_096
    path.write_bytes(data)
    with pytest.raises(JournalDamaged, match="damaged") as refused:
        open_journal(path)
    assert path.read_bytes() == data
    # the command is complete: from a directory of no checkout, in a shell without the virtual environment
    command = refused.value.remedy.partition("with: ")[2]
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not path.exists()


def test_a_row_of_an_unknown_kind_is_refused_by_its_number(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "j.sqlite3")
    journal.append(ENTRIES)
    journal.close()
    narrower = SqliteJournal(tmp_path / "j.sqlite3", MAIN, Opened)
    with pytest.raises(JournalRefused, match="entry 2 cannot be read"):
        list(narrower.load())
    narrower.close()


def test_quarantine_moves_the_file_aside_and_a_new_journal_starts_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "j.sqlite3"
    journal = open_journal(path)
    journal.append(ENTRIES)
    with pytest.raises(JournalRefused, match="in use"):
        quarantine(path)
    journal.close()
    assert main(["quarantine", str(path)]) == 0
    assert "quarantined-2" in capsys.readouterr().out
    fresh = open_journal(path)
    assert list(fresh.load()) == []
    fresh.close()
    assert quarantine(path).name.startswith("j.sqlite3.quarantined-2")
    assert main(["quarantine", str(path)]) == 1
    assert main([]) == 2

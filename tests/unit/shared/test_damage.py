"""A journal damaged anywhere: a start makes of it what was written, or nothing and a word that rows are missing."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.entries import Binding, JournalReader, JournalRefused
from shared.errors import JournalDamaged
from shared.messages.steps import Entry
from shared.quarantine import quarantined
from shared.runner import Runner
from shared.snapshots import Snapshots
from shared.store import SqliteJournal
from tests.unit.shared.test_snapshots import MAIN, Added, Sum, Summing

ROWS = 400
TOTAL = ROWS * (ROWS - 1) // 2


def open_journal(path: Path, *, starts_over: bool = True, snapshots: Snapshots[Sum] | None = None) -> SqliteJournal:
    snapshots = snapshots or Snapshots(path, MAIN, Sum, "fold")
    return SqliteJournal(path, MAIN, Added, "NORMAL", snapshots=snapshots, starts_over=starts_over)


def fold(journal: SqliteJournal) -> Sum:
    return Runner(Summing, journal, lambda *_: None, _must_not_fail).core.sum


def _must_not_fail(failure: object) -> None:
    raise AssertionError(failure)


def written(directory: Path, snapshot_at: int | None) -> Path:
    """A closed journal, all of it in its main file, with a snapshot in its middle."""
    path = directory / "j.sqlite3"
    journal = open_journal(path)
    for number in range(ROWS):
        journal.append([Entry(number, f"cause {number}", Added(number))])
        if number + 1 == snapshot_at:
            state = Sum(number * (number + 1) // 2, number + 1)
            Snapshots(path, MAIN, Sum, "fold").write(journal.tail, state)
    journal.close()
    return path


@pytest.fixture(scope="module", params=[None, 250, ROWS], ids=["no snapshot", "in the middle", "at the end"])
def intact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("intact"), request.param).parent


@pytest.mark.parametrize(
    ("offset", "garbage"),
    [(0, b"x"), (18, b"\3"), (3_705, b"\x80"), (3_900, b"\x80"), (100, bytes(8)), (4_096 * 2 + 300, bytes(300))],
)
def test_damage_that_sqlite_speaks_of_in_its_own_ways_is_damage(tmp_path: Path, offset: int, garbage: bytes) -> None:
    path = written(tmp_path, None)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(garbage)] = garbage
    path.write_bytes(content)
    journal = open_journal(path)
    if fold(journal) != Sum(TOTAL, ROWS):
        assert "is damaged" in journal.unwritten
    journal.append([Entry(0, "", Added(1))])
    journal.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bytes_are_damaged_the_state_is_whole_or_the_file_is_kept_and_rows_are_said_to_be_missing(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("damaged") / "j"
    shutil.copytree(intact, directory)
    path = directory / "j.sqlite3"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content) - 1), label="length") :]
    else:
        offset = data.draw(st.integers(0, len(content) - 1), label="offset")
        garbage = data.draw(st.binary(min_size=1, max_size=data.draw(st.sampled_from([1, 8, 600]))), label="garbage")
        content[offset : offset + len(garbage)] = garbage[: len(content) - offset]
    path.write_bytes(content)
    try:
        journal = open_journal(path)
        state = fold(journal)
    except JournalRefused as refused:
        if "belongs to" not in refused.reason:
            raise
        return
    kept_files = [file for file in quarantined(directory) if ".snapshot-" not in file.name]
    if kept_files:
        (kept,) = kept_files
        assert kept.read_bytes()[:16] == bytes(content)[:16]
        assert state == Sum()
        assert kept.name in journal.unwritten
        assert "is damaged" in journal.unwritten
    elif state != Sum(TOTAL, ROWS):
        assert journal.unwritten.endswith(f"once had {ROWS}")
    journal.append([Entry(0, "", Added(1))])
    journal.close()
    shutil.rmtree(directory.parent)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET row = (SELECT row FROM entries WHERE sequence = 9) WHERE sequence = 300",
        "UPDATE entries SET at_ns = at_ns + 1 WHERE sequence = 300",
        "UPDATE entries SET cause_id = 'other' WHERE sequence = 300",
        "UPDATE entries SET checksum = NULL WHERE sequence = 300",
        "DELETE FROM entries WHERE sequence = 300",
        "INSERT INTO entries SELECT 401, at_ns, cause_id, row, checksum FROM entries WHERE sequence = 400",
    ],
)
def test_a_row_that_was_changed_removed_or_put_in_is_noticed(tmp_path: Path, statement: str) -> None:
    path = written(tmp_path, None)
    with sqlite3.connect(path) as connection:
        for trigger in ("entries_never_change", "entries_never_go"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
    connection.close()
    with pytest.raises(JournalDamaged, match=r"row (300|401) is"):
        fold(open_journal(path, starts_over=False))


def test_damage_before_the_newest_snapshot_costs_the_start_nothing_and_a_reader_of_all_rows_finds_it(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 250)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER entries_never_change")
        connection.execute("UPDATE entries SET row = x'00' WHERE sequence = 100")
    connection.close()
    journal = open_journal(path)
    assert fold(journal) == Sum(TOTAL, ROWS)
    assert journal.unwritten == ""
    reader = JournalReader(path, MAIN, Added)
    with pytest.raises(JournalDamaged, match="row 100 is not as it was written"):
        for _ in reader.entries():
            pass
    reader.close()
    journal.close()


def test_a_service_that_cannot_do_without_its_rows_is_refused_and_the_file_left_where_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    content = bytearray(path.read_bytes())
    content[:64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="damaged"):
        open_journal(path, starts_over=False)
    assert path.read_bytes() == bytes(content)
    assert quarantined(tmp_path) == []


def test_a_journal_that_another_program_has_locked_is_refused_and_not_moved_aside(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalRefused, match=r"locked.*end the program that has it open"):
        open_journal(path)
    other.execute("ROLLBACK")
    other.close()
    journal = open_journal(path)
    assert fold(journal).rows == ROWS
    journal.close()


def spoil_free_space(path: Path) -> None:
    """Damage the last page of the rows in a place that only a write asks for: where its free space is."""
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    over_leaves = (root - 1) * page_bytes
    last_leaf = (int.from_bytes(content[over_leaves + 8 : over_leaves + 12], "big") - 1) * page_bytes
    content[last_leaf + 1 : last_leaf + 3] = b"\xff\xff"
    path.write_bytes(content)


def test_damage_that_a_commit_met_is_known_to_the_next_start(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    spoil_free_space(path)
    journal = open_journal(path)
    assert fold(journal).rows == ROWS
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        journal.append([Entry(0, "", Added(1))])
    journal.close()
    again = open_journal(path)
    assert "is damaged: database disk image is malformed" in again.unwritten
    assert fold(again) == Sum()
    assert len(quarantined(tmp_path)) == 1
    again.append([Entry(0, "", Added(1))])
    again.close()


@pytest.mark.parametrize("starts_over", [False, True])
def test_a_sound_copy_in_the_place_of_a_file_that_a_commit_found_damaged_starts_with_all_its_rows(
    tmp_path: Path, starts_over: bool
) -> None:
    path = written(tmp_path, ROWS)
    copy = shutil.copy(path, tmp_path / "copy")
    spoil_free_space(path)
    journal = open_journal(path, starts_over=starts_over)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        journal.append([Entry(0, "", Added(1))])
    journal.close()
    if not starts_over:
        with pytest.raises(JournalDamaged, match="is damaged: database disk image is malformed"):
            open_journal(path, starts_over=False)
    shutil.copy(copy, path)
    again = open_journal(path, starts_over=starts_over)
    assert (fold(again).rows, again.unwritten, quarantined(tmp_path)) == (ROWS, "", [])
    again.append([Entry(0, "", Added(1))])
    again.close()
    assert not Path(f"{path}.damaged").exists()


def test_damage_in_any_row_of_a_copy_that_takes_the_place_of_a_damaged_file_is_found_though_a_snapshot_spares_it(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, ROWS)
    Path(f"{path}.damaged").write_text("database disk image is malformed")
    content = path.read_bytes()
    assert content.count(b"cause 7\x82") == 1
    path.write_bytes(content.replace(b"cause 7\x82", b"cause 8\x82"))
    with pytest.raises(JournalDamaged, match="malformed"):
        open_journal(path, starts_over=False)
    Path(f"{path}.damaged").unlink()
    assert fold(open_journal(path, starts_over=False)).rows == ROWS


def test_an_append_on_a_closed_connection_says_nothing_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    journal = open_journal(path)
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        journal.append([Entry(0, "", Added(1))])
    assert not Path(f"{path}.damaged").exists()
    again = open_journal(path)
    assert (fold(again).rows, again.unwritten) == (ROWS, "")
    again.close()


def test_a_journal_of_the_format_before_is_brought_up_to_date_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite3"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE binding (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, cause_id TEXT NOT NULL, "
        "row BLOB NOT NULL);"
    )
    old.execute("INSERT INTO binding VALUES ('format', '1')")
    old.executemany("INSERT INTO binding VALUES (?, ?)", msgspec.to_builtins(MAIN).items())
    row = msgspec.msgpack.encode(Added(5))
    old.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", [(1, 10, "", row), (2, 20, "", row)])
    old.commit()
    old.close()
    journal = open_journal(path)
    assert fold(journal) == Sum(10, 2)
    journal.append([Entry(30, "", Added(7))])
    journal.close()
    again = open_journal(path)
    assert fold(again) == Sum(17, 3)
    again.close()


def test_a_journal_of_another_account_is_refused_although_it_may_start_over(tmp_path: Path) -> None:
    path = written(tmp_path, None)
    other = Binding(venue="coincall", environment="production", account_id="main")
    with pytest.raises(JournalRefused, match="belongs to environment 'sim', not 'production'"):
        SqliteJournal(path, other, Added, starts_over=True)
    assert quarantined(tmp_path) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_write_ahead_log_torn_or_damaged_anywhere_loses_only_its_end_and_that_is_said(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    written_to = tmp_path_factory.mktemp("torn")
    journal = open_journal(written_to / "j.sqlite3")
    for number in range(20):
        journal.append([Entry(number, "", Added(number))])
    # What a dead process leaves behind; the next one finds the log beside the file.
    directory = tmp_path_factory.mktemp("left")
    for suffix in ("", "-wal", ".rows", ".unwritten"):
        shutil.copy(written_to / f"j.sqlite3{suffix}", directory)
    journal.close()
    log = directory / "j.sqlite3-wal"
    content = bytearray(log.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1), label="position")
    if data.draw(st.booleans(), label="torn"):
        del content[position:]
    else:
        content[position] ^= 0xFF
    log.write_bytes(content)
    again = open_journal(directory / "j.sqlite3")
    state = fold(again)
    assert state == Sum(sum(range(state.rows)), state.rows)
    if state.rows < 20:
        assert again.unwritten.endswith(f"ends at row {state.rows} and once had 20")
    again.append([Entry(0, "", Added(1))])
    again.close()
    for each in (written_to, directory):
        shutil.rmtree(each)

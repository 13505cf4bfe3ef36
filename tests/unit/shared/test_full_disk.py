"""A journal on a full disk: the reserve, the note of what is missing, and a runner that goes on in memory."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.entries import Binding, JournalRefused
from shared.errors import JournalFull
from shared.messages.space import JournalSpace
from shared.messages.steps import Entry, Step
from shared.reserve import Note, Reserve
from shared.runner import CoreFailed, Runner
from shared.store import SqliteJournal, quarantine
from tests.unit.shared.full_disk import fill, free_bytes, small_disk

MAIN = Binding(venue="coincall", environment="sim", account_id="main")
MB = 1024 * 1024


class Wrote(msgspec.Struct, frozen=True, tag="wrote"):
    text: str


def open_journal(directory: Path, reserve_mb: int = 2) -> SqliteJournal:
    return SqliteJournal(directory / "j.sqlite3", MAIN, Wrote, reserve_bytes=reserve_mb * MB)


def entry(number: int, size: int = 200) -> Entry:
    return Entry(number, "", Wrote(f"{number} " + "x" * size))


def append_until_full(journal: SqliteJournal) -> int:
    """Append rows one by one; how many were taken."""
    for number in range(10_000):
        try:
            journal.append([entry(number, 2_000)])
        except JournalFull:
            return number
    raise AssertionError("the disk has no end")


def limit_pages(journal: SqliteJournal, more: int | None) -> None:
    """SQLite's own full disk: at most `more` pages than now; None lifts the limit."""
    connection = journal._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {4_000_000_000 if more is None else pages + more}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 12) as directory:
        yield directory


def test_rows_go_into_the_reserve_when_the_disk_is_full_and_are_all_there_afterwards(disk: Path) -> None:
    journal = open_journal(disk)
    assert (disk / "j.sqlite3.reserve").stat().st_blocks * 512 == 2 * MB
    journal.append([entry(0)])
    ballast = fill(disk)
    for number in range(1, 100):
        journal.append([entry(number)])
    assert "database or disk is full): free space on its disk" in journal.problem
    assert not (disk / "j.sqlite3.reserve").exists()
    assert free_bytes(disk) < MB, "the log took what was freed before anybody else could"
    journal.close()
    ballast.unlink()
    again = open_journal(disk)
    assert [each.at_ns for each in again.load()] == list(range(100))
    assert again.problem == ""
    again.close()


def test_when_the_reserve_is_used_up_too_the_journal_says_so_and_keeps_all_that_it_took(disk: Path) -> None:
    journal = open_journal(disk)
    ballast = fill(disk)
    taken = append_until_full(journal)
    assert "j.sqlite3 cannot be written (database or disk is full): free space on its disk" in journal.problem
    assert taken > 100
    assert [each.at_ns for each in journal.load()] == list(range(taken))
    assert not journal.check_space()
    ballast.unlink()
    journal.append([entry(taken)])
    assert journal.check_space()
    assert journal.problem == ""
    journal.close()


def test_a_journal_opens_on_a_full_disk_by_its_reserve(disk: Path) -> None:
    journal = open_journal(disk)
    journal.append([entry(0)])
    journal.close()
    fill(disk)
    again = open_journal(disk)
    assert [each.at_ns for each in again.load()] == [0]
    again.append([entry(1)])
    assert again.problem
    again.close()


def test_without_room_even_to_open_it_is_said_as_a_full_disk_and_not_as_damage(disk: Path) -> None:
    fill(disk)
    with pytest.raises(JournalFull, match="free space on its disk, or make it writable"):
        open_journal(disk)


def test_with_little_room_left_nothing_is_kept_back_and_the_remedy_is_named(disk: Path) -> None:
    fill(disk, leave_bytes=3 * MB)
    journal = open_journal(disk)
    assert "no room to keep 2 MB back" in journal.problem
    journal.append([entry(0)])
    (disk / "ballast").unlink()
    assert journal.check_space()
    journal.close()


def test_little_room_is_told_before_the_disk_is_full_with_the_reserve_still_in_hand(disk: Path) -> None:
    journal = open_journal(disk)
    assert journal.check_space()
    ballast = fill(disk, leave_bytes=MB + MB // 2)
    assert not journal.check_space()
    assert journal.problem == f"only 1 MB are left on the disk of {disk / 'j.sqlite3'}: free space there"
    assert (disk / "j.sqlite3.reserve").exists()
    ballast.unlink()
    assert journal.check_space()
    journal.close()


def test_the_limit_of_sqlite_itself_is_a_full_disk_too(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    limit_pages(journal, 0)
    with pytest.raises(JournalFull, match="database or disk is full"):
        journal.append([entry(1, 20_000)])
    assert list(journal.load()) == []
    limit_pages(journal, None)
    journal.append([entry(2)])
    assert [each.at_ns for each in journal.load()] == [2]
    journal.close()


def test_a_journal_that_cannot_be_written_any_more_is_full_and_one_locked_by_another_is_not(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalFull, match="readonly"):
        journal.append([entry(1)])
    journal._connection.execute("PRAGMA query_only = OFF")
    foreign = sqlite3.connect(tmp_path / "j.sqlite3", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        journal.append([entry(1)])
    foreign.close()
    journal.close()


def test_a_disk_that_refuses_to_write_is_full_as_a_quota_is(tmp_path: Path) -> None:
    """As beyond a quota, SQLite is told of another error than of a disk without space."""
    journal = open_journal(tmp_path)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, usual[1]))
    try:
        taken = append_until_full(journal)
        assert "disk I/O error" in journal.problem
        assert [each.at_ns for each in journal.load()] == list(range(taken))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    journal.append([entry(taken)])
    assert journal.check_space()
    journal.close()


def test_the_note_of_what_is_missing_is_written_on_a_full_disk_and_outlives_the_process(disk: Path) -> None:
    journal = open_journal(disk)
    fill(disk)
    assert journal.note_unwritten("rows since noon")
    journal.close()
    again = open_journal(disk)
    assert again.unwritten == "rows since noon"
    assert again.forget_unwritten()
    again.close()
    assert open_journal(disk).unwritten == ""


def test_a_quarantined_journal_takes_its_note_along_and_leaves_no_reserve(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.note_unwritten("rows since noon")
    journal.close()
    moved = quarantine(tmp_path / "j.sqlite3")
    assert Note(Path(f"{moved}.unwritten")).read() == "rows since noon"
    assert {path.name for path in tmp_path.iterdir()} == {
        moved.name,
        f"{moved.name}.unwritten",
        f"{moved.name}.rows",
        "j.sqlite3.lock",
    }


def test_a_reserve_is_whole_or_not_there(disk: Path) -> None:
    reserve = Reserve(disk / "reserve", 4 * MB)
    ballast = fill(disk, leave_bytes=3 * MB)
    assert not reserve.take()
    assert not reserve.path.exists()
    ballast.unlink()
    assert reserve.take()
    assert reserve.held
    assert reserve.free()
    assert not reserve.free()
    assert not reserve.held


class Desk:
    """A core of one number: "open" adds to it unless it was told of a full disk, "close" takes from it."""

    def __init__(self) -> None:
        self.held = 0
        self.level = "disk"

    def handle(self, item: Any, now_ns: int) -> Step:
        if isinstance(item, JournalSpace):
            self.level = item.level
            return Step(effects=[f"told {item.level}{' and missing' if item.unwritten else ''}"])
        if item == "open" and self.level != "disk":
            return Step(effects=["refused"])
        row = Entry(now_ns, "", Wrote(item + "x" * 6_000))
        self.apply(row)
        return Step(rows=[row], effects=["bought" if item in ("open", "wrong") else "sold"])

    def apply(self, entry: Entry) -> None:
        self.held += -1 if entry.row.text.startswith("close") else 1

    def start(self, now_ns: int) -> Step:
        return Step()

    def next_deadline_ns(self) -> int | None:
        return None


class Bench:
    def __init__(self, journal: SqliteJournal, make_core: Callable[[], Desk] = Desk) -> None:
        self.journal = journal
        self.done: list[str] = []
        self.failures: list[CoreFailed] = []
        self.runner = Runner(
            make_core,
            journal,
            lambda effect, cause_id: self.done.append(effect),
            self.failures.append,
            lambda effect: effect != "bought",
        )
        self.runner.start(0)

    def drain(self, *items: str) -> list[str]:
        self.done.clear()
        self.runner.drain(items, 1)
        return list(self.done)

    def look(self) -> list[str]:
        self.done.clear()
        self.runner.look_at_space(1)
        return list(self.done)

    def fold(self) -> int:
        core = Desk()
        for each in self.journal.load():
            core.apply(each)
        return core.held


def test_opening_stops_at_the_reserve_goes_on_in_memory_for_closes_and_comes_back_by_itself(disk: Path) -> None:
    journal = open_journal(disk)
    bench = Bench(journal)
    assert bench.drain("open", "open") == ["bought", "bought"]
    ballast = fill(disk)
    assert bench.drain("open", "close") == ["bought", "sold", "told reserve"], "both rows are in the reserve"
    assert bench.drain("open") == ["refused"]
    level, closes = "reserve", 0
    while level == "reserve":
        assert "sold" in bench.drain("close")
        closes += 1
        level = bench.runner.core.level
    assert level == "memory"
    assert bench.drain("open", "close") == ["refused", "sold"]
    assert bench.look() == []
    assert bench.fold() > bench.runner.core.held == 2 - closes - 1
    assert journal.unwritten
    ballast.unlink()
    assert bench.look() == ["told disk"]
    assert bench.fold() == bench.runner.core.held
    assert journal.unwritten == ""
    assert bench.drain("open") == ["bought"]
    assert bench.failures == []
    journal.close()


def test_what_was_decided_before_the_disk_was_known_to_be_full_is_decided_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    bench = Bench(journal)
    bench.drain("open")
    limit_pages(journal, 0)
    assert bench.drain("open", "close") == ["told memory", "refused", "sold"]
    assert bench.runner.core.held == 0
    assert bench.fold() == 1
    limit_pages(journal, None)
    assert bench.look() == ["told disk"]
    assert bench.fold() == 0
    journal.close()


def test_what_opens_is_held_back_while_rows_are_in_memory_whatever_the_core_says(tmp_path: Path) -> None:
    bench = Bench(open_journal(tmp_path))
    limit_pages(bench.journal, 0)
    bench.drain("close")
    assert bench.drain("wrong") == []
    (failure,) = bench.failures
    assert failure.item == "bought"
    bench.journal.close()


def test_a_process_that_ends_with_rows_in_memory_leaves_a_note_that_the_next_core_is_told_once(
    tmp_path: Path,
) -> None:
    bench = Bench(open_journal(tmp_path))
    limit_pages(bench.journal, 0)
    bench.drain("close")
    bench.journal.close()
    again = Bench(open_journal(tmp_path))
    assert again.done == ["told disk and missing"]
    again.journal.close()
    third = Bench(open_journal(tmp_path))
    assert third.done == []
    third.journal.close()


class Restless(Desk):
    """Writes a row at each start, as execution does for an order that was being sent."""

    def start(self, now_ns: int) -> Step:
        row = Entry(now_ns, "", Wrote("open" + "x" * 6_000))
        self.apply(row)
        return Step(rows=[row])


def test_a_note_is_told_even_when_the_disk_is_still_full_and_the_start_itself_has_rows(tmp_path: Path) -> None:
    bench = Bench(open_journal(tmp_path))
    limit_pages(bench.journal, 0)
    bench.drain("close")
    note = bench.journal.unwritten
    bench.journal.close()
    journal = open_journal(tmp_path)
    limit_pages(journal, 0)
    again = Bench(journal, Restless)
    assert again.done == ["told memory and missing"]
    assert journal.unwritten == f"{note}, nor by later processes: 1", "a crash must not lose it"
    limit_pages(journal, None)
    assert again.look() == ["told disk"]
    assert journal.unwritten == ""
    journal.close()


def test_each_process_that_ends_on_a_full_disk_is_counted_until_all_is_written(tmp_path: Path) -> None:
    counts: list[int] = []

    class Counting(Restless):
        def handle(self, item: Any, now_ns: int) -> Step:
            if isinstance(item, JournalSpace) and item.unwritten:
                counts.append(item.lost_processes)
                assert item.unwritten.startswith("the disk was full")
            return super().handle(item, now_ns)

    for _ in range(4):
        journal = open_journal(tmp_path)
        limit_pages(journal, 0)
        Bench(journal, Counting)
        journal.close()
    assert counts == [1, 2, 3]
    journal = open_journal(tmp_path)
    bench = Bench(journal, Counting)
    assert (counts, journal.unwritten) == ([1, 2, 3, 4], "")
    limit_pages(journal, 0)
    bench.drain("close")
    journal.close()
    Bench(open_journal(tmp_path), Counting).journal.close()
    assert counts == [1, 2, 3, 4, 1]


class Cautious(Desk):
    """Writes a row when it is told that rows are missing, as execution does with its halt."""

    def handle(self, item: Any, now_ns: int) -> Step:
        step = super().handle(item, now_ns)
        if isinstance(item, JournalSpace) and item.unwritten:
            step.rows.append(Entry(now_ns, "", Wrote("open" + "x" * 6_000)))
            self.apply(step.rows[0])
        return step


def test_a_disk_found_full_by_the_rows_about_a_note_leaves_the_core_knowing_that_it_is_full(tmp_path: Path) -> None:
    bench = Bench(open_journal(tmp_path))
    limit_pages(bench.journal, 0)
    bench.drain("close")
    bench.journal.close()
    journal = open_journal(tmp_path)
    limit_pages(journal, 0)
    again = Bench(journal, Cautious)
    assert again.done == ["told memory and missing"]
    assert (again.runner.core.level, again.runner.core.held) == ("memory", 1)
    assert again.drain("open") == ["refused"]
    journal.close()


def test_a_core_that_fails_while_rows_are_in_memory_is_folded_with_them(tmp_path: Path) -> None:
    bench = Bench(open_journal(tmp_path))
    limit_pages(bench.journal, 0)
    bench.drain("close", "close")
    bench.runner.drain([None], 1)
    assert (bench.runner.core.held, bench.runner.core.level) == (-2, "memory")
    assert len(bench.failures) == 1
    bench.journal.close()


def test_a_journal_in_use_is_still_refused_and_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    with pytest.raises(JournalRefused, match="in use"):
        open_journal(tmp_path)
    journal.close()

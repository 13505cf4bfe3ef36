"""Snapshots of a fold: the newest usable one is used, anything else is left, or moved aside and told of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.entries import Binding
from shared.messages.steps import Entry, Step
from shared.quarantine import quarantined
from shared.runner import Runner
from shared.snapshots import Snapshots, fold_name, snapshot_files
from shared.store import SqliteJournal, quarantine

MAIN = Binding(venue="coincall", environment="sim", account_id="main")


class Added(msgspec.Struct, frozen=True, tag="added"):
    number: int


class Sum(msgspec.Struct):
    total: int = 0
    rows: int = 0


class Summing:
    """A core whose state is the sum of its rows; `folded` counts what it was given one by one."""

    def __init__(self) -> None:
        self.sum = Sum()
        self.folded = 0

    def restore(self, state: Sum) -> None:
        self.sum = state

    def apply(self, entry: Entry) -> None:
        self.folded += 1
        self.sum.total += entry.row.number
        self.sum.rows += 1

    def handle(self, item: Any, now_ns: int) -> Step:
        return Step()

    def start(self, now_ns: int) -> Step:
        return Step()

    def next_deadline_ns(self) -> int | None:
        return None


class Place:
    """A journal of sums in a directory, opened and closed at will."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "j.sqlite3"
        self.fold = "one"

    def snapshots(self, binding: Binding = MAIN) -> Snapshots[Sum]:
        return Snapshots(self.path, binding, Sum, self.fold)

    def write(self, *numbers: int) -> None:
        journal = SqliteJournal(self.path, MAIN, Added, snapshots=self.snapshots())
        journal.append([Entry(0, "", Added(number)) for number in numbers])
        journal.close()

    def snapshot(self, snapshots: Snapshots[Sum] | None = None) -> Path:
        """Of all that is written."""
        journal = SqliteJournal(self.path, MAIN, Added, snapshots=self.snapshots())
        core = Runner(Summing, journal, lambda *_: None, _must_not_fail).core
        journal.close()
        return (snapshots or self.snapshots()).write(journal.tail, core.sum)

    def start(self) -> tuple[Summing, Snapshots[Sum]]:
        snapshots = self.snapshots()
        journal = SqliteJournal(self.path, MAIN, Added, snapshots=snapshots)
        core = Runner(Summing, journal, lambda *_: None, _must_not_fail).core
        journal.close()
        return core, snapshots


def _must_not_fail(failure: object) -> None:
    raise AssertionError(failure)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_start_takes_the_newest_snapshot_and_replays_only_what_came_after_it(place: Place) -> None:
    place.write(1, 2, 3)
    place.snapshot()
    place.write(4)
    place.snapshot()
    place.write(5, 6)
    core, snapshots = place.start()
    assert (core.sum, core.folded) == (Sum(21, 6), 2)
    assert snapshots.problems == []


def test_a_snapshot_of_the_last_row_leaves_nothing_to_replay(place: Place) -> None:
    place.write(1, 2, 3)
    place.snapshot()
    assert place.start()[0].folded == 0


def test_no_more_than_two_snapshots_are_kept_and_what_was_half_written_goes(place: Place) -> None:
    for number in range(5):
        place.write(number)
        place.snapshot()
    half = place.path.with_name(f"{place.path.name}.snapshot-000000000009.writing")
    half.write_bytes(b"half")
    assert [file.name[-1] for file in snapshot_files(place.path)] == ["4", "5"]
    assert place.start()[0].folded == 0
    place.write(5)
    place.snapshot()
    assert [file.name[-1] for file in snapshot_files(place.path)] == ["5", "6"]
    assert not half.exists()


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _empty])
def test_a_damaged_snapshot_is_moved_aside_and_told_of_and_the_one_before_it_is_used(
    place: Place, damage: Callable[[Path], None]
) -> None:
    place.write(1, 2, 3)
    place.snapshot()
    place.write(4)
    damage(place.snapshot())
    core, snapshots = place.start()
    assert (core.sum, core.folded) == (Sum(10, 4), 1)
    (problem,) = snapshots.problems
    (kept,) = quarantined(place.path.parent)
    assert "snapshot-000000000004 is not used, it is damaged; it is kept as" in problem
    assert kept.name in problem
    assert place.start()[1].problems == []


def test_a_snapshot_of_another_journal_is_moved_aside_and_every_row_is_replayed(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    other.write(7, 7, 7)
    foreign = other.snapshot()
    place.write(1, 2, 3)
    foreign.rename(place.path.parent / foreign.name)
    core, snapshots = place.start()
    assert (core.sum, core.folded) == (Sum(6, 3), 3)
    assert "it is not of this journal" in snapshots.problems[0]


def test_a_snapshot_of_another_account_is_moved_aside(place: Place) -> None:
    place.write(1, 2, 3)
    place.snapshot(place.snapshots(msgspec.structs.replace(MAIN, account_id="other")))
    core, snapshots = place.start()
    assert core.folded == 3
    assert "it is not of this journal" in snapshots.problems[0]


def test_a_snapshot_of_another_version_is_left_alone_and_every_row_is_replayed(place: Place) -> None:
    place.write(1, 2, 3)
    place.snapshot()
    place.fold = "two"
    core, snapshots = place.start()
    assert (core.sum, core.folded) == (Sum(6, 3), 3)
    assert snapshots.problems == []
    place.fold = "one"
    assert place.start()[0].folded == 0


def test_a_journal_that_ends_before_its_snapshot_says_that_rows_are_missing(place: Place) -> None:
    place.write(1, 2)
    old = place.path.read_bytes()
    place.write(3, 4)
    place.snapshot()
    place.path.write_bytes(old)
    snapshots = place.snapshots()
    journal = SqliteJournal(place.path, MAIN, Added, snapshots=snapshots)
    core = Runner(Summing, journal, lambda *_: None, _must_not_fail).core
    assert core.sum == Sum(3, 2)
    assert journal.unwritten == f"{place.path} ends at row 2 and once had 4"
    journal.close()


def test_a_journal_whose_file_is_gone_says_that_rows_are_missing(place: Place) -> None:
    place.write(1, 2)
    place.path.unlink()
    journal = SqliteJournal(place.path, MAIN, Added)
    assert journal.unwritten == f"{place.path} ends at row 0 and once had 2"
    journal.close()


def test_a_quarantined_journal_takes_its_snapshots_along(place: Place) -> None:
    place.write(1, 2, 3)
    snapshot = place.snapshot()
    moved = quarantine(place.path)
    assert snapshot_files(place.path) == []
    assert moved.with_name(f"{moved.name}.snapshot-000000000003").exists()
    assert not snapshot.exists()
    place.write(9)
    core, snapshots = place.start()
    assert (core.sum, snapshots.problems) == (Sum(9, 1), [])


def test_a_changed_structure_setting_or_line_of_program_is_another_fold(tmp_path: Path) -> None:
    class Wider(msgspec.Struct):
        total: int = 0
        rows: int = 0
        more: int = 0

    program = tmp_path / "fold.py"
    program.write_text("a = 1\n")
    first = fold_name(Sum, Sum(), [tmp_path])
    assert fold_name(Sum, Sum(), [tmp_path]) == first
    assert fold_name(Wider, Sum(), [tmp_path]) != first
    assert fold_name(Sum, Sum(rows=1), [tmp_path]) != first
    program.write_text("a = 2\n")
    assert fold_name(Sum, Sum(), [tmp_path]) != first


def test_a_snapshot_that_cannot_be_written_leaves_the_old_ones(place: Place, tmp_path: Path) -> None:
    place.write(1)
    place.snapshot()
    place.write(2)
    blocked = place.path.with_name(f"{place.path.name}.snapshot-000000000002.writing")
    blocked.mkdir()
    with pytest.raises(OSError, match="directory"):
        place.snapshot()
    assert place.start()[0].folded == 1

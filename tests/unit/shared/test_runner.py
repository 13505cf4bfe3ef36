from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared.messages.steps import Entry, Inbound, ReplyReceived, Request, Step, Tick, Together
from shared.messages.system import GetStatus
from shared.runner import CoreFailed, MemoryJournal, Runner, cause_of


class Summing:
    """Adds numbers up; its durable state is the sum of the rows."""

    def __init__(self) -> None:
        self.total = 0
        self.handled = 0

    def handle(self, item: Any, now_ns: int) -> Step:
        self.handled += 1
        entry = Entry(now_ns, "", item)
        if item == "broken":
            self.total = -1_000
            raise ValueError("cannot add this")
        assert item != "bug"
        self.apply(entry)
        return Step(rows=[entry], effects=[f"added {item}"])

    def apply(self, entry: Entry) -> None:
        self.total += entry.row

    def start(self, now_ns: int) -> Step:
        return Step(effects=[f"started at {self.total}"])

    def next_deadline_ns(self) -> int | None:
        return None


class FullDisk(MemoryJournal):
    def append(self, entries: Sequence[Entry]) -> None:
        raise OSError("no space left")


class Bench:
    def __init__(self, journal: MemoryJournal | None = None) -> None:
        self.journal = journal or MemoryJournal()
        self.done: list[Any] = []
        self.failures: list[CoreFailed] = []
        self.runner = Runner(Summing, self.journal, self._perform, self.failures.append)

    def _perform(self, effect: Any, cause_id: str) -> None:
        self.done.append((effect, len(self.journal.entries)))


def test_all_rows_of_a_batch_are_committed_before_its_first_effect() -> None:
    bench = Bench()
    bench.runner.drain([1, 2], now_ns=5)
    assert bench.done == [("added 1", 2), ("added 2", 2)]


def test_a_new_runner_folds_the_journal_to_the_same_state() -> None:
    bench = Bench()
    bench.runner.drain([1, 2, 3], now_ns=5)
    again = Bench(bench.journal)
    again.runner.start(now_ns=6)
    assert again.runner.core.total == bench.runner.core.total == 6
    assert again.done == [("started at 6", 3)]


def test_an_input_that_fails_is_dropped_and_the_rest_goes_on_from_the_journal() -> None:
    bench = Bench()
    bench.runner.drain([1, "broken", 2], now_ns=5)
    assert bench.runner.core.total == 3
    assert [row.row for row in bench.journal.entries] == [1, 2]
    assert bench.done == [("added 1", 1), ("started at 1", 1), ("added 2", 2)]
    assert [(failure.item, str(failure)) for failure in bench.failures] == [
        ("broken", "str: ValueError: cannot add this")
    ]


def test_a_failed_assertion_is_raised_at_once() -> None:
    bench = Bench()
    with pytest.raises(AssertionError):
        bench.runner.drain([1, "bug"], now_ns=5)


def test_nothing_is_performed_whose_rows_could_not_be_written() -> None:
    bench = Bench(FullDisk())
    with pytest.raises(OSError, match="no space"):
        bench.runner.drain([1], now_ns=5)
    assert bench.done == []


def test_the_cause_of_an_input_is_the_message_that_carried_it() -> None:
    assert cause_of(Inbound("t", GetStatus(), "m1", "risk", 1)) == "m1"
    assert cause_of(ReplyReceived("r1", GetStatus(), "m2")) == "m2"
    assert cause_of(Request("r2", GetStatus(), "cli")) == "r2"
    assert cause_of(Tick()) == ""


class Beginning(Summing):
    """Writes down each start, as execution does with orders whose outcome a restart made unknown."""

    def start(self, now_ns: int) -> Step:
        entry = Entry(now_ns, "", 100)
        self.apply(entry)
        return Step(rows=[entry], effects=["started"])


def test_a_core_whose_start_could_not_be_written_starts_again_before_it_handles_anything() -> None:
    journal = FullDiskFor(appends=2)
    done: list[Any] = []
    runner = Runner(Beginning, journal, lambda effect, cause_id: done.append(effect), lambda failure: None)
    with pytest.raises(OSError, match="no space"):
        runner.start(now_ns=5)
    with pytest.raises(OSError, match="no space"):
        runner.drain([1], now_ns=6)
    assert done == []
    runner.drain([2], now_ns=7)
    assert done == ["started", "added 2"]
    assert runner.core.total == sum(entry.row for entry in journal.entries) == 102


class FullDiskFor(MemoryJournal):
    """A disk that is full for so many appends."""

    def __init__(self, appends: int) -> None:
        super().__init__()
        self._left = appends

    def append(self, entries: Sequence[Entry]) -> None:
        if self._left:
            self._left -= 1
            raise OSError("no space left")
        super().append(entries)


class Gathering(Summing):
    """Takes numbers that arrive together at once."""

    gathers: frozenset[type] = frozenset({int})

    def handle(self, item: Any, now_ns: int) -> Step:
        if not isinstance(item, Together):
            return super().handle(item, now_ns)
        self.handled += 1
        step = Step(effects=[f"added {len(item.items)}"])
        for number in item.items:
            if number < 0:
                raise ValueError("no negative number")
            step.rows.append(Entry(now_ns, "", number))
            self.apply(step.rows[-1])
        return step


def test_neighbours_of_a_kind_that_the_core_gathers_are_handed_over_as_one_in_their_order() -> None:
    bench = Bench()
    bench.runner = Runner(Gathering, bench.journal, bench._perform, bench.failures.append)
    bench.runner.drain([1, 2, 2.5, 3, 4.5, 5, 6], now_ns=5)
    assert [entry.row for entry in bench.journal.entries] == [1, 2, 2.5, 3, 4.5, 5, 6]
    assert [effect for effect, _ in bench.done] == ["added 2", "added 2.5", "added 3", "added 4.5", "added 2"]
    assert bench.runner.core.handled == 5


def test_one_that_fails_takes_none_of_its_neighbours_with_it() -> None:
    class Fussy(Gathering):
        def handle(self, item: Any, now_ns: int) -> Step:
            if item == -1:
                raise ValueError("no negative number")
            return super().handle(item, now_ns)

    bench = Bench()
    bench.runner = Runner(Fussy, bench.journal, bench._perform, bench.failures.append)
    bench.runner.drain([1, -1, 2, 3], now_ns=5)
    assert [entry.row for entry in bench.journal.entries] == [1, 2, 3]
    assert [failure.item for failure in bench.failures] == [-1]

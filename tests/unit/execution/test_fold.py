"""A snapshot of the book and the rows after it give the same book as all rows, wherever it was taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.fold import SOURCES, snapshots_of
from services.execution.rows import Row
from shared.entries import Binding
from shared.messages.steps import Entry
from shared.runner import Runner
from shared.store import SqliteJournal
from tests.unit.execution.play import ACCOUNT, CALL, KEY, Script, leg
from tests.unit.execution.test_journal import ACTS, _Chaos

ROOT = Path(__file__).parents[3]
BINDING = Binding(venue="coincall", environment="sim", account_id=ACCOUNT)


def encoded(book: Book) -> bytes:
    """Every byte of the durable state, the order of its entries included."""
    return msgspec.msgpack.encode(book)


def book_of(script: Script, snapshots_at: list[int]) -> Book:
    """Fold the script's rows, going through a snapshot at each of these rows."""
    book = Book.empty(script.config)
    for number, entry in enumerate(script.entries):
        if number in snapshots_at:
            book = msgspec.msgpack.decode(encoded(book), type=Book)
        book.apply(entry)
    return book


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_wherever_snapshots_are_taken_the_fold_is_the_live_state_to_the_last_byte(data: st.DataObject) -> None:
    chaos = _Chaos(data, honest=False)
    for what in ["open", *data.draw(st.lists(st.sampled_from(ACTS), max_size=40))]:
        chaos.do(what)
    script = chaos.script
    points = data.draw(st.lists(st.integers(0, len(script.entries)), max_size=4))
    folded = book_of(script, points)
    assert folded == script.core.book == script.refolded().book
    assert encoded(folded) == encoded(script.core.book) == encoded(script.refolded().book)


def new_core() -> ExecutionCore:
    return ExecutionCore(ExecutionConfig(), account_id=ACCOUNT, desk_number=7, grant_key=KEY)


def must_not_fail(failure: object) -> None:
    raise AssertionError(failure)


def test_a_core_that_goes_on_from_a_snapshot_does_what_one_that_folded_every_row_does(tmp_path: Path) -> None:
    path = tmp_path / "execution.sqlite3"
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    snapshots = snapshots_of(path, BINDING, ExecutionConfig())
    journal = SqliteJournal(path, BINDING, Row, snapshots=snapshots)
    journal.append(script.entries)
    snapshots.write(journal.tail, script.core.book)
    script.close(trade_id)
    rest: list[Entry] = script.entries[journal.tail.sequence :]
    journal.append(rest)
    runner = Runner(new_core, journal, lambda *_: None, must_not_fail)
    assert rest
    assert snapshots.used is not None
    assert encoded(runner.core.book) == encoded(script.core.book)
    script.restarted()
    step = runner.core.start(script.now_ns)
    assert [type(row.row) for row in step.rows] == [type(row.row) for row in script.entries[-len(step.rows) :]]
    journal.close()


def test_settings_that_decide_what_is_kept_make_another_fold(tmp_path: Path) -> None:
    path = tmp_path / "execution.sqlite3"
    config = ExecutionConfig()
    journal = SqliteJournal(path, BINDING, Row)
    script = Script().started()
    script.opened(leg(CALL, "buy"))
    journal.append(script.entries)
    snapshots_of(path, BINDING, config).write(journal.tail, script.core.book)
    tail = journal.tail
    journal.close()
    longer = msgspec.structs.replace(config, story_lines_max=30)
    assert snapshots_of(path, BINDING, config).newest(lambda _: tail) is not None
    assert snapshots_of(path, BINDING, longer).newest(lambda _: tail) is None


def test_whatever_of_ours_the_book_imports_is_part_of_its_folds_name_and_nothing_else_of_execution() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, services.execution.book\n"
            "print(*(module.__file__ for module in sys.modules.values() if getattr(module, '__file__', None)))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {Path(name) for name in told.stdout.split() if ROOT in Path(name).parents and ".venv" not in name}
    named = {file for source in SOURCES for file in (source.glob("*.py") if source.is_dir() else (source,))}
    assert {file for file in imported if file.name != "__init__.py"} <= named
    execution = ROOT / "services" / "execution"
    assert {file for file in named if file.parent == execution} == {
        file for file in imported if file.parent == execution and file.name != "__init__.py"
    }

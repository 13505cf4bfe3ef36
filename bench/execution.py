"""What execution costs: a decision with its commit, a look at the market, a restart; each beside its floor.

    python -m bench.execution [--json] [--quick] [--directory DIR]

The inputs are those that execution gets in a minute of a desk in `world` that trades, without faults. They are
played to a fresh core on a SQLite journal, one at a time. Floors: a bare SQLite commit of the same bytes (FULL, so
that the disk counts: name a DIR on the disk of interest); decoding the chain; reading and decoding the same rows.
Ours and the floors run alternately; figures are medians over the rounds.
"""

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

from bench.floors import BareCommits
from bench.harness import Run, bench_main
from bench.rows import Row, row
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.rows import Row as JournalRow
from shared.entries import Binding
from shared.messages.market import ChainSnapshot
from shared.messages.steps import Entry, Inbound, Step
from shared.runner import Runner
from shared.store import SqliteJournal
from shared.strategy import StrategyConfig, max_hold_hours, strangle
from world.desk import ACCOUNT_ID, DESK_NUMBER, GRANT_KEY, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS

SECONDS = 60
ROUNDS = 5
OF_THE_WORLD: dict[str, Any] = {"account_id": ACCOUNT_ID, "desk_number": DESK_NUMBER, "grant_key": GRANT_KEY}
Input = tuple[Any, int]


class ListeningCore(ExecutionCore):
    """Execution that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(ExecutionConfig(), **OF_THE_WORLD)
        self.heard: list[Input] = []
        self.started_ns = 0

    def start(self, now_ns: int) -> Step:
        self.started_ns = now_ns
        return super().start(now_ns)

    def handle(self, item: Any, now_ns: int) -> Step:
        self.heard.append((item, now_ns))
        return super().handle(item, now_ns)


class ListeningDesk(Desk):
    def _execution_core(self) -> ExecutionCore:
        return ListeningCore()


def recorded() -> tuple[int, list[Input]]:
    """When execution started, and all that it was told, of a desk with three strategies that open and close."""
    strategies = [
        StrategyConfig(
            name=f"bench{number}",
            legs=strangle("0.1", call_delta=0.1 + number / 20, put_delta=-0.1 - number / 20, side="buy"),
            exit_conditions=[max_hold_hours(10 / 3_600)],
            check_interval_seconds=1,
        )
        for number in range(3)
    ]
    desk = ListeningDesk(Engine(START_NS, 1), Faults.none(), strategies, small_exchange(1))
    desk.engine.run_until(START_NS + SECONDS * SECOND)
    core: ListeningCore = desk.nodes["execution"].core
    return core.started_ns, core.heard


def fresh_core() -> ExecutionCore:
    return ExecutionCore(ExecutionConfig(), **OF_THE_WORLD)


@contextmanager
def journal_in(directory: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(
        directory / "execution.sqlite3", Binding(venue="sim", environment="sim", account_id=ACCOUNT_ID), JournalRow
    )
    try:
        yield journal
    finally:
        journal.close()


class Round:
    """One play of the inputs: mean times in µs of ours and of each floor."""

    def __init__(self, started_ns: int, inputs: Sequence[Input], directory: Path) -> None:
        deciding, looking = [], []
        written: list[list[Entry]] = []
        with journal_in(directory) as journal:
            append = journal.append

            def noted(entries: Sequence[Entry]) -> None:
                written.append(list(entries))
                append(entries)

            journal.append = noted  # type: ignore[method-assign]
            runner = Runner(fresh_core, journal, lambda *_: None, _must_not_fail)
            runner.start(started_ns)
            written.clear()
            for item, now_ns in inputs:
                committed = len(written)
                begin = perf_counter()
                runner.drain((item,), now_ns)
                us = (perf_counter() - begin) * 1e6
                if len(written) > committed:
                    deciding.append(us)
                elif isinstance(item, Inbound) and isinstance(item.message, ChainSnapshot):
                    looking.append(us)
        self.decisions, self.looks = len(deciding), len(looking)
        self.rows = sum(map(len, written))
        self.decide_us, self.look_us = _mean(deciding), _mean(looking)
        self.commit_us = self._bare_commits(written, directory / "bare.sqlite3")
        self.decode_us = _decoding(inputs)
        with journal_in(directory) as journal:
            self.fold_us = _us(lambda: Runner(fresh_core, journal, lambda *_: None, _must_not_fail)) / self.rows

    def _bare_commits(self, written: Sequence[Sequence[Entry]], path: Path) -> float:
        """The same bytes, one transaction per decision; then the floor of a restart, from what they left."""
        encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(JournalRow)
        batches = [[encoder.encode(entry.row) for entry in entries] for entries in written]
        bare = BareCommits(path)
        commits = [_us(lambda batch=batch: bare.commit(batch)) for batch in batches]  # type: ignore[misc]
        self.read_us = _us(lambda: [decoder.decode(row) for row in bare.read()]) / self.rows
        bare.close()
        return _mean(commits)


def _decoding(inputs: Sequence[Input]) -> float:
    chains = [item.message for item, _ in inputs if isinstance(item, Inbound)]
    frames = [msgspec.msgpack.encode(chain) for chain in chains if isinstance(chain, ChainSnapshot)]
    decoder = msgspec.msgpack.Decoder(ChainSnapshot)
    return _us(lambda: [decoder.decode(frame) for frame in frames]) / len(frames)


def _us(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return (perf_counter() - begin) * 1e6


def _mean(times: Sequence[float]) -> float:
    return sum(times) / len(times)


def _must_not_fail(failure: object) -> None:
    raise RuntimeError(failure)


def measure(run: Run) -> list[Row]:
    directory: Path | None = run.arguments.directory
    started_ns, inputs = recorded()
    gc.disable()
    played = []
    for _ in run.rounds(ROUNDS + 1, "execution", quick=2):
        with tempfile.TemporaryDirectory(dir=directory) as fresh:
            played.append(Round(started_ns, inputs, Path(fresh)))
        gc.collect()
    counted = played[1:]

    def figure(name: str, count: int, beside: str, ours: str, floor: str) -> Row:
        value = median(getattr(each, ours) for each in counted)
        beside_value = median(getattr(each, floor) for each in counted)
        return row(f"{name} (mean of {count:,})", value, "µs", beside=beside, beside_value=beside_value)

    one = counted[0]
    return [
        figure("decision and commit", one.decisions, "bare commit of the bytes", "decide_us", "commit_us"),
        figure("look at a new chain", one.looks, "decoding the chain", "look_us", "decode_us"),
        figure("restart, per row", one.rows, "reading and decoding it", "fold_us", "read_us"),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--directory", type=Path, help="where journals are written (default: the temporary directory)"
    )


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure, add_arguments))

"""A restart of execution with a journal of a million rows: from its snapshot, from all rows, and beside the floor.

    python -m bench.journal [--json] [--quick] [--rows N] [--directory DIR]

The rows are what a trading desk in `world` writes in a minute, repeated as other trades over 90 days (some 200 trades
a day). "From the snapshot" opens the file, reads the newest snapshot and replays the rows after it, nearly as many as
there are at most before the next one is due. "From all rows" is what the first start after an upgrade does. The
floors read and decode the same bytes. The process is a real one, without a venue, from its start until it answers
from its book. What a snapshot costs the service is its own CPU time while another process makes one; beside it what
encoding the same book in its loop would take.
"""

import argparse
import asyncio
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, time_ns
from typing import Any, NamedTuple

import msgspec
import uvloop

from bench.harness import Run, bench_main
from bench.long_journal import ended_trades, repeated
from bench.rows import Row, at_most, row
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.fold import snapshots_of
from services.execution.rows import Row as JournalRow
from shared.bus import Bus, NoAnswer
from shared.config import DeskConfig, JournalSection, load_config
from shared.messages.steps import Entry
from shared.messages.trades import ListTrades, TradeList
from shared.ports import resolve_ports
from shared.runner import Runner
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from shared.service.journals import binding_of, journal_path
from shared.snapshots import snapshot_files
from shared.store import SqliteJournal
from shared.strategy import StrategyConfig, max_hold_hours, strangle
from world.desk import ACCOUNT_ID, DESK_NUMBER, GRANT_KEY, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS

ROWS, QUICK_ROWS = 1_000_000, 30_000
DAYS = 90.0
SECONDS = 60
ROUNDS = 5
ROOT = Path(__file__).parents[1]
_BATCH = 5_000
_NOT_DUE_ROWS = 1_000
"""So far is the next snapshot away, lest the processes that are started make one in the middle of the figures."""
_START_LIMIT_S = 120.0
_TICK_S = 0.001
_CONFIG = f"""
[desk]
name = "bench"
number = {DESK_NUMBER}
account_id = "{ACCOUNT_ID}"
venue = "sim"
underlyings = ["BTCUSD"]
run_dir = "{{run_dir}}"
"""


def minute_of_trading() -> list[Entry]:
    strategies = [
        StrategyConfig(
            name=f"bench{number}",
            legs=strangle("0.1", call_delta=0.1 + number / 20, put_delta=-0.1 - number / 20, side="buy"),
            exit_conditions=[max_hold_hours(10 / 3_600)],
            execution_mode="limit",
            check_interval_seconds=1,
        )
        for number in range(3)
    ]
    desk = Desk(Engine(START_NS, 1), Faults.none(), strategies, small_exchange(1))
    desk.engine.run_until(START_NS + SECONDS * SECOND)
    return ended_trades(desk)


class Place:
    """A desk's directory with a long journal and a snapshot near its end."""

    def __init__(self, directory: Path) -> None:
        self.run_dir = directory / "run"
        config = directory / "voldesk.toml"
        config.write_text(_CONFIG.format(run_dir=self.run_dir))
        self.environment = {**os.environ, "VOLDESK_CONFIG": str(config)}
        for name in ("VOLDESK_RUN_DIR", "TRADING_ENVIRONMENT"):
            self.environment.pop(name, None)
        self.desk: DeskConfig = load_config(config, {})
        self.path = journal_path(self.desk, "execution")
        self.run_dir.mkdir(mode=0o700)
        ensure_paper_secrets(self.run_dir)
        ensure_grant_key(self.run_dir)
        resolve_ports(self.run_dir, self.desk.ports)

    def open(self, *, snapshots: bool) -> SqliteJournal:
        kept = snapshots_of(self.path, binding_of(self.desk), ExecutionConfig()) if snapshots else None
        return SqliteJournal(self.path, binding_of(self.desk), JournalRow, "NORMAL", snapshots=kept)

    def fill(self, entries: Sequence[Entry]) -> None:
        with closing(self.open(snapshots=True)) as journal:
            journal.append(entries)

    def fold(self, *, snapshots: bool) -> Book:
        """Open the journal and fold it, as a start does."""
        with closing(self.open(snapshots=snapshots)) as journal:
            return Runner(_core, journal, lambda *_: None, _must_not_fail).core.book

    def floor(self, after: int) -> int:
        """Read and decode the newest snapshot, if rows only `after` some are wanted, and these rows."""
        if after:
            msgspec.msgpack.decode(_body(snapshot_files(self.path)[-1]), type=Book)
        decoder = msgspec.msgpack.Decoder(JournalRow)
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            query = "SELECT row FROM entries WHERE sequence > ? ORDER BY sequence"
            return sum(1 for (row,) in connection.execute(query, (after,)) if decoder.decode(row) is not None)


def _body(snapshot: Path) -> bytes:
    """The state in a snapshot's file: after a line, a length and a head, before the digest."""
    content = snapshot.read_bytes()
    at = content.index(b"\n") + 5
    return content[at + int.from_bytes(content[at - 4 : at], "big") : -32]


def _core() -> ExecutionCore:
    return ExecutionCore(ExecutionConfig(), account_id=ACCOUNT_ID, desk_number=DESK_NUMBER, grant_key=GRANT_KEY)


def _must_not_fail(failure: object) -> None:
    raise RuntimeError(failure)


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begin = perf_counter()
    work()
    return perf_counter() - begin


def compact(place: Place) -> float:
    """Seconds for the process that makes a snapshot."""

    def run() -> None:
        command = [sys.executable, "-m", "services.execution.compact"]
        subprocess.run(command, cwd=ROOT, env=place.environment, check=True, stdout=subprocess.DEVNULL)

    return _seconds(run)


class Cost(NamedTuple):
    """What a loop has of a snapshot that another process makes: its own CPU, and the longest time between two wakes
    of a task that sleeps a millisecond, beside that of a loop that idles for as long."""

    cpu_ms: float
    gap_ms: float
    idle_gap_ms: float


async def cost_of_compaction(place: Place) -> Cost:
    async def process() -> None:
        command = [sys.executable, "-m", "services.execution.compact"]
        made = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=place.environment, stdout=asyncio.subprocess.DEVNULL
        )
        if await made.wait():
            raise RuntimeError("no snapshot was made")

    async def longest_gap(work: Coroutine[Any, Any, None]) -> float:
        longest = 0.0
        task = asyncio.ensure_future(work)
        last = perf_counter()
        while not task.done():
            await asyncio.sleep(_TICK_S)
            now = perf_counter()
            longest, last = max(longest, now - last), now
        await task
        return longest * 1e3

    newest = snapshot_files(place.path)[-1]
    begin_cpu = process_time()
    await process()
    cpu_ms = (process_time() - begin_cpu) * 1e3
    snapshot_files(place.path)[-1].unlink()
    assert newest.exists(), "the snapshot before is needed again"
    begin = perf_counter()
    gap_ms = await longest_gap(process())
    return Cost(cpu_ms, gap_ms, await longest_gap(asyncio.sleep(perf_counter() - begin)))


async def start_process(place: Place) -> float:
    """Seconds from the start of a real execution until it has answered from its book; it is killed after that."""
    # Several starts in a row would count as a service that fails, and be paused.
    shutil.rmtree(place.run_dir / "starts", ignore_errors=True)
    begin = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.execution"),
        cwd=ROOT,
        env=place.environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with Bus.client(place.desk) as bus:
            while perf_counter() - begin < _START_LIMIT_S:
                try:
                    answer = await bus.ask("execution", ListTrades(limit=1, include_final=True), deadline_ms=5_000)
                except NoAnswer:
                    continue
                if not isinstance(answer, TradeList):
                    raise RuntimeError(answer)
                return perf_counter() - begin
        raise RuntimeError(f"execution did not answer within {_START_LIMIT_S:g} s")
    finally:
        process.kill()
        await process.wait()


def measure(run: Run) -> list[Row]:
    count: int = run.arguments.rows or (QUICK_ROWS if run.quick else ROWS)
    after_snapshot = min(JournalSection().snapshot_rows - _NOT_DUE_ROWS, count // 2)
    with tempfile.TemporaryDirectory(dir=run.arguments.directory, prefix="vd-") as directory:
        place = Place(Path(directory))
        # it ends now: what a start tells others of the last days is part of it
        entries = repeated(minute_of_trading(), count, DAYS, time_ns())
        batches = range(0, count - after_snapshot, _BATCH)
        for begin in run.track(batches, "writing the journal"):
            place.fill([next(entries) for _ in range(min(_BATCH, count - after_snapshot - begin))])
        first_s = compact(place)
        place.fill(list(entries))
        return _measured(run, place, count, after_snapshot, first_s)


def _measured(run: Run, place: Place, count: int, after_snapshot: int, first_s: float) -> list[Row]:
    size_bytes = snapshot_files(place.path)[-1].stat().st_size
    whole_s = _seconds(lambda: place.fold(snapshots=False))
    whole_floor_s = _seconds(lambda: place.floor(0))
    ours, floors, started = [], [], []
    for _ in run.rounds(ROUNDS, "restarts"):
        ours.append(_seconds(lambda: place.fold(snapshots=True)))
        floors.append(_seconds(lambda: place.floor(count - after_snapshot)))
        started.append(uvloop.run(start_process(place)))
    book = place.fold(snapshots=True)
    assert book == place.fold(snapshots=False), "the snapshot is not the fold"
    begin_cpu = process_time()
    msgspec.msgpack.encode(book)
    encode_ms = (process_time() - begin_cpu) * 1e3
    cost = uvloop.run(cost_of_compaction(place))
    snapshot_s = median(ours)
    note = (
        f"{len(book.trades):,} trades and {len(book.orders):,} orders are in memory; the snapshot has "
        f"{size_bytes / 1e6:.1f} MB, the journal {place.path.stat().st_size / 1e6:,.0f} MB"
    )
    return [
        row(
            f"fold of {count:,} rows, from the snapshot",
            snapshot_s,
            "s",
            beside="reading and decoding the same",
            beside_value=median(floors),
            target=at_most(2.0),
            note=note,
        ),
        row(
            f"fold of {count:,} rows, from all", whole_s, "s", beside="reading, decoding", beside_value=whole_floor_s
        ),
        row("  the snapshot beside all rows", snapshot_s, "s", beside="fold from all rows", beside_value=whole_s),
        row(
            "execution's process, start to first answer",
            median(started),
            "s",
            beside="its fold",
            beside_value=snapshot_s,
            target=at_most(2.0),
        ),
        row(
            f"a snapshot of {after_snapshot:,} rows, CPU of the service",
            cost.cpu_ms,
            "ms",
            beside="encoding the book in its loop",
            beside_value=encode_ms,
            note=f"longest gap of its loop meanwhile {cost.gap_ms:.1f} ms, of an idle one {cost.idle_gap_ms:.1f} ms; "
            f"the first snapshot of all took the other process {first_s:.1f} s",
        ),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help=f"rows of the journal (default {ROWS:,})")
    parser.add_argument("--directory", type=Path, help="where it is written (default: the temporary directory)")


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure, add_arguments))

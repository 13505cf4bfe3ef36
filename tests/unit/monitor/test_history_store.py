"""The history's file: restarts, damage, a disk that takes nothing, retention. Real SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import structlog

from services.monitor.effects import Observed
from services.monitor.history.config import HistoryConfig
from services.monitor.history.keeping import FILE_ERRORS, History, Waiting, read_series
from services.monitor.history.series import Sample, fold
from services.monitor.history.store import HistoryReader, HistoryStore, history_path, is_damage
from shared.quarantine import quarantined
from tests.unit.monitor.desk import SECOND, START, Script, account, trade

BEGIN = START - START % (900 * SECOND)
DAY = 86_400 * SECOND
CONFIG = HistoryConfig()


def put(store: HistoryStore, *points: tuple[int, float], name: str = "equity_usd") -> None:
    store.write(fold([Sample(at_ns, {name: value}) for at_ns, value in points], CONFIG.levels).items(), ())


def last(path: Path, since_ns: int, until_ns: int, account_id: str = "main") -> list[float | None]:
    reader = HistoryReader(path, account_id)
    found = read_series(reader, CONFIG, "equity_usd", since_ns, until_ns, until_ns)
    return [None if each is None else each.last for each in found]


class Keeper:
    """A history over a monitor's core that the test drives."""

    def __init__(self, folder: Path) -> None:
        self.script = Script()
        self.now_s = 0.0
        self.seen: list[Observed] = []
        self.history = History(
            CONFIG,
            folder,
            "main",
            now_ns=self.now_ns,
            status=lambda: self.script.core.status(self.now_ns()),
            put=self.seen.append,
            log=structlog.get_logger(),
        )

    def now_ns(self) -> int:
        return START + int(self.now_s * SECOND)

    async def look(self, at_s: float) -> None:
        """One round with an account read at that second."""
        self.now_s = at_s
        read = msgspec.structs.replace(account(), received_ns=self.now_ns())
        self.script.hear(read, at_s)
        await self.history.round()


def test_what_is_written_is_there_after_a_restart_and_joined_to_what_comes_then(tmp_path: Path) -> None:
    path = history_path(tmp_path)
    with closing(HistoryStore(path, "main", CONFIG.levels)) as store:
        put(store, (BEGIN, 1.0), (BEGIN + SECOND, 7.0))
    with closing(HistoryStore(path, "main", CONFIG.levels)) as store:
        put(store, (BEGIN + 2 * SECOND, 3.0), (BEGIN + 20 * SECOND, 4.0))
    (first, second) = HistoryReader(path, "main").buckets("equity_usd", CONFIG.levels[0], BEGIN, BEGIN + DAY)
    assert (first.first, first.last, first.low, first.high, first.count) == (1.0, 3.0, 1.0, 7.0, 3)
    assert second.last == 4.0
    assert HistoryReader(path, "main").names() == ["equity_usd"]
    assert HistoryReader(path, "other").names() == [], "an account sees its own"
    assert path.stat().st_mode & 0o077 == 0, "nobody else may read it"


def test_old_buckets_go_level_by_level(tmp_path: Path) -> None:
    path = history_path(tmp_path)
    now_ns = BEGIN + 800 * DAY
    with closing(HistoryStore(path, "main", CONFIG.levels)) as store:
        for days in (0.5, 5, 100, 790):
            put(store, (now_ns - int(days * DAY), days))
        store.prune(now_ns)
    reader = HistoryReader(path, "main")
    kept = [[each.last for each in reader.buckets("equity_usd", level, 0, now_ns)] for level in CONFIG.levels]
    assert kept == [[0.5], [5.0, 0.5], [100.0, 5.0, 0.5]]


def test_a_width_that_is_sampled_no_more_is_not_kept_for_ever(tmp_path: Path) -> None:
    path = history_path(tmp_path)
    with closing(HistoryStore(path, "main", CONFIG.levels)) as store:
        put(store, (BEGIN, 1.0))
    other = HistoryConfig(sample_s=5)
    with closing(HistoryStore(path, "main", other.levels)) as store:
        store.prune(BEGIN + SECOND)
    reader = HistoryReader(path, "main")
    assert reader.buckets("equity_usd", CONFIG.levels[0], BEGIN, BEGIN) == []
    assert len(reader.buckets("equity_usd", CONFIG.levels[1], BEGIN, BEGIN)) == 1


async def test_a_damaged_file_is_set_aside_and_told_of_and_a_new_one_begun(tmp_path: Path) -> None:
    path = history_path(tmp_path)
    path.write_bytes(b"not a database" * 1_000)
    keeper = Keeper(tmp_path)
    await keeper.look(0)
    (told,) = keeper.seen
    assert told.code == "history_damaged"
    (aside,) = [each for each in quarantined(tmp_path) if each.name.startswith("history.sqlite3")]
    assert aside.read_bytes().startswith(b"not a database")
    assert aside.name in told.text
    await keeper.look(10)
    keeper.history.close()
    assert last(path, START - DAY, START + DAY)[-1] == 100_012.5


async def test_damage_that_shows_while_the_monitor_runs_loses_what_was_read_and_not_what_waits(
    tmp_path: Path,
) -> None:
    keeper = Keeper(tmp_path)
    await keeper.look(0)
    path = history_path(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    for number in range(1, 4):
        await keeper.look(number * 10.0)
    assert [each.code for each in keeper.seen] == ["history_damaged"]
    keeper.history.close()
    assert last(path, START, START + DAY)[-1] == 100_012.5


async def test_what_cannot_be_written_waits_is_told_of_once_and_is_written_later(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    await keeper.look(0)
    path = history_path(tmp_path)
    limit_pages(keeper.history, full=True)
    for number in range(1, 400):
        await keeper.look(number * 60.0)
    assert [(each.code, each.is_over) for each in keeper.seen] == [("history_not_written", False)]
    missing = len(last(path, START - DAY, START + DAY))
    limit_pages(keeper.history, full=False)
    await keeper.look(400 * 60.0)
    assert [(each.code, each.is_over) for each in keeper.seen][1:] == [("history_not_written", True)]
    keeper.history.close()
    assert len(last(path, START - DAY, START + DAY)) > missing
    minutes = HistoryReader(path, "main").buckets("equity_usd", CONFIG.levels[1], START, START + DAY)
    assert len(minutes) == 401, "not a minute is missing"


def limit_pages(history: History, *, full: bool) -> None:
    """Let SQLite say that the disk is full, as it does where there is no space: it may have no page more."""
    store = history._store
    assert store is not None
    count = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={count if full else 1 << 30}")


async def test_an_account_that_is_old_or_the_same_is_not_sampled_again(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    await keeper.look(0)
    keeper.now_s = 25.0
    await keeper.history.round()
    keeper.script.hear(msgspec.structs.replace(account(), received_ns=START + SECOND), 40)
    keeper.now_s = 40.0
    await keeper.history.round()
    keeper.history.close()
    assert len(last(history_path(tmp_path), START - DAY, START + DAY)) == 1


async def test_a_trade_is_followed_over_a_restart(tmp_path: Path) -> None:
    for begin_s in (0, 120):
        keeper = Keeper(tmp_path)
        keeper.script.hear(trade("OPEN"), begin_s)
        for number in range(6):
            await keeper.look(begin_s + number * 10.0)
        keeper.history.close()
    points = HistoryReader(history_path(tmp_path), "main").trade("t1")
    assert len(points) == len({each.at_ns // (60 * SECOND) for each in points}) >= 3
    assert points[-1].pnl_usd == 12.5 + 12.5
    assert points[-1].parts.execution_usd == 25.0, "what it was worth when it was first seen, and nothing moved since"
    assert points[-1].delta == pytest.approx(-0.0312)


def test_trades_of_long_ago_keep_the_last_sample_of_each_quarter_of_an_hour(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.history.open()
    store = keeper.history._store
    assert store is not None
    from services.monitor.history.attribution import Follower, unit_marks

    follower = Follower(CONFIG.gap_s)
    marks = unit_marks(account())
    for minute in range(60):
        store.write((), follower.sample([trade("OPEN")], marks, BEGIN + minute * 60 * SECOND))
    reader = HistoryReader(history_path(tmp_path), "main")
    assert len(reader.trade("t1")) == 60
    store.prune(BEGIN + 40 * DAY)
    assert [(each.at_ns - BEGIN) // (60 * SECOND) for each in reader.trade("t1")] == [14, 29, 44, 59]
    store.prune(BEGIN + 800 * DAY)
    assert reader.trade("t1") == []
    keeper.history.close()


def test_memory_has_a_bound_and_the_finest_buckets_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(10, most=300)
    for number in range(1_000):
        waiting.add(fold([Sample(BEGIN + number * 10 * SECOND, {"x": 1.0})], CONFIG.levels), ())
    assert len(waiting.buckets) <= 300
    assert sum(bucket.count for key, bucket in waiting.buckets.items() if key[0] == 900) == 1_000


def test_only_what_moving_the_file_away_would_mend_is_damage() -> None:
    def error_of(work: Callable[[sqlite3.Connection], object]) -> Exception:
        with closing(sqlite3.connect(":memory:")) as db:
            try:
                work(db)
            except FILE_ERRORS as error:
                return error
        raise AssertionError("it worked")

    assert is_damage(error_of(lambda db: db.execute("SELECT * FROM nothing")))
    assert not is_damage(OSError(28, "No space left on device"))

    def fill(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE t (x)")
        db.execute("PRAGMA max_page_count=2")
        db.execute("INSERT INTO t VALUES (zeroblob(100000))")

    assert not is_damage(error_of(fill))

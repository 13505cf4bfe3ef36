"""The history in a SQLite file: buckets of every series, samples of every trade. One writer; readers open it anew.

A file that is damaged is set aside and a new one begun; on a full disk what was sampled waits in memory, joined to
wider and wider buckets, and is written once there is room.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.monitor.history.attribution import PART_FIELDS, Followed, TradePoint, TradeSample
from services.monitor.history.series import Bucket, Key, Level
from shared.ledger.pnl import DAY_NS, Days
from shared.quarantine import free_name, move_journal_aside

_NS = 1_000_000_000
_MINUTE_NS, _QUARTER_NS = 60 * _NS, 900 * _NS
_SUFFIXES = ("-wal", "-shm")
_PARTS = ", ".join(PART_FIELDS)
_TRADE_COLUMNS = f"trade_id, at_ns, pnl_usd, unrealized_usd, fees_usd, delta, gamma, vega, theta, {_PARTS}"
_FUNDING = "funding_usd REAL NOT NULL DEFAULT 0"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS series (number INTEGER PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, "
    "UNIQUE (account, name))",
    "CREATE TABLE IF NOT EXISTS buckets (width_s INTEGER NOT NULL, series INTEGER NOT NULL, start_ns INTEGER NOT "
    "NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL, "
    "low REAL NOT NULL, high REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (width_s, series, start_ns)) "
    "WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS trades (account TEXT NOT NULL, trade_id TEXT NOT NULL, bucket INTEGER NOT NULL, "
    "at_ns INTEGER NOT NULL, pnl_usd REAL NOT NULL, unrealized_usd REAL NOT NULL, fees_usd REAL NOT NULL, "
    f"delta REAL, gamma REAL, vega REAL, theta REAL, {', '.join(f'{name} REAL NOT NULL' for name in PART_FIELDS)}, "
    f"{_FUNDING}, PRIMARY KEY (account, trade_id, bucket)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS trades_by_time ON trades (account, bucket)",
    "CREATE TABLE IF NOT EXISTS followed (account TEXT NOT NULL, trade_id TEXT NOT NULL, at_ns INTEGER NOT NULL, "
    "state BLOB NOT NULL, PRIMARY KEY (account, trade_id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS newest (account TEXT NOT NULL, trade_id TEXT NOT NULL, strategy TEXT NOT NULL, "
    f"at_ns INTEGER NOT NULL, pnl_usd REAL NOT NULL, fees_usd REAL NOT NULL, {_FUNDING}, "
    "PRIMARY KEY (account, trade_id)) WITHOUT ROWID",
)
_NEWEST_OF_BEFORE = (
    "INSERT INTO newest SELECT account, trade_id, '', at_ns, pnl_usd, fees_usd, funding_usd FROM "
    "(SELECT account, trade_id, at_ns, pnl_usd, fees_usd, funding_usd, max(bucket) FROM trades "
    "GROUP BY account, trade_id)"
)
"""A file of a version that did not keep them: what its trades made is known, and not of which strategy they were."""

_NEWEST = (
    "INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET strategy = excluded.strategy, "
    "at_ns = excluded.at_ns, pnl_usd = excluded.pnl_usd, fees_usd = excluded.fees_usd, "
    "funding_usd = excluded.funding_usd WHERE excluded.at_ns >= at_ns"
)
_JOIN = (
    "INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "first = CASE WHEN excluded.first_ns < first_ns THEN excluded.first ELSE first END, "
    "last = CASE WHEN excluded.last_ns >= last_ns THEN excluded.last ELSE last END, "
    "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), "
    "low = min(low, excluded.low), high = max(high, excluded.high), count = count + excluded.count"
)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_FORMAT = 2


def history_path(run_dir: Path) -> Path:
    return run_dir / "history.sqlite3"


def is_damage(error: Exception) -> bool:
    """True for what moving the file away would mend, not for a lock or a full disk."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return code in _DAMAGE or (code == sqlite3.SQLITE_ERROR and isinstance(error, sqlite3.OperationalError))


class Made(NamedTuple):
    """What trades came to, USD: on mark after fees and funding, and what was paid of each."""

    net_usd: float
    fees_usd: float
    funding_usd: float


class HistoryStore:
    """The writer. Raises sqlite3.Error or OSError from every method when the file cannot be used."""

    def __init__(self, path: Path, account_id: str, levels: Sequence[Level]) -> None:
        self._account = account_id
        self._levels = levels
        self._numbers: dict[str, int] = {}
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # written on threads, by one at a time
        self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _FORMAT:
                raise sqlite3.NotSupportedError(f"{path} was written by a newer version of voldesk")
            for statement in _SCHEMA:
                self._db.execute(statement)
            for table in ("trades", "newest"):
                if not _has_funding(self._db, table):
                    # of a version that did not keep it: what was paid until now is told by the next sample
                    self._db.execute(f"ALTER TABLE {table} ADD COLUMN {_FUNDING}")
            if self._db.execute("SELECT NOT EXISTS (SELECT 1 FROM newest)").fetchone()[0]:
                self._db.execute(_NEWEST_OF_BEFORE)
            self._db.execute(f"PRAGMA user_version={_FORMAT}")
            self._numbers = dict(
                self._db.execute("SELECT name, number FROM series WHERE account = ?", (account_id,)).fetchall()
            )
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def write(self, buckets: Iterable[tuple[Key, Bucket]], trades: Iterable[TradeSample]) -> None:
        """All of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            numbers = dict(self._numbers)
            self._db.executemany(_JOIN, [self._row(numbers, key, bucket) for key, bucket in buckets])
            for trade in trades:
                self._write_trade(trade)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._numbers = numbers

    def _row(self, numbers: dict[str, int], key: Key, bucket: Bucket) -> tuple[int | float, ...]:
        width_s, name, start_ns = key
        number = numbers.get(name)
        if number is None:
            cursor = self._db.execute("INSERT INTO series (account, name) VALUES (?, ?)", (self._account, name))
            number = numbers[name] = cursor.lastrowid or 0
        return (width_s, number, start_ns, *msgspec.structs.astuple(bucket)[1:])

    def _write_trade(self, trade: TradeSample) -> None:
        values = (
            self._account,
            trade.trade_id,
            trade.at_ns // _MINUTE_NS,
            trade.at_ns,
            trade.pnl_usd,
            trade.unrealized_usd,
            trade.fees_usd,
            trade.delta,
            trade.gamma,
            trade.vega,
            trade.theta,
            *msgspec.structs.astuple(trade.parts),
            trade.funding_usd,
        )
        self._db.execute(f"INSERT OR REPLACE INTO trades VALUES ({', '.join('?' * len(values))})", values)
        state = msgspec.msgpack.encode(trade.followed)
        row = (self._account, trade.trade_id, trade.at_ns, state)
        self._db.execute("INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?)", row)
        newest = (self._account, trade.trade_id, trade.strategy, trade.at_ns)
        self._db.execute(_NEWEST, (*newest, trade.pnl_usd, trade.fees_usd, trade.funding_usd))

    def made_by_strategy(self) -> dict[str, Made]:
        """What each strategy made by all trades that were ever sampled; "" for those of which nobody knows the
        strategy any more."""
        rows = self._db.execute(
            "SELECT strategy, sum(pnl_usd - fees_usd - funding_usd), sum(fees_usd), sum(funding_usd) "
            "FROM newest WHERE account = ? GROUP BY strategy",
            (self._account,),
        )
        return {strategy: Made(*sums) for strategy, *sums in rows}

    def followed(self, since_ns: int) -> list[Followed]:
        """What was last known of every trade that was sampled since then; older ones are forgotten."""
        self._db.execute("DELETE FROM followed WHERE account = ? AND at_ns < ?", (self._account, since_ns))
        rows = self._db.execute("SELECT state FROM followed WHERE account = ?", (self._account,))
        found = []
        for (state,) in rows:
            try:
                found.append(msgspec.msgpack.decode(state, type=Followed))
            except msgspec.MsgspecError:
                # of another version: the trade is followed anew, and what it made until then is not attributed
                continue
        return found

    def prune(self, now_ns: int) -> None:
        """Let go of buckets past the time of their level; of trades older than the minutes are kept, keep the last
        sample of each quarter of an hour."""
        for level in self._levels:
            before_ns = now_ns - level.kept_s * _NS
            self._db.execute(
                "DELETE FROM buckets WHERE width_s = ? AND start_ns < ? AND series IN "
                "(SELECT number FROM series WHERE account = ?)",
                (level.width_s, before_ns, self._account),
            )
        minutes, quarters = (level.kept_s * _NS for level in self._levels[-2:])
        self._db.execute(
            "DELETE FROM trades WHERE account = ? AND bucket < ?", (self._account, (now_ns - quarters) // _MINUTE_NS)
        )
        per_quarter = _QUARTER_NS // _MINUTE_NS
        self._db.execute(
            "DELETE FROM trades AS each WHERE account = ? AND bucket < ? AND EXISTS (SELECT 1 FROM trades AS later "
            "WHERE later.account = each.account AND later.trade_id = each.trade_id AND later.bucket > each.bucket "
            f"AND later.bucket < (each.bucket / {per_quarter} + 1) * {per_quarter})",
            (self._account, (now_ns - minutes) // _MINUTE_NS),
        )
        widths = tuple(level.width_s for level in self._levels)
        marks = ", ".join("?" * len(widths))
        self._db.execute(f"DELETE FROM buckets WHERE width_s NOT IN ({marks})", widths)


def set_aside(path: Path) -> Path:
    """Move a damaged file and what SQLite keeps beside it away. Raises OSError."""
    target = free_name(path)
    move_journal_aside(path, target, _SUFFIXES)
    return target


class HistoryReader:
    """Reads beside the writer, from any process. Raises sqlite3.Error when the file is missing or cannot be read."""

    def __init__(self, path: Path, account_id: str) -> None:
        self._path = path
        self._account = account_id

    def names(self) -> list[str]:
        """Every series that was ever sampled."""
        with closing(self._open()) as db:
            rows = db.execute("SELECT name FROM series WHERE account = ? ORDER BY name", (self._account,))
            return [name for (name,) in rows]

    def buckets(self, name: str, level: Level, since_ns: int, until_ns: int) -> list[Bucket]:
        """One series at one resolution, oldest first, from the bucket of `since_ns` to that of `until_ns`."""
        with closing(self._open()) as db:
            rows = db.execute(
                "SELECT start_ns, first_ns, last_ns, first, last, low, high, count FROM buckets WHERE width_s = ? "
                "AND series = (SELECT number FROM series WHERE account = ? AND name = ?) AND start_ns >= ? "
                "AND start_ns <= ? ORDER BY start_ns",
                (level.width_s, self._account, name, level.start_ns(since_ns), until_ns),
            )
            return [_bucket(row) for row in rows]

    def trade(self, trade_id: str) -> list[TradePoint]:
        """All samples of one trade, oldest first."""
        with closing(self._open()) as db:
            rows = db.execute(
                f"SELECT {_TRADE_COLUMNS}, {_funding(db)} FROM trades "
                "WHERE account = ? AND trade_id = ? ORDER BY bucket",
                (self._account, trade_id),
            )
            return [_point(row) for row in rows]

    def trades_at(self, at_ns: int, age_max_ns: int | None = None) -> dict[str, TradePoint]:
        """The last sample of every trade up to an instant, by its id; none older than `age_max_ns` then."""
        oldest_ns = 0 if age_max_ns is None else at_ns - age_max_ns
        with closing(self._open()) as db:
            rows = db.execute(
                f"SELECT {_TRADE_COLUMNS}, {_funding(db)}, max(bucket) FROM trades "
                "WHERE account = ? AND bucket >= ? AND bucket <= ? "
                "AND at_ns <= ? AND at_ns >= ? GROUP BY trade_id",
                (self._account, oldest_ns // _MINUTE_NS, at_ns // _MINUTE_NS, at_ns, oldest_ns),
            )
            return {row[0]: _point(row[:-1]) for row in rows}

    def day_ends(self, since_ns: int, until_ns: int, days: Days) -> list[TradePoint]:
        """The last sample of every trade in each trading day, days in order."""
        day = f"(bucket - {days.offset_ns // _MINUTE_NS}) / {DAY_NS // _MINUTE_NS}"
        with closing(self._open()) as db:
            rows = db.execute(
                f"SELECT {_TRADE_COLUMNS}, {_funding(db)}, max(bucket) FROM trades "
                "WHERE account = ? AND bucket >= ? AND at_ns < ? "
                f"GROUP BY trade_id, {day} ORDER BY {day}, trade_id",
                (self._account, since_ns // _MINUTE_NS, until_ns),
            )
            return [_point(row[:-1]) for row in rows]

    def strategies(self, since_ns: int = 0) -> dict[str, str]:
        """The strategy of each trade that was sampled since then, as far as it is known."""
        with closing(self._open()) as db:
            rows = db.execute(
                "SELECT trade_id, strategy FROM newest WHERE account = ? AND at_ns >= ? AND strategy != ''",
                (self._account, since_ns),
            )
            return dict(rows.fetchall())

    def nets(self, since_ns: int, until_ns: int, step_ns: int) -> list[tuple[str, int, float]]:
        """(trade, time, P&L after fees and funding in USD) of the last sample of every trade in each step, times
        in order."""
        step = max(step_ns // _MINUTE_NS, 1)
        with closing(self._open()) as db:
            return db.execute(
                "SELECT trade_id, at_ns, net_usd FROM (SELECT trade_id, at_ns, "
                f"pnl_usd - fees_usd - {_funding(db)} AS net_usd, max(bucket) FROM trades "
                "WHERE account = ? AND bucket >= ? AND at_ns >= ? AND at_ns < ? "
                f"GROUP BY trade_id, bucket / {step}) ORDER BY at_ns, trade_id",
                (self._account, since_ns // _MINUTE_NS, since_ns, until_ns),
            ).fetchall()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=2, isolation_level=None)
        db.execute("PRAGMA query_only=ON")
        return db


def _has_funding(db: sqlite3.Connection, table: str) -> bool:
    return any(row[1] == "funding_usd" for row in db.execute(f"PRAGMA table_info({table})"))


def _funding(db: sqlite3.Connection) -> str:
    """The column, or none was paid: a reader meets files that no writer of this version has opened yet."""
    return "funding_usd" if _has_funding(db, "trades") else "0.0"


def _bucket(row: Sequence[int | float]) -> Bucket:
    names = ("start_ns", "first_ns", "last_ns", "first", "last", "low", "high", "count")
    return msgspec.convert(dict(zip(names, row, strict=True)), Bucket)


def _point(row: Sequence[int | float | str | None]) -> TradePoint:
    names = [*_TRADE_COLUMNS.split(", "), "funding_usd"]
    values = dict(zip(names, row, strict=True))
    parts = {name: values.pop(name) for name in PART_FIELDS}
    return msgspec.convert({**values, "parts": parts}, TradePoint)

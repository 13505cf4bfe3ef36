"""The account's equity over time: one row a minute in a small SQLite file, the last hours finer in memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import deque
from pathlib import Path

import msgspec

from shared.messages.account import AccountSnapshot

_NS = 1_000_000_000
_FINE_NS = 5 * _NS
_FINE_COUNT = 2_880
_MINUTE_NS = 60 * _NS
_DAY_NS = 86_400 * _NS
_KEPT_NS = 400 * _DAY_NS
_WAITING_MAX = 10_000
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS equity (account TEXT NOT NULL, at_ns INTEGER NOT NULL, equity_usd REAL NOT NULL, "
    "initial_margin_usd REAL NOT NULL, maintenance_margin_usd REAL NOT NULL, PRIMARY KEY (account, at_ns)) "
    "WITHOUT ROWID"
)


class EquityPoint(msgspec.Struct, frozen=True):
    """The account at an instant, USD."""

    at_ns: int
    equity_usd: float
    initial_margin_usd: float
    maintenance_margin_usd: float


class EquityHistory:
    """Every 5 s for four hours, every minute for 400 days. Raises nothing for a disk that is full: rows wait."""

    def __init__(self, path: Path, account_id: str) -> None:
        self._path = path
        self._account = account_id
        self._fine: deque[EquityPoint] = deque(maxlen=_FINE_COUNT)
        self._waiting: deque[EquityPoint] = deque(maxlen=_WAITING_MAX)
        self._minute_ns = 0
        self._pruned_ns = 0
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, timeout=0.25, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, account: AccountSnapshot) -> None:
        """Note a snapshot; most are newer than needed and are passed over."""
        at_ns = account.received_ns
        if self._fine and at_ns - self._fine[-1].at_ns < _FINE_NS:
            return
        point = EquityPoint(
            at_ns,
            float(account.equity_usd),
            float(account.initial_margin_usd),
            float(account.maintenance_margin_usd),
        )
        self._fine.append(point)
        if at_ns - self._minute_ns >= _MINUTE_NS:
            self._minute_ns = at_ns
            self._waiting.append(point)
            self._write(at_ns)

    def points(self, since_ns: int, count_max: int = 600) -> tuple[EquityPoint, ...]:
        """From `since_ns` on, oldest first, thinned to about `count_max`."""
        return _points(self._db, self._account, tuple(self._fine), since_ns, count_max)

    async def read_points(self, since_ns: int, count_max: int = 600) -> tuple[EquityPoint, ...]:
        """As `points`, with the file read on a thread: a year of minutes would hold up the loop."""
        fine = tuple(self._fine)

        def read() -> tuple[EquityPoint, ...]:
            with contextlib.closing(sqlite3.connect(self._path, timeout=0.25, isolation_level=None)) as db:
                return _points(db, self._account, fine, since_ns, count_max)

        return await asyncio.to_thread(read)

    def first_of_day(self, now_ns: int) -> EquityPoint | None:
        """The first point since 00:00 UTC; None before there is one."""
        begin_ns = now_ns - now_ns % _DAY_NS
        row = self._db.execute(
            "SELECT at_ns, equity_usd, initial_margin_usd, maintenance_margin_usd FROM equity "
            "WHERE account = ? AND at_ns >= ? ORDER BY at_ns LIMIT 1",
            (self._account, begin_ns),
        ).fetchone()
        if row is not None:
            return EquityPoint(*row)
        return next((point for point in self._fine if point.at_ns >= begin_ns), None)

    def _write(self, now_ns: int) -> None:
        try:
            while self._waiting:
                point = self._waiting[0]
                self._db.execute(
                    "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?)",
                    (self._account, *msgspec.structs.astuple(point)),
                )
                self._waiting.popleft()
            if now_ns - self._pruned_ns > _DAY_NS:
                self._pruned_ns = now_ns
                self._db.execute(
                    "DELETE FROM equity WHERE account = ? AND at_ns < ?", (self._account, now_ns - _KEPT_NS)
                )
        except sqlite3.OperationalError:
            return


def _points(
    db: sqlite3.Connection, account: str, fine: tuple[EquityPoint, ...], since_ns: int, count_max: int
) -> tuple[EquityPoint, ...]:
    """Rows of the file until the first of `fine`, then those."""
    fine_ns = fine[0].at_ns if fine else 2**62
    if fine:
        newest_ns = fine[-1].at_ns
    else:
        newest_ns = db.execute("SELECT max(at_ns) FROM equity WHERE account = ?", (account,)).fetchone()[0] or 0
    span_ns = max(newest_ns - since_ns, 1)
    bucket_ns = max(span_ns // count_max, 1)
    rows = db.execute(
        "SELECT max(at_ns), equity_usd, initial_margin_usd, maintenance_margin_usd FROM equity "
        "WHERE account = ? AND at_ns >= ? AND at_ns < ? GROUP BY at_ns / ? ORDER BY at_ns",
        (account, since_ns, fine_ns, bucket_ns),
    )
    points = [EquityPoint(*row) for row in rows]
    for point in fine:
        if point.at_ns >= since_ns and (not points or point.at_ns // bucket_ns != points[-1].at_ns // bucket_ns):
            points.append(point)
    if fine and points and points[-1] != fine[-1]:
        points[-1] = fine[-1]
    return tuple(points)

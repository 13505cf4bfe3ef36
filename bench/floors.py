"""What a durable decision cannot be cheaper than: a bare SQLite commit of the same bytes, synced to the disk."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path


class BareCommits:
    """One table of blobs in a WAL file with synchronous=FULL; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, row BLOB NOT NULL)")

    def commit(self, rows: Sequence[bytes]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO entries (row) VALUES (?)", [(row,) for row in rows])
        self._connection.execute("COMMIT")

    def read(self) -> list[bytes]:
        return [row for (row,) in self._connection.execute("SELECT row FROM entries ORDER BY sequence")]

    def close(self) -> None:
        self._connection.close()

"""The durable journal: one append-only SQLite file per service and account.

A journal belongs to one venue, environment and account and refuses any other, so that paper fills are never taken
for real ones. A damaged file is refused, never repaired or moved away silently: it is moved aside on request, by
``python -m shared.store quarantine FILE``.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from shared.errors import StartRefused
from shared.messages.steps import Entry

FORMAT_VERSION = 1
_ROWS_PER_FETCH = 1_000
_FOREIGN_LOCK_S = 1.0
"""How long a commit waits for somebody else's lock on the file; the service stands still meanwhile."""

_SCHEMA = """
CREATE TABLE binding (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, cause_id TEXT NOT NULL, row BLOB NOT NULL
);
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'a journal is append-only'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'a journal is append-only'); END;
"""


class JournalRefused(StartRefused):
    """The journal cannot be used: another desk's, in use, damaged, or of an unknown format."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal it is. Written at creation, compared at every opening."""

    venue: str
    environment: str
    account_id: str


class SqliteJournal:
    """Rows of one tagged union of structs, in order. `append` returns when all of them are on disk.

    synchronous FULL survives a power cut; NORMAL only the death of the process. Raises JournalRefused at opening.
    """

    def __init__(
        self, path: Path, binding: Binding, row_types: Any, synchronous: Literal["FULL", "NORMAL"] = "FULL"
    ) -> None:
        self.path = path
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(row_types)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(path)
        try:
            self._connection = sqlite3.connect(path, timeout=_FOREIGN_LOCK_S, isolation_level=None)
            try:
                self._open(binding, synchronous)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.DatabaseError as error:
            os.close(self._lock)
            raise self._damaged(str(error)) from None
        except BaseException:
            os.close(self._lock)
            raise

    def load(self) -> Iterator[Entry]:
        """All entries, oldest first, read as they are asked for. Raises JournalRefused for a row it cannot read."""
        try:
            cursor = self._connection.execute("SELECT sequence, at_ns, cause_id, row FROM entries ORDER BY sequence")
            while rows := cursor.fetchmany(_ROWS_PER_FETCH):
                for sequence, at_ns, cause_id, row in rows:
                    try:
                        yield Entry(at_ns, cause_id, self._decoder.decode(row))
                    except msgspec.MsgspecError as error:
                        raise JournalRefused(
                            f"{self.path}: entry {sequence} cannot be read: {error}",
                            "start the version of voldesk that wrote it, or " + _quarantine_remedy(self.path),
                        ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None

    def append(self, entries: Sequence[Entry]) -> None:
        """Write all entries in one transaction, or none of them."""
        rows = [(entry.at_ns, entry.cause_id, self._encoder.encode(entry.row)) for entry in entries]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT INTO entries (at_ns, cause_id, row) VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def _open(self, binding: Binding, synchronous: str) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={synchronous}")
        self._connection.execute("PRAGMA trusted_schema=OFF")
        wanted = {"format": str(FORMAT_VERSION), **msgspec.to_builtins(binding)}
        tables = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables == 0:
            self._create(wanted)
            return
        (health,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise self._damaged(health)
        found = dict(self._connection.execute("SELECT name, value FROM binding").fetchall())
        for name, value in wanted.items():
            if found.get(name) != value:
                raise JournalRefused(
                    f"{self.path} belongs to {name} {found.get(name)!r}, not {value!r}",
                    "use the configuration it was made with, or another run directory (VOLDESK_RUN_DIR)",
                )

    def _create(self, binding: dict[str, str]) -> None:
        values = list(binding.items())
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in _statements(_SCHEMA):
            self._connection.execute(statement)
        self._connection.executemany("INSERT INTO binding VALUES (?, ?)", values)
        self._connection.execute("COMMIT")
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _damaged(self, detail: str) -> JournalRefused:
        return JournalRefused(f"{self.path} is damaged: {detail}", _quarantine_remedy(self.path))


def quarantine(path: Path) -> Path:
    """Move a journal and its side files aside and return the new path. Raises JournalRefused while it is in use."""
    lock = _lock(path)
    try:
        number = 1
        while (target := path.with_name(f"{path.name}.quarantined-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            source = Path(f"{path}{suffix}")
            if source.exists():
                source.rename(f"{target}{suffix}")
        return target
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """An exclusive lock for as long as the returned descriptor is open."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise JournalRefused(f"{path} is in use by another process", "stop that process first") from None
    return lock


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _quarantine_remedy(path: Path) -> str:
    return f"restore it from a copy, or move it aside with: python -m shared.store quarantine {path}"


def main(arguments: Sequence[str]) -> int:
    """``python -m shared.store quarantine FILE``."""
    if len(arguments) != 2 or arguments[0] != "quarantine":
        print("usage: python -m shared.store quarantine FILE", file=sys.stderr)
        return 2
    path = Path(arguments[1])
    if not path.exists():
        print(f"{path}: no such file", file=sys.stderr)
        return 1
    try:
        print(f"moved to {quarantine(path)}")
    except StartRefused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The durable journal: one append-only SQLite file per service and account.

A journal belongs to one venue, environment and account and refuses any other, so that paper fills are never taken
for real ones. A damaged file is refused, never repaired or moved away silently: it is moved aside on request, by
``python -m shared.store quarantine FILE``.

Beside it lie a reserve, which is freed when the disk is full so that closes can still be written, and a note that
says what could not be written at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from shared.errors import JournalFull, StartRefused
from shared.messages.steps import Entry
from shared.reserve import Note, Reserve

FORMAT_VERSION = 1
_ROWS_PER_FETCH = 1_000
_FOREIGN_LOCK_S = 1.0
"""How long a commit waits for somebody else's lock on the file; the service stands still meanwhile."""

_LOCK_LOOKS, _LOCK_PAUSE_S = 20, 0.01
"""The doctor has the lock for a moment, to see whether a service has it."""
_SIDE_BYTES = 128 * 1024
"""Left to the index of the write-ahead log and to other small files when the reserve is freed."""
_READ_ERRORS = frozenset(
    {
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    }
)

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

    synchronous FULL survives a power cut; NORMAL only the death of the process. reserve_bytes is kept back on the
    disk for the day on which it is full. may_lag: a batch of rows of these types alone is written as with NORMAL, and
    is on disk with the next batch of others: a power cut may take the newest of them. Raises JournalRefused at
    opening, and JournalFull when there is no room even to open.
    """

    def __init__(
        self,
        path: Path,
        binding: Binding,
        row_types: Any,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        reserve_bytes: int = 0,
        may_lag: tuple[type, ...] = (),
    ) -> None:
        self.path = path
        self.synchronous = self._wanted = synchronous
        """How the newest batch was written."""

        self._may_lag = may_lag
        self._reserve = Reserve(Path(f"{path}.reserve"), reserve_bytes)
        self._note = Note(Path(f"{path}.unwritten"))
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(row_types)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise self._full(error) from None
        try:
            try:
                self._connection = self._connect(binding, synchronous)
            except (sqlite3.DatabaseError, OSError) as error:
                if not (_cannot_grow(error) and self._reserve.free()):
                    raise
                self._connection = self._connect(binding, synchronous)
        except (sqlite3.DatabaseError, OSError) as error:
            os.close(self._lock)
            raise (self._full(error) if _cannot_grow(error) else self._damaged(str(error))) from None
        except BaseException:
            os.close(self._lock)
            raise
        # With little room left none is taken: this start would then be the one that fills the disk.
        self._problem = "" if self._reserve.held else self._nothing_kept_back()
        self.check_space()

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
        """Write all entries in one transaction, or none of them. On a full disk the reserve is freed for them; raises
        JournalFull when that does not help."""
        rows = [(entry.at_ns, entry.cause_id, self._encoder.encode(entry.row)) for entry in entries]
        try:
            self._set_synchronous(entries)
            try:
                self._write(rows)
            except sqlite3.DatabaseError as error:
                if not (_cannot_grow(error) and self._spend_reserve()):
                    raise
                self._problem = str(self._full(error))
                self._write(rows)
        except sqlite3.DatabaseError as error:
            if not _cannot_grow(error):
                raise
            self._problem = str(self._full(error))
            raise JournalFull(self._problem) from error

    @property
    def problem(self) -> str:
        """Why the space that was kept back is gone or could not be taken, with the remedy; "" when all is well."""
        return self._problem

    def check_space(self) -> bool:
        """Look at the disk: True when all is well. Less room than the reserve is a problem before it is a failure.

        Space is kept back again once there is twice as much: at the edge it would be taken and freed in turns.
        """
        try:
            disk = os.statvfs(self.path.parent)
        except OSError:
            return not self._problem
        free_bytes = disk.f_bavail * disk.f_frsize
        if not self._problem and free_bytes < self._reserve.size_bytes:
            self._problem = f"only {free_bytes >> 20} MB are left on the disk of {self.path}: free space there"
        elif self._problem and free_bytes >= 2 * self._reserve.size_bytes and self._keep_back():
            self._problem = ""
        return not self._problem

    def _keep_back(self) -> bool:
        if not self._note.put(self._note.read()):
            return False
        with contextlib.suppress(sqlite3.DatabaseError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self._reserve.take()

    @property
    def unwritten(self) -> str:
        """What `note_unwritten` noted, an earlier process included, and nobody took back; "" when all is there."""
        return self._note.read()

    def note_unwritten(self, text: str) -> bool:
        """Say, where the next process finds it, that rows are missing. Needs no space; False when even that fails."""
        return self._note.put(text)

    def forget_unwritten(self) -> bool:
        """Everything is written, or a person was told."""
        return self._note.put("") if self._note.read() else True

    def _spend_reserve(self) -> bool:
        """Free the reserve and give its space to the write-ahead log at once: somebody else fills the disk, too."""
        if not self._reserve.free():
            return False
        with contextlib.suppress(OSError):
            log = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            try:
                # What is past its last valid frame means nothing to SQLite, which writes over it.
                os.posix_fallocate(log, os.fstat(log).st_size, max(self._reserve.size_bytes - _SIDE_BYTES, 1))
            finally:
                os.close(log)
        return True

    def _set_synchronous(self, entries: Sequence[Entry]) -> None:
        """As these rows need it."""
        lags = bool(self._may_lag) and all(isinstance(entry.row, self._may_lag) for entry in entries)
        needed = "NORMAL" if lags else self._wanted
        if needed != self.synchronous:
            self._connection.execute(f"PRAGMA synchronous={needed}")
            self.synchronous = needed

    def _write(self, rows: Sequence[tuple[int, str, bytes]]) -> None:
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

    def _connect(self, binding: Binding, synchronous: str) -> sqlite3.Connection:
        self._note.prepare()
        connection = sqlite3.connect(self.path, timeout=_FOREIGN_LOCK_S, isolation_level=None)
        try:
            self._open(connection, binding, synchronous)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, connection: sqlite3.Connection, binding: Binding, synchronous: str) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA trusted_schema=OFF")
        wanted = {"format": str(FORMAT_VERSION), **msgspec.to_builtins(binding)}
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables == 0:
            self._create(connection, wanted)
            return
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise self._damaged(health)
        found = dict(connection.execute("SELECT name, value FROM binding").fetchall())
        for name, value in wanted.items():
            if found.get(name) != value:
                raise JournalRefused(
                    f"{self.path} belongs to {name} {found.get(name)!r}, not {value!r}",
                    "use the configuration it was made with, or another run directory (VOLDESK_RUN_DIR)",
                )

    def _create(self, connection: sqlite3.Connection, binding: dict[str, str]) -> None:
        values = list(binding.items())
        connection.execute("BEGIN IMMEDIATE")
        for statement in _statements(_SCHEMA):
            connection.execute(statement)
        connection.executemany("INSERT INTO binding VALUES (?, ?)", values)
        connection.execute("COMMIT")
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _full(self, error: Exception) -> JournalFull:
        return JournalFull(
            f"{self.path} cannot be written ({error}): free space on its disk, or make it writable again"
        )

    def _nothing_kept_back(self) -> str:
        return (
            f"the disk has no room to keep {self._reserve.size_bytes >> 20} MB back for {self.path}: free space there"
        )

    def _damaged(self, detail: str) -> JournalRefused:
        return JournalRefused(f"{self.path} is damaged: {detail}", _quarantine_remedy(self.path))


def quarantine(path: Path) -> Path:
    """Move a journal and its side files aside and return the new path. Raises JournalRefused while it is in use."""
    lock = _lock(path)
    try:
        number = 1
        while (target := path.with_name(f"{path.name}.quarantined-{number}")).exists():
            number += 1
        Path(f"{path}.reserve").unlink(missing_ok=True)
        for suffix in ("-wal", "-shm", ".unwritten", ""):
            source = Path(f"{path}{suffix}")
            if source.exists():
                source.rename(f"{target}{suffix}")
        return target
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """An exclusive lock for as long as the returned descriptor is open."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return lock
    os.close(lock)
    raise JournalRefused(f"{path} is in use by another process", "stop that process first")


def _cannot_grow(error: Exception) -> bool:
    """True for an error that says nothing about the file: no space, no quota, read-only, or a failing write."""
    if isinstance(error, OSError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return code not in _READ_ERRORS
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


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

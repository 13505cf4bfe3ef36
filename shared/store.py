"""The durable journal: one append-only SQLite file per service and account.

A journal belongs to one venue, environment and account and refuses any other, so that paper fills are never taken
for real ones. A damaged file is never repaired: it is refused and moved aside on request, by
``python -m shared.store quarantine FILE``, or, where its service can begin from the venue's truth, moved aside at the
start, and the note beside the new one says that rows are missing.

Beside it lie snapshots of its fold, if the service has such; a reserve, which is freed when the disk is full so that
closes can still be written; a note that says what could not be written at all; and how many rows there were.
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

from shared.entries import (
    FORMAT_VERSION,
    READ_FAILED,
    SCHEMA,
    START,
    UPGRADES,
    Binding,
    JournalRefused,
    Tail,
    cannot_grow,
    check_binding,
    check_whole,
    checksum_of,
    damaged,
    is_damage,
    read_entries,
    reading,
    tail_at,
)
from shared.errors import JournalDamaged, JournalFull, StartRefused
from shared.messages.steps import Entry
from shared.quarantine import free_name, move_journal_aside
from shared.reserve import Note, Reserve, RowCount
from shared.snapshots import Snapshots, sequence_of, snapshot_files, sync_directory

_FOREIGN_LOCK_S = 1.0
"""How long a commit waits for somebody else's lock on the file; the service stands still meanwhile."""

_LOCK_LOOKS, _LOCK_PAUSE_S = 20, 0.01
"""The doctor has the lock for a moment, to see whether a service has it."""
_CACHE_KIB = 256
"""SQLite's pages in memory: rows are added at the end and read once, in order. More would only be filled."""

_SIDE_BYTES = 128 * 1024
"""Left to the index of the write-ahead log and to other small files when the reserve is freed."""
_MAGIC, _HEAD_BYTES, _VERSIONS = b"SQLite format 3\0", 20, {1, 2}
_ROWS, _DAMAGED, _NOTE, _RESERVE = ".rows", ".damaged", ".unwritten", ".reserve"
"""What lies beside a journal: how many rows it had, a word that it is damaged, the note, the space kept back."""


class SqliteJournal:
    """Rows of one tagged union of structs, in order. `append` returns when all of them are on disk.

    synchronous FULL survives a power cut; NORMAL only the death of the process. reserve_bytes is kept back on the
    disk for the day on which it is full. may_lag: a batch of rows of these types alone is written as with NORMAL, and
    is on disk with the next batch of others: a power cut may take the newest of them.

    snapshots: of its fold; every row that is read is checked then, and the file is not checked as a whole at opening.
    starts_over: a damaged file is moved aside and a new one begun, whose `unwritten` says so.

    Raises JournalRefused and, unless it starts over, JournalDamaged at opening, and JournalFull when there is no room
    even to open.
    """

    def __init__(
        self,
        path: Path,
        binding: Binding,
        row_types: Any,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        reserve_bytes: int = 0,
        may_lag: tuple[type, ...] = (),
        *,
        snapshots: Snapshots[Any] | None = None,
        starts_over: bool = False,
    ) -> None:
        self.path = path
        self.tail = START
        """The last row that is written."""

        self._binding = binding
        self._snapshots = snapshots
        self._starts_over = starts_over
        self.synchronous = self._wanted = synchronous
        """How the newest batch was written."""

        self._may_lag = may_lag
        self._reserve = Reserve(Path(f"{path}{_RESERVE}"), reserve_bytes)
        self._note = Note(Path(f"{path}{_NOTE}"))
        self._count = RowCount(Path(f"{path}{_ROWS}"))
        self._damage_told = Path(f"{path}{_DAMAGED}")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(row_types)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise self._full(error) from None
        try:
            self._connection = self._opened()
        except BaseException:
            os.close(self._lock)
            raise
        # With little room left none is taken: this start would then be the one that fills the disk.
        self._problem = "" if self._reserve.held else self._nothing_kept_back()
        self.check_space()

    def snapshot(self) -> tuple[int, Any] | None:
        """The newest state that can be had without replaying, and up to which row it goes; None for none."""
        if self._snapshots is None:
            return None
        found = self._snapshots.newest(self._tail_at)
        return None if found is None else (found[0].sequence, found[1])

    def snapshot_taken(self, sequence: int) -> None:
        """Another process has made one up to this row."""
        if self._snapshots is not None:
            self._snapshots.used = Tail(sequence)

    def load(self, after: int = 0) -> Iterator[Entry]:
        """All entries after this one, oldest first, read and checked as they are asked for. Raises JournalDamaged for
        a row that is missing or not as it was written, and JournalRefused for one that this version does not know."""
        begin = self._tail_at(after) if after else START
        if begin is None:
            raise damaged(self.path, f"row {after} is missing")
        last, end = begin, self.tail.sequence
        for tail, entry in read_entries(self._connection, self.path, self._decoder, begin):
            last = tail
            yield entry
        if last.sequence < end:
            raise damaged(self.path, f"row {last.sequence + 1} is missing")

    def _tail_at(self, sequence: int) -> Tail | None:
        with reading(self.path):
            return tail_at(self._connection, sequence)

    def start_over(self, damage: JournalDamaged) -> None:
        """Move this journal aside and begin a new one that knows that rows are missing. Raises `damage` where the
        service cannot do without them."""
        if not self._starts_over:
            raise damage
        self._connection.close()
        self._move_aside(damage)
        self._connection = self._opened()

    def _move_aside(self, damage: JournalDamaged) -> None:
        target = free_name(self.path)
        # First the note, which stays: if this process dies half-way, the next one must not take an empty journal for
        # a new one.
        self._note.write(f"{damage.reason}; it is kept as {target.name}, and what it said is not known")
        self._count.close()
        move_journal_aside(self.path, target, [*_snapshot_suffixes(self.path), "-wal", "-shm", _ROWS])
        self._damage_told.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        self.tail = START

    def append(self, entries: Sequence[Entry]) -> None:
        """Write all entries in one transaction, or none of them. On a full disk the reserve is freed for them; raises
        JournalFull when that does not help."""
        rows, tail = self._encoded(entries)
        try:
            self._set_synchronous(entries)
            try:
                self._write(rows)
            except sqlite3.DatabaseError as error:
                if not (cannot_grow(error) and self._spend_reserve()):
                    raise
                self._problem = str(self._full(error))
                self._write(rows)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._damage_told.write_text(str(error))
            if not cannot_grow(error):
                raise
            self._problem = str(self._full(error))
            raise JournalFull(self._problem) from error
        self.tail = tail
        self._count.write(tail.sequence)

    def _encoded(self, entries: Sequence[Entry]) -> tuple[list[tuple[int, int, str, bytes, int]], Tail]:
        """The rows as they are written, and the last of them."""
        rows: list[tuple[int, int, str, bytes, int]] = []
        encode, sequence, checksum = self._encoder.encode, self.tail.sequence, self.tail.checksum
        for entry in entries:
            row = encode(entry.row)
            sequence += 1
            checksum = checksum_of(sequence, checksum, entry.at_ns, entry.cause_id, row)
            rows.append((sequence, entry.at_ns, entry.cause_id, row, checksum))
        return rows, Tail(sequence, checksum)

    @property
    def rows_since_snapshot(self) -> int:
        """How many rows a restart would replay."""
        used = None if self._snapshots is None else self._snapshots.used
        return self.tail.sequence - (0 if used is None else used.sequence)

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

    def _write(self, rows: Sequence[tuple[int, int, str, bytes, int]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()
        self._count.close()
        os.close(self._lock)

    def _opened(self) -> sqlite3.Connection:
        """The connection; a damaged file is moved aside first, where that is allowed."""
        try:
            return self._with_room()
        except JournalDamaged as damage:
            if not self._starts_over:
                raise
            self._move_aside(damage)
            return self._with_room()

    def _with_room(self) -> sqlite3.Connection:
        """The connection, with the reserve freed where that is needed."""
        try:
            try:
                return self._connect()
            except (sqlite3.DatabaseError, OSError) as error:
                if not (cannot_grow(error) and self._reserve.free()):
                    raise
                return self._connect()
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._full(error) from None

    def _connect(self) -> sqlite3.Connection:
        """Raises JournalDamaged, JournalRefused, and other sqlite3 errors and OSError for what says nothing of the
        file."""
        self._note.prepare()
        connection = sqlite3.connect(self.path, timeout=_FOREIGN_LOCK_S, isolation_level=None)
        try:
            self._open(connection)
        except READ_FAILED as error:
            connection.close()
            if cannot_grow(error):
                raise
            with reading(self.path):
                raise
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self._wanted}")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            self._create(connection)
            self._look_for_the_end()
            return
        with self.path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if not head.startswith(_MAGIC) or not set(head[len(_MAGIC) + 2 :]) <= _VERSIONS:
            # SQLite itself would take such a file for one that may only be read.
            raise damaged(self.path, "its first bytes are not those of a SQLite file")
        if self._snapshots is None:
            (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if health != "ok":
                raise damaged(self.path, health)
        version = check_binding(connection, self.path, self._binding)
        if version in UPGRADES:
            self._upgrade(connection, version)
        if self._damage_told.exists():
            self._look_for_damage(connection)
        self.tail = tail_at(connection) or START
        self._look_for_the_end()

    def _look_for_damage(self, connection: sqlite3.Connection) -> None:
        """A commit met damage: it is there still, or a sound copy was put in the place of the file."""
        try:
            check_whole(connection, self.path, self._decoder)
        except JournalDamaged:
            raise damaged(self.path, self._damage_told.read_text()) from None
        self._damage_told.unlink()

    def _look_for_the_end(self) -> None:
        """Rows are missing in a journal that once had more: an old copy was restored, or the file removed."""
        had = max([self._count.read(), *map(sequence_of, snapshot_files(self.path))])
        if had > self.tail.sequence:
            self._note.write(f"{self.path} ends at row {self.tail.sequence} and once had {had}")
        self._count.write(self.tail.sequence)

    def _upgrade(self, connection: sqlite3.Connection, version: str) -> None:
        connection.execute("BEGIN IMMEDIATE")
        for statement in UPGRADES[version]:
            connection.execute(statement)
        connection.execute("UPDATE binding SET value = ? WHERE name = 'format'", (str(FORMAT_VERSION),))
        connection.execute("COMMIT")

    def _create(self, connection: sqlite3.Connection) -> None:
        values = [("format", str(FORMAT_VERSION)), *msgspec.to_builtins(self._binding).items()]
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.executemany("INSERT INTO binding VALUES (?, ?)", values)
        connection.execute("COMMIT")
        sync_directory(self.path.parent)

    def _full(self, error: Exception) -> JournalFull:
        return JournalFull(
            f"{self.path} cannot be written ({error}): free space on its disk, or make it writable again"
        )

    def _nothing_kept_back(self) -> str:
        return (
            f"the disk has no room to keep {self._reserve.size_bytes >> 20} MB back for {self.path}: free space there"
        )


def quarantine(path: Path) -> Path:
    """Move a journal and what lies beside it aside; its new path. Raises JournalRefused while it is in use."""
    lock = _lock(path)
    try:
        target = free_name(path)
        Path(f"{path}{_RESERVE}").unlink(missing_ok=True)
        Path(f"{path}{_DAMAGED}").unlink(missing_ok=True)
        move_journal_aside(path, target, [*_snapshot_suffixes(path), "-wal", "-shm", _ROWS, _NOTE])
        return target
    finally:
        os.close(lock)


def _snapshot_suffixes(path: Path) -> list[str]:
    return [file.name.removeprefix(path.name) for file in snapshot_files(path)]


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

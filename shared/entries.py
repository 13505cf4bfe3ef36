"""The rows of a journal as they lie in its file: their table, the chain of checksums, and how they are read.

Each row carries a checksum over itself and the checksum before it, so that the one of row N speaks for all rows up to
N: a row that was changed, lost, exchanged or put in is noticed, and so is a snapshot of another journal.
"""

from __future__ import annotations

import shlex
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import JournalDamaged, StartRefused
from shared.messages.steps import Entry

FORMAT_VERSION = 2
_ROWS_PER_FETCH = 1_000
_READ_ERRORS = frozenset(
    {
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    }
)
_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_MISMATCH,
    }
)
"""SQLITE_ERROR is what it says of a table or a column whose name was destroyed."""

SCHEMA = (
    "CREATE TABLE binding (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, cause_id TEXT NOT NULL, "
    "row BLOB NOT NULL, checksum INTEGER)",
    "CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'a journal is append-only'); END",
    "CREATE TRIGGER entries_never_go BEFORE DELETE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'a journal is append-only'); END",
)
UPGRADES = {
    "1": ("ALTER TABLE entries ADD COLUMN checksum INTEGER",),
}
"""What makes a file of an older format one of this; rows of format 1 have no checksum."""


class JournalRefused(StartRefused):
    """The journal cannot be used: another desk's, in use, or of an unknown format."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal it is. Written at creation, compared at every opening."""

    venue: str
    environment: str
    account_id: str


class Tail(msgspec.Struct, frozen=True):
    """Where a journal ends: its last row's number, 0 for none, and checksum, None in a file of format 1."""

    sequence: int = 0
    checksum: int | None = None


START = Tail()


def checksum_of(sequence: int, before: int | None, at_ns: int, cause_id: str, row: bytes) -> int:
    """The checksum of row `sequence`, from that of the row before it."""
    head = f"{sequence} {at_ns} {cause_id} ".encode()
    return zlib.crc32(row, zlib.crc32(head, before or 0))


def tail_at(connection: sqlite3.Connection, sequence: int | None = None) -> Tail | None:
    """The row of this number, by default the last one, as a tail; None when there is no such row."""
    query = "SELECT sequence, checksum FROM entries "
    if sequence is None:
        found = connection.execute(query + "ORDER BY sequence DESC LIMIT 1").fetchone()
    else:
        found = connection.execute(query + "WHERE sequence = ?", (sequence,)).fetchone()
    return Tail(*found) if found else None


def read_entries(
    connection: sqlite3.Connection, path: Path, decoder: msgspec.msgpack.Decoder[Any], after: Tail
) -> Iterator[tuple[Tail, Entry]]:
    """All entries after `after`, each checked, with the tail that it is; oldest first, read as they are asked for.

    Raises JournalDamaged for a row that is missing or not as it was written, and for a file that cannot be read;
    JournalRefused for a sound row of a kind that this version does not know.
    """
    last = after
    with reading(path):
        cursor = connection.execute(
            "SELECT sequence, at_ns, cause_id, row, checksum FROM entries WHERE sequence > ? ORDER BY sequence",
            (after.sequence,),
        )
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            for sequence, at_ns, cause_id, row, checksum in rows:
                if sequence != last.sequence + 1:
                    raise damaged(path, f"row {last.sequence + 1} is missing")
                if not _is_as_written(last, at_ns, cause_id, row, checksum):
                    raise damaged(path, f"row {sequence} is not as it was written")
                last = Tail(sequence, checksum)
                yield last, Entry(at_ns, cause_id, _decoded(row, path, decoder, last))


def check_whole(connection: sqlite3.Connection, path: Path, decoder: msgspec.msgpack.Decoder[Any]) -> None:
    """Read everything, and try a write, which alone meets some damage, leaving nothing of it.

    Raises JournalDamaged, JournalRefused as `read_entries`, and sqlite3.DatabaseError for what says nothing of the
    file.
    """
    last = START
    try:
        (health,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if health != "ok":
            raise damaged(path, health)
        for tail, _ in read_entries(connection, path, decoder, START):
            last = tail
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("INSERT INTO entries VALUES (?, 0, '', x'', 0)", (last.sequence + 1,))
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except READ_FAILED as error:
        if is_damage(error):
            raise damaged(path, str(error)) from None
        raise


def _is_as_written(last: Tail, at_ns: Any, cause_id: Any, row: Any, checksum: Any) -> bool:
    if not (isinstance(at_ns, int) and isinstance(cause_id, str) and isinstance(row, bytes)):
        return False
    if checksum is None:
        return last.checksum is None
    return bool(checksum == checksum_of(last.sequence + 1, last.checksum, at_ns, cause_id, row))


def _decoded(row: bytes, path: Path, decoder: msgspec.msgpack.Decoder[Any], tail: Tail) -> Any:
    try:
        return decoder.decode(row)
    except msgspec.MsgspecError as error:
        raise JournalRefused(
            f"{path}: entry {tail.sequence} cannot be read: {error}",
            f"start the version of voldesk that wrote it, or {quarantine_remedy(path)}",
        ) from None


def check_binding(connection: sqlite3.Connection, path: Path, binding: Binding) -> str:
    """The format of the file. Raises JournalRefused for another venue's, environment's, account's or format's."""
    wanted = msgspec.to_builtins(binding)
    found = dict(connection.execute("SELECT name, value FROM binding").fetchall())
    version = str(found.get("format"))
    if version != str(FORMAT_VERSION) and version not in UPGRADES:
        raise JournalRefused(
            f"{path} belongs to format {version!r}, not {str(FORMAT_VERSION)!r}",
            "start the version of voldesk that wrote it, or use another run directory (VOLDESK_RUN_DIR)",
        )
    for name, value in wanted.items():
        if found.get(name) != value:
            raise JournalRefused(
                f"{path} belongs to {name} {found.get(name)!r}, not {value!r}",
                "use the configuration it was made with, or another run directory (VOLDESK_RUN_DIR)",
            )
    return version


def damaged(path: Path, detail: str) -> JournalDamaged:
    return JournalDamaged(f"{path} is damaged: {detail}", quarantine_remedy(path))


READ_FAILED = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite's module raises when it reads; the second for garbage in a text, its own error texts among them."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what an error of SQLite in the block means. Raises JournalDamaged, and JournalRefused for a lock."""
    try:
        yield
    except READ_FAILED as error:
        if is_damage(error):
            raise damaged(path, str(error)) from None
        remedy = "end the program that has it open, and start again"
        raise JournalRefused(f"{path} cannot be read: {error}", remedy) from None


def is_damage(error: Exception) -> bool:
    """True for an error that speaks of what the file holds, not of who else has it open or of the disk's room."""
    if isinstance(error, UnicodeDecodeError):
        return True
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Said by Python's module, not by SQLite: that a text is garbage, or that the connection is misused.
        return str(error).startswith("Could not decode to UTF-8")
    return code in _READ_ERRORS or code & 0xFF in _DAMAGE


def cannot_grow(error: Exception) -> bool:
    """True for an error that says nothing about the file: no space, no quota, read-only, or a failing write."""
    if isinstance(error, OSError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_IOERR:
        return not is_damage(error)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def quarantine_remedy(path: Path) -> str:
    """What to do about a damaged journal; its command works in any directory and without an activated venv."""
    command = shlex.join((sys.executable, "-m", "shared.store", "quarantine", str(path)))
    return f"restore it from a copy, or move it aside with: {command}"


def is_unmade(path: Path) -> bool:
    """Whether a journal's file has no tables yet: its service is about to make them, and nothing is in it. Raises
    JournalDamaged and JournalRefused."""
    with reading(path):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1, isolation_level=None)
        with closing(connection):
            return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0)


class JournalReader:
    """A journal that others write, read without its lock. Raises JournalDamaged, and JournalRefused for another's."""

    def __init__(self, path: Path, binding: Binding, row_types: Any) -> None:
        self.path = path
        self._decoder = msgspec.msgpack.Decoder(row_types)
        try:
            self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise JournalRefused(
                f"{path} cannot be opened: {error}", "it is made by the service that writes it"
            ) from None
        try:
            with reading(path):
                self._connection.execute("PRAGMA trusted_schema=OFF")
                version = check_binding(self._connection, path, binding)
            if version != str(FORMAT_VERSION):
                raise JournalRefused(
                    f"{path} is of format {version}", "the next start of its service brings it up to date"
                )
        except BaseException:
            self._connection.close()
            raise

    def tail(self, sequence: int | None = None) -> Tail | None:
        """As `tail_at`."""
        with reading(self.path):
            return tail_at(self._connection, sequence)

    def at_ns(self, sequence: int) -> int:
        """When the row of this number was decided. Raises JournalDamaged when there is none."""
        with reading(self.path):
            found = self._connection.execute("SELECT at_ns FROM entries WHERE sequence = ?", (sequence,)).fetchone()
        if found is None:
            raise damaged(self.path, f"row {sequence} is missing")
        return int(found[0])

    def entries(self, after: Tail = START) -> Iterator[tuple[Tail, Entry]]:
        """As `read_entries`."""
        return read_entries(self._connection, self.path, self._decoder, after)

    def close(self) -> None:
        self._connection.close()

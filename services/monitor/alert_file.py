"""The alert file: one JSON object per line, appended, turned over when it is large."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from services.monitor.effects import AlertRecord

_MAX_BYTES = 8 * 1024 * 1024
_WAITING_MAX = 1_000
"""Records kept for a disk that cannot take them."""


class AlertLine(AlertRecord, frozen=True, kw_only=True):
    """A record with what a reader of the file alone must know."""

    mode: str
    account_id: str


class AlertFile:
    """`path`, and beside it the file before it with the suffix `.1`."""

    def __init__(self, path: Path, mode: str, account_id: str, max_bytes: int = _MAX_BYTES) -> None:
        self._path = path
        self._mode = mode
        self._account_id = account_id
        self._max_bytes = max_bytes
        self._waiting: deque[AlertRecord] = deque(maxlen=_WAITING_MAX)

    def append(self, record: AlertRecord) -> None:
        """Add a record. Raises OSError when the file cannot be written; the record is then written with the next."""
        self._waiting.append(record)
        with self._path.open("ab", buffering=0) as file:
            begun = file.tell()
            lines = b"\n" if begun and not self._ends_a_line() else b""
            lines += b"".join(map(self._line, self._waiting))
            try:
                written = file.write(lines)
                if written != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(begun)
                raise
        self._waiting.clear()
        if begun + written > self._max_bytes:
            self._path.replace(self._previous)

    def _line(self, record: AlertRecord) -> bytes:
        line = AlertLine(**msgspec.structs.asdict(record), mode=self._mode, account_id=self._account_id)
        return msgspec.json.encode(line) + b"\n"

    def remembered(self, count: int) -> tuple[AlertRecord, ...]:
        """The newest records of this account and, however old, those of what was still open then; oldest first.

        A line that was cut off by a crash is passed over.
        """
        records = list(self._records())
        older, newest = records[: max(len(records) - count, 0)], records[max(len(records) - count, 0) :]
        open_then: dict[tuple[str, str], list[AlertRecord]] = {}
        for record in older:
            key = (record.code, record.subject)
            if record.resolved:
                open_then.pop(key, None)
            elif not record.is_notice and record.severity != "info":
                open_then.setdefault(key, []).append(record)
        kept = {id(record) for matter in open_then.values() for record in matter}
        return (*(record for record in older if id(record) in kept), *newest)

    def _records(self) -> Iterator[AlertRecord]:
        for path in (self._previous, self._path):
            if path.exists():
                for line in path.read_bytes().splitlines():
                    try:
                        found = msgspec.json.decode(line, type=AlertLine)
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        continue
                    if found.account_id == self._account_id:
                        yield _record(found)

    @property
    def _previous(self) -> Path:
        return self._path.with_name(self._path.name + ".1")

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"


def _record(line: AlertLine) -> AlertRecord:
    fields = msgspec.structs.asdict(line)
    del fields["mode"], fields["account_id"]
    return AlertRecord(**fields)

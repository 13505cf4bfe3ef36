"""Snapshots of a journal's fold, so that a start replays only the rows after the newest one.

A snapshot is a file beside the journal: whose it is, up to which row it goes, the state, and a checksum of all that.
It is a cache: the journal has every row, and without a usable snapshot all of them are replayed. One that is damaged
or belongs to another journal is moved aside and told of; one of another version of the desk is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from shared.entries import Binding, Tail
from shared.quarantine import move_aside

StateT = TypeVar("StateT")

KEPT = 2
"""The newest, and the one before it, should the newest be damaged."""

_MAGIC = b"voldesk snapshot 1\n"
_DIGEST_BYTES = 32
_TEMPORARY = ".writing"


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    binding: Binding
    fold: str
    sequence: int
    checksum: int


class Snapshots(Generic[StateT]):
    """The snapshots beside the journal `path`, whose state is a msgspec struct of `state_type`.

    fold: names what made the state out of rows, see `fold_name`; a snapshot of another fold is never used.
    problems: what was moved aside since the start, to be told to a person.
    """

    def __init__(self, path: Path, binding: Binding, state_type: type[StateT], fold: str) -> None:
        self.problems: list[str] = []
        self.used: Tail | None = None
        """Where the newest usable snapshot ends, None for none."""

        self._path = path
        self._binding = binding
        self._fold = fold
        self._decoder = msgspec.msgpack.Decoder(state_type)

    def newest(self, tail_at: Callable[[int], Tail | None]) -> tuple[Tail, StateT] | None:
        """The newest snapshot of this journal and this fold. `tail_at` tells the journal's own row of a number."""
        self.used = None
        for file in reversed(snapshot_files(self._path)):
            try:
                head, body = _read(file)
            except OSError as error:
                self.problems.append(f"{file.name} is not used: {error.strerror}")
                continue
            except ValueError as error:
                self._quarantine(file, str(error))
                continue
            if head.fold != self._fold:
                continue
            tail = Tail(head.sequence, head.checksum)
            if head.binding != self._binding or tail_at(head.sequence) != tail:
                self._quarantine(file, "it is not of this journal")
                continue
            try:
                state = self._decoder.decode(body)
            except msgspec.MsgspecError as error:
                self._quarantine(file, f"it cannot be read: {error}")
                continue
            self.used = tail
            return tail, state
        return None

    def write(self, tail: Tail, state: StateT) -> Path:
        """Put a snapshot of the state at `tail` beside the journal, on disk when this returns, and remove all but the
        newest two. Raises OSError, and leaves nothing half written under the name of a snapshot."""
        assert tail.checksum is not None, "a row without a checksum cannot be recognised again"
        head = _Head(binding=self._binding, fold=self._fold, sequence=tail.sequence, checksum=tail.checksum)
        content = _framed(head, msgspec.msgpack.encode(state))
        target = self._path.with_name(f"{self._path.name}.snapshot-{tail.sequence:012}")
        temporary = Path(f"{target}{_TEMPORARY}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)
        self._remove_old()
        return target

    def _remove_old(self) -> None:
        for file in snapshot_files(self._path)[:-KEPT]:
            file.unlink(missing_ok=True)
        for half in self._path.parent.glob(f"{self._path.name}.snapshot-*{_TEMPORARY}"):
            half.unlink(missing_ok=True)

    def _quarantine(self, file: Path, why: str) -> None:
        try:
            kept = move_aside(file)
        except OSError as error:
            self.problems.append(f"{file.name} is not used, {why}; it cannot be moved aside: {error.strerror}")
        else:
            self.problems.append(f"{file.name} is not used, {why}; it is kept as {kept.name}")


def snapshot_files(journal: Path) -> list[Path]:
    """The snapshots beside a journal, oldest first."""
    prefix = f"{journal.name}.snapshot-"
    return sorted(file for file in journal.parent.glob(f"{prefix}*") if file.name.removeprefix(prefix).isdecimal())


def sequence_of(file: Path) -> int:
    """Up to which row a snapshot goes, by its name."""
    return int(file.name.rpartition("-")[2])


def fold_name(state_type: type, empty: Any, sources: Sequence[Path]) -> str:
    """A name for a fold: its state's structure, its settings (they are in the empty state), and its program.

    sources: Python files, and directories of such, that make up the fold. A changed line there means a new name, and
    so one full replay after an upgrade, rather than a state that the new program would not have made.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgspec.json.encode(msgspec.json.schema(state_type), order="deterministic"))
    digest.update(msgspec.msgpack.encode(empty))
    for source in sources:
        for file in sorted(source.glob("*.py")) if source.is_dir() else (source,):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def sync_directory(directory: Path) -> None:
    """What was created, renamed or removed in it stays so over a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _framed(head: _Head, body: bytes) -> bytes:
    encoded = msgspec.msgpack.encode(head)
    content = b"".join((_MAGIC, len(encoded).to_bytes(4, "big"), encoded, body))
    return content + hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _read(file: Path) -> tuple[_Head, bytes]:
    """Raises ValueError for what is not a whole snapshot."""
    content = file.read_bytes()
    whole, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if not whole.startswith(_MAGIC) or hashlib.blake2b(whole, digest_size=_DIGEST_BYTES).digest() != digest:
        raise ValueError("it is damaged")
    at = len(_MAGIC) + 4
    end = at + int.from_bytes(whole[len(_MAGIC) : at], "big")
    return msgspec.msgpack.decode(whole[at:end], type=_Head), whole[end:]

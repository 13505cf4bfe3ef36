"""What lies beside a journal: space to go on with on a full disk, a note that needs no space to be written, and how
many rows there were."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_BLOCK_BYTES = 4_096
_COUNT_BYTES = 32


class Reserve:
    """A file of `size_bytes` that holds nothing; 0 keeps nothing back. Freed when the disk is full."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes

    @property
    def held(self) -> bool:
        """Whether all of it is allocated."""
        try:
            return self.path.stat().st_size >= self.size_bytes
        except OSError:
            return self.size_bytes == 0

    def take(self) -> bool:
        """Allocate it, on disk when True is returned; False while the disk has no room, and then it takes none."""
        if self.held:
            return True
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            return False
        return True

    def free(self) -> bool:
        """Give its space back to the disk; False when there was nothing to give."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return self.size_bytes > 0


class Note:
    """A line of text in a block that is allocated beforehand, so that it can be written on a full disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Allocate the block if there is none. Raises OSError."""
        if not self._path.exists():
            self.write("")

    def read(self) -> str:
        """The text, "" where none was written."""
        try:
            return self._path.read_bytes().decode(errors="replace").strip()
        except OSError:
            return ""

    def write(self, text: str) -> None:
        """On disk when it returns. Raises OSError."""
        block = text.encode()[: _BLOCK_BYTES - 1].ljust(_BLOCK_BYTES - 1) + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, block, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def put(self, text: str) -> bool:
        """As `write`, and False where it raises."""
        try:
            self.write(text)
        except OSError:
            return False
        return True


class RowCount:
    """How many rows a journal had, in a file of its own, so that a journal that lost its end is noticed.

    It is not synced: after a power cut it may say less than there were, never more than were committed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def read(self) -> int:
        """0 where nothing, or nothing sensible, was written."""
        try:
            text = self.path.read_bytes()[:_COUNT_BYTES].decode(errors="replace")
        except OSError:
            return 0
        number, _, check = text.strip().partition(" ")
        return int(number) if number.isdecimal() and check == number[::-1] else 0

    def write(self, count: int) -> None:
        """Costs microseconds; what cannot be written is left."""
        digits = f"{count:012}"
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, f"{digits} {digits[::-1]}".ljust(_COUNT_BYTES).encode(), 0)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

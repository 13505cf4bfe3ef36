"""The files of the log: written by several processes, rotated by whoever finds one full, never in anybody's way."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.log_lines import TRACKS, Track

DESK_LOG = "desk.log"
"""All services' lines as text for people."""

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


def track_file(folder: Path, track: str, service: str) -> Path:
    """The JSON lines of one service and track."""
    return folder / track / f"{service}.jsonl"


class RotatingFile:
    """Appends whole lines to a file that other processes may append to and rotate as well.

    A write is one call with O_APPEND: the kernel keeps lines of several writers apart. A file that would pass
    `max_bytes` is renamed to `.1` (and `.1` to `.2` ...), of which `kept` files in all remain. Renaming is done under
    a lock on the file itself that is only tried for: nobody waits for anybody, and who holds it in vain (stopped,
    or slow) makes the file longer and loses nothing. What is written to a file that was renamed meanwhile is in it.
    Who opens a file whose last line has no end, because its writer was killed or is still writing, begins with an
    empty line, which readers pass over.
    """

    def __init__(self, path: Path, max_bytes: int, kept: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._descriptor = -1
        self._inode = (0, 0)
        self._torn = False

    def write(self, data: bytes) -> None:
        """Append `data`, whole lines. Raises OSError; what was left of a line is then ended by the next write."""
        size = self._follow()
        if size and size + len(data) > self._max_bytes and self._rotate():
            self._follow()
        while True:
            self._append(data)
            if os.fstat(self._descriptor).st_nlink:
                return
            # it was removed between the look and the write
            self._follow()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, data: bytes) -> None:
        rest = b"\n" + data if self._torn else data
        while rest:
            written = os.write(self._descriptor, rest)
            self._torn = written < len(rest)
            rest = rest[written:]

    def _follow(self) -> int:
        """Have the file open that has the name now; its size."""
        if self._descriptor >= 0:
            if self._has_the_name():
                return os.fstat(self._descriptor).st_size
            self.close()
        self.path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _FILE_MODE)
        about = os.fstat(self._descriptor)
        self._inode = (about.st_dev, about.st_ino)
        self._torn = about.st_size > 0 and os.pread(self._descriptor, 1, about.st_size - 1) != b"\n"
        return about.st_size

    def _has_the_name(self) -> bool:
        try:
            about = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (about.st_dev, about.st_ino) == self._inode

    def _rotate(self) -> bool:
        """Rename the file; False when somebody else is at it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # the lock is on the file and not on its name: who renamed it before us has let go of it
        if self._has_the_name():
            names = [self.path]
            while names[-1].exists() and len(names) < self._kept:
                names.append(Path(f"{self.path}.{len(names)}"))
            for older, newer in itertools.pairwise(reversed(names)):
                newer.replace(older)
        self.close()
        return True


class LogFiles:
    """The log of one service in `folder`: a file of JSON lines per track, which it alone writes, and the text for
    people, which all services write.

    No failure is passed on: lines that cannot be written are handed to `overflow` and counted in `lost`, and
    `problem` says why as long as it lasts.
    """

    def __init__(self, folder: Path, service: str, max_bytes: int, kept: int) -> None:
        self._tracks = {track: RotatingFile(track_file(folder, track, service), max_bytes, kept) for track in TRACKS}
        self._desk = RotatingFile(folder / DESK_LOG, max_bytes, kept)
        self._lock = threading.RLock()
        self._held: dict[RotatingFile, list[bytes]] | None = None
        self._untold = 0
        self.overflow: Callable[[str], None] = _dropped
        self.lost = 0
        self.problem = ""

    def write(self, track: Track, line: str, text: str) -> None:
        """Write a line and its text."""
        file = self._tracks.get(track, self._tracks["health"])
        with self._lock:
            if self._held is not None:
                self._held.setdefault(file, []).append(_bytes(line))
                self._held.setdefault(self._desk, []).append(_bytes(text))
                return
            self._try(self._desk, _bytes(text), 0)
            self._try(file, _bytes(line), 1)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written meanwhile goes out in one write per file, at the end."""
        with self._lock:
            self._held = {}
            try:
                yield
            finally:
                held, self._held = self._held, None
                for file, lines in held.items():
                    self._try(file, b"".join(lines), 0 if file is self._desk else len(lines))

    def recovered(self) -> int:
        """How many lines were lost until now that it works again; not 0 only once, and not while it does not work."""
        if self.problem or not self._untold:
            return 0
        untold, self._untold = self._untold, 0
        return untold

    def close(self) -> None:
        for file in (*self._tracks.values(), self._desk):
            file.close()

    def _try(self, file: RotatingFile, data: bytes, lines: int) -> None:
        """`lines`: how many would be lost, 0 for text that is elsewhere as lines."""
        try:
            file.write(data)
        except OSError as error:
            self.problem = f"{file.path}: {error.strerror}"
            self.lost += lines
            self._untold += lines
            if lines:
                self.overflow(data.decode(errors="replace").rstrip("\n"))
            return
        if lines:
            self.problem = ""


def _dropped(_lines: str) -> None:
    """Without an overflow, lines that no file takes are only counted."""


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace") + b"\n"

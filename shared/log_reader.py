"""Reads the log of all services as one: newest lines first, or as they are written. For the command line and the
dashboard alike."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.log_files import track_file
from shared.log_lines import TRACKS, LogLine, at_text, parse_line, time_of
from shared.log_query import LogQuery, Matcher

_BLOCK = 1 << 16
_LINE_MAX = 1 << 20
_FILES_MAX = 100
_EMPTY_MAX = 2
_LOOSE_MAX = 10_000
_LATE_ROUNDS = 5
"""For so many reads after it was renamed the end of a begun line is waited for."""


class _Raw(NamedTuple):
    at: str
    service: str
    text: bytes


class Mark(NamedTuple):
    """Where reading stopped in a file; (0, 0) where there was none."""

    inode: int
    offset: int


class Budget:
    """How many bytes may be read; `spent` once there are none left."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit

    @property
    def spent(self) -> bool:
        return self._left is not None and self._left <= 0

    def take(self, count: int) -> None:
        if self._left is not None:
            self._left -= count


def sources(folder: Path, services: Sequence[str], tracks: Sequence[str] = ()) -> list[tuple[str, Path]]:
    """The service and the file of everything that is written: a file per track, and what came out of the process."""
    found = []
    for service in services:
        found += [(service, track_file(folder, track, service)) for track in TRACKS if not tracks or track in tracks]
        found.append((service, folder / f"{service}.log"))
    return found


def newest_lines(
    folder: Path,
    query: LogQuery,
    limit: int | None,
    *,
    bytes_max: int | None = None,
    marks: dict[Path, Mark] | None = None,
) -> list[LogLine]:
    """The newest `limit` lines that match (None: all), newest first, over all services, rotated files too.

    bytes_max: reading ends after so many, the oldest lines are then left out. marks: read only what is before them.
    """
    budget = Budget(bytes_max)
    matcher = Matcher(query)
    if query.subject:
        for line in _naming(folder, query, bytes_max, marks):
            matcher.learn(line)
    found: list[LogLine] = []
    streams = [
        _backwards(service, path, query.since, budget, None if marks is None else marks.get(path, Mark(0, 0)))
        for service, path in sources(folder, query.services, query.tracks)
    ]
    for raw in heapq.merge(*streams, key=lambda raw: raw.at, reverse=True):
        if limit is not None and len(found) >= limit:
            break
        line = parse_line(raw.service, raw.text, raw.at)
        if matcher.takes(line):
            found.append(line)
    return found


def _naming(
    folder: Path, query: LogQuery, bytes_max: int | None, marks: dict[Path, Mark] | None
) -> Iterator[LogLine]:
    """The lines in which the trade or the order is named."""
    budget = Budget(bytes_max)
    wanted = query.subject.encode()
    for service, path in sources(folder, query.services):
        mark = None if marks is None else marks.get(path, Mark(0, 0))
        for raw in _backwards(service, path, "", budget, mark):
            if wanted in raw.text:
                yield parse_line(service, raw.text, raw.at)


def _backwards(service: str, path: Path, since: str, budget: Budget, mark: Mark | None) -> Iterator[_Raw]:
    """The lines of a file and of those that it was before, newest first. A line without a time has that of the line
    before it, and where there is none that of the file."""
    loose: list[bytes] = []
    newest = ""
    with ExitStack() as stack:
        for file, end in _chain(path, stack, mark):
            newest = newest or at_text(os.fstat(file.fileno()).st_mtime_ns)
            for text in _lines_backwards(file, end, budget):
                at = time_of(text)
                if not at and len(loose) < _LOOSE_MAX:
                    loose.append(text)
                    continue
                at = at or newest
                if since and at < since:
                    return
                yield from (_Raw(at, service, each) for each in loose)
                loose.clear()
                yield _Raw(at, service, text)
        yield from (_Raw(newest, service, each) for each in loose)


def _chain(path: Path, stack: ExitStack, mark: Mark | None) -> list[tuple[BinaryIO, int]]:
    """The file and its rotated ones, newest first, opened, each with where to stop. All are opened before any is
    read, and none twice, so that a rotation meanwhile loses and doubles nothing."""
    found: list[tuple[BinaryIO, int]] = []
    seen: set[int] = set()
    for file in _kept(path):
        stack.callback(file.close)
        about = os.fstat(file.fileno())
        if about.st_ino not in seen:
            seen.add(about.st_ino)
            found.append((file, about.st_size))
    if mark is None:
        return found
    inodes = [os.fstat(file.fileno()).st_ino for file, _ in found]
    if mark.inode not in inodes:
        return []
    first = inodes.index(mark.inode)
    return [(found[first][0], mark.offset), *found[first + 1 :]]


def _lines_backwards(file: BinaryIO, end: int, budget: Budget) -> Iterator[bytes]:
    """The lines before `end`, last first, without empty ones; what is longer than a megabyte comes in pieces."""
    rest = b""
    while end > 0 and not budget.spent:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        block = file.read(end - begin) + rest
        budget.take(end - begin)
        end = begin
        rest, *complete = block.split(b"\n")
        if len(rest) > _LINE_MAX:
            complete.insert(0, rest)
            rest = b""
        yield from (line for line in reversed(complete) if line.strip())
    if rest.strip() and end <= 0:
        yield rest


class _Tail:
    """One file as it grows, through its rotations. Renamed files are read on as long as they are kept: a writer that
    was stopped between its look and its write may still add a line."""

    def __init__(self, service: str, path: Path) -> None:
        self.service = service
        self.path = path
        self._open: list[_Growing] = []
        self.mark = Mark(0, 0)
        # in the middle of a rotation the newest is not the one that has the name
        if (file := next(_kept(path), None)) is not None:
            about = os.fstat(file.fileno())
            self.mark = Mark(about.st_ino, about.st_size)
            self._open = [_Growing(file, about.st_ino, about.st_size)]

    def new(self, now: str) -> list[LogLine]:
        self._look_for_newer()
        found: list[LogLine] = []
        for each in self._open:
            for text in each.read(is_newest=each is self._open[-1]):
                at = time_of(text)
                each.at = at or each.at
                found.append(parse_line(self.service, text, at or each.at or now))
        for each in self._open[:-1]:
            if each.is_gone():
                each.file.close()
        self._open = [each for each in self._open if not each.file.closed]
        return found

    def close(self) -> None:
        for each in self._open:
            each.file.close()

    def _look_for_newer(self) -> None:
        """Open what has the name now, and, when we fell behind, what had it since we looked."""
        newest = self._open[-1].inode if self._open else 0
        found: list[_Growing] = []
        for file in _kept(self.path):
            inode = os.fstat(file.fileno()).st_ino
            if inode == newest or inode in (each.inode for each in found):
                file.close()
                if inode == newest:
                    break
                continue
            found.append(_Growing(file, inode, 0))
        self._open += reversed(found)


class _Growing:
    """An open file and how far it was read."""

    def __init__(self, file: BinaryIO, inode: int, offset: int) -> None:
        self.file = file
        self.inode = inode
        self.at = ""
        self._rounds_left = _LATE_ROUNDS
        self._rest = b""
        file.seek(offset)

    def read(self, *, is_newest: bool) -> list[bytes]:
        """The lines that were finished since; of a file that was renamed some time ago also what has no end."""
        if not is_newest:
            self._rounds_left -= 1
        *complete, self._rest = (self._rest + self.file.read()).split(b"\n")
        if len(self._rest) > _LINE_MAX or self._rounds_left <= 0:
            complete.append(self._rest)
            self._rest = b""
        return [line for line in complete if line.strip()]

    def is_gone(self) -> bool:
        """Whether it has been removed."""
        return os.fstat(self.file.fileno()).st_nlink == 0


def _kept(path: Path) -> Iterator[BinaryIO]:
    """The file and its rotated ones, newest first, opened. A rotation under way leaves one number empty at a time."""
    missing = 0
    for number in range(_FILES_MAX):
        if (file := _opened(path if number == 0 else Path(f"{path}.{number}"))) is not None:
            missing = 0
            yield file
        elif (missing := missing + 1) == _EMPTY_MAX:
            return


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except OSError:
        return None


class Follower:
    """The lines that are written from now on and match, in the order of time as far as one can wait for it.

    `past` are the lines before that; each line is in one of both. A line is held back for a moment, as another
    service may still write an earlier one.
    """

    _HOLD_NS = 100_000_000

    def __init__(self, folder: Path, query: LogQuery) -> None:
        self._folder = folder
        self._query = query
        self._matcher = Matcher(query)
        self._tails = [_Tail(service, path) for service, path in sources(folder, query.services, query.tracks)]
        self._held: list[LogLine] = []

    def past(self, limit: int | None) -> list[LogLine]:
        """The newest lines of the past, oldest first."""
        marks = {tail.path: tail.mark for tail in self._tails}
        if self._query.subject:
            for line in _naming(self._folder, self._query, None, marks):
                self._matcher.learn(line)
        return newest_lines(self._folder, self._query, limit, marks=marks)[::-1]

    def new(self, now_ns: int) -> list[LogLine]:
        """What has come since the last call, in the order of time."""
        until = at_text(now_ns - self._HOLD_NS)
        come = [line for tail in self._tails for line in tail.new(until)]
        ready = self._held + [line for line in come if line.at <= until]
        self._held = [line for line in come if line.at > until]
        ready.sort(key=lambda line: line.at)
        for line in ready:
            self._matcher.learn(line)
        return [line for line in ready if self._matcher.takes(line)]

    def close(self) -> None:
        for tail in self._tails:
            tail.close()

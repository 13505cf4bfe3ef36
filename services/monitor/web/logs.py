"""The newest log lines of the services that match a search. Read in a thread, from the ends of the files only."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from pathlib import Path

import msgspec

_TAIL_BYTES = 2 * 1024 * 1024
_WORDS_SHOWN = 40
_LOOK_AGAIN_NS = 3_000_000_000
_QUERIES_KEPT = 16
LEVELS = ("debug", "info", "warning", "error", "critical")


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `at` is ISO-8601 as it was written; `text` holds the fields that are not shown by themselves."""

    service: str
    at: str
    level: str
    event: str
    text: str


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`services` are names of logs, never paths. `search`: words that a line must all hold, in any case of letters;
    they are compared as they are, as no pattern."""

    services: tuple[str, ...]
    search: str = ""
    level: str = "debug"
    limit: int = 200


class RecentLogs:
    """The lines that an open page shows: read again at most every 3 s, and only when a file is not as it was."""

    def __init__(self) -> None:
        self._kept: OrderedDict[LogQuery, tuple[int, _Sizes, list[LogLine]]] = OrderedDict()

    async def lines(self, folder: Path, query: LogQuery, now_ns: int) -> list[LogLine]:
        """As `newest_lines`, up to 3 s old."""
        kept = self._kept.get(query)
        if kept is not None and 0 <= now_ns - kept[0] < _LOOK_AGAIN_NS:
            return kept[2]
        # before the reading: what is written meanwhile is seen the next time
        sizes = _sizes(folder, query)
        if kept is not None and kept[1] == sizes:
            found = kept[2]
        else:
            found = await asyncio.to_thread(newest_lines, folder, query)
        self._kept[query] = (now_ns, sizes, found)
        self._kept.move_to_end(query)
        while len(self._kept) > _QUERIES_KEPT:
            self._kept.popitem(last=False)
        return found


def newest_lines(folder: Path, query: LogQuery) -> list[LogLine]:
    """The newest lines that match, newest first; a log that is not there has none."""
    words = query.search.lower().split()[:_WORDS_SHOWN]
    lowest = LEVELS.index(query.level) if query.level in LEVELS else 0
    found: list[LogLine] = []
    for service in query.services:
        matching: list[LogLine] = []
        for raw in reversed(_tail(folder / f"{service}.log")):
            if not _is_below(raw, lowest) and all(word in raw.lower() for word in words):
                line = _read(service, raw)
                if line.level not in LEVELS or LEVELS.index(line.level) >= lowest:
                    matching.append(line)
                    if len(matching) >= query.limit:
                        break
        found += matching
    return sorted(found, key=lambda line: line.at, reverse=True)[: query.limit]


_Sizes = tuple[tuple[int, int] | None, ...]
"""Size and time of change of each file in the order of the query; None for one that is not there."""


def _sizes(folder: Path, query: LogQuery) -> _Sizes:
    found: list[tuple[int, int] | None] = []
    for service in query.services:
        try:
            about = (folder / f"{service}.log").stat()
        except OSError:
            found.append(None)
        else:
            found.append((about.st_size, about.st_mtime_ns))
    return tuple(found)


def _is_below(raw: str, lowest: int) -> bool:
    """Whether a line is surely of a lower level, seen without reading it as JSON."""
    if any(f'"{level}"' in raw for level in LEVELS[lowest:]):
        return False
    return any(f'"level": "{level}"' in raw or f'"level":"{level}"' in raw for level in LEVELS[:lowest])


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in (lines[1:] if size > _TAIL_BYTES else lines) if line.strip()]


def _read(service: str, raw: str) -> LogLine:
    try:
        fields = json.loads(raw)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return LogLine(service=service, at="", level="", event=raw[:2_000], text="")
    at, level, event = (str(fields.pop(name, "")) for name in ("at", "level", "event"))
    for known in ("service", "mode", "account"):
        fields.pop(known, None)
    text = " ".join(f"{name}={value}" for name, value in fields.items())
    return LogLine(service=service, at=at, level=level, event=event, text=text[:4_000])

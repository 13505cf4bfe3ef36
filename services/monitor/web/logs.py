"""The newest lines of the log that match a search, for pages and the JSON API. Read in a thread, newest first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

import msgspec

from shared.log_lines import LogLine, fields_text
from shared.log_query import LogQuery
from shared.log_reader import newest_lines, sources

_BYTES_MAX = 32 * 1024 * 1024
_LOOK_AGAIN_NS = 3_000_000_000
_QUERIES_KEPT = 16


class ShownLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `at` is ISO-8601 as it was written; `text` holds the fields that are not shown by themselves."""

    service: str
    at: str
    track: str
    level: str
    event: str
    trade_id: str
    text: str


class RecentLogs:
    """The lines that an open page shows: read again at most every 3 s, and only when a file is not as it was."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[LogQuery, int], tuple[int, _Sizes, list[ShownLine]]] = OrderedDict()

    async def lines(self, folder: Path, query: LogQuery, limit: int, now_ns: int) -> list[ShownLine]:
        """As `shown_lines`, up to 3 s old."""
        key = (query, limit)
        kept = self._kept.get(key)
        if kept is not None and 0 <= now_ns - kept[0] < _LOOK_AGAIN_NS:
            return kept[2]
        # before the reading: what is written meanwhile is seen the next time
        sizes = _sizes(folder, query)
        if kept is not None and kept[1] == sizes:
            found = kept[2]
        else:
            found = await asyncio.to_thread(shown_lines, folder, query, limit)
        self._kept[key] = (now_ns, sizes, found)
        self._kept.move_to_end(key)
        while len(self._kept) > _QUERIES_KEPT:
            self._kept.popitem(last=False)
        return found


def shown_lines(folder: Path, query: LogQuery, limit: int) -> list[ShownLine]:
    """The newest lines that match, newest first, of the newest 32 MB; a log that is not there has none."""
    return [_shown(line) for line in newest_lines(folder, query, limit, bytes_max=_BYTES_MAX)]


_Sizes = tuple[tuple[int, int] | None, ...]
"""Size and time of change of each file in the order of the query; None for one that is not there."""


def _sizes(folder: Path, query: LogQuery) -> _Sizes:
    found: list[tuple[int, int] | None] = []
    for _, path in sources(folder, query.services):
        try:
            about = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((about.st_size, about.st_mtime_ns))
    return tuple(found)


def _shown(line: LogLine) -> ShownLine:
    fields = {name: value for name, value in line.fields.items() if name != "trade_id"}
    text = fields_text(fields)
    if exception := line.fields.get("exception"):
        text = f"{text} {exception}".strip()
    return ShownLine(
        service=line.service,
        at=line.at,
        track=line.track,
        level=line.level,
        event=line.event[:2_000],
        trade_id=str(line.fields.get("trade_id", "")),
        text=text[:4_000],
    )

"""The newest log lines of the services that match a search. Read in a thread, from the ends of the files only."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

_TAIL_BYTES = 2 * 1024 * 1024
_WORDS_SHOWN = 40
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


def newest_lines(folder: Path, query: LogQuery) -> list[LogLine]:
    """The newest lines that match, newest first; a log that is not there has none."""
    words = query.search.lower().split()[:_WORDS_SHOWN]
    lowest = LEVELS.index(query.level) if query.level in LEVELS else 0
    found: list[LogLine] = []
    for service in query.services:
        matching: list[LogLine] = []
        for raw in reversed(_tail(folder / f"{service}.log")):
            if all(word in raw.lower() for word in words):
                line = _read(service, raw)
                if line.level not in LEVELS or LEVELS.index(line.level) >= lowest:
                    matching.append(line)
                    if len(matching) >= query.limit:
                        break
        found += matching
    return sorted(found, key=lambda line: line.at, reverse=True)[: query.limit]


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

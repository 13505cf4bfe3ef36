"""Lines of the log: the three tracks, one line as JSON and as text for people, and what a core's decisions become."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec

Track = Literal["health", "strategy", "execution"]
TRACKS: tuple[Track, ...] = get_args(Track)
"""health: is it well, is it connected. strategy: why it acted or did not. execution: intents, grants, orders, fills,
halts."""

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = get_args(Level)
RANK: dict[str, int] = {level: rank for rank, level in enumerate(LEVELS)}

_FIRST = ("at", "level", "service", "track", "event")
IN_EVERY_LINE = frozenset({*_FIRST, "mode", "account"})
"""Fields that say where a line is from: nothing else may have their names."""

_NOT_REPEATED = IN_EVERY_LINE | {"exception"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AT = re.compile(rb'"at": ?"([^"\\]{4,40})"')
_NEEDS_QUOTES = re.compile(r"[\s\"=]|^$")


class Told(msgspec.Struct, frozen=True):
    """One line that a row or an effect of a core becomes. Fields that are None are left out of it."""

    track: Track
    event: str
    fields: Mapping[str, object]
    level: Level = "info"


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line as it was read. Of a line that is no JSON object `event` is the line and `level` and `track` are "".

    at: ISO-8601 in UTC as it was written; of a line without one that of the line before it in its file.
    """

    service: str
    at: str
    track: str
    level: str
    event: str
    fields: dict[str, Any]
    raw: str


def at_text(now_ns: int) -> str:
    """An instant as it stands in the lines: ISO-8601 in UTC with microseconds, so that the order of the texts is that
    of time."""
    at = _EPOCH + timedelta(microseconds=now_ns // 1_000)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


def encode_line(fields: Mapping[str, Any]) -> str:
    """The line as one JSON object, `at` first; a Decimal as text, what JSON does not have as its repr.
    Never raises."""
    ordered = {name: fields[name] for name in _FIRST if name in fields}
    ordered |= {str(name): value for name, value in fields.items() if name not in _FIRST}
    try:
        return json.dumps(ordered, default=_other, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return json.dumps({name: _plain(value) for name, value in ordered.items()}, default=_other)


def time_of(raw: bytes) -> str:
    """When a line was written, "" where it does not say so. Does not read it as JSON."""
    found = _AT.search(raw, 0, 400)
    return found[1].decode(errors="replace") if found is not None else ""


def parse_line(service: str, raw: bytes, at: str = "") -> LogLine:
    """A line of the log of `service`; `at` for one that has no time of its own."""
    text = raw.decode(errors="replace")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return LogLine(service=service, at=at, track="", level="", event=text, fields={}, raw=text)
    return LogLine(
        service=service,
        at=str(fields.get("at", "")) or at,
        track=str(fields.get("track", "")),
        level=str(fields.get("level", "")),
        event=str(fields.get("event", "")),
        fields=fields,
        raw=text,
    )


def fields_text(fields: Mapping[str, Any]) -> str:
    """What a line says beside what every line has, as name=value, without the traceback."""
    return " ".join(
        f"{shown(str(name))}={_value_text(value)}" for name, value in fields.items() if name not in _NOT_REPEATED
    )


def line_text(at: str, level: str, service: str, fields: Mapping[str, Any]) -> str:
    """A line for people: time, level, service, event, its fields, and a traceback on lines of its own."""
    rest = fields_text(fields)
    event = shown(str(fields.get("event", "")))
    text = f"{at[:23].replace('T', ' '):<23} {level:<8} {service:<10} {event}{'  ' if rest else ''}{rest}"
    if exception := fields.get("exception"):
        text += "".join(f"\n  {shown(line)}" for line in str(exception).splitlines())
    return text


def shown(text: str) -> str:
    """A text that can do nothing to a terminal: what is not printable is written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _value_text(value: object) -> str:
    text = str(value) if isinstance(value, str | Decimal) else json.dumps(value, default=_other)
    if isinstance(value, str) and _NEEDS_QUOTES.search(value):
        text = json.dumps(value, ensure_ascii=False)
    return shown(text)


def _other(value: object) -> str:
    """What JSON has no form for."""
    return str(value) if isinstance(value, Decimal) else repr(value)


def _plain(value: object) -> object:
    """The value if JSON has it, else its repr."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return _other(value)
    return value

"""Log lines: JSON for machines, text for people, on standard output; secrets never in them."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import Any, Literal

import structlog

HIDDEN = "***"
_HIDDEN_KEYS = frozenset({"secret", "api_secret", "password", "token", "signature", "sign", "authorization"})
_MIN_SECRET_LENGTH = 6
_REPEAT_S = 600.0
_TEXTS_REMEMBERED = 1_000


class Redactor:
    """Takes registered secrets out of finished lines, wherever in them they are, tracebacks included."""

    def __init__(self) -> None:
        self._forms: set[str] = set()

    def add(self, secret: str | bytes) -> None:
        """Never let this value be written. Values shorter than 6 characters would blank out ordinary text."""
        text = secret.decode(errors="replace") if isinstance(secret, bytes) else secret
        if len(text) >= _MIN_SECRET_LENGTH:
            self._forms |= {text, json.dumps(text)[1:-1], repr(text)[1:-1]}

    def clean(self, line: str) -> str:
        for form in self._forms:
            line = line.replace(form, HIDDEN)
        return line


redactor = Redactor()
"""The process's one; secrets are registered where they are read."""


class _Lines:
    """Writes lines to standard output; a reader that has gone away must not take the service with it."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(redactor.clean(line) + "\n")
            sys.stdout.flush()

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg


class _ToStructlog(logging.Handler):
    """Passes what libraries log on to our lines: the same text at most once in ten minutes, then with how many more
    there were, so that a client that repeats a mistake does not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            return
        key = (record.name, str(record.msg), record.exc_info[0] if record.exc_info else None)
        told_at, more = self._told.get(key, (0.0, 0))
        if record.created - told_at < _REPEAT_S:
            self._told[key] = (told_at, more + 1)
            return
        if len(self._told) >= _TEXTS_REMEMBERED:
            self._told.clear()
        self._told[key] = (record.created, 0)
        repeats = {"repeated": more} if more else {}
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info, **repeats
        )


def hide_secret_fields(_logger: Any, _method: str, event: Any) -> Any:
    """A structlog processor: blanks fields whose name says that they hold a secret."""
    for key in event:
        if key.lower() in _HIDDEN_KEYS:
            event[key] = HIDDEN
    return event


def setup_logging(level: str, form: Literal["auto", "json", "text"], **fields: Any) -> Any:
    """Configure the process and return its logger. `fields` (service, mode, account) are in every line."""

    def add_fields(_logger: Any, _method: str, event: Any) -> Any:
        return {**fields, **event}

    people = form == "text" or (form == "auto" and sys.stdout.isatty())
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    )
    structlog.configure(
        processors=[
            add_fields,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            hide_secret_fields,
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(logging.WARNING)
    return structlog.get_logger()

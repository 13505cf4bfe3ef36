"""Log lines: JSON for machines, text for people, to files or standard output; secrets never in them."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import quote, quote_plus

from shared.clock import wall_ns
from shared.log_files import LogFiles
from shared.log_lines import at_text, encode_line, line_text

if "rich" in sys.modules:
    import structlog
else:
    # Its console renderer draws tracebacks with rich where there is one. Ours are lines, and rich is some 40 ms.
    sys.modules["rich"] = None  # type: ignore[assignment]  # what `import` takes for a module that is not there
    try:
        import structlog
    finally:
        del sys.modules["rich"]

bound_contextvars = structlog.contextvars.bound_contextvars
get_logger = structlog.get_logger

HIDDEN = "***"
_HIDDEN_KEYS = frozenset({"secret", "api_secret", "password", "token", "signature", "sign", "authorization"})
_HIDDEN_IN_URLS = re.compile(
    r"(?i)([?&](?:api_?key|api_?secret|secret|token|access_token|password|signature|sign)=)[^&\s\"'\\<>]+"
)
_MIN_SECRET_LENGTH = 6
_REPEAT_S = 600.0
_TEXTS_REMEMBERED = 1_000


class Redactor:
    """Takes registered secrets out of finished lines, wherever in them they are, tracebacks and addresses included;
    and from addresses what a parameter's name says is a secret."""

    def __init__(self) -> None:
        self._forms: set[str] = set()

    def add(self, secret: str | bytes) -> None:
        """Never let this value be written. Values shorter than 6 characters would blank out ordinary text."""
        text = secret.decode(errors="replace") if isinstance(secret, bytes) else secret
        if len(text) >= _MIN_SECRET_LENGTH:
            as_written = {text, quote(text, safe=""), quote_plus(text)}
            self._forms |= {form for each in as_written for form in (each, json.dumps(each)[1:-1], repr(each)[1:-1])}

    def clean(self, line: str) -> str:
        for form in self._forms:
            line = line.replace(form, HIDDEN)
        return _HIDDEN_IN_URLS.sub(rf"\1{HIDDEN}", line) if "=" in line else line


redactor = Redactor()
"""The process's one; secrets are registered where they are read."""


class LogOutput:
    """Writes finished lines: to `files` when there are some, else to standard output. No failure is passed on: a
    reader that has gone away, or a disk that is full, must not take the service with it.

    What is `deferred` is written before the next line, or when `flush` is called: so a line that can wait does not
    hold up an order, and none overtakes it.
    """

    def __init__(self) -> None:
        self.files: LogFiles | None = None
        self.as_text = False
        self._deferred: list[Callable[[], None]] = []
        self._thread = threading.get_ident()

    def defer(self, tell: Callable[[], None]) -> None:
        """Have `tell` write its lines later, on this thread."""
        self._deferred.append(tell)

    def flush(self) -> None:
        """Write what was deferred, in one go."""
        deferred, self._deferred = self._deferred, []
        if not deferred:
            return
        with contextlib.ExitStack() as stack:
            if self.files is not None:
                stack.enter_context(self.files.together())
            for tell in deferred:
                tell()

    def msg(self, fields: dict[str, Any]) -> None:
        if self._deferred and threading.get_ident() == self._thread:
            self.flush()
        self._write(fields)
        if self.files is not None and (lost := self.files.recovered()):
            kept: dict[str, Any] = {
                name: fields[name] for name in ("at", "service", "mode", "account") if name in fields
            }
            self._write({**kept, "level": "error", "track": "health", "event": "log lines were lost", "lines": lost})

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg

    def _write(self, fields: dict[str, Any]) -> None:
        line = redactor.clean(encode_line(fields))
        files = self.files
        if files is None:
            self.print(self._text(fields) if self.as_text else line)
        else:
            files.write(fields.get("track", "health"), line, self._text(fields))

    def _text(self, fields: dict[str, Any]) -> str:
        at, level, service = (str(fields.get(name, "")) for name in ("at", "level", "service"))
        return redactor.clean(line_text(at, level, service, fields))

    def print(self, text: str) -> None:
        """To standard output, whatever becomes of it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


output = LogOutput()
"""The process's one."""


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
    """A structlog processor: blanks fields whose name says that they hold a secret, however deep."""
    for key, value in event.items():
        event[key] = _hidden(key, value)
    return event


def _hidden(key: object, value: Any) -> Any:
    if isinstance(key, str) and key.lower() in _HIDDEN_KEYS:
        return HIDDEN
    if isinstance(value, dict):
        return {name: _hidden(name, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(None, each) for each in value]
    return value


def setup_logging(
    level: str, form: Literal["auto", "json", "text"], *, files: LogFiles | None = None, **fields: Any
) -> Any:
    """Configure the process and return its logger. `fields` (service, mode, account) are in every line.

    files: where lines go; without it they go to standard output in the given form, auto being text on a terminal. A
    line's track is "health" unless it says otherwise; what is bound by structlog's contextvars is in it.
    """

    def add_fields(_logger: Any, method: str, event: Any) -> Any:
        at = event.pop("at", None) or at_text(wall_ns())
        return {"at": at, "level": method, "track": "health", **fields, **event}

    if output.files is not None and output.files is not files:
        output.files.close()
    output.files = files
    if files is not None:
        files.overflow = output.print
    output.as_text = form == "text" or (form == "auto" and sys.stdout.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_fields,
            structlog.processors.format_exc_info,
            hide_secret_fields,
            lambda _logger, _method, event: ((event,), {}),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(logging.WARNING)
    return structlog.get_logger()

"""voldesk logs: what the services wrote."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, TextIO

import typer

from voldesk.completion import complete_log
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json
from voldesk.health import expected_services, log_text
from voldesk.preflight import load_desk

_POLL_S = 0.2
_TAIL_BYTES = 1 << 20


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk logs execution -f")(logs)


def logs(
    service: Annotated[
        str | None, typer.Argument(help="One service, or supervisord; all without it.", autocompletion=complete_log)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of the past, per service.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the newest log lines, readable; with --json as they were written."""
    desk = load_desk()
    known = (*expected_services(desk), "supervisord")
    if service is not None and service not in known:
        raise Failure(f"there is no service {service!r}", f"use one of: {', '.join(known)}", EXIT_USAGE)
    names = [service] if service else list(expected_services(desk))
    folder = desk.run_dir / "logs"
    tails = [_Tail(folder / f"{name}.log", name, lines) for name in names]
    if not any(tail.path.exists() for tail in tails):
        raise Failure(f"no log in {folder}", "start the desk with `voldesk up`", EXIT_UNREACHABLE)
    show = _Printer(as_json, prefixed=len(names) > 1)
    past = [(name, line) for tail in tails for name, line in tail.past()]
    show.lines(sorted(past, key=lambda row: _time_of(row[1])) if len(names) > 1 else past)
    while follow:
        for tail in tails:
            show.lines(tail.new())
        time.sleep(_POLL_S)


class _Tail:
    """One log file that is rotated by renaming."""

    def __init__(self, path: Path, name: str, lines: int) -> None:
        self.path = path
        self._name = name
        self._lines = lines
        self._file: TextIO | None = None
        self._inode = 0
        self._rest = ""

    def past(self) -> list[tuple[str, str]]:
        if not self._open():
            return []
        assert self._file is not None
        size = self.path.stat().st_size
        self._file.seek(max(0, size - _TAIL_BYTES))
        found = self.new()
        return found[-self._lines :] if self._lines else []

    def new(self) -> list[tuple[str, str]]:
        if self._file is None and not self._open():
            return []
        assert self._file is not None
        found = self._read()
        if self._was_rotated() and self._open():
            found += self._read()
        return [(self._name, line) for line in found if line.strip()]

    def _read(self) -> list[str]:
        assert self._file is not None
        *complete, self._rest = (self._rest + self._file.read()).split("\n")
        return complete

    def _was_rotated(self) -> bool:
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return False

    def _open(self) -> bool:
        try:
            file = self.path.open(encoding="utf-8", errors="replace")
        except OSError:
            return False
        if self._file is not None:
            self._file.close()
        self._file, self._inode, self._rest = file, self.path.stat().st_ino, ""
        return True


class _Printer:
    def __init__(self, as_json: bool, *, prefixed: bool) -> None:
        self._as_json = as_json
        self._prefixed = prefixed

    def lines(self, rows: list[tuple[str, str]]) -> None:
        for name, line in rows:
            typer.echo(line if self._as_json else self._readable(name, line))

    def _readable(self, name: str, line: str) -> str:
        fields = _fields(line)
        at = str(fields.get("at", ""))[:23]
        level = str(fields.get("level", ""))
        text = f"{at} {level:<8} {log_text(line)}" if fields else line
        if exception := fields.get("exception"):
            text += f"\n{exception}"
        return f"{name:<11} {text}" if self._prefixed else text


def _fields(line: str) -> dict[str, object]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _time_of(line: str) -> str:
    return str(_fields(line).get("at", ""))

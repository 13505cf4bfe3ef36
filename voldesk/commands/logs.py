"""voldesk logs: what the services wrote, as one log."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from shared.clock import wall_ns
from shared.config import DeskConfig
from shared.log_lines import LEVELS, TRACKS, LogLine, at_text, line_text
from shared.log_query import LogQuery
from shared.log_reader import Follower, sources
from voldesk.completion import complete_log
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json, write_line
from voldesk.health import expected_services
from voldesk.preflight import load_desk

_POLL_S = 0.2
_LINES = 50
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk logs -f --trade t59876543")(logs)


def logs(
    service: Annotated[
        str | None, typer.Argument(help="One service, or supervisord; all without it.", autocompletion=complete_log)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
    trade: Annotated[str, typer.Option(help="Only lines of this trade, its intent and its orders.")] = "",
    order: Annotated[str, typer.Option(help="Only lines of this order: our id or the venue's.")] = "",
    strategy: Annotated[str, typer.Option(help="Only lines of this strategy.")] = "",
    track: Annotated[str, typer.Option(help=f"Only this track: {', '.join(TRACKS)}.")] = "",
    level: Annotated[str, typer.Option(help=f"From this level on: {', '.join(LEVELS)}.")] = "debug",
    since: Annotated[str, typer.Option(help="Only lines of the last 90s, 10m, 2h or 3d.")] = "",
    grep: Annotated[str, typer.Option(help="Only lines that hold all these words, in any case of letters.")] = "",
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, help="Lines of the past: 50; all with --since, --trade or --order."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the log of all services in the order of time, readable; with --json as it was written."""
    desk = load_desk()
    query = LogQuery(
        services=_services(desk, service),
        tracks=(_one_of("track", track, TRACKS),) if track else (),
        level=_one_of("level", level, LEVELS),
        since=_since(since),
        search=grep,
        trade=trade,
        order=order,
        strategy=strategy,
    )
    limit = lines if lines is not None else None if since or query.subject else _LINES
    folder = desk.run_dir / "logs"
    if not follow and not _has_any(folder, query):
        raise Failure(f"no log in {folder}", _where_else(desk), EXIT_UNREACHABLE)
    follower = Follower(folder, query)
    show = _as_written if as_json else _readable
    if not _print(follower.past(limit), show):
        return
    while follow:
        time.sleep(_POLL_S)
        if not _print(follower.new(wall_ns()), show):
            return


def _services(desk: DeskConfig, service: str | None) -> tuple[str, ...]:
    expected = expected_services(desk)
    if service is None:
        return expected
    return (_one_of("service", service, (*expected, "supervisord")),)


def _one_of(what: str, name: str, known: Iterable[str]) -> str:
    names = tuple(known)
    if name not in names:
        raise Failure(f"there is no {what} {name!r}", f"use one of: {', '.join(names)}", EXIT_USAGE)
    return name


def _since(text: str) -> str:
    if not text:
        return ""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if found is None:
        raise Failure(f"--since {text!r} is no time", "write a number with s, m, h or d, as in 10m", EXIT_USAGE)
    return at_text(max(0, wall_ns() - int(found[1]) * _SECONDS[found[2]] * 1_000_000_000))


def _has_any(folder: Path, query: LogQuery) -> bool:
    return any(path.exists() for _, path in sources(folder, query.services))


def _where_else(desk: DeskConfig) -> str:
    if desk.logging.output == "stdout":
        return "the configuration sends it to standard output: read it where that goes"
    return "start the desk with `voldesk up`"


def _print(lines: Iterable[LogLine], show: Callable[[LogLine], str]) -> bool:
    """False once whoever reads has had enough."""
    return all(write_line(show(line)) for line in lines)


def _as_written(line: LogLine) -> str:
    return line.raw


def _readable(line: LogLine) -> str:
    fields = line.fields or {"event": line.event}
    text = line_text(line.at, line.level, line.service, fields)
    colour = _COLOURS.get(line.level)
    return typer.style(text, fg=colour) if colour and sys.stdout.isatty() else text

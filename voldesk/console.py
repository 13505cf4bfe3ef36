"""What the operator sees: tables, JSON, prompts, one-line errors, exit codes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from shared.config import DeskConfig

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FLAT: Final = 3
EXIT_UNREACHABLE: Final = 69
EXIT_CONFIG: Final = 78

_PROGRESS_AFTER_S = 0.5
_turning: list[str] = []
"""What the one sign on the terminal is for; a block inside another one has none of its own."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]

_STATE_STYLES = {
    "RUNNING": "green",
    "OPEN": "green",
    "running": "green",
    "CLOSED": "dim",
    "SETTLED": "dim",
    "STARTING": "yellow",
    "NOT_READY": "yellow",
    "paused": "yellow",
    "UNWINDING": "yellow",
    "PARTIALLY_OPEN": "yellow",
    "NOT_RESPONDING": "red",
    "EXITED": "red",
    "FATAL": "red",
    "CONFIG_ERROR": "red",
    "BROKEN": "red",
    "FAILED": "red",
    "failed": "red",
    "UNKNOWN": "red",
}


class Failure(Exception):
    """The command failed. Shown as one line: cause, then what to do; ends with `exit_code`."""

    def __init__(self, cause: str, remedy: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.exit_code = exit_code


def title(desk: DeskConfig) -> str:
    """What stands above every table and in every prompt."""
    return f"{desk.mode} · account {desk.account_id}"


def print_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of the answer."""
    Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True).print(text)


def write_line(text: str) -> bool:
    """A line of an endless answer; False once whoever read it has had enough, as `head`."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # what is left in the buffer would fail again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def note(text: str) -> None:
    """A line of progress or advice; never on standard output, which may be read by a program."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """A turning sign on standard error while the block runs, if it takes longer than half a second; call the value to
    change its text. Nothing where standard error is no terminal, so that a log or a pipe stays clean."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or _turning:
        yield lambda _: None
        return
    status = console.status(escape(what))
    timer = threading.Timer(_PROGRESS_AFTER_S, status.start)
    timer.daemon = True
    timer.start()
    _turning.append(what)
    try:
        yield lambda text: status.update(escape(text))
    finally:
        _turning.clear()
        timer.cancel()
        timer.join()
        status.stop()


def state_text(state: str) -> str:
    """A state with its colour; the colour is left out where the output is no terminal."""
    style = _STATE_STYLES.get(state)
    return f"[{style}]{state}[/{style}]" if style else state


def print_table(
    desk: DeskConfig,
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[str] = (),
    *,
    whole: Sequence[str] = (),
    tight: bool = False,
) -> None:
    """A table headed by name, mode and account. Cells may hold rich markup; columns in `right` are numbers.

    On a narrow terminal cells are folded, but those of the columns in `whole`: names that are typed again.
    tight: one blank between columns instead of two.
    """
    rows = list(rows)
    table = Table(box=None, padding=(0, 1, 0, 0) if tight else (0, 1))
    for index, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole,
            # so that it is not cut either where the terminal is narrower than the table
            min_width=_longest(row[index] for row in rows) if column in whole else None,
        )
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False)
    console.print(f"{name} · {title(desk)}", style="bold", markup=False, soft_wrap=True)
    console.print(table)


def _longest(cells: Iterable[str]) -> int:
    return max((Text.from_markup(cell).cell_len for cell in cells), default=0)


def confirm(desk: DeskConfig, question: str, *, yes: bool) -> None:
    """Ask before money moves: y in paper and beta, the account's name in LIVE. Raises Failure unless confirmed."""
    if yes:
        return
    refused = Failure("not confirmed, nothing was done", "answer the question, or add --yes")
    try:
        if desk.mode == "LIVE":
            typed = typer.prompt(
                f"{title(desk)}: {question} Type the account's name to confirm",
                default="",
                show_default=False,
                err=True,
            )
            if str(typed).strip() != desk.account_id:
                raise refused
        elif not typer.confirm(f"{title(desk)}: {question}", err=True):
            raise refused
    except typer.Abort:
        raise refused from None

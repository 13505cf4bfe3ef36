"""The operator's command line. `voldesk --help` lists the commands; docs/cli.md describes exit codes and JSON."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_group

from shared.errors import StartRefused
from voldesk.console import EXIT_CONFIG, EXIT_FAILED, EXIT_USAGE, Failure, note

COMMANDS = {
    "up": "Start the desk, or what of it is stopped, and wait until every service is ready.",
    "web": "Show the dashboard's address, its users and tokens; without a user, the link that makes the first.",
    "down": (
        "Stop every process of the desk. The quotes of strategies are withdrawn; other orders stay at the "
        "venue and open trades stay open, unless --orders, or on_shutdown in section execution of "
        "voldesk.toml, says otherwise."
    ),
    "status": "Show every service: state, process, uptime, age of its heartbeat, restarts.",
    "restart": "Stop and start one service and wait until it is ready. Trades survive it, whichever service it is.",
    "logs": "Show the log of all services in the order of time, readable; with --json as it was written.",
    "trades": (
        'List trades, newest first: state, legs, result. What is held counts on mark, "-" while a mark is missing.'
    ),
    "trade": "Show one trade: its legs, its orders, and what was decided and what happened, in order.",
    "tca": (
        "Summarise the cost of execution: slippage against the mid at arrival, improvement on the book, time "
        "to fill, maker share, fees, and delta held out of proportion. A positive slippage is a cost."
    ),
    "pnl": "Show P&L by strategy, day, structure or trade: realised, on mark, fees, funding, net.",
    "ledger": "List trades as the books have them, newest first: structure, P&L, fees, slippage, net.",
    "history": (
        "Plot equity, P&L, Greeks, margin or a holding over time; without a series, list those that there are."
    ),
    "export": ("Write the ledger, its legs, fills, changes of P&L or the history to a file, as CSV or Parquet."),
    "orders": "List working orders, newest first; with --all also those that are done.",
    "positions": (
        "List the account's net positions with mark, profit and Greeks (signed quantity times per-unit Greek)."
    ),
    "reconcile": (
        "Show the differences that comparisons with the venue found, newest first, with what was done and when."
    ),
    "account": "Show equity, margin, the cash of each asset and the account's Greeks per underlying.",
    "cash": "Show what the cash rule keeps, what it would sell now and why it does or does not, and what it sold.",
    "leverage": "Show the leverage of a perpetual or dated future at the venue, or set it.",
    "risk": "Show every limit with its use, nearest first, halts, breakers and margin; --stress the stress grid.",
    "strategies": "List strategies with what each waits for; pause or resume one, or let it open one trade.",
    "strategy": "Begin a strategy file, or look at one strategy closely: what it would open, how its trades did.",
    "alerts": "List open alerts, newest first, and the channels by which people are told; acknowledge one.",
    "halt": "Stop trading at once. Stays in force over restarts until `voldesk resume`.",
    "resume": "Lift every halt in force, so that strategies may open trades again.",
    "close": "Close what a trade still holds. Does not wait for the fills; `voldesk trade` shows them.",
    "roll": "Close a trade and open its successor as its strategy's roll says, within its net limit, now.",
    "hedge": "Leave the delta hedge of a trade as it is, or have it adjusted again.",
    "cancel": (
        "Cancel one order, those of a trade, an option or a strategy, or all. The trade decides what follows; "
        "`voldesk halt` stops it."
    ),
    "adopt": "Make a trade of a position at the venue that is not the desk's, at the venue's average price.",
    "flatten": "Cancel the desk's orders, close every trade, and stay halted until `voldesk resume`.",
    "check-config": (
        "Check voldesk.toml, every service's section and strategy file. Ends with 78 and the first mistake, if any."
    ),
    "why": "Say why a strategy opens nothing, or why a trade of it stays open: each gate, its reason and since when.",
    "chain": (
        "Show an option chain, calls left and puts right, futures and smiles; the next two expiries unless told."
    ),
    "book": (
        "Show book and last trades of an option, future or spot pair, with their age; --json --follow: a line each."
    ),
    "rfq": "Ask makers what they would trade a structure at. Nothing is accepted, no position changes.",
    "tap": (
        "Print messages of the bus, one line each, until Ctrl-C; with --json one object per line, header and body."
    ),
    "exchange": "Move the simulated market, list a short expiry, inject faults. Refused unless the venue is sim.",
    "doctor": (
        "Examine configuration, ports, clock, keys, disk, journals, versions, venue and services; changes nothing."
    ),
    "prepare": "Draw keys and check everything that must be there before the first container starts.",
    "keys": "Show the bus's keys, whose each is and which services take it; rotate or revoke one.",
    "healthcheck": "Ask one service whether it is alive, with its own key; ends with 0 if it is, with 69 if not.",
    "journal": "Ask execution's journal with SQL. It is read from its file, whether the desk runs or not.",
}
"""Each command with its line of the help: a module of voldesk.commands, imported when it is called."""

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


_COMPLETION = ("--install-completion", "--show-completion")
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


class Deferred(TyperCommand):
    """A command by its name and its line of the help; what it does is in its module, and what that imports."""

    def load(self) -> Any:
        """The command itself, or the group of commands."""
        module = import_module(f"voldesk.commands.{str(self.name).replace('-', '_')}")
        alone = typer.Typer(pretty_exceptions_enable=False)
        module.register(alone)
        return get_group(alone).commands[str(self.name)]


class CommandLine(TyperGroup):
    """Imports a command when it is called. Every error is one line on standard error, with cause and remedy, and has
    the exit code of docs/cli.md."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, line in COMMANDS.items():
            self.add_command(Deferred(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Deferred) else command, rest

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            words = list(sys.argv[1:] if args is None else args)
            if len(words) > 1 and words[0] in _COMPLETION:
                code = _complete_shell(*words)
            else:
                code = super().main(words, prog_name, complete_var, False, windows_expand_args, **extra)
        except Failure as error:
            code = _complain(error.cause, error.remedy, error.exit_code)
        except StartRefused as error:
            code = _complain(error.reason, error.remedy, EXIT_CONFIG)
        except typer.Abort:
            code = _complain("interrupted", "", EXIT_FAILED)
        except OSError as error:
            if error.errno not in _FULL_DISK:
                raise
            where = f" ({error.filename})" if error.filename else ""
            remedy = "free space on the disk of the run directory, or make it writable, and repeat"
            code = _complain(f"{error.strerror}{where}", remedy, EXIT_FAILED)
        except TyperException as error:
            # the words that pydantic puts before a reason of our own
            said = error.format_message().rstrip(".").replace("Value error, ", "")
            code = _complain(said, _help_of(error), error.exit_code)
        sys.exit(code or 0)


def _complete_shell(option: str, shell: str, *more: str) -> int:
    """Completion for a shell that is named; without a name the library looks which one this is."""
    from typer.completion import get_completion_script, install  # type: ignore[attr-defined]

    if more or shell not in _SHELLS:
        raise Failure(
            f"{option} takes one shell, not {' '.join((shell, *more))!r}", f"use {', '.join(_SHELLS)}", EXIT_USAGE
        )
    if option == "--show-completion":
        typer.echo(get_completion_script(prog_name="voldesk", complete_var="_VOLDESK_COMPLETE", shell=shell))
        return 0
    _, path = install(shell=shell, prog_name="voldesk", complete_var="_VOLDESK_COMPLETE")
    typer.echo(f"{shell} completion is in {path}; a new shell has it")
    return 0


def _complain(cause: str, remedy: str, exit_code: int) -> int:
    parts = (" ".join(part.split()).rstrip(".") for part in (cause, remedy))
    note(f"voldesk: {'; '.join(part for part in parts if part)}")
    return exit_code


def _help_of(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path if context is not None else 'voldesk'} --help`"


app = typer.Typer(
    cls=CommandLine,
    name="voldesk",
    epilog="Example: voldesk up; voldesk status; voldesk trades; voldesk down",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"voldesk {version_of('voldesk')}")
        except PackageNotFoundError:
            raise Failure("the version is not known", "install it: make install") from None
        raise typer.Exit


@app.callback(invoke_without_command=True)
def voldesk(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The operator's view of an options trading desk: start it, watch it, stop it."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())

"""The operator's command line. `voldesk --help` lists the commands; docs/cli.md describes exit codes and JSON."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from shared.errors import StartRefused
from voldesk.commands import (
    account,
    adopt,
    alerts,
    book,
    cancel,
    chain,
    check_config,
    close,
    doctor,
    down,
    exchange,
    flatten,
    halt,
    journal,
    logs,
    orders,
    positions,
    reconcile,
    restart,
    resume,
    rfq,
    risk,
    status,
    strategies,
    tap,
    tca,
    trade,
    trades,
    up,
    web,
    why,
)
from voldesk.console import EXIT_CONFIG, EXIT_FAILED, Failure, note

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class OneLineErrors(TyperGroup):
    """Every error is one line on standard error, with cause and remedy, and has the exit code of docs/cli.md."""

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
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
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
            code = _complain(error.format_message().rstrip("."), _help_of(error), error.exit_code)
        sys.exit(code or 0)


def _complain(cause: str, remedy: str, exit_code: int) -> int:
    parts = (" ".join(part.split()).rstrip(".") for part in (cause, remedy))
    note(f"voldesk: {'; '.join(part for part in parts if part)}")
    return exit_code


def _help_of(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path if context is not None else 'voldesk'} --help`"


app = typer.Typer(
    cls=OneLineErrors,
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


for module in (
    up,
    web,
    down,
    status,
    restart,
    logs,
    trades,
    trade,
    tca,
    orders,
    positions,
    reconcile,
    account,
    risk,
    strategies,
    alerts,
    halt,
    resume,
    close,
    cancel,
    adopt,
    flatten,
    check_config,
    why,
    chain,
    book,
    rfq,
    tap,
    exchange,
    doctor,
    journal,
):
    module.register(app)

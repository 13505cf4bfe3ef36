"""voldesk leverage: show or set the leverage of a perpetual or dated future on the account."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.config import DeskConfig
from shared.messages.leverage import ChangeLeverage, GetLeverage, LeverageChanged, LeverageList, LeverageStatus
from shared.views import clock_text, iso
from voldesk.asking import ask, operator
from voldesk.console import EXIT_UNREACHABLE, Failure, Json, Yes, confirm, print_json, print_table, say, title
from voldesk.preflight import load_desk

_DEADLINE_MS = 20_000
"""Above the time in which a change that the venue did not answer is looked for."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk leverage BTCUSD 5")(leverage)


def leverage(
    symbol: Annotated[
        str | None, typer.Argument(help="A perpetual or dated future; those that are configured unless given.")
    ] = None,
    to: Annotated[
        int | None, typer.Argument(metavar="[X]", min=1, max=125, help="Set it to this; only shown unless given.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show the leverage of a perpetual or dated future at the venue, or set it.

    The venue changes it only while the account has neither position nor orders in the contract.
    """
    desk = load_desk()
    asked = GetLeverage(symbols=() if symbol is None else (symbol.upper(),))
    if to is None or symbol is None:
        found = ask(desk, "execution", asked, LeverageList, deadline_ms=_DEADLINE_MS)
        _show(desk, found, as_json=as_json)
        return
    confirm(desk, f"set the leverage of {symbol.upper()} to {to}?", yes=yes)
    change = ChangeLeverage(symbol=symbol.upper(), leverage=to, requested_by=operator())
    changed = ask(desk, "execution", change, LeverageChanged, deadline_ms=_DEADLINE_MS)
    if as_json:
        print_json({"symbol": changed.symbol, "leverage": changed.leverage})
        return
    say(f"{title(desk)}: {changed.symbol} has the leverage {changed.leverage}")


def _show(desk: DeskConfig, found: LeverageList, *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "symbol": each.symbol,
                    "leverage": each.leverage,
                    "configured": each.configured,
                    "read_at": iso(each.read_ns),
                    "detail": each.detail,
                }
                for each in found.leverages
            ]
        )
    else:
        columns = ("contract", "leverage", "configured", "read (UTC)", "")
        print_table(desk, "leverage", columns, map(_row, found.leverages), right=("leverage", "configured"))
        if not found.leverages:
            say("none is configured in [execution.leverage]; name a contract, such as BTCUSD")
    unread = next((each for each in found.leverages if each.leverage is None), None)
    if unread is not None:
        cause = f"the leverage of {unread.symbol} cannot be read: {unread.detail}"
        raise Failure(cause, "ask again", EXIT_UNREACHABLE)


def _row(each: LeverageStatus) -> tuple[str, ...]:
    configured = "-" if each.configured is None else str(each.configured)
    shown = "-" if each.leverage is None else str(each.leverage)
    return each.symbol, shown, configured, clock_text(each.read_ns), each.detail

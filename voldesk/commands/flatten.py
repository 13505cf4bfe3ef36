"""voldesk flatten: close everything, through execution or, with --direct, from the venue alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from shared.bus import Bus
from shared.config import DeskConfig
from shared.messages.reconciliation import Foreign, ForeignPosition
from shared.messages.trades import FINAL_TRADE_STATES, ListTrades, TradeList
from shared.views import foreign_text, plain
from voldesk.asking import ask, heartbeat
from voldesk.commands.halt import raise_halt
from voldesk.commands.reconcile import compared
from voldesk.console import (
    EXIT_NOT_FLAT,
    EXIT_USAGE,
    Failure,
    Json,
    Yes,
    confirm,
    note,
    print_json,
    progress,
    say,
    title,
)
from voldesk.preflight import load_desk

_POLL_S = 1.0
_EXECUTION_ANSWER_MS = 1_500
_COMPARED_WITHIN_MIN_S = 20.0
_NAMED_MAX = 5


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk flatten --yes; with execution dead: voldesk flatten --direct")(flatten)


def flatten(
    direct: Annotated[
        bool, typer.Option("--direct", help="Without the desk: cancel and close at the venue from here.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --direct: even while execution answers.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until everything is closed.")] = True,
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait, or to try.")] = 300.0,
    bound_pct: Annotated[
        float, typer.Option(min=0.1, max=100, help="With --direct: how far past mark an order may go, in per cent.")
    ] = 25.0,
    reason: Annotated[str, typer.Option(help="Kept in the journal.")] = "operator: flatten",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel the desk's orders, close every trade, and stay halted until `voldesk resume`.

    Then the venue is asked what it still holds: positions and orders that are no trade's are named, never touched,
    and the command ends with 3. `voldesk adopt` makes a trade of a position; --direct --force cancels and closes all.
    """
    desk = load_desk()
    if force and not direct:
        raise Failure("--force belongs to --direct", "add --direct, or leave --force out", EXIT_USAGE)
    if direct:
        if _execution_answers(desk) and not force:
            raise Failure("execution answers", "use `voldesk flatten`; --direct --force works beside it")
        confirm(desk, _question_to_go_direct(desk), yes=yes)
        # imported here because the venue's package takes longer to load than any other command takes to run
        from voldesk.direct import DirectBounds, flatten_from_venue

        bounds = DirectBounds(bound_pct=bound_pct, patience_s=timeout)
        with progress("closing everything at the venue"):
            result = asyncio.run(flatten_from_venue(desk, bounds, reason, note))
        if as_json:
            print_json(result)
        else:
            say(f"{title(desk)}: flat in {_looked_at(desk)}; record in {result['audit']}")
            say("execution starts halted and stays so until `voldesk resume`")
        return
    confirm(desk, "close every open trade?", yes=yes)
    raise_halt(desk, "flatten", reason)
    if not wait:
        if as_json:
            print_json({"halted": "flatten", "open_trades": None, "foreign_positions": None, "foreign_orders": None})
        else:
            say(f"{title(desk)}: closing; follow it with `voldesk trades --open`")
            say("positions that are no trade's stay: see `voldesk reconcile --now`")
            say("the desk stays halted until `voldesk resume`")
        return
    deadline = time.monotonic() + timeout
    with progress("closing") as tell:
        left = _wait_until_flat(desk, timeout, tell)
    foreign = _foreign(desk, max(_COMPARED_WITHIN_MIN_S, deadline - time.monotonic()))
    if as_json:
        print_json({"halted": "flatten", "open_trades": left, **_foreign_json(foreign)})
    else:
        say(f"{title(desk)}: " + ("every trade of the desk is closed" if foreign else "flat"))
        say("the desk stays halted until `voldesk resume`")
    if foreign:
        raise _not_flat(foreign)


def _question_to_go_direct(desk: DeskConfig) -> str:
    ordered = _listed(("options", *(["futures"] * desk.futures), *(["spot"] * desk.spot)))
    held = "options and futures" if desk.futures else "options"
    return f"cancel ALL orders in {ordered} and close ALL positions in {held} of this account at the venue?"


def _looked_at(desk: DeskConfig) -> str:
    """What a direct flatten reads: nothing is known of the account's other products."""
    return _listed(("options", *(["futures"] * desk.futures), *(["orders of spot"] * desk.spot)))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _foreign(desk: DeskConfig, within_s: float) -> tuple[Foreign, ...]:
    """What the venue holds that is no trade's, compared now. Raises Failure when it cannot be known."""
    try:
        return compared(desk, within_s).foreign
    except Failure as failure:
        cause = f"every trade is closed, but what else the venue holds is not known: {failure.cause}"
        raise Failure(cause, "repeat it, or see `voldesk reconcile --now`", failure.exit_code) from None


def _foreign_json(foreign: tuple[Foreign, ...]) -> dict[str, Any]:
    positions = [each for each in foreign if isinstance(each, ForeignPosition)]
    orders = [each for each in foreign if not isinstance(each, ForeignPosition)]
    return {
        "foreign_positions": [{"symbol": each.symbol, "qty": plain(each.quantity)} for each in positions],
        "foreign_orders": [
            {
                "venue_order_id": str(each.venue_order_id),
                "symbol": each.symbol,
                "side": each.side,
                "qty": plain(each.quantity),
                "price": plain(each.price),
            }
            for each in orders
        ],
    }


def _not_flat(foreign: tuple[Foreign, ...]) -> Failure:
    more = f" and {len(foreign) - _NAMED_MAX} more" if len(foreign) > _NAMED_MAX else ""
    named = ", ".join(map(foreign_text, foreign[:_NAMED_MAX])) + more
    return Failure(
        f"not flat: the venue still holds what is no trade's: {named}",
        "`voldesk adopt SYMBOL --strategy NAME` closes a position while this halt is in force; "
        "`voldesk flatten --direct --force` cancels and closes all of it",
        EXIT_NOT_FLAT,
    )


def _execution_answers(desk: DeskConfig) -> bool:
    async def run() -> bool:
        async with Bus.client(desk) as bus:
            return await heartbeat(bus, desk, "execution", _EXECUTION_ANSWER_MS) is not None

    return desk.run_dir.is_dir() and asyncio.run(run())


def _wait_until_flat(desk: DeskConfig, timeout_s: float, tell: Callable[[str], None]) -> int:
    """Until no trade is open; 0. Raises Failure naming those left when the time is up."""
    deadline = time.monotonic() + timeout_s
    shown = ""
    while True:
        trades = ask(desk, "execution", ListTrades(include_final=False), TradeList, 10_000).trades
        left = [trade for trade in trades if trade.state not in FINAL_TRADE_STATES]
        if not left:
            return 0
        states = ", ".join(f"{trade.trade_id} {trade.state}" for trade in left)
        if states != shown:
            note(f"  closing {states}")
            shown = states
        tell(f"closing, {len(left)} open, {deadline - time.monotonic():.0f} s left")
        if time.monotonic() > deadline:
            raise Failure(f"not flat after {timeout_s:.0f} s: {states}", "execution goes on; see `voldesk trade ID`")
        time.sleep(_POLL_S)

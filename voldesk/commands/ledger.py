"""voldesk ledger: every trade on one line, as the books have it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from shared.config import DeskConfig
from shared.ledger.records import LedgerTrade, ledger_json
from shared.views import clock_text, money_text
from voldesk.console import Json, note, print_json, print_table, say, state_text, title
from voldesk.ledger_sources import Since, ledger_of, period
from voldesk.preflight import load_desk

_NUMBERS = ("realised", "fees", "slippage", "net")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk ledger --since 7d --strategy short_strangle")(ledger)


def ledger(
    since: Since = "all",
    strategy: Annotated[str, typer.Option(help="Only trades of this strategy.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, the newest.")] = 200,
    as_json: Json = False,
) -> None:
    """List trades as the books have them, newest first: structure, P&L, fees, slippage, net.

    It is read from execution's journal, whether the desk runs or not, and has every trade ever made.
    `voldesk trade ID` tells the story of one.
    """
    desk = load_desk()
    since_ns, _ = period(desk, since)
    found = [each for each in ledger_of(desk).trades(since_ns) if strategy in ("", each.strategy)]
    shown = found[-limit:][::-1]
    if as_json:
        print_json([ledger_json(each, desk.mode) for each in shown])
    else:
        _show(desk, shown)
    if len(found) > len(shown):
        note(f"the newest {len(shown):,} of {len(found):,} trades; ask for more with --limit")


def _show(desk: DeskConfig, trades: list[LedgerTrade]) -> None:
    if not trades:
        say(f"{title(desk)}: no trade in that time")
        return
    columns = ("trade", "strategy", "structure", "closed UTC", *_NUMBERS)
    rows = [_cells(each) for each in trades]
    print_table(desk, "ledger", columns, rows, right=_NUMBERS, whole=("trade", *_NUMBERS), tight=True)
    say("USD; slippage > 0 is a cost; net = realised - fees - funding; all that is known: --json, voldesk trade ID")


def _cells(each: LedgerTrade) -> tuple[str, ...]:
    """A line that fits a terminal of 80 characters; a trade that is not closed shows its state in place of a time."""
    fees = money_text(each.fees_usd)
    return (
        each.trade_id,
        escape(each.strategy),
        each.structure,
        state_text(each.state) if each.closed_ns is None else clock_text(each.closed_ns)[:11],
        money_text(each.realized_pnl_usd),
        fees if each.fees_complete else f"{fees}+",
        money_text(each.slippage_usd),
        money_text(each.net_pnl_usd),
    )

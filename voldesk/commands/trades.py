"""voldesk trades: what the desk traded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from shared.messages.trades import LegStatus, ListTrades, TradeList, TradeUpdate
from shared.views import clock_text, money_text, plain, pnl_before_fees_usd, price_text, trade_json
from voldesk.asking import ask
from voldesk.commands.positions import marks_of
from voldesk.console import Json, print_json, print_table, say, state_text
from voldesk.preflight import load_desk

PNL_COLUMN = "P&L before fees"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk trades --open --json")(trades)


def trades(
    only_open: Annotated[bool, typer.Option("--open", help="Only trades that are not final.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 500,
    as_json: Json = False,
) -> None:
    """List trades, newest first: state, legs, result. What is held counts on mark, "-" while a mark is missing."""
    desk = load_desk()
    answer = ask(desk, "execution", ListTrades(include_final=not only_open, limit=limit), TradeList)
    if as_json:
        print_json([trade_json(trade) for trade in answer.trades])
        return
    marks = marks_of(desk, answer.trades)
    print_table(
        desk,
        "trades",
        ("trade", "strategy", "state", "opened UTC", PNL_COLUMN, "fees"),
        [_row(trade, marks) for trade in answer.trades],
        right=(PNL_COLUMN, "fees"),
    )
    for trade in answer.trades:
        if not trade.is_final:
            say(f"{trade.trade_id} {trade.state} {trade.reason}".rstrip())
            for leg in trade.legs:
                say(_leg_line(leg))


def _row(trade: TradeUpdate, marks: Mapping[str, float]) -> tuple[str, ...]:
    return (
        trade.trade_id,
        trade.strategy,
        state_text(trade.state),
        clock_text(trade.opened_ns),
        money_text(pnl_before_fees_usd(trade, marks)),
        money_text(trade.fees_usd),
    )


def _leg_line(leg: LegStatus) -> str:
    """A leg on one line: "+0.1 BTCUSD-27NOV26-110000-C  0.1 @ 512.5 → 498"."""
    sign = "+" if leg.side == "buy" else "-"
    text = f"  {sign}{plain(leg.quantity)} {leg.symbol}  {plain(leg.filled_quantity)} @ {price_text(leg.open_price)}"
    return text if leg.close_price is None else f"{text} → {price_text(leg.close_price)}"

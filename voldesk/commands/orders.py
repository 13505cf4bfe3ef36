"""voldesk orders: what the desk sent to the venue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from shared.messages.trades import ListOrders, OrderList, OrderUpdate, TellTrade, TradeStory
from shared.views import order_json, order_name, order_price_text, plain
from voldesk.asking import ask
from voldesk.completion import complete_trade
from voldesk.console import Json, print_json, print_table, state_text
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk orders --all --trade t59876543")(orders)


def orders(
    trade: Annotated[
        str | None, typer.Option(help="Only the orders of this trade.", autocompletion=complete_trade)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also orders that are done.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 500,
    as_json: Json = False,
) -> None:
    """List working orders, newest first; with --all also those that are done."""
    desk = load_desk()
    answer = ask(desk, "execution", ListOrders(trade_id=trade, include_final=every, limit=limit), OrderList)
    if trade is not None and not answer.orders:
        # an unknown trade is a mistake, and refused as such; a known one may have no such orders
        ask(desk, "execution", TellTrade(trade_id=trade), TradeStory)
    if as_json:
        print_json([order_json(order) for order in answer.orders])
        return
    columns, rows = order_rows(answer.orders, with_trade=True)
    print_table(desk, "orders", columns, rows, right=("filled", "price"))
    if not answer.orders and not every:
        typer.echo("no working orders; --all shows those that are done", err=True)


def order_rows(
    found: Iterable[OrderUpdate], *, with_trade: bool = False
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows of a table of orders by their short names, at most 80 characters wide."""
    rows: list[tuple[str, ...]] = [
        (
            f"{order.trade_id}.{order_name(order)}" if with_trade else order_name(order),
            order.side,
            order.symbol,
            f"{plain(order.filled_quantity)}/{plain(order.quantity)}",
            order_price_text(order),
            "waits" if order.waits and order.state == "WORKING" else state_text(order.state),
        )
        for order in found
    ]
    return ("order", "side", "symbol", "filled", "price", "state"), rows

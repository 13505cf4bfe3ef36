"""voldesk trade: the whole story of one trade."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from shared.config import DeskConfig
from shared.messages.trades import TellTrade, TradeStory
from voldesk.asking import ask
from voldesk.commands.orders import order_rows
from voldesk.commands.positions import marks_of
from voldesk.commands.trades import PNL_COLUMN
from voldesk.console import Json, print_json, print_table, say, state_text
from voldesk.preflight import load_desk
from voldesk.views import (
    clock_text,
    moment_text,
    money_text,
    order_name,
    plain,
    pnl_before_fees_usd,
    price_text,
    story_json,
)


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk trade t59876543")(trade)


def trade(
    trade_id: Annotated[str, typer.Argument(help="The id that `voldesk trades` shows.")], as_json: Json = False
) -> None:
    """Show one trade: its legs, its orders, and what was decided and what happened, in order."""
    desk = load_desk()
    story = ask(desk, "execution", TellTrade(trade_id=trade_id), TradeStory)
    if as_json:
        print_json(story_json(story))
    else:
        _show(desk, story)


def _show(desk: DeskConfig, story: TradeStory) -> None:
    told = story.trade
    print_table(
        desk,
        f"trade {told.trade_id}",
        ("strategy", "state", "opened UTC", "closed UTC", PNL_COLUMN, "fees"),
        [
            (
                told.strategy,
                state_text(told.state),
                clock_text(told.opened_ns),
                clock_text(told.closed_ns),
                money_text(pnl_before_fees_usd(told, marks_of(desk, [told]))),
                money_text(told.fees_usd),
            )
        ],
        right=(PNL_COLUMN, "fees"),
    )
    if told.reason:
        say(f"reason: {told.reason}")
    print_table(
        desk,
        "legs",
        ("side", "symbol", "quantity", "filled", "closed", "open", "close"),
        [
            (
                leg.side,
                leg.symbol,
                str(plain(leg.quantity)),
                str(plain(leg.filled_quantity)),
                str(plain(leg.closed_quantity)),
                price_text(leg.open_price),
                price_text(leg.close_price),
            )
            for leg in told.legs
        ],
        right=("quantity", "filled", "closed", "open", "close"),
    )
    columns, rows = order_rows(story.orders)
    print_table(desk, "orders", columns, rows, right=("filled", "price"))
    print_table(
        desk,
        "story",
        ("UTC", "what", ""),
        [(moment_text(line.at_ns), line.kind, _with_short_names(line.text, story)) for line in story.lines],
    )


def _with_short_names(text: str, story: TradeStory) -> str:
    """The line with each client order id of the trade written as in the table of orders; full ids are in --json."""
    names = {str(order.client_order_id): order_name(order) for order in story.orders}
    return re.sub(r"\d{15,}", lambda found: names.get(found[0], found[0]), text)

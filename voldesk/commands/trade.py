"""voldesk trade: the whole story of one trade."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from rich.markup import escape

from shared.config import DeskConfig
from shared.messages.trades import TellTrade, TradeStory
from shared.views import (
    clock_text,
    money_text,
    order_name,
    plain,
    pnl_before_fees_usd,
    price_text,
    since_text,
    story_json,
)
from voldesk.asking import ask
from voldesk.commands.orders import order_rows
from voldesk.commands.positions import marks_of
from voldesk.commands.trades import PNL_COLUMN
from voldesk.completion import complete_trade
from voldesk.console import (
    EXIT_CONFIG,
    EXIT_UNREACHABLE,
    Failure,
    Json,
    note,
    print_json,
    print_table,
    progress,
    say,
    state_text,
)
from voldesk.dry_trade import is_dry_id, show_dry_trade
from voldesk.preflight import load_desk
from voldesk.quality_table import show_quality

_SILENT = frozenset({"order_sighted"})
_ACKNOWLEDGED = "is in the book: acknowledged."


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk trade t59876543")(trade)


def trade(
    trade_id: Annotated[
        str, typer.Argument(help="The id that `voldesk trades` shows.", autocompletion=complete_trade)
    ],
    as_json: Json = False,
) -> None:
    """Show one trade: its legs, its orders, and what was decided and what happened, in order."""
    desk = load_desk()
    if is_dry_id(trade_id):
        show_dry_trade(desk, trade_id, as_json=as_json)
        return
    story = _story(desk, trade_id)
    if as_json:
        print_json(story_json(story))
    else:
        _show(desk, story)


def _story(desk: DeskConfig, trade_id: str) -> TradeStory:
    """As execution tells it; by its journal when it does not answer, or has let go of what ended days ago."""
    try:
        return ask(desk, "execution", TellTrade(trade_id=trade_id), TradeStory)
    except Failure as failure:
        if failure.exit_code == EXIT_CONFIG:
            raise
        # imported here because it brings the whole of execution, which a live trade does not need
        from voldesk.old_trades import story_from_journal

        with progress("reading the journal"):
            story = story_from_journal(desk, trade_id)
        if story is None:
            raise
        if failure.exit_code == EXIT_UNREACHABLE:
            note(f"{failure.cause}: this is what its journal says")
        return story


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
    if told.roll is not None:
        say(
            f"roll {told.roll.number} of the chain that began with trade {told.roll.chain_id}, from trade "
            f"{told.roll.rolled_from}; realised in the chain so far, after fees and funding: "
            f"{told.chain_pnl_usd:+,.2f} USD"
        )
    if told.close_joined:
        say(f"while it was being closed somebody else wanted that too: {told.close_joined}")
    if told.rolled_to:
        say(f"rolled to trade {told.rolled_to}")
    if told.opening_cost is not None and told.opening_cost.over_usd is not None:
        cost, over_usd = told.opening_cost, told.opening_cost.over_usd
        say(
            f"opened by {cost.mode} for {cost.actual_usd:,.2f} USD beyond the middle at arrival, "
            f"{abs(over_usd):,.2f} {'more' if over_usd >= 0 else 'less'} than expected"
        )
    for what, chunks in (("opening", told.opening_chunks), ("close", told.closing_chunks)):
        if chunks is not None:
            say(
                f"{what} by smart: {chunks.completed} of {chunks.planned} chunks complete, "
                f"the spread crossed for {chunks.crossings} of their legs"
            )
    if not told.is_final and told.if_broken is not None:
        rest = "stays under its exits" if told.if_broken == "hold" else "is closed"
        say(f"if a leg is lost from outside, the rest {rest} (if_broken = {told.if_broken})")
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
    show_quality(desk, story.quality)
    _tell(desk, story)


def _tell(desk: DeskConfig, story: TradeStory) -> None:
    """The story in sentences with the time since its beginning; what only repeats another line is left out."""
    told = story.trade
    began_ns = story.lines[0].at_ns if story.lines else told.created_ns
    print_table(
        desk,
        f"story from {clock_text(began_ns)} UTC",
        ("after", ""),
        [
            (f"{since_text((line.at_ns - began_ns) / 1e9)}", escape(_with_short_names(line.text, story)))
            for line in story.lines
            if line.kind not in _SILENT and not line.text.endswith(_ACKNOWLEDGED)
        ],
        right=("after",),
    )
    if told.is_final:
        ended_ns = told.updated_ns if told.closed_ns is None else told.closed_ns
        net = told.net_realized_usd
        paid = f"funding {told.funding_usd:,.2f}, " if told.funding_usd else ""
        lasted = since_text((ended_ns - began_ns) / 1e9)
        say(
            f"It ended {told.state} after {lasted}: P&L {told.realized_pnl_usd:,.2f} "
            f"USD before fees, fees {told.fees_usd:,.2f}, {paid}{net:,.2f} after them."
        )
    if not told.fees_complete:
        say("The venue has not told all fees yet.")


def _with_short_names(text: str, story: TradeStory) -> str:
    """The line with each client order id of the trade written as in the table of orders; full ids are in --json."""
    names = {str(order.client_order_id): order_name(order) for order in story.orders}
    return re.sub(r"\d{15,}", lambda found: names.get(found[0], found[0]), text)

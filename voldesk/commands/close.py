"""voldesk close: close one trade now."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.messages.trades import FINAL_TRADE_STATES, CloseAccepted, CloseTrade
from voldesk.asking import ask, operator
from voldesk.completion import complete_open_trade
from voldesk.console import Json, Yes, confirm, print_json, say, title
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk close t59876543 --yes")(close)


def close(
    trade_id: Annotated[
        str, typer.Argument(help="The id that `voldesk trades` shows.", autocompletion=complete_open_trade)
    ],
    reason: Annotated[str, typer.Option(help="Kept in the trade's story.")] = "operator",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Close what a trade still holds. Does not wait for the fills; `voldesk trade` shows them."""
    desk = load_desk()
    confirm(desk, f"close trade {trade_id}?", yes=yes)
    request = CloseTrade(trade_id=trade_id, reason=reason, requested_by=operator())
    accepted = ask(desk, "execution", request, CloseAccepted)
    if as_json:
        print_json({"trade_id": accepted.trade_id, "state": accepted.state})
    elif accepted.state in FINAL_TRADE_STATES:
        say(f"{title(desk)}: trade {accepted.trade_id} is {accepted.state} already; nothing is held")
    else:
        say(
            f"{title(desk)}: trade {accepted.trade_id} is {accepted.state}; follow it with `voldesk trade {trade_id}`"
        )

"""voldesk cancel: cancel working orders."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.messages.trades import CancelAccepted, CancelOrders
from voldesk.asking import ask, operator
from voldesk.console import EXIT_USAGE, Failure, Json, Yes, confirm, print_json, say, title
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk cancel --trade t59876543 --yes")(cancel)


def cancel(
    order_id: Annotated[int | None, typer.Argument(min=1, help="The id that `voldesk orders` shows.")] = None,
    trade: Annotated[str | None, typer.Option(help="Cancel the working orders of this trade.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Cancel all working orders of this desk.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel one order, those of a trade, or all. The trade decides what follows; `voldesk halt` stops it."""
    if (order_id is not None) + (trade is not None) + every != 1:
        raise Failure("say what to cancel", "give one of: an order id, --trade ID, --all", EXIT_USAGE)
    desk = load_desk()
    what = "all working orders" if every else f"order {order_id}" if trade is None else f"the orders of trade {trade}"
    confirm(desk, f"cancel {what}?", yes=yes)
    request = CancelOrders(client_order_id=order_id, trade_id=trade, requested_by=operator())
    accepted = ask(desk, "execution", request, CancelAccepted)
    if as_json:
        print_json({"order_ids": [str(number) for number in accepted.client_order_ids]})
    else:
        count = len(accepted.client_order_ids)
        say(f"{title(desk)}: cancelling {count} order{'' if count == 1 else 's'}")

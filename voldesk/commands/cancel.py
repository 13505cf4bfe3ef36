"""voldesk cancel: cancel working orders."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from shared.ids import OrderKey, client_order_id, trade_number
from shared.messages.trades import CancelAccepted, CancelOrders, Purpose
from voldesk.asking import ask, operator
from voldesk.completion import complete_open_trade, complete_order, complete_strategy
from voldesk.console import EXIT_USAGE, Failure, Json, Yes, confirm, print_json, say, title
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk cancel --trade t59876543 --yes")(cancel)


def cancel(
    order: Annotated[
        str | None,
        typer.Argument(
            help="As `voldesk orders` shows it (t59876543.0.open.1), or its full id.", autocompletion=complete_order
        ),
    ] = None,
    trade: Annotated[
        str | None, typer.Option(help="Cancel the working orders of this trade.", autocompletion=complete_open_trade)
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Cancel the working orders in this option.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(help="Cancel the working orders of this strategy.", autocompletion=complete_strategy),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Cancel all working orders of this desk.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel one order, those of a trade, an option or a strategy, or all. The trade decides what follows; `voldesk
    halt` stops it."""
    given = [each for each in (order, trade, symbol, strategy) if each is not None]
    if len(given) + every != 1:
        remedy = "give one of: an order id, --trade ID, --symbol SYMBOL, --strategy NAME, --all"
        raise Failure("say what to cancel", remedy, EXIT_USAGE)
    desk = load_desk()
    order_id = None if order is None else order_id_of(order, desk.number)
    kinds = {"order": order, "the orders of trade": trade, "the orders in": symbol, "the orders of": strategy}
    what = next((f"{kind} {name}" for kind, name in kinds.items() if name is not None), "all working orders")
    confirm(desk, f"cancel {what}?", yes=yes)
    request = CancelOrders(
        client_order_id=order_id, trade_id=trade, symbol=symbol, strategy=strategy, requested_by=operator()
    )
    accepted = ask(desk, "execution", request, CancelAccepted)
    if as_json:
        print_json({"order_ids": [str(number) for number in accepted.client_order_ids]})
    else:
        count = len(accepted.client_order_ids)
        say(f"{title(desk)}: cancelling {count} order{'' if count == 1 else 's'}")


def order_id_of(text: str, desk_number: int) -> int:
    """The client order id behind an order's name or id. Raises Failure for any other text."""
    if text.isdigit() and int(text) > 0:
        return int(text)
    parts = text.split(".")
    try:
        trade, leg, purpose, attempt = parts
        if purpose not in get_args(Purpose):
            raise ValueError(purpose)
        return client_order_id(
            OrderKey(
                desk=desk_number,
                trade_number=trade_number(trade),
                leg_index=int(leg),
                purpose=cast(Purpose, purpose),
                attempt=int(attempt),
            )
        )
    except ValueError:
        raise Failure(
            f"{text!r} is no order", "it looks like t59876543.0.open.1; see `voldesk orders`", EXIT_USAGE
        ) from None

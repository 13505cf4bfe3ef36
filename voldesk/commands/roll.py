"""voldesk roll: close one trade and open its successor, now."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.messages.control import RollTrade, RollWanted
from shared.views import clock_text, iso
from voldesk.asking import ask, host_of_trade, operator
from voldesk.completion import complete_open_trade
from voldesk.console import Json, Yes, confirm, print_json, say, title
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk roll t59876543 --yes")(roll)


def roll(
    trade_id: Annotated[
        str, typer.Argument(help="The id that `voldesk trades` shows.", autocompletion=complete_open_trade)
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Close a trade and open its successor as its strategy's roll says, within its net limit, now.

    The roll's conditions need not hold. Does not wait for the fills; `voldesk why` shows what stands against it.
    """
    desk = load_desk()
    confirm(desk, f"roll trade {trade_id}?", yes=yes)
    wanted = ask(
        desk, host_of_trade(desk, trade_id), RollTrade(trade_id=trade_id, requested_by=operator()), RollWanted
    )
    if as_json:
        print_json(
            {
                "trade_id": wanted.trade_id,
                "strategy": wanted.strategy,
                "net_limit_usd": wanted.net_limit_usd,
                "until": iso(wanted.until_ns),
            }
        )
        return
    say(
        f"{title(desk)}: trade {wanted.trade_id} is rolled if that costs no more than {wanted.net_limit_usd:,.2f} "
        f"USD net, until {clock_text(wanted.until_ns)} UTC; follow it with `voldesk why {wanted.strategy}`"
    )

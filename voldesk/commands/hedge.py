"""voldesk hedge: leave the delta hedge of one trade as it is, or have it adjusted again."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.messages.control import HedgeSteered, SteerHedge
from voldesk.asking import ask, host_of_trade, operator
from voldesk.completion import complete_open_trade
from voldesk.console import Json, print_json, say, title
from voldesk.preflight import load_desk

TradeId = Annotated[
    str,
    typer.Argument(
        help="The id of the trade that is hedged, as `voldesk trades` shows it.", autocompletion=complete_open_trade
    ),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Leave the delta hedge of a trade as it is, or have it adjusted again.",
        epilog="Example: voldesk hedge pause t59876543",
    )
    group.command(epilog="Example: voldesk hedge pause t59876543")(pause)
    group.command(epilog="Example: voldesk hedge resume t59876543")(resume)
    app.add_typer(group, name="hedge")


def pause(trade_id: TradeId, as_json: Json = False) -> None:
    """Leave the hedge of a trade as it is: nothing is added and nothing taken back until `voldesk hedge resume`.

    A close of a hedge by hand does the same. When the trade ends its hedges are closed all the same.
    """
    _steer("pause", trade_id, as_json=as_json)


def resume(trade_id: TradeId, as_json: Json = False) -> None:
    """Adjust the hedge of a trade again, also after a close of a hedge by hand has paused it."""
    _steer("resume", trade_id, as_json=as_json)


def _steer(action: str, trade_id: str, *, as_json: bool) -> None:
    desk = load_desk()
    order = SteerHedge(trade_id=trade_id, action=action, requested_by=operator())
    steered = ask(desk, host_of_trade(desk, trade_id), order, HedgeSteered)
    if as_json:
        shown = {"trade_id": steered.trade_id, "strategy": steered.strategy, "paused": steered.is_paused}
        print_json(shown)
        return
    how = "is left as it is" if steered.is_paused else "is adjusted again"
    say(f"{title(desk)}: the hedge of trade {steered.trade_id} {how}; see `voldesk why {steered.strategy}`")

"""voldesk resume: lift all halts."""

from __future__ import annotations

import typer

from shared.messages.control import HaltsAnswered, LiftHalts
from shared.views import halts_json
from voldesk.asking import ask, operator
from voldesk.commands.halt import show_halts
from voldesk.console import Json, Yes, confirm, print_json
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk resume --yes")(resume)


def resume(yes: Yes = False, as_json: Json = False) -> None:
    """Lift every halt in force, so that strategies may open trades again."""
    desk = load_desk()
    confirm(desk, "lift all halts and trade again?", yes=yes)
    state = ask(desk, "execution", LiftHalts(requested_by=operator()), HaltsAnswered).state
    if as_json:
        print_json(halts_json(state))
    else:
        show_halts(desk, state)

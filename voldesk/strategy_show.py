"""voldesk strategy show: what a strategy would open now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voldesk.completion import complete_strategy
from voldesk.console import Json, note, print_json
from voldesk.preflight import load_desk


def show(
    name: Annotated[
        str, typer.Argument(help="The strategy, as section strategy enables it.", autocompletion=complete_strategy)
    ],
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write the payoff as a PNG picture too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a strategy would open now: legs, premium, Greeks, largest loss, breakevens, margin, fees and payoff.

    Its legs are selected on the newest chain, whatever its gates say; nothing is reserved. Figures are at marks; the
    margin is risk's.
    """
    # imported here because arrays take longer to load than any other command takes to run
    from shared.risk_views import what_if_json
    from voldesk.structure_show import show_structure, write_picture
    from voldesk.structure_view import structure_json, structure_view
    from voldesk.would_open import ask_risk, would_open

    desk = load_desk()
    structure, chains, now_ns = would_open(desk, name)
    view = structure_view(structure.legs, chains, now_ns)
    answer = ask_risk(desk, name, structure)
    if picture is not None:
        write_picture(desk, name, view, picture)
    if as_json:
        risk = {"refused_to_say": answer} if isinstance(answer, str) else what_if_json(answer)
        head = {"strategy": name, "mode": desk.mode, "account": desk.account_id}
        print_json(head | structure_json(view) | {"declared_max_loss_usd": structure.max_loss_usd, "risk": risk})
        return
    show_structure(desk, name, view, answer)
    if picture is not None:
        note(f"the payoff is in {picture}")

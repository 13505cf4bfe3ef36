"""What a strategy would open on the newest chains, whatever its gates say, and what risk says to it."""

from __future__ import annotations

from shared.clock import wall_ns
from shared.config import DeskConfig
from shared.messages.account import AccountSnapshot
from shared.messages.risk import WhatIf, WhatIfAnswer
from shared.options.chain import ChainView
from shared.strategy.protocol import OpenStructure
from shared.strategy.selection import SelectionFailed
from voldesk.asking import ask
from voldesk.chain_table import newest_chain
from voldesk.commands.positions import newest_account
from voldesk.console import EXIT_UNREACHABLE, Failure, progress
from voldesk.strategy_files import load_runner

_PATIENCE_S = 10.0


def would_open(desk: DeskConfig, name: str) -> tuple[OpenStructure, dict[str, ChainView], int]:
    """The structure, the chains that it was selected on by index name, and when. Raises Failure where none fits."""
    runner = load_runner(desk, name)
    with progress("waiting for the next chain"):
        chains = {underlying: newest_chain(desk, underlying, _PATIENCE_S) for underlying in runner.underlyings}
    now_ns = wall_ns()
    found = runner.structure(chains, now_ns, _account(desk))
    if isinstance(found, SelectionFailed):
        raise Failure(f"{name} finds no legs now: {found.text}", "see `voldesk why " + name + "`")
    return found, chains, now_ns


def ask_risk(desk: DeskConfig, name: str, structure: OpenStructure) -> WhatIfAnswer | str:
    """What granting it would do now, or why risk does not say."""
    asked = WhatIf(
        account_id=desk.account_id, strategy=name, legs=structure.legs, max_loss_usd=structure.max_loss_usd
    )
    try:
        return ask(desk, "risk", asked, WhatIfAnswer)
    except Failure as error:
        if error.exit_code != EXIT_UNREACHABLE:
            raise
        return error.cause


def _account(desk: DeskConfig) -> AccountSnapshot | None:
    """For sizes that are a share of the equity; without risk these say that it is not known."""
    try:
        return newest_account(desk)
    except Failure as error:
        if error.exit_code != EXIT_UNREACHABLE:
            raise
        return None

"""voldesk halt: stop opening, cancel, or flatten. Works with every service but execution dead."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.bus.frames import decode_frame
from shared.config import DeskConfig
from shared.messages.control import Halt, HaltsAnswered, HaltState, RaiseHalt
from shared.messages.system import Replay, ReplayAnswer
from shared.messages.topics import topic_of
from shared.messages.trades import HaltLevel
from shared.views import clock_text, halts_json
from voldesk.asking import ask, operator
from voldesk.console import Json, confirm, print_json, print_table, say, title
from voldesk.preflight import load_desk

_LOOK_DEADLINE_MS = 1_000


def register(app: typer.Typer) -> None:
    app.command(epilog='Example: voldesk halt --level cancel_all --reason "venue maintenance"')(halt)


def halt(
    level: Annotated[
        HaltLevel,
        typer.Option(
            help="no_new_trades: withdraws what opens, unwinds half-open trades; cancel_all: and every request for "
            "quote, and orders of ours that no trade knows, while closes go on; flatten: and closes every trade."
        ),
    ] = "no_new_trades",
    reason: Annotated[str, typer.Option(help="Kept in the journal and shown until the halt is lifted.")] = "operator",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask for confirmation; only --level flatten asks.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stop trading at once. Stays in force over restarts until `voldesk resume`."""
    desk = load_desk()
    if level == "flatten":
        confirm(desk, "close every position?", yes=yes)
    state = raise_halt(desk, level, reason)
    if as_json:
        print_json(halts_json(state))
    else:
        show_halts(desk, state)


def raise_halt(desk: DeskConfig, level: HaltLevel, reason: str) -> HaltState:
    """Have execution latch a halt. Raises Failure."""
    request = RaiseHalt(level=level, reason=reason, requested_by=operator())
    return ask(desk, "execution", request, HaltsAnswered).state


def halts_in_force(desk: DeskConfig) -> tuple[Halt, ...]:
    """What halts trading now. Raises Failure when execution does not answer."""
    topic = topic_of("exec.{account}.halt", account=desk.account_id)
    answer = ask(desk, "execution", Replay(prefix=topic), ReplayAnswer, _LOOK_DEADLINE_MS)
    states = [decode_frame(frame).message for frame in answer.frames]
    return next((state.halts for state in reversed(states) if isinstance(state, HaltState)), ())


def show_halts(desk: DeskConfig, state: HaltState) -> None:
    if not state.halts:
        say(f"{title(desk)}: no halt is in force")
        return
    print_table(
        desk,
        "halts in force",
        ("level", "raised UTC", "by", "reason"),
        [(halt.level, clock_text(halt.raised_ns), halt.raised_by, halt.reason) for halt in state.halts],
    )
    say("lift with `voldesk resume`")

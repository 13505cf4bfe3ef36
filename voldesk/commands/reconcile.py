"""voldesk reconcile: where the venue and the journal differed, and what was done about it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.markup import escape

from shared.bus import Bus
from shared.config import DeskConfig
from shared.messages.reconciliation import DifferenceList, FoundDifference, ListDifferences
from shared.views import clock_text, differences_json
from voldesk.asking import ask, ask_on
from voldesk.console import EXIT_UNREACHABLE, Failure, Json, print_json, print_table, progress, say, title
from voldesk.preflight import load_desk

_DONE = {
    "taken_over": "taken over",
    "queried": "asked again",
    "cancelled": "cancelled",
    "booked": "booked",
    "closing": "closing the rest",
    "waiting": "waits for you",
    "left_alone": "left alone",
}
_COMPARED_WITHIN_S = 20.0
_POLL_S = 0.2


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk reconcile --now")(reconcile)


def reconcile(
    now: Annotated[bool, typer.Option("--now", help="Compare with the venue first, and wait for it.")] = False,
    as_json: Json = False,
) -> None:
    """Show the differences that comparisons with the venue found, newest first, with what was done and when.

    Execution compares at its start, after each reconnect and once a minute. Missed fills are taken over, lost legs
    booked; orders and positions that are not the desk's are shown and never touched.
    """
    desk = load_desk()
    answer = compared(desk) if now else ask(desk, "execution", ListDifferences(), DifferenceList)
    if as_json:
        print_json(differences_json(answer))
    else:
        _show(desk, answer)


def compared(desk: DeskConfig, within_s: float = _COMPARED_WITHIN_S) -> DifferenceList:
    """Have execution compare with the venue and return what is known then, each position having been looked at twice
    when it disagreed. Raises Failure (69) when the venue cannot be compared in time."""

    async def run() -> DifferenceList:
        async with Bus.client(desk) as bus:
            answer = await ask_on(bus, desk, "execution", ListDifferences(compare=True), DifferenceList)
            asked_ns = answer.at_ns
            try:
                async with asyncio.timeout(within_s):
                    while answer.compared_ns < asked_ns or answer.unconfirmed:
                        await asyncio.sleep(_POLL_S)
                        answer = await ask_on(bus, desk, "execution", ListDifferences(), DifferenceList)
            except TimeoutError:
                raise Failure(
                    f"the venue was not compared within {within_s:.0f} s",
                    "see `voldesk status` and `voldesk logs execution`, or repeat without --now",
                    EXIT_UNREACHABLE,
                ) from None
            return answer

    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    with progress("comparing with the venue"):
        return asyncio.run(run())


def _show(desk: DeskConfig, answer: DifferenceList) -> None:
    when = f"last compared {clock_text(answer.compared_ns)} UTC" if answer.compared_ns else "not compared yet"
    if not answer.differences:
        say(f"{title(desk)}: no difference between the venue and the journal is known; {when}")
    else:
        print_table(
            desk,
            "differences",
            ("found UTC", "difference", "what was seen", "done", "over UTC"),
            [_row(found) for found in answer.differences],
        )
        say(when)
    if answer.unconfirmed:
        say(f"looked at again: {', '.join(answer.unconfirmed)}")
    if any(found.stands and found.difference.kind == "foreign_position" for found in answer.differences):
        say("A position that is yours by hand becomes a trade with `voldesk adopt SYMBOL --strategy NAME`.")


def _row(found: FoundDifference) -> tuple[str, ...]:
    difference = found.difference
    over = "[yellow]stands[/yellow]" if found.stands else "" if found.ended_ns is None else clock_text(found.ended_ns)
    return (
        clock_text(found.found_ns),
        difference.kind.replace("_", " "),
        escape(f"{difference.symbol}: {difference.detail}"),
        _DONE[difference.done],
        over,
    )

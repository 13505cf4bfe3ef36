"""voldesk rfq: what makers would trade a structure at, and what they said before. Nothing is ever accepted here."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec
import typer

from shared.bus import Bus
from shared.clock import wall_ns
from shared.config import DeskConfig
from shared.cost_views import quotes_json
from shared.messages.base import Side
from shared.messages.inquiries import InquiryList, ListInquiries, QuoteStructure, StructureQuotes
from shared.messages.trades import LegOrder
from shared.tasks import spawn
from voldesk.asking import ask, ask_on, operator
from voldesk.console import (
    EXIT_FAILED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Failure,
    Json,
    note,
    print_json,
    print_table,
    progress,
    say,
    write_line,
)
from voldesk.preflight import load_desk
from voldesk.quotes_table import HISTORY_COLUMNS, history_row, structure_text, table_of, words_below

_ANSWER_MARGIN_MS = 20_000
"""What execution may take beside the collection: asking the venue, a last look, and a repeat of the request."""
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Ask makers what they would trade a structure at. Nothing is accepted, no position changes.",
        epilog="Example: voldesk rfq quote buy 0.5 BTCUSD-26JUN26-100000-C sell 0.5 BTCUSD-26JUN26-120000-C",
    )
    group.command(
        epilog="Example: voldesk rfq quote buy 0.5 BTCUSD-26JUN26-100000-C sell 0.5 BTCUSD-26JUN26-120000-C --watch"
    )(quote)
    group.command(epilog="Example: voldesk rfq history --limit 5")(history)
    app.add_typer(group, name="rfq")


def quote(
    structure: Annotated[
        list[str], typer.Argument(metavar="STRUCTURE", help="Its legs: buy|sell QUANTITY SYMBOL, once for each leg.")
    ],
    collect: Annotated[
        float, typer.Option("--collect", min=0.5, max=60, help="Seconds in which quotes are collected.")
    ] = 6.0,
    watch: Annotated[bool, typer.Option("--watch", help="Ask again and again, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=1, max=3_600, help="With --watch: seconds from one request to the next.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Request two-way quotes on a structure, show them against the order book, and withdraw the request.

    Makers quote both directions: to trade the legs as they are given, and the opposite. They see the request; nothing
    is accepted. With --watch each answer is a further table, with --json a line; `rfq history` shows earlier ones.
    """
    asked = QuoteStructure(legs=legs_of(structure), collect_s=collect, requested_by=operator())
    desk = load_desk()
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    asyncio.run(_watch(desk, asked, every, as_json) if watch else _once(desk, asked, as_json))


def history(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List what came of earlier requests, newest first, the best quote of each side against the book of its time."""
    desk = load_desk()
    answer = ask(desk, "execution", ListInquiries(limit=limit), InquiryList)
    if as_json:
        print_json([quotes_json(each) for each in answer.inquiries])
        return
    rows = [history_row(each) for each in answer.inquiries]
    print_table(desk, "quotes of makers", HISTORY_COLUMNS, rows, right=HISTORY_COLUMNS[2:])


def legs_of(words: list[str]) -> tuple[LegOrder, ...]:
    """The legs behind "buy 0.5 SYMBOL sell 0.5 SYMBOL", as separate words or in one. Raises Failure (2)."""
    parts = " ".join(words).replace(",", " ").split()
    if not parts or len(parts) % 3:
        raise Failure(
            "a structure is its legs, each three words: buy or sell, the quantity, the symbol",
            "as in: voldesk rfq quote buy 0.5 BTCUSD-26JUN26-100000-C",
            EXIT_USAGE,
        )
    return tuple(_leg(*parts[start : start + 3]) for start in range(0, len(parts), 3))


def _leg(side: str, quantity: str, symbol: str) -> LegOrder:
    direction = _SIDES.get(side.lower())
    if direction is None:
        raise Failure(f"{side!r} is no side", "each leg begins with buy or sell", EXIT_USAGE)
    try:
        amount = Decimal(quantity)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise Failure(f"{quantity!r} is no quantity", "give a number above 0 after buy or sell", EXIT_USAGE)
    return LegOrder(symbol=symbol.upper(), side=direction, quantity=amount)


async def _once(desk: DeskConfig, asked: QuoteStructure, as_json: bool) -> None:
    async with Bus.client(desk) as bus:
        answer = await _collected(bus, desk, asked)
    if as_json:
        print_json(quotes_json(answer))
    else:
        _show(desk, answer)


async def _watch(desk: DeskConfig, asked: QuoteStructure, every_s: float, as_json: bool) -> None:
    """Ask now and then. A refusal of one request is told and the next one asked; a desk that is away ends it."""
    async with Bus.client(desk) as bus:
        while True:
            next_ns = wall_ns() + round(every_s * 1e9)
            try:
                answer = await _collected(bus, desk, asked)
            except Failure as error:
                if error.exit_code != EXIT_FAILED:
                    raise
                note(f"voldesk: {error.cause}; asked again in {every_s:g} s")
            else:
                if not as_json:
                    _show(desk, answer)
                elif not write_line(msgspec.json.encode(quotes_json(answer)).decode()):
                    return
            with progress("the next request follows"):
                await asyncio.sleep(max(0.0, (next_ns - wall_ns()) / 1e9))


async def _collected(bus: Bus, desk: DeskConfig, asked: QuoteStructure) -> StructureQuotes:
    """Ask execution and count the seconds down while it collects. Raises Failure."""
    deadline_ms = round(asked.collect_s * 1_000) + _ANSWER_MARGIN_MS
    with progress("asking makers") as tell:

        async def count_down() -> None:
            for left in range(math.ceil(asked.collect_s), 0, -1):
                tell(f"collecting quotes of makers, {left} s left")
                await asyncio.sleep(1)
            tell("reading the last quotes")

        counting = spawn(count_down(), name="count down")
        try:
            return await ask_on(bus, desk, "execution", asked, StructureQuotes, deadline_ms)
        finally:
            counting.cancel()


def _show(desk: DeskConfig, answer: StructureQuotes) -> None:
    say(structure_text(answer))
    columns, rows = table_of(answer)
    print_table(desk, "quotes of makers", columns, rows, right=columns[2:])
    for line in words_below(answer):
        say(line)

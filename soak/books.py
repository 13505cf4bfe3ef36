"""What must be so when the faults are over: nothing lost, nothing doubled, nothing naked, cash explained."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

from bench.desk import BenchDesk
from services.execution.book import Book
from shared.clock import wall_ns
from shared.messages.rfq import BlockTrade
from shared.messages.venue import VenueFill, VenueOrder
from shared.secrets import load_api_key
from shared.venues.coincall import CoincallGateway, simulated
from soak.own_fills import journal_of, wrongly_booked

T = TypeVar("T")

FINAL = ("CLOSED", "FAILED", "SETTLED")
_TRADES = "SELECT trade_id, intent_id, strategy, state, realized_pnl_usd, fees_usd, opened_ns FROM trades"
_ROWS_MAX = "1000000"
_OVERLAP_NS = 60_000_000_000
"""What is asked for again with each look: more than the clocks of desk and venue differ by."""


class VenueRecord:
    """All executions, orders and block trades that the venue has told of, kept from look to look: it forgets."""

    def __init__(self, began_ns: int) -> None:
        self.fills: dict[int, VenueFill] = {}
        self.orders: dict[int, VenueOrder] = {}
        self.blocks: dict[str, BlockTrade] = {}
        self._until_ns = began_ns

    def look(self, desk: BenchDesk) -> None:
        """Take in what is new since the last look. Raises VenueError."""
        since_ns, looked_ns = self._until_ns - _OVERLAP_NS, wall_ns()

        async def ask(gateway: CoincallGateway) -> None:
            # working orders first: one that ends in between is listed twice, none is missed
            for order in (*await gateway.open_orders(), *await gateway.order_history(since_ns)):
                self.orders[order.venue_order_id] = order
            self.fills |= {fill.venue_trade_id: fill for fill in await gateway.fills(since_ns)}
            self.blocks |= {block.quote_id: block for block in await gateway.block_trades(since_ns)}

        at_venue(desk, ask)
        self._until_ns = looked_ns


def at_venue(desk: BenchDesk, ask: Callable[[CoincallGateway], Awaitable[T]]) -> T:
    """Ask the simulated exchange over HTTP, with risk's read-only key. Raises VenueError."""

    async def run() -> T:
        port = json.loads((desk.run_dir / "ports.json").read_text())["exchange"]
        gateway = CoincallGateway(simulated("127.0.0.1", port), load_api_key(desk.settings, "risk"))
        try:
            return await ask(gateway)
        finally:
            await gateway.close()

    return asyncio.run(run())


def trades_of(desk: BenchDesk) -> list[dict[str, Any]]:
    """All trades of the journal."""
    trades: list[dict[str, Any]] = desk.answer("journal", "sql", _TRADES, "--limit", _ROWS_MAX)
    return trades


def broken_promises(desk: BenchDesk, venue: VenueRecord, start_cash_usd: Decimal) -> list[str]:
    """What does not hold at a desk whose faults are over and whose strategies are paused. venue: of the whole run."""
    trades = trades_of(desk)
    broken = [f"{row['trade_id']} is still {row['state']}" for row in trades if row["state"] not in FINAL]
    broken += [f"intent {intent} opened two trades" for intent in _twice(row["intent_id"] for row in trades)]
    for order in at_venue(desk, lambda gateway: gateway.open_orders()):
        broken.append(f"order {order.client_order_id} still rests at the venue")
    for position in at_venue(desk, lambda gateway: gateway.positions()):
        if position.quantity:
            broken.append(f"the venue still holds {position.quantity} {position.symbol}")
    _, book = journal_of(desk.settings)
    broken += wrongly_booked(book, venue.fills.values(), venue.orders.values(), venue.blocks.values())
    broken += legs_left_open(book)
    account = at_venue(desk, lambda gateway: gateway.account())
    made_usd = sum((Decimal(row["realized_pnl_usd"]) - Decimal(row["fees_usd"]) for row in trades), Decimal(0))
    off_usd = account.available_margin_usd - start_cash_usd - made_usd
    # the journal's tables round each trade's P&L to a millionth
    if abs(off_usd) > Decimal("0.000001") * max(len(trades), 1):
        broken.append(f"cash differs by {off_usd} USD from what the trades made")
    stands = [each for each in desk.answer("reconcile", "--now")["differences"] if each["stands"]]
    broken += [f"reconcile: {each['kind']} of {each['symbol']}: {each['detail']}" for each in stands]
    return broken


def legs_left_open(book: Book) -> list[str]:
    """Each leg of a trade that has ended was closed as much as opened."""
    return [
        f"{trade.trade_id} leg {index}: {leg.held_quantity} {leg.symbol} is left"
        for trade in book.trades.values()
        for index, leg in enumerate(trade.legs)
        if leg.held_quantity
    ]


def _twice(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice = []
    for value in values:
        if value in seen:
            twice.append(value)
        seen.add(value)
    return twice

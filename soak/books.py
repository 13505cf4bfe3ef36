"""What must be so when the faults are over: nothing lost, nothing doubled, nothing naked, cash explained."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

from bench.desk import BenchDesk
from shared.messages.venue import VenueFill
from shared.secrets import load_api_key
from shared.venues.coincall import CoincallGateway, simulated

T = TypeVar("T")

FINAL = ("CLOSED", "FAILED", "SETTLED")
_TRADES = "SELECT trade_id, intent_id, strategy, state, realized_pnl_usd, fees_usd, opened_ns FROM trades"
_LEGS = "SELECT symbol, opened_quantity, closed_quantity FROM legs"
_ROWS_MAX = "1000000"


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


def journalled(desk: BenchDesk) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All trades of the journal and their legs."""
    trades, legs = (desk.answer("journal", "sql", text, "--limit", _ROWS_MAX) for text in (_TRADES, _LEGS))
    return trades, legs


def broken_promises(desk: BenchDesk, fills: Iterable[VenueFill], start_cash_usd: Decimal) -> list[str]:
    """What does not hold at a desk whose faults are over and whose strategies are paused. fills: all of them."""
    trades, legs = journalled(desk)
    broken = [f"{row['trade_id']} is still {row['state']}" for row in trades if row["state"] not in FINAL]
    broken += [f"intent {intent} opened two trades" for intent in _twice(row["intent_id"] for row in trades)]
    for order in at_venue(desk, lambda gateway: gateway.open_orders()):
        broken.append(f"order {order.client_order_id} still rests at the venue")
    for position in at_venue(desk, lambda gateway: gateway.positions()):
        if position.quantity:
            broken.append(f"the venue still holds {position.quantity} {position.symbol}")
    broken += legs_not_filled_once(legs, fills)
    account = at_venue(desk, lambda gateway: gateway.account())
    made_usd = sum((Decimal(row["realized_pnl_usd"]) - Decimal(row["fees_usd"]) for row in trades), Decimal(0))
    off_usd = account.available_margin_usd - start_cash_usd - made_usd
    # the journal's tables round each trade's P&L to a millionth
    if abs(off_usd) > Decimal("0.000001") * max(len(trades), 1):
        broken.append(f"cash differs by {off_usd} USD from what the trades made")
    stands = [each for each in desk.answer("reconcile", "--now")["differences"] if each["stands"]]
    broken += [f"reconcile: {each['kind']} of {each['symbol']}: {each['detail']}" for each in stands]
    return broken


def legs_not_filled_once(legs: Iterable[dict[str, Any]], fills: Iterable[VenueFill]) -> list[str]:
    """Each leg is bought as much as sold, and the venue bought of each symbol what the journal says was held."""
    held: dict[str, Decimal] = defaultdict(Decimal)
    bought: dict[str, Decimal] = defaultdict(Decimal)
    net: dict[str, Decimal] = defaultdict(Decimal)
    for leg in legs:
        held[leg["symbol"]] += Decimal(leg["opened_quantity"])
    for fill in fills:
        bought[fill.symbol] += fill.quantity if fill.side == "buy" else Decimal(0)
        net[fill.symbol] += fill.quantity if fill.side == "buy" else -fill.quantity
    told = [
        f"{symbol}: the journal opened {held[symbol]}, the venue bought {bought[symbol]}"
        for symbol in sorted(held.keys() | bought.keys())
        if held[symbol] != bought[symbol]
    ]
    return told + [f"{symbol}: bought {quantity} more than sold" for symbol, quantity in net.items() if quantity]


def _twice(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice = []
    for value in values:
        if value in seen:
            twice.append(value)
        seen.add(value)
    return twice

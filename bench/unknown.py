"""How long an order stays unknown whose request was not answered: from the failure of the request until execution has
journalled what became of the order.

    python -m bench.unknown [--json] [--quick] [--orders 60]

A desk of real processes on the simulated exchange, whose faults are switched on at run time. Orders go out four at a
time. Either the exchange takes them and the answers are lost, or it fails and takes nothing, which looks the same
from here and must be proven by the absence of the order once its request can no longer be acted on. Meanwhile, as
drawn from a fixed seed, its private stream is silent or not, and what is asked about the orders is answered at once,
late, or for a while not at all. Orders that the stream showed before their request had failed were never unknown:
they are told of and not counted.

Then a whole batch of 40 orders of a quoting trade is lost in both ways, while the private stream is silent: how long
until the last of them is known.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import numpy as np
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.quoting_load import SHARE_OF_MARK
from bench.rows import Row, at_most, row
from bench.tick_to_order import Journaled, journaled
from bench.trader import WIDE_LIMITS, Trader
from services.execution.config import ExecutionConfig
from services.execution.rows import OrderMoved, OrderRequested
from shared.messages.quoting import OrderToPlace
from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.options.chain import snap_price
from shared.ports import resolve_ports
from shared.venues.coincall.endpoints import BATCH_CREATE, CREATE_ORDER, SINGLE_ORDER

ORDERS = 60
AT_ONCE, QUICK_AT_ONCE = 4, 2
SEED = 1
LIMIT_S = 15.0
BATCH = 40
SILENT_MS, FAILING_MS, LATE_MS, BATCH_SILENT_MS = 4_000, 3_000, 2_000, 20_000
TRADE_PATIENCE_S = 120.0

CONFIG = f"""
[desk]
name = "unknown"
account_id = "unknown"
venue = "sim"
underlyings = ["BTCUSD"]
[exchange]
paper_rights = ["market_maker"]
{WIDE_LIMITS}"""
AT_THE_TOUCH = ExecutionParams(
    phases=(LimitPhase(pricing="passive", duration_s=2.0, reprice_interval_s=60.0),),
    fill_timeout_s=2.0,
    max_requote_rounds=1,
    final_look_s=1.0,
)

Placing = Literal["lost_answer", "http_500"]
Queries = Literal["answered", "late", "failing"]
TOLD: dict[Placing, str] = {"lost_answer": "taken, the answer lost", "http_500": "not taken, no answer"}


class Weather(msgspec.Struct, frozen=True):
    """What is wrong while some orders go out."""

    placing: Placing
    silent: bool
    queries: Queries

    def faults(self, orders: int) -> list[dict[str, Any]]:
        """As the exchange is told of them."""
        found: list[dict[str, Any]] = [{"kind": self.placing, "path_prefix": CREATE_ORDER.path, "count": orders}]
        if self.silent:
            found.append({"kind": "silence", "path_prefix": "/options", "duration_ms": SILENT_MS})
        asked = {"path_prefix": SINGLE_ORDER.path, "duration_ms": FAILING_MS}
        if self.queries == "failing":
            found.append({"kind": "http_500", **asked})
        elif self.queries == "late":
            found.append({"kind": "latency", "latency_ms": LATE_MS, **asked})
        return found


QUICK = Weather("lost_answer", silent=True, queries="answered")


def weathers(rounds: int) -> list[Weather]:
    """The same ones in each run; both ways of failing equally often."""
    chance = random.Random(SEED)
    return [
        Weather(
            "lost_answer" if number % 2 == 0 else "http_500",
            chance.random() < 0.5,
            chance.choice(("answered", "late", "failing")),
        )
        for number in range(rounds)
    ]


def unknown_s(rows: Journaled) -> dict[str, tuple[float | None, bool]]:
    """Of the opening order of each trade: how long it was unknown, None for never, and whether that is over."""
    trade_of: dict[int, str] = {}
    since_ns: dict[int, int] = {}
    found: dict[str, tuple[float | None, bool]] = {}
    for at_ns, entry in rows:
        match entry:
            case OrderRequested(purpose="open", client_order_id=number):
                trade_of[number] = entry.trade_id
                found[entry.trade_id] = None, False
            case OrderMoved(state="UNKNOWN", client_order_id=number) if number in trade_of:
                since_ns[number] = at_ns
            case OrderMoved(client_order_id=number) if number in trade_of:
                trade = trade_of[number]
                if number in since_ns and not found[trade][1]:
                    found[trade] = (at_ns - since_ns[number]) / 1e9, True
                elif number not in since_ns:
                    found[trade] = None, True
            case _:
                pass
    return found


def all_known_s(rows: Journaled, trade_id: str) -> tuple[int, float]:
    """Of the orders of one trade: how many were unknown, and how long from the first that was until the last was not.
    Raises AssertionError when one still is."""
    since_ns: int | None = None
    until_ns = 0
    of_trade: set[int] = set()
    unknown: set[int] = set()
    count = 0
    for at_ns, entry in rows:
        match entry:
            case OrderRequested(trade_id=of, client_order_id=number) if of == trade_id:
                of_trade.add(number)
            case OrderMoved(state="UNKNOWN", client_order_id=number) if number in of_trade:
                unknown.add(number)
                count += 1
                since_ns = since_ns or at_ns
            case OrderMoved(client_order_id=number) if number in unknown:
                unknown.remove(number)
                until_ns = at_ns
            case _:
                pass
    assert not unknown, f"{len(unknown)} orders of {trade_id} are still unknown"
    return count, 0.0 if since_ns is None else (until_ns - since_ns) / 1e9


def batch_figures(found: Mapping[Placing, tuple[int, float]]) -> list[Row]:
    """How long it took to know all of a lost batch. One that was not taken is proven order by order, by as many
    queries as the venue allows, once absence counts."""
    return [
        row(
            f"{BATCH} unknown at once, {TOLD[placing]}: until all resolved",
            round(seconds, 2),
            "s",
            target=at_most(LIMIT_S) if placing == "lost_answer" else None,
            beside="until its absence counts" if placing == "http_500" else "",
            beside_value=_counts_s() if placing == "http_500" else None,
            note=f"{count} orders were unknown",
        )
        for placing, (count, seconds) in found.items()
    ]


def _counts_s() -> float:
    config = ExecutionConfig()
    return (config.order_validity_ms + config.evidence_margin_ms) / 1e3


def figures(found: Mapping[Placing, Sequence[float]], never: int) -> list[Row]:
    """All together, judged; then each way of failing by itself."""
    floor_s = _counts_s()
    every = [seconds for each in found.values() for seconds in each]
    note = f"{len(every)} orders, worst {max(every, default=0.0):.1f} s; {never} more were shown by the stream before"
    rows = [
        row(f"unknown → resolved, p{percentile}", _percentile(every, percentile), "s", target=target, note=told)
        for percentile, target, told in ((99, at_most(LIMIT_S), note), (50, None, ""))
    ]
    for placing, seconds in found.items():
        for percentile in (99, 50):
            beside = "until its absence counts" if placing == "http_500" else ""
            rows.append(
                row(
                    f"  {TOLD[placing]}, p{percentile}",
                    _percentile(seconds, percentile),
                    "s",
                    beside=beside,
                    beside_value=floor_s if beside else None,
                )
            )
    return rows


def _percentile(values: Sequence[float], percentile: int) -> float | None:
    return round(float(np.percentile(values, percentile)), 2) if values else None


async def lose_batch(trader: Trader, exchange: httpx.AsyncClient, placing: Placing) -> str:
    """Place a batch that is lost in this way, and wait until each of its orders is known; the trade."""
    await trader.ready()
    (symbol,) = trader.symbols(("C", 0.1))
    view = trader.chain
    assert view is not None, "the leg was chosen from it"
    mark, instrument = view.value(symbol, "mark"), view.instrument(symbol)
    assert mark is not None, f"{symbol} has a mark"
    assert instrument is not None, f"{symbol} is listed"
    leg = LegOrder(symbol=symbol, side="buy", quantity=Decimal(1))
    opened = await trader.open([leg], "quoting", policy="best_effort", opening_s=600.0)
    for fault in (
        {"kind": placing, "path_prefix": BATCH_CREATE.path, "count": 1},
        {"kind": "silence", "path_prefix": "/options", "duration_ms": BATCH_SILENT_MS},
    ):
        (await exchange.post("/sim/faults", json=fault)).raise_for_status()
    price = snap_price(mark * SHARE_OF_MARK, instrument.tick_size, up=False)
    wish = OrderToPlace(symbol=symbol, side="buy", quantity=Decimal("0.01"), price=price)
    changed = await trader.change(opened.trade_id, place=[wish] * BATCH)
    numbers = [number for answer in changed.placed for number in answer.client_order_ids]
    assert len(numbers) == BATCH, f"of {BATCH} orders {len(numbers)} went out: {changed.refused}"

    def known() -> bool:
        told = [trader.orders[number].state for number in numbers if number in trader.orders]
        return len(told) == BATCH and not {"SENDING", "UNKNOWN"} & set(told)

    await trader.until(known, f"the outcome of the orders of {opened.trade_id}", TRADE_PATIENCE_S)
    (await exchange.delete("/sim/faults")).raise_for_status()
    return opened.trade_id


async def trade(
    desk: BenchDesk, rounds: Sequence[Weather], at_once: int, batches: Sequence[Placing]
) -> tuple[dict[str, Placing], dict[Placing, str]]:
    """How the opening order of each trade failed, by trade; and the trade of each lost batch."""
    opened: dict[str, Placing] = {}
    lost: dict[Placing, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    address = f"http://127.0.0.1:{resolve_ports(desk.run_dir, desk.settings.ports)['exchange']}"
    async with Trader(desk.settings) as trader, httpx.AsyncClient(base_url=address) as exchange:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("the desk starts", total=len(rounds) * at_once)
            await trader.ready()
            symbols = trader.symbols(("C", 0.2), ("P", 0.2), ("C", 0.3), ("P", 0.3))
            for weather in rounds:
                await trader.ready()
                progress.update(task, description=f"orders: {TOLD[weather.placing]}")
                for fault in weather.faults(at_once):
                    (await exchange.post("/sim/faults", json=fault)).raise_for_status()
                legs = [LegOrder(symbol=symbol, side="buy", quantity=Decimal("0.01")) for symbol in symbols]
                trades = [
                    each.trade_id
                    for each in await asyncio.gather(
                        *(trader.open([leg], "limit", params=AT_THE_TOUCH) for leg in legs[:at_once])
                    )
                ]
                opened |= dict.fromkeys(trades, weather.placing)

                def over(trades: Sequence[str] = trades) -> bool:
                    return all(each in trader.trades and trader.trades[each].is_final for each in trades)

                await trader.until(over, f"the end of trades {', '.join(trades)}", TRADE_PATIENCE_S)
                (await exchange.delete("/sim/faults")).raise_for_status()
                progress.advance(task, at_once)
            for placing in batches:
                progress.update(task, description=f"a batch of {BATCH}: {TOLD[placing]}")
                lost[placing] = await lose_batch(trader, exchange, placing)
    return opened, lost


def measure(run: Run) -> list[Row]:
    at_once = QUICK_AT_ONCE if run.quick else AT_ONCE
    rounds = [QUICK] if run.quick else weathers(max(2, round(run.arguments.orders / at_once)))
    with tempfile.TemporaryDirectory(prefix="vd-unknown-") as home:
        desk = BenchDesk(Path(home), CONFIG, {})
        services = ("exchange", "marketdata", "risk", "execution")
        with desk.modules({name: (f"services.{name}",) for name in services}):
            batches: Sequence[Placing] = ("lost_answer",) if run.quick else tuple(TOLD)
            opened, lost = uvloop.run(trade(desk, rounds, at_once, batches))
        rows = journaled(desk.journal("execution"))
        told = unknown_s(rows)
        batch = {placing: all_known_s(rows, trade_id) for placing, trade_id in lost.items()}
    found: dict[Placing, list[float]] = {"lost_answer": [], "http_500": []}
    never = 0
    for trade_id, placing in opened.items():
        seconds, resolved = told[trade_id]
        assert resolved, f"{trade_id} ended with an order whose outcome is not known"
        if seconds is None:
            never += 1
        else:
            found[placing].append(seconds)
    return figures(found, never) + batch_figures(batch)


def add_arguments(parser: argparse.ArgumentParser) -> Any:
    parser.add_argument("--orders", type=int, default=ORDERS, help=f"orders that fail (default {ORDERS})")


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure, add_arguments))

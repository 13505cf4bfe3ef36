"""From an intent to the venue's first request of a trade of four legs, by each mode, beside the same hops bare.

    python -m bench.intent [--json] [--quick] [--intents 60]

A desk of real processes on the simulated exchange; the bench stands in the strategy host's place and makes an intent
every half a second, the modes in turn. A line is p50 or p99 from the making of the intent, over risk's grant and
execution's decision and commit, to the arrival of the HTTP request at the exchange: of the first order of an iron
condor (its two bought legs go first, the sold ones wait for them), of the last of four orders where four bought legs
need not wait for each other, or of the request for quote. Below it what of that the grant's round trip and the
journal's commit take. The bare chain (bench.bare_chain) takes the same hops between as many processes with the same
frames and bytes, one SQLite FULL commit and no logic, in the middle between two intents of the desk.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.bare_chain import Sample
from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.noting import notes_in
from bench.rows import Row, row
from bench.tick_to_order import Stamps, bare_chain, bare_ways, journaled, orders_in
from bench.trader import WIDE_LIMITS, Opened, Trader
from services.execution.rows import TradeRequested
from shared.ids import parse_client_order_id, trade_number
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionMode, ExecutionParams, LegOrder, LimitPhase
from shared.venues.coincall.endpoints import CREATE_ORDER, CREATE_RFQ

INTENTS, QUICK_INTENTS = 60, 2
WARM_UP = 2
"""Of each mode; they are not counted."""

STEP_NS = 500_000_000
DESK_NUMBER = 7
QUANTITY = Decimal("0.01")
ARRIVAL_S = 10.0
SERVICES = ("marketdata", "risk")

AT_THE_TOUCH = ExecutionParams(
    phases=(LimitPhase(pricing="passive", duration_s=1.0, reprice_interval_s=60.0),),
    fill_timeout_s=1.0,
    max_requote_rounds=1,
    final_look_s=1.0,
)
IN_CHUNKS = SmartParams(chunk_count=1, time_per_chunk_s=1.0, quoting_strategy="top_of_book", aggressive_attempts=0)
NEVER_GOOD = RfqParams(min_notional_usd=0.0, window_s=0.5, timeout_s=0.5, min_improvement_usd=1e9, fallback=None)

CONFIG = f"""
[desk]
name = "intent"
number = {DESK_NUMBER}
account_id = "intent"
venue = "sim"
underlyings = ["BTCUSD"]
[execution]
orders_per_s = 60
{WIDE_LIMITS}"""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded how. `requests`: the way ends when so many orders have arrived; 0: the request for quote."""

    name: str
    mode: ExecutionMode
    four_bought: bool = False
    requests: int = 1


KINDS = (
    Kind(name="limit, first of two wings", mode="limit"),
    Kind(name="limit, last of four bought legs", mode="limit", four_bought=True, requests=4),
    Kind(name="rfq, the request for quote", mode="rfq", requests=0),
    Kind(name="smart, first order of a chunk", mode="smart"),
    Kind(name="auto, first request", mode="auto"),
)


class Way(msgspec.Struct, frozen=True):
    """The instants of one intent, wall clock, ns: the commit is the one of the request whose arrival ends the way."""

    asked: int
    granted: int
    commit_begin: int
    commit_end: int
    arrived: int

    @property
    def whole_us(self) -> float:
        return (self.arrived - self.asked) / 1e3

    @property
    def grant_us(self) -> float:
        return (self.granted - self.asked) / 1e3

    @property
    def commit_us(self) -> float:
        return (self.commit_end - self.commit_begin) / 1e3


Notes = Sequence[list[Any]]


def _decided_us(way: Way) -> float:
    return (way.commit_begin - way.granted) / 1e3


def _sent_us(way: Way) -> float:
    return (way.arrived - way.commit_end) / 1e3


def way_of(opened: Opened, kind: Kind, commits: Notes, calls: Notes) -> Way | None:
    """The way of one intent out of what execution and exchange noted; None while not all of it is there."""
    if kind.requests:
        number = trade_number(opened.trade_id)
        arrived = [(at_ns, order) for at_ns, path, order in calls if _is_of(path, order, number)]
        if len(arrived) < kind.requests:
            return None
        at_ns, order = sorted(arrived)[kind.requests - 1]
        commit = next((note for note in commits if order in note[4]), None)
    else:
        mine = f"{opened.trade_id}-open-"
        commit = next((note for note in commits if any(rfq.startswith(mine) for rfq in note[5])), None)
        after_ns = 0 if commit is None else commit[1]
        later = [at_ns for at_ns, path, _ in calls if path == CREATE_RFQ.path and at_ns >= after_ns]
        at_ns = min(later, default=0)
    if commit is None or not at_ns:
        return None
    return Way(opened.asked_ns, opened.granted_ns, commit[1], commit[2], at_ns)


def _is_of(path: str, order: int, number: int) -> bool:
    """Whether a call places an order of the trade of this number."""
    key = parse_client_order_id(order, DESK_NUMBER) if path == CREATE_ORDER.path else None
    return key is not None and key.trade_number == number


def _slowest(ways: Sequence[Way]) -> str:
    """Of so few intents p99 is hardly more than the slowest one: where that one waited."""
    slowest = max(ways, key=lambda way: way.whole_us)
    return (
        f"the slowest took {slowest.whole_us:,.0f} µs: grant {slowest.grant_us:,.0f}, bus and decision "
        f"{_decided_us(slowest):,.0f}, commit {slowest.commit_us:,.0f}, to the exchange {_sent_us(slowest):,.0f}"
    )


def figures(ways: Mapping[str, Sequence[Way]], bare_us: Sequence[float]) -> list[Row]:
    """Of each kind p50 and p99 beside the bare hops, then the share of the grant and of the commit in its p50."""
    rows = []
    floor = {percentile: float(np.percentile(bare_us, percentile)) for percentile in (50, 99)}
    for name, counted in ways.items():
        whole = [way.whole_us for way in counted]
        p50, p99 = (float(np.percentile(whole, percentile)) for percentile in (50, 99))
        rest = [float(np.percentile([each(way) for way in counted], 50)) for each in (_decided_us, _sent_us)]
        note = (
            f"{len(counted)} intents, {len(bare_us)} bare ones; beside grant and commit, p50: "
            f"{rest[0]:,.0f} µs for bus and decision, {rest[1]:,.0f} µs from the commit to the exchange"
        )
        for percentile, value in ((50, p50), (99, p99)):
            rows.append(
                row(
                    f"{name}, p{percentile}",
                    round(value, 1),
                    "µs",
                    beside="the same hops bare",
                    beside_value=round(floor[percentile], 1),
                    note=note if percentile == 50 else _slowest(counted),
                )
            )
        for part, values in (
            ("risk, the grant's round trip", [way.grant_us for way in counted]),
            ("journal, the commit", [way.commit_us for way in counted]),
        ):
            value = round(float(np.percentile(values, 50)), 1)
            rows.append(row(f"  {part}, p50", value, "µs", beside="the whole way, p50", beside_value=round(p50, 1)))
    return rows


class Legs(msgspec.Struct, frozen=True):
    condor: tuple[LegOrder, ...]
    bought: tuple[LegOrder, ...]


def legs_of(trader: Trader) -> Legs:
    """Chosen once, so that no trade would net against one before it."""
    bought = tuple(
        LegOrder(symbol=symbol, side="buy", quantity=QUANTITY)
        for symbol in trader.symbols(("P", 0.35), ("C", 0.35), ("P", 0.45), ("C", 0.45))
    )
    return Legs(trader.iron_condor(QUANTITY), bought)


class Bench:
    """One desk with its notes, and the bare chain beside it."""

    def __init__(self, home: Path, intents: int) -> None:
        self.desk = BenchDesk(home, CONFIG, {})
        self.bare = home / "bare"
        self.bare.mkdir()
        self.calls_path, self.commits_path = home / "exchange.notes", home / "execution.notes"
        self.opened: list[tuple[Kind, Opened]] = []
        self.intents = intents

    def modules(self) -> dict[str, tuple[str, ...]]:
        return {
            "exchange": ("bench.noting", "exchange", str(self.calls_path)),
            "execution": ("bench.noting", "execution", str(self.commits_path)),
            **{name: (f"services.{name}",) for name in SERVICES},
        }

    def calls(self) -> Notes:
        return [note[1:] for note in notes_in(self.calls_path) if note[0] == "call"]

    def commits(self) -> Notes:
        return notes_in(self.commits_path)

    async def trade(self) -> None:
        """All intents, one at each step of the clock, once the first has given the bare chain what to repeat."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        async with Trader(self.desk.settings) as trader:
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task("the desk starts", total=(WARM_UP + self.intents) * len(KINDS))
                await trader.ready()
                legs = legs_of(trader)
                first = await self._open(trader, KINDS[0], legs)
                await trader.until(lambda: self._way(KINDS[0], first) is not None, "the first order at the exchange")
                (self.bare / "sample.msgpack").write_bytes(msgspec.msgpack.encode(self._sample()))
                with bare_chain(self.bare):
                    progress.update(task, description="intents")
                    for _ in range(WARM_UP + self.intents):
                        for kind in KINDS:
                            await _next_step()
                            self.opened.append((kind, await self._open(trader, kind, legs)))
                            progress.advance(task)
                    await trader.until(self._complete, "the last requests at the exchange")

    async def _open(self, trader: Trader, kind: Kind, legs: Legs) -> Opened:
        return await trader.open(
            legs.bought if kind.four_bought else legs.condor,
            kind.mode,
            params=AT_THE_TOUCH,
            smart=IN_CHUNKS,
            rfq=NEVER_GOOD if kind.mode == "rfq" else RfqParams(),
        )

    def _way(self, kind: Kind, opened: Opened) -> Way | None:
        return way_of(opened, kind, self.commits(), self.calls())

    def _complete(self) -> bool:
        wanted = WARM_UP + self.intents
        return (
            all(self._way(kind, opened) is not None for kind, opened in self.opened[-len(KINDS) :])
            and orders_in(self.bare / "bare.stamps") >= wanted
        )

    def _sample(self) -> Sample:
        """The first decision of the desk, for the bare chain to repeat in the middle of each step."""
        rows = journaled(self.desk.journal("execution"))
        at_ns, first = next((at_ns, entry) for at_ns, entry in rows if isinstance(entry, TradeRequested))
        requests = (note[2] for note in notes_in(self.calls_path) if note[:2] == ["request", CREATE_ORDER.path])
        return Sample(
            tick=json.dumps({"dt": 30, "d": {"s": "BTCUSD", "pr": "100000.0"}, "ts": 1_800_000_000_000}),
            request=next(requests).encode(),
            rows=tuple(entry for each_ns, entry in rows if each_ns == at_ns),
            open_trade=first.request,
            step_ns=STEP_NS,
            phase_ns=STEP_NS // 2,
        )

    def ways(self) -> dict[str, list[Way]]:
        """By kind, without the first ones. Raises RuntimeError where one cannot be put together."""
        commits, calls = self.commits(), self.calls()
        found: dict[str, list[Way]] = {kind.name: [] for kind in KINDS}
        for kind, opened in self.opened[WARM_UP * len(KINDS) :]:
            way = way_of(opened, kind, commits, calls)
            if way is None:
                raise RuntimeError(f"{kind.name}: no request of {opened.trade_id} reached the exchange")
            found[kind.name].append(way)
        return found

    def bare_us(self) -> list[float]:
        ways = bare_ways(journaled(self.bare / "bare.sqlite3"), Stamps.read(self.bare / "bare.stamps"))
        return [(way.arrived - way.decided) / 1e3 for way in ways[WARM_UP:]]


async def _next_step() -> None:
    now_ns = time.time_ns()
    await asyncio.sleep((STEP_NS - now_ns % STEP_NS) / 1e9)


def measure(run: Run) -> list[Row]:
    intents = QUICK_INTENTS if run.quick else run.arguments.intents
    with tempfile.TemporaryDirectory(prefix="vd-intent-") as home:
        bench = Bench(Path(home), intents)
        with bench.desk.modules(bench.modules()):
            uvloop.run(bench.trade())
        return figures(bench.ways(), bench.bare_us())


def main() -> int:
    return bench_main(
        __doc__,
        measure,
        lambda parser: parser.add_argument(
            "--intents", type=int, default=INTENTS, help=f"measured intents of each mode (default {INTENTS})"
        ),
    )


if __name__ == "__main__":
    sys.exit(main())

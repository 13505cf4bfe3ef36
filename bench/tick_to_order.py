"""From an index tick of the exchange to the order that answers it, beside the same hops without a desk.

    python -m bench.tick_to_order [--json] [--quick] [--orders 200]

A desk of real processes trades on the simulated exchange with a strategy that asks for an order on each third index
tick. A line is p50 or p99 from the moment the tick is handed to the exchange's WebSocket, over receipt by market
data, the strategy's decision, risk's grant and execution's decision, to the arrival of the order's HTTP request;
below it each hop. The bare chain (bench.bare_chain) does the same between as many processes with the same frames and
bytes, one SQLite FULL commit and no logic; it ticks in the middle between two ticks of the desk, in the same run.
"""

import json
import sqlite3
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.bare_chain import ROLES, Sample
from bench.desk import REPOSITORY, BenchDesk, end
from bench.harness import Run, bench_main
from bench.rows import Row, Target, ratio_at_most, row
from services.execution.rows import OrderRequested, TradeRequested
from services.execution.rows import Row as JournalRow
from services.strategy.config import StrategyHostConfig
from shared.messages.trades import OpenTrade

STEP_MS = 250
TICKS_PER_ORDER = 3
"""One in four ticks comes together with the chains of all expiries; orders follow on each kind in turn."""

WARM_UP = 10
QUICK_ORDERS = 20
START_S = 90.0
STEP_PATIENCE = 20
"""A run may take this many times as long as its ticks before it is given up."""

HOUR_NS = 3_600_000_000_000
VENUE_TIMES_MS = 1_000_000_000
"""The bench strategy says in `host_silent_after_s`, which an `if_host_silent` of "hold" leaves unused, which tick it
answers: by the venue's time, modulo this."""

HOPS = (
    "exchange → marketdata",
    "marketdata → strategy",
    "strategy → risk",
    "risk → strategy → execution",
    "execution → exchange",
)

CONFIG = f"""
[desk]
name = "tick"
account_id = "tick"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
[exchange]
step_ms = {STEP_MS}
[risk]
max_consecutive_losses = 100000
max_grants_per_minute = 1000
max_trade_risk_pct = 20
max_total_risk_pct = 100
[strategy]
enabled = ["tick_quoter"]
folders = ["strategies"]
"""

QUOTER = (
    f"TICKS_PER_ORDER = {TICKS_PER_ORDER}"
    '''
from decimal import Decimal

import numpy as np

from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.strategy.protocol import CloseStructure, OpenStructure

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
AT_THE_BID = LimitPhase(pricing="passive", duration_s=0.94, reprice_interval_s=60.0)
PARAMS = ExecutionParams(phases=(AT_THE_BID,), fill_timeout_s=0.94, max_requote_rounds=1, final_look_s=1.0)


class TickQuoter:
    """Bids for one option on each third tick; withdraws a bid just before the fourth, and closes one that was hit."""

    name = "tick_quoter"

    def __init__(self):
        self.symbol = None
        self.seen_ns = 0
        self.ticks = 0

    def on_market(self, underlying, desk, now_ns):
        chain, index = desk.chains.get("BTCUSD"), desk.index_prices.get("BTCUSD")
        if chain is None or index is None or index.received_ns == self.seen_ns:
            return ()
        self.seen_ns = index.received_ns
        self.ticks += 1
        if self.symbol is None:
            week = np.array([6 < (each.expiry_ns - now_ns) / DAY_NS < 40 for each in chain.instruments])
            off = np.where(week, np.abs(chain.column("delta") - 0.5), np.nan)
            self.symbol = chain.instruments[int(np.nanargmin(off))].symbol
        if self.ticks % TICKS_PER_ORDER or desk.entry_closed is not None:
            return ()
        leg = LegOrder(symbol=self.symbol, side="buy", quantity=Decimal("0.01"))
        deadline_ns = index.received_ns + HOUR_NS
        tick_s = index.venue_ns // 1_000_000 % 1_000_000_000 / 1e3
        return (
            OpenStructure(
                legs=(leg,),
                execution_mode="limit",
                execution_params=PARAMS,
                hard_deadline_ns=deadline_ns,
                host_silent_after_s=tick_s,
            ),
        )

    def on_order(self, order, desk, now_ns):
        return ()

    def on_trade(self, trade, desk, now_ns):
        return (CloseStructure(trade_id=trade.trade_id, reason="hit"),) if trade.state == "OPEN" else ()

    def on_timer(self, desk, now_ns):
        return ()

    def on_outcome(self, outcome, now_ns):
        return None

    def gates(self):
        return ()

    def next_deadline_ns(self):
        return None


def tick_quoter():
    return TickQuoter()
'''
)


@dataclass(frozen=True, slots=True)
class Way:
    """The instants of one order, wall clock, ns."""

    ticked: int
    received: int
    decided: int
    granted: int
    accepted: int
    arrived: int

    @property
    def hops_us(self) -> list[float]:
        instants = (self.ticked, self.received, self.decided, self.granted, self.accepted, self.arrived)
        return [(after - before) / 1_000 for before, after in pairwise(instants)]


@dataclass(frozen=True, slots=True)
class Stamps:
    """What an exchange noted: instants of ticks, and of orders by client order id ("" where they have none)."""

    ticks: list[int]
    frames: list[str]
    orders: list[tuple[int, Any]]
    first_request: str

    @staticmethod
    def read(path: Path) -> "Stamps":
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        ticks = [line for line in lines if line[0] == "tick"]
        orders = [line for line in lines if line[0] == "order"]
        return Stamps(
            [line[1] for line in ticks],
            [line[2] for line in ticks if len(line) > 2],
            [(line[1], line[2] if len(line) > 2 else "") for line in orders],
            orders[0][3] if orders and len(orders[0]) > 3 else "",
        )

    def by_venue_time(self) -> dict[int, int]:
        """When the tick of each venue time (ms, modulo `VENUE_TIMES_MS`) was sent."""
        times = (venue_ms(frame) % VENUE_TIMES_MS for frame in self.frames)
        return dict(zip(times, self.ticks, strict=True))

    def tick_before(self, at_ns: int) -> int:
        """The newest tick at or before an instant. Raises IndexError when there was none."""
        position = bisect_right(self.ticks, at_ns)
        if position == 0:
            raise IndexError(f"no tick before {at_ns}")
        return self.ticks[position - 1]


def venue_ms(frame: str) -> int:
    """The venue's time in an index tick's frame."""
    tick = json.loads(frame)
    return int(tick["d"].get("ts") or tick["ts"])


Journaled = list[tuple[int, JournalRow]]


def journaled(path: Path) -> Journaled:
    """(decided at, entry) of a journal that another process may be writing."""
    decoder = msgspec.msgpack.Decoder(JournalRow)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        rows = connection.execute("SELECT at_ns, row FROM entries ORDER BY sequence").fetchall()
    finally:
        connection.close()
    return [(at_ns, decoder.decode(entry)) for at_ns, entry in rows]


def desk_ways(rows: Journaled, stamps: Stamps) -> list[Way]:
    """One per order of the desk that arrived, oldest first."""
    arrived = {number: at_ns for at_ns, number in stamps.orders}
    valid_ns = StrategyHostConfig().intent_valid_ms * 1_000_000
    requested = {entry.trade_id: (at_ns, entry.request) for at_ns, entry in rows if isinstance(entry, TradeRequested)}
    ways = []
    ticked = stamps.by_venue_time()
    for _, entry in rows:
        if isinstance(entry, OrderRequested) and entry.purpose == "open" and entry.client_order_id in arrived:
            accepted_ns, request = requested[entry.trade_id]
            assert request.hard_deadline_ns is not None, "the bench strategy sets it"
            received_ns = request.hard_deadline_ns - HOUR_NS
            ways.append(
                Way(
                    ticked[round(request.host_silent_after_s * 1e3)],
                    received_ns,
                    request.valid_until_ns - valid_ns,
                    request.grant.issued_ns,
                    accepted_ns,
                    arrived[entry.client_order_id],
                )
            )
    return ways


def bare_ways(rows: Journaled, stamps: Stamps) -> list[Way]:
    """One per order of the bare chain, whose rows carry the instants themselves."""
    ways = []
    requests = [(at_ns, entry.request) for at_ns, entry in rows if isinstance(entry, TradeRequested)]
    for (accepted_ns, request), (arrived_ns, _) in zip(requests, stamps.orders, strict=False):
        received_ns = request.hard_deadline_ns or 0
        decided_ns, granted_ns = request.valid_until_ns, request.grant.issued_ns
        ticked_ns = stamps.tick_before(received_ns)
        ways.append(Way(ticked_ns, received_ns, decided_ns, granted_ns, accepted_ns, arrived_ns))
    return ways


def figures(desk: Sequence[Way], bare: Sequence[Way]) -> list[Row]:
    """All hops together first, then each."""
    ours, floor = (np.array([way.hops_us for way in ways[WARM_UP:]]) for ways in (desk, bare))

    def figure(what: str, percentile: int, columns: slice, target: Target | None = None, note: str = "") -> Row:
        desk_us, bare_us = (float(np.percentile(hops[:, columns].sum(axis=1), percentile)) for hops in (ours, floor))
        return row(
            f"{what}, p{percentile}",
            round(desk_us, 1),
            "µs",
            beside="the same hops bare",
            beside_value=round(bare_us, 1),
            target=target,
            note=note,
        )

    note = f"{len(ours)} orders, {len(floor)} bare ones; the lines below it are its parts, each with its own median"
    every = slice(None)
    rows = [figure("tick → order", 50, every, ratio_at_most(2.0), note), figure("tick → order", 99, every)]
    return rows + [figure(f"  {hop}", 50, slice(number, number + 1)) for number, hop in enumerate(HOPS)]


@dataclass(frozen=True, slots=True)
class Transport:
    """How the processes of the desk and of the bare chain talk: ipc, or over TCP with CURVE on these ports.

    desk: what the desk's configuration has beside CONFIG. bare_ports, bare_curve: as in `Sample`.
    """

    desk: str = ""
    bare_ports: Mapping[str, int] = field(default_factory=dict)
    bare_curve: tuple[bytes, bytes] | None = None


def sample_of(rows: Journaled, stamps: Stamps, transport: Transport) -> Sample:
    """The first decision of the desk, for the bare chain to repeat."""
    at_ns, first = next((at_ns, entry) for at_ns, entry in rows if isinstance(entry, TradeRequested))
    request: OpenTrade = first.request
    step_ns = STEP_MS * 1_000_000
    every_ns = TICKS_PER_ORDER * step_ns
    return Sample(
        tick=stamps.frames[0],
        request=stamps.first_request.encode(),
        rows=tuple(entry for each_ns, entry in rows if each_ns == at_ns),
        open_trade=request,
        step_ns=every_ns,
        phase_ns=(stamps.ticks[-1] + step_ns // 2) % every_ns,
        tcp_ports=dict(transport.bare_ports),
        curve=transport.bare_curve,
    )


def measure(run: Run) -> list[Row]:
    return figures(*ways(WARM_UP + (QUICK_ORDERS if run.quick else run.arguments.orders), Transport()))


def ways(wanted: int, transport: Transport) -> tuple[list[Way], list[Way]]:
    """So many orders of a desk and of the bare chain, in the same run."""
    with tempfile.TemporaryDirectory(prefix="vd-tick-") as home:
        desk = BenchDesk(Path(home), CONFIG + transport.desk, {"tick_quoter": QUOTER})
        stamps, bare = Path(home) / "desk.stamps", Path(home) / "bare"
        bare.mkdir()
        services = {
            "exchange": ("bench.tick_exchange", str(stamps)),
            **{name: (f"services.{name}",) for name in ("marketdata", "risk", "execution", "strategy", "monitor")},
        }
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with (
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
            desk.modules(services) as running,
        ):
            task = progress.add_task("the desk starts", total=wanted)
            wait_for(lambda: orders_in(stamps) >= 1, running, START_S)
            sample = sample_of(journaled(desk.journal("execution")), Stamps.read(stamps), transport)
            (bare / "sample.msgpack").write_bytes(msgspec.msgpack.encode(sample))
            with bare_chain(bare) as chain:
                progress.update(task, description="orders on ticks")

                def enough() -> bool:
                    count = min(orders_in(stamps), orders_in(bare / "bare.stamps"))
                    progress.update(task, completed=count)
                    return count >= wanted

                wait_for(enough, {**running, **chain}, STEP_PATIENCE * wanted * STEP_MS * TICKS_PER_ORDER / 1e3)
        ours = desk_ways(journaled(desk.journal("execution")), Stamps.read(stamps))
        floor = bare_ways(journaled(bare / "bare.sqlite3"), Stamps.read(bare / "bare.stamps"))
    return ours, floor


def orders_in(stamps: Path) -> int:
    return len(Stamps.read(stamps).orders) if stamps.exists() else 0


@contextmanager
def bare_chain(home: Path) -> Iterator[dict[str, Popen[bytes]]]:
    """The processes without a desk, by their role."""
    running = {}
    try:
        for role in ROLES:
            running[role] = Popen([sys.executable, "-m", "bench.bare_chain", role, str(home)], cwd=REPOSITORY)
        yield running
    finally:
        end(running)


def wait_for(condition: Callable[[], bool], running: dict[str, Popen[bytes]], patience_s: float) -> None:
    """Until the condition holds. Raises RuntimeError when a process has ended or the time is up."""
    deadline = time.monotonic() + patience_s
    while not condition():
        dead = [name for name, process in running.items() if process.poll() is not None]
        if dead or time.monotonic() > deadline:
            raise RuntimeError(f"{dead[0]} has ended" if dead else f"not enough orders within {patience_s:.0f} s")
        time.sleep(0.2)


def main() -> int:
    return bench_main(
        __doc__,
        measure,
        lambda parser: parser.add_argument(
            "--orders", type=int, default=200, help="measured orders (default 200, four in three seconds)"
        ),
    )


if __name__ == "__main__":
    sys.exit(main())

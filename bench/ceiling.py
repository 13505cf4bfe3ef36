"""How many orders the desk gets to a venue that sets no limit: through bus, journal and real HTTP.

    python -m bench.ceiling [--json] [--quick] [--seconds 20]

The desk of bench.venue_limits without the venue's and without the gateway's limit on order calls: every order is
asked for the next thing as soon as the last one was seen to be done at the venue. A single call is one amendment,
placement or cancel; a batch has 40 of them. Each is judged, journalled (SQLite FULL) and sent, its outcome and the
venue's push are taken in, journalled and published. The venue is the simulated exchange, a Python process on the same
machine that checks, matches and journals: the note says how busy each process was, and so who sets the pace. Beside
it stand bare calls to a mock that only answers, from one process that does nothing else: what others quote as orders
a second (a public Go system claims 31,000 for such calls).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

import msgspec
import uvloop

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.http_client import bare_calls_per_s
from bench.memory import Sample, sample_of
from bench.quoting_load import Load
from bench.rows import Row, row
from bench.trader import WIDE_LIMITS, Trader
from bench.venue_limits import BATCH, CONFIG, Shape
from shared.messages.trades import OrderUpdate

SECONDS, QUICK_S = 20.0, 1.0
IN_FLIGHT = 16
BARE_CALLS, QUICK_BARE_CALLS = 20_000, 2_000
EXCHANGE = "rate_limits = { orders = 1000000, queries = 1000 }"

SHAPES = (
    Shape(name="single calls", sets=IN_FLIGHT, size=1, amends=6),
    Shape(name=f"orders in batches of {BATCH}", sets=5, size=BATCH, amends=6),
)


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to: calls and the orders in them a second, and how busy each process was, in % of a core."""

    calls_per_s: float
    orders_per_s: float
    busy_pct: dict[str, float]
    refused: dict[str, int]


async def flat_out(desk: BenchDesk, running: dict[str, Popen[bytes]], shape: Shape, seconds: float) -> Reached:
    loads: list[Load] = []

    def heard(order: OrderUpdate) -> None:
        for each in loads:
            each.heard(order)

    async with Trader(desk.settings, heard) as trader:
        await trader.ready()
        # as many ids as nobody can use up: a thousand orders a second
        work = Load(trader, shape.sets, shape.size, shape.amends, round(1_000 * seconds))
        loads.append(work)
        await work.begin()
        await work.flat_out(min(1.0, seconds / 2))
        work.calls.clear()
        work.refused.clear()
        begun, cpu_s = time.monotonic(), time.process_time()
        before = _samples(running, begun)
        await work.flat_out(seconds)
        took_s = time.monotonic() - begun
        after = _samples(running, begun)
        busy = {name: 100 * (after[name].cpu_s - before[name].cpu_s) / took_s for name in running}
        busy["the bench"] = 100 * (time.process_time() - cpu_s) / took_s
    return Reached(
        calls_per_s=len(work.calls) / took_s,
        orders_per_s=sum(call.count for call in work.calls) / took_s,
        busy_pct=busy,
        refused=dict(work.refused),
    )


def _samples(running: dict[str, Popen[bytes]], begun: float) -> dict[str, Sample]:
    found = {name: sample_of(process.pid, time.monotonic() - begun) for name, process in running.items()}
    dead = [name for name, sample in found.items() if sample is None]
    if dead:
        raise RuntimeError(f"{dead[0]} has ended")
    return {name: sample for name, sample in found.items() if sample is not None}


def run_shape(shape: Shape, seconds: float) -> Reached:
    """A fresh desk for each shape."""
    with tempfile.TemporaryDirectory(prefix="vd-ceiling-") as home:
        desk = BenchDesk(Path(home), CONFIG.format(exchange=EXCHANGE, limits=WIDE_LIMITS), {})
        modules = {
            "exchange": ("services.exchange",),
            "execution": ("bench.noting", "execution", "/dev/null", "--unlimited"),
            **{name: (f"services.{name}",) for name in ("marketdata", "risk")},
        }
        with desk.modules(modules) as running:
            return uvloop.run(flat_out(desk, running, shape, seconds))


def figure(shape: Shape, reached: Reached, bare_per_s: float) -> Row:
    busy = ", ".join(f"{name} {share:.0f} %" for name, share in sorted(reached.busy_pct.items()))
    refused = ", ".join(f"{count} {code}" for code, count in reached.refused.items()) or "none"
    return row(
        f"{shape.name}, without limits",
        round(reached.orders_per_s, 1),
        "orders/s",
        beside=f"bare calls to a mock, {IN_FLIGHT} in flight",
        beside_value=round(bare_per_s),
        note=f"{reached.calls_per_s:,.0f} calls a second; of one core: {busy}; refused: {refused}",
    )


def measure(run: Run) -> list[Row]:
    seconds = QUICK_S if run.quick else run.arguments.seconds
    bare_per_s = bare_calls_per_s(IN_FLIGHT, QUICK_BARE_CALLS if run.quick else BARE_CALLS)
    return [figure(shape, run_shape(shape, seconds), bare_per_s) for shape in run.track(SHAPES, "ceiling")]


def add_arguments(parser: argparse.ArgumentParser) -> Any:
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each (default {SECONDS:g})")


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure, add_arguments))

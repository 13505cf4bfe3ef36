"""A quoting strategy at the venue's limits for ten minutes: what execution and risk cost, and whether it stays so.

    python -m bench.venue_limits [--json] [--quick] [--minutes 10] [--only singles|batches]

A desk of real processes on the simulated exchange, which keeps the venue's limit of 60 calls a second of each kind;
the bench stands in the strategy host's place and works orders of quoting trades over the bus. First 60 single calls a
second, amendments, placements and cancels in equal parts; then 60 batches of 40 a second, as 4:1:1. (Placements and
amendments share a limit, of which the gateway leaves a fifth to what reduces exposure.) A call whose turn comes while
every order is still on its way is left out: the figure says how many did go out. Latency is from asking to the
arrival of the call at the exchange, so the bus, the decision, the commit and HTTP are in it. CPU is of one core, over
the whole run. Memory is execution's own; it remembers the orders of a live trade.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any, Literal

import msgspec
import numpy as np
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.memory import Sample, sample_of
from bench.noting import notes_in
from bench.quoting_load import Call, Load, latencies_us
from bench.rows import Row, at_most, ratio_at_most, row
from bench.trader import WIDE_LIMITS, Trader
from shared.messages.trades import OrderUpdate

MINUTES = 10.0
QUICK_S = 1.5
PARTS = 10
"""Latency is told for each part of the run: a minute where it is ten."""

PER_S = 60.0
BATCH = 40
FLAT = 1.5
"""How much slower the last part's p99 may be than the first one's, as it varies by itself."""

CONFIG = """
[desk]
name = "limits"
account_id = "limits"
venue = "sim"
underlyings = ["BTCUSD"]
[exchange]
paper_balance_usd = "10000000"
paper_rights = ["market_maker"]
{exchange}
[execution]
orders_per_s = 60
{limits}"""

Kind = Literal["singles", "batches"]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How the orders rest: `sets` of `size` orders, each moved `amends` times before it is cancelled."""

    name: str
    sets: int
    size: int
    amends: int


SHAPES: dict[Kind, Shape] = {
    "singles": Shape(name="single calls", sets=40, size=1, amends=1),
    "batches": Shape(name=f"batches of {BATCH}", sets=5, size=BATCH, amends=4),
}
"""200 orders rest at most: the exchange takes no more of one coin."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was: its calls, their latencies (seconds since the begin, µs), samples of each process at the begin
    and at the end of each part, how many turns were missed, and what was refused."""

    seconds: float
    calls: Sequence[Call]
    latencies: Sequence[tuple[float, float]]
    samples: Sequence[dict[str, Sample]]
    missed: int
    refused: dict[str, int]

    def cpu_pct(self, *services: str) -> float:
        """Of one core, of these together."""
        first, last = self.samples[0], self.samples[-1]
        span_s = next(iter(last.values())).at_s - next(iter(first.values())).at_s
        return 100 * sum(last[name].cpu_s - first[name].cpu_s for name in services) / span_s

    def p99s_us(self) -> list[float]:
        """Of each part that has calls."""
        part_s = self.seconds / PARTS
        parts: list[list[float]] = [[] for _ in range(PARTS)]
        for at_s, latency_us in self.latencies:
            parts[min(PARTS - 1, int(at_s / part_s))].append(latency_us)
        return [float(np.percentile(part, 99)) for part in parts if part]

    @property
    def orders(self) -> int:
        return sum(call.count for call in self.calls)


def figures(shape: Shape, outcome: Outcome) -> list[Row]:
    """How much went out, what it cost, how late it was, and how all that moved from the first part to the last."""
    minutes = outcome.seconds / 60
    what = f"{PER_S:g} {shape.name} a second for {minutes:.3g} min"
    counts = ", ".join(
        f"{sum(call.verb == verb for call in outcome.calls):,} {verb}s" for verb in ("amend", "place", "cancel")
    )
    refused = ", ".join(f"{count} {code}" for code, count in outcome.refused.items()) or "none"
    latencies = [latency_us for _, latency_us in outcome.latencies]
    p50, p99 = (float(np.percentile(latencies, percentile)) for percentile in (50, 99))
    p99s = outcome.p99s_us()
    first, last = outcome.samples[0]["execution"], outcome.samples[-1]["execution"]
    others = ", ".join(f"{name} {outcome.cpu_pct(name):.0f} %" for name in ("exchange", "marketdata"))
    return [
        row(
            f"{what}: sent",
            round(len(outcome.calls) / outcome.seconds, 1),
            "calls/s",
            beside="asked for",
            beside_value=PER_S,
            note=f"{counts}; {outcome.orders / outcome.seconds:,.0f} orders a second; {outcome.missed:,} turns with "
            f"every order on its way; refused: {refused}",
        ),
        row(
            "  execution and risk, CPU",
            round(outcome.cpu_pct("execution", "risk"), 1),
            "% of one core",
            target=at_most(25),
            note=f"execution {outcome.cpu_pct('execution'):.1f} %, risk {outcome.cpu_pct('risk'):.1f} %; {others}",
        ),
        row("  asked → exchange, p50", round(p50, 1), "µs"),
        row("  asked → exchange, p99", round(p99, 1), "µs"),
        row(
            "  p99 of the last part",
            round(p99s[-1], 1),
            "µs",
            beside="p99 of the first part",
            beside_value=round(p99s[0], 1),
            target=ratio_at_most(FLAT),
            note="p99 of each tenth of the run, ms: " + " ".join(f"{each / 1e3:.1f}" for each in p99s),
        ),
        row(
            "  execution, memory of its own at the end",
            round(last.own_mb, 1),
            "MB",
            beside="at the begin",
            beside_value=round(first.own_mb, 1),
            note=f"{sum(call.count for call in outcome.calls if call.verb == 'place'):,} orders placed and kept",
        ),
    ]


async def load(
    desk: BenchDesk, running: dict[str, Popen[bytes]], notes: Path, shape: Shape, seconds: float
) -> Outcome:
    """One run of the load against a desk that is starting."""
    loads: list[Load] = []

    def heard(order: OrderUpdate) -> None:
        for each in loads:
            each.heard(order)

    async with Trader(desk.settings, heard) as trader:
        await trader.ready()
        placed = round(PER_S * seconds * shape.size / (shape.amends + 2))
        work = Load(trader, shape.sets, shape.size, shape.amends, placed)
        loads.append(work)
        await work.begin()
        # every set rests before anything is counted
        await work.paced(PER_S / 2, 2.5 * shape.sets / PER_S)
        work.calls.clear()
        work.refused.clear()
        begun_ns, begun = time.time_ns(), time.monotonic()
        sampling = asyncio.ensure_future(_sampled(running, begun, seconds, f"{PER_S:g} {shape.name} a second"))
        missed = await work.paced(PER_S, seconds)
        samples = await sampling
    found = latencies_us(work.calls, await asyncio.to_thread(notes_in, notes))
    return Outcome(
        seconds=seconds,
        calls=work.calls,
        latencies=[((call.asked_ns - begun_ns) / 1e9, latency) for call, latency in found],
        samples=samples,
        missed=len(missed),
        refused=dict(work.refused),
    )


async def _sampled(
    running: dict[str, Popen[bytes]], begun: float, seconds: float, what: str
) -> list[dict[str, Sample]]:
    """Of each process at the begin and at the end of each part. Raises RuntimeError for one that has ended."""
    samples: list[dict[str, Sample]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=PARTS)
        for part in range(PARTS + 1):
            await asyncio.sleep(max(0.0, begun + part * seconds / PARTS - time.monotonic()))
            now = {name: sample_of(process.pid, time.monotonic() - begun) for name, process in running.items()}
            dead = [name for name, sample in now.items() if sample is None]
            if dead:
                raise RuntimeError(f"{dead[0]} has ended")
            samples.append({name: sample for name, sample in now.items() if sample is not None})
            progress.update(task, completed=part)
    return samples


def run_shape(shape: Shape, seconds: float) -> Outcome:
    """A fresh desk for each shape."""
    with tempfile.TemporaryDirectory(prefix="vd-limits-") as home:
        desk = BenchDesk(Path(home), CONFIG.format(exchange="", limits=WIDE_LIMITS), {})
        notes = Path(home) / "exchange.notes"
        modules = {
            "exchange": ("bench.noting", "exchange", str(notes)),
            **{name: (f"services.{name}",) for name in ("marketdata", "risk", "execution")},
        }
        with desk.modules(modules) as running:
            return uvloop.run(load(desk, running, notes, shape, seconds))


def measure(run: Run) -> list[Row]:
    seconds = QUICK_S if run.quick else run.arguments.minutes * 60
    kinds: list[Kind] = [run.arguments.only] if run.arguments.only else list(SHAPES)
    return [each for kind in kinds for each in figures(SHAPES[kind], run_shape(SHAPES[kind], seconds))]


def add_arguments(parser: argparse.ArgumentParser) -> Any:
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of each (default {MINUTES:g})")
    parser.add_argument("--only", choices=tuple(SHAPES), help="only these (default: both)")


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure, add_arguments))

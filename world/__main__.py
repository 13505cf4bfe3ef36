"""`python -m world --seeds 200`: the whole desk under seeded faults, with progress and a one-line reproduction."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared.clock import wall_ns
from world.directed import DIRECTED
from world.simulate import Verdict, simulate
from world.violations import PROMISES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "simulation-nightly.md"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m world",
        description="Simulate the desk under seeded faults and check its promises.",
        epilog="example: python -m world --seeds 200    one seed again: python -m world --first-seed 17 --seeds 1",
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (default 200)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--scenario", choices=tuple(DIRECTED), help="a directed one instead of what the seed draws")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes to run them in")
    parser.add_argument("--json", action="store_true", help="one JSON object per seed on standard output")
    parser.add_argument("--write", metavar="VERSION", help=f"write the result of this version into docs/{PAGE.name}")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    console = Console(stderr=True)
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    processor_s = 0.0
    with ProcessPoolExecutor(arguments.processes) as pool, Progress(console=console) as progress:
        task = progress.add_task("simulating", total=len(seeds))
        for verdict, cpu_s in pool.map(partial(_timed, arguments.scenario), seeds):
            verdicts.append(verdict)
            processor_s += cpu_s
            progress.advance(task)
            _tell(verdict, arguments.scenario, progress.console)
            if arguments.json:
                sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")
    figures = _figures(verdicts, time.perf_counter() - began, processor_s)
    if not arguments.json:
        Console().print(_table(figures))
    if arguments.write:
        PAGE.write_text(
            page(verdicts, figures, arguments.write, datetime.fromtimestamp(wall_ns() / 1e9, UTC)), encoding="utf-8"
        )
    if not any(verdict.shared_symbol for verdict in verdicts) and len(verdicts) >= 20:
        console.print("no seed had two trades on one symbol: the scenario has lost its point", style="red")
        return 1
    return 1 if any(verdict.violations for verdict in verdicts) else 0


def _tell(verdict: Verdict, scenario: str | None, console: Console) -> None:
    """What was broken in a seed, what was on, what the trade concerned went through, and how to see it again."""
    if not verdict.violations:
        return
    for violation in verdict.violations:
        console.print(f"seed {verdict.seed}: {violation}", style="red", highlight=False)
    console.print(f"what was on: {verdict.mix}", highlight=False)
    for line in verdict.story:
        console.print(line, highlight=False, markup=False)
    again = f"make simulate SEEDS=1 FIRST_SEED={verdict.seed}"
    if scenario is not None:
        again = f"python -m world --scenario {scenario} --seeds 1 --first-seed {verdict.seed}"
    console.print(f"reproduce: {again}", style="red")


def _timed(scenario: str | None, seed: int) -> tuple[Verdict, float]:
    """A seed's verdict and the processor's seconds that it took: those of the wall say little on a busy machine."""
    began = time.process_time()
    one = None if scenario is None else DIRECTED[scenario]
    verdict = simulate(seed) if one is None else simulate(seed, one.faults, one.scenario(seed))
    return verdict, time.process_time() - began


def _figures(verdicts: Sequence[Verdict], seconds: float, processor_s: float) -> dict[str, str]:
    virtual_hours = sum(verdict.virtual_s for verdict in verdicts) / 3_600
    counts = {
        "seeds": len(verdicts),
        "seeds with a broken promise": sum(bool(verdict.violations) for verdict in verdicts),
        "trades closed": sum(verdict.closed for verdict in verdicts),
        "trades settled at expiry": sum(verdict.settled for verdict in verdicts),
        "trades failed (unwound or never filled)": sum(verdict.failed for verdict in verdicts),
        "orders": sum(verdict.orders for verdict in verdicts),
        "orders whose outcome was unknown for a time": sum(verdict.unknown_orders for verdict in verdicts),
        "restarts of a service": sum(verdict.crashes for verdict in verdicts),
        "seeds with two trades on one symbol": sum(verdict.shared_symbol for verdict in verdicts),
    }
    return {name: f"{count:,}" for name, count in counts.items()} | {
        "virtual hours": f"{virtual_hours:.1f}",
        "seconds": f"{seconds:.1f}",
        "virtual hours per second": f"{virtual_hours / seconds:.3f}",
        "seconds of processors": f"{processor_s:.1f}",
        "virtual hours per second of a processor": f"{virtual_hours / processor_s:.3f}",
    }


def _table(figures: dict[str, str]) -> Table:
    table = Table(title="simulated desks", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, figure in figures.items():
        table.add_row(label, figure)
    return table


def page(verdicts: Sequence[Verdict], figures: dict[str, str], version: str, at: datetime) -> str:
    """The last result, as a page."""
    broken = Counter(violation.invariant for verdict in verdicts for violation in verdict.violations)
    seeds = [verdict.seed for verdict in verdicts]
    lines = [
        "# The last run over many seeds",
        "",
        "Written by `make simulate-nightly`. What it does and what the promises say: [simulation.md](simulation.md).",
        "",
        f"Version {version}, {at:%Y-%m-%d %H:%M} UTC, seeds {min(seeds):,} to {max(seeds):,}.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {label} | {figure} |" for label, figure in figures.items()),
        "",
    ]
    if not broken:
        return "\n".join([*lines, "No promise was broken."]) + "\n"
    lines += ["| broken promise | what it says | times | first seed |", "|---|---|---:|---:|"]
    for invariant, times in broken.most_common():
        first = next(v.seed for v in verdicts if any(one.invariant == invariant for one in v.violations))
        lines.append(f"| `{invariant}` | {PROMISES[invariant]} | {times} | {first} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

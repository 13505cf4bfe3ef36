"""`python -m world --seeds 200`: the whole desk under seeded faults, with progress and a one-line reproduction."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from world.simulate import Verdict, simulate


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m world",
        description="Simulate the desk under seeded faults and check its promises.",
        epilog="example: python -m world --seeds 200    one seed again: python -m world --first-seed 17 --seeds 1",
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (default 200)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="processes to run them in")
    parser.add_argument("--json", action="store_true", help="one JSON object per seed on standard output")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    console = Console(stderr=True)
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    with ProcessPoolExecutor(arguments.processes) as pool, Progress(console=console) as progress:
        task = progress.add_task("simulating", total=len(seeds))
        for verdict in pool.map(simulate, seeds):
            verdicts.append(verdict)
            progress.advance(task)
            for violation in verdict.violations:
                progress.console.print(f"seed {verdict.seed}: {violation}", style="red", highlight=False)
            if arguments.json:
                _print_json(verdict)
    broken = [verdict for verdict in verdicts if verdict.violations]
    if not arguments.json:
        Console().print(_table(verdicts, time.perf_counter() - began))
    for verdict in broken:
        console.print(f"reproduce: make simulate SEEDS=1 FIRST_SEED={verdict.seed}", style="red")
    if not any(verdict.shared_symbol for verdict in verdicts) and len(verdicts) >= 20:
        console.print("no seed had two trades on one symbol: the scenario has lost its point", style="red")
        return 1
    return 1 if broken else 0


def _print_json(verdict: Verdict) -> None:
    sys.stdout.write(msgspec.json.encode(verdict).decode() + "\n")


def _table(verdicts: Iterable[Verdict], seconds: float) -> Table:
    verdicts = list(verdicts)
    table = Table(title="simulated desks", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in (
        ("seeds", len(verdicts)),
        ("seeds with a broken promise", sum(bool(verdict.violations) for verdict in verdicts)),
        ("trades closed", sum(verdict.closed for verdict in verdicts)),
        ("trades failed (unwound or never filled)", sum(verdict.failed for verdict in verdicts)),
        ("orders", sum(verdict.orders for verdict in verdicts)),
        ("orders whose outcome was unknown for a time", sum(verdict.unknown_orders for verdict in verdicts)),
        ("restarts of a service", sum(verdict.crashes for verdict in verdicts)),
        ("seeds with two trades on one symbol", sum(verdict.shared_symbol for verdict in verdicts)),
    ):
        table.add_row(label, f"{value:,}")
    table.add_row("seconds", f"{seconds:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())

"""`python -m world --seeds 200`: the whole desk under seeded faults, with progress and a one-line reproduction."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shared.clock import monotonic_ns, wall_ns
from world import situations
from world.directed import DIRECTED
from world.progress import Done, KeptProgress
from world.simulate import Verdict, simulate
from world.violations import PROMISES

_ROOT = Path(__file__).resolve().parent.parent
PAGE = _ROOT / "docs" / "simulation-nightly.md"
PROGRESS = _ROOT / "build" / "simulation"
_INTERRUPTED = 130


def main() -> int:
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        # also in the background, where a shell has interrupts ignored
        signal.signal(number, signal.default_int_handler)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    console = Console(stderr=True)
    began = time.perf_counter()
    kept = KeptProgress(PROGRESS, arguments.write or "")
    known = kept.load(seeds)
    if known:
        console.print(
            f"{len(known):,} of the seeds of version {arguments.write} are done already: {kept.path}", highlight=False
        )
    elif arguments.write and kept.path is None:
        console.print(
            "files are changed beside this version: nothing is kept of it, and nothing resumed", highlight=False
        )
    done = list(known.values())
    for one in done:
        _tell(one.verdict, arguments.scenario, console)
    interrupted = False
    with Progress(console=console) as progress:
        task = progress.add_task("simulating", total=len(seeds), completed=len(done))
        try:
            for one in _run([seed for seed in seeds if seed not in known], arguments):
                done.append(one)
                kept.keep(one)
                progress.advance(task)
                _tell(one.verdict, arguments.scenario, progress.console)
                if arguments.json:
                    sys.stdout.write(msgspec.json.encode(one.verdict).decode() + "\n")
        except KeyboardInterrupt:
            interrupted = True
    if len(done) < len(seeds):
        console.print(f"{len(done):,} of {len(seeds):,} seeds were run; {_how_to_go_on(kept)}", highlight=False)
    if not done:
        return _INTERRUPTED if interrupted else 0
    return _report(done, seeds, arguments, None if known else time.perf_counter() - began) or (
        _INTERRUPTED if interrupted else 0
    )


def _arguments() -> argparse.Namespace:
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
    parser.add_argument("--minutes", type=float, default=None, help="begin no more seeds after so many minutes")
    parser.add_argument(
        "--write",
        metavar="VERSION",
        help=f"write the result of this version into docs/{PAGE.name}, and go on where an earlier run of it ended",
    )
    arguments = parser.parse_args()
    if arguments.write and arguments.scenario:
        parser.error("--write is for what seeds draw: leave --scenario out")
    return arguments


def _run(seeds: Sequence[int], arguments: argparse.Namespace) -> Iterator[Done]:
    """In the order of the seeds, until they are done or the time is up."""
    began_ns = monotonic_ns()
    pool = ProcessPoolExecutor(arguments.processes, initializer=_leave_signals)
    try:
        for done in pool.map(partial(_timed, arguments.scenario), seeds):
            yield done
            if arguments.minutes is not None and monotonic_ns() - began_ns > arguments.minutes * 60e9:
                return
    finally:
        # what was not begun is left; what runs takes a second or two
        pool.shutdown(cancel_futures=True)


def _leave_signals() -> None:
    """An interrupt of all processes is heard by the one that deals out the seeds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _how_to_go_on(kept: KeptProgress) -> str:
    return "nothing is kept of them" if kept.path is None else "the same command goes on after them"


def _report(done: Sequence[Done], seeds: range, arguments: argparse.Namespace, seconds: float | None) -> int:
    """Show what was found, and write it where that is wanted. The exit code: 1 where a promise was broken. seconds:
    of the wall, None where an earlier run had done a part."""
    verdicts = [one.verdict for one in sorted(done, key=lambda one: one.verdict.seed)]
    figures = _figures(verdicts, seconds, sum(one.cpu_s for one in done))
    if not arguments.json:
        seen = [verdict.reached for verdict in verdicts]
        Console().print(_table(figures), situations.table(seen), situations.missing(seen), highlight=False)
    if arguments.write:
        at = datetime.fromtimestamp(wall_ns() / 1e9, UTC)
        PAGE.write_text(page(verdicts, figures, arguments.write, at, asked=len(seeds)), encoding="utf-8")
    if not any(verdict.shared_symbol for verdict in verdicts) and len(verdicts) >= 20:
        text = "no seed had two trades on one symbol: the scenario has lost its point"
        Console(stderr=True).print(text, style="red")
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


def _timed(scenario: str | None, seed: int) -> Done:
    """A seed's verdict and the processor's seconds that it took: those of the wall say little on a busy machine."""
    began = time.process_time()
    one = None if scenario is None else DIRECTED[scenario]
    try:
        verdict = simulate(seed) if one is None else simulate(seed, one.faults, one.scenario(seed))
    except Exception as error:
        error.add_note(f"in seed {seed} of {scenario or 'what seeds draw'}")
        raise
    return Done(verdict, time.process_time() - began)


def _figures(verdicts: Sequence[Verdict], seconds: float | None, processor_s: float) -> dict[str, str]:
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
    figures = {name: f"{count:,}" for name, count in counts.items()} | {"virtual hours": f"{virtual_hours:.1f}"}
    if seconds is not None:
        figures |= {"seconds": f"{seconds:.1f}", "virtual hours per second": f"{virtual_hours / seconds:.3f}"}
    return figures | {
        "seconds of processors": f"{processor_s:.1f}",
        "seconds of a processor per seed": f"{processor_s / len(verdicts):.2f}",
        "virtual hours per second of a processor": f"{virtual_hours / processor_s:.3f}",
    }


def _table(figures: dict[str, str]) -> Table:
    table = Table(title="simulated desks", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, figure in figures.items():
        table.add_row(label, figure)
    return table


def page(verdicts: Sequence[Verdict], figures: dict[str, str], version: str, at: datetime, *, asked: int) -> str:
    """The last result, as a page. asked: how many seeds were to be run."""
    broken = Counter(violation.invariant for verdict in verdicts for violation in verdict.violations)
    seeds = [verdict.seed for verdict in verdicts]
    partly = "" if len(seeds) == asked else f" ({len(seeds):,} of the {asked:,} that were asked for)"
    lines = [
        "# The last run over many seeds",
        "",
        "Written by `make simulate-nightly`. What it does and what the promises say: [simulation.md](simulation.md).",
        "",
        f"Version {version}, {at:%Y-%m-%d %H:%M} UTC, seeds {min(seeds):,} to {max(seeds):,}{partly}.",
        "",
        "| | |",
        "|---|---:|",
        *(f"| {label} | {figure} |" for label, figure in figures.items()),
        "",
    ]
    if broken:
        lines += ["| broken promise | what it says | times | first seed |", "|---|---|---:|---:|"]
    else:
        lines.append("No promise was broken.")
    for invariant, times in broken.most_common():
        first = next(v.seed for v in verdicts if any(one.invariant == invariant for one in v.violations))
        lines.append(f"| `{invariant}` | {PROMISES[invariant]} | {times} | {first} |")
    return "\n".join([*lines, "", *situations.lines([verdict.reached for verdict in verdicts])])


if __name__ == "__main__":
    sys.exit(main())

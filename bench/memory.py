"""A paper desk left running: whether its memory stays flat, what it costs, and what its logs complain about.

    python -m bench.memory [--json] [--quick] [--minutes 30] [--busy | --idle]

Starts the whole stack with `voldesk up` in a temporary directory with the shipped demonstration (--busy: and with a
strategy that opens and closes all the time; --idle: with none), reads /proc every 10 s and takes the desk down.
Growth is of anonymous memory, which is the process's own: PSS, told beside it, also moves when another program starts
that shares libraries. The slope is a least-squares line through the samples after the first fifth, in which caches
fill; flat is at most 6 MB an hour, what the allocator wanders by itself. A service that keeps what its configuration
bounds (execution: finished trades of three days) grows until the bound: with --busy compare a short run with a long
one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from voldesk.processes import desk_processes

SAMPLE_S = 10.0
MINUTES, QUICK_MINUTES = 30.0, 0.5
FLAT_MB_PER_HOUR = 6.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

CONFIG = """
[desk]
name = "memory"
account_id = "memory"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
[risk]
max_consecutive_losses = 100000
[strategy]
enabled = {enabled}
folders = ["strategies"]
"""

BUSY = """
from shared.strategy import ExecutionParams, StrategyConfig, max_hold_hours, strangle


def busy() -> StrategyConfig:
    return StrategyConfig(
        name="busy",
        legs=strangle(
            qty="1", call_delta=0.3, put_delta=-0.3, side="buy", underlying="ETHUSD",
            expiry_criteria={"dte_min": 2, "dte_max": 21, "target": 7},
        ),
        exit_conditions=[max_hold_hours(3 / 3600)],
        execution_mode="limit",
        execution_params=ExecutionParams(fill_timeout_seconds=2.0, aggressive_buffer_pct=5.0, max_requote_rounds=20),
        max_concurrent_trades=1,
        max_trades_per_day=0,
        cooldown_seconds=1,
        check_interval_seconds=1,
    )
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """`pss_mb`: private pages and the process's part of shared ones; `own_mb`: anonymous memory."""

    at_s: float
    pss_mb: float
    own_mb: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One service. Memory is of its last process: PSS, and the slope of its own. `cpu_pct` is of one core, over the
    whole run; `complaints` are log lines from warning upwards."""

    service: str
    first_mb: float
    last_mb: float
    mean_mb: float
    slope_mb_per_hour: float
    cpu_pct: float
    restarts: int
    complaints: int


Samples = dict[tuple[str, int], Sample]
"""By service and process id."""


def make_desk(home: Path, strategies: Sequence[str]) -> BenchDesk:
    """A desk that runs these: "demo_strangle" is shipped, "busy" is ours."""
    return BenchDesk(home, CONFIG.format(enabled=json.dumps(list(strategies))), {"busy": BUSY})


def samples_of(run_dir: Path, at_s: float) -> Samples:
    """Memory and CPU of each process of the desk now."""
    taken = ((process, sample_of(process.pid, at_s)) for process in desk_processes(run_dir))
    return {(process.name, process.pid): sample for process, sample in taken if sample is not None}


def sample_of(pid: int, at_s: float) -> Sample | None:
    """Memory and CPU of one process now; None for one that has ended."""
    entry = Path("/proc") / str(pid)
    try:
        memory = (entry / "smaps_rollup").read_text()
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return Sample(at_s, mb_of(memory, "Pss"), mb_of(memory, "Anonymous"), cpu_s)


def mb_of(smaps_rollup: str, field: str) -> float:
    """One figure of a smaps_rollup of /proc, in MB (2^20)."""
    line = next(line for line in smaps_rollup.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1_024


def complaints_in(run_dir: Path) -> dict[str, Counter[str]]:
    """Log lines from warning upwards, per service, counted by what they say; also lines that are not ours."""
    told: dict[str, Counter[str]] = {}
    for path in sorted((run_dir / "logs").rglob("*.*")):
        service = path.name.partition(".")[0]
        if service in ("supervisord", "desk") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            if text := complaint(line):
                told.setdefault(service, Counter())[text] += 1
    return told


def complaint(line: str) -> str | None:
    """Level and event of a log line from warning upwards; the line itself when it is none of ours."""
    try:
        fields = json.loads(line)
        level, event = fields["level"], fields["event"]
    except (ValueError, KeyError, TypeError):
        return line.strip()[:160] or None
    if level in ("debug", "info"):
        return None
    return " ".join(str(part) for part in (level, event, fields.get("code", "")) if part)


def slope_mb_per_hour(samples: Sequence[Sample]) -> float:
    """Least-squares slope after the first fifth of the samples; 0 where fewer than three are left."""
    settled = samples[len(samples) // 5 :]
    if len(settled) < 3:
        return 0.0
    hours = np.array([sample.at_s for sample in settled]) / 3600
    return float(np.polyfit(hours, [sample.own_mb for sample in settled], 1)[0])


def watch(desk: BenchDesk, minutes: float, what: str) -> list[Samples]:
    """Samples every 10 s until the time is up."""
    began = time.monotonic()
    rounds = max(2, round(minutes * 60 / SAMPLE_S) + 1)
    taken = []
    columns = (TextColumn(what), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=rounds)
        for number in range(rounds):
            time.sleep(max(0.0, began + number * SAMPLE_S - time.monotonic()))
            taken.append(samples_of(desk.run_dir, time.monotonic() - began))
            progress.advance(task)
    return taken


def figures(taken: Sequence[Samples], complaints: dict[str, Counter[str]]) -> list[Figure]:
    """One line per service; where a service restarted, memory is that of its last process."""
    by_process: dict[tuple[str, int], list[Sample]] = {}
    for samples in taken:
        for process, sample in samples.items():
            by_process.setdefault(process, []).append(sample)
    lines = []
    for service in dict.fromkeys(name for name, _ in by_process):
        processes = [samples for (name, _), samples in by_process.items() if name == service]
        last = processes[-1]
        span_s = max(samples[-1].at_s for samples in processes) - min(samples[0].at_s for samples in processes)
        cpu_s = sum(samples[-1].cpu_s - samples[0].cpu_s for samples in processes)
        lines.append(
            Figure(
                service=service,
                first_mb=round(last[0].pss_mb, 1),
                last_mb=round(last[-1].pss_mb, 1),
                mean_mb=round(sum(sample.pss_mb for sample in last) / len(last), 1),
                slope_mb_per_hour=round(slope_mb_per_hour(last), 1),
                cpu_pct=round(100 * cpu_s / span_s, 1) if span_s else 0.0,
                restarts=len(processes) - 1,
                complaints=complaints.get(service, Counter()).total(),
            )
        )
    return lines


@dataclass(frozen=True, slots=True)
class Watched:
    """What one watched desk showed."""

    lines: list[Figure]
    trades: Counter[str]
    complaints: dict[str, Counter[str]]


def watched(strategies: Sequence[str], minutes: float, what: str) -> Watched:
    """Start, watch and end one desk."""
    with tempfile.TemporaryDirectory(prefix="vd-memory-") as home:
        desk = make_desk(Path(home), strategies)
        with desk.up():
            taken = watch(desk, minutes, what)
            trades = Counter(trade["state"] for trade in desk.answer("trades"))
            complaints = complaints_in(desk.run_dir)
    return Watched(figures(taken, complaints), trades, complaints)


def memory_rows(seen: Watched, minutes: float) -> list[Row]:
    """The slope of each process, and what was seen beside it."""
    trades = ", ".join(f"{count} {state}" for state, count in seen.trades.items()) or "none"
    rows = []
    for number, line in enumerate(seen.lines):
        said = seen.complaints.get(line.service, Counter()).most_common(3)
        parts = [f"PSS {line.first_mb:g} MB after the start, {line.last_mb:g} MB after {minutes:g} min"]
        parts += [f"{line.restarts} restarts"] if line.restarts else []
        parts += [f"{count} × {text}" for text, count in said]
        parts += [f"trades of the run: {trades}"] if number == 0 else []
        rows.append(
            row(
                f"{line.service}, growth of memory",
                line.slope_mb_per_hour,
                "MB/h",
                target=at_most(FLAT_MB_PER_HOUR),
                note="; ".join(parts),
            )
        )
    return rows


def measure(run: Run) -> list[Row]:
    minutes = QUICK_MINUTES if run.quick else run.arguments.minutes
    strategies = () if run.arguments.idle else ("demo_strangle", "busy") if run.arguments.busy else ("demo_strangle",)
    return memory_rows(watched(strategies, minutes, "watching memory"), minutes)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long to watch (default {MINUTES:g})")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--busy", action="store_true", help="also a strategy that opens and closes all the time")
    what.add_argument("--idle", action="store_true", help="run no strategy: what the desk costs by itself")


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())

"""A paper desk left running: memory and CPU of every service over time, and what its logs complain about.

    python -m bench.soak [--json] [--minutes 10] [--idle]

Starts the whole stack with `voldesk up` in a temporary directory, with the shipped demonstration and a strategy that
opens and closes all the time (--idle: with no strategy), samples /proc every 10 s and takes the desk down. The slope
is a least-squares line through the samples after the first fifth, in which caches fill. A service that keeps what its
configuration bounds grows until the bound; one that leaks grows for ever: compare a short run with a long one.
Not one of the benches of `make bench`: it takes as long as it is told to.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from voldesk.processes import desk_processes

REPOSITORY = Path(__file__).resolve().parents[1]
VOLDESK = (sys.executable, "-c", "from voldesk.main import app; app()")
SAMPLE_S = 10.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MB = 1 << 20

CONFIG = """
[desk]
name = "soak"
account_id = "soak"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
[strategy]
enabled = [{enabled}]
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
    at_s: float
    rss_mb: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One service. `cpu_pct` is of one core, over the whole run; `complaints` are log lines from warning upwards."""

    service: str
    first_mb: float
    last_mb: float
    slope_mb_per_hour: float
    cpu_pct: float
    restarts: int
    complaints: int


class Desk:
    """A desk with its own configuration, run directory and strategies in `home`."""

    def __init__(self, home: Path, *, idle: bool) -> None:
        self.run_dir = home / "run"
        (home / "strategies").mkdir()
        (home / "strategies" / "busy.py").write_text(BUSY)
        config = home / "voldesk.toml"
        config.write_text(CONFIG.format(enabled="" if idle else '"demo_strangle", "busy"'))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOLDESK_", "COINCALL_"))}
        self._environment = {**kept, "VOLDESK_CONFIG": str(config), "VOLDESK_RUN_DIR": str(self.run_dir)}

    def voldesk(self, *arguments: str) -> str:
        """What the command printed. Raises CalledProcessError when it fails; its own words are on standard error."""
        done = subprocess.run(
            [*VOLDESK, *arguments],
            env=self._environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def samples(self, at_s: float) -> dict[tuple[str, int], Sample]:
        """Memory and CPU of each process, by service and process id."""
        found = {}
        for process in desk_processes(self.run_dir):
            entry = Path("/proc") / str(process.pid)
            try:
                resident = int((entry / "statm").read_text().split()[1])
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            cpu_s = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
            found[process.name, process.pid] = Sample(at_s, resident * PAGE_BYTES / MB, cpu_s)
        return found

    def complaints(self) -> dict[str, Counter[str]]:
        """Log lines from warning upwards, per service, counted by what they say; also lines that are not ours."""
        told: dict[str, Counter[str]] = {}
        for path in sorted((self.run_dir / "logs").glob("*.log*")):
            service = path.name.partition(".")[0]
            if service == "supervisord":
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
    return float(np.polyfit(hours, [sample.rss_mb for sample in settled], 1)[0])


def watch(desk: Desk, minutes: float) -> list[dict[tuple[str, int], Sample]]:
    """Samples every 10 s until the time is up."""
    began = time.monotonic()
    rounds = max(2, round(minutes * 60 / SAMPLE_S) + 1)
    taken = []
    columns = (TextColumn("soaking"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("soak", total=rounds)
        for number in range(rounds):
            time.sleep(max(0.0, began + number * SAMPLE_S - time.monotonic()))
            taken.append(desk.samples(time.monotonic() - began))
            progress.advance(task)
    return taken


def figures(taken: Sequence[dict[tuple[str, int], Sample]], complaints: dict[str, Counter[str]]) -> list[Figure]:
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
                first_mb=round(last[0].rss_mb, 1),
                last_mb=round(last[-1].rss_mb, 1),
                slope_mb_per_hour=round(slope_mb_per_hour(last), 1),
                cpu_pct=round(100 * cpu_s / span_s, 1) if span_s else 0.0,
                restarts=len(processes) - 1,
                complaints=complaints.get(service, Counter()).total(),
            )
        )
    return lines


def rss_mb(taken: Sequence[dict[tuple[str, int], Sample]]) -> dict[str, list[float]]:
    """All samples of each service, in their order."""
    found: dict[str, list[float]] = {}
    for samples in taken:
        for (service, _), sample in samples.items():
            found.setdefault(service, []).append(round(sample.rss_mb, 2))
    return found


def table(lines: Sequence[Figure]) -> Table:
    shown = Table(pad_edge=False, box=SIMPLE_HEAD)
    headings = ("service", "first MB", "last MB", "slope MB/h", "CPU %", "restarts", "complaints")
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if number else "left")
    for line in lines:
        shown.add_row(*(str(value) for value in asdict(line).values()))
    shown.add_section()
    total = [sum(getattr(line, name) for line in lines) for name in ("first_mb", "last_mb", "slope_mb_per_hour")]
    shown.add_row("all", *(f"{value:.1f}" for value in total), f"{sum(line.cpu_pct for line in lines):.1f}", "", "")
    return shown


def soak(minutes: float, *, idle: bool) -> dict[str, Any]:
    """Start, watch and end one desk."""
    with tempfile.TemporaryDirectory(prefix="vd-soak-") as home:
        desk = Desk(Path(home), idle=idle)
        began = time.monotonic()
        try:
            desk.voldesk("up", "--timeout", "120", "--json")
            ready_s = time.monotonic() - began
            taken = watch(desk, minutes)
            trades = json.loads(desk.voldesk("trades", "--json"))
            complaints = desk.complaints()
        finally:
            desk.voldesk("down")
    return {
        "minutes": minutes,
        "up_to_ready_s": round(ready_s, 1),
        "trades": Counter(trade["state"] for trade in trades),
        "services": figures(taken, complaints),
        "rss_mb": rss_mb(taken),
        "complaints": complaints,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to watch (default 10)")
    parser.add_argument("--idle", action="store_true", help="run no strategy: what the desk costs by itself")
    arguments = parser.parse_args()
    result = soak(arguments.minutes, idle=arguments.idle)
    if arguments.json:
        print(json.dumps({**result, "services": [asdict(line) for line in result["services"]]}, indent=2))
        return
    console = Console()
    console.print(table(result["services"]))
    trades = ", ".join(f"{count} {state}" for state, count in result["trades"].items()) or "none"
    console.print(f"`voldesk up` to ready: {result['up_to_ready_s']} s; trades: {trades}", highlight=False)
    for service, texts in result["complaints"].items():
        for text, count in texts.most_common():
            console.print(f"{service}: {count} × {text}", highlight=False, markup=False)


if __name__ == "__main__":
    main()

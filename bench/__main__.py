"""All benches, one after the other, each in a process of its own; the figures are kept in bench/results.json.

    python -m bench [--json] [NAME ...]

Every figure stands beside a floor or a peer measured in the same run: compare ratios, not microseconds.
"""

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

BENCHES = ("options", "exchange", "execution", "bus", "http_client")
RESULTS = Path(__file__).with_name("results.json")
Figures = list[dict[str, Any]]


def run(name: str) -> Figures:
    """The figures of one bench. Raises CalledProcessError when it fails; its own words are on standard error."""
    done = subprocess.run([sys.executable, "-m", f"bench.{name}", "--json"], stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def table(name: str, figures: Figures) -> Table:
    shown = Table(title=name, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for column, value in figures[0].items():
        shown.add_column(
            column.replace("_us", " µs").replace("_", " "), justify="left" if isinstance(value, str) else "right"
        )
    for figure in figures:
        shown.add_row(*map(_cell, figure.values()))
    return shown


def _cell(value: object) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
        case _:
            return str(value)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu,
        "load_average": " ".join(next(iter(_lines("/proc/loadavg")), "").split()[:3]),
    }


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").partition("\n")[0], epilog="example: python -m bench bus"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; use one of {', '.join(BENCHES)}")
    results: dict[str, Any] = {"machine": machine(), "benches": {}}
    failed = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("benches", total=len(names))
        for name in names:
            progress.update(task, description=name)
            try:
                results["benches"][name] = run(name)
            except subprocess.CalledProcessError as error:
                failed.append(f"{name} ended with {error.returncode}")
            progress.advance(task)
            if not arguments.json and name in results["benches"]:
                Console().print(table(name, results["benches"][name]), "")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.json:
        print(json.dumps(results, indent=2))
    for failure in failed:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a desk costs while it trades: memory and CPU of its five services together, and of the simulated exchange.

    python -m bench.cost [--json] [--quick] [--minutes 5]

A whole desk as `voldesk up` starts it, with the market running and the shipped demonstration trading. Memory is PSS,
the mean over the run: private pages, and each process's part of the pages that it shares. CPU is of one core.
supervisord is shown beside them and counted to neither.
"""

import argparse
import sys

from bench.harness import Run, bench_main
from bench.memory import Figure, watched
from bench.rows import Row, Target, at_most, row
from shared.messages.topics import BUS_SERVICES

MINUTES, QUICK_MINUTES = 5.0, 0.5


def cost_rows(lines: list[Figure]) -> list[Row]:
    """The five together and the exchange, judged; then each by itself."""
    by_name = {line.service: line for line in lines}
    services = [by_name[name] for name in BUS_SERVICES if name in by_name]
    missing = [name for name in (*BUS_SERVICES, "exchange") if name not in by_name]
    note = f"not running: {', '.join(missing)}" if missing else ""
    restarts = [f"{line.service} restarted {line.restarts} times" for line in lines if line.restarts]
    pair = _pair("five services", services, at_most(450), at_most(25), "; ".join([note, *restarts]).strip("; "))
    pair += _pair("exchange", [by_name["exchange"]], at_most(150), at_most(25)) if "exchange" in by_name else []
    for line in [*services, *(line for line in lines if line.service == "supervisord")]:
        pair += _pair(f"  {line.service}", [line])
    return pair


def _pair(
    what: str, lines: list[Figure], memory: Target | None = None, cpu: Target | None = None, note: str = ""
) -> list[Row]:
    return [
        row(f"{what}, memory (PSS)", round(sum(line.mean_mb for line in lines), 1), "MB", target=memory, note=note),
        row(f"{what}, CPU", round(sum(line.cpu_pct for line in lines), 1), "% of one core", target=cpu),
    ]


def measure(run: Run) -> list[Row]:
    minutes = QUICK_MINUTES if run.quick else run.arguments.minutes
    return cost_rows(watched(("demo_strangle",), minutes, "watching the cost").lines)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long to watch (default {MINUTES:g})")


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())

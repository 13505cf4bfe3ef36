"""All benches, each in a process of its own, in one table; the figures are kept in bench/results.json.

    python -m bench [--json] [--quick] [NAME ...]

Every figure stands beside a floor or a peer measured in the same run: compare ratios, not microseconds. A target that
is not reached is printed as such and is no failure; a bench that breaks is one. A quick run keeps nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.results import Results, load_average, machine, now_utc, read
from bench.rows import Row, from_json, notes, screen, table, to_json

BENCHES = {
    "bus": "round trips, throughput and latency at a rate, beside bare pyzmq",
    "account": "the account's snapshot asked of risk over the bus, beside the same bytes over bare pyzmq",
    "grant": "a request for a grant and the stress grid, beside a signature, bare pyzmq, and prices alone",
    "chain": "a chain of 1,000 options through the codec, and its Greeks",
    "selection": "the legs of an iron condor on 1,000 options, and 1,000 conditions on one snapshot",
    "options": "Greeks and implied volatility of 100,000, beside py_vollib_vectorized and QuantLib",
    "http_client": "one order call, beside bare aiohttp",
    "marketdata": "one push of an index, a chain and a book, beside the parts that it cannot do without",
    "exchange": "one step of the simulated market, beside its mathematics",
    "execution": "a decision with its commit, beside the bare commit",
    "simulation": "virtual hours of the simulated desk per second of a processor, beside its market alone",
    "alerts": "an alert that a service raises to the request that tells a phone, beside a bare request",
    "tick_to_order": "an index tick to the order that answers it, beside the same hops bare",
}
"""What `make bench` runs, in this order: the module's name under bench/, and what it measures."""

LONG: dict[str, str] = {
    "dashboard": "20 viewers of the dashboard: CPU, and a halt to their pages, beside ready bytes on bare sockets",
    "host": "CPU of a strategy host with 100 strategies, beside one with a single one",
    "cost": "memory and CPU of a desk that trades for five minutes",
    "recovery": "kill -9 of each service until it works again, 20 times",
    "journal": "a restart with a million rows in the journal, from the snapshot and from all of them",
    "memory": "growth of memory in half an hour, without faults",
    "intent": "an intent of four legs to the venue's first request, by each mode, beside the same hops bare",
    "venue_limits": "60 single calls a second and 60 batches of 40, for ten minutes each: CPU, latency, memory",
    "ceiling": "orders a second to a venue without limits, single and in batches, beside bare calls to a mock",
    "unknown": "from an order's lost answer until what became of it is journalled, under faults",
    "tick_to_order_curve": "an index tick to its order with the bus over TCP and CURVE, beside ipc",
    "stack": "the desk in containers: cold start to the first trade, image, memory and CPU, recovery of each",
    "modes": "what an opening gives away to the other side, by limit and by smart, in the simulated market",
}
"""Benches of many minutes: they run with --long or when they are named."""

QUICK_TITLE = "QUICK RUN: figures not to be quoted, nothing kept"


def run(name: str, quick: bool) -> list[Row]:
    """The rows of one bench. Raises CalledProcessError when it fails; its own words are on standard error."""
    command = [sys.executable, "-m", f"bench.{name}", "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return from_json(json.loads(done.stdout))


def names_of(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    known = {**BENCHES, **LONG}
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"there is no bench {unknown[0]!r}; use one of {', '.join(known)}")
    return arguments.names or [*BENCHES, *(LONG if arguments.long else ())]


def run_all(names: Sequence[str], quick: bool, results: Results) -> list[str]:
    """Run one after the other and note each in `results` as soon as it is there; what went wrong, in words."""
    told = Console(stderr=True)
    failed = []
    for number, name in enumerate(names, 1):
        told.print(f"[{number}/{len(names)}] {name}: {({**BENCHES, **LONG})[name]}", highlight=False, markup=False)
        measured, load, began = now_utc(), load_average(), time.perf_counter()
        try:
            rows = run(name, quick)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name} ended with {error.returncode}")
            continue
        results.note(name, rows, measured, load, time.perf_counter() - began)
        if not quick:
            results.write()
    return failed


def as_json(results: Results, names: Sequence[str], quick: bool) -> dict[str, Any]:
    return {
        "machine": machine(),
        "quick": quick,
        "benches": {name: to_json(results.rows(name)) for name in names if name in results.benches},
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="examples: python -m bench            python -m bench bus options --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of {', '.join([*BENCHES, *LONG])} (default: all but long)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to try it out, not to quote")
    parser.add_argument("--long", action="store_true", help="also the benches that take many minutes")
    arguments = parser.parse_args()
    names = names_of(arguments, parser)
    try:
        results = Results() if arguments.quick else read()
    except ValueError as error:
        parser.error(str(error))
    failed = run_all(names, arguments.quick, results)
    if arguments.json:
        print(json.dumps(as_json(results, names, arguments.quick), indent=2, ensure_ascii=False))
    else:
        shown = {name: results.rows(name) for name in names if name in results.benches}
        console = screen()
        console.print(table(shown, QUICK_TITLE if arguments.quick else ""))
        for note in notes(row for rows in shown.values() for row in rows):
            console.print(note, highlight=False, markup=False)
        told = [f"{key} {value}" for key, value in machine().items()]
        console.print(", ".join(told), highlight=False, markup=False)
    for failure in failed:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The account's snapshot, asked of risk over the bus: how long until another process has it.

    python -m bench.account [--json] [--quick]

A real risk service with the account of a desk that holds trades, and a client in a process of its own, over ipc. The
floor is a bare pyzmq loop that passes the same bytes of request and answer, unread. Both run in turn, in short
pieces. As in bench/bus.py several pairs of processes are started one after the other, and a figure is the median over
the pairs of each pair's median over its rounds. A public trading system names 0.26 ms for its gRPC counterpart; on
which machine is not said.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from bench.bus_ends import REPLY_FILE, write_config
from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from bench.workers import Worker

PAIRS = 5
ROUNDS = 5
REQUESTS = 300
CLAIM_US = 260
BARE = "bare pyzmq, same bytes"


@contextmanager
def risk_service(directory: Path) -> Iterator[None]:
    environment = {**os.environ, "VOLDESK_CONFIG": str(write_config(directory)), "VOLDESK_RUN_DIR": str(directory)}
    with (directory / "risk.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.account_risk"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def measure(run: Run) -> list[Row]:
    found: dict[str, list[float]] = {}
    reply_bytes = 0
    for _ in run.rounds(PAIRS, "account"):
        with tempfile.TemporaryDirectory(prefix="vd-bench-") as name:
            directory = Path(name)
            directory.chmod(0o700)
            for what, value in measure_pairs(directory, 3 if run.quick else ROUNDS).items():
                found.setdefault(what, []).append(value)
            reply_bytes = (directory / REPLY_FILE).stat().st_size
    return rows_of({what: median(values) for what, values in found.items()}, reply_bytes)


def measure_pairs(directory: Path, rounds: int) -> dict[str, float]:
    """µs of a request, as a core asks, as the command line awaits, and bare: of new processes, p50 and p99, each the
    median over the rounds."""
    with (
        risk_service(directory),
        closing(Worker.of_module("bench.bus_ends", "account-client", str(directory))) as ours,
        closing(Worker.of_module("bench.bus_ends", "bare-server", str(directory))),
        closing(Worker.of_module("bench.bus_ends", "bare-client", str(directory))) as bare,
    ):
        works = {"core": (ours, "trips"), "awaited": (ours, "asks"), "bare": (bare, "trips")}
        times: dict[str, list[list[float]]] = {name: [] for name in works}
        for worker, command in works.values():
            worker.ask(command, REQUESTS)
        for _ in range(rounds):
            for name, (worker, command) in works.items():
                times[name].append(worker.ask(command, REQUESTS))
    return {
        f"{name} p{percent}": median(float(np.percentile(each, percent)) for each in of_rounds)
        for name, of_rounds in times.items()
        for percent in (50, 99)
    }


def rows_of(found: dict[str, float], reply_bytes: int) -> list[Row]:
    rows = []
    for percent in (50, 99):
        target = at_most(CLAIM_US) if percent == 50 else None
        note = f"the answer is {reply_bytes:,} bytes; the target is what a public system claims" if target else ""
        what = f"account snapshot over the bus p{percent}"
        value, floor = found[f"core p{percent}"], found[f"bare p{percent}"]
        rows.append(row(what, value, "µs", beside=BARE, beside_value=floor, target=target, note=note))
    awaited, floor = found["awaited p50"], found["bare p50"]
    rows.append(row("account snapshot awaited p50", awaited, "µs", beside=BARE, beside_value=floor))
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

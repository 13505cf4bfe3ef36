"""The account's snapshot, asked of risk over the bus: how long until another process has it.

    python -m bench.account [--json] [--quick]

A real risk service with the account of a desk that holds trades, and a client in a process of its own, over ipc. The
floor is a bare pyzmq loop that passes the same bytes of request and answer, unread. Both run in turn, in short
pieces; figures are medians over the rounds. A public trading system names 0.26 ms for its gRPC counterpart; on which
machine is not said.
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

ROUNDS = 15
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
    with tempfile.TemporaryDirectory(prefix="vd-bench-") as name:
        directory = Path(name)
        directory.chmod(0o700)
        with (
            risk_service(directory),
            closing(Worker.of_module("bench.bus_ends", "account-client", name)) as ours,
            closing(Worker.of_module("bench.bus_ends", "bare-server", name)),
            closing(Worker.of_module("bench.bus_ends", "bare-client", name)) as bare,
        ):
            return rows_of(asked_in_turn(run, ours, bare), (directory / REPLY_FILE).stat().st_size)


def asked_in_turn(run: Run, ours: Worker, bare: Worker) -> dict[str, list[list[float]]]:
    """µs of each request, one list per round: as a core asks, as the command line awaits, and bare."""
    works = {"core": (ours, "trips"), "awaited": (ours, "asks"), "bare": (bare, "trips")}
    found: dict[str, list[list[float]]] = {name: [] for name in works}
    for worker, command in works.values():
        worker.ask(command, REQUESTS)
    for _ in run.rounds(ROUNDS, "account", quick=3):
        for name, (worker, command) in works.items():
            found[name].append(worker.ask(command, REQUESTS))
    return found


def rows_of(found: dict[str, list[list[float]]], reply_bytes: int) -> list[Row]:
    def percentile(name: str, percent: int) -> float:
        return median(float(np.percentile(times, percent)) for times in found[name])

    rows = []
    for percent in (50, 99):
        floor = percentile("bare", percent)
        target = at_most(CLAIM_US) if percent == 50 else None
        note = f"the answer is {reply_bytes:,} bytes; the target is what a public system claims" if target else ""
        what = f"account snapshot over the bus p{percent}"
        rows.append(
            row(what, percentile("core", percent), "µs", beside=BARE, beside_value=floor, target=target, note=note)
        )
    rows.append(
        row(
            "account snapshot awaited p50",
            percentile("awaited", 50),
            "µs",
            beside=BARE,
            beside_value=percentile("bare", 50),
        )
    )
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

"""A request for a grant, in the process and over the bus, and the stress grid: what the guard costs.

    python -m bench.grant [--json] [--quick]

The account holds 50 positions among 1,000 options, with 5 open trades and a grant of another strategy beside them;
each request is for another condor and is granted. In the process it stands beside what a grant cannot do without:
its signature and its encoding. Over the bus it stands beside a bare pyzmq loop that passes an answer of the same
bytes, unread. The stress grid of 50 positions by 60 scenarios stands beside the Black-76 prices that it needs, in
one call for all of them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from bench.bus_ends import write_config
from bench.grant_ends import INDEX, KEY, POSITIONS, VOL, BusyRisk, asking, wide_limits
from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from bench.workers import Worker
from services.risk.market import MarketView
from services.risk.stress import Scenarios, Stress
from shared.clock import wall_ns
from shared.messages.control import GrantGiven
from shared.messages.grants import signed
from shared.messages.steps import Reply, Request
from shared.options.black76 import price

ROUNDS = 15
REQUESTS = 300
BARE = "bare pyzmq, same answer"
SIGNING = "signature and encoding alone"
PRICING = "its prices alone, one call"


def timed(work: Callable[[], object]) -> float:
    """µs."""
    begun = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begun) / 1_000


def in_process(run: Run) -> list[Row]:
    now_ns = wall_ns()
    risk = BusyRisk(now_ns)
    encoder = msgspec.msgpack.Encoder()
    ours: list[float] = []
    floor: list[float] = []
    number = 0
    for _ in run.rounds(ROUNDS, "grants in the process", quick=3):
        for _ in range(REQUESTS):
            number += 1
            request = Request(f"r{number}", asking(number, risk.options), "strategy")
            risk.end_last(now_ns)
            begun = time.perf_counter_ns()
            step = risk.handle(request, now_ns)
            ours.append((time.perf_counter_ns() - begun) / 1_000)
            (reply,) = step.effects
            assert isinstance(reply, Reply)
            assert isinstance(reply.message, GrantGiven), reply.message
            grant = reply.message.grant
            floor.append(timed(lambda grant=grant: encoder.encode(GrantGiven(grant=signed(grant, KEY)))))
    return [
        row(
            f"grant in the process p{percent}",
            float(np.percentile(ours, percent)),
            "µs",
            beside=SIGNING,
            beside_value=float(np.percentile(floor, percent)),
            target=at_most(1_000),
        )
        for percent in (50, 99)
    ]


@contextmanager
def risk_service(directory: Path) -> Iterator[None]:
    environment = {**os.environ, "VOLDESK_CONFIG": str(write_config(directory)), "VOLDESK_RUN_DIR": str(directory)}
    command = [sys.executable, "-m", "bench.grant_ends", "service"]
    with (directory / "risk.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def over_the_bus(run: Run) -> list[Row]:
    found: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory(prefix="vd-bench-") as name:
        directory = Path(name)
        directory.chmod(0o700)
        with (
            risk_service(directory),
            closing(Worker.of_module("bench.grant_ends", "client", name)) as ours,
            closing(Worker.of_module("bench.bus_ends", "bare-server", name)),
            closing(Worker.of_module("bench.bus_ends", "bare-client", name)) as bare,
        ):
            for _ in run.rounds(ROUNDS, "grants over the bus", quick=3):
                found["ours"].append(ours.ask("asks", REQUESTS))
                found["bare"].append(bare.ask("trips", REQUESTS))

    def percentile(name: str, percent: int) -> float:
        return median(float(np.percentile(times, percent)) for times in found[name])

    return [
        row(
            f"grant over the bus p{percent}",
            percentile("ours", percent),
            "µs",
            beside=BARE,
            beside_value=percentile("bare", percent),
            target=at_most(1_000) if percent == 50 else None,
        )
        for percent in (50, 99)
    ]


def stress_grid(run: Run) -> list[Row]:
    now_ns = wall_ns()
    risk = BusyRisk(now_ns)
    config = wide_limits()
    scenarios = Scenarios.of(config)
    market: MarketView = risk._market
    account = risk.account
    held = {position.symbol: float(position.quantity) for position in account.positions}
    assert len(held) == POSITIONS
    strikes = np.array([float(symbol.split("-")[2]) for symbol in held])[:, np.newaxis, np.newaxis]
    forward = INDEX * (1 + scenarios.spot)
    vol = VOL * (1 + scenarios.vol[:, np.newaxis])
    is_call = np.array([symbol.endswith("C") for symbol in held])[:, np.newaxis, np.newaxis]
    grids, prices = [], []
    for _ in run.rounds(ROUNDS, "stress grids", quick=3):
        for _ in range(20):
            grids.append(timed(lambda: Stress.of_quantities(scenarios, market, held, now_ns)))
            prices.append(timed(lambda: price(forward, strikes, 0.1, vol, is_call)))
    cells = scenarios.shape[0] * scenarios.shape[1]
    return [
        row(
            f"stress grid, {POSITIONS} positions × {cells} scenarios p{percent}",
            float(np.percentile(grids, percent)),
            "µs",
            beside=PRICING,
            beside_value=float(np.percentile(prices, percent)),
        )
        for percent in (50, 99)
    ]


def measure(run: Run) -> list[Row]:
    return [*in_process(run), *over_the_bus(run), *stress_grid(run)]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

"""How fast the whole desk is simulated: virtual time per second of a processor.

    python -m bench.simulation [--json] [--quick]

Drawn seeds as `make simulate` runs them: a desk of five services under its faults until all is at rest, every
promise checked on the way and at the end. Then desks without faults that trade and whose promises nobody checks.
Beside each stands its market alone: the exchange advanced by the same steps for as long a time, its index and chains
read once a second, as market data are pushed them. Time is CPU time of the one process; a desk and its market take
turns; figures are sums over the seeds, of which one is run before and not counted. `make simulate` runs a process per
core.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import TypeVar

from bench.harness import Run, bench_main
from bench.rows import Row, row
from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from world.desk import Desk
from world.engine import Engine
from world.faults import MS, SECOND, Faults
from world.market_feed import MarketFeed
from world.scenario import Scenario, drawn, plain
from world.simulate import simulate

SEEDS = 20
QUICK_SEEDS = 2
CALM_S = 300
HOUR_S = 3_600
ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class Speed:
    """Sums over the runs of one kind."""

    virtual_s: float = 0.0
    cpu_s: float = 0.0
    market_cpu_s: float = 0.0
    orders: int = 0

    def add(self, seed: int, scenario: Scenario, work: Callable[[int, Scenario], tuple[float, int]]) -> None:
        """One run, and its market alone for as long as it lasted."""
        (virtual_s, orders), cpu_s = timed(lambda: work(seed, scenario))
        _, market_cpu_s = timed(lambda: market_alone(scenario.exchange, scenario.start_ns, virtual_s))
        self.virtual_s += virtual_s
        self.cpu_s += cpu_s
        self.market_cpu_s += market_cpu_s
        self.orders += orders

    def row(self, name: str) -> Row:
        note = (
            f"{self.orders:,} orders in {self.virtual_s / 60:.0f} virtual minutes, {self.cpu_s:.1f} s of a processor"
        )
        return row(
            name,
            self.virtual_s / HOUR_S / self.cpu_s,
            "virtual h/s",
            beside="its market alone",
            beside_value=self.virtual_s / HOUR_S / self.market_cpu_s,
            note=note,
        )


def timed(work: Callable[[], ResultT]) -> tuple[ResultT, float]:
    """What `work` returns, and the CPU seconds that it took."""
    gc.collect()
    begin = process_time()
    result = work()
    return result, process_time() - begin


def drawn_seed(seed: int, scenario: Scenario) -> tuple[float, int]:
    """A seed with all its checks: virtual seconds and orders. Raises RuntimeError where a promise is broken."""
    verdict = simulate(seed, scenario=scenario)
    if verdict.violations:
        raise RuntimeError(
            f"seed {seed}: {verdict.violations[0]}; see `python -m world --first-seed {seed} --seeds 1`"
        )
    return verdict.virtual_s, verdict.orders


def calm_desk(seed: int, scenario: Scenario) -> tuple[float, int]:
    """A desk without faults: virtual seconds and orders."""
    desk = Desk(
        Engine(scenario.start_ns, seed),
        Faults.none(),
        scenario.strategies,
        scenario.exchange,
        scenario.execution,
        risk_config=scenario.risk,
        host_config=scenario.host,
    )
    desk.engine.run_until(scenario.start_ns + CALM_S * SECOND)
    return float(CALM_S), len(desk.book.orders)


def market_alone(config: ExchangeConfig, start_ns: int, virtual_s: float) -> None:
    """The exchange for so long without an account that trades, and what it shows once a second."""
    exchange = ExchangeCore(config, start_ns)
    feed = MarketFeed(exchange, config)
    now_ns, shown_ns, end_ns = start_ns, start_ns, start_ns + round(virtual_s * SECOND)
    while now_ns < end_ns:
        now_ns += config.step_ms * MS
        exchange.advance(now_ns)
        if now_ns < shown_ns:
            continue
        shown_ns += SECOND
        for base in config.bases:
            feed.index_push(base.base)
            feed.chain_pushes(base.base)


def measure(run: Run) -> list[Row]:
    seeds = QUICK_SEEDS if run.quick else SEEDS
    faulty, calm = Speed(), Speed()
    Speed().add(0, drawn(0), drawn_seed)
    for seed in run.track(range(seeds), "simulation"):
        faulty.add(seed, drawn(seed), drawn_seed)
        calm.add(seed, plain(seed), calm_desk)
    return [
        faulty.row(f"{seeds} drawn seeds under faults, every promise checked"),
        calm.row(f"{seeds} desks without faults or checks"),
    ]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

"""What opening a structure costs by each way of working it on the order book of the simulated market.

    python -m bench.modes [--json] [--quick]

A desk in `world`, without faults, opens and closes one structure again and again; every mode sees the same market
(same seed). The figure is the mean of what openings cost beyond the middle of the books at arrival, fees left out,
beside what taking the other side of every book at once costs. It is no time, so a busy machine does not change it.
The simulated market is not the venue: the order of the modes is what can be learned here, not the size of the
difference, and a few openings of a slow mode tell little.
"""

import sys
from collections.abc import Sequence
from statistics import mean

import msgspec

from bench.harness import Run, bench_main
from bench.rows import Row, row
from services.execution.records import Trade
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import LegSpec, SmartConfig, StrategyConfig, max_hold_hours, strangle
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS

SECONDS = 600
SEEDS = 3
ACROSS = ExecutionParams(phases=(LimitPhase(pricing="aggressive", buffer_pct=30.0),))
PATIENT = ExecutionParams(
    phases=(
        LimitPhase(pricing="mid", duration_s=20.0, reprice_interval_s=10.0),
        LimitPhase(pricing="aggressive", buffer_pct=30.0, reprice_interval_s=5.0),
    )
)
NEXT = {"dte": 1}
STRUCTURES: dict[str, Sequence[LegSpec]] = {
    "strangle": strangle(qty="0.2", call_delta=0.3, put_delta=-0.3, dte=1, side="buy"),
    "butterfly": [
        LegSpec("C", "buy", "0.2", {"type": "spotdistance", "value": 1}, NEXT),
        LegSpec("C", "sell", "0.4", {"type": "spotdistance", "value": 2}, NEXT),
        LegSpec("C", "buy", "0.2", {"type": "spotdistance", "value": 3}, NEXT),
    ],
}


class Opened(msgspec.Struct):
    """Openings of one structure by one mode: how many, how many were given up, and what they cost on average, USD."""

    count: int
    given_up: int
    spread_usd: float
    seconds: float


def opened(structure: str, config: StrategyConfig, seconds: int, seeds: int) -> Opened:
    """Let a desk trade by this configuration and measure what its openings gave away to the other side."""
    trades: list[Trade] = []
    for seed in range(1, seeds + 1):
        desk = Desk(Engine(START_NS, seed), Faults.none(), [config], small_exchange(seed))
        desk.engine.run_until(START_NS + seconds * SECOND)
        trades += desk.book.trades.values()
    costs = [trade.opening_cost for trade in trades if trade.opened_ns is not None]
    whole = [trade for trade in trades if trade.opened_ns is not None]
    return Opened(
        count=len(whole),
        given_up=sum(trade.state == "FAILED" for trade in trades),
        spread_usd=mean(cost.actual_usd - cost.fees_usd for cost in costs if cost is not None),
        seconds=mean(((trade.opened_ns or 0) - trade.created_ns) / SECOND for trade in whole),
    )


def measure(run: Run) -> list[Row]:
    seconds, seeds = (200, 1) if run.quick else (SECONDS, SEEDS)
    rows: list[Row] = []
    for structure, legs in STRUCTURES.items():
        plain = StrategyConfig(
            name=structure,
            legs=legs,
            exit_conditions=[max_hold_hours(2 / 3_600)],
            execution_mode="limit",
            execution_params=ACROSS,
            check_interval_seconds=1,
        )
        changed = msgspec.structs.replace
        across = opened(structure, plain, seconds, seeds)
        ways = {
            "limit, mid for 20 s then across": changed(plain, execution_params=PATIENT),
            "smart, 2 chunks at mid": changed(plain, execution_mode="smart", smart_config=SmartConfig()),
            "smart, 4 chunks at the top of the book": changed(
                plain,
                execution_mode="smart",
                smart_config=SmartConfig(chunk_count=4, quoting_strategy="top_of_book"),
            ),
        }
        for way, config in ways.items():
            done = opened(structure, config, seconds, seeds)
            rows.append(
                row(
                    f"opening a {structure}: {way}",
                    done.spread_usd,
                    "USD",
                    beside="across at once",
                    beside_value=across.spread_usd,
                    note=(
                        f"{done.count} openings in {done.seconds:.0f} s each, {done.given_up} given up; "
                        f"across at once {across.count} in {across.seconds:.0f} s, {across.given_up} given up"
                    ),
                )
            )
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

"""What a strategy host costs with many strategies: CPU of its process while the market runs, a chain a second.

    python -m bench.host [--json] [--quick] [--seconds 60]

A desk as `voldesk up` starts it, three times: with one strategy, with 100 that wait for their entry (ten conditions
each, looked at every second, of which the last never holds), and with 100 that each hold a dry-run strangle and ask
ten exits about it. What one strategy costs, most of it taking in the market, stands beside the others. CPU is of one
core.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench.desk import BenchDesk
from bench.harness import Run, bench_main
from bench.memory import sample_of
from bench.rows import Row, row

STRATEGIES = 100
SECONDS, QUICK_SECONDS = 60.0, 8.0
SETTLE_S, QUICK_SETTLE_S = 20.0, 4.0
PATIENCE_S = 120.0

CONFIG = """
[desk]
name = "host"
account_id = "host"
venue = "sim"
underlyings = ["BTCUSD"]
[strategy]
enabled = [{enabled}]
folders = ["strategies"]
"""
INSTANCE = """
[strategy.instances.{name}]
file = "{file}"
"""

WAITING = """
from shared.strategy import (
    StrategyConfig, account_delta_limit, iv_level, max_account_delta, max_margin_utilization,
    min_available_margin_pct, min_equity, no_existing_position_in, strangle, time_window, weekday_filter,
)


def waiting() -> StrategyConfig:
    return StrategyConfig(
        name="waiting",
        legs=strangle(qty="0.1", expiry_criteria={"dte_min": 7, "dte_max": 21, "target": 14}),
        entry_conditions=[
            time_window(0, 24),
            weekday_filter(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
            min_equity(1),
            min_available_margin_pct(1),
            max_margin_utilization(99),
            max_account_delta(1000),
            max_account_delta(500, "BTC"),
            no_existing_position_in(["ETH"]),
            iv_level(0, 1000, underlying="BTC", days=10),
            min_equity(1e12),
        ],
        exit_conditions=[account_delta_limit(1000)],
        check_interval_seconds=1,
    )
"""

HOLDING = """
from shared.strategy import (
    StrategyConfig, credit_multiple, dte_exit, iv_change, leg_greek_limit, max_hold_hours, max_loss, max_profit,
    short_leg_delta, strangle, structure_delta_limit, underlying_beyond,
)


def holding() -> StrategyConfig:
    return StrategyConfig(
        name="holding",
        legs=strangle(qty="0.1", expiry_criteria={"dte_min": 7, "dte_max": 21, "target": 14}),
        entry_conditions=[],
        exit_conditions=[
            max_profit(99),
            credit_multiple(500),
            max_loss(pct=5000),
            short_leg_delta(0.99),
            leg_greek_limit("delta", 0.99),
            structure_delta_limit(50),
            underlying_beyond(above=10_000_000),
            iv_change(up_points=500),
            dte_exit(1),
            max_hold_hours(1000),
        ],
        dry_run=True,
        max_concurrent_trades=1,
        max_trades_per_day=1,
        check_interval_seconds=1,
    )
"""


def desk_of(home: Path, file: str, count: int) -> BenchDesk:
    """A desk whose host runs `count` instances of one of the two files."""
    home.mkdir()
    names = [f"{file}_{number}" for number in range(count)]
    config = CONFIG.format(enabled=", ".join(f'"{name}"' for name in names))
    config += "".join(INSTANCE.format(name=name, file=file) for name in names)
    return BenchDesk(home, config, {"waiting": WAITING, "holding": HOLDING})


def cpu_pct(desk: BenchDesk, seconds: float) -> float:
    """Of one core, of the host's process, over so many seconds. Raises RuntimeError when it ended meanwhile."""
    pid = desk.pids()["strategy"]
    before, began = sample_of(pid, 0.0), time.monotonic()
    time.sleep(seconds)
    after, span_s = sample_of(pid, 0.0), time.monotonic() - began
    if before is None or after is None:
        raise RuntimeError(f"the strategy host {pid} has ended: see {desk.run_dir}/logs")
    return 100 * (after.cpu_s - before.cpu_s) / span_s


def wait_until_busy(desk: BenchDesk, count: int, *, holds: bool) -> None:
    """Until each strategy runs and, where it `holds` one, has its dry-run trade: what has not loaded costs nothing.
    Raises RuntimeError with the reasons of those that do not."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        told = desk.answer("strategies")
        without = [
            each
            for each in told
            if each["state"] != "running" or (holds and not (each["dry_run"] and each["dry_run"]["open"]))
        ]
        if len(told) == count and not without:
            return
        if time.monotonic() > deadline:
            reasons = "; ".join(sorted({each["reason"] for each in without}))
            what = "hold no trade" if holds else "do not run"
            raise RuntimeError(f"{len(without)} of {count} strategies {what}: {reasons[:500]}")
        time.sleep(1.0)


def measure(run: Run) -> list[Row]:
    seconds = QUICK_SECONDS if run.quick else run.arguments.seconds
    count = 10 if run.quick else STRATEGIES
    found = {}
    with tempfile.TemporaryDirectory(prefix="vd-host-") as home:
        plans = (("one", "waiting", 1), ("waiting", "waiting", count), ("holding", "holding", count))
        for name, file, strategies in run.track(plans, "hosts"):
            desk = desk_of(Path(home) / name, file, strategies)
            with desk.up():
                wait_until_busy(desk, strategies, holds=file == "holding")
                time.sleep(QUICK_SETTLE_S if run.quick else SETTLE_S)
                found[name] = cpu_pct(desk, seconds)

    def figure(what: str, name: str) -> Row:
        return row(
            what,
            round(found[name], 1),
            "% of one core",
            beside="a host with one that waits",
            beside_value=round(found["one"], 1),
        )

    return [
        figure(f"host, {count} strategies that wait, ten conditions each", "waiting"),
        figure(f"host, {count} strategies that hold a trade, ten exits each", "holding"),
    ]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"how long to watch each (default {SECONDS:g})"
    )


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())

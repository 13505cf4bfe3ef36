"""The example strategy of the README that the desk grew from runs with nothing but its imports changed."""

from __future__ import annotations

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from services.strategy.runner import StrategyRunner
from shared.strategy import ExecutionParams, StrategyConfig, max_hold_hours, min_available_margin_pct, strangle
from shared.strategy.protocol import OpenStructure
from tests.unit.strategy.making import NOON, account, chain


def my_strategy() -> StrategyConfig:
    return StrategyConfig(
        name="my_strategy",
        legs=strangle(qty=0.01, call_delta=0.15, put_delta=-0.15, dte="next", side=1),
        entry_conditions=[min_available_margin_pct(30)],
        exit_conditions=[max_hold_hours(1)],
        max_concurrent_trades=1,
        max_trades_per_day=2,
        cooldown_seconds=60,
        check_interval_seconds=30,
        metadata={
            "execution_params": ExecutionParams(
                fill_timeout_seconds=30.0,
                aggressive_buffer_pct=2.0,
                max_requote_rounds=10,
            ),
        },
    )


def test_the_example_opens_a_bought_strangle_of_the_next_expiry() -> None:
    runner = LoadedStrategy.from_config(my_strategy()).make(StrategyHostConfig())
    assert isinstance(runner, StrategyRunner)
    opened = runner.structure({"BTCUSD": chain()}, NOON, account())
    assert isinstance(opened, OpenStructure)
    assert [(leg.side, str(leg.quantity), leg.symbol.split("-")[1]) for leg in opened.legs] == [
        ("buy", "0.01", "5MAR26")
    ] * 2
    assert opened.execution_params.fill_timeout_s == 30.0
    assert opened.execution_params.max_requote_rounds == 10

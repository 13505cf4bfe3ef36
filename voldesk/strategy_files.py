"""The enabled strategy files, as commands look at them."""

from __future__ import annotations

from services.strategy.config import StrategyHostConfig
from services.strategy.loader import load_enabled
from services.strategy.runner import StrategyRunner
from services.strategy.validation import PATIENCE_S, StrategyFiles, validate
from shared.config import DeskConfig
from voldesk.console import EXIT_USAGE, Failure


def check_strategy_files(desk: DeskConfig, patience_s: float = PATIENCE_S) -> StrategyFiles:
    """Load every enabled strategy as the host would, in a process of its own, within `patience_s`."""
    return validate(desk, desk.section("strategy", StrategyHostConfig).enabled, patience_s)


def load_runner(desk: DeskConfig, name: str) -> StrategyRunner:
    """The strategy of this name among those enabled, in this process. Raises Failure where there is none, and for
    one that is no StrategyConfig: what it would open depends on what it has seen."""
    loaded, failures = load_enabled(desk)
    found = next((strategy for strategy in loaded if strategy.name == name), None)
    if found is None:
        broken = next((failure.reason for failure in failures if failure.name == name), None)
        names = ", ".join(strategy.name for strategy in loaded) or "none loads"
        raise Failure(
            f"{name} does not load: {broken}" if broken else f"{name!r} is no strategy of this desk",
            "see `voldesk check-config`" if broken else f"use one of: {names}",
            EXIT_USAGE,
        )
    runner = found.make(desk.section("strategy", StrategyHostConfig))
    if not isinstance(runner, StrategyRunner):
        raise Failure(
            f"{name} selects its legs as it goes", "give the structure: buy|sell QUANTITY SYMBOL", EXIT_USAGE
        )
    return runner

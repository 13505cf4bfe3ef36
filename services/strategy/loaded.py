"""A strategy that a host can run: how to make it, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from services.strategy.config import StrategyHostConfig
from services.strategy.runner import StrategyRunner
from shared.messages.trades import ExecutionParams, IfBroken, TradeUpdate
from shared.strategy.actions import ScheduledAction
from shared.strategy.condition_functions import ExitFunction, as_data
from shared.strategy.config import StrategyConfig
from shared.strategy.hedge import DeltaHedge
from shared.strategy.market_reads import Needs, needs_of
from shared.strategy.protocol import Strategy
from shared.strategy.rolling import Roll
from shared.strategy.schedule import Schedule
from shared.strategy.views import SECOND_NS


class LoadedStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """`make` builds a fresh instance, so that a host can be built again from its journal.

    exit_functions answer the conditions of its trades that are plain functions, roll_functions those of its roll.
    on_trade_closed: told once of each
    of its trades that has ended. source: the file, "" if none.
    exit_schedule, schedule_window_ns: exits are looked at from each firing on for so long; None: always.
    roll: when and into what its trades are rolled, None for never.
    if_broken: what it declares for its trades; None for the desk's setting, or where its code decides for each.
    delta_hedge: how the host hedges each of its open trades, None for not at all.
    parameters: those of its instance as people read them, "" for none. enabled_as: the name that the configuration
    has of it, "" for its own. trades_as: the name of its trades, "" for its own. needs: what must be read of the
    market for its conditions. hedged_underlying: whose delta in the account it keeps near 0, "" for none.
    """

    name: str
    make: Callable[[StrategyHostConfig], Strategy]
    exit_functions: Mapping[str, ExitFunction] = {}
    roll_functions: Mapping[str, ExitFunction] = {}
    on_trade_closed: Callable[[TradeUpdate], None] | None = None
    source: str = ""
    if_broken: IfBroken | None = None
    exit_schedule: Schedule | None = None
    schedule_window_ns: int = 0
    actions: tuple[ScheduledAction, ...] = ()
    roll: Roll | None = None
    delta_hedge: DeltaHedge | None = None
    parameters: str = ""
    enabled_as: str = ""
    trades_as: str = ""
    needs: Needs = Needs()
    hedged_underlying: str = ""

    @staticmethod
    def from_config(
        config: StrategyConfig, source: str = "", profiles: Mapping[str, ExecutionParams] = {}
    ) -> LoadedStrategy:
        """Raises ValueError when the strategy names an execution profile that is not among `profiles`."""
        params = config.limit_params(profiles)
        rolls = () if config.roll is None else map(as_data, config.roll.when)
        return LoadedStrategy(
            name=config.name,
            make=lambda host: StrategyRunner(config, host, params),
            exit_functions=config.exit_functions,
            roll_functions=config.roll_functions,
            on_trade_closed=config.on_trade_closed,
            exit_schedule=config.exit_schedule,
            schedule_window_ns=int(config.schedule_window_seconds * SECOND_NS),
            actions=tuple(config.actions),
            source=source,
            if_broken=config.if_broken,
            delta_hedge=config.delta_hedge,
            needs=needs_of((*config.entries, *config.exits, *rolls)),
            roll=config.roll,
        )


def hedged_twice(strategy: LoadedStrategy, others: Iterable[LoadedStrategy]) -> str:
    """Why a strategy cannot run beside the others: one of them hedges the same of the account; "" when it can."""
    for other in others:
        if strategy.hedged_underlying and other.hedged_underlying == strategy.hedged_underlying:
            return (
                f"{other.name} keeps the account's delta in {strategy.hedged_underlying} already, and two would both "
                "hedge the same: leave one of them enabled, or give it another underlying"
            )
    return ""


class LoadFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy that could not be loaded: `reason` names file and line."""

    name: str
    source: str
    reason: str
    remedy: str = "correct the file, or take the name out of [strategy] enabled"

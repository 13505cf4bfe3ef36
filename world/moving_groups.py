"""A desk of two strategy hosts between which strategies move while they trade."""

from __future__ import annotations

from functools import partial

import msgspec

from shared.messages.control import StrategyCommand
from shared.strategy_hosts import StrategyHosts
from world.desk import Desk
from world.disturbances import at_random
from world.faults import SECOND
from world.scenario import Scenario, plain

_PAUSED = "beta"
_PER_MINUTE = 4.0


def moving_groups(seed: int) -> Scenario:
    """The plain strategies: one of them begins in a group of its own, and who is in it changes all the time."""
    scenario = plain(seed)
    return msgspec.structs.replace(
        scenario,
        name="moving_groups",
        strategies=tuple(
            msgspec.structs.replace(each, max_trades_per_day=0, cooldown_seconds=3) for each in scenario.strategies
        ),
        hosts=StrategyHosts({"fast": (_PAUSED,)}).after(StrategyHosts()),
        faulty_s=120,
        script=_move,
    )


def _move(desk: Desk, until_ns: int) -> None:
    """Strategies are put into other groups, and one of them is paused at a moment, for good."""
    random, names = desk.engine.random, desk.tenants.names

    def regroup() -> None:
        group = tuple(random.sample(names, random.choice((1, 1, 2))))
        desk.regroup({"fast": group}, fails=random.random() < 0.2)

    at_random(desk, _PER_MINUTE, until_ns, regroup)
    pause = StrategyCommand(action="pause", strategy=_PAUSED, requested_by="operator")
    for again in range(6):
        # of a host that is down or being moved nobody hears
        desk.engine.after((30 + 4 * again) * SECOND, partial(desk.steer, pause, f"drill-{again}"))

"""Desks whose trades are rolled every few seconds, while host and execution are killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Literal

from shared.messages.base import opposite
from shared.strategy import AnyLeg, EntryView, LegSpec, Roll, StrategyConfig, max_hold_hours, strangle
from world.desk import Desk
from world.faults import MS, SECOND
from world.limits import WIDE
from world.perpetuals import BEFORE_FUNDING_NS
from world.scenario import Scenario, small_exchange


def rolling(seed: int) -> Scenario:
    """Sold strangles that are rolled between two expiries."""

    def other_expiry(view: EntryView, now_ns: int) -> list[LegSpec]:
        return strangle(qty="0.2", dte=now_ns // (12 * SECOND) % 2, side=2)

    return Scenario(
        name="rolling",
        strategies=(_roller("alpha", other_expiry, 400.0), _roller("beta", other_expiry, 40.0)),
        exchange=small_exchange(seed),
        operator_pause_s=20.0,
        faulty_s=120,
        script=_killing(seed),
    )


def rolling_futures(seed: int) -> Scenario:
    """Dated futures that are rolled between two quarters, alone and against a perpetual that stays the same, over the
    hour of funding."""
    side: Literal["buy", "sell"] = Random(f"rolling futures {seed}").choice(("buy", "sell"))

    def other_quarter(view: EntryView, now_ns: int) -> list[AnyLeg]:
        return [LegSpec.future("BTC", side, "0.02", {"quarterly": 1 + now_ns // (12 * SECOND) % 2})]

    def carried(view: EntryView, now_ns: int) -> list[AnyLeg]:
        quarter = {"quarterly": 1 + now_ns // (12 * SECOND) % 2}
        return [
            LegSpec.perpetual("BTC", opposite(side), "0.03"),
            LegSpec.future("BTC", side, {"of_leg": 0}, quarter),
        ]

    return Scenario(
        name="rolling_futures",
        # the second quarter is some 4,400 USD dearer than the first
        strategies=(
            _roller("alpha", other_quarter, 400.0),
            _roller("beta", other_quarter, 20.0),
            _roller("carry", carried, 400.0),
        ),
        exchange=small_exchange(seed),
        start_ns=BEFORE_FUNDING_NS,
        risk=WIDE,
        futures=True,
        operator_pause_s=20.0,
        faulty_s=120,
        script=_killing(seed),
    )


def _roller(
    name: str, legs: Callable[[EntryView, int], Sequence[AnyLeg] | str], net_limit_usd: float
) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        legs_factory=legs,
        exit_conditions=[max_hold_hours(40 / 3600)],
        execution_mode="limit",
        execution_params={"scale_to_filled": True},
        policy="best_effort",
        roll=Roll(when=[max_hold_hours(4 / 3600)], net_limit_usd=net_limit_usd, max_rolls=4, within_seconds=20),
        max_trades_per_day=50,
        cooldown_seconds=1,
        check_interval_seconds=1,
    )


def _killing(seed: int) -> Callable[[Desk, int], None]:
    def kill(desk: Desk, until_ns: int) -> None:
        random = Random(f"kill {seed}")
        for when_ns in range(desk.engine.now_ns + 6 * SECOND, until_ns, 6 * SECOND):
            node = desk.nodes[random.choice(("strategy", "execution"))]
            down_ns = random.choice((300, 1_500, 8_000)) * MS
            desk.engine.at(when_ns + random.randrange(6 * SECOND), partial(node.crash, down_ns))

    return kill

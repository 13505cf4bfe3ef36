"""Desks that trade dated futures, over the expiry of one."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Literal

import msgspec

from services.execution.config import ExecutionConfig
from services.strategy.config import StrategyHostConfig
from shared.messages.base import opposite
from shared.strategy import AnyLeg, LegSpec
from world.limits import WIDE
from world.perpetuals import futures_trader
from world.scenario import Scenario, small_exchange

BEFORE_MONTHS_EXPIRY_NS = 1_764_315_720_000_000_000
"""2025-11-28T07:42:00Z: futures of the day trade for three minutes more and are delivered 15 minutes later."""


def dated_futures(seed: int) -> Scenario:
    """Futures of the day alone, against the perpetual and against the next quarter, held over their delivery and
    closed before it; beside options, on one symbol together and in each other's way."""
    random = Random(f"dated futures {seed}")
    side: Literal["buy", "sell"] = random.choice(("buy", "sell"))
    day, quarter = {"dte": 0}, {"quarterly": 1}
    call = LegSpec("C", 2, "0.1", {"type": "spotdistance", "value": 1}, {"dte_min": 1, "dte_max": 2})
    carried: list[AnyLeg] = [
        LegSpec.perpetual("BTC", "buy", "0.1"),
        LegSpec.future("BTC", "sell", {"of_leg": 0}, quarter),
    ]
    expiring = LegSpec.future("BTC", side, {"notional_usd": 20_000}, day)
    spread = [LegSpec.future("BTC", side, "0.05", day), LegSpec.future("BTC", "buy", "0.05", quarter)]
    return Scenario(
        name="dated_futures",
        strategies=(
            futures_trader("settled", [LegSpec.future("BTC", side, "0.105", day)], seed, hold_s=86_400.0),
            futures_trader("closed", [expiring], seed + 1),
            futures_trader("covered", [call, LegSpec.future("BTC", 1, {"of_leg": 0}, quarter)], seed + 2),
            futures_trader("carry", carried, seed + 3),
            futures_trader("spread", spread, seed + 4, hold_s=random.choice((12.0, 86_400.0))),
            futures_trader("against", [LegSpec.future("BTC", opposite(side), "0.05", day)], seed + 5, hold_s=3.0),
        ),
        exchange=small_exchange(seed),
        start_ns=BEFORE_MONTHS_EXPIRY_NS,
        execution=ExecutionConfig(tradable_margin_s=20),
        risk=msgspec.structs.replace(
            WIDE,
            min_time_to_last_trade_ms=20_000,
            max_position_quantity=random.choice((Decimal("0.3"), Decimal(100))),
        ),
        host=StrategyHostConfig(no_trade_margin_s=30.0),
        futures=True,
        faulty_s=19 * 60,
    )

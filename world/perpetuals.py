"""Desks that trade perpetuals beside options."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from random import Random
from typing import Literal

import msgspec

from services.execution.config import ExecutionConfig
from shared.messages.base import opposite
from shared.messages.leverage import ChangeLeverage
from shared.strategy import AnyLeg, DeltaHedge, LegSpec, StrategyConfig, max_hold_hours, max_loss, straddle
from world.desk import Desk
from world.disturbances import at_random
from world.faults import SECOND
from world.limits import WIDE
from world.scenario import Scenario, drawn_mode, small_exchange

BEFORE_FUNDING_NS = 1_763_654_370_000_000_000
"""2025-11-20T15:59:30Z, half a minute before longs pay shorts."""

_CHANGES_PER_MINUTE = 12.0
_LEVERAGES = (3, 5, 20)


def perpetuals(seed: int) -> Scenario:
    """Perpetuals alone and beside options, on one symbol together and in each other's way."""
    random = Random(f"perpetuals {seed}")
    side: Literal["buy", "sell"] = random.choice(("buy", "sell"))
    call = LegSpec("C", 2, "0.1", {"type": "spotdistance", "value": 1}, {"dte": 1})
    put = LegSpec("P", 1, "0.1", {"type": "spotdistance", "value": -1}, {"dte": 1})
    return Scenario(
        name="perpetuals",
        strategies=(
            futures_trader("alpha", [LegSpec.perpetual("BTC", side, "0.105")], seed),
            futures_trader("beta", [LegSpec.perpetual("BTC", side, {"notional_usd": 20_000})], seed + 1),
            futures_trader("covered", [call, LegSpec.perpetual("BTC", 1, {"of_leg": 0})], seed + 2),
            futures_trader("protected", [LegSpec.perpetual("BTC", 1, {"of_leg": 1}), put], seed + 4),
            futures_trader("against", [LegSpec.perpetual("BTC", opposite(side), "0.05")], seed + 3, hold_s=3.0),
        ),
        exchange=small_exchange(seed),
        start_ns=random.choice((BEFORE_FUNDING_NS, BEFORE_FUNDING_NS - 3_600 * SECOND)),
        risk=msgspec.structs.replace(WIDE, max_position_quantity=random.choice((Decimal("0.3"), Decimal(100)))),
        futures=True,
        faulty_s=90,
    )


def leveraged(seed: int) -> Scenario:
    """Perpetuals and a dated future whose leverage is configured, asked for by a person, or changed by hand."""
    random = Random(f"leveraged {seed}")
    far = LegSpec.future("BTC", random.choice(("buy", "sell")), "0.1", {"quarterly": 1})
    scenario = perpetuals(seed)
    leverage = random.choice(({}, {"BTCUSD": 5}))
    return msgspec.structs.replace(
        scenario,
        name="leveraged",
        strategies=(*scenario.strategies[:2], futures_trader("far", [far], seed)),
        execution=ExecutionConfig(leverage=leverage),
        script=partial(_change_leverage, by_hand_per_minute=random.choice((0.0, 4.0))),
    )


def _change_leverage(desk: Desk, until_ns: int, by_hand_per_minute: float) -> None:
    engine, leverage = desk.engine, desk.venue.leverage
    symbols = [contract.symbol for _, contract in desk.venue.exchange.futures.contracts()]
    asked = itertools.count()

    def ask() -> None:
        change = ChangeLeverage(
            symbol=engine.random.choice(symbols), leverage=engine.random.choice(_LEVERAGES), requested_by="trader"
        )
        request_id = f"leverage-{next(asked)}"
        desk.operate_at(engine.now_ns, "execution", change, request_id)
        if engine.chance(0.3):
            desk.operate_at(engine.now_ns + engine.between_ns(0, 20 * SECOND), "execution", change, request_id)

    at_random(desk, _CHANGES_PER_MINUTE, until_ns, ask)
    at_random(
        desk,
        by_hand_per_minute,
        until_ns,
        lambda: leverage.set_by_hand(engine.random.choice(symbols), engine.random.choice(_LEVERAGES)),
    )


def stopped(seed: int) -> Scenario:
    """A strategy protects its perpetual with stop orders beside one that trades the same side of it, in a market
    that reaches their triggers."""
    random = Random(f"stopped {seed}")
    side: Literal["buy", "sell"] = random.choice(("buy", "sell"))
    return Scenario(
        name="stopped",
        strategies=(futures_trader("alpha", [LegSpec.perpetual("BTC", side, "0.105")], seed),),
        exchange=small_exchange(seed, jumps_per_day=random.choice((50.0, 4_000.0)), jump_vol=0.003),
        futures=True,
        stops=True,
        operator_pause_s=random.choice((0.0, 30.0)),
        faulty_s=120,
    )


def hedged(seed: int) -> Scenario:
    """Structures whose delta the host hedges, in a market that moves far enough for it."""
    random = Random(f"hedged {seed}")
    straddle_legs = straddle(qty=random.choice(("0.2", "0.5")), dte=1, side=random.choice((1, 2)))
    put = LegSpec("P", random.choice((1, 2)), "0.3", {"type": "delta", "value": 0.4}, {"dte": 1})
    return Scenario(
        name="hedged",
        strategies=(
            _hedged("scalper", straddle_legs, seed, hold_s=random.choice((25.0, 60.0))),
            _hedged("put", [put], seed + 1, hold_s=40.0),
        ),
        exchange=small_exchange(seed, jumps_per_day=random.choice((50.0, 2_000.0)), jump_vol=0.01),
        start_ns=random.choice((BEFORE_FUNDING_NS, BEFORE_FUNDING_NS - 3_600 * SECOND)),
        futures=True,
        faulty_s=120,
    )


def _hedged(name: str, legs: Sequence[AnyLeg], variant: int, *, hold_s: float) -> StrategyConfig:
    mode, smart = drawn_mode(name, variant)
    return StrategyConfig(
        name=name,
        legs=legs,
        exit_conditions=[max_hold_hours(hold_s / 3600), max_loss(usd=500)],
        execution_mode=mode,
        smart_config=smart,
        policy="atomic" if variant % 3 else "best_effort",
        max_trades_per_day=4,
        cooldown_seconds=5,
        check_interval_seconds=2,
        delta_hedge=DeltaHedge(band=0.01, interval_seconds=2.0),
    )


def futures_trader(name: str, legs: Sequence[AnyLeg], variant: int, *, hold_s: float = 12.0) -> StrategyConfig:
    """Who holds these legs for a while, four times at most, in one of the modes that futures know."""
    mode, smart = drawn_mode(name, variant)
    return StrategyConfig(
        name=name,
        legs=legs,
        exit_conditions=[max_hold_hours(hold_s / 3600), max_loss(usd=400)],
        execution_mode="limit" if mode == "rfq" else mode,
        execution_params=Random(f"params {name} {variant}").choice(({}, {"requote_by": "amend"})),
        smart_config=smart,
        policy="atomic" if variant % 3 else "best_effort",
        max_trades_per_day=4,
        cooldown_seconds=5,
        check_interval_seconds=2,
    )

"""Desks whose strategies look at more of the market than its chains: candles, funding and past volatility."""

from __future__ import annotations

from random import Random

from services.strategy.config import StrategyHostConfig
from shared.messages.conditions import EntryCondition
from shared.strategy import (
    StrategyConfig,
    all_of,
    any_of,
    ema_cross,
    for_at_least,
    funding_rate,
    iv_level,
    iv_rank,
    max_hold_hours,
    max_loss,
    not_,
    price_ema,
    spot_move,
    strangle,
)
from world.scenario import Scenario, drawn_mode, small_exchange


def market_conditions(seed: int) -> Scenario:
    """Three strategies that open only once the market was read, and leave when it turns or time is up."""
    random = Random(f"market conditions {seed}")
    return Scenario(
        name="market_conditions",
        strategies=tuple(_informed(name, seed + number) for number, name in enumerate(("trend", "carry", "vol"))),
        exchange=small_exchange(seed, jumps_per_day=random.choice((50.0, 1_000.0)), jump_vol=0.004),
        host=StrategyHostConfig(market_read_interval_s=10.0, market_read_tolerance_s=60.0),
        futures=True,
        faulty_s=240,
    )


def _informed(name: str, variant: int) -> StrategyConfig:
    mode, smart = drawn_mode(name, variant)
    random = Random(f"informed {name} {variant}")
    rises = all_of(price_ema(1, candle="1m"), funding_rate(max_pct=5))
    return StrategyConfig(
        name=name,
        legs=strangle(qty="0.1", dte=1, side=1),
        entry_conditions=_entries(random),
        exit_conditions=[
            any_of(
                for_at_least(rises, seconds=random.choice((4.0, 15.0))),
                spot_move(random.choice((0.05, 0.2)), minutes=1),
                # an hour's first sample has no rank: this one always waits, and must not keep the others from leaving
                iv_rank(max_pct=50, lookback_days=1),
            ),
            max_hold_hours(20 / 3600),
            max_loss(usd=400),
        ],
        execution_mode="limit" if mode == "rfq" else mode,
        smart_config=smart,
        policy="atomic" if variant % 3 else "best_effort",
        max_trades_per_day=8,
        cooldown_seconds=5,
        check_interval_seconds=2,
    )


def _entries(random: Random) -> list[EntryCondition]:
    """Always true once they can be judged, whichever way the market goes: the venue has no candles of before the run,
    so they are of few."""
    moved = spot_move(0.02, minutes=1)
    pairs = (
        any_of(price_ema(1, "above", candle="1m"), price_ema(1, "below", candle="1m", buffer_pct=0), not_(moved)),
        any_of(moved, not_(moved)),
        any_of(ema_cross(1, 2, "above", candle="1m"), not_(ema_cross(1, 2, "above", candle="1m"))),
    )
    return [random.choice(pairs), iv_level(min_pct=1.0), funding_rate(max_pct=5)]

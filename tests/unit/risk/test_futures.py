"""Perpetuals and dated futures of the account: their delta, their stress, their margin, and no grant for one."""

from __future__ import annotations

import math

import pytest

from services.risk.config import RiskConfig, margined_at
from services.risk.margin_models import standard_margin
from shared.messages.account import AccountSnapshot
from shared.messages.risk import StressGrid
from shared.messages.steps import Publish, Step
from tests.unit.risk.desk import ACCOUNT, CALL_100, INDEX, Script, ask, leg, limits, position

PERPETUAL, DATED = "BTCUSD", "BTCUSD-26JUN26"


def told(step: Step, name: str) -> AccountSnapshot | StressGrid:
    (found,) = [
        effect.message
        for effect in step.effects
        if isinstance(effect, Publish) and effect.topic == f"risk.{ACCOUNT}.{name}"
    ]
    assert isinstance(found, AccountSnapshot | StressGrid)
    return found


def account(step: Step) -> AccountSnapshot:
    found = told(step, "account")
    assert isinstance(found, AccountSnapshot)
    return found


def stress(step: Step) -> StressGrid:
    found = told(step, "stress")
    assert isinstance(found, StressGrid)
    return found


@pytest.mark.parametrize("symbol", [PERPETUAL, DATED])
def test_a_future_counts_with_a_delta_of_one_per_coin_and_nothing_else(symbol: str) -> None:
    shown = account(Script().market().poll(positions=(position(symbol, "-0.4"),)))
    assert shown.greeks_complete
    assert shown.greeks["BTCUSD"].delta == pytest.approx(-0.4)
    assert (shown.greeks["BTCUSD"].gamma, shown.greeks["BTCUSD"].vega, shown.greeks["BTCUSD"].theta) == (0, 0, 0)


def test_a_short_perpetual_takes_delta_from_a_call() -> None:
    alone = account(Script().market().poll(positions=(position(CALL_100, "1"),))).greeks["BTCUSD"]
    hedged = account(Script().market().poll(positions=(position(CALL_100, "1"), position(PERPETUAL, "-0.5"))))
    assert hedged.greeks["BTCUSD"].delta == pytest.approx(alone.delta - 0.5)
    assert hedged.greeks["BTCUSD"].gamma == pytest.approx(alone.gamma)


def test_a_future_moves_with_spot_whatever_volatility_and_time_do() -> None:
    grid = stress(Script().market().poll(positions=(position(PERPETUAL, "2"),)))
    for row in grid.pnl_usd:
        for move_pct, pnl in zip(grid.spot_pct, row, strict=True):
            assert pnl == pytest.approx(2 * INDEX * move_pct / 100, abs=0.01)
    assert grid.stressed_loss_usd == pytest.approx(0.3 * 2 * INDEX)


def test_without_a_fresh_market_the_delta_of_a_future_is_unknown_and_not_zero() -> None:
    shown = account(Script().poll(positions=(position(PERPETUAL, "1"),)))
    assert not shown.greeks_complete
    (held,) = shown.positions
    assert held.greeks is None


def test_a_delta_limit_counts_the_futures_held() -> None:
    script = Script(limits(max_delta_usd=0.9 * INDEX)).ready()
    script.poll(positions=(position(PERPETUAL, "0.8"),))
    assert script.refused(ask("more", (leg(CALL_100, "buy", "0.5"),))).code == "delta_limit"


def test_a_grant_for_a_future_is_refused_and_says_so() -> None:
    script = Script().ready()
    refused = script.refused(ask("hedge", (leg(PERPETUAL, "sell", "0.1"),)))
    assert PERPETUAL in refused.detail


def test_margin_of_futures_is_a_fraction_of_their_value_on_either_side() -> None:
    script = Script().ready()
    market = script.core._market
    for quantity in (1.0, -1.0):
        margin = standard_margin(RiskConfig(), market, {PERPETUAL: quantity})
        assert margin.initial == pytest.approx(0.1 * INDEX)
        assert margin.maintenance == pytest.approx(0.01 * INDEX)
    assert math.isnan(standard_margin(RiskConfig(), market, {"BTCUSD-1JAN99-1-C": -1.0}).initial)


def test_the_margin_of_futures_is_no_lower_than_at_the_lowest_leverage_that_is_set() -> None:
    config = RiskConfig()
    assert margined_at(config, ()) is config
    assert margined_at(config, (20, 50)) is config
    assert margined_at(config, (20, 4)).futures_initial_fraction == 0.25
    assert margined_at(RiskConfig(futures_initial_fraction=0.5), (4,)).futures_initial_fraction == 0.5

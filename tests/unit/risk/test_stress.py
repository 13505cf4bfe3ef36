"""Stressed loss: the grid by hand, what counts in it, and the limit on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.config import RiskConfig
from services.risk.stress import OptionColumns, Scenarios, unit_profits
from shared.messages.risk import StressGrid
from shared.messages.steps import Publish, Step
from shared.options import black76
from tests.unit.risk.desk import (
    ACCOUNT,
    CALL_100,
    CALL_110,
    CALL_120,
    EXPIRY,
    INDEX,
    PUT_90,
    SECOND,
    START,
    STRANGLE,
    VOL,
    Script,
    ask,
    leg,
    limits,
    position,
)

YEARS = (EXPIRY - START) / (365 * 86_400 * SECOND)
DAY = 1 / 365


def shown(step: Step) -> StressGrid:
    (found,) = [
        effect.message
        for effect in step.effects
        if isinstance(effect, Publish) and effect.topic == f"risk.{ACCOUNT}.stress"
    ]
    assert isinstance(found, StressGrid)
    return found


def value(strike: float, *, is_call: bool, spot: float = 0.0, vol: float = 0.0, days: float = 0.0) -> float:
    forward, years = INDEX * (1 + spot), YEARS - days * DAY
    return float(black76.price(forward, strike, years, VOL * (1 + vol), is_call))


def test_a_cell_is_the_option_revalued_at_the_moved_forward_and_volatility_a_day_later() -> None:
    grid = shown(Script().market().poll(positions=(position(PUT_90, "-2"),)))
    row, column = grid.vol_pct.index(50.0), grid.spot_pct.index(-30.0)
    then = value(90_000, is_call=False, spot=-0.3, vol=0.5, days=1)
    expected = -2 * (then - value(90_000, is_call=False))
    assert grid.pnl_usd[row][column] == pytest.approx(expected, abs=0.01)
    assert min(min(row) for row in grid.pnl_usd) == pytest.approx(expected, abs=0.01)
    assert grid.stressed_loss_usd == pytest.approx(-expected)
    (worst,) = grid.underlyings
    assert (worst.worst_spot_pct, worst.worst_vol_pct) == (-30.0, 50.0)


def test_where_nothing_moves_only_the_day_passes() -> None:
    grid = shown(Script().market().poll(positions=(position(CALL_100, "1"),)))
    still = grid.pnl_usd[grid.vol_pct.index(0.0)][grid.spot_pct.index(0.0)]
    assert still == pytest.approx(value(100_000, is_call=True, days=1) - value(100_000, is_call=True), abs=0.01)
    assert still < 0


def test_a_bought_option_loses_no_more_than_it_is_worth() -> None:
    grid = shown(Script().market().poll(positions=(position(CALL_110, "1"),)))
    assert 0 < grid.stressed_loss_usd <= value(110_000, is_call=True)


def test_positions_are_told_with_what_each_makes_in_the_worst_scenario_of_all() -> None:
    held = (position(CALL_110, "-1"), position(CALL_120, "1"))
    grid = shown(Script().market().poll(positions=held))
    assert [row.symbol for row in grid.positions] == [CALL_110, CALL_120]
    assert sum(row.pnl_usd for row in grid.positions) == pytest.approx(-grid.stressed_loss_usd)


def test_a_spread_is_stressed_as_a_whole_and_loses_at_most_its_width() -> None:
    script = Script(limits(max_stressed_loss_pct=10)).ready()
    assert script.refused(ask("naked", (leg(CALL_110, "sell", "1"),))).code == "stressed_loss"
    script.granted(ask("spread", (leg(CALL_110, "sell", "1"), leg(CALL_120, "buy", "1"))))


def test_the_stressed_loss_after_the_trade_is_limited_with_what_is_held() -> None:
    script = Script(limits(max_stressed_loss_pct=3)).ready()
    script.granted(ask("s-1", STRANGLE))
    script = Script(limits(max_stressed_loss_pct=3)).ready(positions=(position(PUT_90, "-0.1"),))
    refused = script.refused(ask("s-1", STRANGLE))
    assert (refused.code, refused.limit) == ("stressed_loss", 3)
    assert refused.value is not None
    assert refused.value > 3


def test_a_trade_that_lowers_the_stressed_loss_is_allowed_beyond_the_limit() -> None:
    script = Script(limits(max_stressed_loss_pct=1)).ready(positions=(position(PUT_90, "-0.2"),))
    assert script.refused(ask("more", (leg(PUT_90, "sell", "0.1"),))).code == "stressed_loss"
    script.granted(ask("less", (leg(PUT_90, "buy", "0.1"),)))


def test_an_outstanding_grant_counts_where_it_loses_and_makes_no_room_where_it_gains() -> None:
    script = Script(limits(max_stressed_loss_pct=3)).ready()
    script.granted(ask("buys", (leg(PUT_90, "buy", "0.2"),)))
    assert script.refused(ask("sells", (leg(PUT_90, "sell", "0.2"),))).code == "stressed_loss"
    script.granted(ask("sells-less", (leg(PUT_90, "sell", "0.1"),)))
    assert script.refused(ask("sells-more", (leg(PUT_90, "sell", "0.1"),))).code == "stressed_loss"


def test_a_volatility_that_the_chain_lacks_is_solved_from_the_mark() -> None:
    script = Script().market(missing={"mark_iv": (PUT_90,)})
    whole = shown(Script().market().poll(positions=(position(PUT_90, "-1"),)))
    solved = shown(script.poll(positions=(position(PUT_90, "-1"),)))
    assert solved.complete
    np.testing.assert_allclose(solved.pnl_usd, whole.pnl_usd, atol=0.02)


def test_a_position_without_mark_and_volatility_is_left_out_and_makes_the_limit_wait() -> None:
    script = Script().market(missing={"mark_iv": (PUT_90,), "mark": (PUT_90,)})
    held = (position(PUT_90, "-1"), position(CALL_110, "-1"))
    grid = shown(script.poll(positions=held))
    assert not grid.complete
    assert [row.symbol for row in grid.positions] == [CALL_110]
    script = Script().ready()
    script.market(missing={"mark_iv": (PUT_90,), "mark": (PUT_90,)}).poll(positions=held)
    assert script.refused(ask()).code == "stress_unknown"


def test_a_stale_chain_stresses_nothing_and_says_so() -> None:
    grid = shown(Script().market().poll(60, positions=(position(PUT_90, "-1"),)))
    assert (grid.complete, grid.positions, grid.stressed_loss_usd) == (False, (), 0.0)


@given(
    strike=st.floats(10_000, 400_000),
    years=st.floats(0, 2),
    vol=st.floats(0.05, 3),
    is_call=st.booleans(),
)
def test_no_option_bought_loses_more_than_its_price_and_no_scenario_is_lost(
    strike: float, years: float, vol: float, is_call: bool
) -> None:
    scenarios = Scenarios.of(RiskConfig())
    options = OptionColumns(
        *(np.array([each]) for each in (INDEX, strike, years, vol)),
        np.array([is_call]),
    )
    (grid,) = unit_profits(scenarios, options)
    assert grid.shape == scenarios.shape
    price = float(black76.price(INDEX, strike, years, vol, is_call))
    assert grid.min() >= -price - 1e-6
    rising = np.diff(grid, axis=1)
    assert (rising >= -1e-6).all() if is_call else (rising <= 1e-6).all()


def test_the_scenarios_are_those_of_the_configuration() -> None:
    config = limits(stress_spot_pct=(-10.0, 10.0), stress_vol_pct=(0.0,), stress_days=0.0)
    grid = shown(Script(config).market().poll(positions=(position(CALL_110, "1"),)))
    assert (grid.spot_pct, grid.vol_pct, grid.days) == ((-10.0, 10.0), (0.0,), 0.0)
    assert [len(row) for row in grid.pnl_usd] == [2]
    assert grid.limit_usd == pytest.approx(config.max_stressed_loss_pct / 100 * 100_000)
    assert math.isfinite(grid.stressed_loss_usd)

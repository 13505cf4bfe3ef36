"""Prices and Greeks against QuantLib, against their own differences, and at their limits."""

from itertools import product
from math import exp, log, sqrt

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.options.black76 import BLOCK_OPTIONS, FloatArray, Greeks, greeks, price
from tests.unit.options.chains import (
    TEN_MINUTES_YEARS,
    forwards,
    moneynesses,
    random_chain,
    rates,
    vols,
    years_left,
)

GREEK_NAMES = ("price", "delta", "gamma", "vega", "theta", "rho")


def rows(result: Greeks) -> list[FloatArray]:
    return [getattr(result, name) for name in GREEK_NAMES]


@pytest.mark.parametrize("rate", [0.0, 0.05, -0.01])
@pytest.mark.parametrize("years", [TEN_MINUTES_YEARS, 1 / 365, 30 / 365, 1.0, 3.0])
def test_price_and_every_greek_agree_with_quantlib(years: float, rate: float) -> None:
    forward = 60_000.0
    grid = list(product([0.5, 0.8, 0.95, 1.0, 1.02, 1.3, 2.5], [0.1, 0.5, 1.2, 2.5], [True, False]))
    ours = greeks(
        forward,
        [forward * ratio for ratio, _, _ in grid],
        years,
        [vol for _, vol, _ in grid],
        [is_call for _, _, is_call in grid],
        rate,
    )
    for i, (ratio, vol, is_call) in enumerate(grid):
        strike, deviation = forward * ratio, vol * sqrt(years)
        payoff = ql.PlainVanillaPayoff(ql.Option.Call if is_call else ql.Option.Put, strike)
        calculator = ql.BlackCalculator(payoff, forward, deviation, exp(-rate * years))
        golden = {
            "price": calculator.value(),
            "delta": calculator.deltaForward(),
            "gamma": calculator.gammaForward(),
            "vega": calculator.vega(years) / 100,
            # Spot equal to forward is QuantLib's way to hold the forward fixed while time passes.
            "theta": calculator.theta(forward, years) / 365,
            "rho": calculator.rho(years) / 100,
        }
        # QuantLib's own cancellation in the wings is of this size.
        rounding = {"price": 1e-10, "delta": 1e-13, "gamma": 1e-13, "vega": 1e-10, "theta": 1e-7, "rho": 1e-10}
        for name in GREEK_NAMES:
            assert getattr(ours, name)[i] == pytest.approx(golden[name], rel=1e-9, abs=rounding[name]), (
                name,
                ratio,
                vol,
                is_call,
            )


def test_rho_of_a_call_is_strike_times_years_times_probability_per_percentage_point() -> None:
    result = greeks(1953.98, 2040.0, 0.6147, 0.8, [True, False])
    probability = float(ql.CumulativeNormalDistribution()((log(1953.98 / 2040.0) / 0.627219) - 0.3136095))
    assert result.rho[0] == pytest.approx(2040.0 * 0.6147 * probability / 100, rel=1e-4)
    assert result.rho[1] == pytest.approx(-2040.0 * 0.6147 * (1 - probability) / 100, rel=1e-4)


@settings(deadline=None)
@given(forwards, moneynesses, years_left, vols, rates)
def test_put_call_parity_holds_for_price_and_greeks(
    forward: float, moneyness: float, years: float, vol: float, rate: float
) -> None:
    strike, discount = forward * exp(moneyness), exp(-rate * years)
    both = greeks(forward, strike, years, vol, [True, False], rate)
    tolerance = 1e-13 * forward * max(1.0, exp(moneyness))
    assert both.price[0] - both.price[1] == pytest.approx(discount * (forward - strike), abs=10 * tolerance)
    assert both.delta[0] - both.delta[1] == pytest.approx(discount, abs=1e-14)
    assert both.gamma[0] == both.gamma[1]
    assert both.vega[0] == both.vega[1]
    assert both.rho[0] - both.rho[1] == pytest.approx(strike * years * discount / 100, abs=10 * tolerance)


@settings(deadline=None)
@given(forwards, moneynesses, years_left, vols, st.booleans())
def test_a_price_lies_between_intrinsic_value_and_its_bound(
    forward: float, moneyness: float, years: float, vol: float, is_call: bool
) -> None:
    strike = forward * exp(moneyness)
    value = float(price(forward, strike, years, vol, is_call))
    rounding = 1e-14 * max(forward, strike)
    intrinsic = max(forward - strike, 0.0) if is_call else max(strike - forward, 0.0)
    assert intrinsic - rounding <= value <= (forward if is_call else strike) + rounding


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_price_rises_with_volatility_and_falls_or_rises_with_the_strike(seed: int) -> None:
    chain = random_chain(seed, 200)
    rounding = 1e-14 * np.maximum(chain.forward, chain.strike)
    base = price(*chain.inputs)
    assert np.all(price(chain.forward, chain.strike, chain.years, chain.vol * 1.1, chain.is_call) >= base - rounding)
    higher_strike = price(chain.forward, chain.strike * 1.01, chain.years, chain.vol, chain.is_call)
    assert np.all(np.where(chain.is_call, base - higher_strike, higher_strike - base) >= -rounding)


@pytest.mark.parametrize("rate", [0.0, 0.07])
def test_greeks_are_the_differences_of_the_price(rate: float) -> None:
    chain = random_chain(11, 5_000, years_min=1 / 365)
    f, k, t, v, c = chain.inputs
    ours = greeks(f, k, t, v, c, rate)
    # A bump small against the width of the distribution, large against rounding.
    relative = 1e-3 * np.minimum(v * np.sqrt(t), 1.0)

    df = f * relative
    up, down = price(f + df, k, t, v, c, rate), price(f - df, k, t, v, c, rate)
    np.testing.assert_allclose((up - down) / (2 * df), ours.delta, atol=1e-5)
    scale = f * v * np.sqrt(t)
    np.testing.assert_allclose((up - 2 * ours.price + down) / df**2 * scale, ours.gamma * scale, atol=1e-4)

    dv = 1e-3 * v
    slope = (price(f, k, t, v + dv, c, rate) - price(f, k, t, v - dv, c, rate)) / (2 * dv)
    np.testing.assert_allclose(slope * 0.01 / f, ours.vega / f, atol=1e-7)

    dt = 1e-3 * t
    decay = (price(f, k, t - dt, v, c, rate) - price(f, k, t + dt, v, c, rate)) / (2 * dt)
    np.testing.assert_allclose(decay * t / f, ours.theta * 365 * t / f, atol=1e-5)

    dr = 1e-4
    up = price(f * np.exp(dr * t), k, t, v, c, rate + dr)
    down = price(f * np.exp(-dr * t), k, t, v, c, rate - dr)
    np.testing.assert_allclose((up - down) / (2 * dr) * 0.01 / f, ours.rho / f, atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("years", "vol"), [(0.0, 0.5), (0.5, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_without_time_or_volatility_an_option_is_worth_its_intrinsic_value(
    years: float, vol: float, rate: float
) -> None:
    discount = exp(-rate * years)
    result = greeks(100.0, [90.0, 100.0, 110.0] * 2, years, vol, [True] * 3 + [False] * 3, rate)
    np.testing.assert_allclose(result.price, np.array([10, 0, 0, 0, 0, 10]) * discount, rtol=1e-15)
    np.testing.assert_allclose(result.delta, np.array([1, 0.5, 0, 0, -0.5, -1]) * discount, rtol=1e-15)
    for name in ("gamma", "vega", "theta", "rho"):
        assert np.all(getattr(result, name) == 0.0), name
    np.testing.assert_array_equal(
        price(100.0, [90.0, 100.0, 110.0] * 2, years, vol, [True] * 3 + [False] * 3, rate), result.price
    )


BAD_ROWS = [
    ("forward", np.nan),
    ("forward", 0.0),
    ("forward", -1.0),
    ("forward", np.inf),
    ("strike", np.nan),
    ("strike", 0.0),
    ("strike", -1.0),
    ("strike", np.inf),
    ("years", np.nan),
    ("years", -0.1),
    ("years", np.inf),
    ("vol", np.nan),
    ("vol", -0.1),
    ("vol", np.inf),
    ("rate", np.nan),
    ("rate", np.inf),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("field", "value"), BAD_ROWS)
def test_a_bad_row_is_nan_and_its_neighbours_are_what_they_were(field: str, value: float) -> None:
    chain = random_chain(5, 9)
    columns = dict(zip(("forward", "strike", "years", "vol"), chain.inputs, strict=False))
    columns["rate"] = np.full(9, 0.03)
    healthy = greeks(**columns, is_call=chain.is_call)
    columns[field] = columns[field].copy()
    columns[field][4] = value
    spoiled = greeks(**columns, is_call=chain.is_call)
    others = np.arange(9) != 4
    for before, after in zip(rows(healthy), rows(spoiled), strict=True):
        assert np.isnan(after[4])
        np.testing.assert_array_equal(after[others], before[others])
    values = price(**columns, is_call=chain.is_call)
    assert np.isnan(values[4])
    np.testing.assert_allclose(values[others], healthy.price[others], rtol=1e-12, atol=1e-11)


def test_a_negative_forward_and_strike_together_are_still_refused() -> None:
    assert np.isnan(greeks(-100.0, -100.0, 1.0, 0.5, True).price)


def test_a_batch_of_many_blocks_equals_the_same_options_one_at_a_time() -> None:
    chain = random_chain(2, 2 * BLOCK_OPTIONS + 17)
    whole = rows(greeks(*chain.inputs, 0.02))
    prices = price(*chain.inputs, 0.02)
    for i in (0, 1, BLOCK_OPTIONS - 1, BLOCK_OPTIONS, 2 * BLOCK_OPTIONS, 2 * BLOCK_OPTIONS + 16):
        one = chain.only(i)
        for row, single in zip(whole, rows(greeks(*one.inputs, 0.02)), strict=True):
            assert row[i] == pytest.approx(single[0], rel=1e-12, abs=1e-300)
        assert prices[i] == pytest.approx(price(*one.inputs, 0.02)[0], rel=1e-12, abs=1e-300)


def test_inputs_broadcast_to_a_grid_of_strikes_and_expiries() -> None:
    strikes, years = np.array([90.0, 100.0, 110.0]), np.array([[0.1], [1.0]])
    result = greeks(100.0, strikes, years, 0.5, True)
    for row in rows(result):
        assert row.shape == (2, 3)
    assert result.price[1, 2] == pytest.approx(float(price(100.0, 110.0, 1.0, 0.5, True)), rel=1e-15)
    assert price(100.0, 100.0, 1.0, 0.5, True).shape == ()
    assert price([], [], [], [], []).shape == (0,)
    assert greeks([], [], [], [], []).delta.shape == (0,)


def test_inputs_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        price([1.0, 2.0], [1.0, 2.0, 3.0], 1.0, 0.5, True)


def test_inputs_are_left_as_they_were() -> None:
    chain = random_chain(8, 50)
    copies = [column.copy() for column in chain.inputs]
    greeks(*chain.inputs, 0.01)
    price(*chain.inputs, 0.01)
    for column, copy in zip(chain.inputs, copies, strict=True):
        np.testing.assert_array_equal(column, copy)

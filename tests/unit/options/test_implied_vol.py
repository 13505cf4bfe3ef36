"""Price to volatility and back, from ten minutes to three years, and where there is no volatility to find."""

from math import exp

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.options.black76 import BLOCK_OPTIONS, FloatArray, greeks, price
from shared.options.implied_vol import MIN_DISTANCE_TO_BOUND, MIN_TIME_VALUE, implied_vol
from tests.unit.options.chains import (
    TEN_MINUTES_YEARS,
    Chain,
    forwards,
    moneynesses,
    random_chain,
    rates,
    vols,
    years_left,
)


def out_of_the_money_price(chain: Chain) -> FloatArray:
    """Time value without the cancellation that subtracting intrinsic value brings."""
    return price(chain.forward, chain.strike, chain.years, chain.vol, chain.strike > chain.forward)


@pytest.mark.parametrize(
    ("years_min", "years_max"),
    [(TEN_MINUTES_YEARS, 1 / 365), (1 / 365, 30 / 365), (30 / 365, 1.0), (1.0, 3.0)],
)
def test_price_to_volatility_to_price_is_exact_to_1e_10_of_the_forward(years_min: float, years_max: float) -> None:
    chain = random_chain(1, 100_000, years_min, years_max, vol_max=5.0)
    f, k, t, v, c = chain.inputs
    given_prices = price(*chain.inputs)
    result = implied_vol(given_prices, f, k, t, c)

    time_value = out_of_the_money_price(chain)
    margin = np.minimum(f, k) - time_value
    expected = (time_value > MIN_TIME_VALUE * f) & (margin > MIN_DISTANCE_TO_BOUND * f)
    decided_by_rounding = np.abs(time_value / f - MIN_TIME_VALUE) < 1e-12
    np.testing.assert_array_equal(result.ok[~decided_by_rounding], expected[~decided_by_rounding])
    assert np.array_equal(np.isnan(result.vol), ~result.ok)

    ok = result.ok
    error = np.abs(price(f, k, t, result.vol, c) - given_prices)[ok] / f[ok]
    assert error.max() <= 1e-10
    # What one rounding error of the price does to the volatility is all that may separate the two.
    vega = greeks(*chain.inputs).vega[ok] * 100
    conditioning = 5e-16 * np.maximum(f, k)[ok] / vega
    assert np.all(np.abs(result.vol - v)[ok] <= 1e-12 + 4 * conditioning)
    assert np.quantile(np.abs(result.vol - v)[ok], 0.999) <= 1e-10


def test_out_of_the_money_prices_give_the_volatility_back_to_1e_10() -> None:
    chain = random_chain(4, 100_000)
    f, k, t, v, _ = chain.inputs
    result = implied_vol(out_of_the_money_price(chain), f, k, t, k > f)
    assert result.ok.sum() > 60_000
    comparable = result.ok & (np.minimum(f, k) - out_of_the_money_price(chain) > 1e-6 * f)
    assert np.abs(result.vol - v)[comparable].max() <= 1e-10


@settings(deadline=None)
@given(forwards, moneynesses, years_left, vols, rates, st.booleans())
def test_any_single_option_goes_round(
    forward: float, moneyness: float, years: float, vol: float, rate: float, is_call: bool
) -> None:
    strike = forward * exp(moneyness)
    given_price = price(forward, strike, years, vol, is_call, rate)
    result = implied_vol(given_price, forward, strike, years, is_call, rate)
    time_value = price(forward, strike, years, vol, strike > forward)
    if result.ok:
        back = price(forward, strike, years, result.vol, is_call, rate)
        assert abs(float(back - given_price)) <= 1e-10 * forward
    else:
        assert np.isnan(result.vol)
        assert time_value <= 1.000001 * MIN_TIME_VALUE * forward


@pytest.mark.parametrize("years", [TEN_MINUTES_YEARS, 0.01, 0.5, 3.0])
def test_volatilities_agree_with_quantlib(years: float) -> None:
    forward, vol = 60_000.0, 0.65
    strikes = forward * np.exp(vol * np.sqrt(years) * np.array([-2.5, -1.0, -0.1, 0.0, 0.1, 1.0, 2.5]))
    is_call = strikes > forward
    prices = price(forward, strikes, years, vol, is_call)
    result = implied_vol(prices, forward, strikes, years, is_call)
    for i, strike in enumerate(strikes):
        deviation = ql.blackFormulaImpliedStdDev(
            ql.Option.Call if is_call[i] else ql.Option.Put,
            float(strike),
            forward,
            float(prices[i]),
            1.0,
            0.0,
            ql.nullDouble(),
            1e-14,
            1_000,
        )
        assert result.vol[i] == pytest.approx(deviation / np.sqrt(years), abs=1e-8)


def test_exactly_at_the_money_is_no_special_case() -> None:
    vol = np.array([0.01, 0.3, 1.0, 3.0, 8.0])
    prices = price(100.0, 100.0, 1.0, vol, True)
    np.testing.assert_allclose(implied_vol(prices, 100.0, 100.0, 1.0, True).vol, vol, rtol=1e-11)


def test_extreme_deviations_are_found_inside_the_bracket() -> None:
    deviations = np.linspace(2.0, 12.0, 200)
    strikes = np.array([[0.01], [1.0], [30.0], [1e5]]) * 100.0
    prices = price(100.0, strikes, 1.0, deviations, strikes > 100.0)
    result = implied_vol(prices, 100.0, strikes, 1.0, strikes > 100.0)
    assert result.ok.sum() > 500
    back = price(100.0, strikes, 1.0, result.vol, strikes > 100.0)
    assert np.abs(back - prices)[result.ok].max() <= 1e-12 * 100.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("situation", "value", "forward", "strike", "years", "is_call"),
    [
        ("price of zero", 0.0, 100.0, 110.0, 0.1, True),
        ("negative price", -1.0, 100.0, 110.0, 0.1, True),
        ("call below intrinsic value", 9.9, 100.0, 90.0, 0.1, True),
        ("call at intrinsic value", 10.0, 100.0, 90.0, 0.1, True),
        ("put below intrinsic value", 9.9, 100.0, 110.0, 0.1, False),
        ("hardly any time value", 10.00005, 100.0, 90.0, 0.1, True),
        ("call at the forward", 100.0, 100.0, 110.0, 0.1, True),
        ("call above the forward", 101.0, 100.0, 110.0, 0.1, True),
        ("put at the strike", 90.0, 100.0, 90.0, 0.1, False),
        ("put above the strike", 91.0, 100.0, 90.0, 0.1, False),
        ("expired", 5.0, 100.0, 100.0, 0.0, True),
        ("after expiry", 5.0, 100.0, 100.0, -0.1, True),
        ("endless", 5.0, 100.0, 100.0, np.inf, True),
        ("price missing", np.nan, 100.0, 100.0, 0.1, True),
        ("price infinite", np.inf, 100.0, 100.0, 0.1, True),
        ("forward missing", 5.0, np.nan, 100.0, 0.1, True),
        ("forward zero", 5.0, 0.0, 100.0, 0.1, False),
        ("forward infinite", 5.0, np.inf, 100.0, 0.1, True),
        ("forward negative", 5.0, -100.0, 100.0, 0.1, True),
        ("strike missing", 5.0, 100.0, np.nan, 0.1, True),
        ("strike zero", 5.0, 100.0, 0.0, 0.1, True),
        ("strike negative", 5.0, 100.0, -100.0, 0.1, True),
        ("strike infinite", 5.0, 100.0, np.inf, 0.1, True),
        ("time missing", 5.0, 100.0, 100.0, np.nan, True),
        ("both negative", 5.0, -100.0, -100.0, 0.1, True),
    ],
)
def test_where_no_volatility_exists_the_answer_is_no_value_and_the_neighbours_are_solved(
    situation: str, value: float, forward: float, strike: float, years: float, is_call: bool
) -> None:
    result = implied_vol(
        [10.0, value, 10.0],
        [100.0, forward, 100.0],
        [100.0, strike, 100.0],
        [0.25, years, 0.25],
        [True, is_call, False],
    )
    assert result.ok.tolist() == [True, False, True], situation
    assert np.isnan(result.vol[1])
    np.testing.assert_allclose(price(100.0, 100.0, 0.25, result.vol[[0, 2]], True), 10.0, rtol=1e-13)


def test_a_missing_rate_gives_no_value_in_its_own_row() -> None:
    result = implied_vol(10.0, 100.0, 100.0, 0.25, True, [0.0, np.nan, np.inf, 0.01])
    assert result.ok.tolist() == [True, False, False, True]


def test_the_time_value_at_which_a_volatility_appears_is_one_millionth_of_the_forward() -> None:
    result = implied_vol([0.000099, 0.000101], 100.0, 101.0, 0.01, True)
    assert result.ok.tolist() == [False, True]


def test_a_batch_of_many_blocks_equals_the_same_options_one_at_a_time() -> None:
    chain = random_chain(6, 2 * BLOCK_OPTIONS + 5)
    prices = price(*chain.inputs)
    whole = implied_vol(prices, chain.forward, chain.strike, chain.years, chain.is_call)
    for i in (0, BLOCK_OPTIONS - 1, BLOCK_OPTIONS, 2 * BLOCK_OPTIONS, 2 * BLOCK_OPTIONS + 4):
        one = implied_vol(prices[i], chain.forward[i], chain.strike[i], chain.years[i], chain.is_call[i])
        assert one.vol.shape == ()
        assert bool(one.ok) == bool(whole.ok[i])
        assert float(one.vol) == pytest.approx(float(whole.vol[i]), rel=1e-13, nan_ok=True)


def test_inputs_broadcast_and_are_left_as_they_were() -> None:
    strikes, vol = np.array([90.0, 100.0, 110.0]), np.array([[0.4], [0.9]])
    prices = price(100.0, strikes, 0.5, vol, True, 0.03)
    before = prices.copy()
    result = implied_vol(prices, 100.0, strikes, 0.5, True, 0.03)
    assert result.vol.shape == result.ok.shape == (2, 3)
    np.testing.assert_allclose(result.vol, np.broadcast_to(vol, (2, 3)), rtol=1e-12)
    np.testing.assert_array_equal(prices, before)
    assert implied_vol([], [], [], [], []).vol.shape == (0,)


def test_inputs_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        implied_vol([1.0, 2.0], 100.0, [1.0, 2.0, 3.0], 1.0, True)

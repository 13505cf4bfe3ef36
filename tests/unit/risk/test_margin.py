"""Standard margin and worst loss against figures by hand and against a naive search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.config import RiskConfig
from services.risk.margin import short_initial_margin, structure_margin, trading_fee, venue_price_band, worst_loss

CONFIG = RiskConfig()
SOON, LATER = 1_000, 2_000


def arrays(*rows: tuple[float, ...]) -> list[np.ndarray]:
    return [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("strike", "is_call", "expected"),
    [(100_000, True, 15_500), (103_000, True, 12_500), (120_000, True, 10_500), (80_000, False, 10_500)],
    ids=["at the money", "a little out", "far out", "far out put"],
)
def test_initial_margin_of_a_short_option_by_hand(strike: float, is_call: bool, expected: float) -> None:
    index, mark = np.array([100_000.0]), np.array([500.0])
    margin = short_initial_margin(CONFIG, index, np.array([float(strike)]), mark, np.array([is_call]))
    assert margin == pytest.approx([expected])


def test_a_long_option_costs_its_premium_and_fee_and_a_short_its_margin_less_its_premium() -> None:
    quantity, price, index, strike, mark = arrays((2, 600, 100_000, 110_000, 500), (-1, 400, 100_000, 100_000, 500))
    fees = trading_fee(CONFIG, quantity, np.maximum(price, mark), index).sum()
    used = structure_margin(CONFIG, quantity, price, index, strike, mark, np.array([True, True]))
    assert used == pytest.approx(2 * 600 + (15_500 - 400) + fees)
    assert fees == pytest.approx(2 * 40 + 40)


def test_the_fee_of_a_cheap_option_is_capped_by_its_premium() -> None:
    fee = trading_fee(CONFIG, np.array([-10.0]), np.array([8.0]), np.array([100_000.0]))
    assert fee == pytest.approx([10.0])


def test_the_venue_price_band_by_hand() -> None:
    assert venue_price_band(CONFIG, 500.0, 100_000.0, 0.1, 1.0) == (1.0, 5_500.0)
    assert venue_price_band(CONFIG, 5_000.0, 100_000.0, -0.5, 1.0) == (3_000.0, 15_000.0)


def loss(*legs: tuple[float, float, float, str, int]) -> float:
    """Legs as (signed quantity, price, strike, type, expiry)."""
    quantity, price, strike = arrays(*[(q, p, k) for q, p, k, _, _ in legs])
    is_call = np.array([kind == "C" for *_, kind, _ in legs])
    expiry = np.array([e for *_, e in legs], dtype=np.int64)
    return worst_loss(quantity, price, strike, is_call, expiry)


def test_worst_loss_of_well_known_structures() -> None:
    assert loss((1, 300, 110, "C", SOON)) == 300
    assert loss((1, 8, 100, "C", SOON), (-1, 3, 110, "C", SOON)) == 5
    assert loss((-1, 8, 100, "C", SOON), (1, 3, 110, "C", SOON)) == 5
    condor = ((1, 1, 80, "P", SOON), (-1, 3, 90, "P", SOON), (-1, 3, 110, "C", SOON), (1, 1, 120, "C", SOON))
    assert loss(*condor) == 6
    assert loss((1, 9, 100, "C", SOON), (1, 9, 100, "P", SOON)) == 18


def test_a_short_that_nothing_covers_is_unbounded() -> None:
    assert loss((-1, 8, 100, "C", SOON)) == np.inf
    assert loss((-1, 8, 100, "P", SOON)) == np.inf
    assert loss((-2, 8, 100, "C", SOON), (1, 3, 110, "C", SOON)) == np.inf
    assert loss((-1, 8, 100, "C", SOON), (1, 3, 90, "P", SOON)) == np.inf


def test_a_later_long_covers_a_short_but_an_earlier_one_does_not() -> None:
    assert loss((-1, 5, 100, "C", SOON), (1, 9, 100, "C", LATER)) == 4
    assert loss((-1, 9, 100, "C", LATER), (1, 5, 100, "C", SOON)) == np.inf


def test_spreads_of_two_expiries_lose_at_most_the_sum_of_their_losses() -> None:
    near = ((-1, 8, 100, "C", SOON), (1, 3, 110, "C", SOON))
    far = ((-1, 9, 100, "C", LATER), (1, 5, 110, "C", LATER))
    assert loss(*near, *far) == loss(*near) + loss(*far)


LEGS = st.lists(
    st.tuples(
        st.integers(-3, 3).filter(bool),
        st.integers(0, 20),
        st.sampled_from([80, 90, 100, 110, 120]),
        st.sampled_from("CP"),
        st.just(SOON),
    ),
    min_size=1,
    max_size=5,
)


@given(LEGS)
def test_worst_loss_agrees_with_a_search_over_prices(legs: list[tuple[int, int, int, str, int]]) -> None:
    def payoff(settlement: float) -> float:
        return sum(q * (max(settlement - k if kind == "C" else k - settlement, 0.0) - p) for q, p, k, kind, _ in legs)

    found = loss(*legs)
    calls, puts = (sum(q for q, _, _, kind, _ in legs if kind == wanted) for wanted in "CP")
    if calls < 0 or puts < 0:
        assert found == np.inf
    else:
        searched = max(-payoff(float(settlement)) for settlement in range(0, 1_000, 5))
        assert found == pytest.approx(max(searched, 0.0))

"""Standard margin and worst loss against figures by hand and against a naive search."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.config import RiskConfig
from services.risk.margin import (
    StructureLeg,
    short_initial_margin,
    structure_margin,
    trading_fee,
    venue_price_band,
    worst_loss,
)

CONFIG = RiskConfig()
SOON, LATER = 1_000, 2_000


def call_at(strike: float, quantity: float, price: float, *, mark: float = 500.0) -> StructureLeg:
    return StructureLeg(
        quantity=quantity,
        worst_price=price,
        index=100_000.0,
        strike=strike,
        mark=mark,
        is_call=True,
        expiry_ns=SOON,
    )


@pytest.mark.parametrize(
    ("strike", "is_call", "expected"),
    [(100_000, True, 15_500), (103_000, True, 12_500), (120_000, True, 10_500), (80_000, False, 10_500)],
    ids=["at the money", "a little out", "far out", "far out put"],
)
def test_initial_margin_of_a_short_option_by_hand(strike: float, is_call: bool, expected: float) -> None:
    assert short_initial_margin(CONFIG, 100_000.0, strike, 500.0, is_call=is_call) == pytest.approx(expected)


def test_a_long_option_costs_its_premium_and_fee_and_a_short_its_margin_less_its_premium() -> None:
    fees = trading_fee(CONFIG, 2, 600, 100_000) + trading_fee(CONFIG, -1, 500, 100_000)
    used = structure_margin(CONFIG, [call_at(110_000, 2, 600), call_at(100_000, -1, 400)])
    assert used == pytest.approx(2 * 600 + (15_500 - 400) + fees)
    assert fees == pytest.approx(2 * 40 + 40)


def test_the_fee_of_a_cheap_option_is_capped_by_its_premium() -> None:
    assert trading_fee(CONFIG, -10.0, 8.0, 100_000.0) == pytest.approx(10.0)


@pytest.mark.parametrize("quantity", [1.0, -1.0])
@pytest.mark.parametrize(("price", "mark"), [(math.nan, 500.0), (400.0, math.nan)])
def test_margin_and_loss_are_unknown_where_a_price_or_a_mark_is(quantity: float, price: float, mark: float) -> None:
    legs = [call_at(100_000, 1, 400), call_at(110_000, quantity, price, mark=mark)]
    assert math.isnan(structure_margin(CONFIG, legs))
    assert math.isnan(worst_loss(legs))


def test_the_venue_price_band_by_hand() -> None:
    assert venue_price_band(CONFIG, 500.0, 100_000.0, 0.1, 1.0) == (1.0, 5_500.0)
    assert venue_price_band(CONFIG, 5_000.0, 100_000.0, -0.5, 1.0) == (3_000.0, 15_000.0)


def loss(*legs: tuple[float, float, float, str, int]) -> float:
    """Legs as (signed quantity, price, strike, type, expiry)."""
    return worst_loss(
        [
            StructureLeg(
                quantity=quantity,
                worst_price=price,
                index=100.0,
                strike=strike,
                mark=1.0,
                is_call=kind == "C",
                expiry_ns=expiry,
            )
            for quantity, price, strike, kind, expiry in legs
        ]
    )


def test_worst_loss_of_well_known_structures() -> None:
    assert loss((1, 300, 110, "C", SOON)) == 300
    assert loss((1, 8, 100, "C", SOON), (-1, 3, 110, "C", SOON)) == 5
    assert loss((-1, 8, 100, "C", SOON), (1, 3, 110, "C", SOON)) == 5
    condor = ((1, 1, 80, "P", SOON), (-1, 3, 90, "P", SOON), (-1, 3, 110, "C", SOON), (1, 1, 120, "C", SOON))
    assert loss(*condor) == 6
    assert loss((1, 9, 100, "C", SOON), (1, 9, 100, "P", SOON)) == 18


def test_a_short_that_nothing_covers_is_unbounded() -> None:
    assert loss((-1, 8, 100, "C", SOON)) == math.inf
    assert loss((-1, 8, 100, "P", SOON)) == math.inf
    assert loss((-2, 8, 100, "C", SOON), (1, 3, 110, "C", SOON)) == math.inf
    assert loss((-1, 8, 100, "C", SOON), (1, 3, 90, "P", SOON)) == math.inf


def test_a_later_long_covers_a_short_but_an_earlier_one_does_not() -> None:
    assert loss((-1, 5, 100, "C", SOON), (1, 9, 100, "C", LATER)) == 4
    assert loss((-1, 9, 100, "C", LATER), (1, 5, 100, "C", SOON)) == math.inf


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
        assert found == math.inf
    else:
        searched = max(-payoff(float(settlement)) for settlement in range(0, 1_000, 5))
        assert found == pytest.approx(max(searched, 0.0))

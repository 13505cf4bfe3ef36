"""The path of the index and the surface on it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.config import IndexConfig, SurfaceConfig
from services.exchange.market import CHUNK_STEPS, IndexPath
from services.exchange.surface import atm_total_variance, forward, total_variance, vol
from shared.options.black76 import price
from tests.unit.exchange.harness import D, small_config, with_base

STEP_NS = 250_000_000
BASE = small_config().bases[0]
CALM = with_base(small_config(), index=IndexConfig(initial_price=100_000.0, vol=0.0, jumps_per_day=0.0)).bases[0]


def path(seed: int, shocks: dict[str, list[tuple[int, float]]] | None = None) -> IndexPath:
    return IndexPath(BASE, seed, STEP_NS, {} if shocks is None else shocks)


@given(seed=st.integers(0, 2**62), steps=st.lists(st.integers(0, 5 * CHUNK_STEPS), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_a_step_has_one_price_whatever_was_asked_before(seed: int, steps: list[int]) -> None:
    asked_in_order = path(seed)
    for step in steps:
        asked_in_order.price(step)
    assert [asked_in_order.price(step) for step in steps] == [path(seed).price(step) for step in steps]
    assert [asked_in_order.level(step) for step in steps] == [path(seed).level(step) for step in steps]


def test_the_path_does_not_break_between_chunks() -> None:
    prices = np.array(
        [path_.price(step) for path_ in [path(3)] for step in range(CHUNK_STEPS - 50, CHUNK_STEPS + 50)]
    )
    moves = np.abs(np.diff(np.log(prices)))
    one_deviation = BASE.index.vol * math.sqrt(STEP_NS / (365 * 86_400e9))
    assert 0 < moves.max() < 6 * one_deviation


def test_two_seeds_walk_differently_and_start_at_the_same_price() -> None:
    first, second = path(1), path(2)
    assert first.price(0) == second.price(0) == 100_000.0
    assert first.price(1_000) != second.price(1_000)


def test_realised_volatility_is_the_configured_one() -> None:
    walk = path(11)
    logs = np.log([walk.price(step) for step in range(40_000)])
    realised = np.diff(logs).std() / math.sqrt(STEP_NS / (365 * 86_400e9))
    assert realised == pytest.approx(BASE.index.vol, rel=0.03)


def test_jumps_make_the_tails_fat() -> None:
    jumpy = with_base(
        small_config(), index=IndexConfig(initial_price=100_000.0, vol=0.1, jumps_per_day=500.0, jump_vol=0.01)
    ).bases[0]
    walk = IndexPath(jumpy, 5, STEP_NS, {})
    moves = np.diff(np.log([walk.price(step) for step in range(20_000)]))
    assert np.mean((moves - moves.mean()) ** 4) / moves.var() ** 2 > 20


def test_an_operators_jump_counts_from_its_step_on_in_price_and_mean() -> None:
    shocks: dict[str, list[tuple[int, float]]] = {}
    walk = IndexPath(CALM, 1, STEP_NS, shocks)
    assert walk.price(20) == 100_000.0
    shocks["BTC"] = [(10, 1.1)]
    assert walk.price(9) == 100_000.0
    assert walk.price(10) == pytest.approx(110_000.0)
    assert walk.mean_price(0, 20) == D("105000.00")


def test_the_mean_is_that_of_the_published_prices_over_chunk_borders() -> None:
    walk = path(9)
    first, end = CHUNK_STEPS - 30, CHUNK_STEPS + 70
    by_hand = math.fsum(walk.price(step) for step in range(first, end)) / (end - first)
    assert float(walk.mean_price(first, end)) == pytest.approx(by_hand, abs=0.0051)


def test_a_mean_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no step"):
        path(1).mean_price(5, 5)


def test_a_smile_that_admits_arbitrage_is_refused_with_its_limit() -> None:
    with pytest.raises(ValueError, match=r"smile 1.9 .* <= 1.667"):
        SurfaceConfig(smile=1.9, skew=-0.2)


surfaces = st.builds(
    lambda skew, share, short, long, speed: SurfaceConfig(
        skew=skew, smile=share * 2 / (1 + abs(skew)), short_vol=short, long_vol=long, reversion_per_year=speed
    ),
    st.floats(-0.95, 0.95),
    st.floats(0.05, 0.999),
    st.floats(0.1, 2.0),
    st.floats(0.1, 2.0),
    st.floats(0.1, 20.0),
)


@given(surface=surfaces, level=st.floats(0.3, 3.0), years=st.floats(1e-5, 2.0))
@settings(max_examples=150, deadline=None)
def test_calls_fall_and_are_convex_in_strike_so_no_butterfly_pays(
    surface: SurfaceConfig, level: float, years: float
) -> None:
    theta = float(atm_total_variance(surface, level, np.array([years]))[0])
    moneyness = np.linspace(-4, 4, 161) * math.sqrt(theta)
    strikes = 100.0 * np.exp(moneyness)
    vols = vol(surface, level, moneyness, np.array(years))
    calls = price(100.0, strikes, years, vols, True)
    steps = np.diff(strikes)
    butterflies = (calls[:-2] * steps[1:] + calls[2:] * steps[:-1]) / (steps[1:] + steps[:-1]) - calls[1:-1]
    assert (calls >= np.maximum(100.0 - strikes, 0.0) - 1e-9).all()
    assert (calls <= 100.0 + 1e-9).all()
    # In prices and not in slopes: between deep strikes a slope divides rounding by almost nothing.
    assert (np.diff(calls) <= 1e-11).all()
    assert (np.diff(calls) >= -steps - 1e-11).all()
    assert (butterflies >= -1e-11).all()


@given(surface=surfaces, level=st.floats(0.3, 3.0), moneyness=st.floats(-3, 3))
@settings(max_examples=150, deadline=None)
def test_total_variance_never_falls_with_time_so_no_calendar_pays(
    surface: SurfaceConfig, level: float, moneyness: float
) -> None:
    theta = atm_total_variance(surface, level, np.geomspace(1e-5, 3.0, 200))
    variance = total_variance(surface, np.array(moneyness), theta)
    assert (variance > 0).all()
    assert (np.diff(variance) >= -1e-12 * variance[1:]).all()


def test_the_surface_has_the_level_wings_and_basis_of_the_measured_chain() -> None:
    surface = SurfaceConfig()
    at_the_money, wing = vol(surface, 1.0, np.array([0.0, -1.136]), np.array(42.5 / 365))
    assert at_the_money == pytest.approx(0.80, abs=0.01)
    assert wing == pytest.approx(1.33, rel=0.2)
    years = np.array([14.5, 42.5, 133.5, 224.5, 322.5]) / 365
    measured = np.array([1.0142, 1.0410, 1.0750, 1.0885, 1.1001])
    assert forward(surface, 1.0, years) == pytest.approx(measured, abs=0.007)

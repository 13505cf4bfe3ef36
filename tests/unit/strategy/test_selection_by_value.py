"""Selection by value, cycle, filters and compound constraints, each against a plain search of the same chain."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from scipy.stats import norm

from shared.messages.market import Instrument
from shared.options.chain import ChainView, OptionList, pack_columns
from shared.options.symbols import years_to_expiry
from shared.strategy import LegSpec, Liquidity, StrategyConfig, find_option, select_option
from shared.strategy.selection import Found, SelectionFailed
from tests.unit.strategy.making import NOON, chain, instruments, listing, snapshot

WEEK = {"dte": 7}
CHAIN = chain()


def with_columns(columns: dict[str, np.ndarray], view: ChainView = CHAIN) -> ChainView:
    """The same chain, with these columns as well."""
    names = ("bid", "ask", "mark", "mark_iv", "delta", "forward")
    kept = {name: view.column(name) for name in names} | columns
    packed = pack_columns(kept, len(view.instruments))
    return ChainView(msgspec.structs.replace(view.snapshot, matrix=packed), view.listed)


def chosen(spec: LegSpec, view: ChainView = CHAIN) -> Instrument:
    found = select_option(spec, view, NOON)
    assert isinstance(found, Instrument), found.text
    return found


def of_week(kind: str) -> list[Instrument]:
    return [item for item in CHAIN.instruments if item.option_type == kind and "12MAR26" in item.symbol]


@pytest.mark.parametrize("kind", ["C", "P"])
def test_by_premium_the_mark_nearest_to_the_target_is_chosen(kind: str) -> None:
    found = chosen(LegSpec("C" if kind == "C" else "P", 1, 1, {"type": "premium", "value": 500}, WEEK))
    away = {item.symbol: abs((CHAIN.value(item.symbol, "mark") or 0) - 500) for item in of_week(kind)}
    assert found.symbol == min(away, key=lambda symbol: away[symbol])


@pytest.mark.parametrize("kind", ["C", "P"])
def test_by_probability_the_option_expires_out_of_the_money_so_often(kind: str) -> None:
    spec = LegSpec("C" if kind == "C" else "P", 1, 1, {"type": "otmProbability", "value": 0.8}, WEEK)

    def probability(item: Instrument) -> float:
        deviation = 0.5 * math.sqrt(years_to_expiry(NOON, item.expiry_ns))
        below = norm.cdf((math.log(float(item.strike) / 100_000) + deviation**2 / 2) / deviation)
        return float(below if kind == "C" else 1 - below)

    expected = min(of_week(kind), key=lambda item: abs(probability(item) - 0.8))
    assert chosen(spec) == expected
    assert probability(expected) == pytest.approx(0.8, abs=0.06)


def test_by_moneyness_and_by_offset_strikes_lie_where_they_should() -> None:
    put = chosen(LegSpec("P", 1, 1, {"type": "moneyness", "value": math.log(0.93)}, WEEK))
    assert put.strike == 93_000
    assert chosen(LegSpec("P", 1, 1, {"type": "spotOffset", "value": 4_400}, WEEK)).strike == 96_000
    assert chosen(LegSpec("C", 1, 1, {"type": "spotOffset", "value": 4_400}, WEEK)).strike == 104_000


def test_a_value_too_far_from_the_target_is_no_choice_and_the_way_is_told() -> None:
    found = select_option(LegSpec("C", 1, 1, {"type": "premium", "value": 90_000}, WEEK), CHAIN, NOON)
    assert isinstance(found, SelectionFailed)
    assert found.reason == "no option is left after premium within 45000 of 90000"


@pytest.mark.parametrize(
    ("expiry", "date"),
    [
        ({"weekly": 1}, "6MAR26"),
        ({"weekly": 2}, "13MAR26"),
        ({"monthly": 1}, "27MAR26"),
        ({"monthly": 2}, "24APR26"),
        ({"quarterly": 1}, "27MAR26"),
        ({"quarterly": 2}, "26JUN26"),
    ],
)
def test_expiries_of_a_cycle_are_counted_from_the_nearest(expiry: dict[str, int], date: str) -> None:
    view = chain(days=(1, 2, 9, 22, 23, 51, 114))
    assert chosen(LegSpec("C", 1, 1, {"type": "closestStrike"}, expiry), view).symbol.split("-")[1] == date


def test_a_cycle_that_is_not_listed_so_far_out_fails() -> None:
    found = select_option(LegSpec("C", 1, 1, {"type": "closestStrike"}, {"quarterly": 1}), CHAIN, NOON)
    assert isinstance(found, SelectionFailed)
    assert found.reason == "no option is left after a quarterly expiry"


def test_the_least_distance_moves_a_strike_out_and_never_in() -> None:
    near = LegSpec("P", 1, 1, {"type": "delta", "value": 0.45}, WEEK)
    assert chosen(near).strike > 97_000
    assert chosen(LegSpec("P", 1, 1, {"type": "closestStrike"}, WEEK, min_otm_pct=3)).strike == 97_000
    assert chosen(LegSpec("C", 1, 1, {"type": "closestStrike"}, WEEK, min_otm_pct=3)).strike == 103_000


def test_a_poor_book_fails_a_named_strike_and_is_passed_over_by_a_value() -> None:
    count = len(CHAIN.instruments)
    sizes, interest = np.full(count, 1.0), np.full(count, 50.0)
    rows = CHAIN.listed.row_of
    sizes[rows["BTCUSD-12MAR26-100000-C"]] = 0.05
    named = LegSpec("C", "buy", 1, {"type": "closestStrike"}, WEEK, liquidity={"min_size": 0.1})
    by_value = LegSpec("C", "buy", 1, {"type": "delta", "value": 0.51}, WEEK, liquidity=Liquidity(min_size=0.1))
    view = with_columns({"ask_size": sizes, "bid_size": np.full(count, 1.0), "open_interest": interest})
    found = select_option(named, view, NOON)
    assert isinstance(found, SelectionFailed)
    assert found.reason == "no option is left after ask size of at least 0.1"
    assert chosen(LegSpec("C", "sell", 1, {"type": "closestStrike"}, WEEK, liquidity={"min_size": 0.1}), view)
    assert chosen(msgspec.structs.replace(by_value, liquidity=None), view).strike == 100_000
    assert chosen(by_value, view).strike != 100_000
    for filters in ({"max_spread_pct": 3.9}, {"max_spread_usd": 1.0}, {"min_open_interest": 51}):
        refused = select_option(msgspec.structs.replace(named, liquidity=filters), view, NOON)
        assert isinstance(refused, SelectionFailed), filters
    assert chosen(msgspec.structs.replace(named, liquidity={"max_spread_pct": 4.1}), view)


def test_a_size_or_an_interest_that_the_venue_does_not_tell_does_not_pass() -> None:
    spec = LegSpec("C", "buy", 1, {"type": "closestStrike"}, WEEK, liquidity={"min_open_interest": 0})
    assert isinstance(select_option(spec, CHAIN, NOON), SelectionFailed)


SEARCH = find_option(
    option_type="P",
    expiry={"min_days": 6, "max_days": 13, "target": "near"},
    strike={"below_atm": True, "min_distance_pct": 0.5},
    delta={"min": -0.45, "max": -0.15},
    rank_by="delta_mid",
)
"""The example of the seed's README, with the import changed."""


def test_the_compound_search_of_the_readme_finds_what_a_plain_search_finds() -> None:
    found = SEARCH.on(CHAIN, NOON)
    assert isinstance(found, Found), found.text
    candidates = []
    for item in of_week("P"):
        delta = CHAIN.value(item.symbol, "delta")
        if delta is not None and -0.45 <= delta <= -0.15 and float(item.strike) <= 99_500:
            candidates.append((abs(delta + 0.30), item.symbol))
    assert found.symbol == min(candidates)[1]
    assert [str(step) for step in found.removed] == [
        "type P removed 164 and left 164",
        "trading for at least 60 min more removed 0 and left 164",
        "DTE 6 to 13 removed 123 and left 41",
        "DTE nearest to near removed 0 and left 41",
        "a usable mark removed 0 and left 41",
        "below the index removed 21 and left 20",
        "distance % of at least 0.5 removed 0 and left 20",
        f"delta of at least -0.45 removed 0 and left {20}",
        f"delta of at most -0.15 removed {20 - len(candidates)} and left {len(candidates)}",
        f"a value to rank by (delta_mid) removed 0 and left {len(candidates)}",
        f"best by delta_mid removed {len(candidates) - 1} and left 1",
    ]


def test_a_compound_search_that_finds_nothing_says_at_which_constraint() -> None:
    none = find_option(option_type="P", expiry=WEEK, delta={"min": -0.2, "max": -0.1}, premium={"min": 5_000})
    found = none.on(CHAIN, NOON)
    assert isinstance(found, SelectionFailed)
    assert found.reason == "no option is left after premium of at least 5000"


@pytest.mark.parametrize(
    ("rank_by", "strike"),
    [("strike_near", 99_000), ("strike_far", 95_000), ("premium_high", 99_000), ("premium_low", 95_000)],
)
def test_candidates_are_ranked_as_asked(rank_by: str, strike: int) -> None:
    search = find_option(
        option_type="P",
        expiry=WEEK,
        strike={"min": 95_000, "max": 99_000},
        rank_by=rank_by,  # type: ignore[arg-type]
    )
    found = search.on(CHAIN, NOON)
    assert isinstance(found, Found), found.text
    assert found.option.strike == strike


def test_a_search_is_traded_as_a_leg() -> None:
    config = StrategyConfig(name="s", legs=[SEARCH.leg("sell", "0.1")])
    found = SEARCH.on(CHAIN, NOON)
    assert isinstance(found, Found)
    assert chosen(config.legs[0]).symbol == found.symbol


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strike": {"below_atm": True, "above_atm": True}}, "below_atm and above_atm"),
        ({"strike": {"under": 5}}, "unknown key 'under'"),
        ({"delta": {"min": -0.1, "max": -0.4}}, "delta from -0.1 to -0.4 is empty"),
        ({"delta": {"min": "x"}}, "delta 'x' must be a number"),
        ({"delta": {"min": 0.15, "max": 0.45}}, "delta: min 0.15 of a P must lie within -1 to 0"),
        ({"option_type": "C", "delta": {"min": -0.3, "max": 0.3}}, "delta: min -0.3 of a C must lie within 0 to 1"),
        ({"rank_by": "best"}, "rank_by 'best'"),
        ({"rank_by": "delta_mid"}, "needs delta="),
    ],
)
def test_constraints_that_cannot_be_meant_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_option(**({"option_type": "P", "expiry": WEEK} | given))  # type: ignore[arg-type]


def test_a_chain_of_a_thousand_options_is_searched_whole() -> None:
    listed = instruments(days=tuple(range(1, 13)))
    view = ChainView(snapshot(listed), OptionList(listing(listed)))
    assert len(listed) > 900
    found = find_option(option_type="C", expiry={"dte": 10}, strike={"above_atm": True}).on(view, NOON)
    assert isinstance(found, Found)
    assert found.removed[0].left == len(listed) // 2

"""A quote against the order book: on the correct side of every leg, at full size, whichever way it is traded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages.base import Side, opposite
from shared.options.comparison import (
    LegMarket,
    StructureLeg,
    compare,
    is_buying,
    signed_cost,
    sweep_price,
    yardstick,
)

SIDES: tuple[Side, ...] = ("buy", "sell")
prices = st.floats(0.5, 50_000.0)


@st.composite
def markets_and_legs(draw: st.DrawFn) -> tuple[list[StructureLeg], dict[str, LegMarket]]:
    """One to four legs on both sides, each with an uncrossed book of three levels that holds the size."""
    legs, markets = [], {}
    for number in range(draw(st.integers(1, 4))):
        symbol = f"leg{number}"
        quantity = Decimal(draw(st.integers(1, 500))) / 100
        legs.append(StructureLeg(symbol, draw(st.sampled_from(SIDES)), quantity))
        bid = draw(prices)
        ask = bid * (1 + draw(st.floats(0.001, 0.5)))
        sizes = [draw(st.floats(0.01, 3.0)) for _ in range(2)] + [100.0]
        markets[symbol] = LegMarket(
            bids=tuple((bid * (1 - 0.01 * step), size) for step, size in enumerate(sizes)),
            asks=tuple((ask * (1 + 0.01 * step), size) for step, size in enumerate(sizes)),
            mark=(bid + ask) / 2,
        )
    return legs, markets


def mirrored(markets: dict[str, LegMarket]) -> dict[str, LegMarket]:
    return {name: LegMarket(bids=each.asks, asks=each.bids, mark=each.mark) for name, each in markets.items()}


def flipped(legs: list[StructureLeg]) -> list[StructureLeg]:
    return [StructureLeg(leg.symbol, opposite(leg.side), leg.quantity) for leg in legs]


@given(markets_and_legs())
def test_buying_and_selling_a_mixed_structure_are_mirror_images(
    case: tuple[list[StructureLeg], dict[str, LegMarket]],
) -> None:
    legs, markets = case
    bought, sold = yardstick(legs, "buy", markets), yardstick(legs, "sell", markets)
    assert bought.book_cost_usd is not None
    assert sold.book_cost_usd is not None
    assert sold == yardstick(flipped(legs), "buy", markets)
    in_the_mirror = yardstick(legs, "sell", mirrored(markets))
    assert in_the_mirror.book_cost_usd == pytest.approx(-bought.book_cost_usd)
    assert sold.mark_cost_usd == pytest.approx(-(bought.mark_cost_usd or 0.0))
    # Whoever takes both ways pays the spread of every leg, never earns it.
    round_trip = bought.book_cost_usd + sold.book_cost_usd
    spread = sum(
        ((sweep_price(markets[leg.symbol].asks, float(leg.quantity)) or 0.0)
         - (sweep_price(markets[leg.symbol].bids, float(leg.quantity)) or 0.0)) * float(leg.quantity)
        for leg in legs
    )  # fmt: skip
    assert round_trip == pytest.approx(spread)
    assert round_trip > 0


@given(markets_and_legs(), st.sampled_from(SIDES), st.floats(0.1, 5_000.0))
def test_a_quote_that_costs_less_than_the_book_is_better_by_just_that_whichever_way_it_is_traded(
    case: tuple[list[StructureLeg], dict[str, LegMarket]], action: Side, saved_usd: float
) -> None:
    legs, markets = case
    measure = yardstick(legs, action, markets)
    assert measure.book_cost_usd is not None
    better = compare(measure.book_cost_usd - saved_usd, measure)
    worse = compare(measure.book_cost_usd + saved_usd, measure)
    assert better.improvement_usd == pytest.approx(saved_usd, rel=1e-6)
    assert worse.improvement_usd == pytest.approx(-saved_usd, rel=1e-6)
    assert better.improvement_pct is None or better.improvement_pct > 0
    assert worse.improvement_pct is None or worse.improvement_pct < 0
    assert better.over_mark_usd is not None
    assert worse.over_mark_usd is not None
    assert worse.over_mark_usd - better.over_mark_usd == pytest.approx(2 * saved_usd, rel=1e-6)


@pytest.mark.parametrize(
    ("side", "action", "buying"),
    [("buy", "buy", True), ("buy", "sell", False), ("sell", "buy", False), ("sell", "sell", True)],
)
def test_a_leg_is_bought_when_its_side_is_that_of_the_action(side: Side, action: Side, buying: bool) -> None:
    assert is_buying(side, action) is buying


CALL = StructureLeg("call", "buy", Decimal(2))
HIGH = StructureLeg("high", "sell", Decimal(2))
MARKETS = {
    "call": LegMarket(bids=((990.0, 5.0),), asks=((1010.0, 1.0), (1020.0, 9.0)), mark=1000.0),
    "high": LegMarket(bids=((290.0, 5.0),), asks=((310.0, 5.0),), mark=300.0),
}


def test_a_spread_costs_the_asks_of_what_is_bought_and_the_bids_of_what_is_sold_at_full_size() -> None:
    assert yardstick([CALL, HIGH], "buy", MARKETS).book_cost_usd == 1010 + 1020 - 2 * 290
    assert yardstick([CALL, HIGH], "sell", MARKETS).book_cost_usd == -2 * 990 + 2 * 310


def test_a_book_that_lacks_the_size_leaves_mark_as_the_only_judge() -> None:
    markets = {**MARKETS, "high": LegMarket(bids=((290.0, 1.0),), asks=((310.0, 5.0),), mark=300.0)}
    measure = yardstick([CALL, HIGH], "buy", markets)
    assert measure.book_cost_usd is None
    assert measure.shallow == ("high",)
    verdict = compare(1450.0, measure)
    assert verdict.basis == "mark"
    assert verdict.improvement_usd is None
    assert verdict.over_mark_usd == pytest.approx(50.0)
    assert verdict.over_mark_pct == pytest.approx(50.0 / 2600.0 * 100)


def test_a_structure_of_almost_no_cost_is_judged_by_half_its_spread_and_not_by_a_vanishing_denominator() -> None:
    near = StructureLeg("near", "buy", Decimal(1))
    far = StructureLeg("far", "sell", Decimal(1))
    markets = {
        "near": LegMarket(bids=((990.0, 5.0),), asks=((1010.0, 5.0),), mark=1000.0),
        "far": LegMarket(bids=((1000.0, 5.0),), asks=((1020.0, 5.0),), mark=1010.0),
    }
    measure = yardstick([near, far], "buy", markets)
    assert measure.book_cost_usd == 10.0
    verdict = compare(5.0, measure)
    assert verdict.basis == "half_spread"
    assert verdict.improvement_pct == pytest.approx(5.0 / 20.0 * 100)


def test_a_mark_that_is_missing_is_not_zero() -> None:
    markets = {**MARKETS, "high": LegMarket(bids=((290.0, 5.0),), asks=((310.0, 5.0),))}
    measure = yardstick([CALL, HIGH], "buy", markets)
    assert measure.mark_cost_usd is None
    assert compare(1450.0, measure).over_mark_usd is None


def test_a_quote_costs_what_is_paid_less_what_is_received() -> None:
    assert signed_cost([CALL, HIGH], "buy", {"call": Decimal(1005), "high": Decimal(295)}) == 1420
    assert signed_cost([CALL, HIGH], "sell", {"call": Decimal(1005), "high": Decimal(295)}) == -1420

"""An order price is on the tick and never past its bound, whatever the book looks like."""

from __future__ import annotations

from decimal import Decimal as D
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.pricing import (
    SaleFloor,
    closing_bound,
    closing_price,
    fair_middle,
    fair_price,
    opening_price,
    snap_within,
)
from shared.messages.base import Side
from shared.messages.trades import LimitPhase, Pricing
from shared.options.chain import Quote
from tests.unit.execution.play import CALL, instrument

PRICES = st.one_of(st.none(), st.floats(0.0001, 1e6))
SIDES = st.sampled_from(["buy", "sell"])
TICKS = st.sampled_from([D("0.0001"), D("0.01"), D("0.1"), D(1), D(5)])


def _quote(bid: float | None, ask: float | None, mark: float | None) -> Quote:
    return Quote(bid, ask, 1.0, 1.0, mark, 0.5)


@given(
    PRICES, PRICES, PRICES, SIDES, TICKS,
    st.sampled_from(get_args(Pricing)),
    st.floats(0.0, 1.0),
    st.decimals("0.01", "100000", places=2),
    st.one_of(st.none(), st.floats(0.0, 300.0)),
    st.one_of(st.none(), st.decimals("0", "100000", places=3)),
)  # fmt: skip
def test_an_opening_price_is_on_the_tick_and_inside_the_grant_and_the_floors(
    bid: float | None,
    ask: float | None,
    mark: float | None,
    side: Side,
    tick: D,
    pricing: Pricing,
    aggression: float,
    worst: D,
    pct_of_fair: float | None,
    floor_usd: D | None,
) -> None:
    listed = msgspec.structs.replace(instrument(CALL), tick_size=tick)
    quote = _quote(bid, ask, mark)
    phase = LimitPhase(pricing=pricing, fair_aggression=aggression)
    price = opening_price(side, phase, quote, worst, listed, 50.0, SaleFloor(pct_of_fair, floor_usd))
    if isinstance(price, str):
        assert price
        return
    assert price > 0
    assert price % tick == 0
    assert price <= worst if side == "buy" else price >= worst
    assert "E" not in str(price)
    if side == "sell" and floor_usd is not None:
        assert price >= floor_usd
    if side == "sell" and pct_of_fair is not None:
        fair = fair_price(quote, 50.0)
        assert fair is not None
        assert float(price) >= fair * pct_of_fair / 100 * (1 - 1e-9) - 1e-9 * float(tick)


@given(st.floats(0.01, 1e5), st.floats(0.0, 1e4), PRICES, SIDES, TICKS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_fair_price_moves_towards_the_other_side_as_aggression_grows(
    bid: float, spread: float, mark: float | None, side: Side, tick: D, one: float, other: float
) -> None:
    listed = msgspec.structs.replace(instrument(CALL), tick_size=tick)
    quote = _quote(bid, bid + spread, mark)
    worst = D(10**7) if side == "buy" else D(0)
    calm, eager = (
        opening_price(side, LimitPhase(pricing="fair", fair_aggression=share), quote, worst, listed, 50.0)
        for share in sorted((one, other))
    )
    if isinstance(calm, str) or isinstance(eager, str):
        assert calm == eager
        return
    assert calm <= eager if side == "buy" else calm >= eager


@given(st.floats(0.01, 1e5), st.floats(0.0, 1e3), st.floats(0.0, 1.0), SIDES)
def test_between_fair_and_the_other_side_a_fair_price_crosses_nothing(
    bid: float, spread: float, aggression: float, side: Side
) -> None:
    listed = msgspec.structs.replace(instrument(CALL), tick_size=D("0.01"))
    ask = bid + spread
    phase = LimitPhase(pricing="fair", fair_aggression=aggression)
    price = opening_price(
        side, phase, _quote(bid, ask, bid + spread / 2), D(10**7) if side == "buy" else D(0), listed, 1e9
    )
    assert isinstance(price, D)
    # rounded towards us, and at least one tick
    assert float(price) <= max(ask, 0.01) + 1e-9 * ask if side == "buy" else float(price) >= bid - 1e-9 * bid


@pytest.mark.parametrize(
    ("bid", "ask", "mark", "fair"),
    [
        (99.0, 103.0, 100.0, 100.0),
        (99.0, 103.0, 99.0, 99.0),
        (99.0, 103.0, 110.0, 101.0),
        (99.0, 103.0, None, 101.0),
        (10.0, 100.0, 40.0, 40.0),
        (10.0, 100.0, 5.0, 5.0),
        (103.0, 99.0, 50.0, 50.0),
        (103.0, 99.0, None, None),
        (99.0, None, None, 99.0),
        (99.0, None, 110.0, 110.0),
        (99.0, None, 90.0, 99.0),
        (None, 103.0, None, 103.0),
        (None, 103.0, 90.0, 90.0),
        (None, 103.0, 110.0, 103.0),
        (None, None, 90.0, 90.0),
        (None, None, None, None),
    ],
)
def test_fair_is_mark_inside_the_spread_else_mid_else_the_one_side_there_is(
    bid: float | None, ask: float | None, mark: float | None, fair: float | None
) -> None:
    assert fair_price(_quote(bid, ask, mark), 50.0) == fair


@pytest.mark.parametrize(
    ("aggression", "buy", "sell"), [(0.0, 100, 100), (0.5, 102, 99), (1.0, 104, 98)], ids=["fair", "half", "across"]
)
def test_aggression_goes_from_fair_to_the_other_side(aggression: float, buy: int, sell: int) -> None:
    phase = LimitPhase(pricing="fair", fair_aggression=aggression)
    quote = _quote(98.0, 104.0, 100.0)
    assert opening_price("buy", phase, quote, D(1_000), instrument(CALL), 50.0) == buy
    assert opening_price("sell", phase, quote, D(1), instrument(CALL), 50.0) == sell


def test_a_sale_never_asks_for_less_than_its_floors_and_waits_without_a_fair_price() -> None:
    phase = LimitPhase(pricing="aggressive", buffer_pct=20.0)
    quote = _quote(95.0, 105.0, 100.0)

    def price(floor: SaleFloor, side: Side = "sell", seen: Quote = quote) -> D | str:
        return opening_price(side, phase, seen, D(1) if side == "sell" else D(1_000), instrument(CALL), 50.0, floor)

    assert price(SaleFloor()) == D(80)
    assert price(SaleFloor(pct_of_fair=92.5)) == D(93)
    assert price(SaleFloor(price_usd=D("110.5"))) == D(111)
    assert price(SaleFloor(pct_of_fair=92.5, price_usd=D(110))) == D(110)
    assert price(SaleFloor(pct_of_fair=92.5, price_usd=D(110)), "buy") == D(120)
    assert "neither a usable book nor a mark" in str(price(SaleFloor(pct_of_fair=90.0), seen=_quote(5.0, 4.0, None)))


@given(PRICES, PRICES, st.floats(0.0001, 1e6), SIDES, TICKS, st.sampled_from(["mark", "mid", "cross"]))
def test_a_closing_price_is_on_the_tick_and_within_the_premium(
    bid: float | None, ask: float | None, mark: float, side: Side, tick: D, step: str
) -> None:
    listed = msgspec.structs.replace(instrument(CALL), tick_size=tick)
    price = closing_price(side, step, _quote(bid, ask, mark), mark, 25.0, listed, 50.0)  # type: ignore[arg-type]
    if isinstance(price, str):
        assert price
        return
    assert price >= tick
    assert price % tick == 0
    room = max(mark * 0.25, float(tick))
    if side == "buy":
        assert float(price) <= mark + room + 1e-6 * mark
    else:
        assert float(price) >= mark - room - 1e-6 * mark


def test_a_small_premium_is_not_rounded_to_nothing() -> None:
    """round(x, 2) once turned 0.0035 BTC into 0."""
    listed = msgspec.structs.replace(instrument(CALL), tick_size=D("0.0001"))
    assert snap_within(0.0035, None, "sell", listed) == D("0.0035")
    assert snap_within(0.00001, None, "buy", listed) == D("0.0001")
    assert snap_within(0.00001, D("0.00005"), "buy", listed) is None


def test_crossed_empty_and_wide_books_have_no_middle_but_mark() -> None:
    assert fair_middle(_quote(101.0, 100.0, 90.0), 50.0) == 90.0
    assert fair_middle(_quote(None, 100.0, 90.0), 50.0) == 90.0
    assert fair_middle(_quote(10.0, 100.0, 90.0), 50.0) == 90.0
    assert fair_middle(_quote(99.0, 101.0, 90.0), 50.0) == 100.0
    assert fair_middle(_quote(None, None, None), 50.0) is None


def test_the_bound_of_a_cheap_option_leaves_at_least_one_tick() -> None:
    listed = instrument(CALL)
    assert closing_bound(2.0, "buy", 25.0, listed) == D(3)
    assert closing_bound(2.0, "sell", 25.0, listed) == D(1)
    assert closing_bound(0.4, "sell", 25.0, listed) == D(0)
    assert closing_price("sell", "cross", None, 0.4, 25.0, listed, 50.0) == D(1)
    assert closing_price("buy", "mark", None, None, 25.0, listed, 50.0) == f"no mark for {CALL}"

"""An order price is on the tick and never past its bound, whatever the book looks like."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.execution.pricing import closing_bound, closing_price, fair_middle, opening_price, snap_within
from shared.messages.base import Side
from shared.messages.trades import LimitPhase
from shared.options.chain import Quote
from tests.unit.execution.play import CALL, instrument

PRICES = st.one_of(st.none(), st.floats(0.0001, 1e6))
SIDES = st.sampled_from(["buy", "sell"])
TICKS = st.sampled_from([D("0.0001"), D("0.01"), D("0.1"), D(1), D(5)])


def _quote(bid: float | None, ask: float | None, mark: float | None) -> Quote:
    return Quote(bid, ask, 1.0, 1.0, mark, 0.5)


@given(
    PRICES, PRICES, PRICES, SIDES, TICKS,
    st.sampled_from(["aggressive", "mid", "passive", "top_of_book", "mark"]),
    st.decimals("0.01", "100000", places=2),
)  # fmt: skip
def test_an_opening_price_is_on_the_tick_and_inside_the_grant(
    bid: float | None, ask: float | None, mark: float | None, side: Side, tick: D, pricing: str, worst: D
) -> None:
    listed = msgspec.structs.replace(instrument(CALL), tick_size=tick)
    phase = LimitPhase(pricing=pricing)  # type: ignore[arg-type]
    price = opening_price(side, phase, _quote(bid, ask, mark), worst, listed, 50.0)
    if isinstance(price, str):
        assert price
        return
    assert price > 0
    assert price % tick == 0
    assert price <= worst if side == "buy" else price >= worst
    assert "E" not in str(price)


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

"""Where the P&L of a trade comes from: the parts sum to it, whatever happens between two samples."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.history.attribution import PART_NAMES, Follower, Parts, UnitMark, leg_parts
from shared.messages.trades import LegStatus, TradeState, TradeUpdate
from tests.unit.monitor.desk import SECOND, START, SYMBOL, trade

GREEKS = (0.5, 0.0001, 20.0, -30.0)
BEGIN = UnitMark(1_000.0, 90_000.0, 0.5, GREEKS)


def holding(
    held: str,
    *,
    closed: str = "0",
    close_price: float | None = None,
    state: TradeState = "OPEN",
    realized: float = 0.0,
) -> TradeUpdate:
    """A trade that sold at 3250 and still holds `held` of it."""
    leg = LegStatus(
        symbol=SYMBOL,
        side="sell",
        quantity=Decimal("0.1"),
        filled_quantity=Decimal(held) + Decimal(closed),
        closed_quantity=Decimal(closed),
        open_price=Decimal(3250),
        close_price=None if close_price is None else Decimal(str(close_price)),
    )
    return msgspec.structs.replace(
        trade(state),
        legs=(leg,),
        realized_pnl_usd=Decimal(str(realized)),
        closed_ns=START + 30 * SECOND if state == "CLOSED" else None,
    )


def test_each_part_is_the_term_of_taylors_expansion_in_the_desks_units() -> None:
    end = UnitMark(1_100.0, 90_200.0, 0.51, GREEKS)
    parts = leg_parts(-2.0, BEGIN, end, 3_600.0, 7_200.0)
    assert parts.delta_usd == pytest.approx(-2 * 0.5 * 200)
    assert parts.gamma_usd == pytest.approx(-2 * 0.0001 * 200**2 / 2)
    assert parts.theta_usd == pytest.approx(-2 * -30 / 24)
    assert parts.vega_usd == pytest.approx(-2 * 20 * 1)
    assert parts.pnl_usd == pytest.approx(-2 * 100)
    assert parts.unattributed_s == 0


def test_what_a_perpetual_makes_with_its_index_is_delta_though_it_has_no_volatility() -> None:
    begin = UnitMark(90_050.0, 90_000.0, None, (1.0, 0.0, 0.0, 0.0))
    parts = leg_parts(-0.3, begin, UnitMark(90_260.0, 90_200.0), 60.0, 300.0)
    assert parts.delta_usd == pytest.approx(-0.3 * 200)
    assert parts.residual_usd == pytest.approx(-0.3 * 10), "the basis has moved, too"
    assert parts.unattributed_s == 0


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        (UnitMark(1_000.0), UnitMark(1_010.0, 90_100.0, 0.5, GREEKS), 10.0),
        (BEGIN, UnitMark(1_010.0, None, 0.5), 10.0),
        (BEGIN, UnitMark(1_010.0, 90_100.0, None), 10.0),
        (BEGIN, UnitMark(1_010.0, 90_100.0, 0.5), 301.0),
    ],
    ids=["no Greeks", "no index", "no volatility", "a gap"],
)
def test_what_cannot_be_attributed_is_residual_and_counted_as_time(
    begin: UnitMark, end: UnitMark, seconds: float
) -> None:
    parts = leg_parts(3.0, begin, end, seconds, 300.0)
    assert parts == Parts(residual_usd=30.0, unattributed_s=seconds)


def test_fills_are_execution_and_marks_that_move_later_are_not() -> None:
    follower = Follower(300)
    (opened,) = follower.sample([holding("0.1")], {SYMBOL: UnitMark(3_240.0, 90_000.0, 0.5, GREEKS)}, START)
    assert opened.parts.execution_usd == pytest.approx(-0.1 * (3_240 - 3_250))
    moved = {SYMBOL: UnitMark(3_300.0, 90_100.0, 0.5, GREEKS)}
    (held,) = follower.sample([holding("0.1")], moved, START + 10 * SECOND)
    assert held.parts.execution_usd == pytest.approx(1.0)
    assert held.parts.delta_usd == pytest.approx(-0.1 * 0.5 * 100)
    assert held.delta == pytest.approx(-0.05)
    gone = holding("0", closed="0.1", close_price=3_310.0, state="CLOSED", realized=-6.0)
    (closed,) = follower.sample([gone], {}, START + 60 * SECOND)
    assert closed.pnl_usd == pytest.approx(-6.0)
    assert closed.at_ns == START + 30 * SECOND, "when it was closed, not when that was seen"
    assert closed.parts.execution_usd == pytest.approx(1.0 - 0.1 * (3_310 - 3_300))
    assert (closed.delta, closed.unrealized_usd) == (0.0, 0.0)
    assert follower.sample([gone], {}, START + 70 * SECOND) == [], "it is over"


def test_a_close_that_nobody_saw_for_hours_is_residual() -> None:
    follower = Follower(300)
    follower.sample([holding("0.1")], {SYMBOL: UnitMark(3_250.0, 90_000.0, 0.5, GREEKS)}, START)
    late = msgspec.structs.replace(
        holding("0", closed="0.1", close_price=3_000.0, state="CLOSED", realized=25.0),
        closed_ns=START + 7_200 * SECOND,
    )
    (closed,) = follower.sample([late], {}, START + 9_000 * SECOND)
    assert closed.parts.residual_usd == pytest.approx(25.0)
    assert closed.parts.unattributed_s == 7_200


def test_a_trade_that_holds_what_has_no_mark_waits_and_loses_nothing() -> None:
    follower = Follower(300)
    mark = {SYMBOL: UnitMark(3_250.0, 90_000.0, 0.5, GREEKS)}
    follower.sample([holding("0.1")], mark, START)
    assert follower.sample([holding("0.1")], {}, START + 10 * SECOND) == []
    mark = {SYMBOL: UnitMark(3_260.0, 90_020.0, 0.5, GREEKS)}
    (later,) = follower.sample([holding("0.1")], mark, START + 20 * SECOND)
    assert later.parts.theta_usd == pytest.approx(-0.1 * -30 * 20 / 86_400)
    assert later.parts.pnl_usd == pytest.approx(-1.0)


def test_a_trade_opened_long_before_it_was_first_seen_is_residual_until_then() -> None:
    old = msgspec.structs.replace(holding("0.1"), opened_ns=START - 86_400 * SECOND)
    (seen,) = Follower(300).sample([old], {SYMBOL: UnitMark(3_000.0)}, START)
    assert seen.parts.residual_usd == pytest.approx(25.0)
    assert seen.parts.unattributed_s == 86_400


def test_a_trade_without_fills_is_not_sampled() -> None:
    assert Follower(300).sample([holding("0")], {}, START) == []


steps = st.lists(
    st.tuples(
        st.integers(1, 1_000),
        st.one_of(st.none(), st.floats(1, 10_000)),
        st.one_of(st.none(), st.floats(50_000, 150_000)),
        st.one_of(st.none(), st.floats(0.05, 3)),
        st.booleans(),
        st.integers(0, 10),
    ),
    min_size=1,
    max_size=25,
)


@given(steps)
def test_the_parts_always_sum_to_the_pnl(
    drawn: list[tuple[int, float | None, float | None, float | None, bool, int]],
) -> None:
    follower = Follower(300)
    at_ns = START
    for seconds, mark, index, iv, with_greeks, tenths in drawn:
        at_ns += seconds * SECOND
        closed = Decimal(10 - tenths) / 100
        update = holding(str(Decimal(tenths) / 100), closed=str(closed), close_price=3_000.0, realized=float(closed))
        marks = {} if mark is None else {SYMBOL: UnitMark(mark, index, iv, GREEKS if with_greeks else None)}
        for sample in follower.sample([update], marks, at_ns):
            parts = sample.parts
            scale = sum(abs(getattr(parts, name)) for name in PART_NAMES) + 1
            assert math.isclose(parts.pnl_usd, sample.pnl_usd, rel_tol=0, abs_tol=1e-12 * scale)
            assert sample.pnl_usd == pytest.approx(float(update.realized_pnl_usd) + sample.unrealized_usd)

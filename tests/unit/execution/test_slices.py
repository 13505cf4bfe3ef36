"""A quantity above the venue's largest order goes out slice by slice; one below its smallest is refused at once."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.plan import slice_of
from services.execution.rows import OrderRequested
from shared.messages.market import InstrumentList
from shared.messages.trades import ExecutionParams, LimitPhase, Refusal
from shared.options.chain import list_id_of
from tests.unit.execution.play import CALL, HIGH_CALL, Script, acked, gone, instrument, intent, leg, seen

PHASES = ExecutionParams(
    phases=(
        LimitPhase(pricing="passive", duration_s=10.0, reprice_interval_s=5.0),
        LimitPhase(pricing="mid", duration_s=10.0, reprice_interval_s=5.0),
    ),
    max_requote_rounds=4,
    fill_timeout_s=10.0,
)


def test_a_leg_above_the_largest_order_is_opened_and_closed_slice_by_slice() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell", "2500"))
    number = 0
    for purpose in ("open", "close"):
        quantities = []
        for _ in range(3):
            (order,) = script.placed()
            quantities.append(order.quantity)
            assert order.reduce_only == (purpose == "close")
            number += 1
            script.fills_all(order, number)
            script.wait(1_100)
        assert quantities == [1000, 1000, 500]
        assert script.placed() == []
        if purpose == "open":
            assert script.state(trade_id) == "OPEN"
            script.close(trade_id)
    assert (script.state(trade_id), script.held(trade_id)) == ("CLOSED", [D(0)])


def test_each_slice_has_its_own_rounds_and_phases() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy", "2000"), execution_params=PHASES)
    prices = []
    for number in range(2):
        (order,) = script.placed()
        prices.append(order.price)
        script.on(acked(order)).wait(10_100)
        assert script.cancelled() == [order.client_order_id]
        script.cancels_all(order).wait(1_100)
        (order,) = script.placed()
        prices.append(order.price)
        script.fills_all(order, number + 1).wait(1_100)
    assert prices == [990, 1000, 990, 1000]
    assert script.state(trade_id) == "OPEN"


def test_an_atomic_leg_whose_second_slice_is_not_filled_is_unwound_whole() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy", "2000"), execution_params=PHASES)
    (first,) = script.placed()
    script.fills_all(first, 1)
    for _ in range(60):
        script.wait(1_000)
        for number in script.cancelled():
            script.on(gone(script, number))
        for order in script.placed():
            if order.reduce_only:
                script.fills_all(order, 2)
            else:
                script.on(acked(order)).on(seen(order, "new"))
    assert (script.state(trade_id), script.held(trade_id)) == ("FAILED", [D(0)])
    assert "not filled" in script.trade(trade_id).reason
    assert len([row for row in script.rows(OrderRequested) if row.purpose == "open"]) <= 5


def test_protective_slices_are_all_bought_before_a_short_one_is_sold() -> None:
    script = Script().started()
    script.open(leg(CALL, "sell", "2000"), leg(HIGH_CALL, "buy", "2000"))
    sides = []
    for number in range(4):
        (order,) = script.placed()
        sides.append(order.side)
        script.fills_all(order, number + 1).wait(1_100)
    assert sides == ["buy", "buy", "sell", "sell"]


def test_a_close_of_many_slices_does_not_use_up_its_attempts() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell", "15000"))
    number = 0
    for state in ("OPEN", "CLOSED"):
        for _ in range(15):
            (order,) = script.placed()
            number += 1
            script.fills_all(order, number).wait(1_100)
        assert script.state(trade_id) == state
        if state == "OPEN":
            script.close(trade_id)


@pytest.mark.parametrize(
    ("quantity", "code"), [("0.05", "below_minimum"), ("100000.01", "above_maximum"), ("0.1", ""), ("100000", "")]
)
def test_what_no_order_can_carry_is_refused_when_it_is_asked_for(quantity: str, code: str) -> None:
    script = Script()
    instruments = tuple(msgspec.structs.replace(each, min_quantity=D("0.1")) for each in script.listing.instruments)
    script.listing = InstrumentList(underlying="BTCUSD", list_id=list_id_of(instruments), instruments=instruments)
    script.started()
    answer = script.ask(intent(leg(CALL, "buy", quantity)))
    assert (answer.code if isinstance(answer, Refusal) else "") == code


@given(st.integers(1, 10_000), st.integers(1, 300), st.integers(1, 20), st.sampled_from([D("0.01"), D("0.1"), D(1)]))
def test_slices_are_in_lots_within_the_venues_bounds_and_add_up(lots: int, most: int, least: int, lot: D) -> None:
    listed = msgspec.structs.replace(
        instrument(CALL), lot_size=lot, min_quantity=lot * least, max_quantity=lot * max(most, 2 * least)
    )
    left = total = lot * max(lots, least)
    pieces = []
    while left:
        piece = slice_of(left, listed)
        assert listed.min_quantity <= piece <= listed.max_quantity
        assert piece % lot == 0
        pieces.append(piece)
        left -= piece
    assert sum(pieces) == total
    assert len(pieces) <= total / listed.max_quantity + 2

"""Undoing a failed opening has a bound in money and in time; past it the trade is broken, alarmed, and no loop."""

from __future__ import annotations

import msgspec
import pytest

from services.execution.rows import OrderRequested
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.messages.venue import OrderRefused
from tests.unit.execution.play import CALL, MARKS, PUT, Script, acked, gone, leg, seen

PARAMS = ExecutionParams(
    phases=(LimitPhase(pricing="mid", duration_s=10.0, reprice_interval_s=10.0),),
    max_requote_rounds=1,
    fill_timeout_s=10.0,
)


def _half_open(script: Script, **params: object) -> str:
    """A straddle of which the call was sold at 1000 and the put gives up, with the market where it is by then."""
    trade_id = script.open(
        leg(CALL, "sell"), leg(PUT, "sell"), execution_params=msgspec.structs.replace(PARAMS, **params)
    )
    filled, unfilled = script.placed()
    script.fills_all(filled, 1)
    script.on(acked(unfilled)).on(seen(unfilled, "new")).wait(10_100)
    assert script.cancelled() == [unfilled.client_order_id]
    script.cancels_all(unfilled)
    script.wait(2_100)
    return trade_id


def _mark(script: Script, price: float) -> None:
    script.chain_options = {"marks": {**MARKS, CALL: price}}
    script.market()


def test_within_its_allowance_an_unwinding_goes_through() -> None:
    script = Script().started()
    trade_id = _half_open(script, max_unwind_cost_usd=50.0)
    (back,) = script.placed()
    script.fills_all(back, 2)
    assert script.state(trade_id) == "FAILED"


def test_an_unwinding_that_would_cost_more_than_allowed_is_broken_alarmed_and_waits_for_a_person() -> None:
    script = Script().started()
    _mark(script, 1000.0)
    trade_id = script.open(
        leg(CALL, "sell"),
        leg(PUT, "sell"),
        execution_params=msgspec.structs.replace(PARAMS, max_unwind_cost_usd=50.0),
    )
    filled, unfilled = script.placed()
    script.fills_all(filled, 1)
    _mark(script, 1100.0)
    script.on(acked(unfilled)).on(seen(unfilled, "new")).wait(10_100)
    script.cancels_all(unfilled)
    script.wait(2_100)
    assert script.state(trade_id) == "BROKEN"
    assert "would cost 110.00 USD, more than the 50 allowed" in script.trade(trade_id).reason
    assert "trade_broken" in script.alerts()
    script.wait(1_800_000)
    assert script.placed() == []
    script.close(trade_id)
    script.wait(1_100)
    (back,) = script.placed()
    assert (back.symbol, back.side, back.reduce_only) == (CALL, "buy", True)
    script.fills_all(back, 2)
    assert script.state(trade_id) == "CLOSED"


def test_an_order_that_unwinds_is_withdrawn_when_the_cost_grows_and_comes_back_when_it_shrinks() -> None:
    script = Script().started()
    trade_id = _half_open(script, max_unwind_cost_usd=50.0)
    (back,) = script.placed()
    script.on(acked(back)).on(seen(back, "new"))
    _mark(script, 1100.0)
    assert script.state(trade_id) == "BROKEN"
    assert script.cancelled() == [back.client_order_id]
    script.on(gone(script, back.client_order_id))
    script.wait(60_000)
    assert script.placed() == []
    _mark(script, 1010.0)
    script.wait(60_000)
    assert len(script.placed()) == 1


def test_an_unwinding_that_takes_longer_than_allowed_is_broken_and_alarmed() -> None:
    script = Script().started()
    trade_id = _half_open(script, max_unwind_s=5.0)
    (back,) = script.placed()
    script.on(acked(back)).on(seen(back, "new"))
    script.wait(4_000)
    for number in script.cancelled():
        script.on(gone(script, number))
    assert script.state(trade_id) == "UNWINDING"
    script.wait(2_000)
    assert script.state(trade_id) == "BROKEN"
    assert "not closed within 5 s" in script.trade(trade_id).reason
    assert "trade_broken" in script.alerts()


def test_a_broken_unwinding_is_tried_again_ever_more_slowly() -> None:
    script = Script().started()
    _half_open(script, max_unwind_s=5.0)
    for _ in range(360):
        for order in script.placed():
            script.on(
                OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10540, text="not now")
            )
        script.wait(10_000)
    sent = [row for row in script.rows(OrderRequested) if row.purpose == "unwind"]
    assert 5 < len(sent) < 16


@pytest.mark.parametrize("policy", ["best_effort", "atomic"])
def test_the_allowance_does_not_bind_an_ordinary_close(policy: str) -> None:
    script = Script().started()
    trade_id = script.opened(
        leg(CALL, "sell"), policy=policy, execution_params=msgspec.structs.replace(PARAMS, max_unwind_cost_usd=1.0)
    )
    _mark(script, 1500.0)
    script.close(trade_id)
    assert len(script.placed()) == 1

"""The end of the process as it was chosen: what rests is withdrawn, or everything held is closed, and no more."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from services.execution.winding_down import WindDown
from shared.messages.rfq import RfqCancelled
from shared.messages.trades import Refusal
from tests.unit.execution.makers import FAIR, Makers
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, Script, acked, fill, gone, intent, leg, seen
from tests.unit.execution.test_quoting import change, codes, place, quoting, wish

CANCEL = WindDown("cancel", "execution stops: cancel")
FLATTEN = WindDown("flatten", "execution stops: flatten")


def _left(script: Script) -> list[str]:
    return script.core.winding_down.left()


def test_cancel_withdraws_what_rests_sends_nothing_more_and_is_done_when_it_is_seen_gone() -> None:
    script = Script().started()
    opening = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    script.on(CANCEL)
    assert script.cancelled() == [order.client_order_id]
    assert _left(script) == [f"order {order.client_order_id} is CANCELLING"]
    script.cancels_all(order)
    assert _left(script) == []
    script.wait(30_000)
    assert (script.placed(), script.state(opening)) == ([], "OPENING")
    stop = script.core.book.trades[opening].stop
    assert stop is not None
    assert (stop.reason, stop.void) == ("execution stops: cancel", False)


def test_an_order_whose_outcome_comes_while_winding_down_is_withdrawn_too() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(CANCEL)
    assert script.cancelled() == []
    script.on(acked(order))
    assert script.cancelled() == [order.client_order_id]


def test_after_a_cancel_the_next_process_unwinds_what_was_half_opened() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"))
    first, second = script.placed()
    script.fills_all(first, 1)
    script.on(acked(second)).on(CANCEL)
    script.cancels_all(second)
    assert script.placed() == []
    script.restarted()
    script.snapshot(positions=script.positions(), fills=[fill(first, 1)])
    script.wait(5_000)
    assert script.state(trade_id) == "UNWINDING"
    (back,) = script.placed()
    assert (back.symbol, back.reduce_only) == (CALL, True)


def test_cancel_leaves_open_trades_and_closes_that_are_going_on_as_they_are() -> None:
    script = Script().started()
    holding = script.opened(leg(CALL, "sell"))
    closing = script.opened(leg(PUT, "sell"), ordinal=1)
    script.close(closing)
    (order,) = script.placed()
    script.on(acked(order)).on(CANCEL)
    script.on(gone(script, order.client_order_id))
    script.wait(20_000)
    assert _left(script) == []
    assert script.placed() == []
    assert (script.state(holding), script.state(closing)) == ("OPEN", "CLOSING")


def test_flatten_closes_what_is_held_unwinds_what_is_half_open_and_is_done_when_all_is_flat() -> None:
    script = Script().started()
    holding = script.opened(leg(CALL, "sell"))
    opening = script.open(leg(PUT, "buy", "2"), ordinal=1)
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 50, "1")).on(seen(order, "partial", "1"))
    script.on(FLATTEN)
    assert script.cancelled() == [order.client_order_id]
    assert f"{holding} holds 1 {CALL}" in _left(script)
    script.cancels_all(order, "1")
    for number in range(60, 70):
        for back in script.placed():
            assert back.reduce_only
            script.fills_all(back, 10 * number + (back.symbol == PUT))
        script.wait(500)
    assert (script.state(holding), script.state(opening)) == ("CLOSED", "FAILED")
    assert (script.held(holding), script.held(opening)) == ([D(0)], [D(0)])
    assert _left(script) == []


@pytest.mark.parametrize("order", [CANCEL, FLATTEN], ids=["cancel", "flatten"])
def test_nothing_is_opened_any_more_and_the_intent_may_come_again(order: WindDown) -> None:
    script = Script().started().on(order)
    answer = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns))
    assert isinstance(answer, Refusal)
    assert (answer.code, "about to stop" in answer.detail) == ("not_ready", True)


def test_what_was_decided_for_the_end_is_in_the_journal() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.on(FLATTEN)
    close = script.refolded().book.trades[trade_id].close
    assert close is not None
    assert (close.purpose, close.reason) == ("flatten", "execution stops: flatten")


def test_a_request_for_quote_is_withdrawn_and_waited_for_and_no_quote_on_it_is_taken() -> None:
    script = Script().started()
    makers = Makers(script)
    _, request_id = makers.collecting()
    quote = makers.quote(request_id, FAIR, {CALL: "buy", HIGH_CALL: "sell"})
    script.wait(4_000).on(quote).on(CANCEL)
    assert set(makers.withdrawn()) == {request_id}
    assert [text.partition(" is ")[2] for text in _left(script)] == ["CANCELLING"]
    script.on(RfqCancelled(request_id=request_id)).wait(10_000)
    assert _left(script) == []
    assert not makers.accepts()


def test_a_close_by_request_for_quote_is_withdrawn_too_and_goes_on_up_the_stairs_in_the_next_process() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    makers.executed(quote)
    script.wait(10_000).snapshot(positions=script.positions())
    script.close(trade_id)
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    script.on(CANCEL)
    assert set(makers.withdrawn()) == {request_id}
    script.on(RfqCancelled(request_id=request_id))
    assert _left(script) == []
    script.restarted().snapshot(positions=script.positions())
    assert makers.fallbacks() == [("close", "limit", "gone")]
    assert [order.symbol for order in script.placed()] == [HIGH_CALL]


def test_leave_withdraws_what_a_strategy_quotes_and_nothing_else_and_it_quotes_on_afterwards() -> None:
    script = Script().started()
    script.open(leg(PUT, "buy"))
    (other,) = script.placed()
    script.on(acked(other)).on(seen(other, "new"))
    trade_id = quoting(script, ordinal=1)
    (bid,) = place(script, trade_id, wish("1", "980"))
    script.on(WindDown("leave", "execution stops: leave"))
    assert script.cancelled() == [bid.client_order_id]
    assert _left(script) == [f"order {bid.client_order_id} is CANCELLING"]
    assert codes(change(script, trade_id, place=(wish("1", "970"),))) == ["not_ready"]
    script.on(gone(script, bid.client_order_id))
    assert _left(script) == []
    assert script.state(trade_id) == "OPENING"
    script.restarted()
    script.snapshot(orders=[seen(other, "new")])
    assert codes(change(script, trade_id, place=(wish("1", "970"),))) == [""]

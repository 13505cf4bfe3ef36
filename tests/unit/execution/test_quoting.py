"""A strategy that quotes works its own orders; execution keeps them inside the grant and takes them back in time."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.config import ExecutionConfig
from services.execution.effects import AmendBatch, AmendOrder, CancelBatch, PlaceBatch
from services.execution.quoting import quantity_problem
from services.execution.rows import CancelAwaited, FillSeen, OrderRequested, RetryDropped
from shared.messages.base import Side
from shared.messages.control import RaiseHalt
from shared.messages.grants import signed
from shared.messages.quoting import ChangeOrders, OrdersChanged, OrderToAmend, OrderToPlace
from shared.messages.trades import Refusal
from shared.messages.venue import NewOrder, OrderQueried, OrderRefused, OutcomeUnknown, StreamDown
from tests.unit.execution.play import (
    CALL,
    EXPIRY_NS,
    KEY,
    MARKS,
    PUT,
    SECOND,
    Script,
    acked,
    beat,
    fill,
    gone,
    intent,
    leg,
    position,
    seen,
)


def quoting(script: Script, *legs: Any, **changes: Any) -> str:
    """A quoting trade without an order yet: up to 5 calls long, at 1,200 at most."""
    legs = legs or (leg(CALL, "buy", "5"),)
    return script.open(*legs, execution_mode="quoting", policy="best_effort", **changes)


def wish(quantity: str, price: str, side: Side = "buy", symbol: str = CALL, **more: Any) -> OrderToPlace:
    return OrderToPlace(symbol=symbol, side=side, quantity=D(quantity), price=D(price), **more)


def change(script: Script, trade_id: str, **parts: Any) -> Any:
    request = ChangeOrders(trade_id=trade_id, strategy="demo", valid_until_ns=script.now_ns + 5 * SECOND, **parts)
    return script.ask(request)


def place(script: Script, trade_id: str, *wishes: OrderToPlace) -> list[NewOrder]:
    """Place, and the venue acknowledges each; what was sent, one by one or as a batch."""
    answer = change(script, trade_id, place=wishes)
    assert isinstance(answer, OrdersChanged)
    assert answer.refused == ()
    orders = script.placed() + [order for batch in script.take(PlaceBatch) for order in batch.orders]
    for order in orders:
        script.on(acked(order)).on(seen(order, "new"))
    return orders


def codes(answer: OrdersChanged) -> list[str]:
    return [each.code for each in answer.placed]


def holding(script: Script, trade_id: str, quantity: str = "2") -> NewOrder:
    """Bought so much by one quote."""
    (bid,) = place(script, trade_id, wish(quantity, "990"))
    script.on(fill(bid, 1)).on(seen(bid, "filled", quantity))
    script.effects.clear()
    return bid


def test_orders_go_out_as_asked_post_only_with_their_label_and_several_as_one_batch() -> None:
    script = Script().started()
    trade_id = quoting(script)
    assert script.state(trade_id) == "PENDING_OPEN"
    (single,) = place(script, trade_id, wish("1", "980", label="grid 1"))
    assert (single.price, single.post_only, single.reduce_only) == (D(980), True, False)
    assert (script.order(single).label, script.order(single).post_only) == ("grid 1", True)
    answer = change(script, trade_id, place=(wish("1", "970"), wish("1", "960", post_only=False)))
    (batch,) = script.take(PlaceBatch)
    assert [(order.price, order.post_only) for order in batch.orders] == [(D(970), True), (D(960), False)]
    assert [each.client_order_ids for each in answer.placed] == [(order.client_order_id,) for order in batch.orders]
    assert script.state(trade_id) == "OPENING"
    assert "quoting" in script.trade(trade_id).reason


def test_a_quantity_in_lots_may_still_be_below_the_smallest_order_of_the_venue() -> None:
    script = Script().started()
    held = script.core.book.trades[quoting(script)].legs[0]
    coarse = msgspec.structs.replace(
        held, instrument=msgspec.structs.replace(held.instrument, lot_size=D("0.01"), min_quantity=D("0.1"))
    )
    problems = [quantity_problem(coarse, D(quantity)) for quantity in ("0.05", "0.105", "0.1")]
    assert [None if each is None else each[0] for each in problems] == ["below_minimum", "bad_quantity", None]


def test_nothing_goes_out_beyond_the_grant_whatever_rests_and_is_held() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    place(script, trade_id, wish("2", "985"))
    refused = change(
        script,
        trade_id,
        place=(
            wish("1.01", "980"),
            wish("1", "1201"),
            wish("1", "980.5"),
            wish("0.005", "980"),
            wish("1", "900", symbol=PUT),
        ),
    )
    assert codes(refused) == ["outside_grant", "outside_grant", "bad_price", "below_minimum", "outside_grant"]
    assert script.placed() == []
    assert codes(change(script, trade_id, place=(wish("1", "980"),))) == [""]


def test_the_other_side_reduces_what_is_held_and_never_more() -> None:
    script = Script().started()
    trade_id = quoting(script)
    assert codes(change(script, trade_id, place=(wish("1", "1010", "sell"),))) == ["beyond_holding"]
    holding(script, trade_id, "2")
    (offer,) = place(script, trade_id, wish("1.5", "1010", "sell"))
    assert (offer.side, offer.reduce_only) == ("sell", True)
    assert codes(change(script, trade_id, place=(wish("0.6", "1010", "sell"),))) == ["beyond_holding"]
    script.on(fill(offer, 2)).on(seen(offer, "filled", "1.5"))
    assert (script.state(trade_id), script.held(trade_id)) == ("OPENING", [D("0.5")])
    # what was sold makes room again
    assert codes(change(script, trade_id, place=(wish("4.5", "980"),))) == [""]
    update = script.trade(trade_id)
    assert update.realized_pnl_usd == D("1.5") * (1010 - 990)


def test_what_is_closed_by_hand_ends_the_quoting() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    for _ in range(3):
        script.wait(5_000)
        script.taken([position(CALL, "0")])
    script.wait(5_000)
    assert (script.state(trade_id), script.held(trade_id)) == ("CLOSED", [D(0)])
    assert codes(change(script, trade_id, place=(wish("1", "980"),))) == ["not_quoting"]


def test_a_repeated_request_is_answered_the_same_and_sends_nothing_again() -> None:
    script = Script().started()
    trade_id = quoting(script)
    request = ChangeOrders(
        trade_id=trade_id, strategy="demo", valid_until_ns=script.now_ns + SECOND, place=(wish("1", "980"),)
    )
    first = script.ask(request, "same")
    assert len(script.placed()) == 1
    assert script.ask(request, "same") == first
    assert script.placed() == []
    assert script.restarted().ask(request, "same") == first


def test_amendments_and_cancels_reach_the_orders_named_and_no_others() -> None:
    script = Script().started()
    trade_id = quoting(script)
    low, high = place(script, trade_id, wish("1", "970"), wish("1", "980"))
    other = quoting(script, leg(PUT, "sell", "1"), ordinal=1)
    answer = change(
        script,
        trade_id,
        amend=(
            OrderToAmend(client_order_id=low.client_order_id, price=D(975)),
            OrderToAmend(client_order_id=high.client_order_id, price=D(1300)),
        ),
        cancel=(high.client_order_id, 12345),
    )
    assert [each.code for each in answer.amended] == ["", "not_working"]
    assert [each.code for each in answer.cancelled] == ["", "no_such_order"]
    (amended,) = script.take(AmendOrder)
    assert (amended.change.order.client_order_id, amended.change.price) == (low.client_order_id, D(975))
    assert script.cancelled() == [high.client_order_id]
    stranger = change(script, other, cancel=(low.client_order_id,))
    assert [each.code for each in stranger.cancelled] == ["no_such_order"]


def test_many_amendments_and_cancels_are_one_batch_each() -> None:
    script = Script().started()
    trade_id = quoting(script)
    orders = place(script, trade_id, *(wish("1", str(price)) for price in (950, 960, 970, 980)))
    change(
        script,
        trade_id,
        amend=tuple(OrderToAmend(client_order_id=each.client_order_id, price=each.price + 1) for each in orders[:2]),
        cancel=tuple(each.client_order_id for each in orders[2:]),
    )
    (amends,), (cancels,) = script.take(AmendBatch), script.take(CancelBatch)
    assert [each.price for each in amends.changes] == [D(951), D(961)]
    assert [each.client_order_id for each in cancels.orders] == [each.client_order_id for each in orders[2:]]


def test_a_post_only_order_that_would_have_crossed_is_tried_again_behind_the_touch_a_few_times() -> None:
    script = Script(ExecutionConfig(post_only_retries=2)).started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "1015", label="a"))
    prices = [bid.price]
    for _ in range(4):
        script.on(gone(script, bid.client_order_id))
        script.wait(1_500)
        again = script.placed()
        if not again:
            break
        (bid,) = again
        assert bid.post_only
        prices.append(bid.price)
        script.on(acked(bid))
    # the ask is 1,010
    assert prices == [D(1015), D(1009), D(1009)]
    script.wait(30_000)
    assert script.placed() == []


def test_an_order_that_was_cancelled_or_has_rested_is_not_placed_again() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (asked,) = place(script, trade_id, wish("1", "980", label="a"))
    change(script, trade_id, cancel=(asked.client_order_id,))
    script.on(gone(script, asked.client_order_id))
    (rested,) = place(script, trade_id, wish("1", "980", label="b"))
    script.wait(10_000)
    script.on(gone(script, rested.client_order_id))
    script.wait(10_000)
    assert script.placed() == []


@pytest.mark.parametrize("how", ["strategy", "by_id", "by_symbol", "not_at_all", "another_symbol"])
def test_a_cancel_ends_the_tries_of_a_post_only_order_that_waits_to_be_tried_again(how: str) -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "1015", label="a"))
    script.on(gone(script, bid.client_order_id))
    number = bid.client_order_id
    match how:
        case "strategy":
            (answer,) = change(script, trade_id, cancel=(number,)).cancelled
            assert (answer.code, answer.client_order_ids) == ("", (number,))
            assert change(script, trade_id, cancel=(number,)).cancelled[0].code == "not_working"
        case "by_id":
            assert script.cancel(client_order_id=number).client_order_ids == (number,)
        case "by_symbol":
            assert script.cancel(symbol=CALL).client_order_ids == (number,)
        case "another_symbol":
            assert script.cancel(symbol=PUT).client_order_ids == ()
    script.wait(5_000)
    dropped = how in ("strategy", "by_id", "by_symbol")
    assert len(script.placed()) == (0 if dropped else 1)
    assert [row.client_order_id for row in script.rows(RetryDropped)] == ([number] if dropped else [])
    assert script.state(trade_id) == "OPENING", "it quotes on"
    assert script.refolded().book == script.core.book


def test_a_cancel_of_all_ends_every_order_in_one_request_also_those_that_are_on_their_way() -> None:
    script = Script().started()
    trade_id = quoting(script, leg(CALL, "buy", "9"), leg(PUT, "buy", "1"))
    for part in range(3):
        place(script, trade_id, *(wish("0.1", f"{900 + 15 * part + number}") for number in range(15)))
    resting = [order.client_order_id for order in script.core.book.orders.values()]
    (crossed,) = place(script, trade_id, wish("0.1", "1015", label="a"))
    script.on(gone(script, crossed.client_order_id))
    change(script, trade_id, amend=(OrderToAmend(client_order_id=resting[0], price=D(899)),))
    change(script, trade_id, place=(wish("0.1", "980"), wish("0.1", "981"), wish("0.1", "800", symbol=PUT)))
    (batch,) = script.take(PlaceBatch)
    sending, unknown, put = batch.orders
    script.on(OutcomeUnknown(client_order_id=unknown.client_order_id, reason="lost"))
    answer = change(script, trade_id, cancel_all=True, place=(wish("0.1", "970", label="after"),))
    (cancelled,) = answer.cancelled
    on_their_way = [order.client_order_id for order in batch.orders]
    assert sorted(cancelled.client_order_ids) == sorted([*resting, *on_their_way, crossed.client_order_id])
    assert script.cancelled() == resting
    assert {row.client_order_id for row in script.rows(CancelAwaited)} == set(on_their_way)
    (after,) = script.placed()
    script.on(acked(after)).on(seen(after, "new"))
    assert script.cancelled() == []
    for order, told in ((sending, acked(sending)), (unknown, seen(unknown, "new")), (put, acked(put))):
        script.on(told)
        assert script.cancelled() == [order.client_order_id]
    script.wait(2_000)
    assert (script.placed(), script.order(after).state, script.state(trade_id)) == ([], "WORKING", "OPENING")
    assert script.refolded().book == script.core.book


def test_an_order_on_its_way_is_withdrawn_on_arrival_also_when_execution_was_restarted_in_between() -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("1", "980"),))
    (bid,) = script.placed()
    change(script, trade_id, cancel_all=True)
    script.restarted()
    script.snapshot()
    script.wait(1_000)
    script.cancelled()
    script.on(seen(bid, "new"))
    assert script.cancelled() == [bid.client_order_id]


def test_a_cancel_that_did_not_end_an_order_is_asked_for_again() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    change(script, trade_id, cancel_all=True)
    assert script.cancelled() == [bid.client_order_id]
    script.wait(3_000)
    script.on(
        OrderQueried(client_order_id=bid.client_order_id, asked_ns=script.now_ns, order=seen(bid, "new"), fills=())
    )
    assert script.cancelled() == [bid.client_order_id]


def test_a_cancel_of_all_on_a_symbol_leaves_the_others_and_names_what_is_no_leg() -> None:
    script = Script().started()
    trade_id = quoting(script, leg(CALL, "buy", "5"), leg(PUT, "buy", "5"))
    call, put = place(script, trade_id, wish("1", "980"), wish("1", "800", symbol=PUT))
    answer = change(script, trade_id, cancel_symbols=(PUT, "BTCUSD"))
    assert [(each.client_order_ids, each.code) for each in answer.cancelled] == [
        ((put.client_order_id,), ""),
        ((), "outside_grant"),
    ]
    assert script.cancelled() == [put.client_order_id]
    script.wait(2_000)
    assert script.order(call).state == "WORKING"


def test_an_order_on_its_way_is_not_left_by_a_persons_cancel_of_its_symbol() -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("1", "980"),))
    (bid,) = script.placed()
    assert script.cancel(symbol=CALL).client_order_ids == (bid.client_order_id,)
    script.on(acked(bid))
    assert script.cancelled() == [bid.client_order_id]
    assert codes(change(script, trade_id, place=(wish("1", "970"),))) == [""]


def test_a_close_is_not_held_up_by_a_cancel_of_all() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    script.close(trade_id)
    script.wait(1_000)
    (sale,) = script.placed()
    script.on(acked(sale))
    (answer,) = change(script, trade_id, cancel_all=True).cancelled
    assert (answer.code, script.cancelled()) == ("not_quoting", [])


def test_a_refusal_for_want_of_margin_ends_that_order_alone() -> None:
    script = Script().started()
    trade_id = quoting(script)
    answer = change(script, trade_id, place=(wish("1", "980"), wish("1", "970")))
    first, second = (number for each in answer.placed for number in each.client_order_ids)
    script.on(OrderRefused(client_order_id=first, kind="rejected", code=10529, text="no margin"))
    script.on(OrderRefused(client_order_id=second, kind="rejected", code=0, text="not sent: no margin"))
    assert [script.core.book.orders[number].state for number in (first, second)] == ["REFUSED", "REFUSED"]
    assert script.state(trade_id) == "OPENING"
    assert codes(change(script, trade_id, place=(wish("5", "970"),))) == [""]


@pytest.mark.parametrize("what", ["market", "host"])
def test_no_order_rests_on_stale_prices_or_without_a_strategy(what: str) -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    if what == "market":
        script.market_on = False
    else:
        script.host_on = False
    script.wait(12_000)
    assert script.cancelled() == [bid.client_order_id]
    assert script.state(trade_id) == "OPENING"
    script.on(gone(script, bid.client_order_id))
    script.market_on = script.host_on = True
    script.wait(2_000)
    assert codes(change(script, trade_id, place=(wish("1", "980"),))) == [""]


@pytest.mark.parametrize("why", ["halt", "risk", "deadline", "cancel"])
def test_when_quoting_ends_orders_are_withdrawn_and_what_is_held_stays(why: str) -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    (bid,) = place(script, trade_id, wish("1", "980"))
    if why == "halt":
        script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="operator"))
    elif why == "risk":
        script.risk_on = False
        script.wait(5_000)
    elif why == "deadline":
        for _ in range(125):
            script.wait(5_000)
            script.snapshot(positions=script.positions(), orders=[seen(bid, "new")])
    else:
        script.cancel(trade_id=trade_id)
    assert bid.client_order_id in script.cancelled()
    script.on(gone(script, bid.client_order_id))
    script.wait(5_000)
    assert (script.state(trade_id), script.held(trade_id)) == ("PARTIALLY_OPEN", [D(2)])
    refused = change(script, trade_id, place=(wish("1", "980"),))
    assert codes(refused) == ["not_quoting"]


def test_quoting_that_ends_flat_is_closed_and_one_without_a_fill_has_failed() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    (offer,) = place(script, trade_id, wish("2", "1010", "sell"))
    script.on(fill(offer, 2)).on(seen(offer, "filled", "2"))
    script.cancel(trade_id=trade_id)
    script.wait(5_000)
    assert script.state(trade_id) == "CLOSED"
    empty = quoting(script, ordinal=1)
    script.cancel(trade_id=empty)
    script.wait(5_000)
    assert script.state(empty) == "FAILED"


def test_a_close_withdraws_every_order_and_sells_what_is_held() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    place(script, trade_id, wish("1", "980"), wish("2", "1050", "sell"))
    script.close(trade_id)
    for _ in range(60):
        for number in script.cancelled():
            script.on(gone(script, number))
        for order in script.placed():
            assert (order.side, order.reduce_only) == ("sell", True)
            script.fills_all(order, 100)
        script.wait(1_000)
        if script.state(trade_id) == "CLOSED":
            break
    assert (script.state(trade_id), script.held(trade_id)) == ("CLOSED", [D(0)])


def test_cancels_by_symbol_and_strategy_leave_the_others_and_a_symbol_goes_on_quoting() -> None:
    script = Script().started()
    mine = quoting(script)
    other = quoting(script, leg(PUT, "buy", "1"), strategy="other")
    (bid,) = place(script, mine, wish("1", "980"))
    request = ChangeOrders(
        trade_id=other, strategy="other", valid_until_ns=script.now_ns + SECOND, place=(wish("1", "800", symbol=PUT),)
    )
    script.ask(request)
    (put,) = script.placed()
    script.on(acked(put))
    assert script.cancel(symbol=CALL).client_order_ids == (bid.client_order_id,)
    assert codes(change(script, mine, place=(wish("1", "970"),))) == [""]
    assert script.cancel(strategy="other").client_order_ids == (put.client_order_id,)
    assert script.core.book.trades[other].stop is not None
    assert script.core.book.trades[mine].stop is None


def test_a_trade_of_another_mode_or_strategy_is_not_touched() -> None:
    script = Script().started()
    by_limit = script.open(leg(CALL, "buy"))
    assert isinstance(answer := change(script, by_limit, place=(wish("1", "980"),)), Refusal)
    assert answer.code == "not_quoting"
    mine = quoting(script, leg(PUT, "buy"), ordinal=1)
    thief = ChangeOrders(trade_id=mine, strategy="thief", valid_until_ns=script.now_ns + SECOND)
    assert script.ask(thief).code == "no_such_trade"


def test_after_a_restart_what_rests_is_withdrawn_until_the_venue_is_known_and_then_quoting_goes_on() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    script.restarted()
    assert script.cancelled() == [bid.client_order_id]
    assert codes(change(script, trade_id, place=(wish("1", "980"),))) == ["not_ready"]
    script.snapshot(orders=[seen(bid, "new")])
    assert codes(change(script, trade_id, place=(wish("4", "970"), wish("0.01", "970")))) == ["", "outside_grant"]


def test_after_a_restart_nothing_is_quoted_before_risk_was_heard() -> None:
    script = Script().started()
    trade_id = quoting(script)
    script.risk_on = False
    script.restarted().snapshot()
    (refused,) = change(script, trade_id, place=(wish("1", "990"),)).placed
    assert (refused.code, "not heard" in refused.detail, script.placed()) == ("not_ready", True, [])
    script.inbound(beat("risk", script.now_ns))
    assert codes(change(script, trade_id, place=(wish("1", "990"),))) == [""]


def test_no_order_rests_while_the_private_stream_is_down() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    script.on(StreamDown(reason="gone"))
    assert script.cancelled() == [bid.client_order_id]


def test_two_labels_that_crossed_do_not_share_room_that_only_one_of_them_has() -> None:
    script = Script().started()
    trade_id = quoting(script)
    first, second = place(script, trade_id, wish("2.5", "1015", label="a"), wish("2.5", "1015", label="b"))
    for order in (first, second):
        script.on(gone(script, order.client_order_id))
    script.wait(300)
    place(script, trade_id, wish("2", "980", label="c"))
    script.wait(5_000)
    again = script.placed()
    assert [order.quantity for order in again] == [D("2.5")]


def test_what_came_back_after_another_took_its_place_is_withdrawn_until_all_is_within_the_grant() -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("5", "980", label="a"),))
    (lost,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=lost.client_order_id, reason="no answer"))
    for _ in range(30):
        script.wait(1_000)
        if script.queries():
            script.queried(lost, None)
    assert script.core.book.orders[lost.client_order_id].state == "NEVER_PLACED"
    (second,) = place(script, trade_id, wish("5", "985"))
    script.on(seen(lost, "new"))
    assert script.cancelled() == [second.client_order_id]


@pytest.mark.parametrize(
    ("side", "price", "code"), [("sell", "700", "beyond_bound"), ("buy", "1190", ""), ("sell", "800", "")]
)
def test_no_price_is_taken_that_is_far_past_mark(side: Side, price: str, code: str) -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    assert codes(change(script, trade_id, place=(wish("1", price, side, post_only=False),))) == [code]


def test_a_grant_that_is_hours_old_does_not_let_an_order_pay_what_mark_has_left_behind() -> None:
    script = Script().started()
    trade_id = quoting(script)
    script.chain_options = {"marks": {**MARKS, CALL: 300.0}}
    script.wait(2_000)
    assert codes(change(script, trade_id, place=(wish("1", "1190", post_only=False),))) == ["beyond_bound"]


def test_what_the_turnover_loses_with_fees_is_bounded_by_what_risk_has_judged() -> None:
    script = Script().started()
    five = leg(CALL, "buy", "5")
    granted = intent(five).grant
    bounded = signed(msgspec.structs.replace(granted, max_loss_usd=100.0, signature=""), KEY)
    trade_id = quoting(script, five, grant=bounded)
    holding(script, trade_id, "2")
    (offer,) = place(script, trade_id, wish("1", "880", "sell", post_only=False))
    script.on(fill(offer, 2)).on(seen(offer, "filled", "1"))
    script.wait(1_000)
    close = script.core.book.trades[trade_id].close
    assert close is not None
    assert "loss" in close.reason


@pytest.mark.parametrize(("fee", "closes"), [("10", False), ("25", True)])
def test_fees_of_the_turnover_are_part_of_the_loss_that_ends_it(fee: str, closes: bool) -> None:
    script = Script().started()
    five = leg(CALL, "buy", "5")
    granted = intent(five).grant
    bounded = signed(msgspec.structs.replace(granted, max_loss_usd=100.0, signature=""), KEY)
    trade_id = quoting(script, five, grant=bounded)
    (bid,) = place(script, trade_id, wish("1", "990"))
    script.on(fill(bid, 1, fee=fee)).on(seen(bid, "filled", "1"))
    (offer,) = place(script, trade_id, wish("1", "920", "sell", post_only=False))
    script.on(fill(offer, 2, fee=fee)).on(seen(offer, "filled", "1"))
    script.wait(1_000)
    # 70 lost by price, before fees
    assert (script.core.book.trades[trade_id].close is not None) == closes


def test_a_flatten_halt_closes_what_is_held_although_an_order_is_unknown() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    change(script, trade_id, place=(wish("1", "980"),))
    (lost,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=lost.client_order_id, reason="no answer"))
    script.ask(RaiseHalt(level="flatten", reason="enough", requested_by="operator"))
    assert script.state(trade_id) == "PENDING_CLOSE"
    for _ in range(40):
        script.wait(5_000)
        script.queried(lost, None)
        if script.placed():
            break
    assert script.state(trade_id) == "CLOSING"


def test_a_close_does_not_wait_behind_the_strategys_own_offer() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "5")
    (offer,) = place(script, trade_id, wish("0.1", "1000", "sell"))
    script.close(trade_id)
    assert script.cancelled() == [offer.client_order_id]
    script.on(gone(script, offer.client_order_id))
    script.wait(1_500)
    (closing,) = script.placed()
    assert closing.quantity == D(5)


def test_an_offer_that_turns_up_after_quoting_has_ended_is_withdrawn_and_a_flat_trade_is_closed() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id, "2")
    (offer,) = place(script, trade_id, wish("2", "1010", "sell"))
    script.cancel(trade_id=trade_id)
    script.on(gone(script, offer.client_order_id))
    script.wait(5_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    script.on(fill(offer, 2))
    script.wait(5_000)
    assert script.state(trade_id) == "CLOSED"


def test_a_hand_cancel_far_from_the_market_is_not_fought() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "980", label="a"))
    script.wait(2_000)
    script.on(gone(script, bid.client_order_id))
    script.wait(10_000)
    assert script.placed() == []


def test_refused_for_want_of_margin_is_not_tried_again() -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("1", "1015", label="a"),))
    (bid,) = script.placed()
    script.on(OrderRefused(client_order_id=bid.client_order_id, kind="rejected", code=10529, text="no margin"))
    script.wait(10_000)
    assert script.placed() == []


def test_a_request_of_which_nothing_was_taken_leaves_no_row() -> None:
    script = Script().started()
    trade_id = quoting(script)
    before = len(script.entries)
    assert codes(change(script, trade_id, place=(wish("9", "980"),))) == ["outside_grant"]
    assert len(script.entries) == before


def test_a_quantity_above_the_largest_order_is_split() -> None:
    script = Script().started()
    trade_id = quoting(script, leg(CALL, "buy", "2500"))
    answer = change(script, trade_id, place=(wish("2500", "980"),))
    (batch,) = script.take(PlaceBatch)
    assert [order.quantity for order in batch.orders] == [D(1000), D(1000), D(500)]
    assert answer.placed[0].client_order_ids == tuple(order.client_order_id for order in batch.orders)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["bid", "offer", "fill", "part", "cancel", "gone", "wait"]),
        st.integers(1, 400).map(lambda lots: D(lots) / 100),
        st.integers(0, 5),
    ),
    max_size=30,
)


@given(STEPS)
@settings(max_examples=60)
def test_whatever_is_asked_and_filled_the_holding_stays_between_nothing_and_the_grant(
    steps: list[tuple[str, D, int]],
) -> None:
    script = Script().started()
    trade_id = quoting(script)
    resting: list[tuple[NewOrder, D]] = []
    number = 0
    for what, quantity, which in steps:
        if what in ("bid", "offer"):
            side: Side = "buy" if what == "bid" else "sell"
            # a bid at 1,015 crosses: some are ended by the venue and tried again
            change(script, trade_id, place=(wish(str(quantity), "1015", side, label=f"{which}"),))
            for order in script.placed():
                script.on(acked(order))
                resting.append((order, order.quantity))
        elif what in ("fill", "part") and resting:
            order, left = resting.pop(which % len(resting))
            part = left if what == "fill" or left <= D("0.01") else D("0.01")
            number += 1
            script.on(fill(order, number, part))
            if left > part:
                resting.append((order, left - part))
        elif what == "cancel" and resting:
            change(script, trade_id, cancel=(resting[which % len(resting)][0].client_order_id,))
        elif what == "gone" and resting:
            order, _ = resting.pop(which % len(resting))
            script.on(gone(script, order.client_order_id))
        elif what == "wait":
            script.wait(500)
        trade = script.core.book.trades[trade_id]
        held = trade.legs[0].held_quantity
        open_bids = sum((left for order, left in resting if order.side == "buy"), D(0))
        open_offers = sum((left for order, left in resting if order.side == "sell"), D(0))
        assert open_offers <= held
        assert held + open_bids <= 5
    assert len({row.client_order_id for row in script.rows(OrderRequested)}) == len(script.rows(OrderRequested))
    assert len(script.rows(FillSeen)) == number
    assert script.refolded().book == script.core.book


def test_nothing_is_quoted_in_an_option_that_no_longer_trades() -> None:
    script = Script(begins_ns=EXPIRY_NS - 30 * 60 * SECOND).started()
    trade_id = quoting(script, deadline_ns=EXPIRY_NS)
    (bid,) = place(script, trade_id, wish("1", "980"))
    script.wait(16 * 60 * 1_000)
    assert bid.client_order_id in script.cancelled()


def test_a_cancel_by_symbol_promises_nothing_of_an_order_that_closes_the_trade_and_is_on_its_way() -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id)
    script.close(trade_id)
    script.wait(1_000)
    (order,) = script.placed()
    answer = script.cancel(symbol=CALL)
    assert order.client_order_id not in answer.client_order_ids
    assert script.rows(CancelAwaited) == []
    script.on(acked(order)).on(seen(order, "new"))
    assert script.cancel(symbol=CALL).client_order_ids == (order.client_order_id,)
    assert script.cancelled() == [order.client_order_id]

"""How a trade is closed: what is sent, in which order, at which price, and what happens when it does not work."""

from __future__ import annotations

from decimal import Decimal as D

from services.execution.config import ExecutionConfig
from services.execution.rows import OrderRequested
from shared.messages.trades import ListOrders
from shared.messages.venue import OrderRefused, OutcomeUnknown
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    MARKS,
    MS,
    PUT,
    Script,
    acked,
    fill,
    gone,
    leg,
    position,
    seen,
)


def test_the_staircase_goes_from_mark_to_mid_to_crossing() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    # mark 1000, bid 1005, ask 1025
    script.chain_options = {"marks": {**MARKS, CALL: 1015.0}, "half_spread": 10.0}
    script.market()
    script.close(trade_id)
    prices = []
    for step in range(3):
        (order,) = script.placed()
        prices.append(order.price)
        script.on(acked(order))
        marks = {**MARKS, CALL: 1020.0 + step}
        script.chain_options = {"marks": marks}
        script.wait(6_000)
        if step < 2:
            assert script.cancelled() == [order.client_order_id]
            script.cancels_all(order)
    assert prices == [D(1015), D(1020), D(1041)]


def test_a_close_never_crosses_past_the_bound_and_alarms_instead() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.chain_options = {"half_spread": 400.0}
    script.market()
    script.close(trade_id)
    highest = D(0)
    for _ in range(30):
        for order in script.placed():
            highest = max(highest, order.price)
            script.on(acked(order))
        script.wait(2_000)
        for number in script.cancelled():
            script.on(gone(script, number))
    assert highest == D(1250)
    assert "close_beyond_bound" in script.alerts()


def test_closing_twice_is_closing_once() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    first = script.close(trade_id)
    second = script.close(trade_id)
    assert (first.state, second.state) == ("PENDING_CLOSE", "CLOSING")
    assert len(script.placed()) == 1
    (order,) = script.ask(ListOrders(trade_id=trade_id)).orders
    assert order.purpose == "close"


def test_closing_while_opening_waits_for_the_cancel_and_closes_what_was_filled() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, "0.3"))
    assert script.close(trade_id).state == "PENDING_CLOSE"
    assert script.cancelled() == [order.client_order_id]
    assert script.placed() == []
    script.on(seen(order, "cancelled", "0.5"))
    assert script.placed() == []
    script.on(fill(order, 2, "0.2"))
    (back,) = script.placed()
    assert (back.side, back.quantity, back.reduce_only) == ("sell", D("0.5"), True)
    script.fills_all(back, 3)
    assert script.state(trade_id) == "CLOSED"


def test_closing_before_anything_was_filled_fails_the_trade() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.close(trade_id)
    script.cancels_all(order)
    assert script.state(trade_id) == "FAILED"


def test_a_close_asked_for_before_the_venue_is_known_is_remembered_and_done_after() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.restarted()
    assert script.close(trade_id).state == "PENDING_CLOSE"
    assert script.placed() == []
    script.restarted()
    assert script.placed() == []
    script.wait(1_000)
    script.snapshot(positions=[position(CALL, "1")])
    assert [order.side for order in script.placed()] == ["sell"]


def test_a_long_that_covers_an_unpriced_short_stays_while_other_legs_close() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(HIGH_CALL, "buy"), leg(PUT, "sell"))
    script.chain_options = {"markless": [CALL], "bookless": [CALL]}
    script.wait(6_000)
    script.close(trade_id)
    (put,) = script.placed()
    assert put.symbol == PUT
    script.fills_all(put, 77)
    script.wait(16_000)
    assert script.placed() == []
    assert "close_unpriced" in script.alerts()
    script.chain_options = {}
    script.wait(2_000)
    assert [order.symbol for order in script.placed()] == [CALL]


def test_a_close_is_priced_from_the_venues_position_when_market_data_is_dead() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.market_on = False
    script.wait(7_000)
    script.fetches()
    script.close(trade_id)
    assert script.placed() == []
    assert script.fetches() == ["unpriced"]
    script.snapshot(positions=[position(CALL, "1", 970.0)])
    assert [(order.side, order.price) for order in script.placed()] == [("sell", D(970))]


def test_the_close_is_no_larger_than_the_venues_position() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.wait(10_000)
    script.snapshot(positions=[position(CALL, "0.4", 1000.0)])
    script.close(trade_id)
    (order,) = script.placed()
    assert order.quantity == D("0.4")


def test_two_trades_on_one_symbol_close_only_their_own() -> None:
    script = Script().started()
    first = script.opened(leg(CALL, "sell", "1"))
    script.opened(leg(CALL, "sell", "2"), ordinal=1)
    script.close(first)
    (order,) = script.placed()
    assert order.quantity == D(1)


def test_reduce_only_refused_leads_to_a_comparison_and_not_to_a_loop() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    (order,) = script.placed()
    script.fetches()
    script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10536, text="no position"))
    script.wait(1_000)
    assert script.fetches() == ["reduce_only_refused"]
    script.wait(20_000)
    assert script.placed() == []
    script.snapshot()
    script.wait(3_000)
    script.snapshot()
    assert script.state(trade_id) == "CLOSED"
    assert "leg_closed_outside" in script.alerts()
    assert script.placed() == []


def test_a_price_refused_by_the_venues_band_is_put_back_to_mark() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.chain_options = {"half_spread": 100.0}
    script.market()
    script.close(trade_id)
    for _ in range(2):
        (order,) = script.placed()
        script.on(acked(order))
        script.chain_options["half_spread"] += 1
        script.chain_options["marks"] = {**MARKS, CALL: script.chain_options.get("marks", MARKS)[CALL] + 3}
        script.wait(5_500)
        script.cancels_all(order)
    (crossing,) = script.placed()
    assert crossing.price < D(950)
    script.on(OrderRefused(client_order_id=crossing.client_order_id, kind="rejected", code=10532, text="too low"))
    script.wait(2_000)
    (again,) = script.placed()
    assert again.price >= D(1000)


def test_attempts_are_bounded_then_broken_alarmed_and_retried_slowly() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    for _ in range(400):
        for order in script.placed():
            script.on(
                OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10609, text="suspended")
            )
        script.wait(1_000)
    assert script.state(trade_id) == "BROKEN"
    assert "trade_broken" in script.alerts()
    sent = len(script.rows(OrderRequested))
    assert sent < 20
    script.wait(3_600_000)
    for order in script.placed():
        script.on(acked(order))
    assert len(script.rows(OrderRequested)) <= sent + 1


def test_so_many_orders_in_vain_break_a_close_long_before_its_time_is_up() -> None:
    script = Script(ExecutionConfig(close_attempts_max=3, close_patience_ms=3_600_000)).started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    sent = 0
    for _ in range(60):
        for order in script.placed():
            sent += 1
            script.on(
                OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10609, text="suspended")
            )
        if script.state(trade_id) == "BROKEN":
            break
        script.wait(1_000)
    assert (script.state(trade_id), sent) == ("BROKEN", 3)
    assert "not closed in 3 orders" in script.trade(trade_id).reason


def test_a_broken_close_that_fills_after_all_is_closed_and_the_alarm_resolved() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    (order,) = script.placed()
    script.on(acked(order)).wait(200_000)
    for number in script.cancelled():
        script.on(gone(script, number))
    script.wait(40_000)
    assert script.state(trade_id) in ("BROKEN", "CLOSING")
    for each in script.placed():
        script.fills_all(each, 99)
    assert script.state(trade_id) == "CLOSED"


def test_cancelling_orders_stops_an_opening_and_only_delays_a_close() -> None:
    script = Script().started()
    opening = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    assert script.cancel(trade_id=opening).client_order_ids == (order.client_order_id,)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order)
    script.wait(2_500)
    assert script.trade(opening).state == "FAILED"
    assert "cancelled by operator" in script.trade(opening).reason

    closing = script.opened(leg(PUT, "buy"), ordinal=1)
    script.close(closing)
    (order,) = script.placed()
    script.on(acked(order))
    assert script.cancel().client_order_ids == (order.client_order_id,)
    script.cancels_all(order)
    script.wait(1_000)
    assert len(script.placed()) == 1
    assert script.state(closing) == "CLOSING"


def test_an_opening_order_of_unknown_outcome_holds_back_the_close_of_its_leg_only() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"))
    first, second = script.placed()
    script.fills_all(first, 1)
    script.on(OutcomeUnknown(client_order_id=second.client_order_id, reason="time-out"))
    script.close(trade_id)
    assert script.placed() == []
    script.queried(second, None)
    assert script.state(trade_id) == "PENDING_CLOSE"
    script.wait(8_000)
    script.queried(second, None)
    assert script.core.book.orders[second.client_order_id].state == "NEVER_PLACED"
    assert [order.symbol for order in script.placed()] == [CALL]


def test_time_of_a_snapshot_before_the_last_fill_does_not_shrink_a_close() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    script.now_ns += 10 * MS
    script.snapshot(positions=[])
    script.close(trade_id)
    assert [each.quantity for each in script.placed()] == [D(1)]


def test_a_leg_without_a_book_is_closed_at_mark_then_within_the_bound() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.chain_options = {"bookless": [CALL]}
    script.market()
    script.close(trade_id)
    (order,) = script.placed()
    assert order.price == D(1000)
    # the middle of a book that is not there is mark: the order stays where it is for two steps, and for a third one
    # in case somebody comes back
    script.on(acked(order)).wait(14_000)
    assert script.cancelled() == []
    assert "close_beyond_bound" in script.alerts()
    script.wait(2_000)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order).wait(1_100)
    assert [order.price for order in script.placed()] == [D(1250)]


def test_quotes_that_are_taken_back_for_a_moment_do_not_bring_a_close_to_its_bound() -> None:
    """It would rest there, and trade there with the first maker who is back."""
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    (order,) = script.placed()
    script.on(acked(order)).wait(9_500)
    lowest = order.price
    script.chain_options = {"bookless": [CALL]}
    for half_seconds in range(20):
        if half_seconds == 9:
            script.chain_options = {}
        script.wait(500)
        for number in script.cancelled():
            script.on(gone(script, number))
        for placed in script.placed():
            lowest = min(lowest, placed.price)
            script.on(acked(placed))
    assert D(970) < lowest < D(1000), "across the spread of a book that is there again, and no further"


def test_a_leg_that_has_no_price_at_all_is_alarmed_and_retried_while_the_other_closes() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    script.chain_options = {"bookless": [CALL], "markless": [CALL]}
    # until the mark that the venue's position carried is old too
    script.wait(6_000)
    script.close(trade_id)
    (order,) = script.placed()
    assert order.symbol == PUT
    script.fills_all(order, 900)
    script.wait(16_000)
    assert script.placed() == []
    assert "close_unpriced" in script.alerts()
    assert script.held(trade_id) == [D(1), D(0)]
    script.chain_options = {}
    script.wait(2_000)
    (last,) = script.placed()
    script.fills_all(last, 901)
    assert (script.state(trade_id), script.held(trade_id)) == ("CLOSED", [D(0), D(0)])

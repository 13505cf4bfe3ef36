"""Incidents of other trading systems, each as a test that this desk does not have it."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from services.execution.effects import FetchSnapshot
from services.execution.rows import FillSeen, OrderRequested
from shared.messages.control import RaiseHalt
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.steps import LoopStalled
from shared.messages.trades import CloseTrade, TradeAccepted
from shared.messages.venue import OrderQueryFailed, OrderRefused, OutcomeUnknown, StreamUp
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    PUT,
    SECOND,
    T0,
    Script,
    acked,
    fill,
    gone,
    intent,
    leg,
    position,
    seen,
)


def test_timeout_after_acceptance_does_not_duplicate() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    script.wait(4_000)
    script.queried(order, seen(order, "filled", "1"), fill(order, 1))
    script.wait(60_000)
    assert script.placed() == []
    assert script.held(trade_id) == [D(1)]


def test_dns_outage_does_not_declare_accepted_orders_failed() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"))
    orders = script.placed()
    for order in orders:
        script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="name resolution"))
    for _ in range(120):
        for number in script.queries():
            script.on(OrderQueryFailed(client_order_id=number, reason="name resolution"))
        script.wait(1_000)
    assert script.state(trade_id) == "OPENING"
    for number, order in enumerate(orders, 1):
        script.queried(order, seen(order, "filled", "1"), fill(order, number))
    assert script.held(trade_id) == [D(1), D(1)]


def test_restart_does_not_discard_live_orders_nor_duplicate_them() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    for _ in range(3):
        script.restarted()
        script.wait(1_000)
        script.snapshot(orders=[seen(order, "new")])
        assert script.placed() == []
        assert list(script.core.book.unsettled) == [order.client_order_id]
    script.fills_all(order, 1)
    assert script.state(trade_id) == "OPEN"


def test_warm_restart_does_not_flatten_a_position() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.restarted()
    script.wait(1_000)
    script.taken([position(CALL, "1")])
    script.wait(30_000)
    assert script.state(trade_id) == "OPEN"
    assert script.placed() == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_position_older_than_the_venues_history_is_neither_broken_nor_closed(restart: bool) -> None:
    """After 100 days no list of the venue shows its orders or fills any more, and one fee was never told."""
    held_ns = 100 * 86_400 * SECOND
    script = Script(expiry_ns=T0 + 2 * held_ns).started()
    trade_id = script.open(leg(CALL, "buy"), leg(HIGH_CALL, "sell"))
    for _ in range(2):
        for number, order in enumerate(script.placed()):
            script.on(acked(order)).on(fill(order, order.client_order_id + number, fee=None))
            script.on(seen(order, "filled", "1"))
    assert script.state(trade_id) == "OPEN"
    script.wait(5_000)
    script.snapshot(positions=script.positions())
    script.effects.clear()
    script.now_ns += held_ns
    if restart:
        script.restarted()
    else:
        script.on(LoopStalled(gap_ns=held_ns))
        script.market()
        script.beats()
    (fetch,) = script.take(FetchSnapshot)
    assert fetch.since_ns > T0 + 86_400 * SECOND
    for _ in range(3):
        script.snapshot(positions=script.positions())
        script.wait(5_000)
    assert [report.differences for report in script.published(ReconciliationReport)] == [()] * 3
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1), D(1)])
    assert (script.placed(), script.alerts()) == ([], [])
    script.close(trade_id)
    (back,) = script.placed()
    assert (back.symbol, back.quantity, back.reduce_only) == (HIGH_CALL, D(1), True)


def test_fills_replayed_at_restart_are_counted_once() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    script.restarted()
    script.wait(1_000)
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1)], positions=[position(CALL, "1")])
    script.on(fill(order, 1))
    assert script.held(trade_id) == [D(1)]
    assert len(script.rows(FillSeen)) == 1


def test_stream_fill_and_reconciled_fill_are_not_counted_twice() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, "0.5", fee=None))
    script.snapshot(orders=[seen(order, "partial", "0.5")], fills=[fill(order, 1, "0.5")])
    script.queried(order, seen(order, "partial", "0.5"), fill(order, 1, "0.5"))
    assert script.held(trade_id) == [D("0.5")]


def test_fills_during_a_disconnect_are_requested_after_the_reconnect() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(2_000)
    script.fetches()
    script.on(StreamUp())
    assert script.fetches() == ["stream_up"]
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1)])
    assert script.state(trade_id) == "OPEN"


def test_a_healthy_looking_stream_that_drops_fills_is_caught_by_the_poll() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(61_000)
    assert "regular" in script.fetches()
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1)])
    assert script.state(trade_id) == "OPEN"
    assert [d.kind for d in script.published(ReconciliationReport)[-1].differences] == ["missed_fill"]


def test_close_that_fails_to_confirm_does_not_open_the_position_repeatedly() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.close(trade_id)
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    script.wait(120_000)
    assert script.placed() == []
    script.queried(order, seen(order, "filled", "1"), fill(order, 9))
    assert script.state(trade_id) == "CLOSED"
    assert all(row.reduce_only for row in script.rows(OrderRequested) if row.purpose != "open")


def test_a_close_after_a_cancelled_close_is_not_given_the_first_ones_answer_or_order() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    target = CloseTrade(trade_id=trade_id, reason="target", requested_by="strategy demo")
    stop = CloseTrade(trade_id=trade_id, reason="stop", requested_by="operator")
    taken = script.ask(target, "close-1")
    (first,) = script.placed()
    script.on(acked(first))
    script.cancel(trade_id=trade_id)
    script.cancels_all(first)
    assert (taken.state, script.ask(stop, "close-2").state) == ("PENDING_CLOSE", "CLOSING")
    script.wait(1_000)
    (second,) = script.placed()
    assert second.client_order_id != first.client_order_id
    assert (second.side, second.quantity, second.reduce_only) == ("sell", D(1), True)
    assert script.ask(target, "close-1") == taken
    script.fills_all(second, 99)
    assert script.state(trade_id) == "CLOSED"
    assert script.ask(stop, "close-3").state == "CLOSED"
    assert script.placed() == []


def test_kill_switch_stops_placing_orders_in_every_state() -> None:
    script = Script().started()
    script.open(leg(CALL, "sell"), leg(HIGH_CALL, "buy"))
    (wing,) = script.placed()
    script.on(acked(wing))
    script.ask(RaiseHalt(level="cancel_all", reason="kill", requested_by="operator"))
    assert script.cancelled() == [wing.client_order_id]
    script.on(gone(script, wing.client_order_id))
    script.wait(30_000)
    assert script.placed() == []


def test_filled_then_cancelled_on_exchange_is_not_placed_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1)).on(seen(order, "cancelled", "1"))
    script.wait(10_000)
    assert script.state(trade_id) == "OPEN"
    assert script.placed() == []


def test_order_not_found_does_not_loop_for_ever() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    asked = 0
    for _ in range(15):
        for _number in script.queries():
            asked += 1
            script.queried(order, None)
        script.wait(1_000)
    assert script.order(order).state == "NEVER_PLACED"
    assert asked < 10
    (again,) = script.placed()
    script.fills_all(again, 1)
    assert script.state(trade_id) == "OPEN"


def test_liquidation_of_one_leg_is_seen_and_the_orphan_is_closed() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(HIGH_CALL, "buy"))
    left = [position(HIGH_CALL, "1")]
    for _ in range(2):
        script.wait(4_000)
        script.taken(left)
    assert script.state(trade_id) == "BROKEN"
    assert [(order.symbol, order.side) for order in script.placed()] == [(HIGH_CALL, "sell")]


def test_close_with_one_leg_unpriced_closes_the_others_and_never_doubles() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    script.chain_options = {"markless": [PUT], "bookless": [PUT]}
    script.wait(6_000)
    script.close(trade_id)
    (call,) = script.placed()
    script.fills_all(call, 700)
    script.wait(60_000)
    assert script.placed() == []
    assert script.held(trade_id) == [0, D(1)]
    assert "close_unpriced" in script.alerts()


def test_fill_just_after_the_last_phase_timed_out_is_not_a_failed_trade() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(101_000)
    script.on(seen(order, "cancelled", "0"))
    script.wait(1_500)
    script.on(fill(order, 1))
    script.wait(10_000)
    assert script.state(trade_id) == "OPEN"


def test_a_quota_gate_or_restart_does_not_open_a_second_position() -> None:
    script = Script().started()
    wanted = intent(leg(CALL, "buy"))
    first = script.ask(wanted)
    assert isinstance(first, TradeAccepted)
    (order,) = script.placed()
    script.fills_all(order, 1)
    for _ in range(3):
        script.restarted()
        script.wait(1_000)
        script.taken([position(CALL, "1")])
        assert script.ask(wanted) == first
    assert len(script.rows(OrderRequested)) == 1


def test_a_duplicate_client_id_answer_is_not_taken_for_a_refusal_of_the_order() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10577, text="duplicate"))
    assert script.order(order).state == "WORKING"


def test_a_suspended_process_compares_before_any_timer_fires() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(2_000)
    script.now_ns += 3_600 * SECOND
    script.on(LoopStalled(gap_ns=3_600 * SECOND))
    assert script.cancelled() == []
    assert script.fetches() == ["stall"]
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1)])
    assert script.state(trade_id) == "OPEN"


def test_a_position_foreign_to_the_desk_does_not_stop_the_close_of_its_own() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    for _ in range(2):
        script.wait(4_000)
        script.snapshot(positions=[position(CALL, "3", 1000.0)])
    script.close(trade_id)
    assert [order.quantity for order in script.placed()] == [D(1)]

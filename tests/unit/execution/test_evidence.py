"""Unknown outcomes: what is asked, what counts as an answer, and that nothing is ever sent twice."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from services.execution.rows import OrderRequested
from shared.messages.steps import LoopStalled
from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    OrderQueryFailed,
    OrderRefused,
    OutcomeUnknown,
)
from tests.unit.execution.play import CALL, MS, Script, acked, fill, leg, seen


def test_an_unknown_order_is_queried_at_once_and_never_sent_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    assert script.order(order).state == "UNKNOWN"
    assert script.queries() == [order.client_order_id]
    script.wait(600_000)
    assert script.placed() == []
    assert len(script.rows(OrderRequested)) == 1
    assert script.state(trade_id) == "OPENING"
    assert "order_unresolved" in script.alerts()


def test_an_order_found_at_the_venue_goes_on_as_if_it_had_been_acknowledged() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    script.queried(order, seen(order, "partial", "0.4"), fill(order, 1, "0.4"))
    assert script.order(order).state == "WORKING"
    assert script.held(trade_id) == [D("0.4")]
    script.on(fill(order, 2, "0.6"))
    assert script.state(trade_id) == "OPEN"


def test_absence_counts_only_after_the_requests_validity() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.wait(3_000)
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    script.wait(6_900)
    script.queried(order, None)
    assert script.order(order).state == "UNKNOWN"
    script.wait(200)
    script.queried(order, None, asked_ns=script.now_ns - 500 * MS)
    assert script.order(order).state == "UNKNOWN"
    script.queried(order, None)
    assert script.order(order).state == "NEVER_PLACED"
    script.wait(1_000)
    (again,) = script.placed()
    assert again.client_order_id != order.client_order_id


def test_absence_counts_only_after_the_validity_again_when_the_clock_was_set_forward() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.wait(3_000)
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    # The clock leaps by ten seconds: of the request's validity at the venue none of them has passed.
    script.now_ns += 10_000 * MS
    script.on(LoopStalled(10_000 * MS))
    script.queried(order, None)
    assert script.order(order).state == "UNKNOWN"
    script.wait(6_900)
    script.queried(order, None)
    assert script.order(order).state == "UNKNOWN"
    script.wait(200)
    script.queried(order, None)
    assert script.order(order).state == "NEVER_PLACED"


def test_a_failed_query_says_nothing_and_is_repeated_with_growing_pauses() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    asked = 0
    for _ in range(600):
        for number in script.queries():
            asked += 1
            script.on(OrderQueryFailed(client_order_id=number, reason="down"))
        script.wait(500)
    assert script.order(order).state == "UNKNOWN"
    assert 12 <= asked <= 25


def test_an_order_without_any_outcome_becomes_unknown() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.wait(7_900)
    assert script.order(order).state == "SENDING"
    script.wait(200)
    assert script.order(order).state == "UNKNOWN"
    assert script.queries() == [order.client_order_id]


def test_an_order_that_was_being_sent_when_the_process_died_is_unknown_and_not_sent_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.restarted()
    assert script.order(order).state == "UNKNOWN"
    assert script.placed() == []
    assert script.queries() == [order.client_order_id]
    script.wait(1_000)
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1)])
    assert script.state(trade_id) == "OPEN"
    assert script.placed() == []


@pytest.mark.parametrize("outcome", ["unknown", "refused"])
def test_a_cancel_that_did_not_work_is_settled_by_a_query_and_repeated_only_if_still_open(outcome: str) -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.cancel()
    assert script.cancelled() == [order.client_order_id]
    if outcome == "unknown":
        script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    else:
        script.on(CancelRefused(client_order_id=order.client_order_id, code=10537, text="cancellation failed"))
    assert script.queries() == [order.client_order_id]
    script.queried(order, seen(order, "new"))
    assert script.cancelled() == []  # it may have been read before the cancel took effect
    script.wait(2_000)
    script.queried(order, seen(order, "new"))
    assert script.cancelled() == [order.client_order_id]
    script.queried(order, seen(order, "cancelled"))
    assert script.order(order).state == "CANCELLED"


def test_an_acknowledged_cancel_that_is_not_seen_is_queried() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.cancel()
    script.on(CancelAcked(client_order_id=order.client_order_id))
    assert script.queries() == []
    script.wait(1_600)
    assert script.queries() == [order.client_order_id]


def test_a_late_acknowledgement_or_refusal_of_an_unknown_order_is_its_outcome() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out")).on(acked(order))
    assert script.order(order).state == "WORKING"

    other = Script().started()
    other.open(leg(CALL, "buy"))
    (order,) = other.placed()
    other.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    other.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10558, text="small"))
    assert other.order(order).state == "REFUSED"


def test_a_refusal_of_an_order_that_was_seen_at_the_venue_is_not_believed() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(seen(order, "new"))
    script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10577, text="duplicate"))
    assert script.order(order).state == "WORKING"


def test_an_order_never_placed_that_shows_up_is_alarmed_counted_and_cancelled() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    script.close(trade_id)
    script.wait(7_100)
    script.queried(order, None)
    assert script.state(trade_id) == "FAILED"
    script.effects.clear()
    script.on(seen(order, "new"))
    assert "order_resurrected" in script.alerts()
    assert script.state(trade_id) == "BROKEN"
    assert script.cancelled() == [order.client_order_id]
    script.on(fill(order, 1, "0.2"))
    script.cancels_all(order, "0.2")
    (back,) = script.placed()
    assert (back.quantity, back.reduce_only) == (D("0.2"), True)
    script.fills_all(back, 2)
    assert script.state(trade_id) == "CLOSED"


def test_a_working_order_gone_from_all_lists_is_given_up_only_after_a_long_absence() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.wait(5_000)
    script.snapshot()
    assert script.queries() == [order.client_order_id]
    script.queried(order, None)
    assert script.order(order).state == "WORKING"
    absent_ns = script.now_ns
    while script.order(order).state == "WORKING":
        for _number in script.queries():
            script.queried(order, None)
        script.wait(1_000)
    absent_ms = (script.now_ns - absent_ns) / 1e6
    assert script.config.vanished_after_ms <= absent_ms < script.config.vanished_after_ms + 40_000
    assert script.order(order).state == "CANCELLED"
    assert "order_vanished" in script.alerts()

"""The venue is the truth: when it is compared, what is taken over, and what is only reported."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.execution.effects import FetchSnapshot
from services.execution.rows import LegClosedOutside, OrderRequested
from shared.ids import OrderKey, client_order_id, trade_number
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.steps import LoopStalled, RaiseAlert
from shared.messages.venue import OrderRefused, StreamDown, StreamUp, VenueOrder, VenueSnapshotFailed
from tests.unit.execution.play import CALL, MS, PUT, SECOND, Script, acked, fill, leg, position, seen


def _kinds(script: Script) -> list[str]:
    return [difference.kind for difference in script.published(ReconciliationReport)[-1].differences]


def _at_venue(number: int | None, venue_order_id: int = 4_711, symbol: str = CALL) -> VenueOrder:
    return VenueOrder(
        venue_order_id=venue_order_id,
        client_order_id=number,
        symbol=symbol,
        side="buy",
        quantity=D(1),
        filled_quantity=D(0),
        price=D(900),
        average_price=None,
        state="new",
        reduce_only=False,
        created_ns=0,
        updated_ns=0,
    )


def test_it_compares_at_start_after_reconnect_and_stall_and_once_a_minute() -> None:
    script = Script()
    script._take(script.core.start(script.now_ns))
    script.wait(1_000)
    assert script.fetches() == ["start"]
    script.snapshot()
    script.wait(59_000)
    assert script.fetches() == []
    script.wait(1_000)
    assert script.fetches() == ["regular"]
    script.snapshot()
    script.wait(2_000)
    script.on(StreamUp())
    assert script.fetches() == ["stream_up"]
    assert not script.core.is_synced
    script.snapshot()
    assert script.core.is_synced
    script.wait(2_000)
    script.on(LoopStalled(gap_ns=3 * SECOND))
    assert script.fetches() == ["stall"]


def test_a_start_waits_for_the_stream_as_long_as_a_second_comparison_would_have_to() -> None:
    script = Script()
    script._take(script.core.start(script.now_ns))
    script.wait(300)
    assert script.fetches() == []
    script.on(StreamUp())
    assert script.fetches() == ["stream_up"]
    script.snapshot()
    assert script.core.is_synced


def test_a_snapshot_asked_before_the_reconnect_does_not_count() -> None:
    script = Script().started()
    script.wait(2_000)
    asked_ns = script.now_ns
    script.wait(1_000)
    script.on(StreamUp())
    script.snapshot(asked_ns=asked_ns)
    assert not script.core.is_synced
    script.wait(1_000)
    script.snapshot()
    assert script.core.is_synced


def test_failures_are_repeated_with_growing_pauses_and_alarmed() -> None:
    script = Script()
    script._take(script.core.start(script.now_ns))
    asked = 0
    for _ in range(120):
        for trigger in script.fetches():
            asked += 1
            script.on(VenueSnapshotFailed(trigger=trigger, reason="down"))
        script.wait(1_000)
    assert 6 <= asked <= 12
    assert "venue_unreadable" in script.alerts()


def test_a_comparison_that_is_never_answered_is_asked_again() -> None:
    script = Script()
    script._take(script.core.start(script.now_ns))
    script.wait(1_000)
    assert len(script.fetches()) == 1
    script.wait(35_000)
    assert len(script.fetches()) == 1


def test_while_the_stream_is_down_live_orders_are_polled() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.wait(2_000)
    script.on(StreamDown(reason="cut"))
    assert script.fetches() == ["stream_down"]
    script.snapshot(orders=[seen(order, "new")])
    script.wait(5_100)
    assert script.fetches() == ["stream_down"]


def test_a_missed_fill_is_taken_over_and_reported() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    at_ns = script.now_ns
    script.wait(9_000)
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 1, at_ns=at_ns)])
    assert _kinds(script) == ["missed_fill"]
    assert script.state(trade_id) == "OPEN"


def test_an_order_of_ours_that_the_journal_lost_is_taken_over_into_its_trade_and_cancelled() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    key = OrderKey(desk=7, trade_number=trade_number(trade_id), leg_index=0, purpose="open", attempt=9)
    lost = _at_venue(client_order_id(key))
    script.snapshot(orders=[lost], positions=script.positions())
    assert [row.adopted for row in script.rows(OrderRequested)][-1]
    assert script.cancelled() == [client_order_id(key)]
    assert "order_unknown_to_journal" in script.alerts()
    assert _kinds(script) == ["lost_order"]
    script.on(msgspec.structs.replace(lost, state="cancelled", filled_quantity=D(0)))
    assert script.state(trade_id) == "OPEN"


def test_an_order_of_ours_of_no_known_trade_is_cancelled_and_one_of_another_desk_is_only_reported() -> None:
    script = Script().started()
    ours = client_order_id(OrderKey(desk=7, trade_number=99, leg_index=0, purpose="open", attempt=0))
    theirs = client_order_id(OrderKey(desk=8, trade_number=99, leg_index=0, purpose="open", attempt=0))
    script.snapshot(orders=[_at_venue(ours, 1), _at_venue(theirs, 2), _at_venue(None, 3), _at_venue(12, 4)])
    assert script.cancelled() == [ours]
    assert _kinds(script) == ["lost_order"] + ["foreign_order"] * 3


def test_an_order_final_in_the_journal_and_open_at_the_venue_is_cancelled_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.close(trade_id)
    script.cancels_all(order)
    script.cancelled()
    script.wait(5_000)
    script.snapshot(orders=[seen(order, "new")])
    assert script.cancelled() == [order.client_order_id]
    assert _kinds(script) == ["state_mismatch"]


def test_a_position_that_is_not_ours_is_reported_after_a_second_look_and_left_alone() -> None:
    script = Script().started()
    script.snapshot(positions=[position(PUT, "3")])
    assert _kinds(script) == []
    script.wait(2_000)
    script.snapshot(positions=[position(PUT, "3")])
    assert _kinds(script) == ["foreign_position"]
    assert "foreign_position" in script.alerts()
    assert script.placed() == []
    script.wait(2_000)
    script.snapshot()
    assert _kinds(script) == []


@pytest.mark.parametrize("left", ["0", "0.4"])
def test_a_leg_gone_from_outside_breaks_the_trade_after_a_second_look_and_the_rest_is_closed(left: str) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    now = [position(CALL, f"-{left}"), position(PUT, "-1")]
    script.wait(5_000)
    script.taken(now)
    assert script.state(trade_id) == "OPEN"
    script.wait(2_100)
    script.taken(now)
    assert script.state(trade_id) == "BROKEN"
    assert {"trade_broken", "leg_closed_outside"} <= set(script.alerts())
    assert _kinds(script) == ["quantity_mismatch", "broken_structure"]
    orders = script.placed()
    assert {(o.symbol, o.quantity) for o in orders} == {(PUT, D(1))} | ({(CALL, D(left))} if D(left) else set())
    for number, order in enumerate(orders, 50):
        script.fills_all(order, number)
    assert script.state(trade_id) == "CLOSED"


def test_each_part_of_a_leg_that_is_gone_from_outside_is_told_once_and_as_a_further_stage_of_the_same() -> None:
    script = Script(ExecutionConfig(if_broken="hold")).started()
    trade_id = script.opened(leg(CALL, "buy", "2"), leg(PUT, "sell", "1"))
    script.wait(10_000)
    script.effects.clear()
    told = []
    for left in ("1.5", "0.5"):
        now = [position(CALL, left), position(PUT, "-1")]
        script.taken(now).wait(2_100).taken(now)
        assert script.held(trade_id) == [D(left), D(1)]
        for _ in range(5):
            script.wait(60_000).snapshot(positions=now)
        told.append([alert for alert in script.take(RaiseAlert) if alert.code == "leg_closed_outside"])
    (first,), (second,) = told
    assert first.subject == second.subject
    assert (first.stage, second.stage) == ("1.5 held", "0.5 held")
    assert "the venue holds 0.5" in second.text


def test_a_position_that_the_venue_does_not_show_for_a_while_closes_nothing() -> None:
    """The put of a strangle is missing in every list for 25 s: to believe it would leave it naked afterwards."""
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    for _ in range(9):
        script.wait(3_000)
        script.snapshot(positions=[position(CALL, "-1")])
    assert script.state(trade_id) == "OPEN"
    assert script.alerts() == ["position_missing"]
    assert script.placed() == []
    script.wait(1_000)
    script.snapshot(positions=script.positions())
    assert not script.rows(LegClosedOutside)
    assert [(e.code, e.resolved) for e in script.effects if isinstance(e, RaiseAlert)][-1] == (
        "position_missing",
        True,
    )


def test_a_position_that_stays_missing_without_an_explanation_is_believed_as_late_as_an_order() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    for _ in range(11):
        script.wait(3_000)
        script.snapshot(positions=[position(CALL, "-1")])
    assert script.state(trade_id) == "BROKEN"
    assert {"position_missing", "trade_broken", "leg_closed_outside"} <= set(script.alerts())


def test_an_execution_from_before_the_position_was_last_right_explains_nothing() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    script.taken([])
    script.wait(1_000)
    script.snapshot(positions=script.positions())
    script.wait(8_000)
    script.snapshot(positions=script.positions())
    for _ in range(3):
        script.wait(3_000)
        script.snapshot(positions=[])
    assert script.state(trade_id) == "OPEN"


def test_what_only_the_list_of_positions_lacks_is_closed_all_the_same_and_the_venues_refusal_explains_it() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"))
    for _ in range(3):
        script.wait(3_000)
        script.snapshot(positions=[])
    script.close(trade_id)
    (order,) = script.placed()
    assert (order.quantity, order.reduce_only) == (D(1), True)
    script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10536, text="no position"))
    script.wait(3_000)
    script.snapshot(positions=[])
    assert script.state(trade_id) == "CLOSED"


def test_a_snapshot_that_races_a_fill_raises_no_difference() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    asked_ns = script.now_ns
    script.now_ns += 50 * MS
    script.fills_all(order, 1)
    script.now_ns += 50 * MS
    script.snapshot(asked_ns=asked_ns)
    assert _kinds(script) == []
    script.wait(2_500)
    script.snapshot(positions=[])
    assert _kinds(script) == []
    script.wait(4_000)
    script.snapshot(positions=script.positions())
    assert _kinds(script) == []
    assert not script.rows(LegClosedOutside)
    assert script.state(trade_id) == "OPEN"


def test_positions_that_lag_behind_a_close_before_a_restart_are_nobody_elses() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    (order,) = script.placed()
    script.fills_all(order, 50)
    assert script.state(trade_id) == "CLOSED"
    script.restarted()
    for ms in (300, 2_200):
        script.wait(ms)
        script.snapshot(positions=[position(CALL, "1")])
    script.wait(2_200)
    script.snapshot()
    assert _kinds(script) == []
    assert "foreign_position" not in script.alerts()


def test_a_difference_that_is_gone_at_the_second_look_was_none() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.wait(5_000)
    script.snapshot()
    script.wait(2_100)
    script.snapshot(positions=script.positions())
    script.wait(2_100)
    script.snapshot()
    assert script.state(trade_id) == "OPEN"
    assert not script.rows(LegClosedOutside)


def test_history_is_read_far_enough_back_for_the_oldest_order_in_doubt() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    created_ns = script.now_ns
    script.now_ns += 3 * 86_400 * SECOND
    script.market()
    script.beats()
    script.snapshot()
    script.restarted()
    (fetch,) = script.take(FetchSnapshot)
    assert fetch.since_ns <= created_ns, "though the venue was compared just now"
    assert order.client_order_id in script.core.book.unsettled


def test_after_a_restart_with_the_clock_set_back_a_whole_day_is_read_and_not_what_is_to_come() -> None:
    script = Script().started()
    script.now_ns -= 3_600 * SECOND
    script.restarted()
    (fetch,) = script.take(FetchSnapshot)
    assert fetch.since_ns <= script.now_ns - 86_400 * SECOND


def test_a_report_is_published_each_time() -> None:
    script = Script().started()
    for _ in range(3):
        script.snapshot()
    assert len(script.published(ReconciliationReport)) == 3
    assert script.published(ReconciliationReport)[0].differences == ()

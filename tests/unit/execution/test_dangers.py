"""Rare moments in which money could be lost: each of these went wrong once."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.rows import FillAssumed, LegClosedOutside, OrderRequested, TradeRequested
from shared.messages.conditions import MaxHold
from shared.messages.grants import signed
from shared.messages.trades import ExecutionParams, LimitPhase, Refusal, TradeAccepted
from shared.messages.venue import OutcomeUnknown, StreamUp, VenueSnapshotFailed
from shared.options.chain import list_id_of
from tests.unit.execution.play import (
    CALL,
    EXPIRY_NS,
    HIGH_CALL,
    KEY,
    MARKS,
    MS,
    SECOND,
    T0,
    Script,
    acked,
    chain,
    fill,
    gone,
    instrument,
    intent,
    leg,
    position,
    seen,
)


def test_a_close_at_exactly_what_the_book_offers_is_no_alarm() -> None:
    script = Script()
    listed = tuple(msgspec.structs.replace(instrument(symbol), tick_size=D("0.1")) for symbol in MARKS)
    script.listing = msgspec.structs.replace(script.listing, list_id=list_id_of(listed), instruments=listed)
    script.started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.chain_options = {"marks": {**MARKS, CALL: 1188.4}, "half_spread": 1188.4 - 891.3}
    script.market()
    script.close(trade_id)
    for _ in range(10):
        for order in script.placed():
            script.on(acked(order))
        script.wait(2_000)
        for number in script.cancelled():
            script.on(gone(script, number))
    prices = {order.price for order in script.core.book.orders.values() if order.purpose == "close"}
    assert D("891.3") in prices, prices
    assert "close_beyond_bound" not in script.alerts()


def test_a_long_leg_lost_while_opening_keeps_the_short_one_from_being_opened() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), leg(HIGH_CALL, "sell"))
    (long_order,) = script.placed()
    script.fills_all(long_order, 1)
    (short_order,) = script.placed() or (script.wait(1_100), script.placed())[1]
    script.on(acked(short_order))
    script.wait(4_000)
    script.taken([], orders=[seen(short_order, "new")])
    script.wait(2_500)
    script.taken([], orders=[seen(short_order, "new")])
    assert script.rows(LegClosedOutside)
    assert script.cancelled() == [short_order.client_order_id]
    script.cancels_all(short_order)
    script.wait(30_000)
    assert script.placed() == []
    assert script.state(trade_id) == "FAILED"


def test_an_opening_order_is_withdrawn_at_the_grants_deadline_even_when_the_venue_cannot_be_read() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"), deadline_ns=script.now_ns + 20 * SECOND)
    (order,) = script.placed()
    script.on(acked(order)).on(StreamUp())
    for _ in range(30):
        script.on(VenueSnapshotFailed(trigger="stream_up", reason="down"))
        script.wait(1_000)
    assert script.cancelled() == [order.client_order_id]


def test_a_position_seen_once_that_is_not_ours_keeps_a_leg_against_it_waiting() -> None:
    script = Script().started(position(CALL, "-1"))
    early = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns))
    assert isinstance(early, Refusal)
    assert early.code == "not_ready"
    script.wait(2_500)
    script.taken([position(CALL, "-1")])
    late = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns))
    assert isinstance(late, Refusal)
    assert late.code == "would_net"


def test_a_part_of_the_structure_that_was_granted_is_not_opened_alone() -> None:
    script = Script().started()
    whole = intent(leg(CALL, "buy"), leg(HIGH_CALL, "sell"), now_ns=script.now_ns)
    half = msgspec.structs.replace(whole, legs=(leg(HIGH_CALL, "sell"),))
    lame = msgspec.structs.replace(whole, legs=(leg(CALL, "buy", "0.1"), leg(HIGH_CALL, "sell")))
    for number, part in enumerate((half, lame)):
        strategy = f"part{number}"
        grant = msgspec.structs.replace(part.grant, intent_id=f"{strategy}-0", signature="")
        answer = script.ask(
            msgspec.structs.replace(part, strategy=strategy, intent_id=f"{strategy}-0", grant=signed(grant, KEY))
        )
        assert isinstance(answer, Refusal)
        assert answer.code == "outside_grant"
    assert isinstance(script.ask(whole), TradeAccepted)


def _never_placed_then_replaced(script: Script) -> tuple[Any, Any]:
    script.open(leg(CALL, "buy"))
    (first,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=first.client_order_id, reason="time-out"))
    script.wait(8_000)
    script.queried(first, None)
    script.wait(2_000)
    (second,) = script.placed()
    script.on(acked(second))
    script.cancelled()
    return first, second


def test_an_order_that_turns_up_after_it_was_replaced_is_cancelled_at_once() -> None:
    script = Script().started()
    first, _ = _never_placed_then_replaced(script)
    script.on(seen(first, "new"))
    assert first.client_order_id in script.cancelled()


def test_an_acknowledgement_after_never_placed_brings_the_order_back() -> None:
    script = Script().started()
    first, _ = _never_placed_then_replaced(script)
    script.on(acked(first))
    assert first.client_order_id in script.cancelled()
    assert "order_resurrected" in script.alerts()


def test_a_fill_told_by_an_order_that_no_list_shows_any_more_is_assumed_in_the_end() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "partial", "0.4"))
    for _ in range(150):
        script.wait(2_000)
        if script.queries():
            script.queried(order, None)
        if not script.placed() and script.core.book.orders[order.client_order_id].is_settled:
            break
    assert script.rows(FillAssumed)
    assert script.held(trade_id) == [D("0.4")]


def test_a_late_answer_to_an_older_comparison_does_not_end_the_comparing() -> None:
    script = Script().started()
    script.wait(60_500)
    assert script.fetches()
    script.snapshot(asked_ns=T0 - SECOND)
    script.wait(120_000)
    assert script.fetches()


@pytest.mark.parametrize(
    "changes",
    [
        {"execution_params": ExecutionParams(fill_timeout_s=float("nan"))},
        {"execution_params": ExecutionParams(fill_timeout_s=float("inf"))},
        {"execution_params": ExecutionParams(final_look_s=float("inf"))},
        {"execution_params": ExecutionParams(max_requote_rounds=20_000)},
        {"execution_params": ExecutionParams(max_close_premium_pct=float("nan"))},
        {"execution_params": ExecutionParams(phases=(LimitPhase(duration_s=float("inf")), LimitPhase()))},
        {"execution_params": ExecutionParams(phases=(LimitPhase(reprice_interval_s=float("nan")),))},
        {"execution_params": ExecutionParams(phases=(LimitPhase(buffer_pct=float("inf")),))},
        {"if_host_silent": "close", "host_silent_after_s": float("inf")},
        {"max_loss_usd": float("nan")},
        {"deadline_grace_s": float("nan")},
        {"exit_conditions": (MaxHold(hours=float("inf")),)},
    ],
)
def test_figures_that_no_plan_can_work_with_are_refused(changes: dict[str, Any]) -> None:
    script = Script().started()
    answer = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns, **changes))
    assert isinstance(answer, Refusal)
    assert answer.code == "bad_params"


def test_a_leg_that_expired_before_the_others_does_not_keep_the_loop_busy() -> None:
    script = Script()
    near_ns = T0 + 3_600 * SECOND
    listed = tuple(instrument(symbol, near_ns if symbol == CALL else EXPIRY_NS) for symbol in MARKS)
    script.listing = msgspec.structs.replace(script.listing, list_id=list_id_of(listed), instruments=listed)
    script.started()
    trade_id = script.opened(leg(HIGH_CALL, "buy"), leg(CALL, "sell"))
    script.now_ns = near_ns
    script.market()
    script.wait(1_000)
    assert script.state(trade_id) == "BROKEN"
    script.taken([position(HIGH_CALL, "1", 300.0)])
    for order in script.placed():
        script.on(acked(order))
    deadline_ns = script.core.next_deadline_ns()
    assert deadline_ns is not None
    assert deadline_ns >= script.now_ns + 100 * MS


def test_an_infinite_mark_is_no_mark() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.chain_options = {"marks": {**MARKS, CALL: float("inf")}}
    script.market()
    script.close(trade_id)
    (order,) = script.placed()
    assert order.price == D(1000), "the mark of the venue's own position"


def test_positions_that_lag_behind_a_fill_before_a_restart_lose_no_leg() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    script.wait(200)
    script.restarted()
    script.snapshot()
    script.wait(2_100)
    script.snapshot()
    assert script.rows(LegClosedOutside) == []
    assert script.held(trade_id) == [D(1)]


def test_prices_received_in_the_future_are_not_fresh() -> None:
    script = Script().started()
    script.inbound(chain(script.now_ns + 3_600 * SECOND, script.listing))
    answer = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns))
    assert isinstance(answer, Refusal)
    assert answer.code == "market_stale"


def test_a_journal_restored_from_before_the_first_order_takes_over_what_the_venue_filled() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    last = next(i for i, entry in enumerate(script.entries) if isinstance(entry.row, TradeRequested))
    del script.entries[last + 1 :]
    script.wait(5_000)
    script.restarted()
    script.snapshot(
        orders=[seen(order, "filled", "1")], fills=[fill(order, 1)], positions=[position(CALL, "1", 1000.0)]
    )
    assert [row.adopted for row in script.rows(OrderRequested)] == [True]
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(1)]


def test_a_late_execution_of_a_leg_that_has_not_expired_takes_a_settling_trade_back() -> None:
    script = Script()
    near_ns = T0 + 3_600 * SECOND
    listed = tuple(instrument(symbol, near_ns if symbol == CALL else EXPIRY_NS) for symbol in MARKS)
    script.listing = msgspec.structs.replace(script.listing, list_id=list_id_of(listed), instruments=listed)
    script.started()
    trade_id = script.open(leg(CALL, "buy"), leg(HIGH_CALL, "buy"), policy="best_effort")
    near, far = script.placed()
    script.fills_all(near, 1)
    script.on(acked(far))
    script.cancel(trade_id=trade_id)
    script.cancels_all(far)
    script.wait(5_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    script.now_ns = near_ns
    script.market()
    script.wait(1_000)
    assert script.state(trade_id) == "SETTLING"
    script.on(fill(far, 2))
    assert script.state(trade_id) == "BROKEN"


def test_a_position_that_is_settled_before_the_expiry_of_a_slow_clock_is_not_closed_outside() -> None:
    script = Script(begins_ns=EXPIRY_NS - 1_200 * SECOND).started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    script.wait(1_200_000 - 30_000)
    for _ in range(3):
        script.snapshot()
        script.wait(4_000)
    assert script.rows(LegClosedOutside) == []
    assert script.held(trade_id) == [D(1)]


def _close_given_up_and_replaced(script: Script) -> tuple[str, str, Any, Any]:
    """Two trades hold the symbol; the first one's closing order was lost, given up, and another took its place."""
    one = script.opened(leg(CALL, "buy"))
    two = script.opened(leg(CALL, "buy"), ordinal=1)
    script.close(one)
    (lost,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=lost.client_order_id, reason="time-out"))
    script.wait(8_000)
    script.queried(lost, None)
    assert script.core.book.orders[lost.client_order_id].state == "NEVER_PLACED"
    script.wait(2_000)
    (second,) = script.placed()
    script.on(acked(second))
    script.cancelled()
    return one, two, lost, second


def test_a_lost_closing_order_that_trades_after_all_takes_its_replacement_back_at_once() -> None:
    """Else that one would close what another trade holds: reduce-only knows the account's position alone."""
    script = Script().started()
    one, two, lost, second = _close_given_up_and_replaced(script)
    script.on(fill(lost, 77))
    assert script.cancelled() == [second.client_order_id]
    script.cancels_all(second)
    assert (script.state(one), script.held(one)) == ("CLOSED", [D(0)])
    assert (script.state(two), script.held(two)) == ("OPEN", [D(1)])


def test_a_lost_closing_order_that_trades_in_part_leaves_no_order_for_more_than_is_held() -> None:
    script = Script().started()
    one, _, lost, second = _close_given_up_and_replaced(script)
    script.on(fill(lost, 77, "0.4")).on(gone(script, lost.client_order_id))
    assert second.client_order_id in script.cancelled()
    script.cancels_all(second)
    script.wait(2_000)
    (third,) = script.placed()
    assert third.quantity == D("0.6")
    script.fills_all(third, 78)
    assert (script.state(one), script.held(one)) == ("CLOSED", [D(0)])


def test_a_lost_closing_order_that_rests_after_all_is_not_left_beside_its_replacement() -> None:
    script = Script().started()
    one, _, lost, second = _close_given_up_and_replaced(script)
    script.on(seen(lost, "new"))
    assert sorted(script.cancelled()) == sorted((lost.client_order_id, second.client_order_id))
    script.cancels_all(lost)
    assert script.placed() == [], "nothing new before both are gone"
    script.cancels_all(second)
    script.wait(2_000)
    (third,) = script.placed()
    script.fills_all(third, 78)
    assert (script.state(one), script.held(one)) == ("CLOSED", [D(0)])

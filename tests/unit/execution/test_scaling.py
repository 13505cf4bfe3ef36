"""When asked, a leg that is filled in part makes the structure smaller instead of failing it."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from services.execution.rows import ChunkEnded, OpeningScaled
from shared.messages.smart import ChunkProgress, SmartParams
from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.messages.venue import NewOrder, OrderRefused
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, SECOND, Script, acked, fill, leg, seen

PARAMS = ExecutionParams(
    phases=(LimitPhase(pricing="mid", duration_s=10.0, reprice_interval_s=10.0),),
    max_requote_rounds=1,
    fill_timeout_s=10.0,
    scale_to_filled=True,
)

SMART = SmartParams(chunk_count=2, time_per_chunk_s=10.0, aggressive_attempts=1, aggressive_wait_s=5.0)


def _partly(script: Script, order: NewOrder, filled: str, number: int = 1) -> None:
    """The order is filled in part, rests to the end of its time, and is cancelled."""
    script.on(acked(order)).on(fill(order, number, filled)).on(seen(order, "partial", filled))
    script.wait(10_100)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order, filled)


def test_short_legs_follow_the_ratio_in_which_the_protection_was_bought() -> None:
    script = Script().started()
    trade_id = script.open(leg(HIGH_CALL, "buy", "1"), leg(CALL, "sell", "2"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.63")
    assert script.placed() == []
    script.wait(2_100)
    (short,) = script.placed()
    assert (short.symbol, short.quantity) == (CALL, D("1.26"))
    script.fills_all(short, 2)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.63"), D("1.26")])
    assert [status.quantity for status in script.trade(trade_id).legs] == [D("0.63"), D("1.26")]
    assert script.core.book == script.refolded().book


def test_scaled_quantities_are_kept_to_lots() -> None:
    script = Script().started()
    script.open(leg(HIGH_CALL, "buy", "0.3"), leg(CALL, "sell", "0.1"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.2")
    script.wait(2_100)
    assert [order.quantity for order in script.placed()] == [D("0.06")]


def test_what_would_bring_a_leg_below_the_smallest_order_is_not_scaled() -> None:
    script = Script().started()
    trade_id = script.open(leg(HIGH_CALL, "buy", "0.3"), leg(CALL, "sell", "0.02"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.1")
    script.wait(2_100)
    assert script.rows(OpeningScaled) == []
    assert script.state(trade_id) == "UNWINDING"


def test_a_late_fill_in_the_final_look_changes_the_ratio() -> None:
    script = Script().started()
    script.open(leg(HIGH_CALL, "buy"), leg(CALL, "sell"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.5")
    script.wait(1_000)
    script.on(fill(protection, 2, "0.2"))
    script.wait(2_100)
    assert [order.quantity for order in script.placed()] == [D("0.7")]


@pytest.mark.parametrize(("policy", "state"), [("atomic", "UNWINDING"), ("best_effort", "PARTIALLY_OPEN")])
def test_where_a_leg_has_more_than_its_share_the_policy_decides(policy: str, state: str) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), execution_params=PARAMS, policy=policy)
    whole, part = script.placed()
    script.fills_all(whole, 9)
    _partly(script, part, "0.6")
    script.wait(2_100)
    assert script.rows(OpeningScaled) == []
    assert script.state(trade_id) == state


def test_an_order_of_another_leg_that_is_too_large_by_then_is_withdrawn_and_sent_smaller() -> None:
    script = Script().started()
    params = msgspec.structs.replace(PARAMS, max_requote_rounds=10, fill_timeout_s=100.0)
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), execution_params=params)
    first, second = script.placed()
    script.on(acked(first)).on(fill(first, 1, "0.6")).on(seen(first, "partial", "0.6"))
    script.on(acked(second)).on(fill(second, 2, "0.3")).on(seen(second, "partial", "0.3"))
    script.cancels_all(first, "0.6")
    for _ in range(4):
        script.wait(1_100)
        for order in script.placed():
            assert order.symbol == CALL
            script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10531, text="no"))
        script.wait(3_000)
    assert [row.quantities for row in script.rows(OpeningScaled)] == [(D("0.6"), D("0.6"))]
    assert script.cancelled() == [second.client_order_id]
    script.cancels_all(second, "0.3")
    script.wait(1_100)
    (smaller,) = script.placed()
    assert (smaller.symbol, smaller.quantity) == (PUT, D("0.3"))
    script.fills_all(smaller, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.6"), D("0.6")])


def test_a_fill_beyond_the_scaled_size_is_too_much_and_is_reduced() -> None:
    script = Script().started()
    trade_id = script.open(leg(HIGH_CALL, "buy"), leg(CALL, "sell"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.5")
    script.wait(2_100)
    (short,) = script.placed()
    script.on(fill(protection, 7, "0.5"))
    script.fills_all(short, 8)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1), D("0.5")])
    script.wait(6_000).snapshot(positions=script.positions())
    (back,) = script.placed()
    assert (back.symbol, back.side, back.quantity) == (HIGH_CALL, "sell", D("0.5"))
    script.fills_all(back, 9)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.5"), D("0.5")])


def test_without_time_left_or_when_it_was_not_asked_for_nothing_is_scaled() -> None:
    for params, deadline_s in ((PARAMS, 9), (msgspec.structs.replace(PARAMS, scale_to_filled=False), 600)):
        script = Script().started()
        trade_id = script.open(
            leg(HIGH_CALL, "buy"),
            leg(CALL, "sell"),
            execution_params=params,
            deadline_ns=script.now_ns + deadline_s * SECOND,
        )
        (protection,) = script.placed()
        _partly(script, protection, "0.5")
        script.wait(2_100)
        assert script.rows(OpeningScaled) == []
        assert script.state(trade_id) == "UNWINDING"


def _smart(script: Script, *legs: LegOrder, smart: SmartParams = SMART, **changes: object) -> str:
    params = ExecutionParams(scale_to_filled=True)
    return script.open(*legs, **{"execution_mode": "smart", "execution_params": params, "smart": smart} | changes)


def _crossed_in_vain(script: Script, quote: NewOrder, filled: str) -> None:
    """The quote is filled in part within its time, and the rest of it is not taken across the spread either."""
    script.on(acked(quote)).on(fill(quote, 50, filled)).on(seen(quote, "partial", filled))
    script.wait(10_100)
    assert script.cancelled() == [quote.client_order_id]
    script.cancels_all(quote, filled).wait(1_100)
    (attempt,) = script.placed()
    assert (attempt.symbol, attempt.quantity) == (quote.symbol, quote.quantity - D(filled))
    script.on(acked(attempt)).wait(5_100)
    assert script.cancelled() == [attempt.client_order_id]
    script.cancels_all(attempt)


def test_a_chunk_that_is_bought_in_part_is_the_last_one_and_its_shorts_follow_the_ratio() -> None:
    script = Script().started()
    trade_id = _smart(script, leg(HIGH_CALL, "buy", "1"), leg(CALL, "sell", "2"))
    for number in (1, 2):
        (order,) = script.placed()
        script.fills_all(order, number).wait(1_100)
    (protection,) = script.placed()
    _crossed_in_vain(script, protection, "0.13")
    assert script.placed() == []
    script.wait(2_100)
    assert [row.quantities for row in script.rows(OpeningScaled)] == [(D("0.63"), D("1.26"))]
    (short,) = script.placed()
    assert (short.symbol, short.quantity) == (CALL, D("0.26"))
    script.fills_all(short, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.63"), D("1.26")])
    assert [(row.chunk, row.planned, row.complete) for row in script.rows(ChunkEnded)] == [(0, 2, True), (1, 2, True)]
    assert script.core.book == script.refolded().book


def test_no_chunk_follows_the_one_in_which_the_trade_was_scaled_and_spacing_does_not_hold_it_up() -> None:
    script = Script().started()
    smart = msgspec.structs.replace(SMART, chunk_count=4, total_duration_s=400.0)
    trade_id = _smart(script, leg(HIGH_CALL, "buy"), leg(CALL, "sell"), smart=smart)
    (protection,) = script.placed()
    assert protection.quantity == D("0.25")
    _crossed_in_vain(script, protection, "0.2")
    script.wait(2_100)
    (short,) = script.placed()
    assert (short.symbol, short.quantity) == (CALL, D("0.2"))
    script.fills_all(short, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.2"), D("0.2")])
    assert script.trade(trade_id).opening_chunks == ChunkProgress(planned=1, completed=1, crossings=1)


def test_a_short_leg_has_the_whole_time_of_a_chunk_after_the_scaling() -> None:
    script = Script().started()
    _smart(script, leg(HIGH_CALL, "buy"), leg(CALL, "sell"))
    (protection,) = script.placed()
    _crossed_in_vain(script, protection, "0.2")
    script.wait(2_100)
    (short,) = script.placed()
    script.on(acked(short)).wait(9_500)
    assert script.cancelled() == []
    script.wait(1_000)
    assert script.cancelled() == [short.client_order_id]


@pytest.mark.parametrize(("policy", "state"), [("atomic", "UNWINDING"), ("best_effort", "PARTIALLY_OPEN")])
def test_where_a_leg_of_the_chunk_has_more_than_its_share_the_policy_decides(policy: str, state: str) -> None:
    script = Script().started()
    trade_id = _smart(script, leg(CALL, "sell"), leg(PUT, "sell"), policy=policy)
    whole, part = script.placed()
    script.fills_all(whole, 9)
    _crossed_in_vain(script, part, "0.2")
    script.wait(2_100)
    assert script.rows(OpeningScaled) == []
    assert script.state(trade_id) == state


def test_a_quote_of_another_leg_that_is_too_large_by_then_is_withdrawn_and_sent_smaller() -> None:
    script = Script().started()
    trade_id = _smart(
        script, leg(CALL, "sell"), leg(PUT, "sell"), smart=msgspec.structs.replace(SMART, chunk_count=1)
    )
    first, second = script.placed()
    script.on(acked(first)).on(fill(first, 1, "0.6")).on(seen(first, "partial", "0.6"))
    script.on(acked(second)).on(fill(second, 2, "0.3")).on(seen(second, "partial", "0.3"))
    script.cancels_all(first, "0.6").wait(1_100)
    for _ in range(3):
        for order in script.placed():
            assert order.symbol == CALL
            script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10531, text="no"))
        script.wait(2_100)
    assert script.cancelled() == [second.client_order_id]
    assert [row.quantities for row in script.rows(OpeningScaled)] == [(D("0.6"), D("0.6"))]
    script.cancels_all(second, "0.3").wait(1_100)
    (smaller,) = script.placed()
    assert (smaller.symbol, smaller.quantity) == (PUT, D("0.3"))
    script.fills_all(smaller, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.6"), D("0.6")])

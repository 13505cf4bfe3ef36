"""When asked, a leg that is filled in part makes the structure smaller instead of failing it."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from services.execution.rows import OpeningScaled
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.messages.venue import NewOrder, OrderRefused
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, SECOND, Script, acked, fill, leg, seen

PARAMS = ExecutionParams(
    phases=(LimitPhase(pricing="mid", duration_s=10.0, reprice_interval_s=10.0),),
    max_requote_rounds=1,
    fill_timeout_s=10.0,
    scale_to_filled=True,
)


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


def test_a_fill_beyond_the_scaled_size_makes_the_trade_fail_and_not_stand_askew() -> None:
    script = Script().started()
    trade_id = script.open(leg(HIGH_CALL, "buy"), leg(CALL, "sell"), execution_params=PARAMS)
    (protection,) = script.placed()
    _partly(script, protection, "0.5")
    script.wait(2_100)
    (short,) = script.placed()
    script.on(fill(protection, 7, "0.5"))
    script.fills_all(short, 8)
    assert script.state(trade_id) == "OPENING"
    script.wait(2_100)
    assert script.state(trade_id) == "UNWINDING"
    assert "while the trade was scaled to 0.5" in script.trade(trade_id).reason


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

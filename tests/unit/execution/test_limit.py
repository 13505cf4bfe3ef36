"""How a trade is opened by limit orders: where prices go, when it gives up, and what is then left."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from services.execution.rows import OrderRequested
from shared.messages.steps import RaiseAlert
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.messages.venue import OrderRefused
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    LOW_PUT,
    MARKS,
    PUT,
    SECOND,
    Script,
    acked,
    fill,
    gone,
    leg,
    seen,
)


def _params(pricing: str, **changes: object) -> ExecutionParams:
    return ExecutionParams(phases=(LimitPhase(pricing=pricing, **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pricing", "buy", "sell"),
    [
        ("aggressive", 1020, 980),
        ("mid", 1000, 1000),
        ("passive", 990, 1010),
        ("top_of_book", 990, 1010),
        ("mark", 1000, 1000),
        ("fair", 1000, 1000),
    ],
)
def test_each_pricing_puts_the_order_where_it_says(pricing: str, buy: int, sell: int) -> None:
    for side, price in (("buy", buy), ("sell", sell)):
        script = Script().started()
        script.open(leg(CALL, side), execution_params=_params(pricing))  # type: ignore[arg-type]
        assert [order.price for order in script.placed()] == [D(price)]


def test_a_price_is_never_past_the_worst_price_of_the_grant() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"), execution_params=_params("aggressive", buffer_pct=50.0))
    script.open(leg(PUT, "sell"), ordinal=1, execution_params=_params("aggressive", buffer_pct=50.0))
    assert [order.price for order in script.placed()] == [D(1200), D(720)]


def test_an_empty_book_is_priced_from_mark_and_no_mark_waits_with_the_reason() -> None:
    script = Script().started()
    script.chain_options = {"bookless": [CALL, PUT]}
    script.market()
    script.open(leg(CALL, "buy"))
    assert [order.price for order in script.placed()] == [D(1020)]
    trade_id = script.open(leg(PUT, "buy"), ordinal=1)
    (order,) = script.placed()
    script.on(acked(order))
    script.chain_options = {"bookless": [PUT], "markless": [PUT]}
    script.wait(11_000)
    assert "neither a usable book nor a mark" in script.trade(trade_id).reason


def test_a_book_too_wide_to_have_a_middle_is_priced_from_mark() -> None:
    script = Script().started()
    script.chain_options = {"half_spread": 600.0}
    script.market()
    script.open(leg(CALL, "buy"), execution_params=_params("mid"))
    assert [order.price for order in script.placed()] == [D(1000)]


def test_phases_follow_one_another_and_the_last_is_repeated() -> None:
    script = Script().started()
    phases = (
        LimitPhase(pricing="passive", duration_s=10.0, reprice_interval_s=5.0),
        LimitPhase(pricing="mid", duration_s=10.0, reprice_interval_s=5.0),
        LimitPhase(pricing="aggressive", duration_s=10.0, reprice_interval_s=5.0),
    )
    script.open(leg(CALL, "buy"), execution_params=ExecutionParams(phases=phases))
    prices = []
    for _ in range(3):
        (order,) = script.placed()
        prices.append(order.price)
        script.on(acked(order)).wait(10_100)
        assert script.cancelled() == [order.client_order_id] or len(prices) == 3
        script.cancels_all(order)
    assert prices == [D(990), D(1000), D(1020)]


def test_an_unfilled_opening_gives_up_after_a_final_look_and_fails_with_nothing_held() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(101_000)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order)
    assert script.state(trade_id) == "OPENING"
    assert script.queries() == [order.client_order_id]
    script.wait(2_100)
    ended = script.trade(trade_id)
    assert ended.state == "FAILED"
    assert "not filled within" in ended.reason
    assert not ended.grant_open


def test_a_leg_gives_up_once_its_last_round_has_rested_for_the_fill_time_out() -> None:
    script = Script().started()
    params = ExecutionParams(
        phases=(LimitPhase(pricing="mid", duration_s=600.0, reprice_interval_s=5.0),),
        max_requote_rounds=2,
        fill_timeout_s=40.0,
    )
    trade_id = script.open(leg(CALL, "buy"), execution_params=params)
    (first,) = script.placed()
    script.on(acked(first))
    script.chain_options = {"marks": {**MARKS, CALL: 1010.0}}
    script.wait(6_000)
    assert script.cancelled() == [first.client_order_id]
    script.cancels_all(first).wait(1_100)
    (last,) = script.placed()
    script.on(acked(last)).wait(38_000)
    assert script.cancelled() == []
    script.wait(3_000)
    assert script.cancelled() == [last.client_order_id]
    script.cancels_all(last).wait(2_100)
    assert script.trade(trade_id).reason == f"{CALL} not filled in 2 rounds"


def test_rounds_are_bounded() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), execution_params=ExecutionParams(max_requote_rounds=3))
    for step in range(60):
        script.chain_options = {"marks": {**MARKS, CALL: 1000.0 + 5 * step}}
        for order in script.placed():
            script.on(acked(order))
        script.wait(1_000)
        for number in script.cancelled():
            script.on(gone(script, number))
    script.wait(5_000)
    assert len(script.rows(OrderRequested)) == 3
    assert script.state(trade_id) == "FAILED"


def test_an_atomic_opening_that_cannot_complete_is_unwound_reduce_only_and_fails_flat() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"))
    filled, unfilled = script.placed()
    script.fills_all(filled, 1)
    script.on(acked(unfilled)).wait(101_000)
    script.cancels_all(unfilled)
    script.wait(2_100)
    assert script.trade(trade_id).state == "UNWINDING"
    (back,) = script.placed()
    assert (back.symbol, back.side, back.quantity, back.reduce_only) == (CALL, "buy", D(1), True)
    script.fills_all(back, 2)
    assert script.state(trade_id) == "FAILED"
    assert script.held(trade_id) == [0, 0]


def test_best_effort_keeps_what_was_filled() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), policy="best_effort")
    filled, unfilled = script.placed()
    script.fills_all(filled, 1)
    script.on(acked(unfilled)).wait(101_000)
    script.cancels_all(unfilled)
    script.wait(2_100)
    assert script.trade(trade_id).state == "PARTIALLY_OPEN"
    assert script.held(trade_id) == [D(1), 0]
    assert script.placed() == []


def test_best_effort_never_sells_shorts_whose_protection_was_not_bought() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(HIGH_CALL, "buy"), policy="best_effort")
    (protection,) = script.placed()
    script.on(acked(protection)).wait(101_000)
    script.cancels_all(protection)
    script.wait(2_100)
    assert script.state(trade_id) == "FAILED"
    assert len(script.rows(OrderRequested)) == 1


def test_a_late_fill_in_the_final_look_counts() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(101_000)
    script.cancels_all(order)
    script.on(fill(order, 1))
    assert script.state(trade_id) == "OPEN"


@pytest.mark.parametrize(("kind", "code"), [("auth", 10560), ("rejected", 10529)])
def test_a_refusal_that_no_retry_can_help_ends_the_opening_at_once(kind: str, code: int) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OrderRefused(client_order_id=order.client_order_id, kind=kind, code=code, text="no"))  # type: ignore[arg-type]
    script.wait(2_100)
    assert script.state(trade_id) == "FAILED"
    assert script.placed() == []
    assert ("venue_auth" in script.alerts()) == (kind == "auth")


def _refused_by_auth(script: Script, ordinal: int = 0) -> list[RaiseAlert]:
    """An opening whose order the venue refuses with the key, and what a person is told."""
    script.open(leg(CALL, "buy"), ordinal=ordinal)
    (order,) = script.placed()
    script.on(OrderRefused(client_order_id=order.client_order_id, kind="auth", code=10560, text="no"))
    script.wait(2_100)
    return [alert for alert in script.take(RaiseAlert) if alert.code == "venue_auth"]


def test_a_key_that_is_taken_again_ends_its_alert_and_the_next_refusal_is_told_anew() -> None:
    script = Script().started()
    assert [alert.resolved for alert in _refused_by_auth(script)] == [False]
    script.open(leg(CALL, "buy"), ordinal=1)
    (order,) = script.placed()
    script.on(acked(order))
    assert [(alert.code, alert.resolved) for alert in script.take(RaiseAlert)] == [("venue_auth", True)]
    assert [alert.resolved for alert in _refused_by_auth(script, 2)] == [False]


def test_a_key_that_is_still_refused_is_told_with_each_order_as_a_person_may_have_acknowledged_it() -> None:
    script = Script().started()
    (first,), (second,) = _refused_by_auth(script), _refused_by_auth(script, 1)
    assert first.subject == second.subject
    assert first.text != second.text


def test_refusals_in_a_row_end_the_opening_and_throttling_only_slows_it() -> None:
    script = Script().started()
    rejected = script.open(leg(CALL, "buy"))
    throttled = script.open(leg(PUT, "buy"), ordinal=1)
    for _ in range(40):
        for order in script.placed():
            kind = "rejected" if order.symbol == CALL else "throttled"
            script.on(OrderRefused(client_order_id=order.client_order_id, kind=kind, code=10531, text="no"))  # type: ignore[arg-type]
        script.wait(500)
    assert script.state(rejected) == "FAILED"
    assert len([r for r in script.rows(OrderRequested) if r.symbol == CALL]) == 3
    assert script.state(throttled) == "OPENING"
    assert 3 < len([r for r in script.rows(OrderRequested) if r.symbol == PUT]) < 8


def test_the_grants_deadline_ends_the_opening() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), deadline_ns=script.now_ns + 15 * SECOND)
    (order,) = script.placed()
    script.on(acked(order)).wait(15_100)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order)
    script.wait(2_100)
    assert "deadline" in script.trade(trade_id).reason


def test_a_condor_with_one_wing_missing_places_no_short() -> None:
    script = Script().started()
    script.open(leg(CALL, "sell"), leg(HIGH_CALL, "buy"), leg(PUT, "sell"), leg(LOW_PUT, "buy"))
    wings = script.placed()
    assert {order.symbol for order in wings} == {HIGH_CALL, LOW_PUT}
    script.fills_all(wings[0], 1)
    assert script.placed() == []
    script.on(acked(wings[1])).on(seen(wings[1], "partial", "0.5")).on(fill(wings[1], 2, "0.5"))
    assert script.placed() == []
    script.on(fill(wings[1], 3, "0.5"))
    assert {order.symbol for order in script.placed()} == {CALL, PUT}

"""A leg is gone from outside: the rest of the trade is closed or held, as the trade declares."""

from __future__ import annotations

from typing import Any

import pytest

from services.execution.config import ExecutionConfig
from services.execution.rows import TradeRequested
from shared.messages.control import RaiseHalt
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.trades import IfBroken
from tests.unit.execution.play import CALL, HIGH_CALL, MARKS, PUT, SECOND, T0, D, Script, leg, position


def broken(desk: IfBroken = "close", **declared: Any) -> tuple[Script, str]:
    """A long strangle whose call somebody closes at the venue."""
    script = Script(ExecutionConfig(if_broken=desk)).started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "buy"), **declared)
    for _ in range(2):
        script.wait(4_000)
        script.taken([position(PUT, "1", MARKS[PUT])])
    assert script.state(trade_id) == "BROKEN"
    assert "trade_broken" in script.alerts()
    return script, trade_id


@pytest.mark.parametrize("desk", ["close", "hold"])
@pytest.mark.parametrize("declared", ["close", "hold", None])
def test_the_trades_own_policy_decides_and_where_it_has_none_the_desks(desk: IfBroken, declared: Any) -> None:
    script, trade_id = broken(desk, if_broken=declared)
    effective = declared or desk
    orders = [(order.symbol, order.side, order.reduce_only) for order in script.placed()]
    assert orders == ([(PUT, "sell", True)] if effective == "close" else [])
    assert script.trade(trade_id).if_broken == effective
    (difference,) = [
        each
        for report in script.published(ReconciliationReport)
        for each in report.differences
        if each.kind == "broken_structure"
    ]
    assert difference.done == ("closing" if effective == "close" else "waiting")


@pytest.mark.parametrize("accepted_under", ["close", "hold"])
def test_what_the_desk_said_when_it_was_accepted_is_journalled_and_outlives_another_setting(
    accepted_under: IfBroken,
) -> None:
    script = Script(ExecutionConfig(if_broken=accepted_under)).started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "buy"))
    (row,) = script.rows(TradeRequested)
    assert row.request.if_broken == accepted_under
    script.config = ExecutionConfig(if_broken="hold" if accepted_under == "close" else "close")
    script.restarted()
    for _ in range(2):
        script.wait(4_000)
        script.taken([position(PUT, "1", MARKS[PUT])])
    assert script.state(trade_id) == "BROKEN"
    assert bool(script.placed()) == (accepted_under == "close")


def test_what_is_held_stays_over_a_restart_and_waits_in_words_until_a_person_closes_it() -> None:
    script, trade_id = broken(if_broken="hold")
    script.restarted()
    script.wait(4_000)
    script.taken([position(PUT, "1", MARKS[PUT])])
    script.wait(600_000)
    assert script.placed() == []
    assert script.trade(trade_id).reason.endswith("broken and held: waits for a person, an exit or its deadline")
    script.close(trade_id)
    (order,) = script.placed()
    assert (order.symbol, order.side, order.quantity, order.reduce_only) == (PUT, "sell", D(1), True)
    script.fills_all(order, 90)
    assert script.state(trade_id) == "CLOSED"


def test_the_deadline_of_a_trade_that_is_held_broken_closes_it() -> None:
    script, trade_id = broken(if_broken="hold", hard_deadline_ns=T0 + 60 * SECOND)
    script.wait(20_000)
    assert script.placed() == []
    script.wait(40_000)
    assert [order.symbol for order in script.placed()] == [PUT]
    assert "deadline" in str(script.core.book.trades[trade_id].close)


def test_the_loss_of_what_is_held_broken_is_bounded_as_before() -> None:
    script, trade_id = broken(if_broken="hold", max_loss_usd=500.0)
    script.chain_options = {"marks": MARKS | {PUT: MARKS[PUT] - 400.0}}
    script.wait(3_000)
    assert script.placed() == []
    script.chain_options = {"marks": MARKS | {PUT: MARKS[PUT] - 700.0}}
    script.wait(3_000)
    assert [order.symbol for order in script.placed()] == [PUT]
    assert "loss on mark" in str(script.core.book.trades[trade_id].close)


def test_a_silent_host_closes_what_is_held_broken_where_that_is_declared() -> None:
    script, _ = broken(if_broken="hold", if_host_silent="close", host_silent_after_s=20.0)
    script.wait(30_000)
    assert script.placed() == []
    script.host_on = False
    script.wait(25_000)
    assert [order.symbol for order in script.placed()] == [PUT]


def test_a_flatten_closes_what_is_held_broken() -> None:
    script, _ = broken(if_broken="hold")
    script.ask(RaiseHalt(level="flatten", reason="enough", requested_by="operator"))
    assert [order.symbol for order in script.placed()] == [PUT]


def test_an_opening_that_was_to_be_undone_is_closed_whatever_was_declared() -> None:
    script = Script(ExecutionConfig(if_broken="hold", close_patience_ms=20_000)).started()
    trade_id = script.open(leg(CALL, "sell"), leg(HIGH_CALL, "sell"), if_broken="hold")
    first, second = script.placed()
    script.fills_all(first, 1)
    script.cancels_all(second)
    script.risk_on = False
    script.wait(60_000)
    assert script.state(trade_id) in ("UNWINDING", "BROKEN")
    reducing = [order for order in script.placed() if order.reduce_only]
    assert {order.symbol for order in reducing} == {CALL}

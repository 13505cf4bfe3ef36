"""A part of an open trade is taken back, the rest of it stays; and what hedges made is told with what they hedged."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.rows import ReductionWanted
from shared.messages.reducing import ReduceTrade, ReductionAccepted
from shared.messages.trades import ExecutionParams, LimitPhase, Refusal
from tests.unit.execution.play import CALL, MARKS, PUT, SECOND, Script, acked, fill, gone, leg, position
from tests.unit.execution.test_perpetual_trades import PerpetualScript

DAY = 86_400 * SECOND


def _started() -> PerpetualScript:
    script = PerpetualScript()
    script.started()
    return script


def _hedged(script: PerpetualScript) -> tuple[str, str]:
    """A call that is held, and half a coin sold against it."""
    call = str(script.trade(leg(CALL, "buy")).trade_id)
    (order,) = script.placed()
    script.filled(order, 100)
    return call, _hedge(script, call, 1)


def _hedge(script: PerpetualScript, call: str, number: int, *, ordinal: int = 0) -> str:
    asked = leg("BTCUSD", "sell", "0.5")
    changes = {"strategy": "demo.hedge", "hedge_of": call, "policy": "best_effort"}
    hedge = str(script.trade(asked, ordinal=ordinal, **changes).trade_id)
    (order,) = script.placed()
    script.filled(order, number)
    assert script.state(hedge) == "OPEN"
    script.effects.clear()
    return hedge


def _reduce(script: PerpetualScript, trade_id: str, keep: str, request_id: str | None = None) -> Any:
    order = ReduceTrade(trade_id=trade_id, keep=D(keep), reason="delta", requested_by="strategy demo.hedge")
    return script.ask(order, request_id)


def test_what_is_beyond_the_part_to_keep_is_closed_reduce_only_and_the_rest_stays_open() -> None:
    script = _started()
    _, hedge = _hedged(script)
    assert _reduce(script, hedge, "0.2") == ReductionAccepted(trade_id=hedge, keep=D("0.2"))
    (order,) = script.placed()
    assert (order.symbol, order.side, order.quantity, order.reduce_only) == ("BTCUSD", "buy", D("0.3"), True)
    script.filled(order, 2)
    assert (script.state(hedge), script.held(hedge)) == ("OPEN", [D("0.2")])
    told = script.told(hedge)
    assert (told.legs[0].keep_quantity, told.legs[0].held_quantity, told.close_reason) == (D("0.2"), D("0.2"), "")
    script.wait(60_000)
    assert script.placed() == []
    assert script.alerts() == []
    assert script.core.book == script.refolded().book


def test_a_trade_that_was_reduced_is_closed_for_what_it_still_holds() -> None:
    script = _started()
    _, hedge = _hedged(script)
    _reduce(script, hedge, "0.2")
    (order,) = script.placed()
    script.filled(order, 2)
    script.wait(1_000)
    closing = script.closed(hedge, 3)
    assert closing.quantity == D("0.2")
    assert script.told(hedge).close_cost_usd == D("0.2") * closing.price, (
        "what was taken back before is no part of it"
    )


def test_it_is_reduced_once_however_often_it_is_asked_for_and_never_made_larger() -> None:
    script = _started()
    _, hedge = _hedged(script)
    first = _reduce(script, hedge, "0.2", "r1")
    assert _reduce(script, hedge, "0.2", "r1") == first
    assert _reduce(script, hedge, "0.4") == first
    assert len(script.rows(ReductionWanted)) == 1
    (order,) = script.placed()
    script.filled(order, 2)
    assert _reduce(script, hedge, "0.1") == ReductionAccepted(trade_id=hedge, keep=D("0.1"))
    script.wait(1_000)
    (more,) = script.placed()
    assert more.quantity == D("0.1")


def test_a_new_process_goes_on_with_a_reduction_and_closes_no_more_than_that() -> None:
    script = _started()
    _, hedge = _hedged(script)
    _reduce(script, hedge, "0.2")
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 2, "0.1", at_ns=script.now_ns))
    script.restarted()
    script.on(gone(script, order.client_order_id))
    script.wait(6_000).snapshot(positions=[position(CALL, "1", 1_000.0), position("BTCUSD", "-0.4", 100_000.0)])
    script.wait(3_000)
    orders = script.placed()
    assert [each.quantity for each in orders] == [D("0.2")]
    script.filled(orders[0], 3)
    assert (script.state(hedge), script.held(hedge)) == ("OPEN", [D("0.2")])


def test_what_undoing_its_opening_may_cost_bounds_no_reduction_of_a_position_that_loses() -> None:
    script = Script().started()
    most = ExecutionParams(phases=(LimitPhase(),), max_unwind_cost_usd=50.0)
    trade_id = script.opened(leg(CALL, "buy", "1"), execution_params=most)
    script.wait(10_000)
    script.chain_options = {"marks": {**MARKS, CALL: 700.0}}
    script.wait(2_000).snapshot(positions=[position(CALL, "1", 700.0)])
    script.effects.clear()
    order = ReduceTrade(trade_id=trade_id, keep=D("0.5"), reason="delta", requested_by="strategy demo")
    assert script.ask(order) == ReductionAccepted(trade_id=trade_id, keep=D("0.5"))
    (back,) = script.placed()
    assert (back.side, back.quantity, back.reduce_only) == ("sell", D("0.5"), True)
    script.fills_all(back, 5)
    script.wait(60_000)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("0.5")])
    assert script.placed() == []
    assert script.alerts() == []


def test_a_close_in_the_middle_of_a_reduction_closes_all_that_is_left() -> None:
    script = _started()
    _, hedge = _hedged(script)
    _reduce(script, hedge, "0.2")
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 2, "0.1", at_ns=script.now_ns))
    script.close(hedge)
    assert script.cancelled() == [order.client_order_id]
    script.on(gone(script, order.client_order_id))
    script.wait(1_000)
    (closing,) = script.placed()
    assert closing.quantity == D("0.4")
    script.filled(closing, 3)
    assert script.state(hedge) == "CLOSED"


def test_what_takes_longer_than_a_close_may_is_told() -> None:
    script = _started()
    _, hedge = _hedged(script)
    _reduce(script, hedge, "0.2")
    script.on(acked(script.placed()[0]))
    script.wait(script.config.close_patience_ms + 2_000)
    assert "surplus_not_reduced" in script.alerts()


@pytest.mark.parametrize(
    ("keep", "code"),
    [("0", "bad_quantity"), ("0.2005", "bad_quantity"), ("-1", "bad_quantity"), ("NaN", "bad_quantity")],
)
def test_a_part_that_could_not_be_kept_is_refused(keep: str, code: str) -> None:
    script = _started()
    _, hedge = _hedged(script)
    answer = _reduce(script, hedge, keep)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert script.rows(ReductionWanted) == []


def test_only_an_open_trade_of_one_leg_is_reduced() -> None:
    script = _started()
    call, hedge = _hedged(script)
    both = str(script.trade(leg(CALL, "buy"), leg(PUT, "buy"), ordinal=1).trade_id)
    for number, order in enumerate(script.placed()):
        script.filled(order, 10 + number)
    script.close(hedge)
    assert [_reduce(script, each, "0.1").code for each in (both, hedge, "t1")] == [
        "not_reducible",
        "not_open",
        "no_such_trade",
    ]
    assert _reduce(script, call, "0.5") == ReductionAccepted(trade_id=call, keep=D("0.5"))


def test_what_ended_hedges_made_is_told_with_the_trade_that_they_hedged_for_as_long_as_it_lives() -> None:
    script = _started()
    call, hedge = _hedged(script)
    script.mark = 99_000.0
    script.market()
    script.closed(hedge, 2)
    ended = script.told(hedge)
    assert ended.net_realized_usd > 0
    told = script.told(call)
    assert (told.ended_hedges_usd, told.ended_hedges_ns) == (ended.net_realized_usd, ended.closed_ns)
    still = _hedge(script, call, 3, ordinal=1)
    script.now_ns += 3 * DAY
    script.restarted()
    updates = {each.trade_id: each for each in script.published(type(told))}
    assert set(updates) == {call, still}, "a hedge that ended so long ago is not told of again"
    assert updates[call].ended_hedges_usd == ended.net_realized_usd


def test_a_fee_of_an_ended_hedge_that_comes_late_is_told_with_what_it_hedged() -> None:
    script = _started()
    call, hedge = _hedged(script)
    script.close(hedge)
    (order,) = script.placed()
    feeless = msgspec.structs.replace(fill(order, 2, at_ns=script.now_ns), fee_usd=None)
    script.on(acked(order)).on(feeless)
    script.wait(1_000)
    assert script.state(hedge) == "CLOSED"
    before = script.told(call).ended_hedges_usd
    script.on(msgspec.structs.replace(feeless, fee_usd=D("0.7")))
    assert script.told(call).ended_hedges_usd == before - D("0.7")

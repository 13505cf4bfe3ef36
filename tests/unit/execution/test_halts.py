"""What stops or closes trades by rule, with every other service dead if need be."""

from __future__ import annotations

import pytest

from services.execution.effects import CancelOrder, PlaceOrder
from services.execution.rows import HaltRaised
from shared.messages.conditions import MaxHold, TimeExit, UtcDatetimeExit
from shared.messages.control import FlattenLatch, HaltState, LiftHalts, RaiseHalt
from shared.messages.steps import LoopStalled
from shared.messages.trades import HaltLevel, Refusal
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    MARKS,
    PUT,
    SECOND,
    T0,
    Script,
    acked,
    beat,
    fill,
    intent,
    leg,
    position,
    seen,
)


def _halt(script: Script, level: HaltLevel, reason: str = "enough") -> HaltState:
    state: HaltState = script.ask(RaiseHalt(level=level, reason=reason, requested_by="operator")).state
    return state


@pytest.mark.parametrize("level", ["no_new_trades", "cancel_all", "flatten"])
def test_any_halt_cancels_opening_orders_and_unwinds_a_half_open_trade(level: HaltLevel) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), policy="best_effort")
    first, second = script.placed()
    script.fills_all(first, 1)
    script.on(acked(second))
    state = _halt(script, level)
    assert (state.halt_epoch, [h.level for h in state.halts]) == (1, [level])
    assert script.cancelled() == [second.client_order_id]
    assert script.trade(trade_id).state == "UNWINDING"
    (back,) = script.placed()
    assert (back.symbol, back.reduce_only) == (CALL, True)
    script.fills_all(back, 2)
    assert script.state(trade_id) == "UNWINDING"
    script.cancels_all(second)
    assert script.state(trade_id) == "FAILED"


def test_a_halt_leaves_open_trades_alone_and_flatten_closes_them() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    _halt(script, "cancel_all")
    assert script.state(trade_id) == "OPEN"
    _halt(script, "flatten")
    assert script.state(trade_id) == "CLOSING"
    (order,) = script.placed()
    assert script.order(order).purpose == "flatten"
    script.fills_all(order, 9)
    assert script.state(trade_id) == "CLOSED"


def test_a_flatten_withdraws_what_still_opens_before_it_closes_anything() -> None:
    script = Script().started()
    held = script.opened(leg(CALL, "buy"))
    resting = script.open(leg(PUT, "buy"), ordinal=1)
    (order,) = script.placed()
    script.on(acked(order))
    script.effects.clear()
    _halt(script, "flatten")
    assert [type(effect).__name__ for effect in script.effects if isinstance(effect, CancelOrder | PlaceOrder)] == [
        "CancelOrder",
        "PlaceOrder",
    ]
    assert (script.state(held), script.state(resting)) == ("CLOSING", "UNWINDING")


def test_halts_are_latched_over_a_restart_until_the_operator_lifts_them() -> None:
    script = Script().started()
    _halt(script, "no_new_trades")
    script.restarted()
    assert script.published(HaltState)[0].halt_epoch == 1
    assert [halt.reason for halt in script.core.book.halts] == ["enough"]
    lifted = script.ask(LiftHalts(requested_by="operator")).state
    assert (lifted.halts, lifted.halt_epoch) == ((), 1)
    script.restarted()
    assert script.published(HaltState)[0].halts == ()


def test_the_same_halt_raised_again_is_one_halt() -> None:
    script = Script().started()
    _halt(script, "no_new_trades")
    assert _halt(script, "no_new_trades").halt_epoch == 1
    assert _halt(script, "no_new_trades", "other").halt_epoch == 2
    assert len(script.rows(HaltRaised)) == 2


def test_flatten_works_with_every_other_service_dead() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(HIGH_CALL, "buy"))
    script.market_on = script.risk_on = script.host_on = False
    script.wait(10_000)
    _halt(script, "flatten")
    script.snapshot(positions=[position(CALL, "-1", 1010.0), position(HIGH_CALL, "1", 310.0)])
    number = 500
    for _ in range(20):
        for order in script.placed():
            number += 1
            script.fills_all(order, number)
        script.wait(1_000)
        script.snapshot(positions=script.positions())
    assert script.state(trade_id) == "CLOSED"


def test_a_silent_risk_service_voids_grants_a_half_open_trade_unwinds_and_an_open_one_stays() -> None:
    script = Script().started()
    open_id = script.opened(leg(HIGH_CALL, "buy"))
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), ordinal=1)
    first, second = script.placed()
    script.fills_all(first, 1)
    script.on(acked(second))
    script.risk_on = False
    script.wait(2_900)
    assert script.state(trade_id) == "OPENING"
    script.wait(1_500)
    assert script.trade(trade_id).state == "UNWINDING"
    assert "risk_silent" in script.alerts()
    assert script.cancelled()[:1] == [second.client_order_id]
    assert script.state(open_id) == "OPEN"


def test_after_a_restart_or_a_stall_every_service_gets_its_full_silence_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.risk_on = False
    script.wait(2_500)
    script.now_ns += 60 * SECOND
    script.on(LoopStalled(gap_ns=60 * SECOND))
    assert script.state(trade_id) == "OPENING"
    script.restarted()
    script.wait(2_900)
    assert script.state(trade_id) == "OPENING"
    script.wait(500)
    assert script.state(trade_id) == "UNWINDING"


def test_after_a_restart_or_a_stall_nothing_is_sent_on_a_grant_before_risk_was_heard() -> None:
    """Risk died and gave a grant before: each restart would give it three more seconds in which to be used."""
    script = Script().started()
    half_open = script.open(leg(HIGH_CALL, "buy"), leg(CALL, "sell"))
    (long,) = script.placed()
    script.risk_on = False
    script.restarted().snapshot()
    script.fills_all(long, 1)
    assert script.placed() == []
    assert "not heard" in script.trade(half_open).reason
    refused = script.ask(intent(leg(PUT, "buy"), ordinal=1, now_ns=script.now_ns))
    assert isinstance(refused, Refusal)
    assert (refused.code, "risk" in refused.detail) == ("not_ready", True)
    script.inbound(beat("risk", script.now_ns))
    assert [order.symbol for order in script.placed()] == [CALL]
    accepted = script.ask(intent(leg(PUT, "buy"), ordinal=1, now_ns=script.now_ns))
    assert script.state(accepted.trade_id) == "OPENING"
    (put,) = script.placed()
    script.on(LoopStalled(gap_ns=5 * SECOND)).snapshot()
    script.cancels_all(put)
    script.now_ns += 2 * SECOND
    script.market()
    assert script.placed() == []
    script.inbound(beat("risk", script.now_ns))
    assert [order.symbol for order in script.placed()] == [PUT]


@pytest.mark.parametrize(("policy", "state"), [("hold", "OPEN"), ("close", "CLOSING")])
def test_a_silent_host_holds_or_closes_as_the_trade_declares(policy: str, state: str) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), if_host_silent=policy, host_silent_after_s=20.0)
    script.host_on = False
    script.wait(19_000)
    assert script.state(trade_id) == "OPEN"
    script.wait(3_000)
    assert script.state(trade_id) == state


def test_the_hard_deadline_closes_the_trade_with_the_host_dead_and_over_a_restart() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), hard_deadline_ns=script.now_ns + 40 * SECOND)
    script.host_on = False
    script.restarted()
    script.wait(2_000)
    script.snapshot(positions=script.positions())
    assert script.state(trade_id) == "OPEN"
    script.wait(35_000)
    assert script.state(trade_id) == "CLOSING"
    assert "deadline" in script.trade(trade_id).reason


def _seconds_after_midnight(now_ns: int) -> int:
    return now_ns // SECOND % 86_400


@pytest.mark.parametrize("restart", [False, True])
def test_a_daily_exit_time_that_passes_while_the_trade_opens_is_the_next_days(restart: bool) -> None:
    """Asked for shortly before 08:00 and opened shortly after it, the trade is not closed half a minute later."""
    script = Script(begins_ns=_next_eight(T0) - 15 * SECOND).started()
    script.wait(5_000)
    trade_id = script.open(leg(CALL, "buy"), exit_conditions=(TimeExit(hour=8),))
    script.wait(20_000)
    for number, order in enumerate(script.placed()[-1:]):
        script.fills_all(order, 1 + number)
    assert script.state(trade_id) == "OPEN"
    assert script.trade(trade_id).hard_deadline_ns == _next_eight(script.now_ns) + 30 * SECOND
    script.host_on = False
    if restart:
        script.restarted()
        script.wait(5_000)
        script.snapshot(positions=script.positions())
    script.wait(120_000)
    assert script.state(trade_id) == "OPEN"


def _next_eight(now_ns: int) -> int:
    return now_ns - _seconds_after_midnight(now_ns) * SECOND + (24 + 8) * 3_600 * SECOND


@pytest.mark.parametrize("restart", [False, True])
def test_the_longest_holding_time_counts_from_the_opening_and_is_enforced_without_the_host(restart: bool) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), exit_conditions=(MaxHold(hours=1 / 60),), deadline_grace_s=10.0)
    (order,) = script.placed()
    script.on(acked(order))
    script.wait(25_000)
    script.on(fill(order, 1)).on(seen(order, "filled", "1"))
    assert script.state(trade_id) == "OPEN"
    opened_ns = script.now_ns
    assert script.trade(trade_id).hard_deadline_ns == opened_ns + 70 * SECOND
    script.host_on = False
    script.wait(5_000)
    if restart:
        script.restarted()
    script.snapshot(positions=script.positions())
    script.wait(64_000)
    assert script.state(trade_id) == "OPEN"
    script.wait(2_000)
    assert script.state(trade_id) == "CLOSING"


def test_a_fixed_exit_time_is_enforced_although_the_trade_is_still_opening() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), exit_conditions=(UtcDatetimeExit(at_ns=script.now_ns + 5 * SECOND),))
    (order,) = script.placed()
    script.on(acked(order))
    script.wait(20_000)
    assert script.state(trade_id) == "OPENING"
    script.wait(16_000)
    assert script.cancelled()[:1] == [order.client_order_id]
    assert "deadline" in script.trade(trade_id).reason


def test_the_maximum_loss_is_measured_on_fresh_marks_only() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), max_loss_usd=100.0)
    script.chain_options = {"marks": {**MARKS, CALL: 500.0}, "markless": [CALL]}
    script.wait(2_000)
    assert script.state(trade_id) == "OPEN"
    script.chain_options = {"marks": {**MARKS, CALL: 930.0}}
    script.wait(2_000)
    assert script.state(trade_id) == "OPEN"
    script.chain_options = {"marks": {**MARKS, CALL: 915.0}}
    script.wait(2_000)
    assert script.state(trade_id) == "CLOSING"
    assert "loss on mark" in script.trade(trade_id).reason


def test_a_missing_mark_of_one_leg_is_no_loss_of_the_other() -> None:
    """Counted as zero, the gain of the unmarked leg would be missing and a hedged move would look like a loss."""
    script = Script().started()
    trade_id = script.opened(leg(HIGH_CALL, "buy"), leg(CALL, "sell"), max_loss_usd=100.0)
    moved = {**MARKS, CALL: 1_500.0, HIGH_CALL: 800.0}
    script.chain_options = {"marks": moved, "markless": [HIGH_CALL]}
    script.wait(3_000)
    assert script.state(trade_id) == "OPEN"
    script.chain_options = {"marks": {**moved, HIGH_CALL: 650.0}}
    script.wait(3_000)
    assert script.state(trade_id) == "CLOSING"


def test_a_wide_book_right_after_opening_is_no_loss() -> None:
    """A stop on executable prices showed -125 % on a wide spread; ours is on mark."""
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), max_loss_usd=100.0)
    script.chain_options = {"half_spread": 900.0}
    script.wait(3_000)
    assert script.state(trade_id) == "OPEN"


def test_a_halt_before_the_venue_is_known_is_in_force_at_once() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, "0.5"))
    script.restarted()
    _halt(script, "flatten")
    assert script.cancelled() == [order.client_order_id]
    assert script.state(trade_id) == "UNWINDING"
    assert script.placed() == []


def _latch(script: Script, latch_id: str = "flatten-direct-1") -> None:
    script.on(FlattenLatch(latch_id=latch_id, raised_by="flatten --direct", reason="host lost"))


def test_a_latch_left_by_a_direct_flatten_halts_before_anything_is_placed() -> None:
    script = Script().started()
    script.restarted()
    _latch(script)
    script.snapshot()
    (halt,) = script.core.book.halts
    assert (halt.level, halt.raised_by, halt.reason) == ("flatten", "flatten --direct", "host lost")
    refused = script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns))
    assert isinstance(refused, Refusal)
    assert script.placed() == []


def test_a_latch_counts_once_however_often_it_is_found_and_never_after_resume() -> None:
    script = Script().started()
    _latch(script)
    _latch(script)
    assert len(script.rows(HaltRaised)) == 1
    script.ask(LiftHalts(requested_by="operator"))
    script.restarted()
    _latch(script)
    assert script.core.book.halts == []
    _latch(script, "flatten-direct-2")
    assert len(script.core.book.halts) == 1


def test_a_halt_with_an_endless_reason_halts_and_is_published_short() -> None:
    script = Script().started()
    state = script.ask(RaiseHalt(level="flatten", reason="x" * 60_000, requested_by="y" * 60_000)).state
    assert [halt.level for halt in state.halts] == ["flatten"]
    assert len(state.halts[0].reason) == len(state.halts[0].raised_by) == 500
    again = script.ask(RaiseHalt(level="flatten", reason="x" * 60_000, requested_by="y" * 60_000)).state
    assert again == state


def test_thousands_of_halts_stay_one_short_list_and_a_higher_level_still_counts() -> None:
    script = Script().started()
    for number in range(1_000):
        script.ask(RaiseHalt(level="no_new_trades", reason=f"reason {number}", requested_by="script"))
    assert len(script.core.book.halts) == 100
    state = script.ask(RaiseHalt(level="flatten", reason="now", requested_by="operator")).state
    assert [halt.level for halt in state.halts[-1:]] == ["flatten"]


def test_a_heartbeat_in_time_decides_nothing_and_one_after_a_silence_does() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    wake_ns, rows, effects = script.core.next_deadline_ns(), len(script.entries), len(script.effects)
    script.now_ns += SECOND
    for service in ("risk", "strategy"):
        script.inbound(beat(service, script.now_ns))
    assert (len(script.entries), len(script.effects)) == (rows, effects)
    assert script.core.next_deadline_ns() == wake_ns
    script.now_ns += 60 * SECOND
    script.inbound(beat("strategy", script.now_ns))
    assert script.core.book.trades[trade_id].stop is not None, (
        "the risk service was silent for a minute, and that is seen now"
    )

"""Which intents become trades, which are refused and why, and that each has one outcome for ever."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.execution.checks import UNRECORDED_REFUSALS
from services.execution.rows import IntentRefused, TradeRequested
from shared.messages.conditions import MaxHold, MaxLoss, ProfitTarget, StructureDeltaLimit, TimeExit, UtcDatetimeExit
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.grants import signed
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.steps import LoopStalled
from shared.messages.system import GetStatus
from shared.messages.trades import (
    ExecutionParams,
    ListTrades,
    OpenTrade,
    Refusal,
    TellTrade,
    TradeAccepted,
)
from shared.messages.venue import StreamDown, StreamUp
from tests.unit.execution.play import CALL, EXPIRY_NS, HIGH_CALL, KEY, PUT, SECOND, T0, Script, intent, leg, position


def _changed(change: dict[str, Any]) -> OpenTrade:
    return msgspec.structs.replace(intent(leg(CALL, "buy")), **change)


def _granted(**change: Any) -> OpenTrade:
    base = intent(leg(CALL, "buy"))
    return msgspec.structs.replace(base, grant=signed(msgspec.structs.replace(base.grant, **change), KEY))


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("wrong_account", _changed({"account_id": "a2"})),
        ("bad_intent_id", _changed({"intent_id": "demo-9"})),
        ("intent_expired", _changed({"valid_until_ns": T0})),
        ("bad_legs", _changed({"legs": ()})),
        ("bad_legs", intent(leg(CALL, "buy"), leg(CALL, "sell"))),
        ("bad_params", _changed({"smart": SmartParams(reprice_interval_s=9.0)})),
        ("bad_params", _changed({"smart": SmartParams(aggressive_wait_s=float("nan"))})),
        ("bad_params", _changed({"smart": SmartParams(total_duration_s=39.0)})),
        ("bad_params", _changed({"execution_mode": "rfq", "rfq": RfqParams(window_s=0.0)})),
        ("bad_params", _changed({"execution_mode": "rfq", "rfq": RfqParams(max_over_mark_pct=float("nan"))})),
        (
            "below_min_notional",
            _changed({"execution_mode": "rfq", "rfq": RfqParams(min_notional_usd=1e6, fallback=None)}),
        ),
        ("bad_params", _changed({"execution_params": ExecutionParams(phases=())})),
        ("bad_params", _changed({"execution_params": ExecutionParams(max_requote_rounds=0)})),
        (
            "grant_forged",
            _changed({"grant": msgspec.structs.replace(intent(leg(CALL, "buy")).grant, margin_usd=1.0)}),
        ),
        ("grant_of_other", _granted(intent_id="demo-9")),
        ("grant_expired", _granted(deadline_ns=T0)),
        ("outside_grant", _changed({"legs": (leg(CALL, "buy", "2"),)})),
        ("outside_grant", _changed({"legs": (leg(CALL, "sell"),)})),
        ("grant_void", _granted(halt_epoch=3)),
        ("bad_quantity", intent(leg(CALL, "buy", "0.015"))),
        ("bad_quantity", intent(leg(CALL, "buy", "-1"))),
        ("above_maximum", intent(leg(CALL, "buy", "100001"))),
        ("market_stale", intent(leg("BTCUSD-1JAN27-1-C", "buy"))),
    ],
)
def test_an_intent_that_fails_a_check_is_refused_with_its_code_and_opens_nothing(
    code: str, request_: OpenTrade
) -> None:
    script = Script().started()
    answer = script.ask(request_)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert answer.detail
    assert not script.rows(TradeRequested)
    assert not script.placed()
    assert bool(script.rows(IntentRefused)) == (code not in UNRECORDED_REFUSALS)


def test_an_instrument_that_stops_trading_soon_is_refused() -> None:
    script = Script()
    script.now_ns = EXPIRY_NS - 1_100 * SECOND
    script.started()
    assert script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns)).code == "expiring"


def test_nothing_opens_before_the_venue_was_compared_and_the_same_intent_may_come_again() -> None:
    script = Script()
    script.core.start(T0)
    script.market()
    script.beats()
    wanted = intent(leg(CALL, "buy"))
    assert script.ask(wanted).code == "not_ready"
    script.snapshot()
    assert isinstance(script.ask(wanted), TradeAccepted)
    script.on(StreamDown(reason="gone"))
    assert script.ask(intent(leg(CALL, "buy"), ordinal=1)).code == "not_ready"
    script.on(StreamUp())
    assert script.ask(intent(leg(CALL, "buy"), ordinal=1)).code == "not_ready"
    script.wait(1)
    script.snapshot()
    assert isinstance(script.ask(intent(leg(CALL, "buy"), ordinal=1)), TradeAccepted)
    script.on(LoopStalled(gap_ns=5 * SECOND))
    assert script.ask(intent(leg(CALL, "buy"), ordinal=2)).code == "not_ready"


def test_a_stale_or_markless_market_refuses_for_the_moment_only() -> None:
    script = Script().started()
    script.market_on = False
    script.wait(6_000)
    wanted = intent(leg(CALL, "buy"))
    assert script.ask(wanted).code == "market_stale"
    script.chain_options = {"markless": [CALL]}
    script.market()
    assert script.ask(wanted).code == "market_stale"
    script.chain_options = {}
    script.market()
    assert isinstance(script.ask(wanted), TradeAccepted)


def test_the_same_intent_opens_one_trade_whatever_it_says_the_second_time_also_after_a_restart() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    other = intent(leg(PUT, "sell"))
    assert script.ask(other) == TradeAccepted(intent_id="demo-0", trade_id=trade_id)
    script.restarted()
    script.snapshot()
    assert script.ask(other) == TradeAccepted(intent_id="demo-0", trade_id=trade_id)
    assert len(script.rows(TradeRequested)) == 1


def test_a_refused_intent_stays_refused_though_its_reason_is_gone() -> None:
    script = Script().started()
    script.ask(RaiseHalt(level="no_new_trades", reason="lunch", requested_by="operator"))
    wanted = intent(leg(CALL, "buy"))
    first = script.ask(wanted)
    assert first.code == "halted"
    script.ask(LiftHalts(requested_by="operator"))
    assert script.ask(wanted) == first
    script.restarted()
    script.snapshot()
    assert script.ask(wanted) == first
    assert script.ask(intent(leg(CALL, "buy"), ordinal=1)).code == "grant_void"
    assert isinstance(script.ask(intent(leg(CALL, "buy"), ordinal=2, halt_epoch=1)), TradeAccepted)


def test_an_ordinal_below_the_highest_used_never_opens_again() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"), ordinal=5)
    assert script.ask(intent(leg(PUT, "buy"), ordinal=4)).code == "intent_known"
    assert isinstance(script.ask(intent(leg(PUT, "buy"), ordinal=0, strategy="other")), TradeAccepted)


def test_a_leg_against_another_trade_of_the_account_is_refused() -> None:
    script = Script().started()
    first = script.opened(leg(CALL, "sell"))
    assert script.ask(intent(leg(CALL, "buy"), ordinal=1, now_ns=script.now_ns)).code == "would_net"
    same_side = script.ask(intent(leg(CALL, "sell"), ordinal=2, now_ns=script.now_ns))
    assert isinstance(same_side, TradeAccepted)
    assert first != same_side.trade_id


def test_a_leg_against_a_position_that_is_not_ours_is_refused() -> None:
    script = Script().started()
    script.snapshot(positions=[position(CALL, "-2")])
    script.wait(3_000)
    script.snapshot(positions=[position(CALL, "-2")])
    assert script.ask(intent(leg(CALL, "buy"), now_ns=script.now_ns)).code == "would_net"
    assert isinstance(script.ask(intent(leg(CALL, "sell"), ordinal=1, now_ns=script.now_ns)), TradeAccepted)


def test_a_repeated_request_is_answered_as_the_first_time_and_acts_once_also_after_a_restart() -> None:
    script = Script().started()
    halt = RaiseHalt(level="no_new_trades", reason="lunch", requested_by="operator")
    first = script.ask(halt, "id-1")
    lift = script.ask(LiftHalts(requested_by="operator"), "id-2")
    assert script.ask(halt, "id-1") == first
    script.restarted()
    assert script.ask(halt, "id-1") == first
    assert script.core.book.halts == []
    script.ask(msgspec.structs.replace(halt, reason="again"), "id-3")
    assert script.ask(LiftHalts(requested_by="operator"), "id-2") == lift
    assert len(script.core.book.halts) == 1


def test_requests_about_nothing_known_are_refused_with_a_remedy() -> None:
    script = Script().started()
    assert script.close("t1").code == "no_such_trade"
    assert script.cancel(trade_id="t1").code == "no_such_trade"
    assert script.cancel(client_order_id=1).code == "no_such_order"
    assert script.ask(TellTrade(trade_id="t1")).code == "no_such_trade"
    assert script.ask(GetStatus()).code == "unknown_request"


def test_lists_are_newest_first_and_bounded() -> None:
    script = Script().started()
    first = script.open(leg(CALL, "buy"))
    second = script.open(leg(PUT, "buy"), ordinal=1)
    assert [t.trade_id for t in script.ask(ListTrades()).trades] == [second, first]
    assert [t.trade_id for t in script.ask(ListTrades(limit=1)).trades] == [second]


def test_a_grant_given_before_risk_fell_silent_is_void_after_it_came_back() -> None:
    script = Script().started()
    old = intent(leg(CALL, "buy"), deadline_ns=T0 + 600 * SECOND)
    old = msgspec.structs.replace(old, valid_until_ns=T0 + 600 * SECOND)
    script.risk_on = False
    script.wait(5_000)
    silent = intent(leg(CALL, "buy"), ordinal=1, now_ns=script.now_ns, strategy="other")
    assert script.ask(silent).code == "risk_silent"
    script.risk_on = True
    script.wait(2_000)
    assert script.ask(old).code == "risk_silent"
    new = intent(leg(CALL, "buy"), ordinal=1, now_ns=script.now_ns)
    assert isinstance(script.ask(new), TradeAccepted)


def test_legs_out_of_the_proportion_that_was_granted_are_refused() -> None:
    """Less of what protects, and no more than granted of any leg: still not the structure that risk has judged."""
    script = Script().started()
    asked = intent(leg(HIGH_CALL, "buy"), leg(CALL, "sell"))
    halved = msgspec.structs.replace(asked, legs=(leg(HIGH_CALL, "buy", "0.5"), leg(CALL, "sell")))
    refusal = script.ask(halved)
    assert (refusal.code, "proportion" in refusal.detail) == ("outside_grant", True)
    both_halved = intent(leg(HIGH_CALL, "buy"), leg(CALL, "sell"), ordinal=1)
    both = (leg(HIGH_CALL, "buy", "0.5"), leg(CALL, "sell", "0.5"))
    assert isinstance(script.ask(msgspec.structs.replace(both_halved, legs=both)), TradeAccepted)


def test_nothing_opens_in_a_symbol_whose_position_disagreed_once_until_it_was_looked_at_again() -> None:
    script = Script().started()
    script.snapshot(positions=[position(CALL, "-2")])
    wanted = intent(leg(CALL, "sell"), now_ns=script.now_ns)
    refusal = script.ask(wanted)
    assert (refusal.code, "looked at again" in refusal.detail) == ("not_ready", True)
    assert isinstance(script.ask(intent(leg(PUT, "sell"), strategy="other", now_ns=script.now_ns)), TradeAccepted)
    script.wait(3_000)
    script.snapshot(positions=[position(CALL, "-2")])
    assert isinstance(script.ask(wanted), TradeAccepted)


def test_an_ordinal_below_0_is_refused() -> None:
    script = Script().started()
    refusal = script.ask(intent(leg(CALL, "buy"), ordinal=-5, strategy="new"))
    assert (refusal.code, refusal.detail) == ("intent_known", "ordinal -5 of new is below 0")
    assert script.rows(IntentRefused) == []


@pytest.mark.parametrize(
    "condition",
    [
        MaxLoss(pct=float("nan")),
        ProfitTarget(usd=float("inf")),
        MaxHold(hours=1e9),
        MaxHold(hours=-1.0),
        TimeExit(hour=24),
        TimeExit(hour=0, minute=1 << 62),
        UtcDatetimeExit(at_ns=-1),
        StructureDeltaLimit(limit=float("nan")),
    ],
    ids=repr,
)
def test_an_exit_that_could_never_be_decided_is_refused(condition: Any) -> None:
    refusal = Script().started().ask(intent(leg(CALL, "buy"), exit_conditions=(condition,)))
    assert (refusal.code, " must be " in refusal.detail) == ("bad_params", True)


def test_a_deadline_that_is_no_time_is_refused() -> None:
    refusal = Script().started().ask(intent(leg(CALL, "buy"), hard_deadline_ns=(1 << 64) - 1))
    assert refusal.code == "bad_params"

"""What a host says of itself: each gate and each exit, its reason, and since when."""

from __future__ import annotations

from shared.messages.control import GrantRefused, RequestGrant, TradeExits
from shared.messages.trades import Refusal
from shared.strategy import StrategyConfig, max_hold_hours, min_equity, profit_target, straddle
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import HOUR, SECOND, leg, trade
from tests.unit.strategy.test_host_entry import run_one_trade, straddler


def refuse(desk: Dialogue) -> None:
    """Risk refuses the intent in flight."""
    desk.answer(
        GrantRefused(intent_id="straddler-1", strategy="straddler", code="margin", detail="margin 85 %, limit 80 %")
    )


def until_asked(desk: Dialogue) -> None:
    """Wait until risk is asked again."""
    count = desk.count(RequestGrant)
    while desk.count(RequestGrant) == count:
        desk.wait(0.5)


def exits_of(desk: Dialogue) -> TradeExits:
    (shown,) = desk.status().exits
    return shown


def test_a_gate_keeps_its_time_while_its_wording_changes() -> None:
    desk = Dialogue(straddler(entry_conditions=[min_equity(1e9)]))
    desk.ready()
    closed = desk.gate("min_equity")
    desk.wait(30)
    assert (desk.gate("min_equity").open, desk.gate("min_equity").since_ns) == (False, closed.since_ns)
    assert desk.gate("market_data").since_ns < desk.now_ns - 29 * SECOND


def test_the_age_of_market_and_account_are_gates_of_their_own() -> None:
    desk = Dialogue(straddler(entry_conditions=[min_equity(1e9)]))
    desk.ready()
    assert desk.gate("market_data").reason == "BTCUSD 0.5 s old, at most 10 s"
    assert desk.gate("account").reason == "0.5 s old, at most 30 s"
    seen_ns = desk.now_ns
    desk.wait(40, fresh=False)
    assert not desk.gate("market_data").open
    assert "is 40.0 s old" in desk.gate("account").reason
    assert seen_ns < desk.gate("market_data").since_ns < desk.gate("account").since_ns


def test_nothing_is_asked_of_risk_on_an_account_that_is_too_old() -> None:
    desk = Dialogue(straddler())
    desk.synced()
    desk.beat()
    desk.market()
    for _ in range(20):
        desk.now_ns += SECOND
        desk.beat()
        desk.market()
    assert desk.sent == []
    assert desk.gate("account").reason == "waiting: no account snapshot yet"
    assert desk.gate("legs").open


def test_a_refusal_by_risk_closes_a_gate_from_the_first_one_until_it_grants() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    assert desk.gate("risk_refusal").reason == "nothing was refused"
    refuse(desk)
    first_ns = desk.gate("risk_refusal").since_ns
    assert first_ns == desk.now_ns
    until_asked(desk)
    refuse(desk)
    desk.wait(2)
    gate = desk.gate("risk_refusal")
    assert (gate.open, gate.since_ns) == (False, first_ns)
    assert gate.reason == "refused 2× in a row, last 2 s ago: risk: margin 85 %, limit 80 %"
    assert desk.gate("execution_refusal").open
    until_asked(desk)
    run_one_trade(desk)
    assert desk.gate("risk_refusal").reason == "nothing was refused"


def test_a_refusal_by_execution_is_execution_s_and_not_risk_s() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    refuse(desk)
    until_asked(desk)
    desk.give_grant()
    desk.answer(Refusal(code="would_net", detail="would net against t7"))
    assert desk.gate("risk_refusal").open
    gate = desk.gate("execution_refusal")
    assert not gate.open
    assert gate.reason.endswith("execution: would net against t7")


def test_a_refusal_counts_no_more_while_another_gate_keeps_it_from_being_asked_again() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    refuse(desk)
    assert not desk.gate("risk_refusal").open
    desk.command("pause")
    gate = desk.gate("risk_refusal")
    assert gate.open
    assert gate.reason.startswith("not asked while state is closed; refused 1×")


def test_each_exit_of_an_open_trade_is_told_with_its_value_and_since_when() -> None:
    held = trade(
        legs=[leg("BTCUSD-5MAR26-100000-C", "buy", "1", "1")], exits=[max_hold_hours(5), profit_target(usd=1e9)]
    )
    desk = Dialogue(straddler(entry_conditions=[min_equity(1e9)]))
    desk.opened(held)
    desk.ready()
    desk.wait(60)
    shown = exits_of(desk)
    assert (shown.trade_id, shown.state, shown.closing) == ("t1001", "OPEN", "")
    assert [gate.name for gate in shown.conditions] == ["max_hold", "profit_target"]
    assert shown.conditions[0].reason == "open for 60 s of 5.0 h"
    assert "target 1000000000.00 USD" in shown.conditions[1].reason
    assert all(not gate.open and gate.since_ns < desk.now_ns - 50 * SECOND for gate in shown.conditions)
    published = desk.published
    desk.now_ns += 5 * HOUR
    desk.surroundings()
    desk.wait(0.01, fresh=False)
    assert exits_of(desk).conditions[0].open
    assert exits_of(desk).closing.startswith("open for 5.0 h")
    assert desk.published > published


def test_values_that_move_are_not_published_before_their_time() -> None:
    held = trade(legs=[leg("BTCUSD-5MAR26-100000-C", "buy", "1", "1")], exits=[profit_target(usd=1e9)])
    desk = Dialogue(straddler(entry_conditions=[min_equity(1e9)]))
    desk.opened(held)
    desk.ready()
    published = desk.published
    desk.market(index=101_000.0)
    desk.market(index=102_000.0)
    assert desk.published == published


def test_after_a_restart_times_begin_anew() -> None:
    desk = Dialogue(straddler(entry_conditions=[min_equity(1e9)]))
    desk.ready()
    desk.wait(60)
    restarted_ns = desk.now_ns
    desk.restart()
    desk.ready()
    assert desk.gate("min_equity").since_ns >= restarted_ns


def test_two_conditions_of_a_kind_are_told_apart() -> None:
    config = StrategyConfig(
        name="straddler",
        legs=straddle("0.1"),
        entry_conditions=[min_equity(1), min_equity(2)],
        check_interval_seconds=5,
    )
    desk = Dialogue(type(straddler()).from_config(config))
    desk.ready()
    names = [gate.name for gate in desk.status().gates]
    assert names.count("min_equity") == names.count("min_equity#2") == 1

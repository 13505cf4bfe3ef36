"""Exits: looked at on fresh data, asked for until the trade has left OPEN, whatever becomes of the strategy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.strategy.loaded import LoadedStrategy
from shared.messages.conditions import HostFunction
from shared.messages.control import RequestGrant
from shared.messages.steps import ReplyReceived, Tick
from shared.messages.trades import CloseAccepted, Refusal, TradeState, TradeUpdate
from shared.strategy import (
    ExitView,
    StrategyConfig,
    Verdict,
    all_of,
    any_of,
    for_at_least,
    max_hold_hours,
    min_equity,
    not_,
    profit_target,
    straddle,
    time_exit,
)
from shared.strategy.condition_functions import as_data
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import HOUR, NOON, SECOND, at, leg, moved, trade

CALL = "BTCUSD-5MAR26-100000-C"


def gated(**more: Any) -> LoadedStrategy:
    """A strategy that opens nothing, so that the tests see only its exits."""
    fields: dict[str, Any] = {
        "name": "straddler",
        "legs": straddle("0.1"),
        "entry_conditions": [min_equity(1e9)],
        "check_interval_seconds": 5,
    }
    return LoadedStrategy.from_config(StrategyConfig(**(fields | more)))


def held(*exits: Any, state: TradeState = "OPEN", strategy: str = "straddler", paid: str = "1") -> TradeUpdate:
    return trade(state, strategy=strategy, legs=[leg(CALL, "buy", "1", paid)], exits=exits)


def test_an_exit_that_answers_yes_closes_with_its_reason() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=100)))
    desk.ready()
    assert [(close.trade_id, close.requested_by) for close in desk.closes()] == [("t1001", "strategy straddler")]
    assert desk.closes()[0].reason.startswith("P&L ")
    assert desk.sent[-1].service == "execution"
    assert "t1001: closing: P&L" in desk.status().reason


def test_nothing_is_closed_before_executions_events_were_replayed() -> None:
    desk = Dialogue(gated())
    desk.opened(held(max_hold_hours(1)))
    desk.now_ns += 2 * HOUR
    desk.surroundings()
    desk.wait(10)
    assert desk.sent == []
    desk.synced()
    assert len(desk.closes()) == 1


def test_an_exit_by_the_clock_needs_no_market() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1e9), time_exit(12, 1)))
    desk.synced()
    desk.wait(59, fresh=False)
    assert desk.closes() == []
    desk.wait(2, fresh=False)
    assert desk.now_ns == at("2026-03-04T12:01")
    assert len(desk.closes()) == 1


@pytest.mark.parametrize("state", ["PENDING_OPEN", "OPENING", "PENDING_CLOSE", "CLOSING", "UNWINDING", "BROKEN"])
def test_only_open_trades_are_closed(state: TradeState) -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1), state=state))
    desk.ready()
    desk.wait(5)
    assert desk.sent == []


def test_the_exits_of_a_broken_trade_that_is_held_go_on_and_close_it_once() -> None:
    desk = Dialogue(gated())
    broken = msgspec.structs.replace(held(profit_target(usd=1), state="BROKEN"), if_broken="hold")
    desk.opened(broken)
    desk.ready()
    assert len(desk.closes()) == 1
    desk.answer(CloseAccepted(trade_id="t1001", state="BROKEN"))
    for _ in range(3):
        desk.wait(60)
        due_ns = desk.core.next_deadline_ns()
        assert due_ns is not None
        assert due_ns > desk.now_ns, "the host would ask to be woken at once, again and again"
    assert len(desk.closes()) == 1
    desk.opened(moved(broken, "CLOSED", desk.now_ns))
    desk.wait(5)
    assert desk.status().open_trades == 0


def test_a_partially_open_trade_is_closed_by_its_exits_too() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1), state="PARTIALLY_OPEN"))
    desk.ready()
    assert len(desk.closes()) == 1


def test_a_close_is_asked_for_again_until_the_trade_has_left_open() -> None:
    desk = Dialogue(gated())
    opened = held(profit_target(usd=1))
    desk.opened(opened)
    desk.ready()
    first_id = desk.sent[-1].request_id
    desk.time_out()
    desk.wait(5)
    assert [effect.request_id for effect in desk.sent] == [first_id, first_id]
    desk.answer(Refusal(code="not_ready", detail="reconciling"))
    desk.wait(5)
    assert len(desk.closes()) == 3
    assert desk.sent[-1].request_id != first_id
    desk.answer(CloseAccepted(trade_id="t1001", state="PENDING_CLOSE"))
    desk.opened(moved(opened, "PENDING_CLOSE", desk.now_ns))
    desk.wait(20)
    assert len(desk.closes()) == 3


def test_a_decided_exit_stays_decided_when_the_price_comes_back() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=100), paid="500"))
    desk.ready()
    assert len(desk.closes()) == 1
    desk.answer(Refusal(code="not_ready", detail="reconciling"))
    for _ in range(12):
        desk.now_ns += SECOND
        desk.beat()
        desk.market(index=80_000.0)
    assert len(desk.closes()) == 2


def test_after_a_restart_the_exits_of_open_trades_go_on() -> None:
    desk = Dialogue(gated())
    opened = held(profit_target(usd=1))
    desk.opened(opened)
    desk.ready()
    desk.restart()
    desk.opened(opened)
    desk.ready()
    assert len(desk.closes()) == 2


def test_exits_go_on_while_paused_stopped_or_failed() -> None:
    for action in ("pause", "stop"):
        desk = Dialogue(gated())
        desk.command(action)
        desk.opened(held(profit_target(usd=1)))
        desk.ready()
        assert len(desk.closes()) == 1, action


def test_a_trade_of_a_strategy_that_is_gone_is_closed_by_its_data_conditions() -> None:
    desk = Dialogue(gated())
    desk.opened(held(HostFunction(name="lost"), profit_target(usd=1), strategy="gone"))
    desk.ready()
    assert [close.requested_by for close in desk.closes()] == ["strategy gone"]


def test_a_plain_function_in_the_strategy_file_decides_an_exit() -> None:
    def index_fell(view: ExitView, now_ns: int) -> Verdict:
        chain = view.chains.get("BTCUSD")
        price = float("nan") if chain is None else chain.snapshot.index_price
        return Verdict(price < 95_000, f"index at {price:.0f}")

    desk = Dialogue(gated(exit_conditions=[index_fell]))
    desk.opened(held(HostFunction(name="index_fell")))
    desk.ready()
    assert desk.closes() == []
    assert "t1001: index at 100000" in desk.status().reason
    desk.now_ns += SECOND
    desk.market(index=94_000.0)
    desk.now_ns += SECOND
    desk.put(Tick())
    assert desk.closes()[0].reason == "index at 94000"


def index_fell_far(account: Any, trade: Any) -> bool:
    return bool(trade.realized_pnl_usd < -100)


@pytest.mark.parametrize(
    "combined",
    [
        all_of(index_fell_far, max_hold_hours(1e-6)),
        any_of(profit_target(usd=1e9), index_fell_far),
        not_(not_(index_fell_far)),
        for_at_least(any_of(index_fell_far), seconds=1),
    ],
    ids=["all_of", "any_of", "not_", "for_at_least"],
)
def test_a_plain_function_within_a_combinator_decides_an_exit(combined: Any) -> None:
    config = gated(exit_conditions=[combined])
    opened = msgspec.structs.replace(held(), exit_conditions=(as_data(combined),))
    desk = Dialogue(config)
    desk.opened(opened)
    desk.ready()
    desk.wait(3)
    assert desk.closes() == []
    lost = msgspec.structs.replace(opened, realized_pnl_usd=Decimal(-200), updated_ns=desk.now_ns)
    desk.hear(lost)
    desk.wait(3)
    assert [close.trade_id for close in desk.closes()] == ["t1001"]


def test_a_plain_function_within_a_combinator_that_raises_stops_its_strategy() -> None:
    def broken(view: ExitView, now_ns: int) -> bool:
        raise KeyError(view.trade.trade_id)

    combined = any_of(broken, max_hold_hours(1))
    desk = Dialogue(gated(exit_conditions=[combined]))
    desk.opened(held(as_data(combined)))
    desk.ready()
    assert desk.status().reason.startswith("KeyError: 't1001' at ")
    desk.wait(3_601, fresh=False)
    assert len(desk.closes()) == 1, "what is data in it goes on"


def test_a_text_that_says_why_not_is_no_yes() -> None:
    def shy(view: ExitView, now_ns: int) -> Any:
        return "not yet"

    desk = Dialogue(gated(exit_conditions=[shy]))
    desk.opened(held(HostFunction(name="shy")))
    desk.ready()
    assert desk.closes() == []
    assert desk.status().state == "failed"
    assert "shy() returned 'not yet': it must return True or False" in desk.status().reason


def test_an_exit_function_that_raises_stops_its_strategy_while_the_other_conditions_go_on() -> None:
    def broken(view: ExitView, now_ns: int) -> bool:
        raise KeyError(view.trade.trade_id)

    desk = Dialogue(gated(exit_conditions=[broken]))
    desk.opened(held(HostFunction(name="broken"), max_hold_hours(1)))
    desk.ready()
    status = desk.status()
    assert status.state == "failed"
    assert status.reason.startswith("KeyError: 't1001' at ")
    assert [alert.code for alert in desk.alerts] == ["strategy_failed"]
    assert desk.closes() == []
    desk.wait(3_601, fresh=False)
    assert len(desk.closes()) == 1


def test_exits_that_cannot_be_judged_for_long_are_alarmed_once_and_the_alarm_is_lifted() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1e9)))
    desk.synced()
    for _ in range(100):
        desk.now_ns += SECOND
        desk.beat()
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [("exit_blind", False)]
    assert "no option chain of BTCUSD yet" in desk.alerts[0].text
    desk.market()
    desk.wait(2)
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [("exit_blind", False), ("exit_blind", True)]
    assert [alert.severity for alert in desk.alerts] == ["warning", "info"]


def test_the_alarm_of_blind_exits_is_over_when_the_trade_is_not_held_any_more_and_the_next_is_told() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1e9)))
    desk.synced()
    for _ in range(70):
        desk.now_ns += SECOND
        desk.beat()
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [("exit_blind", False)]
    desk.hear(moved(held(profit_target(usd=1e9)), "CLOSING", desk.now_ns))
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [("exit_blind", False), ("exit_blind", True)]
    assert [alert.subject for alert in desk.alerts] == ["t1001", "t1001"]
    desk.wait(5, fresh=False)
    assert len(desk.alerts) == 2


def test_exits_are_looked_at_at_a_bounded_rate() -> None:
    looks = []

    def counted(view: ExitView, now_ns: int) -> bool:
        looks.append(now_ns)
        return False

    desk = Dialogue(gated(exit_conditions=[counted]))
    desk.opened(held(HostFunction(name="counted")))
    desk.ready()
    looks.clear()
    for _ in range(100):
        desk.now_ns += SECOND // 100
        desk.market()
    assert len(looks) == 4


def test_the_next_deadline_is_always_ahead_when_nothing_can_be_done() -> None:
    desk = Dialogue(gated())
    desk.opened(held(profit_target(usd=1)))
    desk.surroundings()
    desk.wait(3)
    due = desk.core.next_deadline_ns()
    assert due is not None
    assert due > desk.now_ns
    desk.synced()
    due = desk.core.next_deadline_ns()
    assert due is not None
    assert due > desk.now_ns
    assert desk.count(RequestGrant) == 0


def test_a_late_answer_to_a_settled_close_is_ignored() -> None:
    desk = Dialogue(gated())
    opened = held(profit_target(usd=1))
    desk.opened(opened)
    desk.ready()
    request_id = desk.sent[-1].request_id
    desk.opened(moved(opened, "CLOSED", desk.now_ns))
    desk.put(ReplyReceived(request_id, CloseAccepted(trade_id="t1001", state="CLOSED")))
    desk.time_out()
    assert desk.core.ignored["answer to a question that is settled"] == 1
    assert desk.core.ignored["time-out of a question that is settled"] == 1
    assert desk.now_ns >= NOON

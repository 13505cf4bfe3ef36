"""Pause, resume, stop; failures kept to one strategy; statuses; strategies that are code."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.strategy.config import StrategyHostConfig
from services.strategy.core import StrategyHostCore
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.rows import StrategyTold
from shared.messages.control import (
    Gate,
    GrantRefused,
    ListStrategies,
    RequestGrant,
    StrategyCommandDone,
    StrategyList,
)
from shared.messages.market import IndexPrice
from shared.messages.steps import Inbound, Reply, Request, StreamSynced, Tick
from shared.messages.trades import LegOrder, OpenTrade, OrderUpdate, Refusal, TradeUpdate
from shared.strategy import EntryView, StrategyConfig, max_hold_hours, straddle
from shared.strategy.protocol import CloseStructure, Intent, IntentOutcome, OpenStructure
from shared.strategy.views import DeskView
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import ACCOUNT_ID, HOUR, NOON, SECOND, leg, moved, trade
from tests.unit.strategy.test_host_entry import run_one_trade, straddler

CALL = "BTCUSD-5MAR26-100000-C"


def test_a_pause_is_journalled_and_survives_a_restart() -> None:
    desk = Dialogue(straddler())
    assert desk.command("pause") == StrategyCommandDone(strategies=("straddler",))
    told = StrategyTold(strategy="straddler", action="pause", requested_by="operator")
    assert [entry.row for entry in desk.journal] == [told]
    assert desk.journal[0].cause_id == "r1"
    desk.restart()
    desk.ready()
    desk.wait(20)
    assert desk.sent == []
    assert (desk.status().state, desk.gate("state").reason) == ("paused", "paused by operator")
    desk.command("resume")
    desk.wait(6)
    assert (desk.status().state, desk.count(RequestGrant)) == ("running", 1)


def test_a_strategy_that_runs_once_opens_one_trade_and_is_paused_again_over_restarts() -> None:
    desk = Dialogue(straddler())
    desk.command("pause")
    desk.command("run_once")
    desk.restart()
    desk.ready()
    desk.wait(6)
    assert desk.status().reason.startswith("runs once, then it is paused")
    assert (desk.status().state, desk.count(RequestGrant)) == ("running", 1)
    run_one_trade(desk)
    assert (desk.status().state, desk.gate("state").reason) == ("paused", "paused by operator")
    desk.wait(600)
    assert desk.count(RequestGrant) == 1
    desk.restart()
    desk.ready()
    assert desk.status().state == "paused"


def test_one_refusal_of_execution_ends_a_run_of_one_trade_and_one_of_risk_does_not() -> None:
    desk = Dialogue(straddler())
    desk.command("run_once")
    desk.ready()
    desk.wait(6)
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="margin", detail="no room"))
    assert desk.status().state == "running"
    while desk.count(RequestGrant) < 2:
        desk.wait(1)
    desk.give_grant()
    while desk.count(RequestGrant) < 3:
        if isinstance(desk.sent[-1].message, OpenTrade):
            desk.answer(Refusal(code="not_ready", detail="refused for the moment only"))
        desk.wait(1)
    assert desk.status().state == "running"
    desk.give_grant()
    desk.answer(Refusal(code="would_net", detail="no"))
    assert desk.status().state == "paused"


def test_a_repeated_command_changes_nothing_more() -> None:
    desk = Dialogue(straddler())
    for _ in range(3):
        desk.command("pause")
    assert len(desk.journal) == 1


def test_a_star_commands_all_strategies_of_the_host() -> None:
    desk = Dialogue(straddler(), straddler("other"))
    assert desk.command("pause", "*") == StrategyCommandDone(strategies=("straddler", "other"))
    assert {name: status.state for name, status in desk.statuses.items()} == {
        "straddler": "paused",
        "other": "paused",
    }


def test_a_stop_waits_for_the_open_trades() -> None:
    desk = Dialogue(straddler())
    opened = trade("OPEN", legs=[leg(CALL)])
    desk.opened(opened)
    desk.ready()
    desk.command("stop")
    assert desk.status().state == "stopping"
    desk.opened(moved(opened, "CLOSED", desk.now_ns))
    desk.wait(20)
    assert (desk.status().state, desk.count(RequestGrant)) == ("stopped", 0)


@pytest.mark.parametrize(
    ("action", "strategy", "code"),
    [("explode", "straddler", "unknown_action"), ("pause", "nobody", "unknown_strategy")],
)
def test_a_command_that_means_nothing_is_refused_with_what_is_known(action: str, strategy: str, code: str) -> None:
    answer = Dialogue(straddler()).command(action, strategy)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert answer.remedy
    assert "straddler" in answer.remedy or "pause" in answer.remedy


def test_other_requests_are_refused() -> None:
    desk = Dialogue(straddler())
    desk.put(Request("r9", Refusal(code="x", detail="y"), "cli"))
    answer = desk.replies["r9"]
    assert isinstance(answer, Refusal)
    assert answer.code == "unknown_request"


def broken_condition(view: EntryView, now_ns: int) -> bool:
    return 1 / (now_ns - now_ns) > 0


def test_one_strategys_exception_stops_it_with_file_and_line_and_not_the_others() -> None:
    broken = straddler("broken", entry_conditions=[broken_condition])
    desk = Dialogue(broken, straddler())
    desk.ready()
    line = broken_condition.__code__.co_firstlineno + 1
    assert desk.status("broken").state == "failed"
    assert desk.status("broken").reason == f"ZeroDivisionError: division by zero at {__file__}:{line}"
    assert [(alert.code, alert.subject) for alert in desk.alerts] == [("strategy_failed", "broken")]
    assert desk.last(RequestGrant).strategy == "straddler"
    desk.wait(30)
    assert len(desk.alerts) == 1


def test_a_failed_strategy_starts_anew_when_it_is_resumed() -> None:
    fail = [True]

    def moody(view: EntryView, now_ns: int) -> bool:
        assert not fail[0], "moody"
        return True

    desk = Dialogue(straddler(entry_conditions=[moody]))
    desk.ready()
    assert desk.status().state == "failed"
    fail[0] = False
    desk.command("resume")
    desk.wait(6)
    assert [(alert.resolved, alert.severity) for alert in desk.alerts] == [(False, "critical"), (True, "info")]
    assert (desk.status().state, desk.count(RequestGrant)) == ("running", 1)


def test_a_callback_that_raises_when_a_trade_closes_stops_the_strategy() -> None:
    def on_trade_closed(update: TradeUpdate) -> None:
        raise RuntimeError(update.trade_id)

    desk = Dialogue(straddler(on_trade_closed=on_trade_closed))
    desk.ready()
    run_one_trade(desk)
    assert desk.status().state == "failed"
    assert "RuntimeError: t1001" in desk.status().reason


def test_a_callback_is_called_once_for_a_trade_seen_open() -> None:
    closed: list[str] = []
    desk = Dialogue(straddler(on_trade_closed=lambda update: closed.append(update.trade_id)))
    desk.opened(moved(trade("OPEN", ordinal=7, created_ns=NOON - HOUR), "CLOSED", NOON - SECOND))
    desk.ready()
    update = run_one_trade(desk)
    desk.opened(update)
    assert closed == [update.trade_id]


def test_files_that_could_not_be_loaded_are_alarmed_and_shown_as_failed() -> None:
    failure = LoadFailure(name="typo", source="typo.py", reason="SyntaxError at typo.py:3")
    desk = Dialogue(straddler(), failures=[failure])
    assert [(alert.code, alert.subject) for alert in desk.alerts] == [("strategy_load_failed", "typo")]
    assert desk.statuses["typo"].state == "failed"
    assert desk.status("typo").reason == "SyntaxError at typo.py:3"


def test_a_status_is_published_every_second_and_at_once_when_something_changes() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    before = desk.published
    for _ in range(10):
        desk.now_ns += SECOND // 10
        desk.put(Tick())
    assert desk.published == before + 1
    desk.command("pause")
    assert desk.statuses["straddler"].state == "paused"
    assert desk.published == before + 2


def test_a_gate_says_since_when_it_is_open_or_closed() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    closed_since = desk.gate("intent").since_ns
    desk.wait(3)
    assert desk.gate("intent").since_ns == closed_since
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="x", detail="y"))
    desk.wait(2)
    assert desk.gate("intent").open
    assert desk.gate("intent").since_ns > closed_since


class Quoter:
    """A strategy that is code: does on each question what the test put there."""

    name = "quoter"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.outcomes: list[IntentOutcome] = []
        self.answers: dict[str, list[Intent]] = {}

    def _answer(self, question: str) -> Sequence[Intent]:
        self.heard.append(question)
        return self.answers.pop(question, [])

    def on_market(self, underlying: str, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        index = desk.index_prices.get(underlying)
        return self._answer(f"market {underlying}" + (f" at {index.price:g}" if index else ""))

    def on_order(self, order: OrderUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return self._answer(f"order {order.client_order_id}")

    def on_trade(self, trade: TradeUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return self._answer(f"trade {trade.state} of {len(desk.trades)}")

    def on_timer(self, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return self._answer("timer")

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None:
        self.outcomes.append(outcome)

    def gates(self) -> Sequence[Gate]:
        return ()

    def next_deadline_ns(self) -> int | None:
        return 0


OPEN_CALL = OpenStructure(legs=(LegOrder(symbol=CALL, side="buy", quantity=Decimal("0.1")),))


def quoter() -> tuple[Quoter, LoadedStrategy]:
    instance = Quoter()
    return instance, LoadedStrategy(name="quoter", make=lambda _config: instance)


def test_a_strategy_that_is_code_is_asked_at_once_on_an_index_price_and_may_open_on_it() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    desk.synced()
    desk.beat()
    desk.market()
    instance.answers["market BTCUSD at 101000"] = [OPEN_CALL]
    desk.hear(IndexPrice(underlying="BTCUSD", price=101_000.0, venue_ns=NOON, received_ns=NOON), "marketdata", "m9")
    assert "market BTCUSD at 101000" in instance.heard
    assert desk.give_grant().legs == OPEN_CALL.legs


def test_a_strategy_that_is_code_opens_closes_and_hears_of_its_own_trades_only() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    desk.synced()
    desk.beat()
    instance.answers["market BTCUSD"] = [OPEN_CALL, OPEN_CALL]
    desk.market()
    assert [outcome.code for outcome in instance.outcomes] == ["entry_closed"]
    assert desk.give_grant().legs == OPEN_CALL.legs
    opened = trade("OPEN", strategy="quoter", legs=[leg(CALL)])
    instance.answers["trade OPEN of 1"] = [
        CloseStructure(trade_id="t1001", reason="enough"),
        CloseStructure(trade_id="t9", reason="not mine"),
    ]
    desk.opened(opened)
    desk.opened(trade("OPEN", strategy="other", ordinal=5, legs=[leg(CALL)]))
    assert [outcome.kind for outcome in instance.outcomes] == ["refused", "opened"]
    assert [close.reason for close in desk.closes()] == ["enough"]
    order = OrderUpdate(
        client_order_id=7,
        venue_order_id=None,
        account_id=ACCOUNT_ID,
        trade_id="t1001",
        leg_index=0,
        purpose="open",
        attempt=0,
        symbol=CALL,
        side="buy",
        quantity=Decimal(1),
        price=Decimal(1),
        filled_quantity=Decimal(0),
        average_price=None,
        state="WORKING",
        reason="",
        reduce_only=False,
        created_ns=NOON,
        updated_ns=NOON,
    )
    desk.hear(order)
    assert instance.heard.count("order 7") == 1
    assert not [heard for heard in instance.heard if heard.startswith("trade OPEN of 2")]


def test_a_strategy_whose_deadline_does_not_move_is_not_called_without_end() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    desk.ready()
    due = desk.core.next_deadline_ns()
    assert due is not None
    assert due > desk.now_ns
    assert instance.heard.count("timer") < 20


def test_intents_refused_because_the_gate_is_closed_send_nothing() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    instance.answers["market BTCUSD"] = [OPEN_CALL]
    desk.market()
    assert desk.sent == []
    assert instance.outcomes[0].reason == "execution's events have not been replayed yet"


def listed(core: StrategyHostCore, now_ns: int) -> StrategyList:
    """What a host answers when it is asked for its strategies."""
    effects = core.handle(Request("list", ListStrategies(), "cli"), now_ns).effects
    answer = next(effect.message for effect in effects if isinstance(effect, Reply))
    assert isinstance(answer, StrategyList)
    return answer


def can_grant(desk: Dialogue) -> bool:
    """An intent waits for its grant, has not expired, and nobody has stopped the strategy."""
    waits = desk.gate("intent").reason.endswith("risk's grant")
    return waits and desk.status().state == "running" and desk.now_ns < desk.last(RequestGrant).valid_until_ns


ACTIONS = st.lists(
    st.sampled_from(["pause", "resume", "stop", "run_once", "trade", "refuse", "sync", "wait", "restart"]),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(ACTIONS)
def test_the_fold_of_the_journal_equals_the_live_durable_state(actions: list[str]) -> None:
    desk = Dialogue(straddler())
    desk.ready()
    for action in actions:
        match action:
            case "pause" | "resume" | "stop" | "run_once":
                desk.command(action)
            case "trade" if can_grant(desk):
                run_one_trade(desk)
            case "refuse" if can_grant(desk):
                desk.give_grant()
                desk.answer(Refusal(code="would_net", detail="no"))
            case "sync":
                desk.synced()
            case "wait":
                desk.wait(8)
            case "restart":
                desk.restart()
                desk.ready()
    folded = StrategyHostCore(StrategyHostConfig(), [straddler()], account_id=ACCOUNT_ID)
    for entry in desk.journal:
        folded.apply(entry)
    answer = listed(folded, desk.now_ns)
    live = desk.status()
    assert answer.strategies[0].next_ordinal == live.next_ordinal
    assert answer.strategies[0].state == ("stopped" if live.state == "stopping" else live.state)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 5)), max_size=20), st.integers(0, 2**32))
def test_repeated_and_reordered_events_leave_the_newest_state_of_each_trade(
    events: list[tuple[int, int]], offset: int
) -> None:
    states: tuple[Any, ...] = ("PENDING_OPEN", "OPENING", "OPEN", "PENDING_CLOSE", "CLOSING", "CLOSED")
    core = StrategyHostCore(StrategyHostConfig(), [straddler()], account_id=ACCOUNT_ID)
    newest: dict[int, int] = {}
    for ordinal, step in events:
        update = moved(trade("OPEN", ordinal=ordinal, exits=[max_hold_hours(1)]), states[step], NOON + step)
        core.handle(Inbound("t", update, "m", "execution", 1), NOON + offset)
        newest[ordinal] = max(step, newest.get(ordinal, 0))
    core.handle(StreamSynced("execution", 1), NOON + offset)
    answers = core.handle(Request("list", ListStrategies(), "cli"), NOON + offset).effects
    listed = next(
        effect.message
        for effect in answers
        if hasattr(effect, "request_id") and hasattr(effect.message, "strategies")
    )
    status = listed.strategies[0]
    assert status.open_trades == sum(step < 5 for step in newest.values())
    assert status.next_ordinal == max(newest, default=0) + 1


def test_a_configuration_of_the_readmes_form_runs() -> None:
    config = StrategyConfig(name="plain", legs=straddle(0.1), exit_conditions=[max_hold_hours(1)])
    desk = Dialogue(LoadedStrategy.from_config(config))
    desk.ready()
    assert desk.last(RequestGrant).strategy == "plain"


def nonsense(**says: object) -> LoadedStrategy:
    """A quoter that returns what it should not."""

    class Confused(Quoter):
        def on_timer(self, desk: DeskView, now_ns: int) -> Any:
            return says.get("intents", ())

        def gates(self) -> Any:
            return says.get("gates", ())

        def next_deadline_ns(self) -> Any:
            return says.get("deadline", 0)

    return LoadedStrategy(name="quoter", make=lambda _config: Confused())


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"intents": None}, "'NoneType' object is not iterable"),
        ({"intents": ["buy"]}, "it returned 'buy', which is not an intent"),
        ({"gates": [True]}, "it returned 'True', which is not a gate"),
        ({"deadline": "soon"}, "next_deadline_ns() gave 'soon': it must be whole nanoseconds, or None"),
        ({"deadline": float("nan")}, "next_deadline_ns() gave nan: it must be whole nanoseconds, or None"),
    ],
)
def test_a_strategy_that_returns_nonsense_is_stopped_and_its_neighbours_go_on(
    says: dict[str, object], reason: str
) -> None:
    desk = Dialogue(nonsense(**says), straddler())
    desk.ready()
    status = desk.status("quoter")
    assert (status.state, reason in status.reason) == ("failed", True), status.reason
    assert desk.last(RequestGrant).strategy == "straddler"

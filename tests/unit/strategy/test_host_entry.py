"""From a signal to a trade: one intent in flight, with a grant, and never given up blindly."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from services.strategy.rows import OrdinalLeft, OrdinalUsed
from shared.messages.control import GrantGiven, GrantRefused, Halt, RequestGrant
from shared.messages.steps import LoopStalled, ReplyReceived, StreamSynced, Tick
from shared.messages.trades import (
    ExecutionParams,
    OpenTrade,
    Refusal,
    TellTrade,
    TradeAccepted,
    TradeState,
    TradeStory,
    TradeUpdate,
)
from shared.strategy import (
    StrategyConfig,
    max_hold_hours,
    max_loss,
    min_equity,
    straddle,
    time_exit,
    utc_datetime_exit,
)
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import DAY, NOON, SECOND, at, grant, leg, moved, trade


def straddler(name: str = "straddler", **more: Any) -> LoadedStrategy:
    fields: dict[str, Any] = {
        "name": name,
        "legs": straddle("0.1", side="buy"),
        "exit_conditions": [max_hold_hours(1)],
        "check_interval_seconds": 5,
    }
    return LoadedStrategy.from_config(StrategyConfig(**(fields | more)))


def of_intent(intent: OpenTrade, state: TradeState = "OPENING", now_ns: int = NOON) -> TradeUpdate:
    """Execution's first event of the trade that an intent opened."""
    legs = [leg(order.symbol, order.side, str(order.quantity), filled="0") for order in intent.legs]
    return trade(
        state, strategy=intent.strategy, ordinal=intent.ordinal, legs=legs, created_ns=now_ns, opened_ns=None
    )


def filled(update: TradeUpdate, now_ns: int) -> TradeUpdate:
    legs = tuple(msgspec.structs.replace(item, filled_quantity=item.quantity) for item in update.legs)
    return msgspec.structs.replace(update, state="OPEN", legs=legs, opened_ns=now_ns, updated_ns=now_ns)


def run_one_trade(desk: Dialogue) -> TradeUpdate:
    """Open a trade and close it."""
    intent = desk.give_grant()
    update = of_intent(intent, now_ns=desk.now_ns)
    desk.accept(update.trade_id)
    desk.opened(update)
    opened = filled(update, desk.now_ns)
    desk.opened(opened)
    closed = moved(opened, "CLOSED", desk.now_ns)
    desk.opened(closed)
    return closed


def test_what_an_intent_changed_is_shown_a_moment_later_and_not_with_the_next_input() -> None:
    desk = Dialogue(straddler())
    desk.synced()
    desk.surroundings()
    published = desk.published
    desk.now_ns += SECOND
    desk.surroundings()
    assert desk.count(RequestGrant) == 1
    assert desk.published == published
    desk.wait(0.01, fresh=False)
    assert desk.published > published


def test_nothing_is_sent_before_executions_events_were_replayed() -> None:
    desk = Dialogue(straddler())
    desk.surroundings()
    desk.wait(30)
    assert desk.sent == []
    assert desk.gate("execution").reason == "execution's events have not been replayed yet"
    desk.synced()
    desk.wait(6)
    assert desk.count(RequestGrant) == 1


def test_a_signal_asks_risk_then_execution_and_ends_with_the_trade() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    asked = desk.last(RequestGrant)
    assert (desk.sent[-1].service, asked.intent_id) == ("risk", "straddler-1")
    assert [order.symbol for order in asked.legs] == ["BTCUSD-5MAR26-100000-C", "BTCUSD-5MAR26-100000-P"]
    assert asked.valid_until_ns == NOON + 15 * SECOND
    intent = desk.give_grant()
    assert desk.sent[-1].service == "execution"
    assert (intent.ordinal, intent.legs, intent.exit_conditions) == (1, asked.legs, (max_hold_hours(1),))
    assert intent.grant.intent_id == "straddler-1"
    assert intent.decision_prices == pytest.approx((953.09, 953.09), abs=0.01)
    desk.accept("t1001")
    assert desk.status().signals_executed == 0
    desk.opened(of_intent(intent))
    status = desk.status()
    assert (status.signals_generated, status.signals_executed, status.open_trades) == (1, 1, 1)
    assert status.next_ordinal == 2
    desk.wait(60)
    assert desk.count(RequestGrant) == 1
    assert desk.gate("concurrent_trades").reason == "1 of 1 trades open"


def test_only_one_intent_is_in_flight_however_long_risk_takes() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.wait(10)
    assert len(desk.sent) == 1
    assert desk.gate("intent").reason == "intent straddler-1 waits for risk's grant"


def test_a_refused_grant_frees_the_strategy_with_the_reason_and_a_growing_pause() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    asked_at = [desk.now_ns]
    for _ in range(4):
        detail = "margin after the trade"
        desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="margin", detail=detail))
        assert desk.status().reason.startswith("last signal refused: risk: margin after the trade")
        count = desk.count(RequestGrant)
        while desk.count(RequestGrant) == count:
            desk.wait(0.5)
        asked_at.append(desk.now_ns)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert pauses == [5 * SECOND, 10 * SECOND, 20 * SECOND, 40 * SECOND]
    assert desk.last(RequestGrant).intent_id == "straddler-1"


def test_a_refusal_by_execution_is_the_intents_outcome_and_the_next_ordinal_follows() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.give_grant()
    desk.answer(Refusal(code="would_net", detail="t7 holds it", remedy="wait"))
    assert desk.status().next_ordinal == 2
    assert "execution: t7 holds it (wait)" in desk.status().reason
    assert [entry.row for entry in desk.journal] == [OrdinalUsed(strategy="straddler", ordinal=1)]
    desk.wait(6)
    assert desk.last(RequestGrant).intent_id == "straddler-2"


def test_an_intent_that_risk_knows_as_refused_for_good_gives_way_to_the_next_ordinal() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    detail = "execution has refused straddler-1 for good: take the next ordinal"
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="intent_refused", detail=detail))
    assert [entry.row for entry in desk.journal] == [OrdinalUsed(strategy="straddler", ordinal=1)]
    desk.wait(6)
    assert desk.last(RequestGrant).intent_id == "straddler-2"


def test_a_retryable_refusal_sends_the_same_intent_again_while_it_is_valid() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    first = desk.give_grant()
    first_id = desk.sent[-1].request_id
    desk.answer(Refusal(code="not_ready", detail="reconciling"))
    desk.wait(1)
    assert desk.count(OpenTrade) == 2
    assert desk.last(OpenTrade) == first
    assert desk.sent[-1].request_id != first_id
    while desk.count(RequestGrant) == 1:
        assert desk.journal == [] or desk.now_ns >= first.valid_until_ns, "execution may take it until then"
        if isinstance(desk.sent[-1].message, OpenTrade):
            desk.answer(Refusal(code="not_ready", detail="reconciling"))
        desk.wait(1)
    assert [entry.row for entry in desk.journal] == [OrdinalLeft(strategy="straddler", ordinal=1)]
    assert desk.last(RequestGrant).intent_id == "straddler-2", "risk keeps room for other legs under the first id"
    desk.restart()
    desk.ready()
    assert desk.last(RequestGrant).intent_id == "straddler-2"


@pytest.mark.parametrize("stop", ["pause", "halt"])
def test_an_intent_is_dropped_when_it_is_stopped_before_execution_was_asked(stop: str) -> None:
    desk = Dialogue(straddler())
    desk.ready()
    asked = desk.last(RequestGrant)
    if stop == "pause":
        desk.command("pause")
    else:
        desk.halt(Halt(level="no_new_trades", reason="lunch", raised_by="operator", raised_ns=NOON))
    desk.answer(GrantGiven(grant=grant(asked.legs, asked.intent_id)))
    desk.wait(20)
    assert desk.count(OpenTrade) == 0
    assert "last signal refused" in desk.status().reason
    desk.command("resume") if stop == "pause" else desk.halt()
    desk.wait(60)
    assert desk.last(RequestGrant).intent_id == "straddler-2", "risk keeps room for the legs of the first"


def test_with_journal_and_replay_lost_a_free_ordinal_is_found_in_few_steps() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    asked: list[int] = []
    while not asked or asked[-1] <= 700:
        asked.append(desk.give_grant().ordinal)
        desk.answer(Refusal(code="intent_known", detail="was used before"))
        desk.wait(6)
    assert asked == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


def test_an_intent_without_answer_is_repeated_with_its_id_until_the_answer_comes() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    intent = desk.give_grant()
    request_id = desk.sent[-1].request_id
    for _ in range(6):
        desk.time_out()
        desk.wait(11)
    repeats = [effect for effect in desk.sent if isinstance(effect.message, OpenTrade)]
    assert len(repeats) == 7
    assert {effect.request_id for effect in repeats} == {request_id}
    assert {effect.message for effect in repeats if isinstance(effect.message, OpenTrade)} == {intent}
    assert "waits for execution's answer" in desk.gate("intent").reason
    desk.answer(Refusal(code="intent_expired", detail="valid_until_ns has passed"))
    desk.wait(6)
    assert desk.last(RequestGrant).intent_id == "straddler-2"


def test_an_intent_without_answer_is_settled_by_the_trades_own_event() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    intent = desk.give_grant()
    desk.time_out()
    desk.opened(of_intent(intent))
    assert desk.gate("intent").open
    assert desk.status().signals_executed == 1
    desk.wait(30)
    assert desk.count(OpenTrade) == 1


def test_a_silent_risk_is_asked_again_with_the_same_id_until_the_intent_expires() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    while desk.now_ns < NOON + 15 * SECOND:
        desk.time_out()
        desk.wait(4)
    assert len({effect.request_id for effect in desk.sent}) == 1
    assert desk.count(RequestGrant) == 5
    desk.time_out()
    desk.wait(4)
    assert desk.count(RequestGrant) == 5
    assert desk.count(OpenTrade) == 0
    assert "risk did not answer" in desk.status().reason


def test_a_grant_that_comes_too_late_or_for_something_else_is_not_used() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    asked = desk.last(RequestGrant)
    desk.wait(15)
    desk.answer(GrantGiven(grant=grant(asked.legs, asked.intent_id)))
    assert "after the intent had expired" in desk.status().reason
    desk.wait(6)
    desk.answer(GrantGiven(grant=grant(asked.legs[:1], asked.intent_id)))
    assert "risk granted something else" in desk.status().reason
    assert desk.count(OpenTrade) == 0


def test_a_refusal_of_risk_that_is_no_grant_refusal_frees_the_strategy_too() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.answer(Refusal(code="not_ready", detail="no account yet"))
    assert "risk: no account yet" in desk.status().reason
    desk.wait(6)
    desk.answer(TradeAccepted(intent_id="x", trade_id="t1"))
    assert desk.gate("intent").reason == "intent straddler-1 waits for risk's grant, asked 2 times"


def test_an_accepted_trade_that_is_not_heard_of_is_asked_for() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    intent = desk.give_grant()
    desk.accept("t1001")
    desk.wait(5)
    assert desk.last(TellTrade) == TellTrade(trade_id="t1001")
    desk.time_out()
    desk.wait(1)
    assert desk.count(TellTrade) == 2
    desk.answer(TradeStory(trade=of_intent(intent), orders=(), lines=()))
    status = desk.status()
    assert (status.open_trades, status.signals_executed, status.next_ordinal) == (1, 1, 2)


def test_an_ordinal_that_an_old_trade_had_is_passed_over() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    intent = desk.give_grant()
    desk.accept("t1001")
    desk.wait(5)
    old = moved(of_intent(intent, now_ns=NOON - 5 * DAY), "CLOSED", NOON - 4 * DAY)
    desk.answer(TradeStory(trade=old, orders=(), lines=()))
    status = desk.status()
    assert (status.open_trades, status.signals_executed, status.next_ordinal) == (0, 0, 2)
    assert "had this ordinal before" in status.reason


def test_an_accepted_trade_that_execution_does_not_know_is_given_up() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.give_grant()
    desk.accept("t1001")
    desk.wait(5)
    desk.answer(Refusal(code="no_such_trade", detail="trade t1001 is not known"))
    assert desk.status().next_ordinal == 2
    assert desk.gate("intent").reason.endswith("trade t1001 is not known")


def test_a_restart_in_the_middle_asks_with_the_same_ordinal_until_execution_tells_of_the_trade() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    intent = desk.give_grant()
    desk.restart()
    desk.surroundings()
    desk.wait(20)
    assert desk.count(OpenTrade) == 1
    desk.opened(of_intent(intent))
    desk.synced()
    desk.wait(20)
    assert (desk.count(OpenTrade), desk.status().open_trades, desk.status().next_ordinal) == (1, 1, 2)


def test_a_restart_before_execution_heard_of_the_intent_uses_its_ordinal_again() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    desk.give_grant()
    first_id = desk.sent[-1].request_id
    desk.restart()
    desk.now_ns += SECOND
    desk.ready()
    again = desk.give_grant()
    assert again.intent_id == "straddler-1"
    assert desk.sent[-1].request_id != first_id


def test_ordinals_are_remembered_when_execution_no_longer_tells_of_old_trades() -> None:
    desk = Dialogue(straddler())
    desk.ready()
    run_one_trade(desk)
    desk.restart()
    desk.now_ns += 30 * DAY
    desk.ready()
    assert desk.status().next_ordinal == 2


def test_cooldown_counts_from_the_last_close_also_after_a_restart() -> None:
    desk = Dialogue(straddler(cooldown_seconds=60))
    desk.ready()
    closed = run_one_trade(desk)
    desk.restart()
    desk.opened(closed)
    desk.ready()
    desk.wait(59)
    assert desk.count(RequestGrant) == 1
    assert desk.gate("cooldown").reason.endswith("s left")
    desk.wait(6)
    assert desk.last(RequestGrant).intent_id == "straddler-2"


def test_trades_per_day_begin_anew_at_the_day_boundary() -> None:
    desk = Dialogue(straddler(max_trades_per_day=1), now_ns=at("2026-03-04T23:59"))
    desk.ready()
    run_one_trade(desk)
    desk.wait(59)
    assert desk.count(RequestGrant) == 1
    assert desk.gate("trades_per_day").reason == "1 trades today, of 1"
    desk.wait(6)
    assert desk.count(RequestGrant) == 2


def test_the_day_boundary_can_be_moved() -> None:
    config = msgspec.structs.replace(Dialogue()._config, day_boundary_minute=8 * 60)
    desk = Dialogue(straddler(max_trades_per_day=1), config=config, now_ns=at("2026-03-04T23:59"))
    desk.ready()
    run_one_trade(desk)
    desk.wait(120)
    assert desk.count(RequestGrant) == 1


def test_a_trade_that_failed_without_a_fill_does_not_count_for_the_day() -> None:
    desk = Dialogue(straddler(max_trades_per_day=1))
    desk.ready()
    update = of_intent(desk.give_grant())
    desk.opened(update)
    assert desk.status().trades_today == 1
    desk.opened(moved(update, "FAILED", desk.now_ns))
    assert desk.status().trades_today == 0
    desk.wait(6)
    assert desk.last(RequestGrant).intent_id == "straddler-2"


def test_gates_that_count_trades_are_shown_anew_as_soon_as_a_trade_opens_or_ends() -> None:
    desk = Dialogue(straddler(check_interval_seconds=600, cooldown_seconds=60))
    desk.ready()
    intent = desk.give_grant()
    desk.accept("t1")
    opening = of_intent(intent, now_ns=desk.now_ns)
    desk.hear(opening)
    assert desk.gate("concurrent_trades").reason == "1 of 1 trades open"
    assert "concurrent_trades: 1 of 1 trades open" in desk.status().reason
    desk.hear(moved(opening, "FAILED", desk.now_ns))
    assert desk.gate("concurrent_trades").open
    assert desk.gate("cooldown").reason == "60 s left"


def test_concurrent_trades_open_up_to_the_limit() -> None:
    desk = Dialogue(straddler(max_concurrent_trades=2))
    desk.ready()
    desk.opened(of_intent(desk.give_grant()))
    desk.wait(6)
    desk.opened(of_intent(desk.give_grant(), now_ns=desk.now_ns))
    desk.wait(30)
    assert desk.count(RequestGrant) == 2
    assert desk.status().open_trades == 2


@pytest.mark.parametrize(("silent", "heard"), [("execution", "risk"), ("risk", "execution")])
def test_nothing_opens_while_a_service_is_silent(silent: str, heard: str) -> None:
    desk = Dialogue(straddler())
    desk.synced()
    desk.beat()
    desk.now_ns += 6 * SECOND
    desk.beat(heard)
    desk.market()
    desk.now_ns += SECOND
    desk.put(Tick())
    assert desk.sent == []
    assert desk.gate(silent).reason == f"{silent} has been silent for 7.0 s"
    assert desk.gate("legs").open
    assert desk.gate(heard).open
    desk.surroundings()
    desk.wait(1)
    assert desk.count(RequestGrant) == 1


def test_nothing_opens_while_a_service_is_not_ready_or_was_never_heard() -> None:
    desk = Dialogue(straddler())
    desk.synced()
    desk.market()
    assert desk.gate("risk").reason == "risk was not heard yet"
    desk.now_ns += 5 * SECOND
    desk.market()
    desk.beat(ready=False)
    assert desk.gate("execution").reason == "execution is not ready: reconciling"
    assert desk.sent == []


def test_nothing_opens_under_a_halt_and_the_reason_is_shown() -> None:
    desk = Dialogue(straddler())
    desk.halt(Halt(level="no_new_trades", reason="lunch", raised_by="operator", raised_ns=NOON))
    desk.ready()
    desk.wait(20)
    assert desk.sent == []
    assert desk.gate("halts").reason == "no_new_trades by operator: lunch"
    desk.halt()
    desk.wait(6)
    assert desk.count(RequestGrant) == 1


def test_a_restarted_execution_must_replay_before_the_next_intent() -> None:
    desk = Dialogue(straddler())
    desk.synced()
    desk.beat()
    desk.epochs["execution"] = 2
    desk.surroundings()
    desk.wait(10)
    assert desk.sent == []
    desk.synced()
    desk.wait(6)
    assert desk.count(RequestGrant) == 1


def test_a_trade_that_a_restarted_execution_does_not_know_is_alarmed_and_not_counted() -> None:
    desk = Dialogue(straddler())
    desk.opened(trade("OPEN", legs=[leg("BTCUSD-5MAR26-100000-C")]))
    desk.ready()
    assert desk.status().open_trades == 1
    desk.epochs["execution"] = 2
    desk.beat()
    desk.synced()
    assert desk.status().open_trades == 0
    assert [alert.code for alert in desk.alerts] == ["trade_vanished"]


def test_events_out_of_order_of_another_account_or_repeated_change_nothing() -> None:
    desk = Dialogue(straddler())
    opened = trade("OPEN", updated_ns=NOON)
    closed = moved(opened, "CLOSED", NOON + SECOND)
    for update in (opened, closed, closed, opened):
        desk.opened(update)
    desk.opened(trade("OPEN", ordinal=9, account_id="other"))
    assert (desk.status().open_trades, desk.status().next_ordinal) == (0, 2)
    assert desk.core.ignored["TradeUpdate of another account or out of date"] == 2


def test_missing_data_is_looked_at_again_soon_and_not_only_after_the_check_interval() -> None:
    desk = Dialogue(straddler(check_interval_seconds=600, entry_conditions=[min_equity(1)]))
    desk.synced()
    desk.beat()
    assert desk.gate("min_equity").reason == "waiting: no account snapshot yet"
    assert desk.gate("legs").reason == "waiting: no option chain of BTCUSD yet"
    desk.wait(2)
    assert desk.count(RequestGrant) == 1


def test_a_second_trade_of_the_same_strategy_waits_for_the_check_interval() -> None:
    desk = Dialogue(straddler(max_concurrent_trades=2, check_interval_seconds=30))
    desk.ready()
    desk.opened(of_intent(desk.give_grant()))
    desk.wait(29)
    assert desk.count(RequestGrant) == 1
    desk.wait(1)
    assert desk.count(RequestGrant) == 2


def test_stale_prices_wait_with_their_age() -> None:
    desk = Dialogue(straddler())
    desk.market()
    desk.synced()
    desk.now_ns += 12 * SECOND
    desk.beat()
    desk.put(Tick())
    assert desk.sent == []
    assert desk.gate("legs").reason == "waiting: the option chain of BTCUSD is 12.0 s old"


def test_a_structure_that_cannot_be_resolved_shows_why() -> None:
    desk = Dialogue(straddler(legs=straddle("0.1", dte=300)))
    desk.ready()
    assert desk.sent == []
    assert "DTE 300 removed" in desk.gate("legs").reason


def test_a_dry_run_reports_and_sends_nothing() -> None:
    desk = Dialogue(straddler(dry_run=True, cooldown_seconds=30))
    desk.ready()
    desk.wait(20)
    assert desk.sent == []
    assert [alert.code for alert in desk.alerts] == ["dry_run_signal"]
    assert "would open buy 0.1 BTCUSD-5MAR26-100000-C" in desk.status().reason
    assert desk.status().signals_generated == 1


@pytest.mark.parametrize(
    ("exits", "loss"),
    [
        ([max_hold_hours(2)], None),
        ([time_exit(15), max_hold_hours(1)], None),
        ([max_loss(usd=50), max_loss(usd=40)], 40.0),
    ],
)
def test_what_execution_enforces_itself_comes_from_the_exits(exits: Sequence[Any], loss: float | None) -> None:
    desk = Dialogue(straddler(exit_conditions=exits), config=StrategyHostConfig(deadline_grace_s=45.0))
    desk.ready()
    intent = desk.give_grant()
    assert (intent.exit_conditions, intent.deadline_grace_s) == (tuple(exits), 45.0)
    assert (intent.hard_deadline_ns, intent.max_loss_usd) == (None, loss)
    assert desk.last(RequestGrant).max_loss_usd == loss
    assert intent.execution_params == ExecutionParams()


def test_a_loss_in_per_cent_becomes_usd_of_the_premium_at_mark() -> None:
    desk = Dialogue(straddler(exit_conditions=[max_loss(pct=50)]))
    desk.ready()
    intent = desk.give_grant()
    assert intent.max_loss_usd is not None
    # a straddle at the money for 20 h at 50 %: 0.8 × 100,000 × 0.5 × sqrt(20 / 8760), 0.1 of it, half of that
    assert intent.max_loss_usd == pytest.approx(95.3, rel=0.02)


def test_a_fixed_exit_time_that_has_passed_opens_nothing() -> None:
    passed = utc_datetime_exit(dt.datetime(2026, 3, 4, 11, tzinfo=dt.UTC))
    desk = Dialogue(straddler(exit_conditions=[passed]))
    desk.ready()
    desk.wait(10)
    assert desk.sent == []
    assert desk.gate("exit_ahead").reason == "the fixed exit time has passed"


def test_a_stalled_loop_and_unknown_inputs_are_survived() -> None:
    desk = Dialogue(straddler())
    desk.put(
        LoopStalled(5 * SECOND),
        StreamSynced("risk", 1),
        "what is this",
        ReplyReceived("nobody", Refusal(code="x", detail="y")),
    )
    assert desk.core.ignored == {"unknown input str": 1, "answer to a question that is settled": 1}

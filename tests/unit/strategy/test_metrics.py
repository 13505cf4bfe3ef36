"""Signals by strategy, and from tick to intent, by the effects of a real host."""

from __future__ import annotations

from typing import Any

import pytest

from services.strategy.metrics import StrategyMetrics
from shared.messages.control import GrantRefused
from shared.metrics import Metrics
from tests.unit.shared.test_metrics import scraped
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import NOON
from tests.unit.strategy.test_dry_run import dry
from tests.unit.strategy.test_host_entry import of_intent, straddler

MS = 1_000_000


class Watched(Dialogue):
    """Everything that a host decides was caused 30 ms before it."""

    def __init__(self, *strategies: Any) -> None:
        self.families = Metrics("risk", "paper", "main")
        self.metrics = StrategyMetrics(self.families, self, lambda: self.core.slots)
        super().__init__(*strategies)

    @property
    def performed_ns(self) -> int:
        return self.now_ns

    def cause_of(self, cause_id: str) -> tuple[str, int]:
        return "timer" if not cause_id else "chain", self.now_ns - 30 * MS

    def _perform(self, step: Any) -> None:
        super()._perform(step)
        for effect in step.effects:
            self.metrics.performed(effect, "")

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.families, name).items()}


@pytest.fixture
def desk() -> Watched:
    made = Watched(straddler())
    made.ready()
    return made


def test_a_signal_that_opens_a_trade_is_generated_executed_and_timed_in_both_stages(desk: Watched) -> None:
    desk.now_ns += 10 * MS
    wish = desk.give_grant()
    desk.accept("t1")
    desk.opened(of_intent(wish, now_ns=NOON))
    desk.wait(0.01)
    assert desk.shown("voldesk_signals_generated_total") == {("straddler",): 1}
    assert desk.shown("voldesk_signals_executed_total") == {("straddler",): 1}
    assert desk.shown("voldesk_signals_refused_total") == {}
    assert desk.shown("voldesk_tick_to_intent_seconds_count") == {
        ("grant_asked", "timer"): 1,
        ("intent_sent", "timer"): 1,
    }
    assert desk.shown("voldesk_tick_to_intent_seconds_sum") == {
        ("grant_asked", "timer"): pytest.approx(0.03),
        ("intent_sent", "timer"): pytest.approx(0.04),
    }
    assert desk.shown("voldesk_strategy_open_trades") == {("straddler",): 1}
    assert desk.metrics.words() == {
        "strategies": 1,
        "running": 1,
        "open_trades": 1,
        "signals": 1,
        "signals_executed": 1,
    }


def test_a_refused_signal_is_counted_by_the_code_of_its_refusal(desk: Watched) -> None:
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="price_collar", detail="too far"))
    assert desk.shown("voldesk_signals_refused_total") == {("price_collar", "straddler"): 1}
    assert desk.shown("voldesk_signals_executed_total") == {("straddler",): 0}


def test_a_signal_of_a_dry_run_is_reported_and_opens_nothing() -> None:
    desk = Watched(dry())
    desk.ready()
    assert desk.shown("voldesk_signals_generated_total") == {("straddler",): 1}
    assert desk.shown("voldesk_signals_reported_total") == {("dry_run", "straddler"): 1}
    assert desk.shown("voldesk_signals_executed_total") == {("straddler",): 0}


def test_a_repeated_question_is_timed_once(desk: Watched) -> None:
    for _ in range(2):
        desk.time_out()
        desk.wait(5)
    assert len(desk.sent) > 1
    assert desk.shown("voldesk_tick_to_intent_seconds_count") == {("grant_asked", "timer"): 1}


def test_the_state_and_the_gates_of_each_strategy_are_shown(desk: Watched) -> None:
    desk.wait(0.01)
    assert desk.shown("voldesk_strategy_state")["running", "straddler"] == 1
    gates = desk.shown("voldesk_strategy_gate_open")
    assert gates["risk", "straddler"] == 1
    desk.command("pause")
    desk.wait(0.01)
    states = desk.shown("voldesk_strategy_state")
    assert states["paused", "straddler"] == 1
    assert sum(states.values()) == 1
    assert desk.shown("voldesk_strategy_gate_open")["state", "straddler"] == 0

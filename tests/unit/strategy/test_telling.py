"""Why a strategy acted or did not, as lines of the log, by the effects of a real host."""

from __future__ import annotations

from typing import Any

import pytest

from services.strategy.telling import StrategyNarrator
from shared.log_lines import IN_EVERY_LINE, Told
from shared.messages.control import GrantRefused, Halt
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import NOON
from tests.unit.strategy.test_host_entry import of_intent, straddler
from tests.unit.strategy.test_host_roll import at_mark, closing, roller, sold

SECOND = 1_000_000_000


class Watched(Dialogue):
    def __init__(self, *strategies: Any) -> None:
        self.narrator = StrategyNarrator(lambda: self.core.slots)
        self.lines: list[Told] = []
        super().__init__(*strategies)

    def _perform(self, step: Any) -> None:
        super()._perform(step)
        for what in (*(entry.row for entry in step.rows), *step.effects):
            if not hasattr(what, "message") or type(what.message) in self.narrator.hears:
                # before the first status the core is not there yet
                self.lines += self.narrator.told(what) if hasattr(self, "core") else ()

    def told(self, event: str) -> list[Told]:
        return [line for line in self.lines if line.event == event]


@pytest.fixture
def desk() -> Watched:
    made = Watched(straddler())
    made.ready()
    return made


def test_an_intent_is_told_from_its_making_to_the_trade_with_its_gates(desk: Watched) -> None:
    wish = desk.give_grant()
    desk.accept("t1")
    desk.opened(of_intent(wish, now_ns=NOON))
    desk.wait(1)
    (made,) = desk.told("intent made")
    (sent,) = desk.told("intent sent")
    (opened,) = desk.told("intent opened")
    assert made.fields["intent_id"] == sent.fields["intent_id"] == opened.fields["intent_id"] == wish.intent_id
    assert opened.fields["trade_id"]
    assert "market_data" in str(sent.fields["gates"])
    assert {line.track for line in desk.lines} == {"strategy"}
    assert not [line for line in desk.lines if IN_EVERY_LINE & line.fields.keys()]
    assert all(line.fields["strategy"] == "straddler" for line in desk.lines)


def test_a_repeated_question_is_told_once(desk: Watched) -> None:
    for _ in range(3):
        desk.time_out()
        desk.wait(1)
    assert len(desk.told("intent made")) == 1


def test_a_refusal_is_told_once_with_who_and_why(desk: Watched) -> None:
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="price_collar", detail="too far"))
    desk.wait(1)
    (refused,) = desk.told("intent refused")
    assert (refused.fields["code"], refused.fields["refused_by"]) == ("price_collar", "risk")
    assert "too far" in str(refused.fields["reason"])
    assert refused.fields["intent_id"] == "straddler-1"


def test_gates_are_told_when_they_close_and_open_and_not_with_each_look(desk: Watched) -> None:
    desk.answer(GrantRefused(intent_id="straddler-1", strategy="straddler", code="x", detail="no"))
    desk.wait(0.01)
    before = len(desk.lines)
    for _ in range(5):
        desk.wait(1)
    quiet = desk.lines[before:]
    assert [line.event for line in quiet if line.event.startswith("gate")] == []
    desk.halt(Halt(level="no_new_trades", reason="enough", raised_by="anna", raised_ns=1))
    desk.wait(1)
    (closed,) = [line for line in desk.told("gate closed") if line.fields["gate"] == "halts"]
    assert "enough" in str(closed.fields["reason"])
    desk.halt()
    desk.wait(1)
    assert [line.fields["gate"] for line in desk.told("gate opened")][-1] == "halts"


def test_of_a_strategy_that_was_just_met_only_closed_gates_are_told() -> None:
    desk = Watched(straddler())
    desk.beat()
    desk.wait(1, fresh=False)
    told = {line.fields["gate"] for line in desk.told("gate closed")}
    assert "execution" in told or "market_data" in told
    assert desk.told("gate opened") == [] or {line.fields["gate"] for line in desk.told("gate opened")} <= told


def test_a_pause_is_told_with_who_asked_for_it(desk: Watched) -> None:
    desk.command("pause")
    (said,) = desk.told("strategy told")
    assert said.fields["action"] == "pause"
    assert said.fields["requested_by"]
    desk.wait(0.01)
    assert [line.fields["state"] for line in desk.told("strategy state")][-1] == "paused"


def test_a_roll_is_told_when_it_begins_and_how_it_ends() -> None:
    desk = Watched(roller())
    desk.opened(sold())
    desk.ready()
    close = closing(desk)
    desk.command("pause")
    desk.hear(at_mark(desk, close.reason))
    (begun,) = desk.told("roll begun")
    assert (begun.fields["trade_id"], begun.fields["reason"]) == ("t1001", close.reason)
    (ended,) = desk.told("roll ended: flat")
    assert ended.fields["reason"] == "paused by operator"

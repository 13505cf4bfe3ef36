"""A refusal for good is told to everybody, and again by the next process; one of the moment is not."""

from __future__ import annotations

from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.trades import RETRYABLE_REFUSALS, IntentRefused, Refusal
from tests.unit.execution.play import CALL, PUT, Script, intent, leg


def test_a_refusal_for_good_is_published_once_and_told_again_by_the_next_process() -> None:
    script = Script().started()
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator"))
    refused = intent(leg(CALL, "buy"))
    assert isinstance(script.ask(refused), Refusal)
    (told,) = script.published(IntentRefused)
    assert (told.intent_id, told.account_id, told.code) == (refused.intent_id, refused.account_id, "halted")
    assert script.ask(refused).code == "halted"
    assert len(script.published(IntentRefused)) == 1, "the second time it is only answered"
    script.restarted()
    assert script.published(IntentRefused) == [told]


def test_after_such_a_refusal_a_late_duplicate_opens_nothing_whatever_has_changed_since() -> None:
    script = Script().started()
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator"))
    late = intent(leg(CALL, "buy"), halt_epoch=1)
    assert script.ask(late).code == "halted"
    script.ask(LiftHalts(requested_by="operator"))
    assert script.ask(late).code == "halted"
    script.restarted()
    script.snapshot()
    assert script.ask(late).code == "halted"
    assert script.ask(intent(leg(PUT, "buy"), halt_epoch=1)).code == "halted", "whatever it says the second time"
    assert script.core.book.trades == {}


def test_a_refusal_of_the_moment_is_not_published() -> None:
    script = Script()
    script._take(script.core.start(script.now_ns))
    script.beats()
    script.market()
    assert script.ask(intent(leg(CALL, "buy"))).code in RETRYABLE_REFUSALS
    assert script.published(IntentRefused) == []
    script.snapshot()
    script.market()
    assert script.published(IntentRefused) == []


def test_an_intent_that_opens_a_trade_is_no_refused_one() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    assert script.published(IntentRefused) == []

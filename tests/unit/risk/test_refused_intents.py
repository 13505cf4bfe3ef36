"""Execution refuses an intent for good: its grant gives back its room, and the intent is granted nothing again."""

from __future__ import annotations

import pytest

from shared.messages.steps import StreamSynced
from shared.messages.trades import IntentRefused
from tests.unit.risk.desk import ACCOUNT, SECOND, START, Script, ask, trade
from tests.unit.risk.test_grants import ONE_AT_A_TIME


def refused(intent_id: str, account_id: str = ACCOUNT) -> IntentRefused:
    return IntentRefused(
        intent_id=intent_id, account_id=account_id, code="would_net", detail="no", at_ns=START + SECOND
    )


def asked() -> Script:
    """Room for one, and that is granted to s-1."""
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(ask("s-1"))
    assert script.refused(ask("s-2"), 1).code == "delta_limit"
    return script


def test_the_room_of_a_refused_intent_is_free_at_once() -> None:
    script = asked()
    script.hear(refused("s-1"), 1, "execution")
    script.granted(ask("s-2"), 1)
    script.poll(2)
    assert script.core.account is not None
    assert script.core.account.outstanding_grants == 1


def test_a_refused_intent_is_granted_nothing_again_not_even_what_it_was_given() -> None:
    script = asked()
    script.hear(refused("s-1"), 1, "execution")
    assert script.refused(ask("s-1"), 2).code == "intent_refused"
    script.granted(ask("s-2"), 2)


@pytest.mark.parametrize("told", [refused("s-9"), refused("s-1", account_id="another")])
def test_the_refusal_of_another_intent_or_account_frees_nothing(told: IntentRefused) -> None:
    script = asked()
    script.hear(told, 1, "execution")
    assert script.refused(ask("s-2"), 2).code == "delta_limit"


def test_the_refusal_of_an_intent_whose_trade_is_known_frees_nothing() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.hear(trade(script.granted(ask("s-1")), START), 1, "execution")
    script.hear(refused("s-1"), 1, "execution")
    assert script.refused(ask("s-2"), 2).code == "delta_limit"


def test_after_a_restart_of_risk_the_refusal_is_told_again_and_frees_the_room_again() -> None:
    script = asked()
    script.hear(refused("s-1"), 1, "execution")
    script.restart(1)
    script.ready(2)
    assert script.refused(ask("s-2"), 2).code == "delta_limit"
    script.hear(refused("s-1"), 2, "execution")
    script.granted(ask("s-2"), 2)


def test_an_execution_that_does_not_remember_the_refusal_gets_the_room_kept_for_it() -> None:
    """Its journal may be another one: the intent could open a trade after all."""
    script = asked()
    script.hear(refused("s-1"), 1, "execution")
    script.epoch = 2
    script.on(StreamSynced("execution", 2), 2)
    assert script.refused(ask("s-2"), 2).code == "delta_limit"
    script.hear(refused("s-1"), 2, "execution", epoch=1)
    assert script.refused(ask("s-2"), 2).code == "delta_limit"

"""Grants: what an envelope holds, how long it reserves room, and what a restart leaves of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from shared.messages.control import AccountAnswer, GetAccount, GrantGiven, GrantRefused
from shared.messages.grants import signature_holds
from shared.messages.steps import Publish, Reply, Request, StreamSynced, Tick
from tests.unit.risk.desk import (
    ACCOUNT,
    CALL_110,
    KEY,
    LONG_CALL,
    PUT_90,
    SECOND,
    START,
    STRANGLE,
    Script,
    account,
    ask,
    halt_state,
    leg,
    limits,
    position,
    trade,
)

ONE_AT_A_TIME = limits(max_delta_usd=6_000.0)
"""A long 0.1 call of delta 0.3 uses about 3,200 USD: room for one of them, not for two."""


def test_a_grant_is_a_signed_envelope_of_the_legs_asked_for() -> None:
    grant = Script().ready().granted(ask(legs=STRANGLE))
    assert [(g.symbol, g.side, g.max_quantity) for g in grant.legs] == [
        (CALL_110, "sell", Decimal("0.1")),
        (PUT_90, "sell", Decimal("0.1")),
    ]
    assert signature_holds(grant, KEY)
    assert (grant.intent_id, grant.account_id, grant.halt_epoch) == ("s-1", ACCOUNT, 0)
    assert grant.deadline_ns == START + 120 * SECOND
    assert grant.margin_usd > 0


def test_the_same_intent_with_the_same_legs_is_given_the_same_grant() -> None:
    script = Script().ready()
    first = script.granted(ask(), at_s=0)
    assert script.granted(ask(), at_s=1) == first
    assert len([entry for entry in script.rows if entry.row.__class__.__name__ == "GrantIssued"]) == 1


def test_the_same_intent_with_other_legs_is_a_duplicate() -> None:
    script = Script().ready()
    script.granted(ask())
    assert script.refused(ask(legs=STRANGLE)).code == "duplicate_intent"


def test_a_refusal_is_answered_and_published() -> None:
    step = Script().on(Request("r1", ask(), "strategy"))
    reply, publish = step.effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.message, GrantRefused)
    assert reply.message.code == "not_ready"
    assert publish == Publish("risk.main.refusal", reply.message)


def test_two_intents_cannot_spend_the_same_room() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(ask("s-1"))
    second = script.refused(ask("s-2"))
    assert second.code == "delta_limit"
    assert second.value is not None
    assert second.value > 6_000


def test_an_offsetting_grant_makes_no_room_before_it_is_filled() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(ask("short", (leg(CALL_110, "sell", "0.1"),)))
    script.granted(ask("long-1"))
    assert script.refused(ask("long-2")).code == "delta_limit"


def test_a_grant_without_a_trade_counts_until_its_deadline_and_the_delay_have_passed() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(ask("s-1"))
    for at_s in (119, 124):
        script.market(at_s).poll(at_s)
        assert script.refused(ask("s-2"), at_s).code == "delta_limit"
    script.market(126).poll(126)
    script.granted(ask("s-2"), 126)


def test_a_grant_in_use_counts_past_its_deadline() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    grant = script.granted(ask("s-1"))
    script.hear(trade(grant, START + SECOND), 1, "execution")
    script.market(500).poll(500)
    assert script.refused(ask("s-2"), 500).code == "delta_limit"


def test_a_released_grant_counts_until_an_account_asked_for_later_shows_the_outcome() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    grant = script.granted(ask("s-1"))
    script.hear(trade(grant, START + SECOND), 1, "execution")
    script.hear(trade(grant, START + 2 * SECOND, state="FAILED", grant_open=False), 2, "execution")
    script.market(2.2).poll(2.2)
    assert script.refused(ask("s-2"), 2.3).code == "delta_limit"
    script.poll(2.6)
    script.granted(ask("s-2"), 2.7)


def test_filled_positions_take_the_place_of_their_grant() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    grant = script.granted(ask("s-1"))
    script.hear(trade(grant, START + SECOND, state="OPEN", grant_open=False), 1, "execution")
    script.market(3).poll(3, positions=(position(CALL_110, "0.1"),))
    snapshot = script.core.account
    assert snapshot is not None
    assert snapshot.outstanding_grants == 0
    assert script.refused(ask("s-2"), 3).code == "delta_limit"
    script.poll(4)
    script.granted(ask("s-2"), 4)


def test_an_intent_that_opened_a_trade_is_given_nothing_new() -> None:
    script = Script().ready()
    grant = script.granted(ask("s-1"))
    script.hear(trade(grant, START + SECOND, state="CLOSED", grant_open=False), 1, "execution")
    script.market(200).poll(200)
    assert script.refused(ask("s-1"), 200).code == "duplicate_intent"


def test_a_restart_keeps_a_grant_that_nobody_used_yet() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    first = script.granted(ask("s-1"))
    script.restart()
    assert script.refused(ask("s-1"), 1).code == "not_ready"
    script.ready(1)
    assert script.granted(ask("s-1"), 1) == first
    assert script.refused(ask("s-2"), 1).code == "delta_limit"


def test_a_restart_learns_of_grants_in_use_from_the_replay_of_execution() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    grant = script.granted(ask("s-1"))
    script.rows.clear()
    script.restart()
    script.hear(trade(grant, START + SECOND), 2, "execution")
    assert script.refused(ask("s-2"), 2).code == "not_ready"
    script.ready(2)
    assert script.refused(ask("s-2"), 2).code == "delta_limit"


def test_a_new_start_of_execution_means_not_ready_until_its_replay_is_complete() -> None:
    script = Script().ready()
    grant = script.granted(ask("s-1"))
    script.hear(trade(grant, START + SECOND), 1, "execution", epoch=2)
    assert script.refused(ask("s-2"), 1).code == "not_ready"
    script.on(StreamSynced("execution", 1), 1)
    assert script.refused(ask("s-2"), 1).code == "not_ready"
    script.on(StreamSynced("execution", 2), 1)
    script.granted(ask("s-2"), 1)


def test_news_of_an_earlier_start_of_execution_are_ignored() -> None:
    script = Script()
    script.epoch = 5
    script.ready()
    script.hear(halt_state(3, "no_new_trades"), 0, "execution", epoch=4)
    script.granted(ask())


def test_a_halt_refuses_and_its_epoch_voids_earlier_grants() -> None:
    script = Script().ready()
    first = script.granted(ask("s-1"))
    script.hear(halt_state(1, "no_new_trades"), 1, "execution")
    assert script.refused(ask("s-1"), 1).code == "halted"
    script.hear(halt_state(1), 2, "execution")
    again = script.granted(ask("s-1"), 2)
    assert again.grant_id != first.grant_id
    assert again.halt_epoch == 1


def test_a_grant_past_its_deadline_is_not_given_again() -> None:
    script = Script().ready()
    first = script.granted(ask("s-1"))
    script.market(130).poll(130)
    second = script.granted(ask("s-1"), 130)
    assert second.deadline_ns > first.deadline_ns


def test_other_accounts_and_foreign_halts_do_not_count() -> None:
    script = Script().ready()
    script.hear(msgspec.structs.replace(halt_state(1, "flatten"), account_id="other"), 0, "execution")
    script.granted(ask())
    assert script.refused(ask("s-9", account_id="other")).code == "account_mismatch"


def test_the_account_can_be_asked_for() -> None:
    script = Script()
    assert script.on(Request("r", GetAccount(), "cli")).effects == [Reply("r", AccountAnswer(account=None))]
    script.ready()
    reply = script.on(Request("r", GetAccount(), "cli")).effects[0]
    assert reply.message.account == script.core.account


def test_a_request_that_is_not_for_risk_is_refused_with_a_reason() -> None:
    (effect,) = Script().on(Request("r", GrantRefused(intent_id="", strategy="", code="", detail=""), "x")).effects
    assert (effect.request_id, effect.message.code) == ("r", "unknown_request")


@pytest.mark.parametrize("item", [object(), Tick()])
def test_what_is_not_for_risk_is_ignored(item: object) -> None:
    step = Script().on(item)
    assert (step.rows, step.effects) == ([], [])


def test_live_state_equals_the_fold_of_the_journal() -> None:
    script = Script().ready()
    script.granted(ask("s-1"))
    script.poll(1, account("120000"))
    script.poll(2, account("120000"))
    script.restart(3)
    script.ready(3, figures=account("120000"))
    snapshot = script.core.account
    assert snapshot is not None
    assert snapshot.peak_equity_usd == Decimal(120_000)
    assert snapshot.outstanding_grants == 1
    assert isinstance(script.on(Request("r", ask("s-1"), "s"), 3).effects[0].message, GrantGiven)


def test_a_request_leaves_the_legs_of_the_intent_itself_out_of_the_room_used() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(ask("s-1"))
    script.hear(halt_state(1), 1, "execution")
    script.granted(ask("s-1", LONG_CALL), 1)


def test_a_grant_lasts_as_long_as_the_opening_may_take_within_bounds() -> None:
    script = Script(limits(grant_ttl_max_ms=600_000)).ready()
    for ordinal, (opening_s, lasts_s) in enumerate(
        ((0.0, 120), (60.0, 120), (300.0, 300), (1e9, 600), (float("nan"), 120), (-5.0, 120))
    ):
        asked = msgspec.structs.replace(ask(f"s-{ordinal}", (leg(CALL_110, "buy", "0.01"),)), opening_s=opening_s)
        assert script.granted(asked).deadline_ns == START + lasts_s * SECOND


def test_a_long_grant_of_which_no_trade_is_made_counts_no_longer_than_a_short_one() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    script.granted(msgspec.structs.replace(ask("s-1"), opening_s=3_600.0))
    script.market(119).poll(119)
    assert script.refused(ask("s-2"), 119).code == "delta_limit"
    script.market(126).poll(126)
    script.granted(ask("s-2"), 126)


def test_a_long_grant_that_holds_no_room_any_more_is_judged_anew() -> None:
    script = Script(ONE_AT_A_TIME).ready()
    long_lived = msgspec.structs.replace(ask("s-1"), opening_s=3_600.0, valid_until_ns=START + 86_400 * SECOND)
    first = script.granted(long_lived)
    script.market(60).poll(60)
    assert script.granted(long_lived, 60) == first
    later_s = 600
    script.market(later_s).poll(later_s)
    script.granted(msgspec.structs.replace(ask("s-2"), valid_until_ns=START + 86_400 * SECOND), later_s)
    assert script.refused(long_lived, later_s).code == "delta_limit"

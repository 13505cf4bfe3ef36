"""Circuit breakers: what opens each, what is refused then, and how a trial ends it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.risk.config import RiskConfig, StrategyLimits
from services.risk.inputs import AccountPollFailed
from services.risk.rows import BreakerMoved, RiskRow
from services.risk.states import BREAKER_TRANSITIONS, MARGIN_LEVELS, MARGIN_TRANSITIONS
from shared.messages.control import RequestGrant
from shared.messages.costs import OpeningCost
from shared.messages.risk import BreakersReset, BreakerStatus, ResetBreaker, RiskLimits
from shared.messages.steps import Publish, RaiseAlert, Reply, Request, Step, Tick
from shared.messages.trades import Grant, Refusal, TradeState, TradeUpdate
from tests.unit.risk.desk import SECOND, START, Script, ask, limits, trade
from tests.unit.risk.test_limits import order

PAUSE_S = 600


def config(**changes: Any) -> RiskConfig:
    return limits(
        **({"max_consecutive_losses": 2, "breaker_pause_s": PAUSE_S, "breaker_short_pause_s": 60} | changes)
    )


def of(strategy: str, ordinal: int) -> RequestGrant:
    return msgspec.structs.replace(
        ask(f"{strategy}-{ordinal}", valid_until_ns=START + 7_200 * SECOND), strategy=strategy
    )


def ended(
    grant: Grant,
    at_s: float,
    pnl: str,
    *,
    strategy: str = "s",
    fees: str = "0",
    fees_complete: bool = True,
    state: TradeState = "CLOSED",
    filled: str = "0.1",
) -> TradeUpdate:
    update = trade(grant, START + int(at_s * SECOND), state=state, grant_open=False, trade_id=f"t-{grant.intent_id}")
    legs = tuple(msgspec.structs.replace(leg, filled_quantity=Decimal(filled)) for leg in update.legs)
    return msgspec.structs.replace(
        update,
        strategy=strategy,
        legs=legs,
        realized_pnl_usd=Decimal(pnl),
        fees_usd=Decimal(fees),
        fees_complete=fees_complete,
    )


def lose(script: Script, ordinal: int, at_s: float, pnl: str = "-1", strategy: str = "s") -> Step:
    script.market(at_s).poll(at_s)
    grant = script.granted(of(strategy, ordinal), at_s)
    return script.hear(ended(grant, at_s, pnl, strategy=strategy), at_s, "execution")


def moves(script: Script) -> list[tuple[str, str, str]]:
    rows = [entry.row for entry in script.rows]
    return [(row.name, row.subject, row.state) for row in rows if isinstance(row, BreakerMoved)]


def breaker(script: Script, name: str, at_s: float, subject: str = "") -> BreakerStatus:
    script.market(at_s)
    (shown,) = [
        effect.message
        for effect in script.poll(at_s).effects
        if isinstance(effect, Publish) and isinstance(effect.message, RiskLimits)
    ]
    (found,) = [each for each in shown.breakers if (each.name, each.subject) == (name, subject)]
    return found


def test_losses_in_a_row_open_the_breaker_and_a_gain_in_between_does_not() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1, "5")
    lose(script, 3, 2)
    assert moves(script) == []
    step = lose(script, 4, 3)
    assert moves(script) == [("consecutive_losses", "", "open")]
    (alert,) = [effect for effect in step.effects if isinstance(effect, RaiseAlert)]
    assert (alert.code, alert.severity, alert.resolved) == ("breaker_open", "critical", False)
    assert alert.subject == "consecutive_losses/main"
    refused = script.refused(of("s", 5), 3)
    assert (refused.code, refused.value, refused.limit) == ("consecutive_losses", 2, 2)


def test_after_the_pause_one_trade_at_a_time_tries_and_a_gain_closes_the_breaker() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1)
    assert script.core.next_deadline_ns() == START + (1 + PAUSE_S) * SECOND
    at_s = 1 + PAUSE_S
    script.on(Tick(), at_s)
    assert breaker(script, "consecutive_losses", at_s).state == "half_open"
    trial = script.granted(of("s", 3), at_s)
    assert script.refused(of("s", 4), at_s).code == "consecutive_losses"
    assert script.granted(of("s", 3), at_s) == trial, "the trial's own request may be repeated"
    script.hear(ended(trial, at_s + 1, "3"), at_s + 1, "execution")
    assert moves(script)[-1] == ("consecutive_losses", "", "closed")
    script.granted(of("s", 4), at_s + 1)


def test_hedges_that_lose_open_no_breaker_and_are_not_counted_as_the_one_trade_that_tries() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    for ordinal in (1, 2, 3):
        grant = script.granted(of("s.hedge", ordinal), 1)
        update = ended(grant, 1, "-1", strategy="s.hedge")
        script.hear(msgspec.structs.replace(update, hedge_of="t1"), 1, "execution")
    assert moves(script) == []
    lose(script, 2, 2)
    assert moves(script) == [("consecutive_losses", "", "open")]
    at_s = 2 + PAUSE_S
    script.on(Tick(), at_s)
    assert breaker(script, "consecutive_losses", at_s).state == "half_open"
    held = trade(script.granted(of("s.hedge", 4), at_s), START + at_s * SECOND, state="OPEN", trade_id="h4")
    script.hear(msgspec.structs.replace(held, strategy="s.hedge", hedge_of="t1"), at_s, "execution")
    trial = script.granted(of("s", 3), at_s)
    script.granted(of("s.hedge", 5), at_s)
    assert script.refused(of("s", 4), at_s).code == "consecutive_losses"
    script.hear(ended(trial, at_s + 1, "3"), at_s + 1, "execution")
    assert moves(script)[-1] == ("consecutive_losses", "", "closed")


def test_a_trial_that_loses_opens_it_again_for_another_pause() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1)
    script.on(Tick(), 1 + PAUSE_S)
    lose(script, 3, 2 + PAUSE_S)
    assert moves(script)[-1] == ("consecutive_losses", "", "open")
    assert breaker(script, "consecutive_losses", 3 + PAUSE_S).half_open_ns == START + (2 + 2 * PAUSE_S) * SECOND


def test_a_trade_from_before_says_nothing_of_the_trial() -> None:
    script = Script(config()).ready()
    old = script.granted(of("s", 9), 0)
    script.hear(trade(old, START, trade_id="t-s-9"), 0, "execution")
    lose(script, 1, 0)
    lose(script, 2, 1)
    script.on(Tick(), 1 + PAUSE_S)
    script.hear(ended(old, 2 + PAUSE_S, "50"), 2 + PAUSE_S, "execution")
    assert breaker(script, "consecutive_losses", 2 + PAUSE_S).state == "half_open"


def test_a_strategy_with_a_limit_of_its_own_is_stopped_alone() -> None:
    own = {"bad": StrategyLimits(max_consecutive_losses=1)}
    script = Script(config(strategies=own)).ready()
    lose(script, 1, 0, strategy="bad")
    assert moves(script) == [("consecutive_losses", "bad", "open")]
    assert script.refused(of("bad", 2)).code == "consecutive_losses"
    script.granted(of("good", 1))
    assert breaker(script, "consecutive_losses", 1, "bad").reason == "1 losses, limit 1"


def test_losses_of_several_strategies_count_together_for_the_account() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0, strategy="a")
    lose(script, 1, 1, strategy="b")
    assert moves(script) == [("consecutive_losses", "", "open")]


def test_fees_decide_between_gain_and_loss_and_are_waited_for() -> None:
    script = Script(config(max_consecutive_losses=1)).ready()
    grant = script.granted(of("s", 1))
    script.hear(ended(grant, 1, "5", fees="0", fees_complete=False), 1, "execution")
    assert moves(script) == []
    script.hear(ended(grant, 2, "5", fees="6"), 2, "execution")
    assert moves(script) == [("consecutive_losses", "", "open")]


def test_a_loss_before_fees_is_a_loss_already() -> None:
    script = Script(config(max_consecutive_losses=1)).ready()
    script.hear(ended(script.granted(of("s", 1)), 1, "-5", fees_complete=False), 1, "execution")
    assert moves(script) == [("consecutive_losses", "", "open")]


def test_an_opening_that_never_traded_is_neither_gain_nor_loss() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    script.hear(ended(script.granted(of("s", 2)), 1, "0", state="FAILED", filled="0"), 1, "execution")
    lose(script, 3, 2)
    assert moves(script) == [("consecutive_losses", "", "open")]


def test_a_trade_told_again_and_after_a_restart_counts_once() -> None:
    script = Script(config()).ready()
    update = ended(script.granted(of("s", 1)), 0, "-1")
    for _ in range(3):
        script.hear(update, 0, "execution")
    script.restart(1)
    script.epoch = 2
    script.ready(1).hear(update, 1, "execution")
    assert moves(script) == []
    lose(script, 2, 2)
    assert moves(script) == [("consecutive_losses", "", "open")]


def test_an_open_breaker_survives_a_restart_with_its_pause() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1)
    script.restart(5)
    script.ready(5)
    assert script.refused(of("s", 3), 5).code == "consecutive_losses"
    assert script.core.next_deadline_ns() == START + (1 + PAUSE_S) * SECOND


def cost(grant: Grant, at_s: float, over_usd: float, *, fees_complete: bool = True) -> TradeUpdate:
    told = OpeningCost(
        mode="limit", expected_usd=10.0, actual_usd=10.0 + over_usd, fees_usd=1.0, fees_complete=fees_complete
    )
    update = trade(grant, START + int(at_s * SECOND), state="OPEN", grant_open=False, trade_id=f"t-{grant.intent_id}")
    return msgspec.structs.replace(update, opening_cost=told)


def test_openings_that_cost_more_than_expected_open_the_breaker_of_slippage() -> None:
    script = Script(config(max_slippage_pct=0.5, slippage_openings=10)).ready()
    unsettled, first, second = (script.granted(of("s", ordinal)) for ordinal in (1, 2, 3))
    script.hear(cost(unsettled, 0, 900.0, fees_complete=False), 0, "execution")
    script.hear(cost(first, 0, 400.0), 0, "execution")
    assert moves(script) == []
    for _ in range(2):
        script.hear(cost(second, 0, 150.0), 0, "execution")
    assert moves(script) == [("slippage", "", "open")]
    assert breaker(script, "slippage", 1).value == pytest.approx(0.55)
    script.on(Tick(), PAUSE_S)
    script.market(PAUSE_S).poll(PAUSE_S)
    script.hear(cost(script.granted(of("s", 4), PAUSE_S), PAUSE_S, 50.0), PAUSE_S, "execution")
    assert moves(script)[-1] == ("slippage", "", "closed"), "its share of the limit is 0.05 % of equity"
    assert breaker(script, "slippage", PAUSE_S).value == 0


def test_refused_orders_open_the_breaker_of_rejections_and_an_accepted_one_closes_it() -> None:
    script = Script(config(rejection_orders_min=4, max_rejection_pct=50)).ready()
    for number in range(3):
        script.hear(order(number, 0, "REFUSED"), 0, "execution")
    assert breaker(script, "rejection_rate", 0).value is None, "too few orders ended"
    script.hear(order(3, 0, "FILLED"), 0, "execution")
    assert moves(script) == [("rejection_rate", "", "open")]
    assert script.refused(of("s", 1)).code == "rejection_rate"
    script.on(Tick(), 60)
    script.market(60).poll(60)
    script.granted(of("s", 1), 60)
    script.hear(order(9, 61, "CANCELLED"), 61, "execution")
    assert moves(script)[-1] == ("rejection_rate", "", "closed")


def test_half_of_the_orders_refused_is_not_yet_too_many() -> None:
    script = Script(config(rejection_orders_min=4, max_rejection_pct=50)).ready()
    for number in range(4):
        script.hear(order(number, 0, "REFUSED" if number % 2 else "FILLED"), 0, "execution")
    assert moves(script) == []


def test_a_venue_that_fails_opens_its_breaker_and_reads_in_a_row_close_it() -> None:
    script = Script(config(max_venue_errors_per_minute=3)).ready()
    for at_s in (1, 2):
        script.on(AccountPollFailed("timeout"), at_s)
    script.hear(order(1, 3, "UNKNOWN"), 3, "execution")
    assert moves(script) == [("venue_errors", "", "open")]
    script.market(4).poll(4)
    assert script.refused(of("s", 1), 4).code == "venue_errors"
    script.on(Tick(), 63)
    for at_s in (63, 65):
        script.poll(at_s)
    assert moves(script)[-1] == ("venue_errors", "", "half_open")
    script.poll(67)
    assert moves(script)[-1] == ("venue_errors", "", "closed")


def test_errors_far_apart_do_not_add_up() -> None:
    script = Script(config(max_venue_errors_per_minute=2)).ready()
    for at_s in (1, 62, 123):
        script.on(AccountPollFailed("timeout"), at_s)
    assert moves(script) == []


def test_drawdown_and_daily_loss_stand_among_the_breakers_as_those_that_halt() -> None:
    script = Script(config()).ready()
    found = [breaker(script, name, 1) for name in ("drawdown", "daily_loss")]
    assert [(each.state, each.halts, each.half_open_ns) for each in found] == [("closed", True, None)] * 2


def test_a_person_resets_a_breaker_and_what_was_lost_before_does_not_count_again() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1)
    asked = ResetBreaker(name="consecutive_losses", subject="", requested_by="cli:ann")
    step = script.on(Request("reset-1", asked, "cli"), 5)
    (told,) = [effect.message for effect in step.effects if isinstance(effect, Reply)]
    assert isinstance(told, BreakersReset)
    assert {each.state for each in told.breakers} == {"closed"}
    assert [effect.resolved for effect in step.effects if isinstance(effect, RaiseAlert)] == [True]
    lose(script, 3, 6)
    assert moves(script)[-1] == ("consecutive_losses", "", "closed")
    assert "cli:ann" in str(script.rows)


def test_a_breaker_that_nobody_has_cannot_be_reset_nor_a_loss_accepted_of_an_account_that_was_not_read() -> None:
    for name, script, code in (
        ("losses", Script(config()).ready(), "no_such_breaker"),
        ("drawdown", Script(config()), "not_read_yet"),
    ):
        asked = ResetBreaker(name=name, subject="", requested_by="cli:ann")
        (reply,) = script.on(Request("reset-1", asked, "cli")).effects
        assert isinstance(reply, Reply)
        assert isinstance(reply.message, Refusal)
        assert reply.message.code == code


def test_refusals_from_before_a_reset_do_not_count_again_when_a_restart_tells_of_them() -> None:
    script = Script(config()).ready()
    for number in range(10):
        script.hear(order(number, 0, "REFUSED"), 1, "execution")
    assert moves(script)[-1] == ("rejection_rate", "", "open")
    script.on(Request("r", ResetBreaker(name="rejection_rate", subject="", requested_by="cli:ann"), "cli"), 60)
    script.restart(61)
    script.ready(61)
    for number in range(10):
        script.hear(order(number, 0, "REFUSED"), 62, "execution")
    assert moves(script)[-1] == ("rejection_rate", "", "closed")
    for number in range(10, 20):
        script.hear(order(number, 61, "REFUSED"), 63, "execution")
    assert moves(script)[-1] == ("rejection_rate", "", "open")


def test_every_state_can_be_left_and_only_into_states_of_the_table() -> None:
    assert {target for targets in BREAKER_TRANSITIONS.values() for target in targets} == set(BREAKER_TRANSITIONS)
    assert all(BREAKER_TRANSITIONS.values())
    assert "half_open" not in BREAKER_TRANSITIONS["closed"]
    assert set(MARGIN_TRANSITIONS) == set(MARGIN_LEVELS)


def test_rows_of_breakers_survive_the_journals_encoding() -> None:
    script = Script(config()).ready()
    lose(script, 1, 0)
    lose(script, 2, 1)
    rows = [entry.row for entry in script.rows]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(rows), type=list[RiskRow]) == rows

"""Would it be granted: every refusal at once, margin before and after, and nothing reserved."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from services.risk.config import RiskConfig
from services.risk.margin import short_initial_margin, short_maintenance_margin
from shared.messages.risk import MarginModel, RiskLimits, WhatIf, WhatIfAnswer
from shared.messages.steps import Publish, Reply, Request
from shared.messages.trades import LegOrder
from tests.unit.risk.desk import (
    ACCOUNT,
    CALL_110,
    CALL_120,
    INDEX,
    LONG_CALL,
    PUT_90,
    STRANGLE,
    Script,
    account,
    ask,
    halt_state,
    leg,
    limits,
    position,
)


def what_if(
    script: Script, legs: tuple[LegOrder, ...], *, at_s: float = 0, max_loss_usd: float | None = None
) -> WhatIfAnswer:
    asked = WhatIf(account_id=ACCOUNT, strategy="s", legs=legs, max_loss_usd=max_loss_usd)
    step = script.on(Request("what-if-1", asked, "cli"))
    (reply,) = step.effects
    assert step.rows == []
    assert isinstance(reply, Reply)
    assert isinstance(reply.message, WhatIfAnswer)
    return reply.message


def mark_of(script: Script, symbol: str) -> float:
    option = script.core._market.option(symbol)
    assert option is not None
    return option.mark


def test_what_would_be_granted_is_granted_and_says_what_it_uses() -> None:
    script = Script().ready()
    told = what_if(script, LONG_CALL)
    assert told.refusals == ()
    grant = script.granted(ask(legs=LONG_CALL))
    assert (told.margin_usd, told.max_loss_usd) == (grant.margin_usd, grant.max_loss_usd)
    assert told.available_margin_usd == 100_000


def test_asking_reserves_nothing() -> None:
    script = Script(limits(max_open_trades=1)).ready()
    for _ in range(3):
        assert what_if(script, LONG_CALL).refusals == ()
    script.granted(ask())


def test_every_limit_that_it_would_pass_is_told_at_once() -> None:
    script = Script(limits(max_trade_risk_pct=0.1, max_delta_usd=1.0)).ready()
    codes = [refusal.code for refusal in what_if(script, LONG_CALL).refusals]
    assert codes == ["delta_limit", "trade_risk"]
    script.hear(halt_state(1, "no_new_trades"), 0, "execution")
    assert [refusal.code for refusal in what_if(script, LONG_CALL).refusals] == ["halted", *codes]


def test_what_cannot_be_judged_ends_with_the_reason_and_no_figures() -> None:
    script = Script().ready()
    told = what_if(script, (leg("BTCUSD-27MAR26-1-C", "buy", "0.1"),))
    assert [refusal.code for refusal in told.refusals] == ["unknown_instrument"]
    assert (told.margin_usd, told.margins, told.limits_after) == (None, (), ())
    assert [refusal.code for refusal in what_if(script, (leg(CALL_110, "buy", "NaN"),)).refusals] == ["bad_structure"]
    assert [refusal.code for refusal in what_if(Script().market(), LONG_CALL).refusals] == ["not_ready"]


def test_margin_before_and_after_is_that_of_the_positions_by_both_models() -> None:
    script = Script().ready(positions=(position(CALL_110, "-0.1"),))
    told = what_if(script, (leg(CALL_120, "buy", "0.1"),))
    standard, portfolio = told.margins
    unit = short_initial_margin(RiskConfig(), INDEX, 110_000, mark_of(script, CALL_110), is_call=True)
    assert standard.model == "standard"
    assert standard.before_usd == standard.after_usd == pytest.approx(0.1 * unit)
    assert portfolio.model == "portfolio"
    assert 0 < portfolio.after_usd < portfolio.before_usd, "the bought call covers a part of the sold one"


def test_limits_are_told_before_and_after() -> None:
    script = Script().ready()
    told = what_if(script, STRANGLE)
    before = {limit.name: limit.value for limit in told.limits_before}
    after = {limit.name: limit.value for limit in told.limits_after}
    assert (before["open_trades"], after["open_trades"]) == (0, 1)
    assert after["expiry_concentration"] == pytest.approx(20)
    assert after["trade_risk"] == pytest.approx((told.margin_usd or 0) / 1_000)
    assert after["stressed_loss"] is not None
    assert after["stressed_loss"] > 0


def test_a_declared_loss_is_what_the_trade_risks() -> None:
    told = what_if(Script().ready(), STRANGLE, max_loss_usd=300.0)
    assert told.max_loss_usd == 300
    assert {limit.name: limit.value for limit in told.limits_after}["trade_risk"] == pytest.approx(0.3)


def models(script: Script, initial: str, maintenance: str) -> dict[tuple[str, str], MarginModel]:
    figures = msgspec.structs.replace(
        account("100000", initial_margin=initial), maintenance_margin_usd=Decimal(maintenance)
    )
    step = script.market().poll(0, figures, (position(PUT_90, "-1"), position(CALL_120, "1")))
    (shown,) = [
        effect.message
        for effect in step.effects
        if isinstance(effect, Publish) and isinstance(effect.message, RiskLimits)
    ]
    return {(model.model, model.figure): model for model in shown.margin_models}


def test_each_model_stands_beside_the_venues_figure_with_its_error() -> None:
    script = Script()
    found = models(script, "10000", "5000")
    mark = mark_of(script, PUT_90)
    initial = short_initial_margin(RiskConfig(), INDEX, 90_000, mark, is_call=False)
    maintenance = short_maintenance_margin(RiskConfig(), INDEX, mark, is_call=False)
    assert found["standard", "initial"].model_usd == pytest.approx(initial)
    assert found["standard", "initial"].error_pct == pytest.approx((initial - 10_000) / 100)
    assert found["standard", "maintenance"].error_pct == pytest.approx((maintenance - 5_000) / 50)
    assert found["portfolio", "maintenance"].model_usd == pytest.approx(
        0.8 * (found["portfolio", "initial"].model_usd or 0)
    )


def test_where_the_venue_shows_no_margin_there_is_no_error() -> None:
    assert all(model.error_pct is None for model in models(Script(), "0", "0").values())


def test_maintenance_of_a_dear_put_is_at_least_its_share_of_the_mark() -> None:
    config = RiskConfig()
    assert short_maintenance_margin(config, 100.0, 50.0, is_call=True) == pytest.approx(57.5)
    assert short_maintenance_margin(config, 100.0, 200.0, is_call=False) == pytest.approx(215.0)

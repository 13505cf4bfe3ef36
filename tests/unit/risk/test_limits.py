"""Limits of underlyings and strategies, and what is shown of all limits."""

from __future__ import annotations

import msgspec
import pytest

from services.risk.config import StrategyLimits, UnderlyingLimits
from services.risk.limits import nearest_first
from shared.messages.risk import GetRisk, LimitUse, RiskAnswer, RiskLimits
from shared.messages.steps import Publish, Reply, Request, Step
from shared.messages.trades import OrderState, OrderUpdate
from tests.unit.risk.desk import (
    ACCOUNT,
    CALL_100,
    CALL_110,
    SECOND,
    START,
    STRANGLE,
    Script,
    account,
    ask,
    leg,
    limits,
    position,
    trade,
)


def shown(step: Step) -> RiskLimits:
    (found,) = [
        effect.message
        for effect in step.effects
        if isinstance(effect, Publish) and effect.topic == f"risk.{ACCOUNT}.limits"
    ]
    assert isinstance(found, RiskLimits)
    return found


def use(answer: RiskLimits, name: str, subject: str = "") -> LimitUse:
    (found,) = [limit for limit in answer.limits if (limit.name, limit.subject) == (name, subject)]
    return found


def order(number: int, at_s: float, state: OrderState = "WORKING") -> OrderUpdate:
    at_ns = START + int(at_s * SECOND)
    return msgspec.convert(
        {
            "schema": "order.1",
            "client_order_id": number,
            "venue_order_id": None,
            "account_id": ACCOUNT,
            "trade_id": "t1",
            "leg_index": 0,
            "purpose": "open",
            "attempt": 1,
            "symbol": CALL_110,
            "side": "buy",
            "quantity": "0.1",
            "price": "100",
            "filled_quantity": "0",
            "average_price": None,
            "state": state,
            "reason": "",
            "reduce_only": False,
            "created_ns": at_ns,
            "updated_ns": at_ns,
        },
        OrderUpdate,
    )


OF_A_STRATEGY = [
    ("strategy_trade_risk", {"max_trade_risk_pct": 0.1}),
    ("strategy_total_risk", {"max_total_risk_pct": 0.1}),
    ("strategy_order_notional", {"max_order_notional_usd": 10_999.0}),
]


@pytest.mark.parametrize(("code", "tight"), OF_A_STRATEGY, ids=[code for code, _ in OF_A_STRATEGY])
def test_a_limit_of_one_strategy_refuses_it_and_no_other(code: str, tight: dict[str, float]) -> None:
    own = msgspec.convert(tight, StrategyLimits)
    assert Script(limits(strategies={"s": own})).ready().refused(ask()).code == code
    Script(limits(strategies={"another": own})).ready().granted(ask())


def test_open_trades_of_one_strategy_are_counted_from_its_trades_and_grants() -> None:
    script = Script(limits(strategies={"s": StrategyLimits(max_open_trades=1)})).ready()
    script.hear(trade(script.granted(ask("s-1")), START + SECOND), 1, "execution")
    refused = script.refused(ask("s-2"), 1)
    assert (refused.code, refused.value, refused.limit) == ("strategy_open_trades", 2, 1)
    script.granted(msgspec.structs.replace(ask("other-1"), strategy="other"), 1)


def test_hedges_take_no_place_among_the_open_trades_and_need_none() -> None:
    script = Script(limits(max_open_trades=2)).ready()
    for ordinal in (1, 2, 3):
        hedge = msgspec.structs.replace(ask(f"s.hedge-{ordinal}"), strategy="s.hedge")
        held = msgspec.structs.replace(
            trade(script.granted(hedge), START), strategy="s.hedge", trade_id=f"h{ordinal}"
        )
        script.hear(held, 0, "execution")
    script.granted(ask("s-1"))
    script.granted(ask("s-2"))
    assert script.refused(ask("s-3")).code == "open_trades"
    script.granted(msgspec.structs.replace(ask("s.hedge-4"), strategy="s.hedge"))


def test_grants_per_minute_of_one_strategy_are_counted_across_a_restart() -> None:
    script = Script(limits(strategies={"s": StrategyLimits(max_grants_per_minute=1)})).ready()
    script.granted(msgspec.structs.replace(ask("other-1"), strategy="other"))
    script.granted(ask("s-1"))
    script.restart(1)
    script.ready(1)
    assert script.refused(ask("s-2"), 1).code == "strategy_grant_rate"


OF_AN_UNDERLYING = [
    ("underlying_delta", {"max_delta_usd": 2_000.0}),
    ("underlying_gamma", {"max_gamma_usd": 100.0}),
    ("underlying_vega", {"max_vega_usd": 1.0}),
    ("underlying_theta", {"max_theta_usd": 1.0}),
    ("underlying_concentration", {"max_notional_pct": 9.9}),
]


@pytest.mark.parametrize(("code", "tight"), OF_AN_UNDERLYING, ids=[code for code, _ in OF_AN_UNDERLYING])
def test_a_limit_of_one_underlying_refuses_what_trades_it(code: str, tight: dict[str, float]) -> None:
    own = msgspec.convert(tight, UnderlyingLimits)
    assert Script(limits(underlyings={"BTCUSD": own})).ready().refused(ask()).code == code
    Script(limits(underlyings={"ETHUSD": own})).ready().granted(ask())


def test_what_all_trades_may_lose_together_is_bounded_by_declared_losses_and_margin() -> None:
    script = Script(limits(max_total_risk_pct=3.2)).ready()
    first = script.granted(ask("s-1", STRANGLE))
    assert first.max_loss_usd is None
    assert 2_000 < first.margin_usd < 3_200
    script.granted(ask("s-2", STRANGLE, max_loss_usd=10.0))
    refused = script.refused(ask("s-3", STRANGLE, max_loss_usd=3_200 - first.margin_usd))
    assert (refused.code, refused.limit) == ("total_risk", 3.2)
    assert refused.value == pytest.approx(3.21)


def test_a_loss_that_nothing_bounds_counts_with_the_margin_it_ties_up() -> None:
    refused = Script(limits(max_trade_risk_pct=2)).ready().refused(ask(legs=STRANGLE))
    assert refused.code == "trade_risk"
    Script(limits(max_trade_risk_pct=2)).ready().granted(ask(legs=STRANGLE, max_loss_usd=1_999.0))


def test_orders_at_work_and_orders_of_the_last_minute_hold_back_a_further_trade() -> None:
    script = Script(limits(max_open_orders=3, max_orders_per_minute=4)).ready()
    for number in range(3):
        script.hear(order(number, 0), 0, "execution")
    refused = script.refused(ask("s-1"))
    assert (refused.code, refused.value, refused.limit) == ("open_orders", 4, 3)
    script.hear(order(0, 0, "FILLED"), 1, "execution")
    script.granted(ask("s-1"), 1)
    script.hear(order(3, 1, "FILLED"), 1, "execution")
    refused = script.refused(ask("s-2"), 1)
    assert (refused.code, refused.value, refused.limit) == ("order_rate", 5, 4)
    script.market(60.5).poll(60.5)
    script.granted(ask("s-2"), 60.5)


def test_orders_are_counted_anew_when_execution_starts_anew() -> None:
    script = Script(limits(max_open_orders=1)).ready()
    script.hear(order(1, 0), 0, "execution")
    assert script.refused(ask()).code == "open_orders"
    script.epoch = 2
    script.ready()
    script.granted(ask())


def test_positions_of_one_expiry_are_a_concentration_whatever_their_side() -> None:
    script = Script(limits(max_expiry_notional_pct=29.0))
    script.ready(positions=(position(CALL_100, "0.1"), position(CALL_110, "-0.1")))
    refused = script.refused(ask("s-1", (leg("BTCUSD-27MAR26-90000-P", "buy", "0.1"),)))
    assert (refused.code, refused.limit) == ("expiry_concentration", 29.0)
    assert refused.value == pytest.approx(30.0)
    script.granted(ask("s-2", (leg("BTCUSD-26APR26-90000-P", "buy", "0.1"),)))
    script.granted(ask("s-3", (leg(CALL_110, "buy", "0.1"),)))


def test_each_limit_is_shown_with_its_use_and_the_nearest_first() -> None:
    script = Script(limits(strategies={"s": StrategyLimits(max_open_trades=2)}))
    script.ready()
    grant = script.granted(ask("s-1"))
    answer = shown(script.poll(1, account("95000"), (position(CALL_110, "0.1"),)))
    assert grant.max_loss_usd is not None
    assert use(answer, "total_risk").value == pytest.approx(grant.max_loss_usd / 95_000 * 100)
    assert use(answer, "strategy_open_trades", "s").use_pct == 50
    assert use(answer, "drawdown").value == pytest.approx(5)
    assert use(answer, "position_limit", CALL_110).value == 0.2
    assert use(answer, "order_notional").value is None
    assert answer.limits == nearest_first(answer.limits)
    assert answer.limits[0] == use(answer, "strategy_open_trades", "s")
    assert answer.grants_refused == ""


def test_what_is_shown_is_what_the_next_request_is_judged_by() -> None:
    script = Script(limits(max_delta_usd=4_000.0)).ready()
    script.granted(ask("s-1"))
    before = use(shown(script.poll(1)), "delta_limit").value
    assert before is not None
    refused = script.refused(ask("s-2"), 1)
    assert refused.value == pytest.approx(2 * before, rel=1e-3)


def test_every_figure_that_refuses_is_shown_and_no_name_stands_for_two() -> None:
    script = Script(
        limits(
            strategies={"s": msgspec.convert(ALL, StrategyLimits)},
            underlyings={"BTCUSD": UnderlyingLimits(max_delta_usd=1.0)},
        )
    )
    answer = shown(script.market().poll(positions=(position(CALL_110, "0.1"),)))
    keys = [(limit.name, limit.scope, limit.subject) for limit in answer.limits]
    assert len(set(keys)) == len(keys)
    assert {name for name, scope, _ in keys if scope == "strategy"} == {
        f"strategy_{name}" for name in ("trade_risk", "total_risk", "open_trades", "order_notional", "grant_rate")
    }


ALL = {
    "max_trade_risk_pct": 1.0,
    "max_total_risk_pct": 1.0,
    "max_open_trades": 1,
    "max_order_notional_usd": 1.0,
    "max_grants_per_minute": 1,
}


def test_why_nothing_can_be_granted_is_shown() -> None:
    script = Script()
    assert shown(script.market().poll()).grants_refused == "not_ready: execution has not replayed its trades yet"
    script.ready(1)
    assert shown(script.poll(1, account("-5"))).grants_refused.startswith("no_equity: ")


def test_the_newest_limits_are_answered_on_request() -> None:
    script = Script()
    (reply,) = script.on(Request("r", GetRisk(), "cli")).effects
    assert reply == Reply("r", RiskAnswer(limits=None, stress=None))
    published = shown(script.ready().poll(1))
    (reply,) = script.on(Request("r", GetRisk(), "cli"), 1).effects
    assert isinstance(reply, Reply)
    assert isinstance(reply.message, RiskAnswer)
    assert reply.message.limits == published

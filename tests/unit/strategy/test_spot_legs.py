"""Spot as a leg: resolved, sized, named, drawn and opened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from shared.messages.trades import LegOrder
from shared.options.chain import ChainView, OptionList
from shared.options.structures import structure_name
from shared.strategy import LegSpec, SpotLeg, StrategyConfig, covered_call, max_loss
from shared.strategy.rolling import Roll
from shared.strategy.selection import SelectionFailed, resolve_legs
from tests.unit.spot_pairs import view_with_pair
from tests.unit.strategy.making import NOON, chain
from tests.unit.strategy.test_legs_factory import desk, legs_gate
from voldesk.structure_view import structure_view

CALL = LegSpec("C", "sell", "0.1", {"type": "delta", "value": 0.25}, {"dte_min": 5, "dte_max": 12})
COIN = LegSpec.spot("BTC", "buy", {"of_leg": 0})


def _resolved(specs: Sequence[Any], view: ChainView) -> list[LegOrder]:
    found = resolve_legs(specs, view, NOON)
    assert not isinstance(found, SelectionFailed), found
    return found


def test_a_spot_leg_is_typed_after_construction() -> None:
    assert LegSpec.spot("btc", 1, 0.1) == SpotLeg("BTCUSD", "buy", D("0.1"))


@pytest.mark.parametrize("side", ["sell", 2])
def test_coins_that_the_trade_did_not_buy_are_not_sold(side: Any) -> None:
    with pytest.raises(ValueError, match="spot leg: coins that the trade did not buy are not sold"):
        LegSpec.spot("BTC", side, 0.1)


@pytest.mark.parametrize("qty", [{"premium_usd": 100}, {"risk_pct": 1}])
def test_a_quantity_rule_of_options_is_refused(qty: Any) -> None:
    with pytest.raises(ValueError, match="of a future or of spot must be coins"):
        LegSpec.spot("BTC", "buy", qty)


@pytest.mark.parametrize(
    ("qty", "quantity"),
    [("0.1", "0.1"), ({"notional_usd": 12_345}, "0.1234"), ({"of_leg": 0, "ratio": 0.5}, "0.05")],
)
def test_its_quantity_is_in_lots_of_the_pair_at_the_middle_of_its_book(qty: Any, quantity: str) -> None:
    order = _resolved([CALL, LegSpec.spot("BTC", "buy", qty)], view_with_pair(chain()))[1]
    assert (order.symbol, order.side, order.quantity) == ("BTCUSDT", "buy", D(quantity))


def test_coins_bring_the_delta_of_a_sold_call_to_nothing() -> None:
    view = view_with_pair(chain())
    call, coins = _resolved([CALL, LegSpec.spot("BTC", "buy", {"to_delta": 0})], view)
    delta = view.value(call.symbol, "delta")
    assert delta is not None
    assert float(coins.quantity) == pytest.approx(0.1 * delta, abs=1e-4)


@pytest.mark.parametrize(
    ("qty", "reason"),
    [
        ("0.00015", "not a multiple of the lot 0.0001 of BTCUSDT"),
        ("0.0001", "below 0.0002, the smallest order of BTCUSDT"),
        ({"notional_usd": 15}, "below 0.0002, the smallest order of BTCUSDT"),
    ],
)
def test_a_quantity_that_the_pair_does_not_take_is_told(qty: Any, reason: str) -> None:
    found = resolve_legs([LegSpec.spot("BTC", "buy", qty)], view_with_pair(chain()), NOON)
    assert isinstance(found, SelectionFailed)
    assert reason in found.text


def test_without_a_pair_or_a_whole_book_the_reason_helps() -> None:
    quoted = view_with_pair(chain())
    silent = ChainView(msgspec.structs.replace(quoted.snapshot, spot=None), quoted.listed)
    one_sided = view_with_pair(chain(), bid=math.nan)
    for view, words in ((chain(), "[desk] spot = true"), (silent, "not fresh"), (one_sided, "no bid or no ask")):
        found = resolve_legs([LegSpec.spot("BTC", "buy", "0.1")], view, NOON)
        assert isinstance(found, SelectionFailed)
        assert words in found.text


def test_the_pair_has_an_age_of_its_own() -> None:
    quoted = view_with_pair(chain())
    assert quoted.snapshot.spot is not None
    older = msgspec.structs.replace(quoted.snapshot.spot, received_ns=quoted.snapshot.received_ns - 5)
    view = ChainView(msgspec.structs.replace(quoted.snapshot, spot=older), quoted.listed)
    assert view.received_ns("BTCUSDT") == quoted.snapshot.received_ns - 5
    assert isinstance(view.listed, OptionList)
    assert view.listed.future_of == {}, "spot is no future"


def test_a_covered_call_with_coins_loses_what_they_cost_less_the_premium_and_earns_up_to_the_strike() -> None:
    view = view_with_pair(chain())
    orders = _resolved([CALL, COIN], view)
    shown = structure_view(orders, {"BTCUSD": view}, NOON)
    option = view.instrument(orders[0].symbol)
    assert option is not None
    assert shown.figures is not None
    assert shown.premium_mark_usd is not None
    assert shown.fees_usd is not None
    premium, strike = -shown.premium_mark_usd, float(option.strike)
    assert premium > 0, "the coins are no part of the premium"
    assert shown.name == "short call with long spot"
    assert shown.coins_usd == pytest.approx(0.1 * 100_010)
    assert shown.figures.max_loss_usd == pytest.approx(0.1 * 100_000 - premium)
    assert shown.figures.max_profit_usd == pytest.approx(0.1 * (strike - 100_000) + premium)
    assert shown.figures.breakevens == pytest.approx((100_000 - premium / 0.1,))
    assert not shown.figures.is_estimate
    assert shown.fees_usd > 0.1 * 100_000 * 0.001, "a tenth of a per cent of the coins, beside the option's"
    assert shown.greeks["delta"] == pytest.approx(0.1 - 0.1 * (view.value(orders[0].symbol, "delta") or math.nan))


def test_spot_against_the_perpetual_is_no_futures_spread() -> None:
    one = D(1)
    assert structure_name([("BTCUSDT", one)]) == "long spot"
    assert structure_name([("BTCUSDT", one), ("BTCUSD", -one)]) == "other, 2 legs"
    assert structure_name([("ETHUSDT", one), ("BTCUSD-26JUN26-100000-C", -one)]) == "other, 2 legs"


def test_a_covered_call_sized_by_risk_counts_the_coins_and_their_fees() -> None:
    by_risk = LegSpec("C", "sell", {"risk_pct": 50}, {"type": "delta", "value": 0.25}, {"dte_min": 5, "dte_max": 12})
    view = view_with_pair(chain())
    found = resolve_legs([by_risk, COIN], view, NOON, equity_usd=100_000.0)
    assert not isinstance(found, SelectionFailed), found
    quote = view.quote(found[0].symbol)
    assert quote is not None
    assert quote.bid is not None
    # a coin can lose its price less the premium, and pays 0.1 % twice; the call's fee is capped by its premium
    at_most = 50_000 / (100_010 - quote.bid + 2 * 100.01)
    assert at_most * 0.98 - 0.01 < float(found[0].quantity) < at_most


def _config(legs: list[Any]) -> StrategyConfig:
    return StrategyConfig(name="covered", legs=legs, exit_conditions=[max_loss(usd=500)])


def test_its_strategy_loads() -> None:
    assert _config([CALL, COIN]).underlyings == ("BTCUSD",)


@pytest.mark.parametrize("by_code", [False, True])
def test_a_covered_call_that_buys_its_coins_is_opened_and_never_rolled(by_code: bool) -> None:
    legs = covered_call("0.1", {"dte_min": 5, "dte_max": 12}, buys_coins=True)
    made: dict[str, Any] = {"legs_factory": lambda view, now_ns: legs} if by_code else {"legs": legs}
    config = StrategyConfig(name="covered", exit_conditions=[max_loss(usd=500)], **made)
    strategy = LoadedStrategy.from_config(config).make(StrategyHostConfig())
    market = desk(chains={"BTCUSD": view_with_pair(chain())})
    (intent,) = strategy.on_timer(market, NOON)
    assert [(leg.side, leg.quantity) for leg in intent.legs] == [("sell", D("0.1")), ("buy", D("0.1"))]
    assert intent.legs[1].symbol == "BTCUSDT"
    successor = strategy.successor(market.entry_view, NOON)
    assert isinstance(successor, SelectionFailed)
    assert "is not rolled" in successor.reason


@pytest.mark.parametrize("after", [False, True])
def test_a_roll_beside_coins_is_refused_when_the_file_is_loaded(after: bool) -> None:
    roll = Roll(when=[max_loss(usd=10)], net_limit_usd=10, legs=[CALL, COIN] if after else [])
    with pytest.raises(ValueError, match="roll: a trade with coins of spot is not rolled"):
        StrategyConfig(
            name="covered", legs=[CALL] if after else [CALL, COIN], exit_conditions=[max_loss(usd=500)], roll=roll
        )


def test_nothing_is_opened_where_the_desk_does_not_look_at_spot() -> None:
    strategy = LoadedStrategy.from_config(_config([CALL, COIN])).make(StrategyHostConfig())
    assert strategy.on_timer(desk(chains={"BTCUSD": chain()}), NOON) == ()
    is_open, reason = legs_gate(strategy)
    assert not is_open
    assert "[desk] spot = true" in reason


def test_makers_are_not_asked_for_coins() -> None:
    with pytest.raises(ValueError, match="makers are asked for options alone"):
        StrategyConfig(name="covered", legs=[CALL, COIN], exit_conditions=[max_loss(usd=500)], execution_mode="rfq")


def test_the_same_without_spot_is_opened() -> None:
    config = StrategyConfig(name="covered", exit_conditions=[max_loss(usd=500)], legs=[CALL])
    strategy = LoadedStrategy.from_config(config).make(StrategyHostConfig())
    (intent,) = strategy.on_timer(desk(chains={"BTCUSD": view_with_pair(chain())}), NOON)
    assert [leg.side for leg in intent.legs] == ["sell"]

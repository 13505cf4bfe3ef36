"""A perpetual as a leg: how it is chosen and sized, and what of a premium it must not count in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import numpy as np
import pytest

from services.monitor.web.payoff import payoff
from shared.messages.trades import LegOrder, LegStatus
from shared.options.chain import ChainView
from shared.options.payoff import PayoffLeg, payoff_at, stressed_loss_usd
from shared.options.structures import structure_name
from shared.strategy import (
    LegSpec,
    PerpetualLeg,
    StrategyConfig,
    breakeven_touched,
    credit_multiple,
    max_loss,
    max_profit,
    profit_target,
    short_leg_delta,
    trailing_profit,
)
from shared.strategy.pnl import premium_at_mark
from shared.strategy.quantity import Chosen, ToDelta, quantities
from shared.strategy.selection import SelectionFailed, resolve_legs
from shared.strategy.views import ExitView
from tests.unit.perpetuals import PERPETUAL, view_with
from tests.unit.strategy.making import NOON, chain, trade

CALL = LegSpec("C", "sell", 0.1, {"type": "delta", "value": 0.25}, {"dte": "next"})


def _resolved(specs: Sequence[Any]) -> list[LegOrder]:
    found = resolve_legs(specs, view_with(chain()), NOON)
    assert not isinstance(found, SelectionFailed), found
    return found


def test_a_perpetual_leg_is_the_perpetual_of_its_underlying() -> None:
    assert LegSpec.perpetual("btc", 2, 0.5) == PerpetualLeg("BTCUSD", "sell", D("0.5"))
    assert _resolved([LegSpec.perpetual("BTC", "sell", 0.5)]) == [
        LegOrder(symbol="BTCUSD", side="sell", quantity=D("0.5"))
    ]


def test_beside_an_option_it_may_follow_its_quantity_or_be_sized_by_notional() -> None:
    call, follows, by_notional = (
        CALL,
        LegSpec.perpetual("BTC", "buy", {"of_leg": 0, "ratio": 0.25}),
        LegSpec.perpetual("BTC", "buy", {"notional_usd": 12_345}),
    )
    assert [leg.quantity for leg in _resolved([call, follows])] == [D("0.1"), D("0.025")]
    assert [leg.quantity for leg in _resolved([call, by_notional])] == [D("0.1"), D("0.123")]


def _delta(legs: list[LegOrder]) -> float:
    view = view_with(chain())
    total = 0.0
    for each in legs:
        delta = view.value(each.symbol, "delta")
        assert delta is not None
        total += float(each.quantity) * delta * (1 if each.side == "buy" else -1)
    return total


@pytest.mark.parametrize("target", [0, 0.01, -0.01])
def test_it_brings_the_delta_of_the_structure_to_its_target_within_a_lot(target: float) -> None:
    sized = LegSpec.perpetual("BTC", "buy", {"to_delta": target})
    for legs in ([CALL, sized], [sized, CALL]):
        found = _resolved(legs)
        assert abs(_delta(found) - target) < float(PERPETUAL.lot_size)
    wing = LegSpec("C", "buy", {"of_leg": 1, "ratio": 0.5}, {"type": "delta", "value": 0.15}, {"dte": "next"})
    assert abs(_delta(_resolved([sized, CALL, wing])) - target) < float(PERPETUAL.lot_size)


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ([CALL, LegSpec.perpetual("BTC", "sell", {"to_delta": 0})], "it would have to be bought"),
        ([LegSpec.perpetual("BTC", "buy", {"to_delta": 0})], "below 0.001, the smallest order"),
        (
            [LegSpec.perpetual("BTC", "buy", {"to_delta": 1}), LegSpec.perpetual("BTC", "buy", {"to_delta": 0})],
            "is another leg already",
        ),
        ([CALL, LegSpec.perpetual("BTC", "buy", {"to_delta": -0.0205})], "the smallest order"),
    ],
)
def test_a_delta_that_it_cannot_bring_about_opens_nothing_and_says_why(legs: list[Any], why: str) -> None:
    found = resolve_legs(legs, view_with(chain()), NOON)
    assert isinstance(found, SelectionFailed)
    assert why in found.text


@pytest.mark.parametrize("target", ["0", None, math.nan, True])
def test_a_target_that_is_no_number_is_refused_by_name(target: Any) -> None:
    with pytest.raises(ValueError, match="to_delta"):
        LegSpec.perpetual("BTC", "buy", {"to_delta": target})


def test_an_option_is_not_sized_to_a_delta() -> None:
    with pytest.raises(ValueError, match="only a future"):
        LegSpec("C", "sell", {"to_delta": 0}, {"type": "delta", "value": 0.25}, {"dte": "next"})


@pytest.mark.parametrize("quantity", [{"premium_usd": 100}, {"risk_pct": 1}, 0, -1, "much"])
def test_a_quantity_that_means_nothing_for_it_is_refused_by_name(quantity: Any) -> None:
    with pytest.raises(ValueError, match="qty"):
        LegSpec.perpetual("BTC", "buy", quantity)


def test_without_futures_or_without_prices_it_is_not_found_and_the_reason_helps() -> None:
    leg = LegSpec.perpetual("BTC", "buy", 0.1)
    without = resolve_legs([leg], chain(), NOON)
    assert isinstance(without, SelectionFailed)
    assert "futures = true" in without.text
    known = view_with(chain())
    silent = ChainView(msgspec.structs.replace(known.snapshot, perpetual=None), known.listed)
    found = resolve_legs([leg], silent, NOON)
    assert isinstance(found, SelectionFailed)
    assert "nothing fresh" in found.text


def test_an_exit_sees_no_old_price_of_it_while_it_sees_those_of_options() -> None:
    option = _resolved([CALL])[0].symbol
    known = view_with(chain())
    assert known.snapshot.perpetual is not None
    old = msgspec.structs.replace(known.snapshot.perpetual, received_ns=known.snapshot.received_ns - 11_000_000_000)
    view = ChainView(msgspec.structs.replace(known.snapshot, perpetual=old), known.listed)
    exit_view = ExitView(trade=trade(), account=None, chains={"BTCUSD": view})
    now_ns = known.snapshot.received_ns
    assert "11.0 s old" in str(exit_view.symbol_value("BTCUSD", "mark", now_ns))
    assert isinstance(exit_view.symbol_value(option, "mark", now_ns), float)


def test_options_are_selected_as_if_it_was_not_there() -> None:
    assert resolve_legs([CALL], view_with(chain()), NOON) == resolve_legs([CALL], chain(), NOON)


def test_it_has_no_premium() -> None:
    legs = tuple(_resolved([CALL, LegSpec.perpetual("BTC", "buy", 1)]))
    view = view_with(chain())
    mark = view.value(legs[0].symbol, "mark")
    assert mark is not None
    assert premium_at_mark(legs, {"BTCUSD": view}.get) == pytest.approx(-0.1 * mark)


@pytest.mark.parametrize(
    "condition",
    [
        profit_target(pct=50),
        max_loss(pct=50),
        trailing_profit(30, start_pct=50),
        credit_multiple(2),
        max_profit(50),
        breakeven_touched(),
    ],
)
def test_an_exit_by_a_premium_or_payoff_that_a_perpetual_lacks_is_refused(condition: Any) -> None:
    with pytest.raises(ValueError, match="exit_conditions"):
        StrategyConfig(name="s", legs=[LegSpec.perpetual("BTC", "buy", 1)], exit_conditions=[condition])


def test_beside_options_a_percentage_is_one_of_their_premium() -> None:
    legs = [CALL, LegSpec.perpetual("BTC", "buy", {"of_leg": 0})]
    config = StrategyConfig(
        name="s", legs=legs, exit_conditions=[profit_target(pct=50), max_loss(usd=10), short_leg_delta(0.5)]
    )
    assert config.underlyings == ("BTCUSD",)
    with pytest.raises(ValueError, match="payoff"):
        StrategyConfig(name="s", legs=legs, exit_conditions=[max_profit(50)])


def test_its_payoff_is_the_price_itself_today_and_at_any_time() -> None:
    leg = PayoffLeg(is_call=True, strike=0.0, expiry_ns=PERPETUAL.expiry_ns, quantity=-2.0, price=100_000.0, iv=0.0)
    assert payoff_at([leg], _array(90_000.0, 100_000.0, 101_000.0), NOON).tolist() == [20_000.0, 0.0, -2_000.0]
    assert stressed_loss_usd([leg], 100_000.0, NOON, spot_pct=10.0, vol_points=20.0) == pytest.approx(20_000.0)


def test_the_page_of_a_hedged_trade_draws_options_and_perpetual_together() -> None:
    def held(symbol: str, side: Any, price: str) -> LegStatus:
        return LegStatus(
            symbol=symbol,
            side=side,
            quantity=D(1),
            filled_quantity=D(1),
            closed_quantity=D(0),
            open_price=D(price),
            close_price=None,
        )

    option = _resolved([CALL])[0].symbol
    view = view_with(chain())
    marks = {"BTCUSD": 100_000.0, option: view.value(option, "mark") or math.nan}
    alone = payoff((held(option, "sell", "500"),), marks, 100_000.0, NOON)
    both = payoff((held("BTCUSD", "buy", "100000"), held(option, "sell", "500")), marks, 100_000.0, NOON)
    moved = [at - 100_000.0 for at in _floats(alone["underlying"])]
    for name in ("at_expiry", "now"):
        added = [b - a for a, b in zip(_floats(alone[name]), _floats(both[name]), strict=True)]
        assert added == pytest.approx(moved, abs=0.02)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def _array(*values: float) -> Any:
    return np.array(values)


def test_a_structure_with_a_perpetual_is_named_by_both() -> None:
    call = "BTCUSD-27MAR26-100000-C"
    assert structure_name([("BTCUSD", D(-1))]) == "short perpetual"
    assert structure_name([(call, D(-1)), ("BTCUSD", D(1))]) == "short call with long perpetual"
    assert structure_name([(call, D(-1)), ("ETHUSD", D(1))]).startswith("other")


def test_two_legs_cannot_both_bring_the_delta_to_a_target() -> None:
    view = view_with(chain())
    leg = Chosen(option=PERPETUAL, chain=view, side="buy", quantity=ToDelta(0.5))
    found = quantities([leg, leg], None, NOON)
    assert isinstance(found, tuple)
    assert "only one leg" in found[1]

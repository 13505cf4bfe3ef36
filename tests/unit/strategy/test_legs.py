"""Leg specifications take the short and the typed forms and refuse what could not be meant."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from shared.strategy import LegSpec, straddle, strangle
from shared.strategy.criteria import (
    ByCycle,
    ByDelta,
    ByDte,
    ByExpirySymbol,
    ByMoneyness,
    ByOtmProbability,
    ByPremium,
    BySpotDistance,
    BySpotOffset,
    ByStrike,
    ClosestStrike,
    DteRange,
    FromLeg,
    NextExpiry,
)


def test_short_forms_become_typed_ones() -> None:
    leg = LegSpec("P", 2, 0.01, {"type": "delta", "value": 0.25}, {"dte": "next"}, "btc")
    assert (leg.order_side, leg.quantity, leg.underlying) == ("sell", Decimal("0.01"), "BTCUSD")
    assert leg.strike == ByDelta(-0.25)
    assert leg.expiry == NextExpiry()


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"type": "delta", "value": -0.15, "tolerance": 0.05}, ByDelta(-0.15, 0.05)),
        ({"type": "closestStrike"}, ClosestStrike()),
        ({"type": "closeststrike", "value": 95_000}, ClosestStrike(95_000.0)),
        ({"type": "strike", "value": "70000"}, ByStrike(Decimal(70_000))),
        ({"type": "spotDistance", "value": 5}, BySpotDistance(5.0)),
        (BySpotDistance(-2.0), BySpotDistance(-2.0)),
        ({"type": "spotOffset", "value": 2_000}, BySpotOffset(2_000.0)),
        ({"type": "moneyness", "value": -0.05}, ByMoneyness(-0.05)),
        ({"type": "premium", "value": 250, "tolerance_pct": 20}, ByPremium(250.0, 20.0)),
        ({"type": "otmProbability", "value": 0.85}, ByOtmProbability(0.85)),
        ({"type": "fromLeg", "leg": 0, "value": -2_000}, FromLeg(0, -2_000.0)),
    ],
)
def test_every_form_of_a_strike_is_read(given: dict[str, object], typed: object) -> None:
    assert LegSpec("P", "buy", 1, given, NextExpiry()).strike == typed


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"symbol": "28mar26"}, ByExpirySymbol("28MAR26")),
        ({"dte": 7}, ByDte(7)),
        ({"dte": "next"}, NextExpiry()),
        ({"dte_min": 5, "dte_max": 9, "target": 7}, DteRange(5, 9, 7)),
        ({"dte_min": 5, "dte_max": 9, "target": "far"}, DteRange(5, 9, "far")),
        ({"dte_min": 5, "dte_max": 9}, DteRange(5, 9, "near")),
        ({"min_days": 5, "max_days": 9, "target": "mid"}, DteRange(5, 9, "mid")),
        ({"weekly": 2}, ByCycle("weekly", 2)),
        ({"quarterly": 1}, ByCycle("quarterly", 1)),
    ],
)
def test_every_form_of_an_expiry_is_read(given: dict[str, object], typed: object) -> None:
    assert LegSpec("C", 1, 1, ClosestStrike(), given).expiry == typed


def test_structures_are_a_call_and_a_put_of_one_side() -> None:
    call, put = strangle(qty=0.01, call_delta=0.15, put_delta=-0.15, dte="next", side=2)
    assert (call.option_type, call.strike, call.order_side) == ("C", ByDelta(0.15), "sell")
    assert (put.option_type, put.strike, put.order_side) == ("P", ByDelta(-0.15), "sell")
    for leg in straddle(qty="1", dte=7, side=1, underlying="ETH"):
        assert (leg.expiry, leg.underlying) == (ByDte(7), "ETHUSD")
    assert [leg.strike for leg in straddle(qty="1")] == [ClosestStrike(), FromLeg(0, 0)]
    assert strangle(1, expiry_criteria={"symbol": "28MAR26"})[0].expiry == ByExpirySymbol("28MAR26")
    assert straddle(1, expiry_criteria=ByDte(3))[0].expiry == ByDte(3)


def _leg(**changed: object) -> Callable[[], LegSpec]:
    fields: dict[str, object] = {
        "option_type": "C",
        "side": 1,
        "qty": 1,
        "strike_criteria": ClosestStrike(),
        "expiry_criteria": NextExpiry(),
    }
    return lambda: LegSpec(**(fields | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_leg(option_type="X"), "option_type 'X'"),
        (_leg(side=3), "side 3"),
        (_leg(side=True), "side True"),
        (_leg(qty=0), "qty 0"),
        (_leg(qty="much"), "qty 'much'"),
        (_leg(qty=float("nan")), "qty nan"),
        (_leg(underlying="B.TC"), "underlying"),
        (_leg(strike_criteria={"type": "moon"}), "type 'moon'"),
        (_leg(strike_criteria={"type": "delta"}), "needs a value"),
        (_leg(strike_criteria={"type": "delta", "value": "x"}), "must be a number"),
        (_leg(strike_criteria={"type": "delta", "value": -0.2}), "delta -0.2 of a C"),
        (_leg(strike_criteria={"type": "delta", "value": 1.2}), "delta 1.2"),
        (_leg(strike_criteria={"type": "delta", "value": 0.2, "tolerance": 0}), "tolerance 0"),
        (_leg(strike_criteria={"type": "delta", "value": 0.2, "strike": 3}), "unknown key 'strike'"),
        (_leg(strike_criteria={"type": "strike", "value": -5}), "value -5 must be a number above 0"),
        (_leg(strike_criteria=ByStrike(Decimal(-5))), "strike -5"),
        (_leg(strike_criteria=ClosestStrike(-1.0)), "closestStrike"),
        (_leg(strike_criteria=BySpotDistance(-100.0)), "spotdistance"),
        (_leg(strike_criteria=0.25), "must be a mapping"),
        (_leg(expiry_criteria={"symbol": "2026-03-28"}), "28MAR26"),
        (_leg(expiry_criteria={"dte": -1}), "dte -1"),
        (_leg(expiry_criteria={"dte": "soon"}), "dte 'soon'"),
        (_leg(expiry_criteria={"dte": 7, "target": 7}), "unknown key 'target'"),
        (_leg(expiry_criteria={"dte_min": 9, "dte_max": 5}), "dte_min 9"),
        (_leg(expiry_criteria={"dte_min": 5, "dte_max": 9, "target": 20}), "target 20"),
        (_leg(expiry_criteria={"dte_min": 5, "dte_max": 9, "target": "middle"}), "target 'middle'"),
        (_leg(expiry_criteria={"week": 1}), "must have 'symbol'"),
        (_leg(expiry_criteria="next"), "must be a mapping"),
        (_leg(expiry_criteria={"weekly": 0}), "weekly 0"),
        (_leg(expiry_criteria={"monthly": "next"}), "monthly 'next'"),
        (_leg(expiry_criteria={"dte_min": "a", "dte_max": 5}), "dte_min 'a'"),
        (_leg(expiry_criteria={"dte_min": 5.7, "dte_max": 9}), "dte_min 5.7 must be whole days"),
        (_leg(strike_criteria={"type": "premium", "value": 0}), "premium 0"),
        (_leg(strike_criteria={"type": "otmProbability", "value": 85}), "otmProbability 85"),
        (_leg(strike_criteria={"type": "moneyness", "value": 100_000}), "moneyness 100000"),
        (_leg(strike_criteria={"type": "fromLeg", "value": 100}), "needs a leg"),
        (_leg(strike_criteria={"type": "fromLeg", "leg": -1, "value": 100}), "fromLeg -1"),
        (_leg(min_otm_pct=-1), "min_otm_pct -1"),
        (_leg(liquidity={"spread": 5}), "unknown key 'spread'"),
        (_leg(liquidity={"max_spread_pct": "5"}), "max_spread_pct '5'"),
        (_leg(liquidity=5), "liquidity 5"),
        (_leg(qty={"notional": 5}), "'notional_usd'"),
        (_leg(qty={"notional_usd": -5}), "usd -5"),
        (_leg(qty={"risk_pct": 101}), "risk_pct 101"),
        (_leg(qty={"risk_pct": 1, "at": "worst"}), "at 'worst'"),
        (_leg(qty={"of_leg": -1}), "of_leg -1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_field_named(make: Callable[[], LegSpec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

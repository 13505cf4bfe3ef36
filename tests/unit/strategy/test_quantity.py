"""How much of each leg a rule gives: never more than it says, always whole lots, and a reason where it gives none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.options.payoff import payoff_figures, stressed_loss_usd, trading_fee_usd
from shared.strategy import LegSpec, iron_condor, resolve_legs, strangle, vertical
from shared.strategy.quantity import ByNotional, ByPremiumUsd, ByRisk, OfLeg, payoff_leg, quantity_of
from shared.strategy.selection import SelectionFailed, choose_legs
from tests.unit.strategy.making import NOON, chain

CHAIN = chain()
WEEK = {"dte": 7}
ATM = {"type": "closestStrike"}
LOT = Decimal("0.01")


def sizes(specs: list[LegSpec], equity_usd: float | None = 100_000.0) -> list[Decimal]:
    found = resolve_legs(specs, CHAIN, NOON, equity_usd=equity_usd)
    assert not isinstance(found, SelectionFailed), found.text
    return [leg.quantity for leg in found]


def refusal(specs: list[LegSpec], equity_usd: float | None = 100_000.0) -> str:
    found = resolve_legs(specs, CHAIN, NOON, equity_usd=equity_usd)
    assert isinstance(found, SelectionFailed), found
    return found.text


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ("0.1", Decimal("0.1")),
        ({"notional_usd": 50_000}, ByNotional(50_000)),
        ({"premium_usd": 500}, ByPremiumUsd(500)),
        ({"risk_pct": 1, "at": "stressed"}, ByRisk(pct=1, at="stressed")),
        ({"of_leg": 0, "ratio": 2}, OfLeg(0, 2)),
    ],
)
def test_every_form_of_a_quantity_is_read(given: Any, typed: object) -> None:
    assert quantity_of(given) == typed


def test_by_notional_strike_times_quantity_is_the_largest_whole_lot_within_it() -> None:
    (quantity,) = sizes([LegSpec("P", "sell", {"notional_usd": 12_345}, ATM, WEEK)])
    assert quantity * 100_000 <= 12_345 < (quantity + LOT) * 100_000


def test_by_premium_mark_times_quantity_is_the_largest_whole_lot_within_it() -> None:
    (quantity,) = sizes([LegSpec("C", "buy", {"premium_usd": 700}, ATM, WEEK)])
    mark = CHAIN.value("BTCUSD-12MAR26-100000-C", "mark")
    assert mark is not None
    assert float(quantity) * mark <= 700 < float(quantity + LOT) * mark


def unit_loss(specs: list[LegSpec], stress: dict[str, float] | None) -> float:
    """What one unit of a structure loses, fees to open and to close included."""
    legs = choose_legs(specs, CHAIN, NOON)
    assert not isinstance(legs, SelectionFailed), legs.text
    priced = [payoff_leg(leg, 1.0) for leg in legs]
    assert not any(isinstance(leg, str) for leg in priced)
    known = [leg for leg in priced if not isinstance(leg, str)]
    fees = sum(2 * trading_fee_usd(leg.price, 100_000, 1.0) for leg in known)
    if stress is None:
        return payoff_figures(known).max_loss_usd + fees
    return stressed_loss_usd(known, 100_000, NOON, spot_pct=stress["spot_pct"], vol_points=20) + fees


@pytest.mark.parametrize(
    ("make", "stress"),
    [
        (lambda qty: iron_condor(qty, WEEK, width=3_000), None),
        (lambda qty: vertical("P", "buy", qty, {"type": "delta", "value": 0.4}, 2_000, WEEK), None),
        (lambda qty: strangle(qty, dte=7, side="sell"), {"spot_pct": 15}),
    ],
)
def test_by_risk_the_structure_loses_the_share_of_the_equity_and_one_lot_more_would_lose_more(
    make: Any, stress: dict[str, float] | None
) -> None:
    rule = {"risk_pct": 2} | ({"at": "stressed"} | stress if stress else {})
    found = sizes(make(rule))
    assert len(set(found)) == 1, "a wing covers its body whole"
    loss = unit_loss(make(1), stress)
    assert float(found[0]) * loss <= 2_000 < float(found[0] + LOT) * loss


@pytest.mark.parametrize(
    ("specs", "equity", "reason"),
    [
        (strangle({"risk_pct": 1}, dte=7, side="sell"), 100_000.0, "its largest loss has no bound"),
        (iron_condor({"risk_pct": 1}, WEEK), None, "the account's equity is not known"),
        (iron_condor({"risk_pct": 1}, WEEK), float("nan"), "the account's equity is not known"),
        (iron_condor({"risk_pct": 0.001}, WEEK), 100.0, "the smallest order of"),
        (iron_condor({"risk_pct": 1}, WEEK), -5.0, "no room"),
        ([LegSpec("C", 1, {"notional_usd": 500}, ATM, WEEK)], 1.0, "its rule gives 0.005, below 0.01"),
        (
            [LegSpec("C", 1, {"risk_pct": 1}, ATM, WEEK), LegSpec("P", 1, 1, ATM, WEEK)],
            100_000.0,
            "all legs of a structure must have the same rule",
        ),
        ([LegSpec("C", 1, {"of_leg": 3}, ATM, WEEK)], 1.0, "its quantity is that of leg 3, which has none"),
        ([LegSpec("C", 1, {"of_leg": 0}, ATM, WEEK)], 1.0, "its quantity is that of leg 0, which has none"),
    ],
)
def test_a_rule_that_gives_nothing_says_why(specs: list[LegSpec], equity: float | None, reason: str) -> None:
    assert reason in refusal(specs, equity)


def _butterfly(option_type: str, pct: float, wings: Any) -> list[LegSpec]:
    above = 1 if option_type == "C" else -1
    strikes = [100_000, 100_000 + above * 3_000, 100_000 - above * 3_000]
    body, *wing = [{"type": "strike", "value": strike} for strike in strikes]
    return [
        LegSpec(option_type, "sell", {"risk_pct": pct, "ratio": 2}, body, WEEK),
        *(LegSpec(option_type, "buy", wings, strike, WEEK) for strike in wing),
    ]


@pytest.mark.parametrize("option_type", ["C", "P"])
@pytest.mark.parametrize("pct", [0.1, 0.25, 0.4, 1, 1.37, 2, 3.3])
@pytest.mark.parametrize("follows", [False, True])
def test_no_lot_of_a_body_is_without_its_wings_whatever_the_size(option_type: str, pct: float, follows: bool) -> None:
    wings = {"of_leg": 0, "ratio": 0.5} if follows else {"risk_pct": pct}
    specs = _butterfly(option_type, pct, wings)
    body, upper, lower = sizes(specs)
    assert body == upper + lower
    legs = choose_legs(specs, CHAIN, NOON)
    assert not isinstance(legs, SelectionFailed), legs.text
    priced = [payoff_leg(leg, float(quantity)) for leg, quantity in zip(legs, (body, upper, lower), strict=True)]
    known = [leg for leg in priced if not isinstance(leg, str)]
    fees = sum(2 * trading_fee_usd(leg.price, 100_000, leg.quantity) for leg in known)
    assert payoff_figures(known).max_loss_usd + fees <= 1_000 * pct


def test_ratios_that_no_whole_lots_keep_are_refused_where_the_rest_would_lose_more() -> None:
    specs = _butterfly("C", 1, {"risk_pct": 1, "ratio": 1.001})
    text = refusal(specs)
    assert "in whole lots, 1.89 : 0.95 : 0.95, it would lose 1,022.13 USD, more than 1,000.00" in text


def test_an_option_that_others_follow_has_a_size_at_which_they_are_whole() -> None:
    half = {"of_leg": 0, "ratio": 0.5}
    sold, wing = {"notional_usd": 3_000}, {"type": "strike", "value": 103_000}
    assert sizes([LegSpec("C", "sell", sold, ATM, WEEK), LegSpec("C", "buy", half, wing, WEEK)]) == [
        Decimal("0.02"),
        Decimal("0.01"),
    ]
    fixed = [LegSpec("C", "sell", "0.03", ATM, WEEK), LegSpec("C", "buy", half, wing, WEEK)]
    assert "qty 0.03: legs that follow it are whole lots at multiples of 0.02 of BTCUSD-" in refusal(fixed)

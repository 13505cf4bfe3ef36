"""Structures: the legs they find, and what they make, held to the payoff on a grid."""

from __future__ import annotations

import doctest
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import shared.strategy.find
import shared.strategy.legs
import shared.strategy.structures
from shared.messages.trades import LegOrder
from shared.options.black76 import price
from shared.options.chain import ChainView
from shared.options.payoff import PayoffLeg, held_coin, payoff_at, payoff_figures, stressed_loss_usd
from shared.options.structures import structure_name
from shared.strategy import (
    LegSpec,
    butterfly,
    calendar,
    cash_secured_put,
    covered_call,
    diagonal,
    iron_butterfly,
    iron_condor,
    ratio_spread,
    resolve_legs,
    risk_reversal,
    straddle,
    strangle,
    vertical,
)
from shared.strategy.selection import SelectionFailed
from tests.unit.strategy.listed_chain import listed_chain
from tests.unit.strategy.making import DAY, NOON, at, chain

CHAIN = chain()
WEEK, MONTH = {"dte": 7}, {"dte": 21}
ATM = {"type": "closestStrike"}
GRID = np.arange(1.0, 400_001.0, 50.0)
EXPECTED: dict[str, tuple[list[LegSpec], str]] = {
    "straddle": (straddle("0.1", dte=7), "long straddle"),
    "strangle": (strangle("0.1", dte=7, side="sell"), "short strangle"),
    "call credit spread": (vertical("C", "sell", "0.1", ATM, 2_000, WEEK), "bear call spread"),
    "put credit spread": (vertical("P", "sell", "0.1", ATM, 2_000, WEEK), "bull put spread"),
    "iron condor": (iron_condor("0.1", WEEK, width=3_000), "iron condor"),
    "bought iron condor": (iron_condor("0.1", WEEK, width=3_000, side="buy"), "reverse iron condor"),
    "iron butterfly": (iron_butterfly("0.1", WEEK, width=5_000), "iron butterfly"),
    "butterfly": (butterfly("C", "0.1", WEEK, width=4_000), "long call butterfly"),
    "sold butterfly": (butterfly("P", "0.1", WEEK, width=4_000, side="sell"), "short put butterfly"),
    "ratio spread": (ratio_spread("C", "0.1", WEEK, ATM, 4_000), "call ratio spread"),
    "put ratio spread": (ratio_spread("P", "0.1", WEEK, ATM, 4_000, ratio=3), "put ratio spread"),
    "calendar": (calendar("C", "0.1", WEEK, MONTH), "long call calendar"),
    "sold calendar": (calendar("P", "0.1", WEEK, MONTH, side="sell"), "short put calendar"),
    "diagonal": (diagonal("C", "0.1", WEEK, {"type": "delta", "value": 0.2}, MONTH, ATM), "long call diagonal"),
    "risk reversal": (risk_reversal("0.1", WEEK), "long risk reversal"),
    "covered call": (covered_call("0.1", WEEK), "short call"),
    "cash-secured put": (cash_secured_put(20_000, WEEK), "short put"),
}


def orders(specs: list[LegSpec]) -> list[LegOrder]:
    found = resolve_legs(specs, CHAIN, NOON)
    assert not isinstance(found, SelectionFailed), found.text
    return found


def payoff_legs(specs: list[LegSpec]) -> list[PayoffLeg]:
    """At marks."""
    legs = []
    for order in orders(specs):
        option = CHAIN.instrument(order.symbol)
        mark = CHAIN.value(order.symbol, "mark")
        assert option is not None
        assert mark is not None
        sign = 1 if order.side == "buy" else -1
        legs.append(
            PayoffLeg(
                is_call=option.option_type == "C",
                strike=float(option.strike),
                expiry_ns=option.expiry_ns,
                quantity=sign * float(order.quantity),
                price=mark,
                iv=0.5,
            )
        )
    return legs


@pytest.mark.parametrize("name", EXPECTED)
def test_the_legs_found_are_the_structure_that_was_named(name: str) -> None:
    specs, called = EXPECTED[name]
    found = orders(specs)
    signed = [(order.symbol, order.quantity if order.side == "buy" else -order.quantity) for order in found]
    assert structure_name(signed) == called


@pytest.mark.parametrize(
    ("specs", "distances"),
    [
        (straddle("0.1", dte=7), [0, 0]),
        (vertical("C", "sell", "0.1", ATM, 2_000, WEEK), [0, 2_000]),
        (vertical("P", "buy", "0.1", ATM, 2_000, WEEK), [0, -2_000]),
        (iron_butterfly("0.1", WEEK, width=5_000), [0, 0, 5_000, -5_000]),
        (butterfly("C", "0.1", WEEK, width=4_000), [0, -4_000, 4_000]),
        (butterfly("P", "0.1", WEEK, width=3_000, side="sell"), [0, -3_000, 3_000]),
        (ratio_spread("C", "0.1", WEEK, ATM, 4_000), [0, 4_000]),
        (ratio_spread("P", "0.1", WEEK, ATM, 4_000), [0, -4_000]),
        (calendar("C", "0.1", WEEK, MONTH), [0, 0]),
    ],
)
def test_strikes_are_as_far_from_the_body_as_the_width_says(specs: list[LegSpec], distances: list[int]) -> None:
    """The body is at the index, 100,000 USD."""
    assert [int(order.symbol.split("-")[2]) - 100_000 for order in orders(specs)] == distances


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_the_wings_of_a_condor_are_as_far_from_its_inner_strikes_as_the_width_says(side: Any) -> None:
    call, put, call_wing, put_wing = (
        int(order.symbol.split("-")[2]) for order in orders(iron_condor("0.1", WEEK, width=3_000, side=side))
    )
    assert (call_wing - call, put - put_wing) == (3_000, 3_000)
    assert put < 100_000 < call


@pytest.mark.parametrize("name", EXPECTED)
def test_profit_loss_and_breakevens_are_those_of_the_payoff_on_a_grid(name: str) -> None:
    legs = payoff_legs(EXPECTED[name][0])
    figures = payoff_figures(legs)
    made = payoff_at(legs, GRID)
    step = 50.0 * sum(abs(leg.quantity) for leg in legs)
    if math.isinf(figures.max_loss_usd):
        # what is sold of a later expiry has no bound; at one volatility for ever it loses little
        assert made.min() < (-100 if figures.is_estimate else -1_000)
    else:
        assert -figures.max_loss_usd <= made.min() + 1e-6, "nothing on the grid loses more than the maximum"
        assert figures.is_estimate or -figures.max_loss_usd == pytest.approx(made.min(), abs=step)
    if math.isinf(figures.max_profit_usd):
        assert made[-1] > made[-2]
    else:
        assert figures.max_profit_usd == pytest.approx(made.max(), abs=step)
    crossings = GRID[:-1][np.sign(made[:-1]) != np.sign(made[1:])]
    assert len(figures.breakevens) == len(crossings)
    for told, seen in zip(figures.breakevens, crossings, strict=True):
        assert told == pytest.approx(seen, abs=400.0 if figures.is_estimate else 51.0)


def test_a_credit_spread_gains_its_credit_and_loses_its_width_less_the_credit() -> None:
    legs = payoff_legs(vertical("P", "sell", "0.5", ATM, 2_000, WEEK))
    figures = payoff_figures(legs)
    credit = -figures.premium_usd
    assert credit > 0
    assert figures.max_profit_usd == pytest.approx(credit)
    assert figures.max_loss_usd == pytest.approx(0.5 * 2_000 - credit)
    assert figures.breakevens == (pytest.approx(100_000 - credit / 0.5),)
    assert not figures.is_estimate


def test_a_covered_call_loses_at_most_what_the_coin_cost_less_the_premium() -> None:
    (call,) = payoff_legs(covered_call("0.1", WEEK))
    figures = payoff_figures([call, held_coin(0.1, 90_000.0, call.expiry_ns)])
    premium = 0.1 * call.price
    assert figures.max_loss_usd == pytest.approx(9_000 - premium)
    assert figures.max_profit_usd == pytest.approx(0.1 * (call.strike - 90_000) + premium)
    assert figures.breakevens == (pytest.approx(90_000 - call.price),)
    assert math.isinf(payoff_figures([call]).max_loss_usd), "the call alone has no bound"


def test_a_cash_secured_put_is_paid_for_by_its_cash() -> None:
    (order,) = orders(cash_secured_put(20_000, WEEK))
    strike = Decimal(order.symbol.split("-")[2])
    assert strike * order.quantity <= 20_000 < strike * (order.quantity + Decimal("0.01"))


def test_a_bought_calendar_loses_at_most_its_debit_and_a_sold_one_has_no_bound() -> None:
    bought = payoff_figures(payoff_legs(calendar("C", "0.1", WEEK, MONTH)))
    assert bought.max_loss_usd == pytest.approx(bought.premium_usd)
    assert len(bought.breakevens) == 2
    assert bought.is_estimate
    assert math.isinf(payoff_figures(payoff_legs(calendar("C", "0.1", WEEK, MONTH, side="sell"))).max_loss_usd)


def test_a_wing_that_would_fall_on_its_body_is_the_next_strike_out() -> None:
    body, wing = orders(vertical("C", "sell", "0.1", ATM, 10, WEEK))
    assert [leg.symbol.split("-")[2] for leg in (body, wing)] == ["100000", "101000"]


def test_a_calendar_whose_strike_is_not_listed_in_both_expiries_fails() -> None:
    listed = [item.symbol for item in CHAIN.instruments if "26MAR26-100000-C" in item.symbol]
    assert listed
    view = chain(missing={"mark": listed})
    assert isinstance(resolve_legs(calendar("C", "0.1", WEEK, MONTH), view, NOON), SelectionFailed)


def test_the_stressed_loss_of_a_bought_option_is_its_premium_at_most_and_that_of_a_sold_one_grows() -> None:
    (bought,) = payoff_legs([LegSpec("C", "buy", 1, ATM, WEEK)])
    (sold,) = payoff_legs([LegSpec("C", "sell", 1, ATM, WEEK)])
    losses = [stressed_loss_usd([sold], 100_000, NOON, spot_pct=pct, vol_points=20) for pct in (1, 10, 20, 40)]
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(40_000 - sold.price, rel=0.02)
    assert 0 < stressed_loss_usd([bought], 100_000, NOON, spot_pct=20, vol_points=20) <= bought.price


def test_a_dearer_forward_of_a_later_expiry_hides_no_stressed_loss() -> None:
    listed = listed_chain(at("2025-11-18T14:00"))
    near, far = {"monthly": 1}, {"monthly": 2}
    specs = calendar("C", {"risk_pct": 1, "at": "stressed"}, near, far, side="sell")
    sold, bought = resolved(specs, listed)
    ratios = [listed.forward_ratio(order.symbol) for order in (sold, bought)]
    assert ratios[0] > ratios[1] + 0.01, "by two per cent and more the later one is dearer here"
    # what both options would be worth if volatility rose by 20 points and nothing else happened
    worth = {}
    for order in (sold, bought):
        option = listed.instrument(order.symbol)
        forward, vol = listed.value(order.symbol, "forward"), listed.value(order.symbol, "mark_iv")
        assert option is not None
        assert forward is not None
        assert vol is not None
        years = (option.expiry_ns - at("2025-11-18T14:00")) / (365 * DAY)
        worth[order.side] = float(price(forward, float(option.strike), years, vol + 0.2, True))
    quotes = {order.side: listed.quote(order.symbol) for order in (sold, bought)}
    assert quotes["sell"] is not None
    assert quotes["buy"] is not None
    received, paid = quotes["sell"].bid, quotes["buy"].ask
    assert received is not None
    assert paid is not None
    lost = float(sold.quantity) * ((worth["sell"] - received) - (worth["buy"] - paid))
    assert 700 < lost <= 1_000, "one per cent of the equity, with fees and at the worst move of the index"


def resolved(specs: list[LegSpec], view: ChainView) -> list[LegOrder]:
    found = resolve_legs(specs, view, at("2025-11-18T14:00"), equity_usd=100_000.0)
    assert not isinstance(found, SelectionFailed), found.text
    return found


def test_at_the_prices_of_this_moment_nothing_is_made_whatever_the_forwards() -> None:
    now_ns = at("2025-11-18T14:00")
    listed = listed_chain(now_ns)
    legs = []
    for order in resolved([*calendar("C", "1", {"monthly": 1}, {"quarterly": 2})], listed):
        option, mark = listed.instrument(order.symbol), listed.value(order.symbol, "mark")
        assert option is not None
        assert mark is not None
        legs.append(
            PayoffLeg(
                is_call=True,
                strike=float(option.strike),
                expiry_ns=option.expiry_ns,
                quantity=1.0 if order.side == "buy" else -1.0,
                price=mark,
                iv=listed.value(order.symbol, "mark_iv") or math.nan,
                forward_ratio=listed.forward_ratio(order.symbol),
            )
        )
    index = np.array([listed.snapshot.index_price])
    assert float(payoff_at(legs, index, now_ns)[0]) == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: iron_condor("0.1", WEEK, width=0), "width 0"),
        (lambda: ratio_spread("C", "0.1", WEEK, ATM, 1_000, ratio=-1), "ratio -1"),
        (lambda: vertical("C", 3, "0.1", ATM, 1_000, WEEK), "side 3"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_structure_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("module", [shared.strategy.structures, shared.strategy.legs, shared.strategy.find])
def test_the_examples_of_the_factories_run(module: Any) -> None:
    names = {**vars(shared.strategy), **vars(shared.strategy.structures), **vars(shared.strategy.legs)}
    done = doctest.testmod(module, extraglobs=names)
    assert (done.failed, done.attempted > 0) == (0, True)

"""A figure past its limit: what is granted brings it back, whatever part of the outstanding grants is filled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.changes import worst_growth, worst_loss_growth
from services.risk.checks.portfolio import concentration, greek_limits, stressed_loss
from services.risk.config import UnderlyingLimits
from services.risk.positions import expiry_of
from services.risk.situation import LIMITED_GREEKS, Situation
from services.risk.stress import stressed_loss as loss_of
from shared.messages.market import InstrumentList
from shared.messages.trades import Grant, GrantLeg, LegOrder
from shared.options.chain import list_id_of
from tests.unit.risk.desk import (
    ACCOUNT,
    CALL_100,
    CALL_110,
    CALL_120,
    EXPIRY,
    FAR_EXPIRY,
    INDEX,
    OPTIONS,
    PUT_90,
    SECOND,
    START,
    Script,
    ask,
    chain,
    leg,
    limits,
    option,
    position,
    trade,
)

FAR_CALL = CALL_110.replace("27MAR26", "26APR26")
SYMBOLS = (CALL_110, PUT_90, FAR_CALL)
Fills = Mapping[str, Decimal]

lots = st.integers(-4, 4).filter(bool).map(lambda tenths: Decimal(tenths) / 10)
legs_of = st.dictionaries(st.sampled_from(SYMBOLS), lots, min_size=1, max_size=2)


def granted(number: int, quantities: Fills) -> Grant:
    """A grant of a trade that is opening."""
    return Grant(
        grant_id=f"g{number}",
        intent_id=f"other-{number}",
        account_id=ACCOUNT,
        legs=tuple(
            GrantLeg(
                symbol=symbol,
                side="buy" if quantity > 0 else "sell",
                max_quantity=abs(quantity),
                worst_price=Decimal(1),
            )
            for symbol, quantity in quantities.items()
        ),
        deadline_ns=START + 600 * SECOND,
        halt_epoch=0,
        issued_ns=START,
        margin_usd=0.0,
        max_loss_usd=0.0,
    )


def orders(quantities: Fills) -> tuple[LegOrder, ...]:
    return tuple(
        leg(symbol, "buy" if quantity > 0 else "sell", str(abs(quantity))) for symbol, quantity in quantities.items()
    )


def situation(held: Fills, grants: Sequence[Fills], asked: Fills, **changes: Any) -> Situation:
    script = Script(limits(**changes)).ready()
    for number, quantities in enumerate(grants):
        script.hear(trade(granted(number, quantities), START, trade_id=f"t{number}"), 0, "execution")
    script.poll(0, positions=tuple(position(symbol, str(quantity)) for symbol, quantity in held.items()))
    return script.core._situation(ask(legs=orders(asked)), START)


def outcomes(grants: Sequence[Fills]) -> Iterator[dict[str, Decimal]]:
    """Everything that the grants may have become: each leg not filled, half filled or filled."""
    parts = [(symbol, quantity) for quantities in grants for symbol, quantity in quantities.items()]
    for shares in itertools.product((Decimal(0), Decimal("0.5"), Decimal(1)), repeat=len(parts)):
        filled: dict[str, Decimal] = {}
        for (symbol, quantity), share in zip(parts, shares, strict=True):
            filled[symbol] = filled.get(symbol, Decimal(0)) + share * quantity
        yield filled


def together(*quantities: Fills) -> dict[str, Decimal]:
    names = dict.fromkeys(symbol for each in quantities for symbol in each)
    return {symbol: sum((each.get(symbol, Decimal(0)) for each in quantities), Decimal(0)) for symbol in names}


def notional_usd(held: Fills, expiry: str) -> float:
    return float(sum(abs(each) for symbol, each in held.items() if expiry_of(symbol) == expiry)) * INDEX


def greek(s: Situation, held: Fills, name: str) -> float:
    scale = {"delta": INDEX, "gamma": INDEX * INDEX / 100}.get(name, 1.0)
    at = LIMITED_GREEKS.index(name)
    total = sum(float(each) * s.market.option_greeks(symbol, START)[at] for symbol, each in held.items())
    return abs(total) * scale


def stressed_usd(s: Situation, held: Fills) -> float:
    units = s.unit_grids.of(SYMBOLS, START)
    assert units is not None
    return loss_of([np.sum([float(each) * units[symbol][1] for symbol, each in held.items()], axis=0)])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(SYMBOLS), lots, max_size=3),
    st.lists(legs_of, max_size=2),
    legs_of,
)
def test_no_part_of_the_outstanding_grants_lets_a_request_add_more_than_was_judged(
    held: Fills, grants: list[Fills], asked: Fills
) -> None:
    s = situation(held, grants, asked)
    _, _, greeks = s.greeks_before_and_after
    worst: dict[str, float] = {}
    for filled in outcomes(grants):
        before, after = together(held, filled), together(held, filled, asked)
        for expiry in s.notional_by_expiry:
            change = notional_usd(after, expiry) - notional_usd(before, expiry)
            worst[expiry] = max(worst.get(expiry, -1e18), change)
        for number, name in enumerate(LIMITED_GREEKS):
            assert greek(s, after, name) - greek(s, before, name) <= greeks[number] + 1e-6
        assert stressed_usd(s, after) - stressed_usd(s, before) <= s.stressed_loss.worst_change + 1e-6
    for expiry, use in s.notional_by_expiry.items():
        assert use.worst_change == pytest.approx(worst[expiry], abs=1e-6), "neither more nor less than can happen"
        assert use.touched == any(expiry_of(symbol) == expiry for symbol in asked)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(SYMBOLS), lots, min_size=1, max_size=3),
    st.lists(legs_of, max_size=2),
    legs_of,
)
def test_what_is_let_past_a_limit_brings_the_figure_back_in_every_outcome(
    held: Fills, grants: list[Fills], asked: Fills
) -> None:
    tight = 0.001
    s = situation(
        held,
        grants,
        asked,
        max_expiry_notional_pct=tight,
        max_underlying_notional_pct=tight,
        max_stressed_loss_pct=tight,
        max_delta_usd=tight,
    )
    outcome = [(together(held, filled), together(held, filled, asked)) for filled in outcomes(grants)]
    for figure in concentration(s):
        if figure.touched and not figure.broken and figure.after > figure.limit and figure.scope == "expiry":
            for before, after in outcome:
                assert notional_usd(after, figure.subject) < notional_usd(before, figure.subject)
    (stress,) = stressed_loss(s)
    if not stress.broken and stress.after > stress.limit:
        assert all(stressed_usd(s, after) < stressed_usd(s, before) + 1e-6 for before, after in outcome)
    delta = next(iter(greek_limits(s)))
    if not delta.broken and delta.after > delta.limit:
        assert all(greek(s, after, "delta") < greek(s, before, "delta") + 1e-6 for before, after in outcome)


@given(*(st.floats(-100, 100) for _ in range(2)), st.floats(0, 50), st.floats(0, 1))
def test_the_growth_of_an_absolute_value_is_largest_at_an_end(
    low: float, change: float, width: float, share: float
) -> None:
    high = low + width
    x = min(max(low + share * width, low), high)
    assert abs(x + change) - abs(x) <= worst_growth(low, high, change) + 1e-9


@given(
    st.lists(
        st.tuples(st.floats(-50, 50), st.floats(0, 40), st.floats(-30, 30), st.floats(0, 1)), min_size=1, max_size=6
    )
)
def test_the_growth_of_the_worst_loss_bounds_every_profit_between_the_two(
    rows: list[tuple[float, float, float, float]],
) -> None:
    low, width, added, share = (np.array(column) for column in zip(*rows, strict=True))
    profit = low + share * width
    grown = max(0.0, -float((profit + added).min())) - max(0.0, -float(profit.min()))
    assert grown <= worst_loss_growth(low, low + width, added) + 1e-9
    exact = worst_loss_growth(profit, profit, added)
    assert grown == pytest.approx(exact, abs=1e-9), "with nothing outstanding it is the change itself"


OUTSTANDING = {CALL_100: Decimal("0.1")}


@pytest.mark.parametrize("grants", [[], [OUTSTANDING]], ids=["nothing outstanding", "a grant outstanding"])
def test_a_concentration_past_its_limit_is_brought_back_and_not_added_to(grants: list[Fills]) -> None:
    held = {CALL_110: Decimal(1)}
    back, on = {CALL_110: Decimal("-0.5")}, {CALL_120: Decimal("0.01")}
    for asked, is_broken in ((back, False), (on, True)):
        s = situation(held, grants, asked, max_expiry_notional_pct=50.0, max_underlying_notional_pct=50.0)
        assert [figure.broken for figure in concentration(s)] == [is_broken] * 2


def test_what_may_turn_a_position_over_brings_nothing_back() -> None:
    """The grant may sell all that is held: then what is asked for opens a short position."""
    held, grants = {CALL_110: Decimal(1)}, [{CALL_110: Decimal(-1)}]
    s = situation(held, grants, {CALL_110: Decimal("-0.5")}, max_expiry_notional_pct=20.0)
    assert {figure.scope: figure.broken for figure in concentration(s)}["expiry"]


@pytest.mark.parametrize(
    "grants", [[], [{PUT_90: Decimal("-0.1")}]], ids=["nothing outstanding", "a grant outstanding"]
)
def test_a_stressed_loss_past_its_limit_is_brought_back_and_not_added_to(grants: list[Fills]) -> None:
    held = {CALL_110: Decimal(-2)}
    for asked, is_broken in (({CALL_110: Decimal(1)}, False), ({CALL_110: Decimal("-0.1")}, True)):
        s = situation(held, grants, asked, max_stressed_loss_pct=1.0)
        (figure,) = stressed_loss(s)
        assert figure.before > figure.limit
        assert figure.broken is is_broken


ETH_OPTIONS = tuple(
    option(int(each.strike), each.option_type, each.expiry_ns, "ETHUSD")
    for each in OPTIONS
    if each.expiry_ns in (EXPIRY, FAR_EXPIRY)
)
ETH_LISTED = InstrumentList(underlying="ETHUSD", list_id=list_id_of(ETH_OPTIONS), instruments=ETH_OPTIONS)


def test_an_underlying_past_its_limit_refuses_more_of_itself_and_nothing_of_others() -> None:
    own = UnderlyingLimits(max_notional_pct=50.0, max_delta_usd=10_000.0)
    script = Script(limits(underlyings={"BTCUSD": own}, max_underlying_notional_pct=1_000.0)).ready()
    script.hear(ETH_LISTED)
    script.hear(msgspec.structs.replace(chain(START), underlying="ETHUSD", list_id=ETH_LISTED.list_id))
    script.poll(0, positions=(position(CALL_110, "1"),))
    script.granted(ask("s-1", (leg(CALL_110.replace("BTCUSD", "ETHUSD"), "buy", "0.1"),)))
    assert script.refused(ask("s-2", (leg(CALL_120, "buy", "0.1"),))).code == "underlying_concentration"
    script.granted(ask("s-3", (leg(CALL_110, "sell", "0.1"),)))


def test_an_expiry_past_its_limit_refuses_nothing_of_another() -> None:
    script = Script(limits(max_expiry_notional_pct=50.0, max_underlying_notional_pct=1_000.0)).ready()
    script.poll(0, positions=(position(CALL_110, "1"),))
    assert script.refused(ask("s-1", (leg(CALL_120, "buy", "0.1"),))).code == "expiry_concentration"
    script.granted(ask("s-2", (leg(FAR_CALL, "buy", "0.1"),)))

"""Selection against generated chains: what is chosen, and the reason and the way when nothing is."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messages.market import Instrument
from shared.messages.trades import LegOrder
from shared.options.chain import ChainView, OptionList
from shared.strategy import LegSpec, resolve_legs, select_option, straddle, strangle
from shared.strategy.selection import SelectionFailed
from tests.unit.strategy.making import HOUR, NOON, SECOND, at, chain, instruments, listing, snapshot

ATM = {"type": "closestStrike"}
NEXT = {"dte": "next"}
CHAIN = chain()


def chosen(spec: LegSpec, view: ChainView = CHAIN, now_ns: int = NOON) -> Instrument:
    found = select_option(spec, view, now_ns)
    assert isinstance(found, Instrument), found.text
    return found


def failure(spec: LegSpec, view: ChainView = CHAIN, now_ns: int = NOON) -> SelectionFailed:
    found = select_option(spec, view, now_ns)
    assert isinstance(found, SelectionFailed), found
    return found


@pytest.mark.parametrize(
    ("kind", "strike", "symbol"),
    [
        ("C", ATM, "BTCUSD-5MAR26-100000-C"),
        ("P", {"type": "closestStrike", "value": 93_400}, "BTCUSD-5MAR26-93000-P"),
        ("P", {"type": "strike", "value": 90_000}, "BTCUSD-5MAR26-90000-P"),
        ("C", {"type": "spotdistance", "value": 5}, "BTCUSD-5MAR26-105000-C"),
        ("P", {"type": "spotdistance", "value": 5}, "BTCUSD-5MAR26-95000-P"),
    ],
)
def test_strikes_are_chosen_by_each_criterion(kind: str, strike: dict[str, object], symbol: str) -> None:
    assert chosen(LegSpec("C" if kind == "C" else "P", 1, 1, strike, NEXT)).symbol == symbol


@pytest.mark.parametrize(
    ("expiry", "date"),
    [
        ({"dte": "next"}, "5MAR26"),
        ({"dte": 0}, "5MAR26"),
        ({"dte": 7}, "12MAR26"),
        ({"symbol": "26MAR26"}, "26MAR26"),
        ({"dte_min": 1, "dte_max": 30, "target": 7}, "12MAR26"),
        ({"dte_min": 1, "dte_max": 30, "target": "near"}, "6MAR26"),
        ({"dte_min": 1, "dte_max": 30, "target": "far"}, "26MAR26"),
        ({"dte_min": 1, "dte_max": 30, "target": "mid"}, "26MAR26"),
    ],
)
def test_expiries_are_chosen_by_each_criterion(expiry: dict[str, object], date: str) -> None:
    assert chosen(LegSpec("C", 1, 1, ATM, expiry)).symbol.split("-")[1] == date


def test_next_is_the_nearest_expiry_that_still_trades_for_the_no_trade_margin() -> None:
    last_trade = at("2026-03-05T07:45")
    spec = LegSpec("C", 1, 1, ATM, NEXT)
    before = last_trade - HOUR
    assert chosen(spec, chain(before, days=(0, 1)), before).expiry_ns == at("2026-03-05T08:00")
    after = before + SECOND
    assert chosen(spec, chain(after, days=(0, 1)), after).expiry_ns == at("2026-03-06T08:00")


def test_an_option_inside_the_no_trade_margin_is_excluded_with_that_reason() -> None:
    now = at("2026-03-05T07:00")
    found = failure(LegSpec("C", 1, 1, ATM, {"symbol": "5MAR26"}), chain(now, days=(0,)), now)
    assert found.reason == "no option is left after trading for at least 60 min more"


def test_the_way_to_nothing_says_how_many_each_criterion_removed() -> None:
    found = failure(LegSpec("C", 1, 1, {"type": "strike", "value": 100_500}, {"dte": 7}))
    count = len(CHAIN.instruments)
    assert [(step.removed, step.left) for step in found.removed] == [
        (count // 2, count // 2),
        (0, count // 2),
        (count // 8 * 3, count // 8),
        (count // 8, 0),
    ]
    assert "strike 100500 removed 41 and left 0" in found.text


def test_a_missing_mark_fails_and_does_not_move_the_strike() -> None:
    view = chain(missing={"mark": ["BTCUSD-5MAR26-100000-C"]})
    assert failure(LegSpec("C", 1, 1, ATM, NEXT), view).reason == "no option is left after a usable mark"
    assert chosen(LegSpec("P", 1, 1, ATM, NEXT), view).symbol == "BTCUSD-5MAR26-100000-P"


def test_a_choice_by_delta_passes_over_options_without_delta_or_mark() -> None:
    spec = LegSpec("C", 1, 1, {"type": "delta", "value": 0.25}, {"dte": 7})
    first = chosen(spec).symbol
    second = chosen(spec, chain(missing={"delta": [first]})).symbol
    third = chosen(spec, chain(missing={"delta": [first], "mark": [second]})).symbol
    assert len({first, second, third}) == 3


def test_a_delta_too_far_from_the_wanted_one_is_no_choice() -> None:
    view = chain(
        missing={"delta": [item.symbol for item in CHAIN.instruments if abs(float(item.strike) - 1e5) > 2e3]}
    )
    spec = LegSpec("C", 1, 1, {"type": "delta", "value": 0.1, "tolerance": 0.1}, NEXT)
    assert failure(spec, view).reason.startswith("no option is left after delta within 0.1 of 0.1")


def test_a_chain_without_any_value_is_refused_and_not_guessed_at() -> None:
    view = chain(missing={"mark": ["*"], "delta": ["*"]})
    assert "a usable mark" in failure(LegSpec("C", 1, 1, {"type": "delta", "value": 0.5}, NEXT), view).reason


def test_without_an_index_there_is_no_strike_nearest_to_it() -> None:
    listed = instruments()
    view = ChainView(snapshot(listed, index=100_000.0), OptionList(listing(listed)))
    blind = ChainView(msgspec.structs.replace(view.snapshot, index_price=float("nan")), view.listed)
    assert failure(LegSpec("C", 1, 1, ATM, NEXT), blind).reason == "the index price is missing"
    assert chosen(LegSpec("C", 1, 1, {"type": "strike", "value": 90_000}, NEXT), blind).strike == 90_000


def test_a_structure_is_resolved_whole_with_sides_and_quantities() -> None:
    orders = resolve_legs(strangle(qty="0.1", call_delta=0.25, put_delta=-0.25, dte=7, side="sell"), CHAIN, NOON)
    assert not isinstance(orders, SelectionFailed)
    assert [(order.side, order.quantity) for order in orders] == [("sell", Decimal("0.1"))] * 2
    call, put = (CHAIN.value(order.symbol, "delta") for order in orders)
    assert call == pytest.approx(0.25, abs=0.04)
    assert put == pytest.approx(-0.25, abs=0.04)


def test_a_straddle_has_one_strike() -> None:
    orders = resolve_legs(straddle(qty=1), {"BTCUSD": CHAIN}, NOON)
    assert orders == [
        LegOrder(symbol=f"BTCUSD-5MAR26-100000-{kind}", side="buy", quantity=Decimal(1)) for kind in ("C", "P")
    ]


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        (strangle("0.015"), "qty 0.015 is not a multiple of the lot 0.01"),
        (strangle("0.001"), "qty 0.001 is not a multiple of the lot 0.01"),
        (strangle(1, underlying="ETH"), "no option chain of ETHUSD"),
        ([LegSpec("C", 1, 1, ATM, NEXT), LegSpec("C", 2, 1, ATM, NEXT)], "is another leg already"),
        (strangle(1, dte=300), "no option is left after DTE 300"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused_with_its_leg(specs: list[LegSpec], reason: str) -> None:
    found = resolve_legs(specs, {"BTCUSD": CHAIN}, NOON)
    assert isinstance(found, SelectionFailed)
    assert reason in found.text
    assert found.leg_index is not None


@settings(max_examples=60, deadline=None)
@given(
    wanted=st.floats(0.05, 0.95),
    index=st.floats(85_000, 115_000),
    blind=st.sets(st.integers(0, len(CHAIN.instruments) - 1), max_size=80),
)
def test_by_delta_gives_what_a_plain_search_gives(wanted: float, index: float, blind: set[int]) -> None:
    hidden = [CHAIN.instruments[row].symbol for row in blind]
    view = chain(index=index, missing={"mark": hidden[::2], "delta": hidden[1::2]})
    marks, deltas = view.column("mark"), view.column("delta")
    candidates = [
        (abs(float(deltas[row]) - wanted), row)
        for row, item in enumerate(view.instruments)
        if item.option_type == "C" and item.expiry_ns == at("2026-03-12T08:00")
        if np.isfinite(deltas[row]) and marks[row] > 0 and abs(float(deltas[row]) - wanted) <= 0.1
    ]
    found = select_option(LegSpec("C", 1, 1, {"type": "delta", "value": wanted}, {"dte": 7}), view, NOON)
    if candidates:
        assert isinstance(found, Instrument)
        assert found == view.instruments[min(candidates)[1]]
    else:
        assert isinstance(found, SelectionFailed)

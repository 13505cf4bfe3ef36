"""Names, unit quantities and prices of structures."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from services.exchange.model import Side
from services.exchange.structures import (
    SidedLeg,
    description_of,
    name_of,
    net_price,
    side_of_quote,
    structure_side,
    unit_quantity,
)
from services.exchange.switches import Switches

BUY, SELL = Side.BUY, Side.SELL
DEFAULT = Switches()


def legs(*texts: str) -> list[SidedLeg]:
    """`+0.1 23JAN26-95000-C`: bought 0.1 of a BTC option."""
    found = []
    for text in texts:
        quantity, symbol = text.split(" ")
        side = BUY if quantity[0] == "+" else SELL
        found.append(SidedLeg(f"BTCUSD-{symbol}", side, D(quantity[1:])))
    return found


BUTTERFLY = ("+0.1 23JAN26-95000-C", "-0.2 23JAN26-96000-C", "+0.1 23JAN26-97000-C")


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (("+1 3JAN26-95000-C",), "Call"),
        (("-1 3JAN26-95000-P",), "Put"),
        (("+1 3JAN26-95000-C", "-1 3JAN26-96000-C"), "Call Spread"),
        (("-1 3JAN26-95000-P", "+1 3JAN26-96000-P"), "Put Spread"),
        (BUTTERFLY, "Call Butterfly"),
        (("+1 3JAN26-95000-C", "-1 4JAN26-95000-C"), "Call Calendar"),
        (("+1 3JAN26-95000-C", "-1 4JAN26-96000-C"), "Call Diagonal"),
        (("+1 3JAN26-95000-C", "+1 3JAN26-95000-P"), "Straddle"),
        (("+1 3JAN26-96000-C", "+1 3JAN26-95000-P"), "Strangle"),
        (("+1 3JAN26-96000-C", "-1 3JAN26-95000-P"), "Risk Reversal"),
        (("+1 3JAN26-95000-C", "-1 3JAN26-95000-P"), "Synthetic"),
        (
            ("+1 3JAN26-90000-P", "-1 3JAN26-94000-P", "-1 3JAN26-96000-C", "+1 3JAN26-99000-C"),
            "Iron Condor",
        ),
        (
            ("+1 3JAN26-90000-P", "-1 3JAN26-95000-P", "-1 3JAN26-95000-C", "+1 3JAN26-99000-C"),
            "Iron Butterfly",
        ),
        (
            ("+1 3JAN26-90000-C", "-1 3JAN26-94000-C", "-1 3JAN26-96000-C", "+1 3JAN26-99000-C"),
            "Call Condor",
        ),
        (("+1 3JAN26-95000-C", "-2 3JAN26-96000-C"), "Custom"),
        (("+1 3JAN26-95000-C", "+1 4JAN26-95000-P"), "Custom"),
    ],
)
def test_a_structure_has_its_usual_name_in_whatever_order_its_legs_come(texts: tuple[str, ...], name: str) -> None:
    assert name_of(legs(*texts), DEFAULT) == name
    assert name_of(legs(*reversed(texts)), DEFAULT) == name


def test_only_documented_names_where_the_switch_says_so() -> None:
    documented = Switches(strategy_names="documented")
    assert name_of(legs(*BUTTERFLY), documented) == "Call Butterfly"
    assert name_of(legs("+1 3JAN26-95000-C", "+1 3JAN26-95000-P"), documented) == "Custom"
    assert name_of(legs("+1 3JAN26-95000-C", "-1 4JAN26-95000-C"), documented) == "Custom"


def test_the_description_is_the_recorded_one() -> None:
    assert description_of(legs(*BUTTERFLY), DEFAULT) == "BTC Call Butterfly 23 Jan 26 95000/96000/97000"
    assert description_of(legs("+1 10JUL26-62000-C"), DEFAULT) == "BTC Call 10 Jul 26 62000"


@pytest.mark.parametrize(("day", "text"), [("plain", "3 Jan 26"), ("padded", "03 Jan 26")])
def test_the_day_is_padded_as_configured(day: str, text: str) -> None:
    switches = Switches(description_day=day)  # type: ignore[arg-type]
    assert description_of(legs("+1 3JAN26-95000-C"), switches) == f"BTC Call {text} 95000"


@pytest.mark.parametrize(
    ("quantities", "unit"),
    [(("0.1", "0.2", "0.1"), "0.1"), (("0.5", "0.5"), "0.5"), (("3", "2"), "1"), (("0.3", "0.45"), "0.15")],
)
def test_the_unit_is_the_largest_common_quantity(quantities: tuple[str, ...], unit: str) -> None:
    assert unit_quantity([D(quantity) for quantity in quantities]) == D(unit)


def test_the_price_of_the_recorded_butterfly() -> None:
    """805 + 1605 - 2 * 1149 = 112, seen from both sides."""
    prices = [D(805), D(1149), D(1605)]
    bought = legs(*BUTTERFLY)
    assert net_price(bought, prices, BUY) == 112
    sold = [leg._replace(side=leg.side.opposite) for leg in bought]
    assert net_price(sold, prices, SELL) == 112


def test_sells_alone_are_a_sold_structure_and_a_buy_quote_turns_it() -> None:
    assert structure_side([SELL, SELL]) is SELL
    assert structure_side([BUY, SELL]) is BUY
    assert side_of_quote([BUY, SELL], SELL) is BUY
    assert side_of_quote([BUY, SELL], BUY) is SELL
    assert side_of_quote([SELL], SELL) is SELL
    assert side_of_quote([SELL], BUY) is BUY

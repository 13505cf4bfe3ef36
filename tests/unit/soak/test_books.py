"""Each leg is bought once and sold once: what the venue filled, against what the journal says was held."""

from __future__ import annotations

from decimal import Decimal

from shared.messages.base import Side
from shared.messages.venue import VenueFill
from soak.books import legs_not_filled_once


def fill(number: int, side: Side, quantity: str) -> VenueFill:
    return VenueFill(
        venue_trade_id=number,
        venue_order_id=number,
        client_order_id=None,
        symbol="X",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(1),
        fee_usd=None,
        is_taker=True,
        venue_ns=0,
    )


LEG = {"symbol": "X", "opened_quantity": "0.3"}


def test_a_leg_that_was_bought_and_sold_once_is_in_order() -> None:
    assert legs_not_filled_once([LEG], [fill(1, "buy", "0.1"), fill(2, "buy", "0.2"), fill(3, "sell", "0.3")]) == []


def test_a_leg_that_was_bought_twice_and_sold_twice_is_told() -> None:
    twice = [fill(number, side, "0.3") for number, side in enumerate(("buy", "buy", "sell", "sell"))]
    assert legs_not_filled_once([LEG], twice) == ["X: the journal opened 0.3, the venue bought 0.6"]


def test_a_leg_that_was_not_sold_is_told() -> None:
    assert legs_not_filled_once([LEG], [fill(1, "buy", "0.3")]) == ["X: bought 0.3 more than sold"]


def test_fills_that_no_trade_knows_are_told() -> None:
    assert legs_not_filled_once([], [fill(1, "buy", "1"), fill(2, "sell", "1")]) == [
        "X: the journal opened 0, the venue bought 1"
    ]

"""How long an order was unknown is read off the journal; and both ways of failing are drawn."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bench.unknown import ORDERS, all_known_s, batch_figures, figures, unknown_s, weathers
from services.execution.rows import OrderMoved, OrderRequested
from shared.messages.trades import OrderState


def requested(number: int, trade: str) -> OrderRequested:
    return OrderRequested(
        client_order_id=number,
        trade_id=trade,
        leg_index=0,
        purpose="open",
        attempt=0,
        symbol="BTCUSD-26JUN26-100000-C",
        side="buy",
        quantity=Decimal("0.01"),
        price=Decimal(100),
        reduce_only=False,
        why="passive",
    )


def moved(number: int, state: OrderState) -> OrderMoved:
    return OrderMoved(client_order_id=number, state=state, reason="")


def test_an_order_is_unknown_until_its_next_move_and_one_that_was_seen_before_never_was() -> None:
    rows = [
        (0, requested(1, "t1")),
        (0, requested(2, "t2")),
        (0, requested(3, "t3")),
        (1_000_000_000, moved(1, "UNKNOWN")),
        (2_000_000_000, moved(2, "WORKING")),
        (3_000_000_000, moved(3, "UNKNOWN")),
        (4_500_000_000, moved(1, "WORKING")),
        (9_000_000_000, moved(1, "CANCELLED")),
    ]
    assert unknown_s(rows) == {"t1": (3.5, True), "t2": (None, True), "t3": (None, False)}


def test_a_batch_is_known_when_its_last_order_is_and_other_trades_do_not_count() -> None:
    rows = [
        *((0, requested(number, "t1")) for number in (1, 2, 3)),
        (0, requested(4, "t2")),
        *((1_000_000_000, moved(number, "UNKNOWN")) for number in (1, 2, 4)),
        (1_500_000_000, moved(3, "WORKING")),
        (2_000_000_000, moved(1, "WORKING")),
        (2_250_000_000, moved(2, "NEVER_PLACED")),
        (9_000_000_000, moved(1, "CANCELLED")),
    ]
    assert all_known_s(rows, "t1") == (2, 1.25)
    with pytest.raises(AssertionError, match="1 orders of t2 are still unknown"):
        all_known_s(rows, "t2")
    taken, proven = batch_figures({"lost_answer": (40, 16.0), "http_500": (40, 15.5)})
    assert (taken.met, proven.met, proven.beside_value) == (False, None, 7.0)


def test_the_slowest_of_a_hundred_decides_and_each_way_of_failing_is_told() -> None:
    found = {"lost_answer": [1.0] * 49, "http_500": [8.0] * 49 + [40.0, 50.0]}
    (p99, p50, *each) = figures(found, 5)  # type: ignore[arg-type]
    assert (p99.met, p50.met) == (False, None)
    assert "worst 50.0 s; 5 more" in p99.note
    assert [one.name.strip() for one in each] == [
        "taken, the answer lost, p99",
        "taken, the answer lost, p50",
        "not taken, no answer, p99",
        "not taken, no answer, p50",
    ]


def test_every_kind_of_weather_is_met() -> None:
    drawn = weathers(ORDERS // 4)
    assert drawn == weathers(ORDERS // 4)
    assert {each.placing for each in drawn} == {"lost_answer", "http_500"}
    assert {each.queries for each in drawn} == {"answered", "late", "failing"}
    assert {each.silent for each in drawn} == {True, False}

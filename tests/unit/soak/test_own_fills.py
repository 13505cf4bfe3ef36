"""The check of each trade's own fills passes what is right, and sees each thing that can be wrong."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from services.execution.book import Book
from shared.messages.rfq import BlockTrade
from shared.messages.venue import NewOrder, VenueFill, VenueOrder
from soak.books import legs_left_open
from soak.own_fills import wrongly_booked
from tests.unit.execution.play import CALL, Script, acked, fill, leg, seen

Venue = tuple[list[VenueFill], list[VenueOrder]]


def _filled(script: Script, venue: Venue, order: NewOrder, number: int) -> None:
    fills, orders = venue
    fills.append(fill(order, number))
    orders.append(seen(order, "filled", str(order.quantity)))
    script.on(acked(order)).on(fills[-1]).on(orders[-1])


@pytest.fixture
def traded() -> tuple[Book, Venue]:
    """Two trades of one symbol, opened and closed, and what the venue lists of them."""
    script = Script().started()
    venue: Venue = ([], [])
    for ordinal in range(2):
        trade_id = script.open(leg(CALL, "buy"), ordinal=ordinal)
        (opening,) = script.placed()
        _filled(script, venue, opening, 10 * ordinal + 1)
        script.wait(6_000).snapshot(positions=script.positions())
        script.close(trade_id)
        script.wait(1_000)
        (closing,) = script.placed()
        _filled(script, venue, closing, 10 * ordinal + 2)
        assert script.state(trade_id) == "CLOSED"
    return script.core.book, venue


def test_fills_on_their_own_orders_are_right(traded: tuple[Book, Venue]) -> None:
    book, (fills, orders) = traded
    assert wrongly_booked(book, fills, orders, ()) == []


def test_a_fill_on_the_order_of_another_trade_is_seen_though_sums_by_symbol_agree(
    traded: tuple[Book, Venue],
) -> None:
    book, (fills, orders) = traded
    mine, other = (book.fills[number] for number in (1, 11))
    book.fills[1], book.fills[11] = other, mine
    told = wrongly_booked(book, fills, orders, ())
    assert [line for line in told if "the venue's trade 1 is of order" in line]
    assert [line for line in told if "the venue's trade 11 is of order" in line]


def test_a_fill_that_is_missing_here_or_there_is_seen(traded: tuple[Book, Venue]) -> None:
    book, (fills, orders) = traded
    assert "filled 1 for" in "\n".join(wrongly_booked(book, fills[1:], orders, ()))
    del book.fills[2]
    told = "\n".join(wrongly_booked(book, fills, orders, ()))
    assert "the journal lacks the venue's trade 2" in told
    assert "its orders did 1 and 0 at the venue" in told


def test_another_quantity_price_or_side_is_seen(traded: tuple[Book, Venue]) -> None:
    book, (fills, orders) = traded
    for change in ({"quantity": D("0.9")}, {"price": D(1)}, {"side": "sell"}):
        wrong = [msgspec.structs.replace(fills[0], **change), *fills[1:]]  # type: ignore[arg-type]
        assert wrongly_booked(book, wrong, orders, ()) != []


def test_a_leg_that_counts_more_than_its_orders_is_seen(traded: tuple[Book, Venue]) -> None:
    book, (fills, orders) = traded
    assert legs_left_open(book) == []
    trade = next(iter(book.trades.values()))
    trade.legs[0].opened_quantity += 1
    assert legs_left_open(book) == [f"{trade.trade_id} leg 0: 1 {CALL} is left"]
    assert "leg 0 opened 2 and closed 1" in "\n".join(wrongly_booked(book, fills, orders, ()))


def test_an_execution_of_another_quote_than_the_one_it_is_booked_on_is_seen(traded: tuple[Book, Venue]) -> None:
    book, (fills, orders) = traded
    book.orders[book.fills[1].client_order_id].quote_id = "77"
    blocks = [
        BlockTrade(block_trade_id="5", request_id="1", quote_id=quote_id, role="taker", legs=(fills[0],), venue_ns=0)
        for quote_id in ("77", "78")
    ]
    assert wrongly_booked(book, fills, orders, blocks[:1]) == []
    assert "is of quote 78, booked on quote 77" in "\n".join(wrongly_booked(book, fills, orders, blocks[1:]))

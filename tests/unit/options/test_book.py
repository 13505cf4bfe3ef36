"""Order books as arrays: what is packed comes back, and what an amount would cost."""

from __future__ import annotations

import pytest

from shared.messages.on_demand import OrderBook
from shared.options.book import BookView, pack_levels, unpack_levels


def view(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> BookView:
    return BookView(
        OrderBook(
            symbol="BTCUSD-26FEB26-100-C",
            underlying="BTCUSD",
            venue_ns=0,
            received_ns=1,
            source="stream",
            missing="",
            bids=pack_levels(bids),
            asks=pack_levels(asks),
        )
    )


def test_levels_come_back_as_prices_and_sizes_best_first() -> None:
    book = view([(10.0, 1.0), (9.0, 2.0)], [(11.0, 3.0)])
    assert book.bids.tolist() == [[10.0, 9.0], [1.0, 2.0]]
    assert (book.best_bid, book.best_ask, book.mid) == (10.0, 11.0, 10.5)


def test_an_empty_side_has_no_best_price_and_no_mid() -> None:
    book = view([], [(11.0, 3.0)])
    assert (book.bids.shape, book.best_bid, book.mid) == ((2, 0), None, None)
    assert book.average_price("sell", 1.0) is None


def test_an_amount_costs_the_levels_that_it_takes_and_nothing_when_the_book_is_too_thin() -> None:
    book = view([(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0), (12.0, 3.0)])
    assert book.average_price("buy", 2.0) == pytest.approx(11.5)
    assert book.average_price("buy", 0.5) == pytest.approx(11.0)
    assert book.average_price("sell", 2.0) == pytest.approx(9.5)
    assert book.average_price("sell", 2.1) is None
    with pytest.raises(ValueError, match="must be above 0"):
        book.average_price("buy", 0.0)


def test_bytes_that_are_no_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="no levels"):
        unpack_levels(b"x" * 24)

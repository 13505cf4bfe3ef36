"""Coincall's order books, last trades and k-lines, in the forms of the venue's reference and in broken ones."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages.on_demand import PERIOD_NS, Kline, MarketTrade
from shared.options.book import pack_levels
from shared.venues.coincall import parse_on_demand as parse
from shared.venues.coincall.parse import ParseError
from shared.venues.ports import BookPush

SYMBOL = "BTCUSD-26JUN26-100000-C"
MS = 10**6


def rest_book(bids: list[tuple[Any, Any]], asks: list[tuple[Any, Any]]) -> bytes:
    def levels(side: list[tuple[Any, Any]]) -> list[dict[str, Any]]:
        return [{"price": price, "size": size} for price, size in side]

    body = {"optionName": SYMBOL, "displayName": None, "strike": 100000, "bids": levels(bids), "asks": levels(asks)}
    return msgspec.json.encode(body)


def test_a_book_by_rest_has_its_levels_and_no_time() -> None:
    data = rest_book([("1250.5", "0.10"), ("1250", "2")], [("1260", "0.5")])
    assert parse.parse_book(data, SYMBOL) == BookPush(
        symbol=SYMBOL, venue_ns=0, bids=pack_levels([(1250.5, 0.1), (1250.0, 2.0)]), asks=pack_levels([(1260.0, 0.5)])
    )


def test_a_pushed_book_names_its_option_and_its_time_or_that_of_the_frame() -> None:
    frame = {"s": SYMBOL, "asks": [{"pr": "1260", "sz": "0.5"}], "bids": [{"pr": "1250", "sz": "1"}], "ts": 1000}
    expected = BookPush(
        symbol=SYMBOL, venue_ns=1000 * MS, bids=pack_levels([(1250.0, 1.0)]), asks=pack_levels([(1260.0, 0.5)])
    )
    assert parse.parse_book_frame(msgspec.json.encode(frame), 999) == expected
    del frame["ts"]
    assert parse.parse_book_frame(msgspec.json.encode(frame), 1000) == expected


def test_blanks_behind_the_numbers_of_a_pushed_futures_book_do_not_matter() -> None:
    """As in the venue's sample."""
    frame = (
        b'{"s": "BTCUSD","asks":[{"pr":"62001.0 ","sz":"0.5"}], "bids":[{"pr":"62000.9","sz":"1.25  "}],"ts":1000}'
    )
    assert parse.parse_book_frame(frame, None) == BookPush(
        symbol="BTCUSD", venue_ns=1000 * MS, bids=pack_levels([(62000.9, 1.25)]), asks=pack_levels([(62001.0, 0.5)])
    )


@pytest.mark.parametrize("empty", [{}, {"bids": None, "asks": None}, {"bids": [], "asks": []}])
def test_a_book_without_orders_is_empty(empty: dict[str, Any]) -> None:
    assert parse.parse_book(msgspec.json.encode(empty), SYMBOL) == BookPush(
        symbol=SYMBOL, venue_ns=0, bids=b"", asks=b""
    )


def test_levels_without_a_size_are_left_out() -> None:
    assert parse.parse_book(rest_book([("10", "0"), ("9", "1")], []), SYMBOL).bids == pack_levels([(9.0, 1.0)])


@pytest.mark.parametrize(
    ("bids", "asks", "told"),
    [
        ([("10", "1"), ("11", "1")], [], "bids are out of order at 11"),
        ([("10", "1"), ("10", "1")], [], "bids are out of order at 10"),
        ([], [("11", "1"), ("10", "1")], "asks are out of order at 10"),
        ([("11", "1")], [("10", "1")], "is crossed: bid 11.0, ask 10.0"),
        ([("10", "1")], [("10", "1")], "is crossed"),
        ([("-1", "1")], [], "level -1.0 x 1.0 of its bids"),
        ([("0", "1")], [], "level 0.0"),
        ([], [("1e999", "1")], "asks"),
        ([], [("10", "-1")], "level 10.0 x -1.0 of its asks"),
        ([("ten", "1")], [], "price"),
    ],
)
def test_a_book_that_cannot_be_one_is_refused_and_says_where(bids: list[Any], asks: list[Any], told: str) -> None:
    with pytest.raises(ParseError, match=told):
        parse.parse_book(rest_book(bids, asks), SYMBOL)


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode)
)
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes) -> None:
    readers: tuple[Any, ...] = (
        lambda: parse.parse_book(data, SYMBOL),
        lambda: parse.parse_book_frame(data, 1),
        lambda: parse.parse_last_trades(data),
        lambda: parse.parse_klines(data, lambda _reason: None),
    )
    for read in readers:
        with suppress(ParseError):
            read()


def test_last_trades_are_exact_and_newest_first() -> None:
    rows = [
        {"symbol": SYMBOL, "displayName": "x", "price": "6225.10", "qty": "0.010", "time": 1, "tradeSide": 1},
        {"symbol": SYMBOL, "displayName": "x", "price": "6226", "qty": "0.02", "time": 2, "tradeSide": 2},
    ]
    newest, oldest = parse.parse_last_trades(msgspec.json.encode(rows))
    assert oldest == MarketTrade(
        symbol=SYMBOL, side="buy", price=Decimal("6225.1"), quantity=Decimal("0.01"), venue_ns=MS
    )
    assert (newest.side, newest.venue_ns) == ("sell", 2 * MS)
    assert parse.parse_last_trades(b"null") == ()
    with pytest.raises(ParseError, match="side 3"):
        parse.parse_last_trades(msgspec.json.encode([{**rows[0], "tradeSide": 3}]))


def bar(time: int, **changes: Any) -> dict[str, Any]:
    return {"open": 10, "close": 12, "low": 9, "high": 13, "volume": 1.5, "time": time, "period": "D1", **changes}


def test_klines_are_oldest_first_and_a_bar_that_is_none_is_left_out() -> None:
    skipped: list[str] = []
    rows = [bar(2), bar(1, volume=None), bar(3, high=11), bar(4, low=-1), bar(5, open=None)]
    klines = parse.parse_klines(msgspec.json.encode(rows), skipped.append)
    assert [kline.start_ns for kline in klines] == [MS, 2 * MS]
    assert klines[1] == Kline(start_ns=2 * MS, open=10.0, high=13.0, low=9.0, close=12.0, volume=1.5)
    assert klines[0].volume == 0.0
    assert len(skipped) == 2
    assert parse.parse_klines(b"null", skipped.append) == ()


def test_every_period_has_a_length_and_a_name_of_the_venue() -> None:
    assert parse.PERIODS.keys() == PERIOD_NS.keys()

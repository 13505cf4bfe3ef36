"""Frames of the spot sockets as they are read, and a book that is put together from its changes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.options.book import unpack_levels
from shared.venues.coincall import parse_spot
from shared.venues.coincall.parse import ParseError
from shared.venues.coincall.spot_stream import BookGap, BookTick, SpotBook, SpotSubscription, Topic, read_frame
from shared.venues.ports import BookPush
from tests.contract.recorded_products import Recorded

RECORDED = Recorded("spot").frames
_ENCODER = msgspec.json.Encoder(decimal_format="number")
Sizes = dict[float, float]


def tick(kind: str, u: int, prev: int | None = None, *, bids: Any = (), asks: Any = ()) -> BookTick:
    return BookTick(s="BTCUSDT", u=u, type=kind, prevU=prev, b=list(bids), a=list(asks))


def levels(side: bytes) -> list[tuple[float, float]]:
    return [(float(price), float(size)) for price, size in unpack_levels(side).T]


def book(push: BookPush | None) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    assert push is not None
    return levels(push.bids), levels(push.asks)


def started() -> SpotBook:
    held = SpotBook()
    held.take(tick("snapshot", 10, bids=[(99.0, 1.0), (98.0, 2.0)], asks=[(101.0, 1.0)]), 0)
    return held


def test_changes_set_add_and_remove_levels() -> None:
    held = started()
    push = held.take(tick("delta", 11, 10, bids=[(99.0, 0.0), (98.5, 3.0)], asks=[(101.0, 4.0)]), 7)
    assert book(push) == ([(98.5, 3.0), (98.0, 2.0)], [(101.0, 4.0)])
    assert push is not None
    assert push.venue_ns == 7


def test_after_a_snapshot_the_first_change_may_skip_a_number_and_a_later_one_may_not() -> None:
    held = started()
    assert held.take(tick("delta", 12, 11), 0) is not None
    with pytest.raises(BookGap, match="follows on 13, held is 12"):
        held.take(tick("delta", 14, 13), 0)
    assert not held.is_known
    assert held.take(tick("delta", 15, 14), 0) is None
    assert held.take(tick("snapshot", 20, bids=[(1.0, 1.0)]), 0) is not None


def test_a_change_that_was_told_already_changes_nothing() -> None:
    held = started()
    assert held.take(tick("delta", 10, 9, bids=[(99.0, 0.0)]), 0) is None
    assert book(held.take(tick("delta", 11, 10), 0)) == ([(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.0)])


def test_changes_that_make_a_crossed_book_are_a_gap() -> None:
    held = started()
    with pytest.raises(BookGap, match="crossed"):
        held.take(tick("delta", 11, 10, bids=[(102.0, 1.0)]), 0)
    assert not held.is_known


_SIDE = st.dictionaries(st.integers(1, 8), st.integers(1, 3), max_size=5)


def _changes(before: Sizes, now: Sizes) -> list[tuple[float, float]]:
    changed = [(price, size) for price, size in now.items() if before.get(price) != size]
    return changed + [(price, 0.0) for price in before if price not in now]


@given(st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=8), st.integers(0, 7))
def test_a_book_from_its_changes_is_the_book_and_a_lost_change_is_always_noticed(
    images: list[tuple[dict[int, int], dict[int, int]]], lost: int
) -> None:
    """Bids lie below 10, asks above; change `lost` never comes, if there is one of that number."""
    books = [
        (
            {float(price): float(size) for price, size in bids.items()},
            {20.0 - p: float(size) for p, size in asks.items()},
        )
        for bids, asks in images
    ]
    held, missed = SpotBook(), False
    for at, (bids, asks) in enumerate(books):
        if at == 0:
            told = tick("snapshot", 0, bids=bids.items(), asks=asks.items())
        else:
            before = books[at - 1]
            told = tick("delta", at, at - 1, bids=_changes(before[0], bids), asks=_changes(before[1], asks))
            # directly after a snapshot the number may be one higher, so a change lost there cannot be told
            if at == lost and at > 1:
                missed = True
                continue
        if missed:
            with pytest.raises(BookGap):
                held.take(told, 0)
            return
        assert book(held.take(told, 0)) == (sorted(bids.items(), reverse=True), sorted(asks.items()))


def encoded(frame: Any) -> bytes:
    return _ENCODER.encode(frame)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"id": "t", "status": "ok", "subbed": "order", "ts": 1}, ("SUBSCRIBE", "order", "success")),
        ({"id": 1, "status": "ok", "unsubbed": "order"}, ("UNSUBSCRIBE", "order", "success")),
        ({"action": "SUBSCRIBE", "dataType": "order", "result": "success"}, ("SUBSCRIBE", "order", "success")),
        ({"id": "order", "status": "error", "err-msg": "no"}, ("SUBSCRIBE", "order", "error")),
        ({"status": "error"}, ("SUBSCRIBE", None, "error")),
    ],
)
def test_every_plausible_form_of_an_answer_is_read(frame: Any, expected: tuple[str, str | None, str]) -> None:
    read = read_frame(encoded(frame))
    assert (read.action, read.dataType, read.result) == expected
    assert read.dt is None


def test_a_heartbeat_answer_and_a_ping_are_told_apart_from_data() -> None:
    assert (read_frame(b'{"c":11,"rc":1}').c, read_frame(b'{"c":11,"rc":1}').dt) == (11, None)
    assert bytes(read_frame(b'{"ping":17}').ping) == b"17"
    assert read_frame(encoded({"ch": "market.overviewv2", "tick": {}})).dt == Topic.OTHER
    with pytest.raises(ParseError, match="status"):
        read_frame(encoded({"ch": "order", "status": "error", "tick": {}}))


def test_a_subscription_names_its_topic_and_its_request_by_the_topic() -> None:
    topic = SpotSubscription("market.BTCUSDT.mbp.100")
    assert json.loads(topic.frame()) == {"sub": "market.BTCUSDT.mbp.100", "id": "market.BTCUSDT.mbp.100"}
    assert json.loads(topic.frame(undo=True))["unsub"] == "market.BTCUSDT.mbp.100"


def _recorded(channel: str, form: str = "") -> tuple[int | None, msgspec.Raw]:
    frame = read_frame(encoded(RECORDED[channel].frames[form]))
    return frame.dt, frame.d


def test_the_recorded_frames_of_the_market_are_read() -> None:
    number, data = _recorded("spot market.<SYM>.trade.detail")
    assert number == Topic.TRADES
    (push,) = parse_spot.parse_trades_frame(data)
    assert (push.symbol, push.trades[0].side, push.trades[0].price) == ("BTCUSDT", "buy", Decimal("98500.5"))
    number, data = _recorded("spot market.<SYM>.overviewv2")
    assert number == Topic.OVERVIEW
    assert parse_spot.parse_ticker(data) == parse_spot.SpotTicker(symbol="BTCUSDT", last=98_500.5, index=98_501.5)
    nested = encoded({"BTCUSDT": json.loads(bytes(data))["BTCUSDT"]})
    assert parse_spot.parse_ticker(nested) == parse_spot.parse_ticker(data)
    with pytest.raises(ParseError, match="2 pairs"):
        parse_spot.parse_ticker(b'{"A":{"s":"A"},"B":{"s":"B"}}')


@pytest.mark.parametrize("form", sorted(RECORDED["spot order"].frames))
def test_the_recorded_frames_of_an_order_are_read(form: str) -> None:
    number, data = _recorded("spot order", form)
    assert number == Topic.ORDERS
    order = parse_spot.parse_order_frame(data)
    assert order.state == {"0": "new", "1": "filled", "2": "partial", "3": "cancelled"}[form]
    assert 0 <= order.filled_quantity <= order.quantity


def test_the_recorded_frame_of_an_execution_is_read_and_its_fee_is_left_to_the_list_of_fills() -> None:
    number, data = _recorded("spot trade")
    assert number == Topic.FILLS
    fill = parse_spot.parse_trade_frame(data)
    assert (fill.symbol, fill.fee_usd) == ("BTCUSDT", None)
    assert fill.quantity > 0

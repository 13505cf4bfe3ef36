"""Order books over a socket of their own, against a venue on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest_asyncio

from shared.messages.venue import StreamDown, StreamUp
from shared.tasks import spawn
from shared.venues.coincall import CoincallGateway
from shared.venues.coincall.book_stream import CoincallBookStream
from shared.venues.ports import BookPush, LastTradesPush
from tests.unit.venues.servers import SocketVenue, socket_venue, until
from tests.unit.venues.test_gateway_streams import KEY, PATIENT, Heard, endpoints_of

A, B = "BTCUSD-26JUN26-100000-C", "BTCUSD-26JUN26-100000-P"


def frame(symbol: str, bid: str = "10") -> str:
    level = [{"pr": bid, "sz": "1"}]
    return msgspec.json.encode({"dt": 5, "c": 20, "d": {"s": symbol, "bids": level, "asks": [], "ts": 7}}).decode()


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[SocketVenue]:
    async with socket_venue() as running:
        yield running


@asynccontextmanager
async def books(venue: SocketVenue, heard: Heard) -> AsyncIterator[CoincallBookStream]:
    gateway = CoincallGateway(endpoints_of(venue), KEY, liveness=PATIENT, on_skipped=heard.skipped.append)
    stream = gateway.book_stream(heard.items.append)
    task = spawn(stream.run(), name="books under test")
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.wait([task])
        await gateway.close()


def asked(venue: SocketVenue, data_type: str = "orderBook") -> list[tuple[str, Any]]:
    frames = [each for each in venue.subscribed if each["dataType"] == data_type]
    return [(each["action"], each["payload"]["symbol"]) for each in frames]


async def until_up(venue: SocketVenue, heard: Heard, books_asked: int = 1) -> None:
    """The stream says so when it has asked; the venue reads it, and counts the connection, a moment later."""
    await until(lambda: heard.count(StreamUp) == 1 and len(asked(venue)) == books_asked)


async def until_asked(venue: SocketVenue, expected: list[tuple[str, Any]]) -> None:
    """A slow venue hears of a subscription after the stream stopped waiting for its answer."""
    await until(lambda: len(asked(venue)) >= len(expected))
    assert asked(venue) == expected


async def test_the_socket_is_open_while_books_are_wanted_and_only_then(venue: SocketVenue) -> None:
    heard = Heard()
    async with books(venue, heard) as stream:
        assert venue.handshakes == []
        stream.want([A])
        await until_up(venue, heard)
        assert heard.items[0] == StreamUp("books")
        await venue.push(frame(A))
        await until(lambda: heard.count(BookPush) == 1)
        stream.want([])
        await until(lambda: not venue.connections)
        stream.want([B])
        await until(lambda: heard.count(StreamUp) == 2)
    await until_asked(venue, [("subscribe", A), ("subscribe", B)])
    assert heard.count(StreamDown) == 0


async def test_a_change_of_what_is_wanted_is_told_to_the_venue_without_reconnecting(venue: SocketVenue) -> None:
    heard = Heard()
    async with books(venue, heard) as stream:
        stream.want([A])
        await until_up(venue, heard)
        stream.want([A, B])
        await until(lambda: len(asked(venue, "lastTrade")) == 2)
        stream.want([B])
        await until(lambda: len(asked(venue, "lastTrade")) == 3)
    await until_asked(venue, [("subscribe", A), ("subscribe", B), ("unSubscribe", A)])
    assert asked(venue, "lastTrade") == asked(venue)
    assert len(venue.handshakes) == 1


async def test_wanting_nothing_for_a_moment_still_starts_anew_and_says_so(venue: SocketVenue) -> None:
    heard = Heard()
    async with books(venue, heard) as stream:
        stream.want([A])
        await until_up(venue, heard)
        stream.want([])
        stream.want([A])
        await until(lambda: heard.count(StreamUp) == 2)
    await until_asked(venue, [("subscribe", A)] * 2)


async def test_a_frozen_book_is_subscribed_again_on_the_same_connection(venue: SocketVenue) -> None:
    heard = Heard()
    async with books(venue, heard) as stream:
        stream.want([A, B])
        await until_up(venue, heard, 2)
        stream.renew(A)
        stream.renew("BTCUSD-26JUN26-1-C")
        await until(lambda: len(asked(venue)) == 4)
    assert asked(venue)[2:] == [("unSubscribe", A), ("subscribe", A)]
    assert len(venue.handshakes) == 1


async def test_a_refused_book_and_an_image_that_is_none_keep_the_others_running(venue: SocketVenue) -> None:
    heard = Heard()
    venue.refused_data_types = {"orderBook"}
    async with books(venue, heard) as stream:
        stream.want([A])
        await until_up(venue, heard)
        await venue.push(frame(A, bid="-1"), '{"dt":4,"c":20,"d":[]}', frame(A))
        await until(lambda: heard.count(BookPush) == 1)
    assert [reason.partition(":")[0] for reason in heard.skipped] == ["books"] * 3
    assert heard.count(StreamDown) == 0


async def test_trades_come_on_the_same_socket_newest_first(venue: SocketVenue) -> None:
    heard = Heard()
    rows = [{"s": A, "q": "0.1", "pr": "10.5", "sd": side, "ts": at} for side, at in ((1, 1), (2, 2))]
    async with books(venue, heard) as stream:
        stream.want([A])
        await until_up(venue, heard)
        await venue.push(msgspec.json.encode({"dt": 6, "c": 20, "d": rows, "ts": 2}).decode())
        await until(lambda: heard.count(LastTradesPush) == 1)
    (push,) = [item for item in heard.items if isinstance(item, LastTradesPush)]
    assert (push.symbol, [(trade.side, trade.venue_ns) for trade in push.trades]) == (
        A,
        [("sell", 2_000_000), ("buy", 1_000_000)],
    )


async def test_after_a_cut_the_wanted_books_are_subscribed_again(venue: SocketVenue) -> None:
    heard = Heard()
    async with books(venue, heard) as stream:
        stream.want([A])
        await until_up(venue, heard)
        await venue.disconnect()
        await until(lambda: heard.count(StreamUp) == 2)
    await until_asked(venue, [("subscribe", A)] * 2)
    assert [item.stream for item in heard.items if isinstance(item, StreamDown)] == ["books"]

"""The spot sockets over real connections: their own protocol, books by changes, private events, and its switches."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
import websockets

from services.exchange.switches import Switches
from tests.integration.exchange.harness import (
    TRADING_KEY,
    RunningExchange,
    receive_until,
    small_config,
    socket_query,
)
from tests.integration.exchange.test_rest import check, types

PLACE = "/open/spot/trade/order/v1"
Socket = Any


@asynccontextmanager
async def public(exchange: RunningExchange) -> AsyncIterator[Socket]:
    async with websockets.connect(f"ws://127.0.0.1:{exchange.port}/spot/ws", compression=None) as websocket:
        yield websocket


@asynccontextmanager
async def private(exchange: RunningExchange) -> AsyncIterator[Socket]:
    query = socket_query(TRADING_KEY)
    url = f"ws://127.0.0.1:{exchange.port}/spot/ws/private?{query}"
    async with websockets.connect(url, compression=None) as websocket:
        yield websocket


async def ask(websocket: Socket, **frame: Any) -> None:
    await websocket.send(json.dumps(frame))


async def tick(websocket: Socket, topic: str) -> Any:
    frame = await receive_until(websocket, lambda each: each.get("ch") == topic)
    assert frame["status"] == "ok"
    assert isinstance(frame["ts"], int)
    return frame["tick"]


def book_after(changes: list[Any]) -> tuple[list[Any], list[Any]]:
    """What a client makes of a snapshot and its changes."""
    assert changes[0]["type"] == "snapshot"
    sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
    for change in changes:
        for side, name in zip(sides, "ba", strict=True):
            for price, size in change[name]:
                side.pop(price, None)
                if size:
                    side[price] = size
    return [list(each) for each in sorted(sides[0].items(), reverse=True)], [
        list(each) for each in sorted(sides[1].items())
    ]


async def test_a_subscription_is_acknowledged_and_brings_every_market_topic(exchange: RunningExchange) -> None:
    wanted = {
        "market.BTCUSDT.bbo": types("symbol str, bidPrice bidSize askPrice askSize num"),
        "market.BTCUSDT.mbp.50": types("s type str, b a list, u int"),
        "market.overviewv2": None,
        "market.BTCUSDT.overviewv2": None,
        "market.BTCUSDT.kline.60min": types("endTime ms, open close low high volume volumeUsd num"),
    }
    async with public(exchange) as websocket:
        for number, (topic, shape) in enumerate(wanted.items()):
            await ask(websocket, sub=topic, id=number)
            ack = await receive_until(websocket, lambda each, topic=topic: each.get("subbed") == topic)
            assert (ack["id"], ack["status"]) == (number, "ok")
            told = await tick(websocket, topic)
            if shape is not None:
                check(told, shape)
        await ask(websocket, sub="market.BTCUSDT.overviewv2", id="again")
        told = await tick(websocket, "market.BTCUSDT.overviewv2")
        assert told["c"] == told["BTCUSDT"]["c"] > 0
        assert "hasOption" not in told
        await ask(websocket, sub="market.BTCUSDT.trade.detail", id="t")
        printed = await tick(websocket, "market.BTCUSDT.trade.detail")
        check(printed[0], types("tradeId symbol str, price qty num, side int, ts ms"))


async def test_a_book_by_changes_is_the_book_and_every_follower_gets_the_same_numbers(
    exchange: RunningExchange,
) -> None:
    topic = "market.BTCUSDT.mbp.200"
    async with public(exchange) as early, public(exchange) as late:
        await ask(early, sub=topic, id="1")
        told = [await tick(early, topic)]
        told.append(await tick(early, topic))
        assert told[1]["type"] == "delta"
        assert told[1]["prevU"] == told[0]["u"] + 1
        await ask(late, sub=topic, id="2")
        snapshot = await tick(late, topic)
        change = await tick(late, topic)
        assert change["prevU"] == snapshot["u"] + 1
        while told[-1]["u"] != change["u"]:
            told.append(await tick(early, topic))
            assert told[-1]["prevU"] == told[-2]["u"]
        assert book_after(told) == book_after([snapshot, change])


async def test_unsubscribing_ends_a_topic_and_the_rest_goes_on(exchange: RunningExchange) -> None:
    async with public(exchange) as websocket:
        for topic in ("market.BTCUSDT.mbp.1", "market.BTCUSDT.mbp.50"):
            await ask(websocket, sub=topic, id=topic)
            await tick(websocket, topic)
        await ask(websocket, unsub="market.BTCUSDT.mbp.1", id="gone")
        ack = await receive_until(websocket, lambda each: "unsubbed" in each)
        assert ack["unsubbed"] == "market.BTCUSDT.mbp.1"
        followed = {topic.period for connection in exchange.server.hub.connections for topic in connection.topics}
        assert followed == {"50"}
        assert (await tick(websocket, "market.BTCUSDT.mbp.50"))["type"] == "delta"


@pytest.mark.parametrize(
    "frame",
    [
        {"sub": "market.NOPEUSDT.bbo", "id": 1},
        {"sub": "market.BTCUSDT.mbp.7", "id": 1},
        {"sub": "market.BTCUSDT.kline.7min", "id": 1},
        {"sub": "order", "id": 1},
        {"sub": ["market.BTCUSDT.bbo"]},
        {"subscribe": "market.BTCUSDT.bbo"},
    ],
)
async def test_what_is_no_topic_of_the_socket_is_refused_and_the_socket_stays(
    exchange: RunningExchange, frame: dict[str, Any]
) -> None:
    async with public(exchange) as websocket:
        await websocket.send(json.dumps(frame))
        assert (await receive_until(websocket, lambda each: each.get("action") == "ERROR"))["result"] == "fail"
        await ask(websocket, ping=7)
        assert await receive_until(websocket, lambda each: "pong" in each) == {"pong": 7}
        await ask(websocket, action="heartbeat")
        assert await receive_until(websocket, lambda each: each.get("c") == 11) == {"c": 11, "rc": 1}


async def test_the_private_socket_needs_a_login_and_tells_orders_and_fills(exchange: RunningExchange) -> None:
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(f"ws://127.0.0.1:{exchange.port}/spot/ws/private")
    client = exchange.client()
    async with private(exchange) as websocket:
        for topic in ("order", "trade"):
            await ask(websocket, sub=topic, id=topic)
            await receive_until(websocket, lambda each, topic=topic: each.get("subbed") == topic)
        body = {"symbol": "BTCUSDT", "tradeSide": "1", "tradeType": "1", "qty": "0.1", "price": "50000"}
        order_id = (await client.post(PLACE, **body))["data"]
        placed = await tick(websocket, "order")
        common = "orderId id, clientOrderId symbol str, price qty numstr, tradeSide str, tradeType status int"
        check(placed, types(f"{common}, createTime ms"))
        assert (placed["orderId"], placed["tradeSide"], placed["status"]) == (order_id, "buy", 0)
        await client.post("/open/spot/trade/cancel/v1", orderId=str(order_id))
        ended = await tick(websocket, "order")
        assert (ended["status"], ended["canceledQty"], ended["filledQty"]) == (3, "0.1", "0")
        answer = await client.post(PLACE, **{**body, "tradeType": "2", "price": None})
        assert answer["code"] == 0, answer
        fill = await tick(websocket, "trade")
        check(
            fill,
            types(
                "symbol clientOrderId str, feeRate tradeFee price volume matchVolume remainVolume numstr, "
                "isTaker tradeSide str, orderId id, userId int, tradeId str, ts ms"
            ),
        )
        assert fill["orderId"] == answer["data"]
        filled = Decimal(fill["matchVolume"])
        while filled < Decimal("0.1"):
            filled += Decimal((await tick(websocket, "trade"))["matchVolume"])
        assert filled == Decimal("0.1")


@pytest.mark.parametrize(
    ("ack", "expected"),
    [
        ("action", {"action": "SUBSCRIBE", "dataType": "market.overviewv2", "result": "success"}),
        ("none", None),
    ],
)
async def test_the_acknowledgement_is_a_switch(ack: Any, expected: Any) -> None:
    config = small_config(switches=Switches(spot_ack=ack))
    async with RunningExchange(config) as exchange, public(exchange) as websocket:
        await ask(websocket, sub="market.overviewv2", id=1)
        first = json.loads(await websocket.recv())
        if expected is None:
            assert first["ch"] == "market.overviewv2"
        else:
            assert first == expected


async def test_the_server_pings_where_the_switch_says_so_and_needs_no_answer_to_its_pong() -> None:
    config = small_config(switches=Switches(spot_ping_ms=1))
    async with RunningExchange(config) as exchange, public(exchange) as websocket:
        ping = await receive_until(websocket, lambda each: "ping" in each)
        await ask(websocket, pong=ping["ping"])
        assert (await receive_until(websocket, lambda each: "ping" in each))["ping"] > ping["ping"]


async def test_a_market_buy_may_be_given_in_usdt_and_show_its_average_as_its_price() -> None:
    switches = Switches(spot_market_buy_quantity="quote", spot_market_order_price="average")
    async with RunningExchange(small_config(switches=switches)) as exchange:
        client = exchange.client()
        body = {"symbol": "BTCUSDT", "tradeSide": "1", "tradeType": "2", "qty": "10000"}
        order_id = (await client.post(PLACE, **body))["data"]
        told = await client.data(PLACE, orderId=str(order_id))
        spent = Decimal(told["fillQty"]) * Decimal(told["avgPrice"])
        assert Decimal(9_900) < spent <= Decimal(10_000) * Decimal("1.001")
        assert told["price"] == told["avgPrice"] != "0"
        nothing = await client.post(PLACE, **{**body, "qty": "0.01"})
        assert nothing["code"] != 0

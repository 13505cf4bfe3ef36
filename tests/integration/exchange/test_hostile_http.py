"""Whatever comes over HTTP or a WebSocket: the venue's envelope or a proper 4xx, never a 500, never a hang."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
import websockets

from services.exchange.server.app import HttpProtocol
from shared.http_server import BoundedHttp
from tests.hostile_http import HttpForger, exchange
from tests.integration.exchange.harness import (
    TRADING_KEY,
    RunningExchange,
    receive_until,
    signed_headers,
    small_config,
    until,
)

ANSWERED = {200, 400, 403, 404, 405, 413, 414, 431}


def routes_of(running: RunningExchange) -> list[tuple[str, str]]:
    routes = running.server.app.routes
    return [(method, route.path) for route in routes for method in sorted(getattr(route, "methods", None) or {"GET"})]  # type: ignore[attr-defined]


def sign(method: str, path: str, text: str) -> dict[str, str]:
    headers = signed_headers(TRADING_KEY, method, path, text.encode("utf-8", "replace").decode())
    del headers["Content-Type"]
    return headers


@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_requests_are_answered_with_an_envelope_or_a_4xx(seed: int) -> None:
    async with RunningExchange(small_config()) as running:
        client = running.client()
        before = await client.data("/open/account/summary/v1")
        codes: Counter[Any] = Counter()
        for data in HttpForger(seed, routes_of(running), sign).requests(500):
            answer = await exchange(running.port, data)
            assert answer.status in ANSWERED | {0}, (seed, data[:500], answer)
            is_json = answer.body[:1] == b"{"
            codes[answer.json["code"] if is_json else answer.status] += 1
        assert {0, 10005, 10560, 10570, 10573, 10591, 10009} <= codes.keys()
        assert running.server.core_failures == 0
        assert running.server.refusals.counts["garbage"] > 20
        await client.http.post("/sim/faults", content=b"")
        await client.http.delete("/sim/faults")
        assert (await client.data("/open/account/summary/v1"))["equity"] == before["equity"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sim/transfer", '{"account_id": "main", "amount_usd": "1e999999"}'),
        ("/sim/transfer", '{"account_id": "main", "amount_usd": "-1e999999999999999999"}'),
        ("/sim/transfer", '{"account_id": "main", "amount_usd": "sNaN"}'),
        ("/sim/transfer", '{"account_id": "main", "amount_usd": ' + "9" * 5_000 + "}"),
        ("/sim/faults", '{"kind": "silence", "duration_ms": 9223372036854775807}'),
        ("/sim/faults", '{"kind": "latency", "message": "\\ud800"}'),
        ("/sim/market", '{"base": "BTC", "pct": 1e400}'),
        ("/sim/expiry", '{"base": "BTC", "minutes": 99999999999999999999}'),
        (
            "/open/option/order/create/v1",
            '{"symbol": "\\ud800", "tradeSide": 1, "tradeType": 1, "qty": 1, "price": 1}',
        ),
        ("/open/option/order/create/v1", '{"\\udfff": 1}'),
    ],
)
async def test_an_endless_figure_or_half_a_character_is_refused(path: str, body: str) -> None:
    async with RunningExchange(small_config()) as running:
        client = running.client()
        response = await client.http.post(path, content=body.encode())
        assert response.status_code in (200, 400)
        assert response.json()["code"] in (10005, 10560)
        assert Decimal((await client.data("/open/account/summary/v1"))["equity"]) < 10**7
        assert running.server.core_failures == 0


async def test_a_fault_table_does_not_grow_without_end() -> None:
    async with RunningExchange(small_config()) as running:
        client = running.client()
        fault = json.dumps({"kind": "latency", "path_prefix": "/nowhere"})
        codes = [(await client.http.post("/sim/faults", content=fault)).json()["code"] for _ in range(103)]
        assert (codes.count(0), codes[-1]) == (100, 10005)


async def test_half_a_request_is_cut_and_others_are_answered_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedHttp, "request_s", 2.0)
    halves = [
        b"",
        b"GET /time HT",
        b"GET /time HTTP/1.1\r\nHost: x\r\n",
        b"POST /open/option/order/create/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /sim/faults HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ]
    async with RunningExchange(small_config()) as running:
        clients = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(5) for _ in halves]
        for number, (_, writer) in enumerate(clients):
            writer.write(halves[number % len(halves)])
        assert (await running.client().get("/time"))["code"] == 0
        for reader, _ in clients:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 60)
        await until(lambda: running.server.refusals.counts["late"] == len(clients))
        for _, writer in clients:
            writer.transport.abort()
        assert (await running.client().get("/time"))["code"] == 0


async def test_a_crowd_is_turned_away_and_those_inside_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "connections_max", 20)
    async with RunningExchange(small_config()) as running:
        client = running.client()
        assert (await client.get("/time"))["code"] == 0
        crowd = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(60)]
        await until(lambda: running.server.refusals.counts["crowd"] >= 40)
        assert (await client.get("/time"))["code"] == 0
        for _, writer in crowd:
            writer.transport.abort()


FRAMES: tuple[str | bytes, ...] = (
    "",
    "{",
    "[]",
    "null",
    "\0",
    b"\xff\xfe",
    b"\x81\xa1a\x01",
    "[" * 50_000,
    '{"action": 7}',
    '{"action": "fly", "dataType": "order"}',
    '{"action": "subscribe"}',
    '{"action": "subscribe", "dataType": "nothing"}',
    '{"action": "subscribe", "dataType": ["order"]}',
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": "\\ud800"}}',
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": "x", "n": ' + "9" * 30 + "}}",
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": "x", "n": NaN}}',
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": ' + "[" * 800 + "]" * 800 + "}}",
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": [1, null]}}',
    '{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": "' + "x" * 60_000 + '"}}',
    '{"action": "subscribe", "dataType": "tOption", "payload": {"symbol": "BTCUSD", "end": 1e99}}',
    '{"action": "subscribe", "dataType": "tOption", "payload": {"symbol": "BTCUSD", "end": "-1"}}',
    '{"action": "unsubscribe", "dataType": "bsInfo", "payload": 5}',
    '{"action": "unsubscribe", "dataType": "bsInfo", "payload": {"n": ' + "9" * 30 + "}}",
    '{"c": {"c": 11}}',
    "x" * 100_000,
)


async def test_hostile_frames_on_a_socket_are_refused_and_the_socket_goes_on() -> None:
    async with RunningExchange(small_config()) as running, running.socket() as socket:
        for frame in FRAMES:
            await socket.send(frame)
        await socket.send('{"action": "subscribe", "dataType": "order"}')
        answers: list[Any] = []

        def subscribed(frame: dict[str, Any]) -> bool:
            answers.append(frame)
            return frame.get("action") == "SUBSCRIBE"

        await receive_until(socket, subscribed)
        assert answers[-1]["dataType"] == "order"
        assert all("code" in frame or frame.get("action") == "UNSUBSCRIBE" for frame in answers[:-1])


async def test_a_flood_of_subscriptions_is_throttled_and_a_huge_frame_ends_its_socket_only() -> None:
    async with RunningExchange(small_config()) as running, running.socket() as socket, running.socket() as other:
        for _ in range(300):
            await socket.send('{"action": "subscribe", "dataType": "bsInfo", "payload": {"symbol": "nobody"}}')
        await receive_until(socket, lambda frame: frame.get("code") == 10000)
        await socket.send("x" * 1_000_000)
        with pytest.raises(websockets.ConnectionClosed):
            await receive_until(socket, lambda _: False)
        await other.send('{"action": "heartbeat"}')
        await receive_until(other, lambda frame: frame.get("c") == 11)
        await until(lambda: len(running.server.hub.connections) == 1)


async def test_a_websocket_that_sends_no_frames_is_closed() -> None:
    async with RunningExchange(small_config()) as running, running.socket() as other:
        for garbage in (b"\xff" * 50, b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x89\x7f" + b"x" * 200):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            query = other.request.path.partition("?")[2]
            writer.write(
                f"GET /options?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b"101" in await reader.readuntil(b"\r\n\r\n")
            writer.write(garbage)
            await asyncio.wait_for(reader.read(), 60)
            writer.transport.abort()
        await other.send('{"action": "heartbeat"}')
        await receive_until(other, lambda frame: frame.get("c") == 11)

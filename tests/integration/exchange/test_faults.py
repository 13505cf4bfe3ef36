"""Faults switched on at run time, market moves, and input that nobody should send."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.exchange.server.app import ExchangeServer
from services.exchange.server.auth import SignedRequest, prehash_variants
from services.exchange.server.errors import ApiError
from services.exchange.server.wire import parse_json_object
from services.exchange.shell import credentials_of
from shared.clock import Clock
from shared.runner import MemoryJournal
from tests.integration.exchange.harness import (
    TRADING_KEY,
    RunningExchange,
    now_ms,
    receive_until,
    signed_headers,
    small_config,
    tradable,
    until,
    with_server,
)
from tests.integration.exchange.test_rest import rest
from tests.integration.exchange.test_socket import data_of, subscribe

CREATE = "/open/option/order/create/v1"


async def inject(exchange: RunningExchange, **fault: Any) -> Any:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        response = await http.post("/sim/faults", content=json.dumps(fault))
        assert response.status_code == 200, response.text
        return response.json()["data"]


async def test_a_lost_answer_leaves_the_order_in_the_book(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    await inject(exchange, kind="lost_answer", path_prefix=CREATE, count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await rest(client, call, clientOrderId=42)
    found = await client.data("/open/option/order/singleQuery/v1", clientOrderId=42)
    assert found["state"] == 0
    assert (await rest(client, call, clientOrderId=43))["code"] == 0


async def test_refusing_faults_execute_nothing(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    await inject(exchange, kind="error_code", path_prefix=CREATE, count=1, code=10553, message="Maintenance")
    refused = await rest(client, call)
    assert (refused["code"], refused["msg"]) == (10553, "Maintenance")
    await inject(exchange, kind="rate_limit", path_prefix=CREATE, count=1)
    assert (await rest(client, call))["code"] == 10000
    await inject(exchange, kind="http_500", path_prefix=CREATE, count=1)
    response = await client.raw_post(CREATE, symbol=call["symbol"], tradeSide=1, tradeType=1, qty=1, price=1)
    assert response.status_code == 500
    assert (await client.data("/open/option/order/pending/v1"))["total"] == 0


async def test_latency_holds_the_answer_back_on_its_path_only(exchange: RunningExchange) -> None:
    client = exchange.client()
    await inject(exchange, kind="latency", path_prefix="/open/user", count=1, latency_ms=3_000)
    started = time.monotonic()
    held_back = asyncio.create_task(client.data("/open/user/info/v1"))
    await client.data("/time")
    assert not held_back.done()
    await held_back
    assert time.monotonic() - started >= 3


async def test_a_disconnect_cuts_sockets_and_refuses_them_while_it_holds(exchange: RunningExchange) -> None:
    async with exchange.socket() as websocket:
        await subscribe(websocket, "order")
        assert (await inject(exchange, kind="disconnect", path_prefix="/options", count=1))["cut"] == 1
        with pytest.raises(websockets.ConnectionClosed):
            await receive_until(websocket, lambda frame: False)
    with pytest.raises(websockets.InvalidStatus):
        await exchange.socket()
    async with exchange.socket() as again:
        await subscribe(again, "order")


async def test_silence_keeps_the_socket_open_without_pushes_until_cleared(exchange: RunningExchange) -> None:
    async with exchange.socket("futures") as websocket:
        await subscribe(websocket, "spotPrice", {"symbol": "BTCUSD"})
        await receive_until(websocket, data_of(30))
        await inject(exchange, kind="silence", path_prefix="/futures")
        with pytest.raises(TimeoutError):
            await receive_until(websocket, lambda frame: False, timeout_s=1.5)
        pushed = exchange.server.hub.frames_pushed
        assert not websocket.close_code
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
            assert (await http.delete("/sim/faults")).status_code == 200
        await receive_until(websocket, data_of(30))
        assert exchange.server.hub.frames_pushed > pushed


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sim/faults", {"kind": "earthquake"}),
        ("/sim/faults", {"kind": "latency", "latency_ms": -1}),
        ("/sim/faults", {"kind": "latency", "surprise": 1}),
        ("/sim/faults", []),
        ("/sim/market", {"base": "BTC", "pct": -99}),
        ("/sim/market", {"base": "XXX", "pct": 1}),
        ("/sim/expiry", {"base": "XXX", "minutes": 10}),
        ("/sim/transfer", {"account_id": "nobody", "amount_usd": "5"}),
    ],
)
async def test_a_wrong_control_request_is_refused_and_says_why(
    exchange: RunningExchange, path: str, body: Any
) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        response = await http.post(path, content=json.dumps(body))
    assert response.status_code == 400
    assert response.json()["msg"]


async def test_a_market_move_shows_in_the_index(exchange: RunningExchange) -> None:
    client = exchange.client()

    async def index() -> Decimal:
        price: Decimal = (await client.data("/open/futures/market/symbol/v1", symbol="BTCUSD"))["indexPrice"]
        return price

    before = await index()
    assert (await client.http.post("/sim/market", content='{"base":"BTC","pct":-20}')).json()["code"] == 0
    async with asyncio.timeout(60):
        while await index() > before * Decimal("0.85"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_extra_expiry_is_listed_and_a_deposit_is_booked(exchange: RunningExchange) -> None:
    client = exchange.client()
    asked_ms = (await client.http.get("/sim/state")).json()["data"]["nowNs"] // 1_000_000
    listed = (await client.http.post("/sim/expiry", content='{"base":"BTC","minutes":30}')).json()
    assert listed["code"] == 0
    instruments = await client.data("/open/option/getInstruments/BTC")
    assert listed["data"]["endTime"] >= asked_ms + 30 * 60_000, "no sooner than was asked for"
    assert listed["data"]["endTime"] in {row["expirationTimestamp"] for row in instruments}
    body = '{"account_id":"main","amount_usd":"250.5"}'
    assert (await client.http.post("/sim/transfer", content=body)).json()["code"] == 0
    deposits = await client.data("/open/account/historyList/v1", type=0)
    assert (deposits["list"][0]["amount"], deposits["list"][0]["side"]) == (Decimal("250.5"), "deposit")


async def test_the_state_shows_market_accounts_sockets_and_faults(exchange: RunningExchange) -> None:
    async with exchange.socket() as websocket:
        await subscribe(websocket, "order")
        await inject(exchange, kind="latency", count=5, latency_ms=1, path_prefix="/nowhere")
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
            state = (await http.get("/sim/state")).json()["data"]
    assert state["sockets"] == 1
    assert state["faults"][0]["hits_left"] == 5
    assert state["accounts"].keys() == {"main", "other", "maker"}
    assert state["indices"]["BTC"] > 0


@pytest.mark.parametrize("paper", [True, False])
def test_the_control_routes_exist_only_on_paper_and_when_configured(paper: bool) -> None:
    def paths(control_api: bool) -> set[str]:
        config = with_server(small_config(), control_api=control_api)
        server = ExchangeServer(config, credentials_of(config), MemoryJournal(), Clock().now_ns, paper=paper)
        return {route.path for route in server.app.routes if hasattr(route, "path")}

    assert any(path.startswith("/sim") for path in paths(True)) is paper
    assert not any(path.startswith("/sim") for path in paths(False))


async def test_the_control_api_is_closed_to_other_addresses() -> None:
    config = small_config()
    server = ExchangeServer(config, credentials_of(config), MemoryJournal(), Clock().now_ns, paper=True)
    transport = httpx.ASGITransport(app=server.app, client=("192.0.2.7", 5_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://exchange") as http:
        assert (await http.get("/sim/state")).status_code == 403
        assert (await http.post("/sim/faults", content='{"kind":"http_500"}')).status_code == 403


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SENSIBLE: dict[str, list[Any]] = {
    "qty": [1, "0.01", 0.005, 5_000],
    "price": [1, 10.5, "0.3", 1e9],
    "clientOrderId": [7, "8"],
    "orderId": [1, "2"],
    "timeInForce": ["GTC", "FOK"],
    "orderIdList": [[1, 2], ["x"], list(range(1, 60))],
    "reduceOnly": [0, 1],
    "stp": [0, 3],
    "slippage": [5],
    "orders": [[{}]],
    "action": ["subscribe", "heartbeat"],
    "dataType": ["order", "orderBook", "tOption"],
    "payload": [{"symbol": "BTCUSD", "end": 5}, {"symbol": ["x", 1]}],
    "c": [11],
}
FIELDS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) | JSON for name, values in SENSIBLE.items()}
)
POSTS = ("create", "modify", "cancel", "batchCancel")


@pytest.mark.long
async def test_hundreds_of_malformed_bodies_and_frames_do_not_stop_the_server(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    bodies: list[bytes] = []
    frames: list[str | bytes] = []

    @settings(max_examples=150, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(FIELDS, st.binary(max_size=200), st.text(max_size=200))
    def collect(fields: dict[str, Any], garbage: bytes, text: str) -> None:
        listed = json.dumps({"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1} | fields)
        bodies.extend([json.dumps(fields).encode(), listed.encode(), garbage, text.encode()])
        frames.extend([json.dumps(fields), garbage, text, json.dumps({"action": "subscribe"} | fields)])

    collect()
    assert len(bodies) > 400
    codes: set[int] = set()
    for number, body in enumerate(bodies):
        path = f"/open/option/order/{POSTS[(number + number // 4) % len(POSTS)]}/v1"
        response = await client.http.post(path, content=body, headers=_signed_whatever(path, body))
        assert response.status_code == 200, response.text
        codes.add(response.json()["code"])
    assert 4003 not in codes
    assert len(codes) > 5
    async with exchange.socket() as websocket:
        for frame in frames:
            await websocket.send(frame)
        await until(lambda: len(exchange.server.hub.connections) == 1)
    assert exchange.server.core_failures == 0
    assert (await client.data("/open/user/info/v1"))["userId"] > 0


def _signed_whatever(path: str, body: bytes) -> dict[str, str]:
    """A valid signature over whatever the server will read in `body`, so that the fuzz gets past the door."""
    try:
        fields = parse_json_object(body)
    except ApiError:
        fields = {}
    request = SignedRequest(method="POST", path=path, query="", query_fields={}, body_fields=fields)
    prefix = f"POST{path}?"
    text = next(prehash_variants(request, "")).removeprefix(prefix).removesuffix("&")
    return signed_headers(TRADING_KEY, "POST", path, text, ts_ms=now_ms())

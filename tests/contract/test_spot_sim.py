"""Spot of the simulated exchange over real HTTP: fields and wire types as documented, and the coins of an account."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest_asyncio
import websockets

from tests.contract.payloads import RecordedFrames
from tests.contract.recorded_products import Recorded
from tests.contract.shapes import differences
from tests.integration.exchange.harness import (
    TRADING_KEY,
    RestClient,
    RunningExchange,
    receive_until,
    small_config,
    socket_query,
)

SPOT = "/open/spot"
RECORDED = Recorded("spot")


@pytest_asyncio.fixture
async def client() -> AsyncIterator[RestClient]:
    async with RunningExchange(small_config()) as exchange:
        yield exchange.client()


async def placed(client: RestClient, **fields: Any) -> int:
    order = {"symbol": "BTCUSDT", "tradeSide": "1", "tradeType": "2", "qty": "0.1"}
    answer = await client.post(f"{SPOT}/trade/order/v1", **(order | fields))
    assert answer["code"] == 0, answer
    return int(answer["data"])


async def resting(client: RestClient, **fields: Any) -> int:
    return await placed(client, tradeType="1", price="50000", **fields)


async def coins(client: RestClient) -> dict[str, Decimal]:
    rows = (await client.data("/open/account/summary/v1"))["accounts"]
    return {row["coin"]: Decimal(row["equityAmount"]) for row in rows}


async def test_every_answer_has_the_documented_fields_and_wire_types(client: RestClient) -> None:
    await placed(client)
    wrong = []
    for endpoint, recorded in RECORDED.answers.items():
        method, _, path = endpoint.partition(" ")
        fields = await _request(client, endpoint)
        send = client.get if method == "GET" else client.post
        served = await send(path, **fields)
        wrong += [f"{endpoint} {text}" for text in differences(recorded.answer, served, recorded.leave)]
    assert not wrong, "\n".join(wrong)


async def _request(client: RestClient, endpoint: str) -> dict[str, Any]:
    match endpoint.replace(SPOT, ""):
        case "GET /market/instruments" | "GET /trade/fills/v1":
            return {}
        case "GET /market/klines":
            return {"symbol": "BTCUSDT", "interval": "60min"}
        case "POST /trade/order/v1":
            return {"symbol": "BTCUSDT", "tradeSide": "1", "tradeType": "2", "qty": "0.01"}
        case "GET /trade/order/v1":
            return {"orderId": str(await resting(client))}
        case "POST /trade/cancel/v1":
            return {"orderId": str(await resting(client))}
        case "GET /trade/orders/v1":
            await resting(client)
            return {}
        case _:
            return {"symbol": "BTCUSDT"}


class Heard:
    """One frame of each recorded form of a topic."""

    def __init__(self, recorded: RecordedFrames) -> None:
        self._recorded = recorded
        self._topic = next(iter(recorded.frames.values()))["ch"]
        self.seen: dict[str, Any] = {}

    def __call__(self, frame: dict[str, Any]) -> bool:
        if frame.get("ch") == self._topic:
            form = str(frame["tick"][self._recorded.by]) if self._recorded.by else ""
            if form in self._recorded.frames:
                self.seen.setdefault(form, frame)
        return self.seen.keys() == self._recorded.frames.keys()


async def test_every_frame_has_the_documented_fields_and_wire_types() -> None:
    wrong = []
    async with RunningExchange(small_config()) as exchange:
        client = exchange.client()
        for channel, recorded in RECORDED.frames.items():
            heard = Heard(recorded)
            topic = next(iter(recorded.frames.values()))["ch"]
            private = topic in ("order", "trade")
            path = f"spot/ws/private?{socket_query(TRADING_KEY)}" if private else "spot/ws"
            async with websockets.connect(f"ws://127.0.0.1:{exchange.port}/{path}") as websocket:
                await websocket.send(json.dumps({"sub": topic, "id": channel}))
                await receive_until(websocket, lambda frame: "subbed" in frame)
                if private:
                    order_id = await resting(client)
                    await client.post(f"{SPOT}/trade/cancel/v1", orderId=str(order_id))
                    await placed(client)
                await receive_until(websocket, heard)
            for form, frame in heard.seen.items():
                wrong += [
                    f"{channel} {form} {text}" for text in differences(recorded.frames[form], frame, recorded.leave)
                ]
    assert not wrong, "\n".join(wrong)


async def test_a_buy_brings_coins_less_the_fee_and_a_sale_brings_usdt(client: RestClient) -> None:
    before = await coins(client)
    await placed(client, qty="1", clientOrderId="5")
    held = await coins(client)
    assert held["BTC"] == Decimal("0.999")
    fills = await client.data(f"{SPOT}/trade/fills/v1", symbol="BTCUSDT")
    assert {(fill["feeCurrency"], fill["clientOrderId"]) for fill in fills} == {("BTC", "5")}
    assert sum(Decimal(fill["fee"]) for fill in fills) == Decimal("0.001")
    assert held["USDT"] < before["USDT"]
    await placed(client, tradeSide="2", qty="0.999")
    after = await coins(client)
    assert "BTC" not in after
    assert before["USDT"] * Decimal("0.99") < after["USDT"] < before["USDT"]


async def test_what_spot_does_not_have_is_refused_and_a_stale_cancel_has_its_code(client: RestClient) -> None:
    order = {"symbol": "BTCUSDT", "tradeSide": "1", "qty": "0.1", "price": "50000"}
    stop = await client.post(f"{SPOT}/trade/order/v1", **order, tradeType="4", triggerPrice="60000")
    assert stop["code"] == 10573
    order_id = await resting(client)
    assert (await client.post(f"{SPOT}/trade/cancelAll/v1", symbol="BTCUSDT"))["data"] is True
    assert (await client.post(f"{SPOT}/trade/cancel/v1", orderId=str(order_id)))["code"] == 10537
    assert (await client.post(f"{SPOT}/trade/order/v1", **(order | {"symbol": "XYZUSDT"}), tradeType="1"))[
        "code"
    ] == 10574

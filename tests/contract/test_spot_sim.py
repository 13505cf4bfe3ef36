"""Spot of the simulated exchange over real HTTP: fields and wire types as documented, and the coins of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest_asyncio

from tests.contract.recorded_products import Recorded
from tests.contract.shapes import differences
from tests.integration.exchange.harness import RestClient, RunningExchange, small_config

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

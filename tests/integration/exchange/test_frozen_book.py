"""A book that stands still: option prices repeat, everything else goes on."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.integration.exchange.harness import RunningExchange, receive_until, tradable, until
from tests.integration.exchange.test_faults import inject
from tests.integration.exchange.test_rest import rest
from tests.integration.exchange.test_socket import data_of, subscribe


async def shake(exchange: RunningExchange) -> None:
    """Move the market, so that no price can stay by chance."""
    step = exchange.server.venue.core.step
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        for path in ("market", "vol"):
            answer = await http.post(f"/sim/{path}", content=json.dumps({"base": "BTC", "pct": 0.4}))
            assert answer.status_code == 200, answer.text
    await until(lambda: exchange.server.venue.core.step > step + 1)


async def test_option_prices_repeat_until_cleared_while_orders_and_the_index_go_on(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    await inject(exchange, kind="frozen_book")

    async def seen() -> tuple[Any, Any, Any]:
        chain = await client.data("/open/option/get/v1/BTCUSD")
        detail = await client.data(f"/open/option/detail/v1/{call['symbol']}")
        index = await client.data("/open/futures/market/symbol/v1", symbol="BTCUSD")
        return chain, detail, index

    before = await seen()
    await shake(exchange)
    chain, detail, index = await seen()
    assert (chain, detail) == before[:2]
    assert index != before[2]
    assert (await rest(client, call, clientOrderId=5))["code"] == 0
    assert (await client.data("/open/option/order/pending/v1"))["total"] == 1
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        await http.delete("/sim/faults")
    assert (await seen())[0] != before[0]
    await inject(exchange, kind="frozen_book", path_prefix="/open/option/detail")
    assert (await seen())[1] != before[1]
    before = await seen()
    await shake(exchange)
    chain, detail, _ = await seen()
    assert detail == before[1]
    assert chain != before[0]


async def test_sockets_are_pushed_no_option_prices_while_the_index_and_orders_are(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    async with exchange.socket() as options, exchange.socket("futures") as futures:
        await subscribe(options, "bsInfo", {"symbol": call["symbol"]})
        await receive_until(options, data_of(3))
        await inject(exchange, kind="frozen_book")
        await subscribe(options, "order")
        await subscribe(futures, "spotPrice", {"symbol": "BTCUSD"})
        await shake(exchange)
        await receive_until(futures, data_of(30))
        assert (await rest(client, call, clientOrderId=6))["code"] == 0
        frozen = []

        def order_or_price(frame: dict[str, Any]) -> bool:
            if data_of(3)(frame):
                frozen.append(frame)
            return data_of(11)(frame)

        await receive_until(options, order_or_price)
        assert len(frozen) <= 1, "at most one was under way already"
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
            await http.delete("/sim/faults")
        await receive_until(options, data_of(3))

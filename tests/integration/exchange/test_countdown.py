"""The countdown over HTTP: for market makers, with the venue's fields and codes."""

from __future__ import annotations

from tests.integration.exchange.harness import (
    MAKER_KEY,
    RunningExchange,
    TimeMachine,
    receive_until,
    small_config,
    tradable,
)
from tests.integration.exchange.test_rest import check, rest, types
from tests.integration.exchange.test_socket import data_of, subscribe

SET, GET, BEAT = (f"/open/futures/countdown/cancel/{end}" for end in ("v1", "get/v1", "heartbeat/v1"))


async def test_it_is_unknown_to_accounts_without_the_right(exchange: RunningExchange) -> None:
    client = exchange.client()
    answers = [
        await client.raw_post(SET, symbol="BTCUSD", type=1, countdownTime=1_000),
        await client.raw_get(GET, type=1),
        await client.raw_post(BEAT, symbols="BTCUSD", type=1),
    ]
    assert {answer.status_code for answer in answers} == {404}


async def test_it_is_set_kept_fired_and_reset() -> None:
    clock = TimeMachine()
    async with RunningExchange(small_config(), now_ns=clock.now_ns) as exchange:
        client = exchange.client(MAKER_KEY)
        call = await tradable(client)
        assert (await client.post(SET, symbol="BTCUSD", type=1, countdownTime=600_000))["data"] is True
        assert (await client.post(SET, symbol="ETHUSD", type="1", countdownTime="900000"))["data"] is True
        active = await client.data(GET, type=1)
        for row in active:
            check(row, types("type int, symbol str, countdownTime int"))
        assert [(row["symbol"], row["countdownTime"]) for row in active] == [("BTCUSD", 600_000), ("ETHUSD", 900_000)]
        assert (await client.post(BEAT, symbols="BTCUSD,ETHUSD", type=1))["data"] == ["BTCUSD", "ETHUSD"]
        order_id = (await rest(client, call))["data"]
        async with exchange.socket(key=MAKER_KEY) as websocket:
            await subscribe(websocket, "order")
            clock.ahead_ns += 700_000 * 1_000_000
            push = (await receive_until(websocket, data_of(11)))["d"]
            assert (push["oid"], push["os"]) == (order_id, 3)
        assert (await rest(client, call))["code"] == 10619
        assert [row["symbol"] for row in await client.data(GET, type=1)] == ["ETHUSD"]
        assert (await client.post(BEAT, symbols="BTCUSD", type=1))["data"] == ["BTCUSD"]
        assert (await rest(client, call))["code"] == 0


async def test_what_is_missing_or_of_another_product_is_refused(exchange: RunningExchange) -> None:
    client = exchange.client(MAKER_KEY)
    assert (await client.post(SET, symbol="BTCUSD", type=1))["code"] == 10570
    assert (await client.post(SET, symbol="BTCUSD", type=2, countdownTime=5))["code"] == 10573
    assert (await client.post(SET, symbol="SOLUSD", type=1, countdownTime=5))["code"] == 10579
    assert (await client.get(GET))["code"] == 10570
    assert (await client.post(BEAT, symbols="", type=1))["code"] == 10570

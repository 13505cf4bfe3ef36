"""The WebSocket side over real sockets: handshake, acknowledgements, data frames, private pushes, slow clients."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import websockets

from tests.integration.exchange.harness import (
    OTHER_KEY,
    TRADING_KEY,
    RunningExchange,
    now_ms,
    receive_until,
    small_config,
    socket_query,
    tradable,
    until,
    with_server,
)
from tests.integration.exchange.test_rest import check, rest, types

T_OPTION = types("s str, mp lp bid ask bs as biv aiv miv delta gamma theta vega up upv cp cr v v24 oi num, ts ms")
POSITION = types(
    "s uid si str, q ap numstr, mp num, os str, im mm numstr, tim tmm str, elp num, upnl pnlbmp roibmp numstr, "
    "delta gamma vega theta rho str"
)


def data_of(data_type: int) -> Any:
    return lambda frame: frame.get("dt") == data_type


def ack_of(data_type: str, action: str = "SUBSCRIBE") -> Any:
    return lambda frame: (frame.get("action"), frame.get("dataType")) == (action, data_type)


async def subscribe(websocket: Any, data_type: str, payload: Any = None) -> Any:
    request: dict[str, Any] = {"action": "subscribe", "dataType": data_type}
    if payload is not None:
        request["payload"] = payload
    await websocket.send(json.dumps(request))
    return await receive_until(websocket, ack_of(data_type))


@pytest.mark.parametrize("name", ["apiKey", "uuid"])
@pytest.mark.parametrize("path", ["options", "futures"])
async def test_both_signature_texts_open_both_sockets(exchange: RunningExchange, name: str, path: str) -> None:
    query = socket_query(TRADING_KEY, name=name)
    async with websockets.connect(f"ws://127.0.0.1:{exchange.port}/{path}?{query}", compression=None) as websocket:
        await websocket.send('{"action":"heartbeat"}')
        assert json.loads(await websocket.recv()) == {"c": 11, "rc": 1}


async def test_a_percent_encoded_key_opens_the_socket(exchange: RunningExchange) -> None:
    query = socket_query(TRADING_KEY).replace(TRADING_KEY.api_key, quote(TRADING_KEY.api_key, safe=""))
    async with websockets.connect(f"ws://127.0.0.1:{exchange.port}/options?{query}") as websocket:
        await websocket.send('{"c":11}')
        assert json.loads(await websocket.recv())["rc"] == 1
        assert not websocket.protocol.extensions, "compression is declined"


@pytest.mark.parametrize("query", ["", "code=10", "expired", "forged"])
async def test_a_wrong_login_is_refused_with_403(exchange: RunningExchange, query: str) -> None:
    if query == "expired":
        query = socket_query(TRADING_KEY, ts_ms=now_ms() - 60_000)
    if query == "forged":
        query = socket_query(TRADING_KEY).replace("sign=", "sign=0")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{exchange.port}/options?{query}")
    assert refused.value.response.status_code == 403


async def test_the_chain_is_acknowledged_with_its_payload_and_pushed_each_second(exchange: RunningExchange) -> None:
    call = await tradable(exchange.client())
    payload = {"symbol": "BTCUSD", "end": call["endTime"]}
    async with exchange.socket() as websocket:
        ack = await subscribe(websocket, "tOption", payload)
        assert ack == {"action": "SUBSCRIBE", "dataType": "tOption", "result": "success", "payload": payload}
        stamps: list[int] = []
        async with asyncio.timeout(60):
            # on a busy machine one comes late and the next one soon after it
            while not any(700 <= after - before <= 1_600 for before, after in itertools.pairwise(stamps[1:])):
                frame = await receive_until(websocket, data_of(4))
                assert frame["c"] == 20
                for row in frame["d"]:
                    check(row, T_OPTION)
                assert call["symbol"] in {row["s"] for row in frame["d"]}
                stamps.append(frame["ts"])


async def test_an_unlisted_expiry_symbol_or_index_is_refused(exchange: RunningExchange) -> None:
    async with exchange.socket() as websocket:
        for request in (
            {"dataType": "tOption", "payload": {"symbol": "BTCUSD", "end": 1}},
            {"dataType": "orderBook", "payload": {"symbol": "BTCUSD-1JAN20-1-C"}},
        ):
            await websocket.send(json.dumps({"action": "subscribe"} | request))
            assert json.loads(await websocket.recv())["result"] == "fail"


async def test_books_details_and_index_arrive_for_several_symbols(exchange: RunningExchange) -> None:
    client = exchange.client()
    btc, eth = await tradable(client), await tradable(client, "ETH")
    async with exchange.socket() as options, exchange.socket("futures") as futures:
        await subscribe(options, "orderBook", {"symbol": [btc["symbol"], eth["symbol"]]})
        seen = {(await receive_until(options, data_of(5)))["d"]["s"] for _ in "ab"}
        assert seen == {btc["symbol"], eth["symbol"]}
        await subscribe(options, "bsInfo", {"symbol": btc["symbol"]})
        info = (await receive_until(options, data_of(3)))["d"]
        assert info["s"] == btc["symbol"]
        assert isinstance(info["mp"], str)
        assert info["oi"] == "0"
        await subscribe(futures, "spotPrice", {"symbol": ["BTCUSD", "ETHUSD"]})
        spot = (await receive_until(futures, lambda frame: frame.get("dt") == 30 and frame["d"]["s"] == "ETHUSD"))[
            "d"
        ]
        check(spot, types("s str, pr mp ip h l cp cr pr0 oi uv24 v24 num, ts ms"))


async def test_a_book_push_has_levels_as_text_best_first(exchange: RunningExchange) -> None:
    call = await tradable(exchange.client())
    async with exchange.socket() as websocket:
        await subscribe(websocket, "orderBook", {"symbol": call["symbol"]})
        book = (await receive_until(websocket, data_of(5)))["d"]
        for level in book["asks"] + book["bids"]:
            check(level, types("pr sz numstr"))
        assert Decimal(book["bids"][0]["pr"]) < Decimal(book["asks"][0]["pr"])


async def test_a_fill_is_pushed_as_order_trade_position_and_balance_to_its_account_only(
    exchange: RunningExchange,
) -> None:
    client = exchange.client()
    call = await tradable(client)
    async with exchange.socket() as websocket, exchange.socket(key=OTHER_KEY) as stranger:
        for data_type in ("order", "trade", "positionEvent", "accountBalance", "position"):
            await subscribe(websocket, data_type)
            await subscribe(stranger, data_type)
        created = await client.create(
            symbol=call["symbol"], tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2), clientOrderId=9
        )
        frames: dict[int, Any] = {}
        async with asyncio.timeout(60):
            while not {11, 12, 15, 27, 7} <= frames.keys():
                frame = json.loads(await websocket.recv(), parse_float=Decimal)
                if frame["dt"] != 11 or frame["d"]["os"] == 1:
                    frames.setdefault(frame["dt"], frame["d"])
        order = frames[11]
        assert (order["oid"], order["coid"], order["uid"]) == (created["data"], 9, "8095151726")
        assert (order["q"], order["fq"], order["rq"], order["mq"], order["it"]) == ("0.01", "0.01", "0.00", "0.01", 1)
        trade = frames[15]
        assert all(isinstance(value, str) for value in trade.values())
        assert (trade["orderId"], trade["matchQty"]) == (str(created["data"]), "0.01")
        check(frames[27], POSITION)
        assert frames[27]["os"] == "1"
        check(frames[12], POSITION)
        check(
            frames[7],
            types("uid int, ab e mb im mm dv btcv wb upnl num, delta numstr, assets list"),
        )
        await stranger.send('{"action":"heartbeat"}')
        frame = await receive_until(stranger, lambda frame: frame.get("dt") not in (7, 12))
        assert frame == {"c": 11, "rc": 1}


async def test_a_resting_order_is_pushed_new_then_cancelled(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    async with exchange.socket() as websocket:
        await subscribe(websocket, "order")
        created = await rest(client, call, clientOrderId=5)
        new = (await receive_until(websocket, data_of(11)))["d"]
        check(new, types("oid id, coid int, uid s str, q pr numstr, si ty ro os tif int, ct ts ms"))
        assert (new["oid"], new["os"], new["tif"]) == (created["data"], 0, 0)
        await client.post("/open/option/order/cancel/v1", clientOrderId=5)
        gone = (await receive_until(websocket, data_of(11)))["d"]
        assert (gone["os"], gone["cq"], gone["fq"]) == (3, "1", "0")


async def test_public_trades_reach_the_followers_of_the_option(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    async with exchange.socket(key=OTHER_KEY) as websocket:
        await subscribe(websocket, "lastTrade", {"symbol": [call["symbol"]]})
        await subscribe(websocket, "lastTradeV2", {"symbol": call["symbol"]})
        await client.create(symbol=call["symbol"], tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2))
        first = await receive_until(websocket, data_of(6))
        check(first["d"][0], types("s str, q pr numstr, sd int, ts ms"))
        second = await receive_until(websocket, data_of(24))
        assert all(isinstance(value, str) for value in second["d"][0].values())


async def test_after_unsubscribing_nothing_more_comes(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    async with exchange.socket() as websocket:
        await subscribe(websocket, "order")
        await websocket.send('{"action":"unsubscribe","dataType":"order"}')
        await receive_until(websocket, ack_of("order", "UNSUBSCRIBE"))
        await rest(client, call)
        await websocket.send("{'action':'heartbeat'}")
        assert json.loads(await websocket.recv()) == {"c": 11, "rc": 1}
    await until(lambda: not exchange.server.hub.connections)


async def test_too_many_requests_a_second_are_refused_without_closing() -> None:
    async with (
        RunningExchange(with_server(small_config(), socket_requests_per_second=5)) as exchange,
        exchange.socket() as websocket,
    ):
        for _ in range(6):
            await websocket.send('{"c":11}')
        answers = [json.loads(await websocket.recv()) for _ in range(6)]
        assert [answer.get("rc") for answer in answers] == [1] * 5 + [None]
        assert "too many request" in answers[5]["msg"]


async def test_a_connection_on_which_nothing_happens_is_dropped_and_a_heartbeat_keeps_it() -> None:
    async with (
        RunningExchange(with_server(small_config(), socket_idle_ms=4_000)) as exchange,
        exchange.socket() as idle,
        exchange.socket() as alive,
    ):

        async def beat() -> None:
            while True:
                await alive.send('{"action":"heartbeat"}')
                await asyncio.sleep(0.1)

        beating = asyncio.create_task(beat())
        with pytest.raises(websockets.ConnectionClosed):
            async with asyncio.timeout(60):
                await idle.recv()
        beating.cancel()
        await alive.send('{"action":"heartbeat"}')
        assert json.loads(await alive.recv())["rc"] == 1


async def test_the_server_sends_no_control_pings_and_answers_those_of_clients(exchange: RunningExchange) -> None:
    async with exchange.socket() as websocket:
        async with asyncio.timeout(60):
            await (await websocket.ping())
        await subscribe(websocket, "order")


async def test_a_client_that_does_not_read_is_dropped_while_others_go_on() -> None:
    config = with_server(small_config(), socket_queue_bytes_max=65_536)
    async with RunningExchange(config) as exchange:
        call = await tradable(exchange.client())
        payload = json.dumps(
            {"action": "subscribe", "dataType": "tOption", "payload": {"symbol": "BTCUSD", "end": call["endTime"]}}
        )
        slow = socket.create_connection(("127.0.0.1", exchange.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.sendall(
            f"GET /options?{socket_query(TRADING_KEY)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        await until(lambda: len(exchange.server.hub.connections) == 1)
        victim = next(iter(exchange.server.hub.connections))
        masked = bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload.encode()
        slow.setblocking(False)
        async with exchange.socket() as reader:
            await subscribe(reader, "tOption", json.loads(payload)["payload"])

            async def ask_on() -> None:
                loop = asyncio.get_running_loop()
                while victim.dropped is None:
                    await loop.sock_sendall(slow, masked)
                    await asyncio.sleep(0.02)

            asking = asyncio.create_task(ask_on())
            await until(lambda: victim.dropped is not None, timeout_s=60)
            asking.cancel()
            assert victim.dropped == "slow"
            await until(lambda: victim not in exchange.server.hub.connections)
            assert (await receive_until(reader, data_of(4)))["d"]
        slow.close()


async def test_an_order_shows_in_the_pushed_book_before_the_market_moves_again() -> None:
    async with RunningExchange(small_config(step_ms=60_000)) as exchange:
        client = exchange.client()
        call = await tradable(client)
        async with exchange.socket() as websocket:
            await subscribe(websocket, "orderBook", {"symbol": call["symbol"]})
            await receive_until(websocket, data_of(5))
            await rest(client, call, qty=7.77)
            book = (await receive_until(websocket, data_of(5)))["d"]
            assert "7.77" in {level["sz"] for level in book["bids"]}

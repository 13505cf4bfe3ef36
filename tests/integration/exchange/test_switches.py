"""What the venue leaves open, in both positions of each switch that the server knows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import websockets

from services.exchange.config import KeyConfig, RateLimitConfig
from services.exchange.server.auth import authenticate_request, authenticate_socket
from services.exchange.server.errors import ApiError
from services.exchange.switches import Switches
from tests.integration.exchange.harness import (
    MAKER_KEY,
    OTHER_KEY,
    READ_ONLY_KEY,
    RestClient,
    RunningExchange,
    StillClock,
    receive_until,
    sign_text,
    small_config,
    tradable,
    until,
)
from tests.integration.exchange.test_auth import KEY, KEYS, NOW_MS, SECRET, TAIL, request_of
from tests.integration.exchange.test_rest import rest
from tests.integration.exchange.test_socket import subscribe


def switched(**switches: Any) -> RunningExchange:
    return RunningExchange(small_config(switches=Switches(**switches)))


def code_of(signature: str, headers: dict[str, str], switches: Switches) -> int:
    given = {"x-cc-apikey": KEY, "ts": str(NOW_MS), "sign": signature} | headers
    try:
        authenticate_request(KEYS, given, request_of("GET", "/x", "", ""), NOW_MS, switches)
    except ApiError as error:
        return error.code
    return 0


@pytest.mark.parametrize("code", [4003, 10562])
def test_a_wrong_signature_has_the_configured_code(code: Any) -> None:
    switches = Switches(signature_code=code)
    assert code_of("0" * 64, {"x-req-ts-diff": "5000"}, switches) == code


@pytest.mark.parametrize(("lower_case", "code"), [(False, 4003), (True, 0)])
def test_a_signature_in_lower_case_passes_as_configured(lower_case: bool, code: int) -> None:
    signature = sign_text(SECRET, f"GET/x?{TAIL}").lower()
    switches = Switches(lower_case_signature=lower_case)
    assert code_of(signature, {"x-req-ts-diff": "5000"}, switches) == code
    login = sign_text(SECRET, f"GET/users/self/verify?apiKey={KEY}&ts={NOW_MS}").lower()
    query = f"code=10&ts={NOW_MS}&sign={login}&apiKey={KEY}"
    assert (authenticate_socket(KEYS, query, NOW_MS, switches) is not None) is lower_case


@pytest.mark.parametrize(("switch", "tail"), [("signed", "&x-req-ts-diff=5000"), ("unsigned", "")])
def test_without_a_window_header_the_text_ends_as_configured(switch: Any, tail: str) -> None:
    texts = {"signed": f"uuid={KEY}&ts={NOW_MS}&x-req-ts-diff=5000", "unsigned": f"uuid={KEY}&ts={NOW_MS}"}
    results = {
        name: code_of(sign_text(SECRET, f"GET/x?{text}"), {}, Switches(absent_window=switch))
        for name, text in texts.items()
    }
    assert texts[switch].endswith(tail)
    assert results == {name: 0 if name == switch else 4003 for name in texts}


@pytest.mark.parametrize(("window_ms", "admitted"), [(5_000, False), (60_000, True), (0, True)])
def test_an_old_socket_login_passes_as_configured(window_ms: int, admitted: bool) -> None:
    signature = sign_text(SECRET, f"GET/users/self/verify?apiKey={KEY}&ts={NOW_MS}")
    query = f"code=10&ts={NOW_MS}&sign={signature}&apiKey={KEY}"
    switches = Switches(socket_ts_window_ms=window_ms)
    assert (authenticate_socket(KEYS, query, NOW_MS + 30_000, switches) is not None) is admitted


@pytest.mark.parametrize("code", [10554, 7001])
@pytest.mark.parametrize("missing_right", ["http_404", "permission_code"])
async def test_missing_permissions_are_answered_as_configured(code: int, missing_right: str) -> None:
    async with switched(permission_code=code, missing_right=missing_right) as exchange:
        reader, trader = exchange.client(READ_ONLY_KEY), exchange.client()
        assert (await reader.create(symbol="x"))["code"] == code
        answer = await trader.raw_post("/open/option/order/batchCreate/v1", orders=[])
        if missing_right == "http_404":
            assert answer.status_code == 404
        else:
            assert (answer.status_code, answer.json()["code"]) == (200, code)


@pytest.mark.parametrize("status", [403, 401, 400])
async def test_a_refused_handshake_has_the_configured_status(status: int) -> None:
    async with switched(handshake_status=status) as exchange:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://127.0.0.1:{exchange.port}/options?code=10")
        assert refused.value.response.status_code == status
        async with exchange.socket() as websocket:
            await websocket.send('{"c":11}')
            assert json.loads(await websocket.recv())["rc"] == 1


@pytest.mark.parametrize("switch", ["frame", "ignore", "close"])
async def test_a_refused_socket_request_is_answered_as_configured(switch: str) -> None:
    async with switched(socket_error=switch) as exchange, exchange.socket() as websocket:
        await websocket.send('{"action":"subscribe","dataType":"nothing"}')
        if switch != "ignore":
            assert json.loads(await websocket.recv())["result"] == "fail"
        if switch == "close":
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await websocket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
            await until(lambda: not exchange.server.hub.connections)
        else:
            await websocket.send('{"c":11}')
            assert json.loads(await websocket.recv()) == {"c": 11, "rc": 1}


@pytest.mark.parametrize(("switch", "code"), [("refused", 10573), ("ignored", 0)])
async def test_a_client_id_that_is_no_number_is_taken_as_configured(switch: str, code: int) -> None:
    async with switched(client_order_id_text=switch) as exchange:
        client = exchange.client()
        answer = await rest(client, await tradable(client), clientOrderId="my-order")
        assert answer["code"] == code


@pytest.mark.parametrize("snapshot", [False, True])
async def test_private_channels_begin_with_what_is_there_as_configured(snapshot: bool) -> None:
    async with switched(private_snapshot=snapshot) as exchange:
        client = exchange.client()
        call = await tradable(client)
        order_id = (await rest(client, call))["data"]
        await client.create(symbol=call["symbol"], tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2))
        async with exchange.socket() as websocket:
            for channel in ("order", "positionEvent"):
                await subscribe(websocket, channel)
            await websocket.send('{"c":11}')
            frames: list[Any] = []
            await receive_until(websocket, lambda frame: frames.append(frame) or frame.get("c") == 11)
        told = [(frame["dt"], frame["d"]) for frame in frames if "dt" in frame]
        assert [code for code, _ in told] == ([27] if snapshot else [])
        async with exchange.socket() as websocket:
            await websocket.send('{"action":"subscribe","dataType":"order"}')
            await websocket.send('{"c":11}')
            frames.clear()
            await receive_until(websocket, lambda frame: frames.append(frame) or frame.get("c") == 11)
        told = [(frame["dt"], frame["d"]["oid"]) for frame in frames if "dt" in frame]
        assert told == ([(11, order_id)] if snapshot else [])


@pytest.mark.parametrize("repeat", [False, True])
async def test_an_unchanged_book_is_pushed_again_as_configured(repeat: bool) -> None:
    async with switched(repeat_books=repeat) as exchange:
        call = await tradable(exchange.client())
        hub = exchange.server.hub
        async with exchange.socket() as websocket:
            await subscribe(websocket, "orderBook", {"symbol": call["symbol"]})
            (topic,) = next(iter(hub.connections)).topics
            await until(lambda: topic in hub._books)
            assert bool(hub._render(topic, only_changed=True)) is repeat


@pytest.mark.parametrize(("switch", "sign"), [("negative", "-"), ("positive", "0")])
@pytest.mark.parametrize(("liquidation", "elp"), [("zero", 0), ("null", None)])
async def test_fee_rates_and_liquidation_prices_are_pushed_as_configured(
    switch: str, sign: str, liquidation: str, elp: int | None
) -> None:
    async with switched(fee_rate_sign=switch, option_liquidation_price=liquidation) as exchange:
        client = exchange.client()
        call = await tradable(client)
        async with exchange.socket() as websocket:
            await subscribe(websocket, "trade")
            await subscribe(websocket, "positionEvent")
            await client.create(
                symbol=call["symbol"], tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2)
            )
            frames: dict[int, Any] = {}
            while not {15, 27} <= frames.keys():
                frame = await receive_until(websocket, lambda each: "dt" in each)
                frames[frame["dt"]] = frame["d"]
        assert frames[15]["feeRate"].startswith(sign)
        assert frames[27]["elp"] == elp


@pytest.mark.parametrize("cancel", [False, True])
async def test_the_end_of_the_last_socket_of_an_account_cancels_its_orders_as_configured(cancel: bool) -> None:
    async with switched(cancel_on_disconnect=cancel) as exchange:
        client, other = exchange.client(), exchange.client(OTHER_KEY)
        for base in ("BTC", "ETH"):
            assert (await rest(client, await tradable(client, base)))["code"] == 0
        assert (await rest(other, await tradable(client)))["code"] == 0
        async with exchange.socket(), exchange.socket(key=OTHER_KEY):
            async with exchange.socket("futures"):
                await until(lambda: len(exchange.server.hub.connections) == 3)
            await until(lambda: len(exchange.server.hub.connections) == 2)
            assert len(exchange.server.venue.core.open_orders("main")) == 2
        await until(lambda: not exchange.server.hub.connections)
        await until(lambda: bool(exchange.server.venue.core.open_orders("main")) is not cancel)
        assert bool(exchange.server.venue.core.open_orders("other")) is not cancel


@pytest.mark.parametrize("switch", ["all", "nearest", "refused"])
async def test_a_chain_without_expiry_is_answered_as_configured(switch: str) -> None:
    async with switched(chain_without_end=switch) as exchange:
        client = exchange.client()
        answer = await client.get("/open/option/get/v1/BTCUSD")
        if switch == "refused":
            assert answer["code"] == 10570
            return
        expiries = {row["callOption"]["endTime"] for row in answer["data"]}
        listed = {row["expirationTimestamp"] for row in await client.data("/open/option/getInstruments/BTC")}
        assert expiries == (listed if switch == "all" else {min(listed)})


@pytest.mark.parametrize("switch", ["code_10000", "http_429"])
@pytest.mark.parametrize("scope", ["user", "key"])
async def test_a_request_too_many_is_answered_and_counted_as_configured(switch: Any, scope: Any) -> None:
    limits = RateLimitConfig(account=1)
    switches = Switches(rate_limit_answer=switch, rate_limit_scope=scope)
    config = small_config(rate_limits=limits, switches=switches)
    async with RunningExchange(config, now_ns=StillClock().now_ns) as exchange:
        answers = await asyncio.gather(*(exchange.client().raw_get("/open/user/info/v1") for _ in range(3)))
        refused = [answer for answer in answers if answer.json()["code"] == 10000]
        assert len(refused) == 2
        assert {answer.status_code for answer in refused} == {429 if switch == "http_429" else 200}
        same_user = await exchange.client(READ_ONLY_KEY).raw_get("/open/user/info/v1")
        assert (same_user.json()["code"] == 10000) is (scope == "user")
        assert (await exchange.client(MAKER_KEY).raw_get("/open/user/info/v1")).json()["code"] == 0


@pytest.mark.parametrize("penalty_ms", [0, 600_000])
async def test_a_request_too_many_closes_its_group_as_long_as_configured(penalty_ms: int) -> None:
    config = small_config(rate_limits=RateLimitConfig(account=1), switches=Switches(rate_limit_penalty_ms=penalty_ms))
    clock = StillClock()
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        client = exchange.client()

        async def code() -> int:
            return int((await client.raw_get("/open/user/info/v1")).json()["code"])

        codes = {await code() for _ in range(2)}
        assert codes == {0, 10000}
        clock.at_ns += 1_100_000_000
        assert await code() == (10000 if penalty_ms else 0)
        assert (await client.raw_get("/open/auth/user/query-api")).json()["code"] == 0


ORDER = {"tradeSide": 1, "tradeType": 1, "qty": 0.01, "price": 100}


@pytest.mark.parametrize("key_code", [10560, 2016])
@pytest.mark.parametrize("time_code", [10557, 10561])
async def test_unknown_keys_and_old_time_stamps_have_the_configured_codes(key_code: int, time_code: int) -> None:
    async with switched(unknown_key_code=key_code, expired_code=time_code) as exchange:
        stranger = exchange.client(KeyConfig(api_key="NOBODY", api_secret="x"))
        assert (await stranger.get("/open/user/info/v1"))["code"] == key_code
        late = RestClient(exchange.url, now_ns=lambda: exchange.now_ns() - 3_600 * 10**9)
        assert (await late.get("/open/user/info/v1"))["code"] == time_code
        await late.http.aclose()


@pytest.mark.parametrize(("missing", "wrong", "unknown"), [(10570, 10573, 10574), (10005, 10005, 40034)])
async def test_what_is_missing_wrong_or_not_listed_has_the_configured_code(
    missing: int, wrong: int, unknown: int
) -> None:
    codes = {"missing_parameter_code": missing, "wrong_parameter_code": wrong, "unknown_option_code": unknown}
    async with switched(**codes) as exchange:
        client = exchange.client()
        symbol = (await tradable(client))["symbol"]
        assert (await client.create(**ORDER))["code"] == missing
        assert (await client.create(**(ORDER | {"symbol": symbol, "tradeSide": 3})))["code"] == wrong
        assert (await client.create(**(ORDER | {"symbol": "BTCUSD-1JAN20-1-C"})))["code"] == unknown


@pytest.mark.parametrize("switch", ["http_200", "http_4xx"])
async def test_failures_have_the_configured_http_status(switch: str) -> None:
    async with switched(failure_status=switch) as exchange:
        client, reader = exchange.client(), exchange.client(READ_ONLY_KEY)
        stranger = exchange.client(KeyConfig(api_key="NOBODY", api_secret="x"))
        path = "/open/option/order/create/v1"
        answers = {
            401: await stranger.raw_get("/open/user/info/v1"),
            403: await reader.raw_post(path, **ORDER),
            404: await client.raw_post(path, **ORDER, symbol="BTCUSD-1JAN20-1-C"),
            400: await client.raw_post(path, **ORDER),
        }
        assert {status: answer.status_code for status, answer in answers.items()} == {
            status: status if switch == "http_4xx" else 200 for status in answers
        }
        assert all(answer.json()["code"] for answer in answers.values())
        assert (await client.raw_get("/open/user/info/v1")).status_code == 200


@pytest.mark.parametrize("code", [1008, 1000, 4001])
async def test_a_socket_that_is_closed_for_a_refused_request_has_the_configured_code(code: int) -> None:
    async with switched(socket_error="close", socket_close_code=code) as exchange, exchange.socket() as websocket:
        await websocket.send('{"action":"subscribe","dataType":"nothing"}')
        await websocket.recv()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


@pytest.mark.parametrize(("rate", "throttled"), [(200, False), (3, True)])
async def test_quotes_beyond_the_configured_rate_are_throttled_and_cancelling_all_is_not(
    rate: int, throttled: bool
) -> None:
    config = small_config(switches=Switches(quote_rate_per_s=rate))
    async with RunningExchange(config, now_ns=StillClock().now_ns) as exchange:
        maker = exchange.client(MAKER_KEY)
        root = "/open/option/blocktrade/quote"
        codes = [(await maker.post(f"{root}/create/v1", requestId="5", legs=[]))["code"] for _ in range(3)]
        codes.append((await maker.post(f"{root}/cancel/v1", quoteId="5"))["code"])
        assert 10000 not in codes[:3]
        assert (codes[3] == 10000) is throttled
        assert (await maker.form(f"{root}/cancel-all/v1"))["code"] == 0


@pytest.mark.parametrize("switch", ["map", "array"])
async def test_the_overview_of_all_pairs_has_the_configured_shape(switch: str) -> None:
    async with switched(spot_overview_all=switch) as exchange:
        client = exchange.client()
        rows = await client.data("/open/spot/market/overviewV2")
        named = rows if switch == "map" else {row["s"]: row for row in rows}
        assert isinstance(rows, dict if switch == "map" else list)
        assert {symbol: row["s"] for symbol, row in named.items()} == {"BTCUSDT": "BTCUSDT", "ETHUSDT": "ETHUSDT"}
        assert (await client.data("/open/spot/market/overviewV2", symbol="BTCUSDT"))["s"] == "BTCUSDT"

"""One contract for the payloads: the simulated exchange over real HTTP and WebSocket, and the recorded form."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from services.exchange.server.channels import CHANNELS
from services.exchange.server.conformance import channel_rows, endpoint_rows
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, simulated
from tests.contract.payloads import (
    PayloadContract,
    PayloadVenue,
    RecordedFrames,
    recorded_answers,
    recorded_frames,
)
from tests.contract.recorded_products import PRODUCTS, Recorded
from tests.contract.shapes import Leave, differences, read_json
from tests.integration.exchange.harness import (
    MAKER_KEY,
    OTHER_KEY,
    RestClient,
    RunningExchange,
    TimeMachine,
    receive_until,
    small_config,
    until,
)
from tests.integration.exchange.test_rest import resting_price
from tests.integration.exchange.test_socket import subscribe
from tests.unit.venues.servers import RestVenue, SocketVenue, raw, rest_venue, socket_venue

PARTIAL = 2
PROTECTION = {
    "indexName": "BTCUSD",
    "intervalTime": "5000",
    "frozenTime": "10000",
    "qtyLimit": "1000",
    "deltaLimit": "900",
}
RFQ = "/open/option/blocktrade"
CLIENT_ORDER_ID = 4_611_686_018_427_387_905
KEY = ApiKey(key=MAKER_KEY.api_key, secret=MAKER_KEY.api_secret)
NS_PER_MS = 1_000_000
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class SimulatedVenue:
    """A market-making account of the simulated exchange that has done one of everything."""

    def __init__(self, exchange: RunningExchange, clock: TimeMachine) -> None:
        self.exchange = exchange
        self.clock = clock
        self.since_ns = clock.now_ns() - 3_600 * 10**9
        self.client_order_id = CLIENT_ORDER_ID
        self.client: RestClient = exchange.client(MAKER_KEY)
        self.taker: RestClient = exchange.client(OTHER_KEY)
        self.gateway = CoincallGateway(simulated("127.0.0.1", exchange.port), KEY)
        self.symbol = ""
        self.expiry_ns = 0
        self.call: dict[str, Any] = {}
        self.rfq_quantity = Decimal("0.02")
        self._next_id = 1

    async def live(self) -> None:
        """Deposit, hold a position over an expiry, cancel, fill, and leave an order in the book."""
        async with httpx.AsyncClient(base_url=self.exchange.url, timeout=60) as control:
            body = {"account_id": "maker", "amount_usd": "1000"}
            assert (await control.post("/sim/transfer", json=body)).status_code == 200
        soon = await self._first_expiry(16 * 60_000)
        await self.buy(await self._near_the_money(soon))
        self.clock.travel_to(soon + 1_000)
        await until(lambda: self.exchange.server.venue.core.now_ns > soon * NS_PER_MS)
        later = await self._first_expiry(3_600_000)
        self.call = await self._near_the_money(later)
        self.symbol, self.expiry_ns = self.call["symbol"], later * NS_PER_MS
        await self.block_trade(self.client)
        await self.buy(self.call)
        await self.rest(CLIENT_ORDER_ID)
        await self.client.post("/open/futures/countdown/cancel/v1", symbol="BTCUSD", type=1, countdownTime=600_000)
        await self.gateway.start()

    async def _first_expiry(self, left_ms: int) -> int:
        """The first that is further away: in the last quarter of an hour nothing trades."""
        soonest = self.clock.now_ns() // NS_PER_MS + left_ms
        rows = await self.client.data("/open/option/get/v1/BTCUSD")
        return min(row["callOption"]["endTime"] for row in rows if row["callOption"]["endTime"] > soonest)

    async def _near_the_money(self, end_ms: int) -> dict[str, Any]:
        rows = await self.client.data("/open/option/get/v1/BTCUSD", endTime=end_ms)
        quoted = [row["callOption"] for row in rows if row["callOption"]["bid"] and row["callOption"]["ask"]]
        return min(quoted, key=lambda call: abs(call["delta"] - Decimal("0.5")))

    async def order(self, call: dict[str, Any], **fields: Any) -> int:
        self._next_id += 1
        order = {
            "symbol": call["symbol"],
            "tradeSide": 1,
            "tradeType": 1,
            "qty": 0.02,
            "clientOrderId": self._next_id,
        }
        answer = await self.client.create(**(order | fields))
        assert answer["code"] == 0, answer
        return int(answer["data"])

    async def buy(self, call: dict[str, Any]) -> None:
        await self.order(call, price=float(round(call["ask"] * Decimal("1.3"), 0)))

    async def rest(self, client_order_id: int) -> int:
        price = resting_price(self.call)
        return await self.order(self.call, qty=0.5, price=price, clientOrderId=client_order_id)

    async def trade(self) -> None:
        await self.buy(self.call)
        await self.block_trade(self.client)

    async def ask(self, client: RestClient) -> str:
        """A request for quote of a client; its id."""
        leg = {"instrumentName": self.symbol, "side": "BUY", "qty": "0.02"}
        return str((await client.post(f"{RFQ}/request/create/v1", legs=[leg]))["data"]["requestId"])

    async def quoted(self, client: RestClient, request_id: str) -> list[dict[str, Any]]:
        """The quotes of SELL on a client's request, once dealers have answered."""
        async with asyncio.timeout(60):
            while True:
                quotes = await client.data(f"{RFQ}/request/getQuotesReceived/v1", requestId=request_id)
                if sells := [quote for quote in quotes if quote["quoteSide"] == "SELL"]:
                    return sells
                await asyncio.sleep(0.02)

    async def offer(self, request_id: str) -> str:
        """A quote of ours on a request of the other account; its id."""
        legs = [{"instrumentName": self.symbol, "price": str(self.call["ask"])}]
        answer = await self.client.post(f"{RFQ}/quote/create/v1", requestId=request_id, legs=legs)
        assert answer["code"] == 0, answer
        return str(answer["data"]["quoteId"])

    async def accept(self, client: RestClient, request_id: str, quote_id: str) -> None:
        answer = await client.form(f"{RFQ}/request/accept/v1", requestId=request_id, quoteId=quote_id)
        assert answer["code"] == 0, answer

    async def block_trade(self, client: RestClient) -> None:
        """A client trades with a dealer."""
        request_id = await self.ask(client)
        await self.accept(client, request_id, (await self.quoted(client, request_id))[0]["quoteId"])

    async def _all_of_requests(self) -> None:
        """As maker: a request that is cancelled, one that we fill, one that a dealer fills; as taker: the same."""
        cancelled = await self.ask(self.taker)
        await self.offer(cancelled)
        await self.taker.form(f"{RFQ}/request/cancel/v1", requestId=cancelled)
        filled = await self.ask(self.taker)
        await self.accept(self.taker, filled, await self.offer(filled))
        away = await self.ask(self.taker)
        ours = await self.offer(away)
        dealers = [quote for quote in await self.quoted(self.taker, away) if quote["quoteId"] != ours]
        while not dealers:
            dealers = [quote for quote in await self.quoted(self.taker, away) if quote["quoteId"] != ours]
        await self.accept(self.taker, away, dealers[0]["quoteId"])
        own = await self.ask(self.client)
        await self.quoted(self.client, own)
        await self.client.form(f"{RFQ}/request/cancel/v1", requestId=own)
        await self.block_trade(self.client)

    async def answer(self, endpoint: str) -> bytes:
        method, _, path = endpoint.partition(" ")
        path = path.format(base="BTC", index="BTCUSD", symbol=self.symbol)
        fields = await self._request(endpoint)
        send = self.client.raw_get if method == "GET" else self.client.raw_post
        body: bytes = (await send(path, **fields)).content
        return body

    async def _request(self, endpoint: str) -> dict[str, Any]:
        match endpoint.rpartition("/open/")[2]:
            case "option/get/v1/{index}":
                return {"endTime": self.expiry_ns // NS_PER_MS}
            case "option/market/kline/history/v1/{symbol}":
                now = self.clock.now_ns() // NS_PER_MS
                return {"period": "d1", "start": now - 86_400_000, "end": now}
            case "option/get-delivery-prices/v1":
                return {"symbol": "BTCUSD"}
            case "option/getEstimatedExpirationPrice/v1":
                return {"index": "BTCUSD", "endTime": self.expiry_ns // NS_PER_MS}
            case "futures/market/symbol/v1":
                return {"symbol": "BTCUSD"}
            case "option/order/create/v1":
                price = resting_price(self.call)
                return {"symbol": self.symbol, "tradeSide": 1, "tradeType": 1, "qty": 0.01, "price": price}
            case "option/order/modify/v1":
                return {"symbol": self.symbol, "orderId": await self.rest(11), "qty": 0.3}
            case "option/order/cancel/v1":
                return {"orderId": await self.rest(12)}
            case "option/order/batchCancel/v1":
                return {"orderIdList": [await self.rest(13), 5]}
            case "option/order/batchCreate/v1":
                order = {"symbol": self.symbol, "tradeSide": 1, "tradeType": 1, "qty": 0.01, "timeInForce": "GTC"}
                return {"orders": [order | {"price": resting_price(self.call)}, order | {"price": 0.05}]}
            case "option/order/batchModify/v1":
                return {"orders": [{"symbol": self.symbol, "orderId": await self.rest(14), "qty": 0.3}]}
            case "option/order/pending/v1":
                # The cancels that are asked for before have emptied the book.
                await self.rest(15)
                return {}
            case "option/order/singleQuery/v1":
                return {"clientOrderId": 15}
            case "mmp/set-mmp-config/v1":
                return PROTECTION
            case "mmp/get-mmp-config/v1" | "mmp/reset-mmp/v1":
                await self.client.post("/open/mmp/set-mmp-config/v1", **PROTECTION)
                return {"indexName": "BTCUSD"}
            case "futures/countdown/cancel/v1":
                return {"symbol": "BTCUSD", "type": 1, "countdownTime": 600_000}
            case "futures/countdown/cancel/get/v1":
                return {"type": 1}
            case "futures/countdown/cancel/heartbeat/v1":
                return {"symbols": "BTCUSD", "type": 1}
            case "option/blockTrade/create/v1":
                return self._negotiated()
            case "option/blockTrade/accept/v1":
                code = (await self.taker.form("/open/option/blockTrade/create/v1", **self._negotiated()))["data"]
                return {"key": code, "role": 0, "marginMode": 1}
            case _ if "/blocktrade/" in endpoint:
                return await self._rfq_request(endpoint.rpartition("/blocktrade/")[2])
            case _:
                return {}

    def _negotiated(self) -> dict[str, Any]:
        order = {"optionName": self.symbol, "tradeSide": 1, "price": str(self.call["ask"]), "amount": "0.02"}
        return {"symbol": "BTCUSD", "orderList": json.dumps([order]), "role": 1, "marginMode": 1}

    async def _rfq_request(self, endpoint: str) -> dict[str, Any]:
        match endpoint:
            case "request/create/v1":
                return {"legs": [{"instrumentName": self.symbol, "side": "BUY", "qty": "0.02"}]}
            case "request/cancel/v1":
                return {"requestId": await self.ask(self.client)}
            case "request/getQuotesReceived/v1":
                request_id = await self.ask(self.client)
                await self.quoted(self.client, request_id)
                return {"requestId": request_id}
            case "request/accept/v1":
                request_id = await self.ask(self.client)
                quote = (await self.quoted(self.client, request_id))[0]
                return {"requestId": request_id, "quoteId": quote["quoteId"]}
            case "quote/create/v1":
                legs = [{"instrumentName": self.symbol, "price": str(self.call["ask"])}]
                return {"requestId": int(await self.ask(self.taker)), "legs": legs}
            case "quote/cancel/v1":
                return {"quoteId": await self.offer(await self.ask(self.taker))}
            case _:
                return {}

    async def frames(self, channel: str) -> Sequence[str]:
        """What one connection hears while the account does one of everything."""
        socket, data_type, code = channel.split(" ")
        (known,) = [each for each in CHANNELS if (each.socket, each.data_type) == (socket, data_type)]
        payload: dict[str, Any] = {"symbol": "BTCUSD" if socket == "futures" else self.symbol, "period": "h1"}
        if data_type == "tOption":
            payload = {"symbol": "BTCUSD", "end": self.expiry_ns // NS_PER_MS}
        texts: list[str] = []
        recorded = recorded_frames()[channel]
        wanted = set(recorded.frames)

        def collect(frame: dict[str, Any]) -> bool:
            if frame.get("dt") == int(code):
                texts.append(_encoded(frame))
                wanted.discard(str(frame["d"][recorded.by]) if recorded.by else "")
            return not wanted

        async with self.exchange.socket(socket, key=MAKER_KEY) as websocket:
            await subscribe(websocket, data_type, None if known.kind in ("account", "all") else payload)
            if int(code) in (22, 23, 28, 129, 130, 131):
                await self._all_of_requests()
            elif data_type in (
                "order",
                "trade",
                "positionEvent",
                "lastTrade",
                "lastTradeV2",
                "kline",
                "accountBalance",
            ):
                await self._one_of_everything()
            await receive_until(websocket, collect)
        return texts

    async def _one_of_everything(self) -> None:
        """An order that rests and is cancelled, one that fills in part, one that fills, a post-only that may not."""
        order_id = await self.order(self.call, qty=0.5, price=resting_price(self.call))
        await self.client.post("/open/option/order/cancel/v1", orderId=order_id)
        price = await self._fill_in_part()
        await self.order(self.call, tradeType=3, price=price + 500)
        await self.buy(self.call)
        await self.client.get("/open/option/order/cancelOpenOrders/v1/BTCUSD")

    async def _fill_in_part(self) -> float:
        """Take more than the best level has, at its price, once more whenever the market moved away in between."""
        while True:
            best = (await self.client.data(f"/open/option/order/orderbook/v1/{self.symbol}"))["asks"][0]
            price = float(best["price"])
            order_id = await self.order(self.call, qty=float(Decimal(best["size"]) + Decimal("0.5")), price=price)
            if (await self.client.data("/open/option/order/singleQuery/v1", orderId=order_id))["state"] == PARTIAL:
                return price


class RecordedVenue:
    """The recorded form, served by small servers as a venue would."""

    def __init__(self, rest: RestVenue, options: SocketVenue, futures: SocketVenue) -> None:
        self._answers = recorded_answers()
        self._frames = recorded_frames()
        self._options = options
        self.symbol = "BTCUSD-31JUL26-100000-C"
        self.expiry_ns = 1_785_484_800_000 * NS_PER_MS
        self.client_order_id = CLIENT_ORDER_ID
        self.since_ns = 1_783_500_000_000 * NS_PER_MS
        self.rfq_quantity = Decimal("0.5")
        for name, recorded in self._answers.items():
            path = name.partition(" ")[2].format(base="BTC", index="BTCUSD", symbol=self.symbol)
            if name != "GET /time":
                rest.always(path, _answering(recorded.answer))
        for venue in (options, futures):
            venue.on_subscribed = self._first_frames
        endpoints = CoincallEndpoints(rest=rest.url, ws_options=options.url, ws_futures=futures.url)
        self.gateway = CoincallGateway(endpoints, KEY)

    def _texts(self, recorded: RecordedFrames) -> list[str]:
        return [_encoded(frame) for frame in recorded.frames.values()]

    def _first_frames(self, request: dict[str, Any]) -> list[str]:
        name = request["dataType"]
        if name in ("order", "trade"):
            return []
        return [
            text for channel, each in self._frames.items() if f" {name} " in channel for text in self._texts(each)
        ]

    async def answer(self, endpoint: str) -> bytes:
        return _encoded(self._answers[endpoint].answer).encode()

    async def frames(self, channel: str) -> Sequence[str]:
        return self._texts(self._frames[channel])

    async def trade(self) -> None:
        await self._options.push(*self._texts(self._frames["options order 11"]))
        await self._options.push(*self._texts(self._frames["options trade 15"]))


def _encoded(value: Any) -> str:
    return _ENCODER.encode(value).decode()


RECORDED_AT_MS = 1_783_602_600_000


def _answering(answer: dict[str, Any]) -> Any:
    """The answer; of a list that is asked for by time, only if that time is the recorded one."""
    data = answer["data"]
    empty = answer | {"data": data | {"list": []}} if isinstance(data, dict) and "list" in data else answer

    async def handler(request: web.Request) -> web.StreamResponse:
        first = int(request.query.get("startTime", 0))
        last = int(request.query.get("endTime", RECORDED_AT_MS))
        return await raw(_encoded(answer if first <= RECORDED_AT_MS <= last else empty).encode())(request)

    return handler


class TestSimulated(PayloadContract):
    @pytest_asyncio.fixture
    async def venue(self) -> AsyncIterator[PayloadVenue]:
        clock, config = TimeMachine(time.time_ns), small_config()
        btc = config.bases[0]
        lively = msgspec.structs.replace(
            btc,
            listing=msgspec.structs.replace(btc.listing, extra_expiry_minutes=20),
            tape=msgspec.structs.replace(btc.tape, trades_per_hour=240),
        )
        config = msgspec.structs.replace(config, bases=(lively, *config.bases[1:]))
        async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
            venue = SimulatedVenue(exchange, clock)
            await venue.live()
            yield venue
            await venue.gateway.close()


class TestRecorded(PayloadContract):
    @pytest_asyncio.fixture
    async def venue(self) -> AsyncIterator[PayloadVenue]:
        async with AsyncExitStack() as stack:
            rest = await stack.enter_async_context(rest_venue())
            options, futures = [await stack.enter_async_context(socket_venue()) for _ in range(2)]
            venue = RecordedVenue(rest, options, futures)
            yield venue
            await venue.gateway.close()


def test_what_is_done_is_recorded_and_nothing_else() -> None:
    products = [Recorded(name) for name in PRODUCTS]
    answers = recorded_answers().keys() | {name for product in products for name in product.answers}
    frames = recorded_frames().keys() | {name for product in products for name in product.frames}
    assert answers == {name for name, status, _ in endpoint_rows() if status == "done"}
    assert frames == {name for name, status, _ in channel_rows() if status == "done"}


@pytest.mark.parametrize(
    ("served", "leave", "told"),
    [
        ('{"a": 1, "b": "1.5", "c": [{"d": 1.5}]}', Leave(), []),
        ('{"a": 1, "b": "x", "c": [{"d": 2}]}', Leave(), ["b: number as text expected, not text 'x'"]),
        ('{"a": 1.0, "b": "1", "c": [{"d": 2}]}', Leave(), ["a: integer expected, not number Decimal('1.0')"]),
        ('{"a": 1, "b": "1", "c": []}', Leave(), ["c: nothing to compare, the list is empty"]),
        ('{"a": 1, "b": "1", "c": [{"d": null}]}', Leave(nullable=frozenset({"c[].d"})), []),
        ('{"a": 1, "b": "1", "c": [{"d": null}]}', Leave(), ["c[].d: number expected, not null None"]),
        ('{"a": true, "b": "1", "c": [{"d": 1}]}', Leave(), ["a: integer expected, not boolean True"]),
        ('{"a": 1, "c": [{"d": 1, "e": 1}]}', Leave(), ["b: missing", "c[].e: not documented"]),
        ('{"a": 1, "c": [{"d": 1}]}', Leave(optional=frozenset({"b"})), []),
    ],
)
def test_a_difference_of_shape_is_told(served: str, leave: Leave, told: list[str]) -> None:
    recorded = read_json('{"a": 7, "b": "1", "c": [{"d": 0E-8}]}')
    assert sorted(differences(recorded, read_json(served), leave)) == told

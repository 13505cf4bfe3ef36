"""Futures of the simulated exchange over real sockets: fields and wire types as documented, and what orders do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from services.exchange.contracts import FUNDING_PERIOD_NS, next_funding_time
from services.exchange.switches import Switches
from tests.contract.payloads import RecordedFrames
from tests.contract.recorded_products import Recorded
from tests.contract.shapes import differences
from tests.integration.exchange.harness import (
    TRADING_KEY,
    RestClient,
    RunningExchange,
    TimeMachine,
    receive_until,
    small_config,
)
from tests.integration.exchange.test_socket import subscribe

FUTURES = "/open/futures"
RECORDED = Recorded("futures")
NS_PER_MS = 1_000_000
MINUTE_MS = 60_000


class Futures:
    """An account of the simulated exchange, and its clock: two days before a month end."""

    def __init__(self, exchange: RunningExchange, clock: TimeMachine) -> None:
        self.exchange = exchange
        self.clock = clock
        self.client: RestClient = exchange.client(TRADING_KEY)

    async def order(self, **fields: Any) -> Any:
        order = {"symbol": "BTCUSD", "tradeSide": 1, "tradeType": 2, "qty": "0.2"}
        return await self.client.post(f"{FUTURES}/order/create/v1", **(order | fields))

    async def placed(self, **fields: Any) -> int:
        answer = await self.order(**fields)
        assert answer["code"] == 0, answer
        return int(answer["data"])

    async def mark(self, symbol: str = "BTCUSD") -> Decimal:
        row = await self.client.data(f"{FUTURES}/market/symbol/v1", symbol=symbol)
        return Decimal(str(row["markPrice"]))

    async def resting(self, **fields: Any) -> int:
        price = (await self.mark() * Decimal("0.9")).quantize(Decimal(1))
        return await self.placed(tradeType=1, price=str(price), **fields)

    async def dated(self) -> str:
        rows = await self.client.data(f"{FUTURES}/market/symbol/v1")
        return str(next(row["symbol"] for row in rows if row["symbol"].startswith("BTCUSD-")))

    def travel(self, to_ns: int) -> None:
        self.clock.travel_to(to_ns // NS_PER_MS)


@pytest_asyncio.fixture
async def futures() -> AsyncIterator[Futures]:
    clock = TimeMachine()
    async with RunningExchange(small_config(), now_ns=clock.now_ns) as exchange:
        yield Futures(exchange, clock)


async def lived(futures: Futures) -> None:
    """Hold a perpetual over a funding and a dated future over its expiry."""
    symbol = await futures.dated()
    await futures.placed(symbol=symbol)
    await futures.placed()
    found = futures.exchange.server.venue.core.futures.find(symbol)
    assert found is not None
    assert found[1].expiry_ns is not None
    # Just past the expiry, at 08:00 UTC: a funding too.
    futures.travel(found[1].expiry_ns + 1_000_000_000)
    await futures.order(qty="0.001")


async def test_every_answer_has_the_documented_fields_and_wire_types(futures: Futures) -> None:
    await lived(futures)
    client, wrong = futures.client, []
    for endpoint, recorded in RECORDED.answers.items():
        method, _, path = endpoint.partition(" ")
        fields = await _request(futures, path)
        send = client.get if method == "GET" else client.post
        served = await send(path.format(symbol="BTCUSD"), **fields)
        wrong += [f"{endpoint} {text}" for text in differences(recorded.answer, served, recorded.leave)]
    assert not wrong, "\n".join(wrong)


async def _request(futures: Futures, path: str) -> dict[str, Any]:
    now_ms = futures.clock.now_ns() // NS_PER_MS
    match path.removeprefix(FUTURES):
        case "/market/orderbook":
            return {"symbol": "BTC-USD", "depth": 10}
        case "/market/kline/history/v2/{symbol}":
            return {"period": "h1", "start": now_ms - 3 * 3_600_000, "end": now_ms}
        case "/leverage/set/v1":
            return {"symbol": "ETHUSD", "leverage": 20}
        case "/order/create/v1":
            return {"symbol": "BTCUSD", "tradeSide": 1, "tradeType": 2, "qty": "0.01"}
        case "/order/modify/v1":
            return {"symbol": "BTCUSD", "orderId": await futures.resting(), "qty": "0.1"}
        case "/order/cancel/v1":
            return {"orderId": await futures.resting()}
        case "/order/batchCancel/v1":
            return {"orderIdList": [await futures.resting(), 5]}
        case "/order/pending/v1":
            await futures.resting()
            trigger = (await futures.mark() * Decimal("1.1")).quantize(Decimal(1))
            await futures.placed(tradeType=5, triggerPrice=str(trigger))
            return {"symbol": "BTCUSD"}
        case "/order/singleQuery/v1":
            return {"orderId": await futures.resting()}
        case "/leverage/current/v1" | "/market/premiumIndexHistory/v1":
            return {"symbol": "BTCUSD"}
        case "/order/history/v1" | "/trade/history/v1":
            return {"pageSize": 20}
        case "/open/settle/future/record/v1":
            return {"symbol": "BTCUSD"}
        case _:
            return {}


class Heard:
    """The first frame of each form of a channel."""

    def __init__(self, code: int, recorded: RecordedFrames) -> None:
        self._code = code
        self._recorded = recorded
        self.seen: dict[str, dict[str, Any]] = {}

    def __call__(self, frame: dict[str, Any]) -> bool:
        """Whether all forms have been heard."""
        by = self._recorded.by
        if frame.get("dt") == self._code:
            form = str(frame["d"][by]) if by else ""
            if form in self._recorded.frames:
                self.seen.setdefault(form, frame)
        return self.seen.keys() == self._recorded.frames.keys()


async def test_every_frame_has_the_documented_fields_and_wire_types(futures: Futures) -> None:
    wrong = []
    await futures.placed()
    for channel, recorded in RECORDED.frames.items():
        _, data_type, code = channel.split(" ")
        heard = Heard(int(code), recorded)
        is_private = data_type in ("order", "trade", "position", "positionEvent")
        async with futures.exchange.socket("futures", key=TRADING_KEY) as websocket:
            await subscribe(websocket, data_type, None if is_private else {"symbol": "BTCUSD", "period": "h1"})
            if is_private or data_type.startswith("lastTrade"):
                order_id = await futures.resting()
                await futures.client.post(f"{FUTURES}/order/cancel/v1", orderId=order_id)
                trigger = (await futures.mark() * Decimal("0.8")).quantize(Decimal(1))
                await futures.placed(tradeSide=2, tradeType=4, price=str(trigger), triggerPrice=str(trigger))
                await futures.placed()
            await receive_until(websocket, heard)
        for form, frame in heard.seen.items():
            expected = recorded.frames[form]
            wrong += [f"{channel} {form} {text}" for text in differences(expected, frame, recorded.leave)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("shown", [True, False])
async def test_a_stop_order_that_waits_is_among_the_open_ones_as_configured(shown: bool) -> None:
    clock = TimeMachine()
    config = small_config(switches=Switches(pending_stops=shown))
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        futures = Futures(exchange, clock)
        resting = await futures.resting()
        trigger = (await futures.mark() * Decimal("1.1")).quantize(Decimal(1))
        waiting = await futures.placed(tradeType=5, triggerPrice=str(trigger))
        rows = (await futures.client.data(f"{FUTURES}/order/pending/v1"))["list"]
        assert [row["orderId"] for row in rows] == ([waiting, resting] if shown else [resting])
        found = await futures.client.data(f"{FUTURES}/order/singleQuery/v1", orderId=waiting)
        assert (found["orderId"], found["state"]) == (waiting, -2)


@pytest.mark.parametrize("code", ["D", "E"])
async def test_the_position_of_a_dated_future_has_the_configured_contract_code(code: Any) -> None:
    clock = TimeMachine()
    config = small_config(switches=Switches(dated_contract_code=code))
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        futures = Futures(exchange, clock)
        dated = await futures.dated()
        async with exchange.socket("futures") as websocket:
            await subscribe(websocket, "position")
            await futures.placed(symbol=dated)
            await futures.placed()
            for symbol, expected in ((dated, code), ("BTCUSD", "E")):
                frame = await receive_until(
                    websocket, lambda each, symbol=symbol: each.get("dt") == 36 and each["d"]["s"] == symbol
                )
                assert frame["d"]["ctp"] == expected


async def test_funding_is_charged_once_and_told(futures: Futures) -> None:
    await futures.placed(qty="1")
    due_ns = next_funding_time(futures.clock.now_ns())
    futures.travel(due_ns + 1_000_000_000)
    await futures.order(qty="0.001")
    (row,) = (await futures.client.data("/open/settle/future/latestRecord/v1", symbol="BTCUSD"))["list"]
    rates = await futures.client.data(
        f"{FUTURES}/market/premiumIndexHistory/v1", symbol="BTCUSD", endTime=due_ns // NS_PER_MS - MINUTE_MS
    )
    assert row["ctime"] == due_ns // NS_PER_MS
    assert Decimal(str(row["fundRate"])) == Decimal(rates["records"][0]["fundingRate"])
    (public,) = await futures.client.data("/open/public/fundingRate/v1", symbol="BTCUSD")
    assert public["nextFundingTime"] == (due_ns + FUNDING_PERIOD_NS) // NS_PER_MS


async def test_a_repeated_client_order_id_and_a_stale_cancel_have_the_venues_codes(futures: Futures) -> None:
    order_id = await futures.resting(clientOrderId=77)
    again = await futures.order(tradeType=1, price="50000", clientOrderId=77)
    assert again["code"] == 10577
    assert (await futures.client.post(f"{FUTURES}/order/cancel/v1", clientOrderId=77))["code"] == 0
    assert (await futures.client.post(f"{FUTURES}/order/cancel/v1", orderId=order_id))["code"] == 10537
    assert (await futures.client.post(f"{FUTURES}/order/cancel/v1", orderId=5))["code"] == 10584
    option_side = await futures.client.get("/open/option/order/singleQuery/v1", orderId=order_id)
    assert option_side["code"] == 10584

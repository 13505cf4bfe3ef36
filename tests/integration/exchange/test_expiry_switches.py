"""What the venue leaves open about dated futures, stop orders, expiries and funding, over HTTP and WebSocket."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.exchange.contracts import next_funding_time
from services.exchange.server.config import ExchangeServiceConfig
from services.exchange.switches import Switches
from shared.options.instruments import future_expiry_ns
from tests.integration.exchange.harness import (
    RunningExchange,
    TimeMachine,
    receive_until,
    small_config,
    tradable,
)
from tests.integration.exchange.test_rest import resting_price
from tests.integration.exchange.test_socket import subscribe

FUTURES = "/open/futures"


def config_of(**switches: Any) -> ExchangeServiceConfig:
    return small_config(switches=Switches(**switches))


async def frames_until_ack(websocket: Any) -> list[dict[str, Any]]:
    """What was pushed before the answer to a heartbeat."""
    await websocket.send('{"c":11}')
    frames: list[dict[str, Any]] = []
    await receive_until(websocket, lambda frame: frames.append(frame) or frame.get("c") == 11)  # type: ignore[func-returns-value]
    return [frame for frame in frames if "dt" in frame]


@pytest.mark.parametrize("order_state", [10, 3])
@pytest.mark.parametrize(("position_state", "shown"), [("closed", "5"), ("open", "1")])
async def test_what_an_expiry_ends_is_pushed_with_the_configured_states(
    order_state: int, position_state: str, shown: str
) -> None:
    clock = TimeMachine()
    config = config_of(expired_order_state=order_state, expired_position_state=position_state)
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        # What expires next, before the market has moved at another expiry.
        rows = await client.data("/open/option/get/v1/BTCUSD")
        calls = [row["callOption"] for row in rows if row["callOption"]]
        soonest = min(each["endTime"] for each in calls)
        call = min(
            (each for each in calls if each["endTime"] == soonest and each["bid"] and each["ask"]),
            key=lambda each: abs(each["delta"] - Decimal("0.5")),
        )
        order = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 0.01}
        assert (await client.create(**order, price=float(call["ask"] * 2)))["code"] == 0
        resting = await client.create(**order, price=resting_price(call))
        assert resting["code"] == 0
        async with exchange.socket() as websocket:
            for channel in ("order", "positionEvent"):
                await subscribe(websocket, channel)
            clock.travel_to(int(call["endTime"]) + 1_000)
            order_frame = await receive_until(websocket, lambda frame: frame.get("dt") == 11)
            position_frame = await receive_until(websocket, lambda frame: frame.get("dt") == 27)
        assert (order_frame["d"]["oid"], order_frame["d"]["os"]) == (resting["data"], order_state)
        assert (position_frame["d"]["os"], position_frame["d"]["q"]) == (shown, "0")
        seen = await client.data("/open/option/order/singleQuery/v1", orderId=resting["data"])
        assert seen["state"] == order_state
        assert await client.data("/open/option/position/get/v1") == []


@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_a_position_is_held_until_its_expiry_is_settled(delay_ms: int) -> None:
    clock = TimeMachine()
    async with RunningExchange(config_of(settlement_delay_ms=delay_ms), now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        call = await tradable(client)
        order = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 0.01}
        assert (await client.create(**order, price=float(call["ask"] * 2)))["code"] == 0
        clock.travel_to(int(call["endTime"]) + 1_000)
        refused = await client.create(**order, price=1)
        held = await client.data("/open/option/position/get/v1")
        assert (refused["code"], len(held)) == ((10620, 1) if delay_ms else (10574, 0))
        assert (await client.get("/open/option/get/v1/BTCUSD"))["code"] == 0
        clock.travel_to(int(call["endTime"]) + delay_ms + 1_000)
        assert (await client.create(**order, price=1))["code"] == 10574
        assert await client.data("/open/option/position/get/v1") == []
        (row,) = (await client.data("/open/settle/exercise/history/v1"))["list"]
        assert row["symbol"] == call["symbol"]


@pytest.mark.parametrize("pushes", [True, False])
async def test_a_funding_is_pushed_as_configured(pushes: bool) -> None:
    clock = TimeMachine()
    # Nothing is listed or settled at midnight, when this funding is due.
    async with RunningExchange(config_of(funding_pushes=pushes), now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        order = {"symbol": "BTCUSD", "tradeSide": 1, "tradeType": 2, "qty": "0.2"}
        assert (await client.post(f"{FUTURES}/order/create/v1", **order))["code"] == 0
        due_ns = next_funding_time(clock.now_ns())
        async with exchange.socket("futures") as websocket:
            await subscribe(websocket, "positionEvent")
            clock.travel_to(due_ns // 1_000_000 + 1_000)
            # A command, which moves the market to its time.
            await client.post(f"{FUTURES}/order/cancel/v1", orderId=5)
            (paid,) = (await client.data("/open/settle/future/latestRecord/v1", symbol="BTCUSD"))["list"]
            told = await frames_until_ack(websocket)
        assert paid["ctime"] == due_ns // 1_000_000
        assert bool([frame for frame in told if frame["dt"] == 46]) is pushes


@pytest.mark.parametrize("state", [-2, -1])
async def test_a_stop_order_that_waits_shows_the_configured_state(state: int) -> None:
    async with RunningExchange(config_of(waiting_stop_state=state)) as exchange:
        client = exchange.client()
        mark = (await client.data(f"{FUTURES}/market/symbol/v1", symbol="BTCUSD"))["markPrice"]
        stop = {
            "symbol": "BTCUSD",
            "tradeSide": 2,
            "tradeType": 5,
            "qty": "0.2",
            "triggerPrice": str(round(mark / 2)),
        }
        async with exchange.socket("futures") as websocket:
            await subscribe(websocket, "order")
            placed = await client.post(f"{FUTURES}/order/create/v1", **stop)
            frame = await receive_until(websocket, lambda each: each.get("dt") == 35)
        assert frame["d"]["os"] == state
        assert (await client.data(f"{FUTURES}/order/singleQuery/v1", orderId=placed["data"]))["state"] == state


@pytest.mark.parametrize(("position_state", "shown"), [("closed", "2"), ("open", "1")])
@pytest.mark.parametrize(("form", "prefix"), [("plain", "BTCUSD-"), ("padded", "BTCUSD-"), ("usdt", "BTCUSDT-")])
async def test_a_dated_future_is_named_listed_and_delivered_as_configured(
    form: str, prefix: str, position_state: str, shown: str
) -> None:
    clock = TimeMachine()
    switches = {"dated_symbol": form, "dated_cycle": "weeks_and_quarters", "expired_position_state": position_state}
    async with RunningExchange(config_of(**switches, dated_settlement="last"), now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        rows = await client.data(f"{FUTURES}/market/symbol/v1")
        dated = [row for row in rows if row["symbol"].startswith(prefix)]
        symbol = dated[0]["symbol"]
        assert (dated[0]["baseToken"], dated[0]["displayName"][:8]) == ("BTC", "BTCUSDT ")
        # The first is that of the Friday two days ahead.
        assert future_expiry_ns(symbol) - clock.now_ns() < 2 * 86_400 * 10**9
        order = {"symbol": symbol, "tradeSide": 1, "tradeType": 2, "qty": "0.2"}
        assert (await client.post(f"{FUTURES}/order/create/v1", **order))["code"] == 0
        (held,) = await client.data(f"{FUTURES}/position/get/v1")
        assert (held["symbol"], held["baseToken"]) == (symbol, "BTC")
        assert (await client.data(f"{FUTURES}/order/orderbook/v1/{symbol}"))["bids"]
        async with exchange.socket("futures") as websocket:
            await subscribe(websocket, "positionEvent")
            clock.travel_to(future_expiry_ns(symbol) // 1_000_000 + 1_000)
            ended = await receive_until(websocket, lambda frame: frame.get("dt") == 46 and frame["d"]["q"] == "0")
        assert (ended["d"]["s"], ended["d"]["os"]) == (symbol, shown)
        assert await client.data(f"{FUTURES}/position/get/v1") == []


@pytest.mark.parametrize("shown", [True, False])
async def test_dated_futures_are_among_the_instruments_by_ticker_as_configured(shown: bool) -> None:
    async with RunningExchange(config_of(dated_tickers=shown)) as exchange:
        client = exchange.client()
        rows = await client.data(f"{FUTURES}/market/instruments/v1")
        kinds = {row["ticker_id"]: row["product_type"] for row in rows}
        dated = {ticker for ticker, kind in kinds.items() if kind == "Future"}
        assert {ticker for ticker, kind in kinds.items() if kind == "Perpetual"} == {"BTC-USD", "ETH-USD"}
        assert bool(dated) is shown
        for ticker in dated:
            assert ticker.count("-") == 2
            book = await client.data(f"{FUTURES}/market/orderbook", symbol=ticker)
            assert (book["symbol"], len(book["bids"])) == (ticker, 1)

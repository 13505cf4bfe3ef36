"""Public trades and k-lines over HTTP and WebSocket: one tape, whoever tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from services.exchange.config import TapeConfig
from services.exchange.server.config import ExchangeServiceConfig
from shared.runner import MemoryJournal
from tests.integration.exchange.harness import (
    RunningExchange,
    TimeMachine,
    now_ms,
    receive_until,
    small_config,
    tradable,
)
from tests.integration.exchange.test_rest import check, types
from tests.integration.exchange.test_socket import data_of, subscribe

KLINES, LAST_TRADES = "/open/option/market/kline/history/v1", "/open/option/trade/lasttrade/v1"
KLINE = types("open close low high volume num, time ms, period str")
LAST_TRADE = types("symbol displayName str, price qty numstr, time ms, tradeSide int")
KLINE_PUSH = types("s pe str, open high low close v num, ts ms")
LAST_TRADE_PUSH = types("s str, q pr numstr, sd int, ts ms")
LAST_TRADE_V2_PUSH = types("matchPrice matchQty matchValue numstr, symbol tradeId tradeSide tradeTime str")
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
# The days of 1970 began with a Thursday.
MONDAY_MORNING_MS = 4 * 24 * HOUR_MS + 10 * HOUR_MS


def next_monday_ms() -> int:
    """10:00 UTC of the next Monday: no expiry and no end of a day is near."""
    return (now_ms() - MONDAY_MORNING_MS) // WEEK_MS * WEEK_MS + WEEK_MS + MONDAY_MORNING_MS


def on_monday() -> TimeMachine:
    clock = TimeMachine()
    clock.travel_to(next_monday_ms())
    return clock


def later(clock: TimeMachine, hours: int) -> None:
    clock.ahead_ns += hours * HOUR_MS * 1_000_000


def quiet_config() -> ExchangeServiceConfig:
    """Nobody but the clients of the test trades."""
    config = small_config()
    return replace(config, bases=tuple(replace(base, tape=TapeConfig(trades_per_hour=0)) for base in config.bases))


def busy_config(**switches: Any) -> ExchangeServiceConfig:
    config = small_config()
    bases = tuple(replace(base, tape=TapeConfig(trades_per_hour=240)) for base in config.bases)
    return replace(config, bases=bases, switches=replace(config.switches, **switches))


@pytest_asyncio.fixture
async def busy() -> AsyncIterator[tuple[RunningExchange, TimeMachine]]:
    """An exchange with a lively tape whose market is five hours old."""
    clock = on_monday()
    exchange = RunningExchange(busy_config(last_trades_count=1_000), now_ns=clock.now_ns)
    later(clock, 5)
    async with exchange:
        yield exchange, clock


async def test_last_trades_and_bars_of_an_option_agree(busy: tuple[RunningExchange, TimeMachine]) -> None:
    exchange, clock = busy
    client = exchange.client()
    symbol = (await tradable(client))["symbol"]
    read_ms = clock.now_ns() // 1_000_000
    trades = await client.data(f"{LAST_TRADES}/{symbol}")
    assert 50 < len(trades) <= 1_000
    for trade in trades:
        check(trade, LAST_TRADE)
        assert trade["symbol"] == symbol
        assert trade["tradeSide"] in (1, 2)
    stamps = [trade["time"] for trade in trades]
    assert stamps == sorted(stamps, reverse=True)
    start, end = stamps[-1] // 60_000 * 60_000 + 60_000, clock.now_ns() // 1_000_000
    bars = await client.data(f"{KLINES}/{symbol}", period="m1", start=start, end=end)
    for bar in bars:
        check(bar, KLINE)
        assert bar["period"] == "M1"
        inside = [Decimal(trade["price"]) for trade in trades if trade["time"] // 60_000 * 60_000 == bar["time"]]
        if bar["time"] + 60_000 > read_ms:
            continue  # a trade after the reading may be in it
        assert [bar["close"], bar["open"]] == [inside[0], inside[-1]]
        assert (bar["high"], bar["low"]) == (max(inside), min(inside))
    assert [bar["time"] for bar in bars] == sorted(bar["time"] for bar in bars)
    detail = await client.data(f"/open/option/detail/v1/{symbol}")
    assert detail["lastPrice"] > 0
    assert detail["volume"] >= sum(bar["volume"] for bar in bars if bar["time"] >= end // 86_400_000 * 86_400_000)


async def test_periods_in_any_case_and_a_limit_of_one_give_several_bars(
    busy: tuple[RunningExchange, TimeMachine],
) -> None:
    exchange, clock = busy
    client = exchange.client()
    symbol = (await tradable(client))["symbol"]
    now = clock.now_ns() // 1_000_000
    span = {"start": now - 6 * HOUR_MS, "end": now}
    lower = await client.data(f"{KLINES}/{symbol}", period="h1", **span)
    upper = await client.data(f"{KLINES}/{symbol}", period="H1", limit=1, **span)
    assert len(lower) >= 3
    assert [bar["time"] for bar in upper[:-1]] == [bar["time"] for bar in lower[:-1]]
    assert {bar["period"] for bar in upper} == {"H1"}
    newest = await client.data(f"{KLINES}/{symbol}", period="h1", limit=3, **span)
    assert [bar["time"] for bar in newest] == [
        bar["time"] for bar in lower if bar["time"] > span["end"] // HOUR_MS * HOUR_MS - 3 * HOUR_MS
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"period": "h2"}, 10573),
        ({"period": ""}, 10570),
        ({"start": ""}, 10570),
        ({"start": 2, "end": 1}, 10573),
        ({"end": 10**18}, 10573),
        ({"limit": 0}, 10573),
    ],
)
async def test_a_wrong_question_for_bars_is_refused(
    exchange: RunningExchange, changes: dict[str, Any], code: int
) -> None:
    client = exchange.client()
    symbol = (await tradable(client))["symbol"]
    answer = await client.get(f"{KLINES}/{symbol}", **({"period": "h1", "start": 1, "end": 2} | changes))
    assert answer["code"] == code


async def test_bars_and_trades_of_an_unlisted_option_are_refused(exchange: RunningExchange) -> None:
    client = exchange.client()
    for path in (f"{KLINES}/BTCUSD-1JAN20-1-C", f"{LAST_TRADES}/BTCUSD-1JAN20-1-C"):
        assert (await client.get(path, period="h1", start=1, end=2))["code"] == 10574


async def test_the_list_of_trades_has_the_configured_order_and_length() -> None:
    clock = on_monday()
    config = busy_config(last_trades_order="oldest_first", last_trades_count=7)
    exchange = RunningExchange(config, now_ns=clock.now_ns)
    later(clock, 5)
    async with exchange:
        client = exchange.client()
        trades = await client.data(f"{LAST_TRADES}/{(await tradable(client))['symbol']}")
    assert len(trades) == 7
    assert [trade["time"] for trade in trades] == sorted(trade["time"] for trade in trades)


async def test_prints_and_bars_are_pushed_as_they_are_told_by_rest(
    busy: tuple[RunningExchange, TimeMachine],
) -> None:
    exchange, clock = busy
    client = exchange.client()
    symbols = [option["symbolName"] for option in await client.data("/open/option/getInstruments/BTC")][:100]
    async with exchange.socket() as websocket:
        ack = await subscribe(websocket, "kline", {"symbol": symbols, "period": "D1"})
        assert ack["payload"] == {"symbol": symbols, "period": "D1"}
        await subscribe(websocket, "lastTrade", {"symbol": symbols})
        await subscribe(websocket, "lastTradeV2", {"symbol": symbols})
        frames: dict[int, list[Any]] = {2: [], 6: [], 24: []}
        async with asyncio.timeout(60):
            while not all(frames.values()):
                frame = json.loads(await websocket.recv(), parse_float=Decimal)
                if frame.get("dt") in frames:
                    frames[frame["dt"]].append(frame)
                clock.ahead_ns += 20_000_000_000
        pushed = frames[6][0]
        (trade,) = pushed["d"]
        check(trade, LAST_TRADE_PUSH)
        assert pushed["ts"] == trade["ts"]
        (second,) = frames[24][0]["d"]
        check(second, LAST_TRADE_V2_PUSH)
        assert Decimal(second["matchValue"]) == Decimal(second["matchPrice"]) * Decimal(second["matchQty"])
        for bar in frames[2]:
            check(bar["d"], KLINE_PUSH)
            assert bar["d"]["pe"] == "D1"
        listed = await client.data(f"{LAST_TRADES}/{trade['s']}")
        shown = {(row["time"], row["price"], row["qty"], row["tradeSide"]) for row in listed}
        assert (trade["ts"], trade["pr"], trade["q"], trade["sd"]) in shown


async def test_a_clients_trade_moves_the_pushed_bar_and_unsubscribing_ends_it() -> None:
    clock = on_monday()
    async with RunningExchange(quiet_config(), now_ns=clock.now_ns) as exchange:
        await _follow_a_bar(exchange, clock)


async def _follow_a_bar(exchange: RunningExchange, clock: TimeMachine) -> None:
    client = exchange.client()
    call = await tradable(client)
    symbol = call["symbol"]
    async with exchange.socket() as websocket:
        await subscribe(websocket, "kline", {"symbol": symbol, "period": "h1"})
        await client.create(symbol=symbol, tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2))
        bar = (await receive_until(websocket, data_of(2)))["d"]
        bars = await client.data(f"{KLINES}/{symbol}", period="h1", start=bar["ts"], end=clock.now_ns() // 1_000_000)
        assert [bar[name] for name in ("open", "high", "low", "close", "v", "ts")] == [
            bars[-1][name] for name in ("open", "high", "low", "close", "volume", "time")
        ]
        await websocket.send(
            json.dumps({"action": "unSubscribe", "dataType": "kline", "payload": {"symbol": symbol}})
        )
        await receive_until(websocket, lambda frame: frame.get("action") == "UNSUBSCRIBE")
        await client.create(symbol=symbol, tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2))
        await subscribe(websocket, "accountBalance")
        later = [(await receive_until(websocket, lambda frame: "dt" in frame))["dt"] for _ in range(3)]
        assert 2 not in later


async def test_a_period_that_does_not_exist_is_refused(exchange: RunningExchange) -> None:
    symbol = (await tradable(exchange.client()))["symbol"]
    async with exchange.socket() as websocket:
        for payload in ({"symbol": symbol}, {"symbol": symbol, "period": "h2"}, {"period": "h1"}):
            await websocket.send(json.dumps({"action": "subscribe", "dataType": "kline", "payload": payload}))
            assert json.loads(await websocket.recv())["result"] == "fail"


async def test_trades_and_bars_of_the_past_are_the_same_after_a_restart() -> None:
    journal, clock = MemoryJournal(), on_monday()
    config = busy_config()

    async def told(exchange: RunningExchange, symbol: str, end_ms: int) -> Any:
        client = exchange.client()
        trades = await client.data(f"{LAST_TRADES}/{symbol}")
        bars = await client.data(f"{KLINES}/{symbol}", period="m5", start=end_ms - 4 * HOUR_MS, end=end_ms)
        return [trade for trade in trades if trade["time"] <= end_ms], bars[:-1]

    first = RunningExchange(config, journal, clock.now_ns)
    later(clock, 5)
    async with first:
        call = await tradable(first.client())
        symbol = call["symbol"]
        await first.client().create(symbol=symbol, tradeSide=1, tradeType=1, qty=0.01, price=float(call["ask"] * 2))
        end_ms = clock.now_ns() // 1_000_000
        trades, bars = await told(first, symbol, end_ms)
    async with RunningExchange(config, journal, clock.now_ns) as second:
        again, bars_again = await told(second, symbol, end_ms)
    assert len(bars) > 20
    assert bars_again == bars
    assert again == trades[: len(again)]
    assert len(again) > 50

"""The exchange as a process of a desk: killed and started again on the same run directory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import websockets

from services.exchange.config import KeyConfig
from shared.secrets import ensure_paper_secrets
from tests.integration.exchange.harness import RestClient, socket_query, tradable
from tests.integration.exchange.test_rest import crossing_price, rest

CONFIG = """
[desk]
venue = "{venue}"
underlyings = ["BTCUSD", "ETHUSD"]

[exchange]
paper_balance_usd = "250000"
paper_rights = ["market_maker"]
rate_limits = {{ orders = 1000, queries = 1000, account = 1000 }}
"""


class ExchangeProcess:
    """`python -m services.exchange` in a run directory of its own."""

    def __init__(self, directory: Path, venue: str = "sim", more: str = "") -> None:
        """`more` is TOML that follows the exchange's own section."""
        self._directory = directory
        self._config = directory / "voldesk.toml"
        self._config.write_text(CONFIG.format(venue=venue) + more)
        self.run_dir = directory / "run"
        self.run_dir.mkdir()
        key = next(key for key in ensure_paper_secrets(self.run_dir, "main") if not key.read_only)
        self.key = KeyConfig(api_key=key.key, api_secret=key.secret)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = os.environ | {"VOLDESK_CONFIG": str(self._config), "VOLDESK_RUN_DIR": str(self.run_dir)}
        environment.pop("TRADING_ENVIRONMENT", None)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.exchange"], env=environment, stdout=log, stderr=log
            )

    async def client(self) -> RestClient:
        """A client, once the server answers."""
        assert self.process is not None
        async with asyncio.timeout(60):
            while True:
                assert self.process.poll() is None, self.log.read_text()
                ports = self.run_dir / "ports.json"
                if ports.exists():
                    client = RestClient(f"http://127.0.0.1:{json.loads(ports.read_text())['exchange']}", self.key)
                    try:
                        await client.data("/time")
                    except httpx.HTTPError:
                        await client.http.aclose()
                    else:
                        return client
                await asyncio.sleep(0.05)

    @property
    def log(self) -> Path:
        return self._directory / "exchange.log"

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[ExchangeProcess]:
    exchange = ExchangeProcess(tmp_path)
    yield exchange
    if exchange.process is not None and exchange.process.poll() is None:
        exchange.end(signal.SIGKILL)


async def books(client: RestClient) -> dict[str, Any]:
    """What must survive: open orders, order history, fills, positions and cash. Marks move and are left out."""
    pending = (await client.data("/open/option/order/pending/v1", pageSize=500))["list"]
    history = (await client.data("/open/option/order/history/v1", pageSize=500))["list"]
    fills = (await client.data("/open/option/trade/history/v1", pageSize=500))["list"]
    positions = await client.data("/open/option/position/get/v1")
    summary = await client.data("/open/account/summary/v1")
    return {
        "open": {(row["orderId"], row["clientOrderId"], row["qty"], row["fillQty"]) for row in pending},
        "closed": {(row["orderId"], row["state"], row["fillQty"], row["fee"]) for row in history},
        "fills": {(row["tradeId"], row["orderId"], row["qty"], row["price"], row["fee"]) for row in fills},
        "positions": {(row["symbol"], row["tradeSide"], row["qty"], row["avgPrice"]) for row in positions},
        "cash": summary["accounts"][0]["cashBalanceAmount"],
    }


async def test_orders_fills_positions_and_cash_survive_a_kill(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    call = await tradable(client)
    for number in range(3):
        assert (await rest(client, call, clientOrderId=100 + number))["code"] == 0
    taker = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 0.02}
    bought = await client.create(**taker, price=crossing_price(call), clientOrderId=200)
    assert bought["code"] == 0, bought
    await client.post("/open/option/order/cancel/v1", clientOrderId=102)
    before = await books(client)
    assert len(before["open"]) == 2
    assert before["fills"]
    assert before["cash"] < Decimal(250_000)
    assert desk.end(signal.SIGKILL) == -signal.SIGKILL
    await client.http.aclose()

    desk.start()
    client = await desk.client()
    assert await books(client) == before
    assert (await client.post("/open/option/order/cancel/v1", clientOrderId=100))["code"] == 0
    assert (await rest(client, call, clientOrderId=101))["code"] == 10577
    created = await rest(client, call, clientOrderId=103)
    assert created["data"] > max(row[0] for row in before["open"] | before["closed"])
    await client.http.aclose()
    assert desk.end(signal.SIGTERM) == 0


async def test_every_order_answered_before_a_kill_in_full_flight_is_there_after_it(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    call = await tradable(client)
    answered: dict[int, int] = {}

    async def place_forever(first: int) -> None:
        for client_order_id in range(first, first + 45):
            created = await rest(client, call, clientOrderId=client_order_id, qty=0.01)
            assert created["code"] == 0, created
            answered[client_order_id] = created["data"]

    async with asyncio.timeout(60):
        workers = [asyncio.create_task(place_forever(first)) for first in (1_000, 2_000, 3_000, 4_000)]
        while len(answered) < 40 and not any(worker.done() for worker in workers):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        desk.end(signal.SIGKILL)
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
    assert any(isinstance(outcome, httpx.HTTPError) for outcome in outcomes), outcomes
    await client.http.aclose()

    desk.start()
    client = await desk.client()
    rows = (await client.data("/open/option/order/pending/v1", pageSize=500))["list"]
    found = {row["clientOrderId"]: row["orderId"] for row in rows}
    assert answered.items() <= found.items()
    assert len(found) - len(answered) <= len(workers), "at most the orders in flight are there unanswered"
    await client.http.aclose()


async def test_the_index_goes_on_along_the_same_path_after_a_restart(desk: ExchangeProcess) -> None:
    async def market(client: RestClient) -> tuple[set[str], Decimal]:
        rows = await client.data("/open/option/getInstruments/BTC")
        symbols = {row["symbolName"] for row in rows if row["expirationTimestamp"] > not_before_ms}
        row = await client.data("/open/futures/market/symbol/v1", symbol="BTCUSD")
        return symbols, row["indexPrice"]

    not_before_ms = time.time_ns() // 1_000_000 + 3_600_000  # what expires meanwhile is listed no more
    desk.start()
    client = await desk.client()
    await client.http.post("/sim/market", content='{"base":"BTC","pct":50}')
    async with asyncio.timeout(60):
        while (await market(client))[1] < 120_000:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    symbols, price = await market(client)
    desk.end(signal.SIGKILL)
    await client.http.aclose()
    desk.start()
    client = await desk.client()
    symbols_after, price_after = await market(client)
    assert symbols <= symbols_after
    assert abs(price_after / price - 1) < Decimal("0.05")
    await client.http.aclose()


async def test_public_trades_bars_and_a_countdown_survive_a_kill(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    call = await tradable(client)
    symbol = call["symbol"]
    begun_ms = time.time_ns() // 1_000_000

    async def public(client: RestClient) -> tuple[list[Any], Any]:
        trades = await client.data(f"/open/option/trade/lasttrade/v1/{symbol}")
        span = {"start": begun_ms - 86_400_000, "end": time.time_ns() // 1_000_000}
        bars = await client.data(f"/open/option/market/kline/history/v1/{symbol}", period="d1", **span)
        return trades, bars

    for quantity in (0.02, 0.03):
        order = {"symbol": symbol, "tradeSide": 1, "tradeType": 1, "qty": quantity, "price": crossing_price(call)}
        assert (await client.create(**order))["code"] == 0
    countdown = {"symbol": "BTCUSD", "type": 1, "countdownTime": 3_600_000}
    assert (await client.post("/open/futures/countdown/cancel/v1", **countdown))["data"] is True
    trades, bars = await public(client)
    assert len(trades) >= 2
    desk.end(signal.SIGKILL)
    await client.http.aclose()
    desk.start()
    client = await desk.client()
    again, bars_again = await public(client)
    assert [row for row in again if row["time"] <= trades[0]["time"]] == trades
    assert [bar["open"] for bar in bars_again][: len(bars)] == [bar["open"] for bar in bars]
    assert sum(bar["volume"] for bar in bars_again) >= sum(bar["volume"] for bar in bars) >= Decimal("0.05")
    assert [row["symbol"] for row in await client.data("/open/futures/countdown/cancel/get/v1", type=1)] == ["BTCUSD"]
    await client.http.aclose()


async def test_it_refuses_to_start_for_a_real_venue(tmp_path: Path) -> None:
    exchange = ExchangeProcess(tmp_path, venue="beta")
    exchange.start()
    assert exchange.process is not None
    assert await asyncio.to_thread(exchange.process.wait, 60) == 78
    assert "simulated exchange does not run" in exchange.log.read_text()


async def test_neither_keys_nor_secrets_reach_the_log(desk: ExchangeProcess) -> None:
    desk.start()
    client = await desk.client()
    await client.data("/open/user/info/v1")
    await client.http.get("/open/user/info/v1", headers={"X-CC-APIKEY": desk.key.api_key, "sign": "x", "ts": "1"})
    await client.http.aclose()
    assert desk.end(signal.SIGTERM) == 0
    log = desk.log.read_text()
    assert "exchange listens" in log
    assert desk.key.api_secret not in log
    assert desk.key.api_key not in log


@pytest.mark.parametrize("kind", ["sigterm twice", "sigint"])
async def test_it_stops_cleanly_with_a_socket_open(desk: ExchangeProcess, kind: str) -> None:
    desk.start()
    client = await desk.client()
    port = client.http.base_url.port
    query = socket_query(desk.key, ts_ms=time.time_ns() // 1_000_000)
    async with websockets.connect(f"ws://127.0.0.1:{port}/options?{query}") as websocket:
        await websocket.send('{"action":"subscribe","dataType":"order"}')
        await websocket.recv()
        assert desk.end(signal.SIGINT if kind == "sigint" else signal.SIGTERM) == 0
    await client.http.aclose()

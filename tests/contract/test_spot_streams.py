"""Our client's spot sockets against the simulated exchange, however it answers what is not documented."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from services.exchange.switches import Switches
from shared.messages.contracts import ContractOrder, SpotTicker
from shared.messages.venue import CancelAcked, OrderAcked, OrderRef, StreamDown, StreamUp, VenueFill, VenueOrder
from shared.options.book import unpack_levels
from shared.secrets import ApiKey
from shared.tasks import spawn
from shared.venues.coincall import CoincallGateway, simulated
from shared.venues.coincall.liveness import LivenessLimits
from shared.venues.ports import BookPush, LastTradesPush
from tests.contract.order_gateway import fresh_id
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, small_config
from tests.unit.venues.servers import until

KEY = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
SYMBOL = "BTCUSDT"
SOON = LivenessLimits(acknowledged_within_ns=500_000_000)


class Heard:
    def __init__(self) -> None:
        self.items: list[Any] = []

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]


@asynccontextmanager
async def connected(switches: Switches) -> AsyncIterator[tuple[RunningExchange, CoincallGateway, list[str]]]:
    skipped: list[str] = []
    async with RunningExchange(small_config(switches=switches), now_ns=time.time_ns) as exchange:
        gateway = CoincallGateway(
            simulated("127.0.0.1", exchange.port), KEY, liveness=SOON, on_skipped=skipped.append, backoff_s=(0.1,)
        )
        await gateway.start()
        yield exchange, gateway, skipped
        await gateway.close()


@asynccontextmanager
async def running(task: Any) -> AsyncIterator[None]:
    running_task = spawn(task, name="spot under test")
    try:
        yield
    finally:
        running_task.cancel()


@pytest.mark.parametrize("ack", ["subbed", "action", "none"])
async def test_books_trades_and_tickers_come_however_a_subscription_is_answered(ack: Any) -> None:
    heard = Heard()
    async with connected(Switches(spot_ack=ack, spot_ping_ms=100)) as (_, gateway, skipped):
        stream = gateway.spot.market_stream([SYMBOL], heard.items.append)
        async with running(stream.run()):
            await until(lambda: len(heard.of(BookPush)) > 3)
            await until(lambda: heard.of(LastTradesPush) and heard.of(SpotTicker))
            read = len(heard.of(BookPush))
            stream.renew(SYMBOL)
            await until(lambda: len(heard.of(BookPush)) > read + 6)
    assert heard.items[0] == StreamUp("spot")
    assert not heard.of(StreamDown)
    assert not skipped
    push = heard.of(BookPush)[-1]
    bids, asks = unpack_levels(push.bids), unpack_levels(push.asks)
    assert bids[0, 0] < asks[0, 0]
    assert push.venue_ns > 0
    ticker = heard.of(SpotTicker)[-1]
    assert abs(ticker.index / bids[0, 0] - 1) < 0.01


async def test_a_cut_connection_is_made_anew_and_the_book_starts_from_a_snapshot() -> None:
    heard = Heard()
    async with connected(Switches()) as (exchange, gateway, skipped):
        async with running(gateway.spot.market_stream([SYMBOL], heard.items.append).run()):
            await until(lambda: len(heard.of(BookPush)) > 1)
            async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
                fault = {"kind": "disconnect"}
                assert (await control.post("/sim/faults", json=fault)).status_code == 200
            await until(lambda: heard.of(StreamDown))
            count = len(heard.of(BookPush))
            await until(lambda: len(heard.of(StreamUp)) == 2 and len(heard.of(BookPush)) > count + 1)
        assert not skipped


@pytest.mark.parametrize("ack", ["subbed", "none"])
async def test_orders_and_fills_of_the_account_are_pushed_after_a_login(ack: Any) -> None:
    heard = Heard()
    async with (
        connected(Switches(spot_ack=ack)) as (_, gateway, _skipped),
        running(gateway.spot.stream_account(heard.items.append)),
    ):
        await until(lambda: heard.of(StreamUp))
        resting = ContractOrder(
            client_order_id=fresh_id(),
            symbol=SYMBOL,
            side="buy",
            quantity=Decimal("0.1"),
            price=Decimal(20_000),
        )
        assert isinstance(await gateway.spot.place(resting), OrderAcked)
        named = OrderRef(client_order_id=resting.client_order_id, venue_order_id=None, symbol=SYMBOL)
        assert isinstance(await gateway.spot.cancel(named), CancelAcked)
        bought = ContractOrder(
            client_order_id=fresh_id(),
            symbol=SYMBOL,
            side="buy",
            quantity=Decimal("0.1"),
            order_type="market",
        )
        assert isinstance(await gateway.spot.place(bought), OrderAcked)

        def filled() -> bool:
            fills = [each for each in heard.of(VenueFill) if each.client_order_id == bought.client_order_id]
            return sum((fill.quantity for fill in fills), Decimal(0)) == bought.quantity

        await until(filled)
        states = {(each.client_order_id, each.state) for each in heard.of(VenueOrder)}
    assert {(resting.client_order_id, "new"), (resting.client_order_id, "cancelled")} <= states
    assert {each.side for each in heard.of(VenueFill)} == {"buy"}

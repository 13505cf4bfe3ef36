"""Our client's futures: against the simulated exchange over real sockets, and against the recorded form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest_asyncio

from services.exchange.contracts import next_funding_time
from shared.messages.contracts import LeverageUnknown
from shared.messages.venue import NewOrder, OutcomeUnknown, VenueFill, VenueOrder
from shared.secrets import ApiKey
from shared.tasks import spawn
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, EveryProduct, simulated
from tests.contract.futures_gateway import SYMBOL, FuturesContract, FuturesUnderTest
from tests.contract.futures_gateway import (
    test_an_order_that_contradicts_itself_cannot_be_made as test_an_order_that_contradicts_itself_cannot_be_made,
)
from tests.contract.order_gateway import eventually, fresh_id, in_state, placed
from tests.contract.recorded_products import Recorded
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, TimeMachine, small_config
from tests.unit.venues.servers import raw, rest_venue, socket_venue

KEY = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
RECORDED = Recorded("futures")
RECORDED_NS = 1_783_602_600_000_000_000
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@pytest_asyncio.fixture
async def clock() -> TimeMachine:
    return TimeMachine(time.time_ns)


@pytest_asyncio.fixture
async def exchange(clock: TimeMachine) -> AsyncIterator[RunningExchange]:
    async with RunningExchange(small_config(), now_ns=clock.now_ns) as running:
        yield running


@pytest_asyncio.fixture
async def venue(exchange: RunningExchange) -> AsyncIterator[FuturesUnderTest]:
    gateway = CoincallGateway(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
    await gateway.start()
    spec = await gateway.futures.specification(SYMBOL)
    yield FuturesUnderTest(gateway.futures, spec, time.time_ns() - 60 * 10**9)
    await gateway.close()


class TestSimulatedFutures(FuturesContract):
    async def test_a_lost_answer_is_an_unknown_outcome_that_a_query_resolves(
        self, exchange: RunningExchange, venue: FuturesUnderTest
    ) -> None:
        order = await venue.order()
        path = "/open/futures/order/create/v1"
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
            fault = {"kind": "lost_answer", "path_prefix": path, "count": 1}
            assert (await control.post("/sim/faults", json=fault)).status_code == 200
        assert isinstance(await venue.futures.place(order), OutcomeUnknown)
        seen = await venue.in_state(order, "new")
        assert (seen.client_order_id, seen.quantity) == (order.client_order_id, order.quantity)
        ours = [each for each in await venue.futures.open_orders() if each.client_order_id == order.client_order_id]
        assert len(ours) == 1

    async def test_a_leverage_whose_answer_is_lost_is_unknown_and_can_be_read(
        self, exchange: RunningExchange, venue: FuturesUnderTest
    ) -> None:
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
            fault = {"kind": "lost_answer", "path_prefix": "/open/futures/leverage/set", "count": 1}
            assert (await control.post("/sim/faults", json=fault)).status_code == 200
        assert isinstance(await venue.futures.set_leverage(SYMBOL, 33), LeverageUnknown)
        assert await venue.futures.leverage(SYMBOL) == 33

    async def test_funding_is_read_as_the_account_felt_it(
        self, exchange: RunningExchange, clock: TimeMachine, venue: FuturesUnderTest
    ) -> None:
        opening = await venue.order(None, lots=1_000)
        await venue.placed(opening)
        due_ns = next_funding_time(clock.now_ns())
        clock.travel_to(due_ns // 1_000_000 + 1_000)
        gateway = CoincallGateway(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
        await gateway.start()
        since_ns = venue.started_ns

        async def paid() -> Any:
            return [each for each in await gateway.futures.funding(SYMBOL, since_ns) if each.venue_ns == due_ns]

        try:
            (payment,) = await eventually(paid)
        finally:
            await gateway.close()
        assert (payment.quantity, payment.venue_ns) == (opening.quantity, due_ns)
        assert payment.amount_usd * payment.rate <= 0
        assert abs(payment.amount_usd) < opening.quantity * Decimal(200_000) * Decimal("0.01")


async def test_a_delivery_is_told_as_a_settlement_at_its_price(exchange: RunningExchange, clock: TimeMachine) -> None:
    gateway = EveryProduct(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
    await gateway.start()
    # one that trades for an hour more, whatever the hour
    soon_ns = time.time_ns() + 3_600 * 10**9
    dated = next(each for each in await gateway.futures.instruments(SYMBOL) if each.last_trade_ns > soon_ns)
    since_ns = time.time_ns() - 60 * 10**9
    (ticker,) = [each for each in await gateway.futures.tickers() if each.symbol == dated.symbol]
    order = NewOrder(
        client_order_id=fresh_id(),
        symbol=dated.symbol,
        side="sell",
        quantity=Decimal("0.2"),
        price=(Decimal(str(ticker.mark)) * Decimal("0.99")).quantize(Decimal(1)),
    )
    await placed(gateway, order)
    await in_state(gateway, order, "filled")
    clock.travel_to(dated.expiry_ns // 1_000_000 + 1_000)
    await gateway.start()

    async def delivered() -> bool:
        return bool(await gateway.deliveries(since_ns))

    await eventually(delivered, within_s=60.0)
    (exercise,) = await gateway.deliveries(since_ns)
    assert (exercise.symbol, exercise.quantity) == (dated.symbol, Decimal("-0.2"))
    assert exercise.settlement_cash_flow_usd == exercise.quantity * exercise.settlement_price
    assert exercise.settlement_price > 1_000
    assert exercise.fee_usd > 0
    assert exercise.venue_ns == dated.expiry_ns
    assert await gateway.positions() == ()
    await gateway.close()


def _encoded(value: Any) -> str:
    return _ENCODER.encode(value).decode()


async def test_the_recorded_form_of_the_venue_is_read() -> None:
    async with rest_venue() as rest, socket_venue() as options, socket_venue() as futures:
        for name, recorded in RECORDED.answers.items():
            path = name.partition(" ")[2].format(symbol=SYMBOL)
            rest.always(path, raw(_encoded(recorded.answer).encode()))
        futures.on_subscribed = lambda request: [
            _encoded(frame)
            for channel, each in RECORDED.frames.items()
            if f" {request['dataType']} " in channel
            for frame in each.frames.values()
        ]
        endpoints = CoincallEndpoints(rest=rest.url, ws_options=options.url, ws_futures=futures.url)
        gateway = CoincallGateway(endpoints, KEY)
        client = gateway.futures
        (position,) = await client.positions()
        assert (position.quantity, position.liquidation_price) == (Decimal("0.2"), Decimal("1000.5"))
        (resting,) = await client.open_orders()
        assert (resting.filled_quantity, resting.state) == (Decimal("0.2"), "partial")
        assert (await client.order(1001)) is not None
        assert [each.state for each in await client.order_history(RECORDED_NS)] == ["filled"]
        (fill,) = await client.fills(RECORDED_NS)
        assert fill.fee_usd == Decimal("11.82")
        (payment,) = await client.funding(SYMBOL, RECORDED_NS)
        assert (payment.amount_usd, payment.quantity) == (Decimal("-1.97"), Decimal("0.2"))
        (delivery,) = await client.deliveries(RECORDED_NS)
        assert delivery.pnl_usd == Decimal("20.5")
        assert await client.leverage(SYMBOL) == 10
        assert (await client.last_trades(SYMBOL))[0].price == Decimal("98500.5")
        heard: list[Any] = []
        task = spawn(client.stream_account(heard.append), name="recorded futures")

        async def all_heard() -> bool:
            return {VenueOrder, VenueFill} <= {type(each) for each in heard}

        try:
            await eventually(all_heard)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await gateway.close()
        fills = [each for each in heard if isinstance(each, VenueFill)]
        assert (fills[0].price, fills[0].quantity, fills[0].fee_usd) == (Decimal("98500.5"), Decimal("0.2"), None)

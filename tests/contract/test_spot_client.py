"""Our client's spot: against the simulated exchange over real HTTP, and against the recorded form."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from shared.messages.contracts import ContractOrder
from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    VenueOrder,
)
from shared.options.book import unpack_levels
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, simulated, spot
from shared.venues.ports import VenueError
from tests.contract.order_gateway import eventually, fresh_id
from tests.contract.recorded_products import Recorded
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, small_config
from tests.unit.venues.servers import envelope, raw, rest_venue, socket_venue

KEY = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
RECORDED = Recorded("spot")
RECORDED_NS = 1_783_602_600_000_000_000
SYMBOL = "BTCUSDT"
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(small_config(), now_ns=time.time_ns) as running:
        yield running


@pytest_asyncio.fixture
async def gateway(exchange: RunningExchange) -> AsyncIterator[CoincallGateway]:
    made = CoincallGateway(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
    await made.start()
    yield made
    await made.close()


def order(side: Any = "buy", quantity: str = "0.1", price: str | None = None, **fields: Any) -> ContractOrder:
    values: dict[str, Any] = {
        "client_order_id": fresh_id(),
        "symbol": SYMBOL,
        "side": side,
        "quantity": Decimal(quantity),
        "order_type": "market" if price is None else "limit",
        "price": None if price is None else Decimal(price),
    }
    return ContractOrder(**(values | fields))


def named(placed: ContractOrder) -> OrderRef:
    return OrderRef(client_order_id=placed.client_order_id, venue_order_id=None, symbol=SYMBOL)


async def in_state(gateway: CoincallGateway, placed: ContractOrder, state: str) -> VenueOrder:
    async def found() -> VenueOrder | None:
        seen = await gateway.spot.order(placed.client_order_id)
        return seen if seen is not None and seen.state == state else None

    result: VenueOrder = await eventually(found)
    return result


async def test_coins_are_bought_and_sold_and_stand_in_the_account(gateway: CoincallGateway) -> None:
    since_ns = time.time_ns() - 60 * 10**9
    before = (await gateway.account()).balances
    assert "BTC" not in before
    bought = order()
    assert isinstance(await gateway.spot.place(bought), OrderAcked)
    done = await in_state(gateway, bought, "filled")
    held = (await gateway.account()).balances
    assert held["BTC"] == Decimal("0.0999")
    fills = [
        each for each in await gateway.spot.fills(SYMBOL, since_ns) if each.venue_order_id == done.venue_order_id
    ]
    assert sum(fill.quantity for fill in fills) == bought.quantity
    value = sum(fill.quantity * fill.price for fill in fills)
    assert sum((fill.fee_usd or Decimal(0) for fill in fills), Decimal(0)) == value / 1_000
    assert before["USDT"] - held["USDT"] == value
    sold = order("sell", "0.0999")
    assert isinstance(await gateway.spot.place(sold), OrderAcked)
    await in_state(gateway, sold, "filled")
    assert "BTC" not in (await gateway.account()).balances
    history = {each.client_order_id: each.state for each in await gateway.spot.order_history(SYMBOL, since_ns)}
    assert history == {bought.client_order_id: "filled", sold.client_order_id: "filled"}


async def test_a_resting_order_is_seen_until_it_is_cancelled(gateway: CoincallGateway) -> None:
    resting = order(price="20000")
    assert isinstance(await gateway.spot.place(resting), OrderAcked)
    seen = await in_state(gateway, resting, "new")
    assert (seen.price, seen.quantity) == (Decimal(20_000), Decimal("0.1"))
    assert [each.client_order_id for each in await gateway.spot.open_orders()] == [resting.client_order_id]
    assert not isinstance(await gateway.spot.place(resting), OrderAcked)
    assert isinstance(await gateway.spot.cancel(named(resting)), CancelAcked)
    await in_state(gateway, resting, "cancelled")
    assert isinstance(await gateway.spot.cancel(named(resting)), CancelRefused)
    never = order(price="20000")
    assert await gateway.spot.order(never.client_order_id) is None


async def test_a_lost_answer_is_an_unknown_outcome_that_a_query_resolves(
    exchange: RunningExchange, gateway: CoincallGateway
) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
        fault = {"kind": "lost_answer", "path_prefix": "/open/spot/trade/order/v1", "count": 1}
        assert (await control.post("/sim/faults", json=fault)).status_code == 200
    lost = order(price="20000")
    assert isinstance(await gateway.spot.place(lost), OutcomeUnknown)
    await in_state(gateway, lost, "new")
    assert len(await gateway.spot.open_orders()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"order_type": "stop_market", "trigger_price": Decimal(1)},
        {"price": "20000", "time_in_force": "IOC"},
        {"reduce_only": True},
    ],
)
async def test_what_spot_cannot_do_is_not_sent(gateway: CoincallGateway, fields: dict[str, Any]) -> None:
    price = fields.pop("price", None)
    outcome = await gateway.spot.place(order(price=price, **fields))
    assert isinstance(outcome, OrderRefused)
    assert (outcome.kind, outcome.code) == ("rejected", 0)
    assert outcome.text.startswith("not sent")


async def test_more_coins_than_are_there_are_not_sold(gateway: CoincallGateway) -> None:
    outcome = await gateway.spot.place(order("sell"))
    assert isinstance(outcome, OrderRefused)
    assert (outcome.kind, outcome.code) == ("rejected", 10529)


async def test_lists_longer_than_one_answer_are_read_to_their_end(
    gateway: CoincallGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    since_ns = time.time_ns() - 60 * 10**9
    orders = [order(price="20000") for _ in range(5)]
    for each in orders:
        assert isinstance(await gateway.spot.place(each), OrderAcked)
    monkeypatch.setattr(spot, "LIST_MAX", 3)
    listed = await gateway.spot.order_history(SYMBOL, since_ns)
    assert [each.client_order_id for each in listed] == [each.client_order_id for each in orders]


def _encoded(value: Any) -> bytes:
    return _ENCODER.encode(value)


async def test_the_recorded_form_of_the_venue_is_read() -> None:
    async with rest_venue() as rest, socket_venue() as options, socket_venue() as futures:
        for name, recorded in RECORDED.answers.items():
            method, _, path = name.partition(" ")
            if method == "GET" or path.endswith(("cancel/v1", "cancelAll/v1")):
                rest.always(path, raw(_encoded(recorded.answer)))
        endpoints = CoincallEndpoints(rest=rest.url, ws_options=options.url, ws_futures=futures.url)
        gateway = CoincallGateway(endpoints, KEY)
        client = gateway.spot
        (pair,) = await client.specifications()
        assert (pair.coin, pair.tick_size, pair.lot_size) == ("BTC", Decimal("0.01"), Decimal("0.00001"))
        assert (await client.ticker(SYMBOL)).index == 98_499.5
        book = await client.order_book(SYMBOL)
        assert unpack_levels(book.bids)[0, 0] < unpack_levels(book.asks)[0, 0]
        (resting,) = await client.open_orders()
        assert (resting.state, resting.filled_quantity, resting.client_order_id) == ("partial", Decimal("0.2"), 1001)
        assert await client.order(1001) == resting
        assert await client.order_history(SYMBOL, RECORDED_NS) == (resting,)
        (fill,) = await client.fills(SYMBOL, RECORDED_NS)
        assert fill.fee_usd == Decimal("19.7001")
        rest.always("/open/spot/trade/fills/v1", raw(envelope([{"orderId": 1}])))
        with pytest.raises(VenueError):
            await client.fills(SYMBOL, RECORDED_NS)
        await gateway.close()

"""Options, futures and spot of one account behind one interface, on the simulated exchange over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.exchange.config import KeyConfig
from services.exchange.server.faults import Fault
from services.exchange.switches import Switches
from shared.clock import Clock
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    StreamDown,
    StreamUp,
    VenueFill,
    VenueOrder,
)
from shared.options.book import unpack_levels
from shared.options.symbols import LAST_TRADE_BEFORE_EXPIRY_NS
from shared.secrets import ApiKey
from shared.venues.coincall import EveryProduct, simulated
from shared.venues.ports import BookPush, IndexPush
from tests.contract.order_gateway import (
    Tradable,
    VenueUnderTest,
    a_tradable,
    account_stream,
    eventually,
    fresh_id,
    in_state,
    new_order,
    placed,
    position_in,
    reference,
)
from tests.integration.exchange.harness import MAKER_KEY, TRADING_KEY, RunningExchange, small_config
from tests.unit.shared.samples import MINIMAL, write_desk
from voldesk.direct import Audit, DirectBounds, DirectFlatten

PERPETUAL = "BTCUSD"
PAIR = "BTCUSDT"
WAIT_S = 60.0

KEY = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
CountedGateway = tuple[EveryProduct, Counter[str]]
"""A gateway, and how often it made each call."""


@dataclass
class Desk:
    exchange: RunningExchange
    gateway: EveryProduct
    option: Tradable
    since_ns: int

    async def future(self, factor: str, side: Any = "buy", **fields: Any) -> NewOrder:
        (ticker,) = [each for each in await self.gateway.futures.tickers() if each.symbol == PERPETUAL]
        values = {
            "client_order_id": fresh_id(),
            "symbol": PERPETUAL,
            "side": side,
            "quantity": Decimal("0.01"),
            "price": (Decimal(str(ticker.mark)) * Decimal(factor)).quantize(Decimal(1)),
        }
        return NewOrder(**(values | fields))


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    async with RunningExchange(small_config(), now_ns=time.time_ns) as exchange:
        gateway = EveryProduct(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
        await gateway.start()
        since_ns = time.time_ns() - 60 * 10**9
        venue = VenueUnderTest(gateway, gateway, gateway, gateway, "BTCUSD", lambda _: None, since_ns)
        yield Desk(exchange, gateway, await a_tradable(venue), since_ns)
        await gateway.close()


async def test_an_order_goes_where_its_symbol_belongs_and_lists_have_both(desk: Desk) -> None:
    future, option = await desk.future("0.9"), new_order(desk.option, desk.option.resting_bid)
    placed_future, placed_option = await placed(desk.gateway, future), await placed(desk.gateway, option)
    listed = {each.venue_order_id: each.symbol for each in await desk.gateway.open_orders()}
    assert listed == {
        placed_future.venue_order_id: PERPETUAL,
        placed_option.venue_order_id: desk.option.instrument.symbol,
    }
    price = future.price - 10
    assert isinstance(await desk.gateway.amend(Amendment(order=reference(future), price=price)), AmendAcked)
    assert (await in_state(desk.gateway, future, "new")).price == price
    assert isinstance(await desk.gateway.cancel(reference(future, placed_future)), CancelAcked)
    await in_state(desk.gateway, future, "cancelled")
    await in_state(desk.gateway, option, "new")
    history = await desk.gateway.order_history(desk.since_ns)
    assert [each.client_order_id for each in history] == [future.client_order_id]
    assert await desk.gateway.order(fresh_id()) is None


async def test_a_future_that_has_a_new_id_after_its_amendment_is_found_by_ours_and_cancelled_by_the_new_one() -> None:
    config = small_config(switches=Switches(amended_future_id="new"))
    async with RunningExchange(config, now_ns=time.time_ns) as exchange:
        gateway = EveryProduct(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
        await gateway.start()
        desk = Desk(exchange, gateway, None, 0)  # type: ignore[arg-type]  # no option is traded
        future = await desk.future("0.9")
        before = await placed(gateway, future)
        price = future.price - 10
        change = Amendment(order=reference(future, before), price=price)
        assert isinstance(await gateway.amend(change), AmendAcked)
        after = await in_state(gateway, future, "new")
        assert (after.price, after.venue_order_id != before.venue_order_id) == (price, True)
        by_old, by_new = (
            OrderRef(client_order_id=future.client_order_id, venue_order_id=number, symbol=PERPETUAL)
            for number in (before.venue_order_id, after.venue_order_id)
        )
        assert isinstance(await gateway.cancel(by_old), CancelRefused)
        assert isinstance(await gateway.cancel(by_new), CancelAcked)
        await in_state(gateway, future, "cancelled")
        await gateway.close()


async def test_a_batch_of_both_has_its_outcomes_in_its_order_and_cancel_all_ends_both(desk: Desk) -> None:
    option = new_order(desk.option, desk.option.resting_bid)
    orders = [await desk.future("0.9"), option, await desk.future("0.8")]
    outcomes = await desk.gateway.place_batch(orders)
    assert [each.client_order_id for each in outcomes] == [each.client_order_id for each in orders]
    assert all(isinstance(each, OrderAcked) for each in outcomes)
    assert isinstance(await desk.gateway.cancel_all("ETHUSD"), CancelAcked)
    assert len(await desk.gateway.open_orders()) == 3
    lower = {each.client_order_id: each.price - desk.option.instrument.tick_size for each in orders}
    lower |= {each.client_order_id: each.price - 10 for each in orders if each is not option}
    changes = [Amendment(order=reference(each), price=lower[each.client_order_id]) for each in orders]
    amended = await desk.gateway.amend_batch(changes)
    assert [each.client_order_id for each in amended] == [each.client_order_id for each in orders]
    assert all(isinstance(each, AmendAcked) for each in amended)
    assert {each.client_order_id: each.price for each in await desk.gateway.open_orders()} == lower
    assert isinstance(await desk.gateway.cancel_all("BTCUSD"), CancelAcked)
    for order in orders:
        await in_state(desk.gateway, order, "cancelled")
    refs = [
        OrderRef(client_order_id=each.client_order_id, venue_order_id=None, symbol=each.symbol) for each in orders
    ]
    assert [each.client_order_id for each in await desk.gateway.cancel_batch(refs)] == [
        each.client_order_id for each in orders
    ]


@asynccontextmanager
async def counting_gateway(exchange: RunningExchange, key: KeyConfig = TRADING_KEY) -> AsyncIterator[CountedGateway]:
    calls = Counter[str]()
    gateway = EveryProduct(
        simulated("127.0.0.1", exchange.port),
        ApiKey(key=key.api_key, secret=key.api_secret),
        orders_per_s=60,
        backoff_s=(0.1,),
        on_call=lambda name, _outcome, _seconds: calls.update([name]),
    )
    await gateway.start()
    try:
        yield gateway, calls
    finally:
        await gateway.close()


async def test_futures_and_spot_that_the_margin_does_not_suffice_for_end_the_batch(desk: Desk) -> None:
    async with counting_gateway(desk.exchange) as (gateway, calls):
        for orders in (
            [await desk.future("0.9", quantity=Decimal(500)) for _ in range(12)],
            [await desk.future("0.99", symbol=PAIR, quantity=Decimal(50)) for _ in range(12)],
        ):
            gateway.limited_to(futures=True, pairs=(PAIR,))
            calls.clear()
            outcomes = await gateway.place_batch(orders)
            assert [each.client_order_id for each in outcomes] == [each.client_order_id for each in orders]
            assert [getattr(each, "code", None) for each in outcomes] == [10529] * 5 + [0] * 7
            left = outcomes[-1]
            assert isinstance(left, OrderRefused)
            assert (left.kind, left.text[:20]) == ("rejected", "not sent: the margin")
            assert sum(calls[name] for name in ("futures_place", "spot_place")) == 5


async def test_resting_futures_are_withdrawn_forty_in_one_call_each_with_its_result(desk: Desk) -> None:
    tickers = await desk.gateway.futures.tickers()
    dated = max((each for each in tickers if each.kind == "future"), key=lambda each: each.expiry_ns or 0)
    async with counting_gateway(desk.exchange) as (gateway, calls):
        orders = [await desk.future("0.9") for _ in range(42)]
        orders += [await desk.future("0.9", symbol=dated.symbol) for _ in range(3)]
        acked = await gateway.place_batch(orders)
        refs = [
            OrderRef(
                client_order_id=order.client_order_id,
                venue_order_id=each.venue_order_id if isinstance(each, OrderAcked) and number else None,
                symbol=order.symbol,
            )
            for number, (order, each) in enumerate(zip(orders, acked, strict=True))
        ]
        gone = OrderRef(client_order_id=fresh_id(), venue_order_id=5, symbol=PERPETUAL)
        option = new_order(desk.option, desk.option.resting_bid)
        asked = [refs[0], gone, reference(option, await placed(gateway, option)), *refs[1:]]
        calls.clear()
        outcomes = await gateway.cancel_batch(asked)
        assert [each.client_order_id for each in outcomes] == [each.client_order_id for each in asked]
        assert [type(each) for each in outcomes] == [CancelAcked, CancelRefused, *[CancelAcked] * 45]
        assert calls == {"futures_batch_cancel": 3, "batch_cancel": 1}
        for order in (orders[0], orders[1], orders[-1], option):
            await in_state(gateway, order, "cancelled")
        assert await gateway.open_orders() == ()


async def test_a_right_to_batches_that_is_taken_away_while_running_costs_no_order(desk: Desk) -> None:
    async with counting_gateway(desk.exchange, MAKER_KEY) as (gateway, calls):
        orders = [new_order(desk.option, desk.option.resting_bid) for _ in range(6)]
        assert all(isinstance(each, OrderAcked) for each in await gateway.place_batch(orders[:3]))
        assert calls["batch_place"] == 1
        desk.exchange.server.faults.add(
            Fault(kind="error_code", path_prefix="/open/option/order/batch", code=7001), time.time_ns()
        )
        acked = await gateway.place_batch(orders[3:])
        assert [type(each) for each in acked] == [OrderAcked] * 3
        refs = [reference(order, each) for order, each in zip(orders[3:], acked, strict=True)]  # type: ignore[arg-type]
        lower = orders[0].price - desk.option.instrument.tick_size
        amended = await gateway.amend_batch([Amendment(order=ref, price=lower) for ref in refs])
        assert [type(each) for each in amended] == [AmendAcked] * 3
        listed = {each.client_order_id: each.price for each in await gateway.open_orders()}
        assert listed == {
            order.client_order_id: order.price if number < 3 else lower for number, order in enumerate(orders)
        }
        cancelled = await gateway.cancel_batch([reference(order) for order in orders])
        assert [type(each) for each in cancelled] == [CancelAcked] * 6


async def test_a_future_that_fills_is_a_position_with_a_delta_and_a_close_that_would_open_is_refused(
    desk: Desk,
) -> None:
    opening = await desk.future("1.02")
    await placed(desk.gateway, opening)
    await in_state(desk.gateway, opening, "filled")
    (held,) = await desk.gateway.positions()
    assert (held.symbol, held.quantity, held.delta) == (PERPETUAL, Decimal("0.01"), 0.01)
    assert held.mark is not None
    fills = await desk.gateway.fills(desk.since_ns)
    assert sum(fill.quantity for fill in fills) == Decimal("0.01")
    too_much = await desk.future("0.98", "sell", quantity=Decimal("0.02"), reduce_only=True)
    outcome = await desk.gateway.place(too_much)
    assert isinstance(outcome, OrderRefused)
    assert outcome.kind == "rejected"
    closing = await desk.future("0.98", "sell", reduce_only=True)
    await placed(desk.gateway, closing)
    await in_state(desk.gateway, closing, "filled")
    assert await position_in(desk.gateway, PERPETUAL) == 0


@asynccontextmanager
async def perpetual_at(switches: Switches) -> AsyncIterator[tuple[EveryProduct, Decimal]]:
    """A gateway to an exchange of its own, and the mark of the perpetual there."""
    async with RunningExchange(small_config(switches=switches), now_ns=time.time_ns) as exchange:
        gateway = EveryProduct(simulated("127.0.0.1", exchange.port), KEY, backoff_s=(0.1,))
        await gateway.start()
        (ticker,) = [each for each in await gateway.futures.tickers() if each.symbol == PERPETUAL]
        assert ticker.mark is not None
        yield gateway, Decimal(str(ticker.mark))
        await gateway.close()


@pytest.mark.parametrize(("listed", "waiting_state"), [(True, -2), (False, -2), (True, -1), (False, -1)])
async def test_a_stop_order_waits_listed_or_not_and_is_cancelled_with_all_of_its_underlying(
    listed: bool, waiting_state: Any
) -> None:
    """Whether the venue lists those that wait is not documented, nor the state they show: found by its id, and
    cancelled where it protects."""
    switches = Switches(pending_stops=listed, waiting_stop_state=waiting_state)
    async with perpetual_at(switches) as (gateway, mark):
        trigger = (mark * Decimal("0.9")).quantize(Decimal(1))
        bought = NewOrder(
            client_order_id=fresh_id(),
            symbol=PERPETUAL,
            side="buy",
            quantity=Decimal("0.01"),
            price=(mark * Decimal("1.01")).quantize(Decimal(1)),
        )
        await placed(gateway, bought)
        await in_state(gateway, bought, "filled")
        market = NewOrder(
            client_order_id=fresh_id(),
            symbol=PERPETUAL,
            side="sell",
            quantity=Decimal("0.005"),
            price=trigger,
            reduce_only=True,
            trigger_price=trigger,
            at_market=True,
        )
        limit = msgspec.structs.replace(market, client_order_id=fresh_id(), price=trigger - 100, at_market=False)
        for stop in (market, limit):
            await placed(gateway, stop)
            seen = await in_state(gateway, stop, "waiting")
            assert (seen.reduce_only, seen.at_market) == (True, stop.at_market)
        shown = {each.client_order_id: each for each in await gateway.open_orders()}
        assert shown.keys() == ({market.client_order_id, limit.client_order_id} if listed else set())
        assert {(each.state, each.trigger_price) for each in shown.values()} <= {("waiting", trigger)}
        assert isinstance(await gateway.amend(Amendment(order=reference(limit), price=trigger - 200)), AmendAcked)
        assert (await in_state(gateway, limit, "waiting")).price == trigger - 200
        assert isinstance(await gateway.cancel_all("BTCUSD"), CancelAcked)
        for stop in (market, limit):
            await in_state(gateway, stop, "cancelled")


async def test_a_stop_order_that_would_open_is_cancelled_too_where_nothing_is_held_and_no_list_has_it() -> None:
    async with perpetual_at(Switches(pending_stops=False)) as (gateway, mark):
        trigger = (mark * Decimal("1.1")).quantize(Decimal(1))
        stop = NewOrder(
            client_order_id=fresh_id(),
            symbol=PERPETUAL,
            side="buy",
            quantity=Decimal("0.01"),
            price=trigger + 100,
            trigger_price=trigger,
        )
        await placed(gateway, stop)
        await in_state(gateway, stop, "waiting")
        assert not await gateway.open_orders()
        assert isinstance(await gateway.cancel_all("BTCUSD"), CancelAcked)
        await in_state(gateway, stop, "cancelled")


async def test_what_is_not_traded_is_not_sent(desk: Desk) -> None:
    limited = desk.gateway.limited_to(futures=False, pairs=())
    for symbol in (PAIR, PERPETUAL):
        outcome = await limited.place(await desk.future("0.9", symbol=symbol))
        assert isinstance(outcome, OrderRefused)
        assert (outcome.code, outcome.text) == (0, f"not sent: {symbol} is not traded here")
    assert not await desk.gateway.spot.open_orders()
    assert not await desk.gateway.futures.open_orders()


async def test_coins_are_bought_and_sold_among_the_other_products(desk: Desk) -> None:
    gateway = desk.gateway.limited_to(futures=True, pairs=(PAIR,))
    buy = await desk.future("1.02", symbol=PAIR, quantity=Decimal("0.1"))
    sell = await desk.future("0.98", "sell", symbol=PAIR, quantity=Decimal("0.0999"), reduce_only=True)
    resting = await desk.future("0.9", symbol=PAIR)
    async with account_stream(gateway) as heard:
        await placed(gateway, buy)
        await in_state(gateway, buy, "filled")
        assert (await gateway.holdings("BTC"))["BTC"].cash == Decimal("0.0999")
        assert await gateway.positions() == ()
        fills = [fill for fill in await gateway.fills(desk.since_ns) if fill.symbol == PAIR]
        assert sum(fill.quantity for fill in fills) == Decimal("0.1")
        assert sum(fill.fee_coins for fill in fills) == Decimal("0.0001")
        assert all(fill.fee_usd == fill.fee_coins * fill.price for fill in fills)
        await placed(gateway, sell)
        await in_state(gateway, sell, "filled")
        sold = [fill for fill in await gateway.fills(desk.since_ns) if fill.side == "sell" and fill.symbol == PAIR]
        assert sum(fill.quantity for fill in sold) == Decimal("0.0999")
        assert all(fill.fee_coins == 0 and fill.fee_usd for fill in sold)

        async def told() -> bool:
            numbers = {each.client_order_id for each in heard if isinstance(each, VenueOrder)}
            return {buy.client_order_id, sell.client_order_id} <= numbers

        await eventually(told)
        assert not any(isinstance(each, VenueFill) for each in heard)
    await placed(gateway, resting)
    amended = await gateway.amend(Amendment(order=reference(resting), price=resting.price - 10))
    assert isinstance(amended, AmendRefused)
    assert [each.client_order_id for each in await gateway.open_orders()] == [resting.client_order_id]
    assert isinstance(await gateway.cancel_all("ETHUSD"), CancelAcked)
    assert len(await gateway.open_orders()) == 1
    assert isinstance(await gateway.cancel_all("BTCUSD"), CancelAcked)
    await in_state(gateway, resting, "cancelled")
    history = {each.client_order_id: each.state for each in await gateway.order_history(desk.since_ns)}
    assert history == {
        buy.client_order_id: "filled",
        sell.client_order_id: "filled",
        resting.client_order_id: "cancelled",
    }
    bids = unpack_levels((await gateway.order_book(PAIR)).bids)
    assert bids[0, 0] > 50_000


async def test_the_stream_is_up_when_both_are_and_down_when_one_is(desk: Desk) -> None:
    async with account_stream(desk.gateway) as heard:
        order = await desk.future("1.02")
        await placed(desk.gateway, order)

        async def told() -> bool:
            fills = [each for each in heard if isinstance(each, VenueFill) and each.symbol == PERPETUAL]
            return bool(fills) and any(isinstance(each, VenueOrder) and each.state == "filled" for each in heard)

        await eventually(told)
        ups = sum(isinstance(each, StreamUp) for each in heard)
        desk.exchange.server.hub.disconnect("/futures", "test")

        async def back() -> bool:
            downs = any(isinstance(each, StreamDown) for each in heard)
            return downs and sum(isinstance(each, StreamUp) for each in heard) > ups

        await eventually(back)
    await asyncio.sleep(0)


async def test_books_go_where_their_symbol_belongs_and_a_future_is_listed_as_it_trades(desk: Desk) -> None:
    book = await desk.gateway.order_book(PERPETUAL)
    bids, asks = unpack_levels(book.bids), unpack_levels(book.asks)
    assert 50_000 < bids[0, 0] < asks[0, 0]
    assert (await desk.gateway.order_book(desk.option.instrument.symbol)).symbol == desk.option.instrument.symbol
    listed, spec = await desk.gateway.future(PERPETUAL), await desk.gateway.futures.specification(PERPETUAL)
    assert listed.is_perpetual
    assert (listed.tick_size, listed.lot_size) == (spec.tick_size, spec.lot_size)
    (dated, *_) = [each for each in await desk.gateway.futures.tickers() if each.kind == "future"]
    assert (await desk.gateway.future(dated.symbol)).expiry_ns == dated.expiry_ns
    assert await desk.gateway.funding_payments(PERPETUAL, desk.since_ns) == ()


async def test_the_market_stream_brings_the_perpetuals_mark_and_the_books_of_all_futures_wanted(
    desk: Desk,
) -> None:
    heard: list[Any] = []
    soon_ns = time.time_ns() + 3_600 * 10**9
    every = await desk.gateway.futures.instruments(PERPETUAL)
    listed = [each for each in every if each.last_trade_ns > soon_ns]
    *dated, perpetual = listed
    assert perpetual.is_perpetual
    assert [each.expiry_ns for each in dated] == sorted(each.expiry_ns for each in dated)
    assert all(each.last_trade_ns == each.expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS for each in dated)

    def wanted() -> tuple[str, ...]:
        return tuple(each.symbol for each in listed)

    streaming = asyncio.create_task(desk.gateway.stream_market([PERPETUAL], lambda _: [], heard.append, wanted))
    try:

        async def both() -> bool:
            marks = [item.perpetual_mark for item in heard if isinstance(item, IndexPush)]
            books = {item.symbol for item in heard if isinstance(item, BookPush)}
            return books >= set(wanted()) and any(mark > 0 for mark in marks)

        await eventually(both, within_s=WAIT_S)
    finally:
        streaming.cancel()
    assert len(dated) > 0
    for book in heard:
        if isinstance(book, BookPush):
            assert book.venue_ns > 0
            assert unpack_levels(book.asks)[0, 0] > unpack_levels(book.bids)[0, 0] > 50_000


async def test_a_direct_flatten_closes_perpetual_and_dated_future_within_the_venues_band(
    desk: Desk, tmp_path: Path
) -> None:
    tickers = await desk.gateway.futures.tickers()
    # not the nearest, which may be about to expire
    dated = max((each for each in tickers if each.kind == "future"), key=lambda each: each.expiry_ns or 0)
    crossing = (Decimal(str(dated.mark)) * Decimal("0.99")).quantize(Decimal(1))
    for order in (
        await desk.future("1.01"),
        await desk.future("1", "sell", symbol=dated.symbol, price=crossing),
    ):
        await placed(desk.gateway, order)
        await in_state(desk.gateway, order, "filled")
    config = write_desk(tmp_path, f"{MINIMAL}run_dir = '{tmp_path}/d'\n")
    clock = Clock()
    audit = Audit(tmp_path / "audit.jsonl", clock, print)
    bounds = DirectBounds(bound_pct=50.0, patience_s=WAIT_S)
    result = await DirectFlatten(desk.gateway, config, bounds, audit, clock, print).run()
    audit.close()
    assert result["flat"]
    assert await desk.gateway.positions() == ()


async def test_what_cannot_be_cancelled_or_priced_keeps_nothing_else_from_it(desk: Desk, tmp_path: Path) -> None:
    faults = desk.exchange.server.faults
    opening, resting = await desk.future("1.01"), await desk.future("0.9")
    bought = new_order(desk.option, desk.option.crossing_bid)
    for order in (opening, bought):
        await placed(desk.gateway, order)
        await in_state(desk.gateway, order, "filled")
    await placed(desk.gateway, resting)
    faults.add(Fault(kind="error_code", path_prefix="/open/option/order/cancelOpenOrders"), time.time_ns())
    assert not isinstance(await desk.gateway.cancel_all("BTCUSD"), CancelAcked)
    await in_state(desk.gateway, resting, "cancelled")
    faults.clear()
    faults.add(Fault(kind="error_code", path_prefix="/open/futures/order/orderbook"), time.time_ns())
    config = write_desk(tmp_path, f"{MINIMAL}run_dir = '{tmp_path}/d'\n")
    clock = Clock()
    audit = Audit(tmp_path / "audit.jsonl", clock, print)

    def told(text: str) -> None:
        # the option is gone: nothing but the perpetual is left
        if "1 positions and 0 orders left" in text:
            faults.clear()

    bounds = DirectBounds(bound_pct=50.0, patience_s=WAIT_S)
    result = await DirectFlatten(desk.gateway, config, bounds, audit, clock, told).run()
    audit.close()
    assert result["flat"]
    steps = [json.loads(line) for line in audit.path.read_text().splitlines()]
    closed = [step["symbol"] for step in steps if step["step"] == "close"]
    assert closed[0] == desk.option.instrument.symbol
    assert closed[-1] == PERPETUAL
    assert {step["what"] for step in steps if step["step"] == "unread"} == {PERPETUAL}

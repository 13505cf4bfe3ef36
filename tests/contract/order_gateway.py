"""What every venue behind the desk's ports must do: subclass `OrderGatewayContract` and provide the fixture `venue`.

The tests trade: run them against simulated exchanges and test environments only.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

import pytest

from shared.ids import OrderKey
from shared.ids import client_order_id as packed_id
from shared.messages.market import Instrument
from shared.messages.venue import (
    OPEN_VENUE_STATES,
    AmendAcked,
    Amendment,
    AmendRefused,
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    StreamUp,
    VenueFill,
    VenueOrder,
)
from shared.tasks import spawn
from shared.venues.ports import ChainPush, IndexPush, MarketGateway, OptionQuoteRow, OrderGateway

_trades = itertools.count(time.time_ns() // 10**9 % 2**30)
WITHIN_S = 60.0


@dataclass
class VenueUnderTest:
    """A venue with a funded account, the same venue seen by an account that can afford nothing, and by a funded one
    with every right that the venue knows (`maker`; the first account again where there is none).

    `page_size` sets how many rows the gateway asks for at once, so that paging shows with few orders.
    """

    orders: OrderGateway
    market: MarketGateway
    poor: OrderGateway
    maker: OrderGateway
    underlying: str
    page_size: Callable[[int], None]
    started_ns: int = field(default_factory=lambda: time.time_ns() - 60 * 10**9)


@dataclass(frozen=True)
class Tradable:
    """An option with a book on both sides, near the money, and prices on its tick that rest or cross."""

    instrument: Instrument
    row: OptionQuoteRow

    def tick(self, price: float, rounding: str) -> Decimal:
        steps = (Decimal(str(price)) / self.instrument.tick_size).quantize(Decimal(1), rounding=rounding)
        return max(steps, Decimal(1)) * self.instrument.tick_size

    @property
    def resting_bid(self) -> Decimal:
        return self.tick(self.row.bid * 0.8, ROUND_DOWN)

    @property
    def crossing_bid(self) -> Decimal:
        return self.tick(self.row.ask * 1.2, ROUND_UP)

    @property
    def crossing_ask(self) -> Decimal:
        return self.tick(self.row.bid * 0.8, ROUND_DOWN)


async def eventually(
    found: Callable[[], Awaitable[Any]], *, within_s: float = WITHIN_S, pause_s: float = 0.05
) -> Any:
    """The first truthy result; fails when there is none in time."""
    async with asyncio.timeout(within_s):
        while not (result := await found()):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(pause_s)
    return result


def fresh_id() -> int:
    return packed_id(OrderKey(desk=250, trade_number=next(_trades), leg_index=0, purpose="open", attempt=0))


async def a_tradable(venue: VenueUnderTest, option_type: str = "C") -> Tradable:
    """The most liquid option of the type near the money that does not expire within hours."""
    soonest_ns = time.time_ns() + 6 * 3_600 * 10**9
    listed = {item.symbol: item for item in await venue.market.instruments(venue.underlying)}
    wanted = [item for item in listed.values() if item.option_type == option_type and item.last_trade_ns > soonest_ns]
    chain = await venue.market.chain(venue.underlying, min(item.expiry_ns for item in wanted))
    liquid = [
        row
        for row in chain.rows
        if row.symbol in listed and listed[row.symbol].option_type == option_type and row.bid > 0 and row.ask > 0
    ]
    row = min(liquid, key=lambda quote: abs(abs(quote.delta) - 0.5))
    return Tradable(listed[row.symbol], row)


def new_order(option: Tradable, price: Decimal, *, lots: int = 1, **changes: Any) -> NewOrder:
    values: dict[str, Any] = {
        "client_order_id": fresh_id(),
        "symbol": option.instrument.symbol,
        "side": "buy",
        "quantity": option.instrument.lot_size * lots,
        "price": price,
    }
    return NewOrder(**(values | changes))


def reference(order: NewOrder, acked: OrderAcked | None = None) -> OrderRef:
    return OrderRef(
        client_order_id=order.client_order_id,
        venue_order_id=acked.venue_order_id if acked else None,
        symbol=order.symbol,
    )


async def placed(gateway: OrderGateway, order: NewOrder) -> OrderAcked:
    outcome = await gateway.place(order)
    assert isinstance(outcome, OrderAcked), outcome
    return outcome


async def in_state(gateway: OrderGateway, order: NewOrder, *states: str) -> VenueOrder:
    async def found() -> VenueOrder | None:
        seen = await gateway.order(order.client_order_id)
        return seen if seen is not None and seen.state in states else None

    result: VenueOrder = await eventually(found)
    return result


async def fills_of(gateway: OrderGateway, since_ns: int, venue_order_id: int) -> list[VenueFill]:
    return [fill for fill in await gateway.fills(since_ns) if fill.venue_order_id == venue_order_id]


async def position_in(gateway: OrderGateway, symbol: str) -> Decimal:
    return sum((item.quantity for item in await gateway.positions() if item.symbol == symbol), Decimal(0))


@asynccontextmanager
async def account_stream(gateway: OrderGateway) -> AsyncIterator[list[Any]]:
    """What the account stream delivers, from its first StreamUp on."""
    heard: list[Any] = []
    task = spawn(gateway.stream_account(heard.append), name="account stream of the contract")
    try:
        await eventually(lambda: _now(any(isinstance(item, StreamUp) for item in heard)))
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _now(value: Any) -> Any:
    return value


class OrderGatewayContract:
    """Everything that the desk takes for granted about a venue."""

    async def test_the_clock_and_the_key_can_be_asked(self, venue: VenueUnderTest) -> None:
        assert abs(await venue.orders.server_time_offset_ns()) < 5 * 10**9
        info = await venue.orders.key_info()
        assert info.user_id
        assert not info.read_only

    async def test_instruments_chain_and_index_agree(self, venue: VenueUnderTest) -> None:
        listed = {item.symbol: item for item in await venue.market.instruments(venue.underlying)}
        assert listed
        assert all(item.underlying == venue.underlying for item in listed.values())
        assert all(0 < item.min_quantity <= item.max_quantity for item in listed.values())
        expiry_ns = min(item.expiry_ns for item in listed.values())
        chain = await venue.market.chain(venue.underlying, expiry_ns)
        assert {row.symbol for row in chain.rows} == {
            symbol for symbol, item in listed.items() if item.expiry_ns == expiry_ns
        }
        index = await venue.market.index_price(venue.underlying)
        assert all(math.isnan(row.forward) or 0.5 < row.forward / index.price < 2 for row in chain.rows)

    async def test_market_streams_deliver_what_the_reads_show(self, venue: VenueUnderTest) -> None:
        listed = await venue.market.instruments(venue.underlying)
        expiry_ns = max(item.expiry_ns for item in listed)
        heard: list[Any] = []
        streaming = venue.market.stream_market([venue.underlying], lambda _name: [expiry_ns], heard.append)
        task = spawn(streaming, name="market streams of the contract")
        try:
            chain = await eventually(lambda: _now([item for item in heard if isinstance(item, ChainPush)]))
            index = await eventually(lambda: _now([item for item in heard if isinstance(item, IndexPush)]))
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert (chain[0].underlying, chain[0].expiry_ns) == (venue.underlying, expiry_ns)
        assert {row.symbol for row in chain[0].rows} <= {item.symbol for item in listed}
        assert index[0].underlying == venue.underlying
        assert index[0].price > 0
        assert any(isinstance(item, StreamUp) for item in heard)

    async def test_the_account_has_money_and_a_flat_one_no_positions(self, venue: VenueUnderTest) -> None:
        account = await venue.orders.account()
        assert account.equity_usd > 0
        assert account.available_margin_usd <= account.equity_usd
        assert await venue.poor.positions() == ()

    async def test_a_resting_order_is_seen_by_query_list_and_history_until_it_is_cancelled(
        self, venue: VenueUnderTest
    ) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid, lots=2)
        acked = await placed(venue.orders, order)
        resting = await in_state(venue.orders, order, "new")
        assert resting.venue_order_id == acked.venue_order_id
        assert (resting.symbol, resting.side) == (order.symbol, "buy")
        assert (resting.quantity, resting.price, resting.filled_quantity) == (order.quantity, order.price, Decimal(0))
        listed = [item for item in await venue.orders.open_orders() if item.venue_order_id == acked.venue_order_id]
        assert [(item.client_order_id, item.state) for item in listed] == [(order.client_order_id, "new")]
        assert isinstance(await venue.orders.cancel(reference(order, acked)), CancelAcked)
        await in_state(venue.orders, order, "cancelled")
        assert acked.venue_order_id not in {item.venue_order_id for item in await venue.orders.open_orders()}
        history = await venue.orders.order_history(venue.started_ns)
        assert [item.state for item in history if item.client_order_id == order.client_order_id] == ["cancelled"]

    async def test_an_order_can_be_cancelled_by_our_id_alone(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid)
        await placed(venue.orders, order)
        assert isinstance(await venue.orders.cancel(reference(order)), CancelAcked)
        await in_state(venue.orders, order, "cancelled")

    async def test_a_duplicate_client_id_places_nothing(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid)
        acked = await placed(venue.orders, order)
        assert not isinstance(await venue.orders.place(order), OrderAcked)
        ours = [item for item in await venue.orders.open_orders() if item.client_order_id == order.client_order_id]
        assert [item.venue_order_id for item in ours] == [acked.venue_order_id]
        await venue.orders.cancel(reference(order, acked))
        await in_state(venue.orders, order, "cancelled")

    async def test_a_reduce_only_order_without_a_position_is_refused(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.crossing_ask, side="sell", reduce_only=True)
        assert await position_in(venue.orders, order.symbol) == 0
        outcome = await venue.orders.place(order)
        assert isinstance(outcome, OrderRefused), outcome
        assert outcome.kind == "rejected"
        assert await position_in(venue.orders, order.symbol) == 0

    async def test_an_order_beyond_the_margin_is_refused(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.crossing_ask, side="sell", lots=100)
        outcome = await venue.poor.place(order)
        assert isinstance(outcome, OrderRefused), outcome
        assert outcome.kind == "rejected"
        assert await venue.poor.order(order.client_order_id) is None

    async def test_an_order_below_the_smallest_quantity_is_refused(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid, quantity=option.instrument.min_quantity / 10)
        outcome = await venue.orders.place(order)
        assert isinstance(outcome, OrderRefused), outcome
        assert outcome.kind == "rejected"

    async def test_an_order_that_nobody_placed_is_none_and_cannot_be_cancelled(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        never = new_order(option, option.resting_bid)
        assert await venue.orders.order(never.client_order_id) is None
        assert isinstance(await venue.orders.cancel(reference(never)), CancelRefused)

    async def test_a_crossing_order_fills_with_a_fee_and_a_reduce_only_one_closes_the_position(
        self, venue: VenueUnderTest
    ) -> None:
        option = await a_tradable(venue)
        opening = new_order(option, option.crossing_bid, lots=3)
        acked = await placed(venue.orders, opening)
        filled = await in_state(venue.orders, opening, "filled")
        assert filled.filled_quantity == opening.quantity
        assert filled.average_price is not None
        assert 0 < filled.average_price <= opening.price
        fills = await eventually(lambda: fills_of(venue.orders, venue.started_ns, acked.venue_order_id))
        assert sum(fill.quantity for fill in fills) == opening.quantity
        assert len({fill.venue_trade_id for fill in fills}) == len(fills)
        assert all(fill.fee_usd is not None and fill.fee_usd > 0 and fill.side == "buy" for fill in fills)
        assert await position_in(venue.orders, opening.symbol) == opening.quantity
        closing = new_order(option, option.crossing_ask, side="sell", lots=3, reduce_only=True)
        await placed(venue.orders, closing)
        await in_state(venue.orders, closing, "filled")
        assert await position_in(venue.orders, opening.symbol) == 0

    async def test_a_short_position_is_negative(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        opening = new_order(option, option.crossing_ask, side="sell", lots=2)
        await placed(venue.orders, opening)
        await in_state(venue.orders, opening, "filled")
        assert await position_in(venue.orders, opening.symbol) == -opening.quantity
        closing = new_order(option, option.crossing_bid, lots=2, reduce_only=True)
        await placed(venue.orders, closing)
        await in_state(venue.orders, closing, "filled")
        assert await position_in(venue.orders, opening.symbol) == 0

    async def test_immediate_orders_never_rest(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        for time_in_force in ("IOC", "FOK"):
            order = new_order(option, option.resting_bid, time_in_force=time_in_force)
            outcome = await venue.orders.place(order)
            if isinstance(outcome, OrderAcked):
                done = await in_state(venue.orders, order, "cancelled", "invalid")
                assert done.filled_quantity == 0
            else:
                assert isinstance(outcome, OrderRefused)

    async def test_a_post_only_order_never_takes(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.crossing_bid, post_only=True)
        outcome = await venue.orders.place(order)
        if isinstance(outcome, OrderAcked):
            done = await in_state(venue.orders, order, "cancelled", "invalid")
            assert done.filled_quantity == 0
        else:
            assert isinstance(outcome, OrderRefused)

    async def test_an_amendment_changes_the_order_under_the_same_ids(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid, lots=2)
        acked = await placed(venue.orders, order)
        price = order.price - option.instrument.tick_size
        amended = await venue.orders.amend(Amendment(order=reference(order, acked), price=price))
        assert amended == AmendAcked(client_order_id=order.client_order_id, venue_order_id=acked.venue_order_id)

        async def changed() -> bool:
            seen = await venue.orders.order(order.client_order_id)
            return seen is not None and (seen.price, seen.quantity) == (price, order.quantity)

        await eventually(changed)
        await venue.orders.cancel(reference(order, acked))
        await in_state(venue.orders, order, "cancelled")

    async def test_cancel_all_leaves_nothing_open(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        orders = [new_order(option, option.resting_bid) for _ in range(3)]
        await asyncio.gather(*(placed(venue.orders, order) for order in orders))
        assert isinstance(await venue.orders.cancel_all(venue.underlying), CancelAcked)
        for order in orders:
            await in_state(venue.orders, order, "cancelled")
        assert not [item for item in await venue.orders.open_orders() if item.state in OPEN_VENUE_STATES]

    @pytest.mark.parametrize("who", ["orders", "maker"])
    async def test_a_batch_is_placed_amended_and_cancelled_order_by_order_with_the_right_or_without(
        self, venue: VenueUnderTest, who: str
    ) -> None:
        gateway: OrderGateway = getattr(venue, who)
        option = await a_tradable(venue)
        good = [new_order(option, option.resting_bid, lots=2) for _ in range(3)]
        small = new_order(option, option.resting_bid, quantity=option.instrument.min_quantity / 10)
        outcomes = await gateway.place_batch([good[0], small, *good[1:]])
        assert [type(each) for each in outcomes] == [OrderAcked, OrderRefused, OrderAcked, OrderAcked]
        acked = [each for each in outcomes if isinstance(each, OrderAcked)]
        assert [each.client_order_id for each in acked] == [order.client_order_id for order in good]
        refs = [reference(order, each) for order, each in zip(good, acked, strict=True)]
        price = good[0].price - option.instrument.tick_size
        gone = OrderRef(client_order_id=fresh_id(), venue_order_id=5, symbol=good[0].symbol)
        amended = await gateway.amend_batch([Amendment(order=ref, price=price) for ref in (refs[2], gone, refs[0])])
        assert [(type(each), each.client_order_id) for each in amended] == [
            (AmendAcked, good[2].client_order_id),
            (AmendRefused, gone.client_order_id),
            (AmendAcked, good[0].client_order_id),
        ]
        cancelled = await gateway.cancel_batch([refs[1], gone, *refs[::2]])
        assert [type(each) for each in cancelled] == [CancelAcked, CancelRefused, CancelAcked, CancelAcked]
        seen = [await in_state(gateway, order, "cancelled") for order in good]
        assert [order.price for order in seen] == [price, good[1].price, price]

    async def test_lists_of_many_pages_are_complete_and_without_repeats(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        orders = [new_order(option, option.resting_bid) for _ in range(7)]
        ids = {(await placed(venue.orders, order)).venue_order_id for order in orders}
        venue.page_size(3)
        listed = [item.venue_order_id for item in await venue.orders.open_orders() if item.venue_order_id in ids]
        assert sorted(listed) == sorted(ids)
        await venue.orders.cancel_all(venue.underlying)
        for order in orders:
            await in_state(venue.orders, order, "cancelled")
        history = [item.venue_order_id for item in await venue.orders.order_history(venue.started_ns)]
        assert sorted(number for number in history if number in ids) == sorted(ids)
        assert len(set(history)) == len(history)

    async def test_fills_of_many_pages_are_complete_and_without_repeats(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        ids = set()
        for side, price in [("buy", option.crossing_bid), ("sell", option.crossing_ask)] * 3:
            order = new_order(option, price, side=side)
            ids.add((await placed(venue.orders, order)).venue_order_id)
            await in_state(venue.orders, order, "filled")
        venue.page_size(2)
        fills = [fill for fill in await venue.orders.fills(venue.started_ns) if fill.venue_order_id in ids]
        assert {fill.venue_order_id for fill in fills} == ids
        assert len({fill.venue_trade_id for fill in fills}) == len(fills)
        assert sum(fill.quantity for fill in fills) == option.instrument.lot_size * 6

    async def test_lists_since_now_leave_out_what_was_before(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid)
        acked = await placed(venue.orders, order)
        await venue.orders.cancel(reference(order, acked))
        done = await in_state(venue.orders, order, "cancelled")
        later = await venue.orders.order_history(done.created_ns + 10**9)
        assert acked.venue_order_id not in {item.venue_order_id for item in later}
        assert await venue.orders.exercises(venue.started_ns) == ()

    async def test_the_account_stream_reports_orders_and_the_same_fills_as_the_history(
        self, venue: VenueUnderTest
    ) -> None:
        option = await a_tradable(venue)
        async with account_stream(venue.orders) as heard:
            resting = new_order(option, option.resting_bid)
            await placed(venue.orders, resting)
            await venue.orders.cancel(reference(resting))
            taking = new_order(option, option.crossing_bid)
            acked = await placed(venue.orders, taking)

            def states(order: NewOrder) -> list[str]:
                own = (item for item in heard if isinstance(item, VenueOrder))
                return [item.state for item in own if item.client_order_id == order.client_order_id]

            await eventually(lambda: _now("cancelled" in states(resting) and "filled" in states(taking)))
            await eventually(lambda: _now([item for item in heard if isinstance(item, VenueFill)]))
        assert states(resting)[0] == "new"
        pushed = {item.venue_trade_id: item for item in heard if isinstance(item, VenueFill)}
        recorded = await eventually(lambda: fills_of(venue.orders, venue.started_ns, acked.venue_order_id))
        assert {fill.venue_trade_id for fill in recorded} == pushed.keys()
        for fill in recorded:
            push = pushed[fill.venue_trade_id]
            assert (push.quantity, push.price, push.side) == (fill.quantity, fill.price, fill.side)
            assert push.client_order_id == taking.client_order_id
        closing = new_order(option, option.crossing_ask, side="sell", reduce_only=True)
        await placed(venue.orders, closing)
        await in_state(venue.orders, closing, "filled")

"""The desk's client reads either answer of the venue's open questions: about failures, dated futures and expiries."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

import msgspec
import pytest

from services.exchange.switches import Switches
from shared.messages.venue import CancelRefused, NewOrder, OrderRef, OrderRefused, VenueOrder
from shared.secrets import ApiKey
from shared.venues.coincall import EveryProduct, simulated
from shared.venues.ports import VenueError
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
)
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, TimeMachine, small_config

KEY = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
HOUR_MS = 3_600_000
NS_PER_MS = 1_000_000


class Desk:
    """A gateway to an exchange of its own, whose clock can be set forward."""

    def __init__(self, exchange: RunningExchange, clock: TimeMachine) -> None:
        self.exchange = exchange
        self.clock = clock
        self.gateway = self.another(KEY)
        self.since_ns = clock.now_ns() - 60 * 10**9

    def another(self, key: ApiKey) -> EveryProduct:
        return EveryProduct(simulated("127.0.0.1", self.exchange.port), key, backoff_s=(0.1,))

    async def option(self) -> Tradable:
        gateway = self.gateway
        return await a_tradable(
            VenueUnderTest(gateway, gateway, gateway, gateway, "BTCUSD", lambda _: None, self.since_ns)
        )

    async def travel(self, to_ns: int) -> None:
        """Set the venue's clock forward; the gateway measures it again."""
        self.clock.travel_to(to_ns // NS_PER_MS)
        await self.gateway.start()


@asynccontextmanager
async def desk_at(**switches: Any) -> AsyncIterator[Desk]:
    clock = TimeMachine(time.time_ns)
    async with RunningExchange(small_config(switches=Switches(**switches)), now_ns=clock.now_ns) as exchange:
        desk = Desk(exchange, clock)
        await desk.gateway.start()
        yield desk
        await desk.gateway.close()


@pytest.mark.parametrize("status", ["http_200", "http_4xx"])
@pytest.mark.parametrize(
    "codes",
    [
        {},
        {
            "unknown_key_code": 2016,
            "expired_code": 10561,
            "missing_parameter_code": 10005,
            "wrong_parameter_code": 10005,
            "unknown_option_code": 40034,
        },
    ],
)
async def test_what_the_venue_refuses_is_a_refusal_whatever_its_code_and_status(
    status: str, codes: dict[str, int]
) -> None:
    """None of them may be taken for an order whose outcome is unknown, or for one that may have been placed."""
    async with desk_at(failure_status=status, **codes) as desk:
        gateway, option = desk.gateway, await desk.option()
        order = new_order(option, option.resting_bid)
        for wrong in ({"symbol": "BTCUSD-1JAN20-1000-C"}, {"quantity": order.quantity / 3}):
            refused = await gateway.place(msgspec.structs.replace(order, client_order_id=fresh_id(), **wrong))
            assert isinstance(refused, OrderRefused), refused
            assert refused.kind == "rejected"
        gone = OrderRef(client_order_id=fresh_id(), venue_order_id=None, symbol=order.symbol)
        assert isinstance(await gateway.cancel(gone), CancelRefused)
        assert await gateway.order(fresh_id()) is None
        # The venue's clock runs away: the first order is refused for its time, the next one has the new time.
        desk.clock.ahead_ns += HOUR_MS * NS_PER_MS
        late = await gateway.place(msgspec.structs.replace(order, client_order_id=fresh_id()))
        assert isinstance(late, OrderRefused), late
        assert late.kind == "throttled"
        # So low that it rests wherever the market has gone in that hour.
        low = option.tick(option.row.bid * 0.3, ROUND_DOWN)
        again = msgspec.structs.replace(order, client_order_id=fresh_id(), price=low)
        await placed(gateway, again)
        await in_state(gateway, again, "new")
        stranger = desk.another(ApiKey(key="NOBODY", secret="x" * 32))
        with pytest.raises(VenueError) as unknown:
            await stranger.positions()
        assert unknown.value.kind == "auth"
        await stranger.close()


@pytest.mark.parametrize("order_state", [10, 3])
@pytest.mark.parametrize("position_state", ["closed", "open"])
@pytest.mark.parametrize("delay_ms", [0, 30_000])
async def test_an_expiry_ends_orders_and_positions_however_it_is_told(
    order_state: int, position_state: str, delay_ms: int
) -> None:
    switches = {"expired_order_state": order_state, "expired_position_state": position_state}
    async with desk_at(**switches, settlement_delay_ms=delay_ms) as desk:
        gateway, option = desk.gateway, await desk.option()
        bought = new_order(option, option.tick(option.row.ask * 2, ROUND_UP), lots=2)
        await placed(gateway, bought)
        await in_state(gateway, bought, "filled")
        # Far above what the market may reach at an expiry on the way.
        far_above = option.tick(option.row.ask + float(option.instrument.strike) * 0.04, ROUND_UP)
        resting = new_order(option, far_above, side="sell")
        await placed(gateway, resting)
        expected = "exercised" if order_state == 10 else "cancelled"
        async with account_stream(gateway) as heard:
            await desk.travel(option.instrument.expiry_ns + 10**9)
            if delay_ms:
                assert await position_in(gateway, bought.symbol) == bought.quantity
                assert await gateway.exercises(desk.since_ns) == ()
                await desk.travel(option.instrument.expiry_ns + delay_ms * NS_PER_MS + 10**9)

            async def told() -> list[VenueOrder]:
                ours = [each for each in heard if isinstance(each, VenueOrder) and each.symbol == resting.symbol]
                return [each for each in ours if each.client_order_id == resting.client_order_id]

            async def ended() -> bool:
                return bool([each for each in await told() if each.state == expected])

            await eventually(ended)
        assert (await in_state(gateway, resting, expected)).filled_quantity == 0
        assert await position_in(gateway, bought.symbol) == 0
        (exercise,) = await gateway.exercises(desk.since_ns)
        assert (exercise.symbol, exercise.quantity) == (bought.symbol, bought.quantity)


@pytest.mark.parametrize("form", ["plain", "padded", "usdt"])
@pytest.mark.parametrize("settlement", ["mean", "last"])
async def test_a_dated_future_is_read_traded_and_delivered_whatever_its_name(form: str, settlement: str) -> None:
    switches = {"dated_symbol": form, "dated_settlement": settlement, "dated_cycle": "weeks_and_quarters"}
    async with desk_at(**switches, dated_tickers=True) as desk:
        gateway = desk.gateway
        tickers = {each.symbol: each for each in await gateway.futures.tickers()}
        dated = [each for each in await gateway.futures.instruments("BTCUSD") if each.symbol in tickers]
        assert len(dated) >= 2
        soon_ns = time.time_ns() + HOUR_MS * NS_PER_MS
        future = next(each for each in dated if each.last_trade_ns > soon_ns)
        ticker = tickers[future.symbol]
        assert (ticker.kind, ticker.underlying, ticker.expiry_ns) == ("future", "BTCUSD", future.expiry_ns)
        order = NewOrder(
            client_order_id=fresh_id(),
            symbol=future.symbol,
            side="sell",
            quantity=Decimal("0.2"),
            price=(Decimal(str(ticker.mark)) * Decimal("0.99")).quantize(Decimal(1)),
        )
        await placed(gateway, order)
        await in_state(gateway, order, "filled")
        assert await position_in(gateway, future.symbol) == Decimal("-0.2")
        await desk.travel(future.expiry_ns + 10**9)

        async def delivered() -> tuple[Any, ...]:
            return await gateway.deliveries(desk.since_ns)

        (delivery,) = await eventually(delivered)
        assert (delivery.symbol, delivery.quantity) == (future.symbol, Decimal("-0.2"))
        assert await gateway.positions() == ()

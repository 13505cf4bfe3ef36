"""What is tried on a real venue: subclass `LiveChecks` and provide the fixture `account`.

Every order goes through `CappedGateway`, which refuses what is larger than `QUANTITY_MAX` or dearer than
`PREMIUM_MAX_USD` before it leaves, and each test ends with no order of its own open and no position of its own held.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from shared.clock import wall_ns
from shared.messages.rfq import RfqCancelled, RfqCreated, RfqLeg, VenueQuote, VenueRfq
from shared.messages.venue import NewOrder, OrderAcked, OrderRef, OrderRefused, OutcomeUnknown, VenueFill, VenueOrder
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, check_key
from tests.contract.order_gateway import Tradable, account_stream, eventually, fresh_id

QUANTITY_MAX = Decimal("0.01")
PREMIUM_MAX_USD = Decimal(150)


class CapExceeded(AssertionError):
    """An order that no live test may send."""


class CappedGateway:
    """Places orders within the hard cap and remembers them."""

    def __init__(self, gateway: CoincallGateway) -> None:
        self.reads = gateway
        self.placed: list[NewOrder] = []

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        premium_usd = order.quantity * order.price
        if order.quantity > QUANTITY_MAX or premium_usd > PREMIUM_MAX_USD:
            raise CapExceeded(
                f"{order.quantity} at {order.price} is above the cap: {QUANTITY_MAX} and {PREMIUM_MAX_USD} USD"
            )
        self.placed.append(order)
        return await self.reads.place(order)

    async def cancel(self, order: NewOrder) -> None:
        await self.reads.cancel(
            OrderRef(client_order_id=order.client_order_id, venue_order_id=None, symbol=order.symbol)
        )

    async def state_of(self, order: NewOrder) -> VenueOrder | None:
        return await self.reads.order(order.client_order_id)


@dataclass
class LiveAccount:
    """One funded account of a venue, seen with its trading key."""

    gateway: CappedGateway
    underlying: str = "BTCUSD"


@asynccontextmanager
async def live_account(endpoints: CoincallEndpoints, key: ApiKey) -> AsyncIterator[LiveAccount]:
    """Opens the gateway and, whatever happens, cancels what the test placed."""
    gateway = CoincallGateway(endpoints, key)
    await gateway.start()
    capped = CappedGateway(gateway)
    try:
        yield LiveAccount(capped)
    finally:
        for order in capped.placed:
            seen = await capped.state_of(order)
            if seen is not None and seen.state in ("new", "partial"):
                await capped.cancel(order)
        await gateway.close()


async def small_option(account: LiveAccount) -> Tradable:
    """The cheapest liquid call or put, days away, whose smallest order is within the cap on both sides."""
    reads = account.gateway.reads
    soonest_ns = wall_ns() + 24 * 3_600 * 10**9
    listed = {item.symbol: item for item in await reads.instruments(account.underlying)}
    expiries = sorted({item.expiry_ns for item in listed.values() if item.last_trade_ns > soonest_ns})
    for expiry_ns in expiries[:4]:
        chain = await reads.chain(account.underlying, expiry_ns)
        options = [
            Tradable(listed[row.symbol], row)
            for row in chain.rows
            if row.symbol in listed and row.bid > 0 and row.ask > 0 and 0.05 < abs(row.delta) < 0.6
        ]
        affordable = [
            option
            for option in options
            if option.instrument.min_quantity <= QUANTITY_MAX
            and option.crossing_bid * option.instrument.min_quantity <= PREMIUM_MAX_USD
        ]
        if affordable:
            return min(affordable, key=lambda option: (option.row.ask - option.row.bid) / option.row.ask)
    raise AssertionError(f"{account.underlying} has no option with a book within the cap in its next four expiries")


class LiveChecks:
    """The same on every venue. `makers_answer`: somebody is there who quotes whatever is asked for."""

    makers_answer = False
    quotes_within_s = 8.0

    async def test_the_key_may_trade_and_the_clock_is_close(self, account: LiveAccount) -> None:
        assert await check_key(account.gateway.reads, need_trading=True) == ()

    async def test_everything_that_is_only_read_can_be_read(self, account: LiveAccount) -> None:
        reads = account.gateway.reads
        listed = await reads.instruments(account.underlying)
        index = await reads.index_price(account.underlying)
        chain = await reads.chain(
            account.underlying, min(item.expiry_ns for item in listed if item.expiry_ns > wall_ns())
        )
        forwards = [row.forward / index.price for row in chain.rows if not math.isnan(row.forward)]
        assert forwards
        assert all(0.5 < ratio < 2 for ratio in forwards)
        since_ns = wall_ns() - 24 * 3_600 * 10**9
        assert (await reads.account()).equity_usd >= 0
        await reads.positions()
        await reads.open_orders()
        await reads.order_history(since_ns)
        await reads.fills(since_ns)
        await reads.exercises(since_ns)
        await reads.transfers(since_ns)

    async def test_an_order_above_the_cap_never_leaves(self, account: LiveAccount) -> None:
        option = await small_option(account)
        for quantity, price in ((QUANTITY_MAX * 2, Decimal(1)), (QUANTITY_MAX, PREMIUM_MAX_USD * 101)):
            order = NewOrder(
                client_order_id=fresh_id(),
                symbol=option.instrument.symbol,
                side="buy",
                quantity=quantity,
                price=price,
            )
            with pytest.raises(CapExceeded):
                await account.gateway.place(order)
            assert await account.gateway.state_of(order) is None

    async def test_an_order_far_from_the_market_rests_is_seen_and_is_cancelled(self, account: LiveAccount) -> None:
        option = await small_option(account)
        order = self._order(option, "buy", option.tick(option.row.bid * 0.8, ROUND_DOWN), post_only=True)
        async with account_stream(account.gateway.reads) as heard:
            outcome = await account.gateway.place(order)
            assert isinstance(outcome, OrderAcked), outcome
            await self._until(account, order, "new")
            await account.gateway.cancel(order)
            await self._until(account, order, "cancelled")
            pushed = [item for item in heard if isinstance(item, VenueOrder)]
        assert order.client_order_id in {item.client_order_id for item in pushed}
        repeated = await account.gateway.place(order)
        assert not isinstance(repeated, OrderAcked), "an id that was used once was taken again"

    async def test_a_hundredth_is_bought_and_sold_again(self, account: LiveAccount) -> None:
        reads = account.gateway.reads
        option = await small_option(account)
        before = await self._position(account, option)
        since_ns = wall_ns() - 60 * 10**9
        bought = self._order(option, "buy", option.crossing_bid)
        outcome = await account.gateway.place(bought)
        assert isinstance(outcome, OrderAcked), outcome
        await self._until(account, bought, "filled")
        assert await self._position(account, option) == before + bought.quantity

        price = max(option.tick(option.row.bid * 0.9, ROUND_DOWN), option.instrument.tick_size)
        sold = self._order(option, "sell", price, reduce_only=True)
        closing = await account.gateway.place(sold)
        assert isinstance(closing, OrderAcked), f"{closing}: close {option.instrument.symbol} by hand"
        await self._until(account, sold, "filled")
        assert await self._position(account, option) == before

        async def listed() -> list[VenueFill] | None:
            ours = {outcome.venue_order_id, closing.venue_order_id}
            fills = [fill for fill in await reads.fills(since_ns) if fill.venue_order_id in ours]
            return fills if sum(fill.quantity for fill in fills) == 2 * bought.quantity else None

        fills = await eventually(listed)
        assert all(fill.fee_usd is None or fill.fee_usd >= 0 for fill in fills)

    async def test_quotes_are_asked_for_and_the_request_is_cancelled_without_accepting(
        self, account: LiveAccount
    ) -> None:
        reads = account.gateway.reads
        option = await small_option(account)
        leg = RfqLeg(symbol=option.instrument.symbol, side="buy", quantity=option.instrument.min_quantity)
        assert leg.quantity <= QUANTITY_MAX
        async with account_stream(reads) as heard:
            created = await reads.create_rfq("live-check", (leg,), closes=False)
            assert isinstance(created, RfqCreated), created
            try:
                quotes = await self._quotes(account, created.request_id)
            finally:
                cancelled = await reads.cancel_rfq(created.request_id)
            assert isinstance(cancelled, RfqCancelled), f"request {created.request_id} is still open: {cancelled}"

            async def gone() -> bool:
                pushed = [item for item in heard if isinstance(item, VenueRfq)]
                return any((each.request_id, each.state) == (created.request_id, "cancelled") for each in pushed)

            await eventually(gone)
        for quote in quotes:
            assert [(each.symbol, each.quantity) for each in quote.legs] == [(leg.symbol, leg.quantity)]
            assert quote.quote_side in (None, quote.legs[0].side), "the sides of a quote are the maker's"

    async def _quotes(self, account: LiveAccount, request_id: str) -> tuple[VenueQuote, ...]:
        """What makers answer within `quotes_within_s`; where nobody must answer, nothing is an answer too."""

        async def received() -> tuple[VenueQuote, ...]:
            return await account.gateway.reads.quotes_received(request_id)

        try:
            found: tuple[VenueQuote, ...] = await eventually(received, within_s=self.quotes_within_s, pause_s=0.5)
        except TimeoutError:
            assert not self.makers_answer, f"nobody quoted within {self.quotes_within_s:g} s"
            return ()
        return found

    def _order(self, option: Tradable, side: Any, price: Decimal, **changes: Any) -> NewOrder:
        return NewOrder(
            client_order_id=fresh_id(),
            symbol=option.instrument.symbol,
            side=side,
            quantity=option.instrument.min_quantity,
            price=price,
            **changes,
        )

    async def _until(self, account: LiveAccount, order: NewOrder, state: str) -> None:
        async def reached() -> bool:
            seen = await account.gateway.state_of(order)
            return seen is not None and seen.state == state

        await eventually(reached)

    async def _position(self, account: LiveAccount, option: Tradable) -> Decimal:
        held = await account.gateway.reads.positions()
        return sum((item.quantity for item in held if item.symbol == option.instrument.symbol), Decimal(0))

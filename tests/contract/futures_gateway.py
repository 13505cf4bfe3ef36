"""What every venue's futures must do behind our client: subclass `FuturesContract` and provide the fixture `venue`.

The tests trade: run them against simulated exchanges and test environments only.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.contracts import (
    ContractOrder,
    FuturesPosition,
    FuturesSpec,
    LeverageRefused,
    LeverageSet,
)
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    StreamUp,
    VenueFill,
    VenueOrder,
)
from shared.tasks import spawn
from shared.venues.coincall.futures import CoincallFutures
from tests.contract.order_gateway import eventually, fresh_id

SYMBOL = "BTCUSD"


@dataclass
class FuturesUnderTest:
    """A funded account without positions, the contract's steps, and when the test began."""

    futures: CoincallFutures
    spec: FuturesSpec
    started_ns: int

    async def mark(self, symbol: str = SYMBOL) -> Decimal:
        (ticker,) = [each for each in await self.futures.tickers() if each.symbol == symbol]
        assert ticker.mark is not None
        return Decimal(str(ticker.mark))

    async def order(self, factor: str | None = "0.9", *, lots: int = 10, **fields: Any) -> ContractOrder:
        """A buy at so much of the mark, on the tick; a market order without a factor."""
        price = None
        if factor is not None:
            steps = (await self.mark() * Decimal(factor) / self.spec.tick_size).to_integral_value()
            price = steps * self.spec.tick_size
        values: dict[str, Any] = {
            "client_order_id": fresh_id(),
            "symbol": SYMBOL,
            "side": "buy",
            "quantity": self.spec.lot_size * lots,
            "order_type": "market" if price is None else "limit",
            "price": price,
        }
        return ContractOrder(**(values | fields))

    async def placed(self, order: ContractOrder) -> OrderAcked:
        outcome = await self.futures.place(order)
        assert isinstance(outcome, OrderAcked), outcome
        return outcome

    async def in_state(self, order: ContractOrder, *states: str) -> VenueOrder:
        async def found() -> VenueOrder | None:
            seen = await self.futures.order(order.client_order_id)
            return seen if seen is not None and seen.state in states else None

        result: VenueOrder = await eventually(found)
        return result

    async def position(self) -> FuturesPosition | None:
        return next((each for each in await self.futures.positions() if each.symbol == SYMBOL), None)


def named(order: ContractOrder, acked: OrderAcked | None = None) -> OrderRef:
    venue_order_id = None if acked is None else acked.venue_order_id
    return OrderRef(client_order_id=order.client_order_id, venue_order_id=venue_order_id, symbol=order.symbol)


class FuturesContract:
    async def test_a_perpetual_has_a_mark_near_the_index_a_book_trades_bars_and_a_funding_rate(
        self, venue: FuturesUnderTest
    ) -> None:
        tickers = {ticker.symbol: ticker for ticker in await venue.futures.tickers()}
        perpetual = tickers[SYMBOL]
        assert (perpetual.kind, perpetual.expiry_ns) == ("perpetual", None)
        assert perpetual.mark == pytest.approx(perpetual.index, rel=0.05)
        assert all(ticker.expiry_ns is not None for ticker in tickers.values() if ticker.kind == "future")
        (rate,) = [each for each in await venue.futures.funding_rates() if each.symbol == SYMBOL]
        assert abs(rate.rate) < Decimal("0.05")
        assert rate.next_funding_ns > rate.venue_ns
        assert (await venue.futures.order_book(SYMBOL)).bids
        assert {trade.symbol for trade in await venue.futures.last_trades(SYMBOL)} == {SYMBOL}
        bars = await venue.futures.klines(SYMBOL, "1m", venue.started_ns - 3_600 * 10**9, venue.started_ns + 10**12)
        assert bars
        assert all(bar.low <= bar.open <= bar.high for bar in bars)

    async def test_a_resting_order_is_seen_by_query_list_and_history_until_it_is_cancelled(
        self, venue: FuturesUnderTest
    ) -> None:
        order = await venue.order()
        acked = await venue.placed(order)
        resting = await venue.in_state(order, "new")
        assert (resting.symbol, resting.side, resting.quantity) == (SYMBOL, "buy", order.quantity)
        assert resting.price == order.price
        listed = [each for each in await venue.futures.open_orders() if each.venue_order_id == acked.venue_order_id]
        assert [each.client_order_id for each in listed] == [order.client_order_id]
        assert isinstance(await venue.futures.cancel(named(order, acked)), CancelAcked)
        await venue.in_state(order, "cancelled")
        history = await venue.futures.order_history(venue.started_ns)
        assert [each.state for each in history if each.client_order_id == order.client_order_id] == ["cancelled"]
        assert isinstance(await venue.futures.cancel(named(order, acked)), CancelRefused)

    async def test_a_duplicate_client_id_places_nothing(self, venue: FuturesUnderTest) -> None:
        order = await venue.order()
        acked = await venue.placed(order)
        assert not isinstance(await venue.futures.place(order), OrderAcked)
        ours = [each for each in await venue.futures.open_orders() if each.client_order_id == order.client_order_id]
        assert [each.venue_order_id for each in ours] == [acked.venue_order_id]
        await venue.futures.cancel(named(order))
        await venue.in_state(order, "cancelled")

    async def test_an_order_that_nobody_placed_is_none_and_cannot_be_cancelled(self, venue: FuturesUnderTest) -> None:
        never = await venue.order()
        assert await venue.futures.order(never.client_order_id) is None
        assert isinstance(await venue.futures.cancel(named(never)), CancelRefused)

    async def test_an_amendment_changes_price_and_quantity(self, venue: FuturesUnderTest) -> None:
        order = await venue.order()
        acked = await venue.placed(order)
        assert order.price is not None
        change = Amendment(
            order=named(order, acked), quantity=order.quantity * 2, price=order.price - venue.spec.tick_size
        )
        assert isinstance(await venue.futures.amend(change), AmendAcked)
        seen = await venue.in_state(order, "new")
        assert (seen.quantity, seen.price) == (change.quantity, change.price)
        await venue.futures.cancel_symbol(SYMBOL)
        await venue.in_state(order, "cancelled")

    async def test_a_market_order_fills_with_a_fee_and_a_reduce_only_one_closes_the_position(
        self, venue: FuturesUnderTest
    ) -> None:
        closing = await venue.order(None, side="sell", reduce_only=True)
        outcome = await venue.futures.place(closing)
        assert isinstance(outcome, OrderRefused), outcome
        assert outcome.kind == "rejected"
        opening = await venue.order(None)
        acked = await venue.placed(opening)
        filled = await venue.in_state(opening, "filled")
        assert filled.filled_quantity == opening.quantity
        fills = [
            each
            for each in await venue.futures.fills(venue.started_ns)
            if each.venue_order_id == acked.venue_order_id
        ]
        assert sum(fill.quantity for fill in fills) == opening.quantity
        assert all(fill.fee_usd is not None and fill.fee_usd > 0 for fill in fills)
        position = await venue.position()
        assert position is not None
        assert position.quantity == opening.quantity
        assert position.initial_margin_usd > position.maintenance_margin_usd > 0
        refused = await venue.futures.set_leverage(SYMBOL, position.leverage + 1)
        assert isinstance(refused, LeverageRefused), refused
        again = await venue.order(None, side="sell", reduce_only=True)
        await venue.placed(again)
        await venue.in_state(again, "filled")
        assert await venue.position() is None

    async def test_leverage_can_be_set_while_there_is_no_position(self, venue: FuturesUnderTest) -> None:
        assert await venue.futures.set_leverage(SYMBOL, 7) == LeverageSet(symbol=SYMBOL, leverage=7)
        assert await venue.futures.leverage(SYMBOL) == 7
        await venue.futures.set_leverage(SYMBOL, 10)

    @pytest.mark.parametrize("order_type", ["stop_market", "stop_limit"])
    async def test_a_stop_order_waits_among_the_open_ones_until_it_is_cancelled(
        self, venue: FuturesUnderTest, order_type: str
    ) -> None:
        trigger = (await venue.mark() * Decimal("0.8")).quantize(Decimal(1))
        price = trigger if order_type == "stop_limit" else None
        stop = await venue.order(None, side="sell", order_type=order_type, price=price, trigger_price=trigger)
        acked = await venue.placed(stop)
        seen = await venue.in_state(stop, "waiting")
        assert (seen.filled_quantity, seen.at_market) == (0, order_type == "stop_market")
        assert acked.venue_order_id in {each.venue_order_id for each in await venue.futures.open_orders()}
        assert isinstance(await venue.futures.cancel(named(stop, acked)), CancelAcked)
        await venue.in_state(stop, "cancelled")

    async def test_a_post_only_order_never_takes(self, venue: FuturesUnderTest) -> None:
        order = await venue.order("1.02", order_type="post_only")
        outcome = await venue.futures.place(order)
        if isinstance(outcome, OrderAcked):
            assert (await venue.in_state(order, "cancelled", "invalid")).filled_quantity == 0
        else:
            assert isinstance(outcome, OrderRefused)

    async def test_the_stream_tells_orders_and_fills(self, venue: FuturesUnderTest) -> None:
        heard: list[Any] = []
        task = spawn(venue.futures.stream_account(heard.append), name="futures stream of the contract")

        async def up() -> bool:
            return any(isinstance(each, StreamUp) for each in heard)

        try:
            await eventually(up)
            opening = await venue.order(None)
            acked = await venue.placed(opening)

            async def told() -> bool:
                orders = {each.state for each in heard if isinstance(each, VenueOrder)}
                fills = [each for each in heard if isinstance(each, VenueFill)]
                filled = sum(each.quantity for each in fills if each.venue_order_id == acked.venue_order_id)
                return "filled" in orders and filled == opening.quantity

            await eventually(told)
            closing = await venue.order(None, side="sell", reduce_only=True)
            await venue.placed(closing)
            await venue.in_state(closing, "filled")
        finally:
            task.cancel()


@pytest.mark.parametrize(
    "fields",
    [
        {"order_type": "market", "price": Decimal(1)},
        {"order_type": "limit"},
        {"order_type": "stop_market"},
        {"order_type": "limit", "price": Decimal(1), "trigger_price": Decimal(1)},
        {"order_type": "market", "time_in_force": "IOC"},
    ],
)
def test_an_order_that_contradicts_itself_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not go with"):
        ContractOrder(client_order_id=1, symbol=SYMBOL, side="buy", quantity=Decimal(1), **fields)

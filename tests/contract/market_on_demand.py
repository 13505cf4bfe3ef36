"""What every venue behind the desk's market ports must do on demand: order books, last trades, k-lines.

Subclass `MarketOnDemandContract` and provide the fixture `venue`. Two tests place an order each that crosses.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from shared.messages.on_demand import PERIOD_NS, KlinePeriod
from shared.messages.venue import StreamUp
from shared.options.book import unpack_levels
from shared.tasks import spawn
from shared.venues.ports import BookPush, LastTradesPush, VenueError
from tests.contract.order_gateway import VenueUnderTest, a_tradable, eventually, in_state, new_order, placed

MISSING = "BTCUSD-6JUN23-24000-C"
PERIODS: tuple[KlinePeriod, ...] = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")


def orderly(book: BookPush) -> None:
    bids, asks = unpack_levels(book.bids)[0].tolist(), unpack_levels(book.asks)[0].tolist()
    assert bids == sorted(set(bids), reverse=True)
    assert asks == sorted(set(asks))
    assert not bids or not asks or bids[0] < asks[0]


class MarketOnDemandContract:
    """Everything that the desk takes for granted about a venue's books, trades and bars."""

    async def test_the_book_that_is_read_begins_where_the_chain_quotes(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        quoted: set[tuple[float, float]] = set()
        read: set[tuple[float, float]] = set()

        async def met() -> bool:
            """The market moves between two reads, so what one showed is looked for among all of the other."""
            chain = await venue.market.chain(venue.underlying, option.instrument.expiry_ns)
            book = await venue.market.order_book(option.instrument.symbol)
            orderly(book)
            (row,) = [row for row in chain.rows if row.symbol == option.instrument.symbol]
            quoted.add((row.bid, row.ask))
            if book.bids and book.asks:
                read.add((float(unpack_levels(book.bids)[0, 0]), float(unpack_levels(book.asks)[0, 0])))
            return bool(quoted & read)

        await eventually(met)

    async def test_the_stream_of_books_brings_what_reading_shows_and_ends_when_none_is_wanted(
        self, venue: VenueUnderTest
    ) -> None:
        symbol = (await a_tradable(venue)).instrument.symbol
        heard: list[Any] = []
        stream = venue.market.book_stream(heard.append)
        task = spawn(stream.run(), name="books of the contract")
        try:
            stream.want([symbol])

            read: set[tuple[bytes, bytes]] = set()

            async def met() -> list[BookPush]:
                """Pushes that show what was read at some time: a push and a read of one moment come in any order."""
                book = await venue.market.order_book(symbol)
                read.add((book.bids, book.asks))
                pushes = [item for item in heard if isinstance(item, BookPush) and item.bids]
                return [push for push in pushes if (push.bids, push.asks) in read]

            push = (await eventually(met))[0]
            orderly(push)
            assert push.bids
            assert push.symbol == symbol
            assert abs(push.venue_ns - time.time_ns()) < 60 * 10**9
            assert StreamUp("books") in heard
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def test_a_trade_is_pushed_while_its_option_is_wanted(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        heard: list[Any] = []
        stream = venue.market.book_stream(heard.append)
        task = spawn(stream.run(), name="trades of the contract")
        try:
            stream.want([option.instrument.symbol])

            async def pushed(kind: type) -> list[Any]:
                return [item for item in heard if isinstance(item, kind)]

            await eventually(lambda: pushed(BookPush))
            order = new_order(option, option.crossing_bid)
            await placed(venue.orders, order)
            await in_state(venue.orders, order, "filled")
            push = (await eventually(lambda: pushed(LastTradesPush)))[0]
            assert push.symbol == order.symbol
            assert all(trade.symbol == order.symbol and trade.price > 0 < trade.quantity for trade in push.trades)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def test_a_trade_shows_among_the_last_trades_which_are_newest_first(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.crossing_bid)
        await placed(venue.orders, order)
        await in_state(venue.orders, order, "filled")

        async def told() -> bool:
            trades = await venue.market.last_trades(order.symbol)
            times = [trade.venue_ns for trade in trades]
            assert times == sorted(times, reverse=True)
            assert all(trade.symbol == order.symbol and trade.price > 0 < trade.quantity for trade in trades)
            return any(trade.side == "buy" and trade.quantity == order.quantity for trade in trades)

        await eventually(told)

    @pytest.mark.parametrize("period", PERIODS)
    async def test_klines_are_whole_bars_in_order_within_what_was_asked(
        self, venue: VenueUnderTest, period: KlinePeriod
    ) -> None:
        symbol = (await a_tradable(venue)).instrument.symbol
        end_ns = time.time_ns()
        start_ns = end_ns - 50 * PERIOD_NS[period]
        klines = await venue.market.klines(symbol, period, start_ns, end_ns)
        starts = [kline.start_ns for kline in klines]
        assert starts == sorted(set(starts))
        assert all(start_ns - PERIOD_NS[period] < at_ns <= end_ns for at_ns in starts)
        gaps = {after - before for before, after in itertools.pairwise(starts)}
        assert all(gap % PERIOD_NS[period] == 0 for gap in gaps)
        assert all(
            0 < kline.low <= min(kline.open, kline.close) <= max(kline.open, kline.close) <= kline.high
            for kline in klines
        )

    async def test_an_option_that_is_not_listed_has_no_book_trades_or_klines(self, venue: VenueUnderTest) -> None:
        now_ns = time.time_ns()
        for read in (
            venue.market.order_book(MISSING),
            venue.market.last_trades(MISSING),
            venue.market.klines(MISSING, "1h", now_ns - PERIOD_NS["1h"], now_ns),
        ):
            with pytest.raises(VenueError) as refused:
                await read
            assert refused.value.kind == "rejected"

"""What a venue's payloads must be, and what our client must make of them: subclass `PayloadContract` and provide the
fixture `venue`. The recorded form, built from the venue's documentation, is the measure (`recorded/`)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from shared.messages.rfq import BlockTrade, QuoteAccepted, RfqCancelled, RfqCreated, RfqLeg, VenueQuote, VenueRfq
from shared.messages.venue import StreamDown, StreamUp, VenueFill, VenueOrder
from shared.options.book import unpack_levels
from shared.tasks import spawn
from shared.venues.coincall import CoincallGateway
from shared.venues.ports import BookPush, ChainPush, IndexPush
from tests.contract.order_gateway import eventually
from tests.contract.shapes import Leave, differences, read_json

RECORDED = Path(__file__).parent / "recorded"
HOUR_NS = 3_600_000_000_000


class RecordedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope as the venue sends it. `leave` is what may differ in shape."""

    answer: Any
    leave: Leave


class RecordedFrames(msgspec.Struct, frozen=True, kw_only=True):
    """Frames of one channel by the value of `by` in their data; under "" where there is one form only."""

    frames: dict[str, Any]
    by: str
    leave: Leave


def _leave(row: dict[str, Any]) -> Leave:
    return Leave(**{name: frozenset(row.get(name, ())) for name in Leave.__struct_fields__})


def recorded_answers() -> dict[str, RecordedAnswer]:
    rows = read_json((RECORDED / "rest.json").read_bytes())
    return {name: RecordedAnswer(answer=row["answer"], leave=_leave(row)) for name, row in rows.items()}


def recorded_frames() -> dict[str, RecordedFrames]:
    rows = read_json((RECORDED / "frames.json").read_bytes())
    return {
        name: RecordedFrames(
            frames=row["frames"] if "frames" in row else {"": row["frame"]},
            by=row.get("by", ""),
            leave=_leave(row),
        )
        for name, row in rows.items()
    }


class PayloadVenue(Protocol):
    """A venue with an account that holds a position, an order in the book, and a past: a finished order, a fill, a
    deposit and an exercise."""

    gateway: CoincallGateway
    symbol: str
    expiry_ns: int
    client_order_id: int
    since_ns: int
    rfq_quantity: Decimal

    async def answer(self, endpoint: str) -> bytes:
        """The body with which an endpoint answers; never an empty list."""
        ...

    async def frames(self, channel: str) -> Sequence[str]:
        """Frames of a channel; of orders, at least one in each state that the recorded form has."""
        ...

    async def trade(self) -> None:
        """Make the account's orders, trades and requests for quote and the option's book say something."""
        ...


class PayloadContract:
    async def test_every_answer_has_the_documented_fields_and_wire_types(self, venue: PayloadVenue) -> None:
        wrong = []
        for name, recorded in recorded_answers().items():
            served = read_json(await venue.answer(name))
            wrong += [f"{name} {text}" for text in differences(recorded.answer, served, recorded.leave)]
        assert not wrong, "\n".join(wrong)

    async def test_every_frame_has_the_documented_fields_and_wire_types(self, venue: PayloadVenue) -> None:
        wrong = []
        for name, recorded in recorded_frames().items():
            seen = set()
            for text in await venue.frames(name):
                frame = read_json(text)
                form = str(frame["d"][recorded.by]) if recorded.by else ""
                if form in recorded.frames:
                    seen.add(form)
                    expected = recorded.frames[form]
                    wrong += [f"{name} {form} {each}" for each in differences(expected, frame, recorded.leave)]
                    assert (frame["dt"], frame["c"]) == (expected["dt"], 20)
            assert seen == recorded.frames.keys(), name
        assert not wrong, "\n".join(wrong)

    async def test_our_client_reads_every_answer_that_it_asks_for(self, venue: PayloadVenue) -> None:
        gateway, symbol = venue.gateway, venue.symbol
        await gateway.server_time_offset_ns()
        assert not (await gateway.key_info()).read_only
        (listed,) = [item for item in await gateway.instruments("BTCUSD") if item.symbol == symbol]
        assert listed.expiry_ns == venue.expiry_ns
        chain = await gateway.chain("BTCUSD", venue.expiry_ns)
        (row,) = [row for row in chain.rows if row.symbol == symbol]
        assert 0 < row.bid <= row.ask
        assert (await gateway.index_price("BTCUSD")).price > 0
        book = await gateway.order_book(symbol)
        assert unpack_levels(book.bids)[0, 0] < unpack_levels(book.asks)[0, 0]
        trades = await gateway.last_trades(symbol)
        assert {trade.symbol for trade in trades} == {symbol}
        bars = await gateway.klines(symbol, "1h", venue.since_ns, venue.since_ns + 48 * HOUR_NS)
        assert all(bar.low <= bar.open <= bar.high for bar in bars)
        assert bars
        assert (await gateway.account()).equity_usd > 0
        (position,) = [each for each in await gateway.positions() if each.symbol == symbol]
        assert position.quantity > 0
        (order,) = await gateway.open_orders()
        assert (order.client_order_id, order.state) == (venue.client_order_id, "new")
        found = await gateway.order(venue.client_order_id)
        assert found is not None
        assert (found.venue_order_id, found.price) == (order.venue_order_id, order.price)
        history = await gateway.order_history(venue.since_ns)
        assert "filled" in {each.state for each in history}
        fills = await gateway.fills(venue.since_ns)
        assert fills[-1].fee_usd > 0
        (exercise,) = await gateway.exercises(venue.since_ns)
        assert exercise.settlement_price > 0
        (transfer,) = await gateway.transfers(venue.since_ns)
        assert transfer.amount == 1_000

    async def test_our_client_reads_every_answer_about_requests_for_quote(self, venue: PayloadVenue) -> None:
        gateway, quantity = venue.gateway, venue.rfq_quantity
        legs = (RfqLeg(symbol=venue.symbol, side="buy", quantity=quantity),)
        created = await gateway.create_rfq("ours", legs, closes=False)
        assert isinstance(created, RfqCreated), created
        assert created.rfq_id == "ours"
        assert created.expiry_ns - created.created_ns == HOUR_NS

        async def offered() -> list[VenueQuote]:
            quotes = await gateway.quotes_received(created.request_id)
            return [quote for quote in quotes if quote.quote_side == "sell" and quote.state == "open"]

        quote = (await eventually(offered))[0]
        assert [(leg.symbol, leg.side, leg.quantity) for leg in quote.legs] == [(venue.symbol, "sell", quantity)]
        assert quote.legs[0].price > 0
        assert quote.expiry_ns > quote.created_ns
        listed = {each.request_id: each for each in await gateway.rfqs(venue.since_ns)}[created.request_id]
        assert (listed.state, listed.role, listed.legs) == ("active", "taker", legs)
        accepted = await gateway.accept_quote(created.request_id, quote.quote_id, closes=False)
        assert isinstance(accepted, QuoteAccepted), accepted
        (leg,) = accepted.trade.legs
        assert (leg.symbol, leg.side, leg.quantity, leg.price) == (venue.symbol, "buy", quantity, quote.legs[0].price)
        assert leg.fee_usd is not None
        trades = {trade.quote_id: trade for trade in await gateway.block_trades(venue.since_ns)}
        assert trades[quote.quote_id].legs == accepted.trade.legs
        again = await gateway.create_rfq("ours", legs, closes=False)
        assert isinstance(again, RfqCreated)
        assert await gateway.cancel_rfq(again.request_id) == RfqCancelled(request_id=again.request_id)

    async def test_our_client_reads_every_frame_that_it_follows(self, venue: PayloadVenue) -> None:
        heard: list[Any] = []
        books = venue.gateway.book_stream(heard.append)
        books.want([venue.symbol])
        tasks = [
            spawn(venue.gateway.stream_account(heard.append), name="account"),
            spawn(venue.gateway.stream_market(["BTCUSD"], lambda _: [venue.expiry_ns], heard.append), name="market"),
            spawn(books.run(), name="books"),
        ]

        async def all_up() -> bool:
            return sum(isinstance(item, StreamUp) for item in heard) >= 4

        async def all_heard() -> bool:
            kinds = {type(item) for item in heard}
            account = {VenueOrder, VenueFill, VenueRfq, VenueQuote, BlockTrade}
            return account | {ChainPush, IndexPush, BookPush} <= kinds

        try:
            await eventually(all_up)
            await venue.trade()
            await eventually(all_heard)
        finally:
            for task in tasks:
                task.cancel()
        assert not [item for item in heard if isinstance(item, StreamDown)]

"""Requests for quote: our client and the simulated exchange together, over real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from services.exchange.switches import Switches
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallGateway, endpoints, simulated
from shared.venues.ports import VenueError
from tests.contract.order_gateway import Tradable, account_stream, eventually, position_in
from tests.integration.exchange.harness import MAKER_KEY, TRADING_KEY, RunningExchange, small_config


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(small_config(), now_ns=time.time_ns) as running:
        yield running


@pytest_asyncio.fixture
async def taker(exchange: RunningExchange) -> AsyncIterator[CoincallGateway]:
    made = gateway_of(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
    await made.start()
    yield made
    await made.close()


def gateway_of(exchange: RunningExchange, key: str, secret: str) -> CoincallGateway:
    return CoincallGateway(simulated("127.0.0.1", exchange.port), ApiKey(key=key, secret=secret), backoff_s=(0.1,))


async def spread(gateway: CoincallGateway) -> tuple[RfqLeg, RfqLeg]:
    """A call spread near the money, bought."""
    listed = {each.symbol: each for each in await gateway.instruments("BTCUSD")}
    expiry_ns = max(each.expiry_ns for each in listed.values())
    chain = await gateway.chain("BTCUSD", expiry_ns)
    calls = [row for row in chain.rows if row.symbol.endswith("-C") and row.bid > 0 and row.ask > 0]
    calls.sort(key=lambda row: abs(row.delta - 0.5))
    low, high = sorted(
        (Tradable(listed[row.symbol], row).instrument for row in calls[:2]), key=lambda each: each.strike
    )
    quantity = low.lot_size * 2
    return (
        RfqLeg(symbol=low.symbol, side="buy", quantity=quantity),
        RfqLeg(symbol=high.symbol, side="sell", quantity=quantity),
    )


async def asked(gateway: CoincallGateway, legs: tuple[RfqLeg, ...]) -> RfqCreated:
    created = await gateway.create_rfq("contract", legs, closes=False)
    assert isinstance(created, RfqCreated), created
    return created


async def quoted(gateway: CoincallGateway, request_id: str, quote_side: str) -> VenueQuote:
    async def found() -> list[VenueQuote]:
        quotes = await gateway.quotes_received(request_id)
        return [quote for quote in quotes if quote.quote_side == quote_side and quote.state == "open"]

    quotes: list[VenueQuote] = await eventually(found)
    return quotes[0]


async def inject(exchange: RunningExchange, **fault: Any) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
        assert (await control.post("/sim/faults", json=fault)).status_code == 200


async def held(gateway: CoincallGateway, legs: tuple[RfqLeg, ...]) -> list[Any]:
    return [await position_in(gateway, leg.symbol) for leg in legs]


async def test_a_quote_sold_to_us_buys_the_structure_and_the_same_executions_come_by_every_way(
    taker: CoincallGateway,
) -> None:
    legs = await spread(taker)
    async with account_stream(taker) as heard:
        created = await asked(taker, legs)
        quote = await quoted(taker, created.request_id, "sell")
        assert [leg.side for leg in quote.legs] == ["sell", "buy"], "the sides of a quote are the maker's"
        outcome = await taker.accept_quote(created.request_id, quote.quote_id, closes=False)
        assert isinstance(outcome, QuoteAccepted), outcome

        async def told() -> bool:
            states = [item.state for item in heard if isinstance(item, VenueRfq)]
            return "filled" in states and any(isinstance(item, BlockTrade) for item in heard)

        await eventually(told)
    trade = outcome.trade
    assert [(leg.symbol, leg.side, leg.quantity) for leg in trade.legs] == [
        (leg.symbol, leg.side, leg.quantity) for leg in legs
    ]
    assert [leg.price for leg in trade.legs] == [leg.price for leg in quote.legs]
    assert await held(taker, legs) == [legs[0].quantity, -legs[1].quantity]
    (pushed,) = [item for item in heard if isinstance(item, BlockTrade)]
    (listed,) = await taker.block_trades(created.created_ns - 10**9)
    ids = [leg.venue_trade_id for leg in trade.legs]
    for each in (pushed, listed):
        assert (each.quote_id, each.request_id, each.role) == (quote.quote_id, created.request_id, "taker")
        assert [leg.venue_trade_id for leg in each.legs] == ids
        assert [leg.side for leg in each.legs] == ["buy", "sell"]
    history = await taker.fills(created.created_ns - 10**9)
    assert {fill.venue_trade_id for fill in history} == set(ids)
    assert all(fill.is_block and fill.client_order_id is None for fill in history), "evidence of a lost accept"
    assert await taker.block_trades(trade.venue_ns + 10**9) == ()
    states = {item.quote_id: item.state for item in heard if isinstance(item, VenueQuote)}
    assert states[quote.quote_id] == "filled"
    assert set(states.values()) <= {"filled", "cancelled"}, "no other quote is left open"


async def test_a_quote_bought_from_us_sells_the_structure(taker: CoincallGateway) -> None:
    legs = await spread(taker)
    created = await asked(taker, legs)
    quote = await quoted(taker, created.request_id, "buy")
    assert [leg.side for leg in quote.legs] == ["buy", "sell"]
    outcome = await taker.accept_quote(created.request_id, quote.quote_id, closes=True)
    assert isinstance(outcome, QuoteAccepted), outcome
    assert [leg.side for leg in outcome.trade.legs] == ["sell", "buy"]
    assert await held(taker, legs) == [-legs[0].quantity, legs[1].quantity]


async def test_a_request_that_was_cancelled_cannot_be_traded_nor_cancelled_again(taker: CoincallGateway) -> None:
    legs = await spread(taker)
    async with account_stream(taker) as heard:
        created = await asked(taker, legs)
        quote = await quoted(taker, created.request_id, "sell")
        assert await taker.cancel_rfq(created.request_id) == RfqCancelled(request_id=created.request_id)
        refused = await taker.accept_quote(created.request_id, quote.quote_id, closes=False)
        assert isinstance(refused, AcceptRefused), refused
        assert isinstance(await taker.cancel_rfq(created.request_id), RfqCancelRefused)

        async def told() -> bool:
            return [item.state for item in heard if isinstance(item, VenueRfq)] == ["active", "cancelled"]

        await eventually(told)
    assert await held(taker, legs) == [0, 0]
    assert {quote.state for quote in await taker.quotes_received(created.request_id)} == {"cancelled"}


async def test_an_accept_whose_answer_is_lost_is_unknown_and_found_by_its_quote(
    exchange: RunningExchange, taker: CoincallGateway
) -> None:
    legs = await spread(taker)
    created = await asked(taker, legs)
    quote = await quoted(taker, created.request_id, "sell")
    await inject(exchange, kind="lost_answer", path_prefix=endpoints.ACCEPT_QUOTE.path, count=1)
    outcome = await taker.accept_quote(created.request_id, quote.quote_id, closes=False)
    assert isinstance(outcome, AcceptUnknown), outcome

    async def found() -> list[BlockTrade]:
        trades = await taker.block_trades(created.created_ns - 10**9)
        return [trade for trade in trades if trade.quote_id == quote.quote_id]

    (trade,) = await eventually(found)
    assert await held(taker, legs) == [legs[0].quantity, -legs[1].quantity]
    again = await taker.accept_quote(created.request_id, quote.quote_id, closes=False)
    assert isinstance(again, AcceptRefused), "the venue executes a quote once"
    assert len(trade.legs) == 2


async def test_a_creation_whose_answer_is_lost_is_unknown_and_its_request_is_pushed(
    exchange: RunningExchange, taker: CoincallGateway
) -> None:
    legs = await spread(taker)
    async with account_stream(taker) as heard:
        await inject(exchange, kind="lost_answer", path_prefix=endpoints.CREATE_RFQ.path, count=1)
        assert isinstance(await taker.create_rfq("contract", legs, closes=False), RfqUnknown)

        async def pushed() -> list[VenueRfq]:
            return [item for item in heard if isinstance(item, VenueRfq)]

        (seen,) = await eventually(pushed)
        assert (seen.state, seen.role, seen.legs) == ("active", "taker", legs)
        assert isinstance(await taker.cancel_rfq(seen.request_id), RfqCancelled)


@pytest.mark.parametrize("body", ["both", "form", "json"])
async def test_the_calls_suit_a_venue_whatever_form_of_body_it_reads(body: Any) -> None:
    async with RunningExchange(small_config(switches=Switches(rfq_body=body)), now_ns=time.time_ns) as exchange:
        taker = gateway_of(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
        legs = await spread(taker)
        first, second = await asked(taker, legs), await asked(taker, legs)
        quote = await quoted(taker, first.request_id, "sell")
        assert isinstance(await taker.accept_quote(first.request_id, quote.quote_id, closes=False), QuoteAccepted)
        assert isinstance(await taker.cancel_rfq(second.request_id), RfqCancelled)
        await taker.close()


@pytest.mark.parametrize("ids", ["text", "integer"])
async def test_ids_are_the_same_text_whether_the_venue_writes_numbers_or_texts(ids: Any) -> None:
    async with RunningExchange(small_config(switches=Switches(rfq_ids=ids)), now_ns=time.time_ns) as exchange:
        taker = gateway_of(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
        async with account_stream(taker) as heard:
            created = await asked(taker, await spread(taker))
            quote = await quoted(taker, created.request_id, "sell")

            async def pushed() -> bool:
                return any(isinstance(item, VenueQuote) and item.quote_id == quote.quote_id for item in heard)

            await eventually(pushed)
            outcome = await taker.accept_quote(created.request_id, quote.quote_id, closes=False)
        assert isinstance(outcome, QuoteAccepted), outcome
        assert outcome.trade.quote_id == quote.quote_id
        await taker.close()


async def test_only_an_account_that_may_quote_reads_the_list_of_requests(
    exchange: RunningExchange, taker: CoincallGateway
) -> None:
    with pytest.raises(VenueError) as failure:
        await taker.rfqs(0)
    assert failure.value.kind == "rejected"
    maker = gateway_of(exchange, MAKER_KEY.api_key, MAKER_KEY.api_secret)
    created = await asked(maker, await spread(maker))
    (listed,) = await maker.rfqs(created.created_ns - 10**9)
    assert (listed.request_id, listed.state) == (created.request_id, "active")
    assert await maker.rfqs(created.created_ns + 10**9) == ()
    await maker.close()


async def test_what_the_venue_does_not_list_is_refused(taker: CoincallGateway) -> None:
    (leg, _) = await spread(taker)
    unknown = msgspec.structs.replace(leg, symbol="BTCUSD-1JAN20-1-C")
    assert isinstance(await taker.create_rfq("contract", (unknown,), closes=False), RfqRefused)
    tiny = msgspec.structs.replace(leg, quantity=leg.quantity / 1_000)
    assert isinstance(await taker.create_rfq("contract", (tiny,), closes=False), RfqRefused)

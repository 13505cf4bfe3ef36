"""Lists and REST polls of market data against a real HTTP server that answers as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
import structlog

from services.marketdata.effects import InstrumentsLoaded, MarketRead
from services.marketdata.listing import Listings
from services.marketdata.polling import SilentPoll
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallGateway
from shared.venues.coincall import contract_endpoints as contracts
from shared.venues.coincall import endpoints as options
from shared.venues.coincall.endpoints import CoincallEndpoints
from shared.venues.ports import BookPush
from tests.unit.dated_futures import future
from tests.unit.marketdata.test_core import LISTED, SECOND, START, Script
from tests.unit.perpetuals import PERPETUAL
from tests.unit.venues.servers import RestVenue, ok, refuse, rest_venue

CALL, JUNE, MARCH = "BTCUSD-26JUN26-100000-C", "BTCUSD-26JUN26", "BTCUSD-27MAR26"
OPTION = {"symbolName": CALL, "expirationTimestamp": 1782460800000, "isActive": True, "minQty": 0.01, "tickSize": 1}
CONFIG = {
    "optionConfig": {"BTCUSD": {"limitMaxQty": "1000"}},
    "futuresConfig": {"BTCUSD": {"tickSize": "0.1", "minQty": "0.001", "limitMaxQty": "100"}},
}
TICKERS = [{"symbol": symbol, "indexPrice": 64000, "markPrice": 64000} for symbol in ("BTCUSD", JUNE)]
CHAIN, BOOK = options.CHAIN.path.format(index="BTCUSD"), contracts.FUTURES_BOOK.path
LOG = structlog.get_logger("test")


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[RestVenue]:
    async with rest_venue() as running:
        running.always(options.INSTRUMENTS.path.format(base="BTC"), ok([OPTION]))
        running.always(options.CONFIG.path, ok(CONFIG))
        running.always(contracts.FUTURES_SYMBOLS.path, ok(TICKERS))
        yield running


@pytest_asyncio.fixture
async def gateway(venue: RestVenue) -> AsyncIterator[CoincallGateway]:
    endpoints = CoincallEndpoints(rest=venue.url, ws_options="ws://unused", ws_futures="ws://unused")
    made = CoincallGateway(endpoints, ApiKey(key="k" * 20, secret="s" * 20), backoff_s=())
    yield made
    await made.close()


async def test_a_list_of_futures_that_cannot_be_read_leaves_those_that_were_listed(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    listings = Listings(gateway, LOG, ["BTCUSD"], futures=True, pairs=())
    taken: list[InstrumentsLoaded] = []
    for answer in (ok(TICKERS), refuse(10_570), refuse(500, status=500), ok({"not": "a list"}), ok(TICKERS[:1])):
        venue.then(contracts.FUTURES_SYMBOLS.path, answer)
        await listings.read(taken.append)
        assert listings.is_partial is (len(taken) in (2, 3, 4))
    assert [[each.symbol for each in loaded.futures] for loaded in taken] == [[JUNE], [JUNE], [JUNE], [JUNE], []]
    assert all(loaded.perpetual is not None and loaded.instruments for loaded in taken)


async def test_options_are_listed_though_neither_futures_nor_spot_can_be_read(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(contracts.FUTURES_SYMBOLS.path, refuse(500, status=500))
    venue.always(contracts.SPOT_INSTRUMENTS.path, refuse(500, status=500))
    listings = Listings(gateway, LOG, ["BTCUSD"], futures=True, pairs=("BTCUSDT",))
    taken: list[InstrumentsLoaded] = []
    await listings.read(taken.append)
    (loaded,) = taken
    assert [each.symbol for each in loaded.instruments] == [CALL]
    assert (loaded.perpetual, loaded.futures, loaded.spot) == (None, (), None)
    assert listings.is_partial


async def test_a_future_that_cannot_be_read_keeps_no_option_from_being_polled(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(BOOK.format(symbol=MARCH), refuse(10_574))
    venue.always(BOOK.format(symbol=JUNE), ok({"ts": 1, "asks": [], "bids": []}))
    venue.always(BOOK.format(symbol="BTCUSD"), ok({"ts": 1, "asks": [], "bids": []}))
    venue.always(options.FUTURES_SYMBOL.path, refuse(10_574))
    venue.always(CHAIN, ok([]))
    script = Script()
    futures = (future(MARCH), future(JUNE))
    script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED, perpetual=PERPETUAL, futures=futures))
    now_s = 30.0
    read: list[Any] = []
    poll = SilentPoll(gateway, (), read.append, lambda: START + int(now_s * SECOND), LOG, silence_ms=3_000)
    await poll.round(script.core, "BTCUSD")
    chains = [each for each in read if isinstance(each, MarketRead)]
    assert len(chains) == 2
    assert {each.symbol for each in read if isinstance(each, BookPush)} == {JUNE, "BTCUSD"}
    await poll.round(script.core, "BTCUSD")
    assert len(venue.calls_of(BOOK.format(symbol=MARCH))) == 1
    now_s += 31
    await poll.round(script.core, "BTCUSD")
    assert len(venue.calls_of(BOOK.format(symbol=MARCH))) == 2

"""The Coincall gateway and the simulated exchange meet the contract together, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
import pytest
import pytest_asyncio

from services.exchange.config import AccountConfig
from services.exchange.server.config import ExchangeServiceConfig
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallGateway, KeyCheckFailed, check_key, history, simulated
from shared.venues.ports import VenueError
from tests.contract.order_gateway import OrderGatewayContract, VenueUnderTest
from tests.integration.exchange.harness import OTHER_KEY, READ_ONLY_KEY, TRADING_KEY, RunningExchange, small_config


def contract_config() -> ExchangeServiceConfig:
    """The small listing of the server's own tests; the other account cannot afford anything."""
    config = small_config()
    main, other = config.accounts
    poor: AccountConfig = msgspec.structs.replace(other, initial_balance_usd=Decimal(1))
    return msgspec.structs.replace(config, accounts=(main, poor))


def gateway_for(exchange: RunningExchange, key: str, secret: str) -> CoincallGateway:
    return CoincallGateway(
        simulated("127.0.0.1", exchange.port), ApiKey(key=key, secret=secret), backoff_s=(0.1, 0.2, 0.4)
    )


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(contract_config()) as running:
        yield running


@pytest_asyncio.fixture
async def venue(exchange: RunningExchange, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VenueUnderTest]:
    main = gateway_for(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
    poor = gateway_for(exchange, OTHER_KEY.api_key, OTHER_KEY.api_secret)
    await main.start()
    yield VenueUnderTest(
        orders=main,
        market=main,
        poor=poor,
        underlying="BTCUSD",
        page_size=lambda rows: monkeypatch.setattr(history, "PAGE_SIZE", rows),
    )
    await asyncio.gather(main.close(), poor.close())


class TestCoincallSim(OrderGatewayContract):
    async def test_a_trading_key_passes_and_a_read_only_one_is_refused_where_orders_are_placed(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        assert await check_key(venue.orders, need_trading=True) == ()
        reader = gateway_for(exchange, READ_ONLY_KEY.api_key, READ_ONLY_KEY.api_secret)
        assert await check_key(reader, need_trading=False) == ()
        with pytest.raises(KeyCheckFailed, match="read-only"):
            await check_key(reader, need_trading=True)
        await reader.close()

    @pytest.mark.parametrize(
        ("key", "secret"), [("unknown", "x" * 64), (TRADING_KEY.api_key, "y" * 64)], ids=["unknown key", "bad secret"]
    )
    async def test_a_wrong_key_or_secret_is_told_apart_from_a_venue_that_is_away(
        self, exchange: RunningExchange, key: str, secret: str
    ) -> None:
        stranger = gateway_for(exchange, key, secret)
        with pytest.raises(KeyCheckFailed):
            await check_key(stranger, need_trading=False)
        with pytest.raises(VenueError) as failure:
            await stranger.positions()
        assert failure.value.kind == "auth"
        await stranger.close()

"""What `make test-live` tries on a real venue holds on the simulated exchange: a failure there means the venue."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest_asyncio

from shared.secrets import ApiKey
from shared.venues.coincall import simulated
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, small_config
from tests.live.checks import LiveAccount, LiveChecks, live_account


class TestSim(LiveChecks):
    makers_answer = True
    quotes_within_s = 60.0

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[LiveAccount]:
        async with RunningExchange(small_config(), now_ns=time.time_ns) as exchange:
            key = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
            async with live_account(simulated("127.0.0.1", exchange.port), key) as account:
                yield account

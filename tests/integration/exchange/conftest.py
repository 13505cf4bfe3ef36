from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.exchange.harness import RunningExchange, small_config


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(small_config()) as running:
        yield running

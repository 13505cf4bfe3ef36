from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.monitor.dashboard import Dashboard


@pytest_asyncio.fixture
async def dashboard(tmp_path: Path) -> AsyncIterator[Dashboard]:
    async with Dashboard(tmp_path) as made:
        yield made

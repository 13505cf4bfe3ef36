"""What `make test-live` tries on a real venue holds on the simulated exchange: a failure there means the venue."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.config import DeskConfig, load_config
from shared.secrets import ApiKey
from shared.venues.coincall import simulated
from tests.integration.exchange.harness import TRADING_KEY, RunningExchange, small_config
from tests.live.checks import LiveAccount, LiveChecks, live_account
from tests.live.keys import SERVICES, end_without_keys
from tests.unit.shared.samples import MINIMAL


class TestSim(LiveChecks):
    makers_answer = True
    quotes_within_s = 60.0

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[LiveAccount]:
        async with RunningExchange(small_config(), now_ns=time.time_ns) as exchange:
            key = ApiKey(key=TRADING_KEY.api_key, secret=TRADING_KEY.api_secret)
            async with live_account(simulated("127.0.0.1", exchange.port), key) as account:
                yield account


def beta(home: Path) -> DeskConfig:
    (home / "voldesk.toml").write_text(MINIMAL)
    return load_config(home / "voldesk.toml", {"TRADING_ENVIRONMENT": "beta"})


@pytest.mark.parametrize("missing", SERVICES)
def test_without_a_key_nothing_is_tried_and_one_line_names_it(tmp_path: Path, missing: str) -> None:
    keys = {
        f"COINCALL_API_{part}_BETA_{service.upper()}": "drawn"
        for service in SERVICES
        for part in ("KEY", "SECRET")
        if service != missing
    }
    with pytest.raises(pytest.exit.Exception, match=f"set COINCALL_API_KEY_BETA_{missing.upper()}") as ended:
        end_without_keys(beta(tmp_path), keys)
    assert ended.value.returncode == 78


def test_with_a_key_for_each_service_the_run_goes_on(tmp_path: Path) -> None:
    end_without_keys(beta(tmp_path), {"COINCALL_API_KEY_BETA": "drawn", "COINCALL_API_SECRET_BETA": "drawn"})

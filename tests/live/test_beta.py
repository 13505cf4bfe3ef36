"""The live checks against the venue's test environment, with real keys: opt-in, `make test-live`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.config import DeskConfig, load_config
from shared.secrets import load_api_key
from shared.venues.coincall.endpoints import BETA
from tests.docs.pages import ROOT
from tests.e2e.stack import Desk
from tests.live.checks import LiveAccount, LiveChecks, live_account
from tests.live.keys import SERVICES, end_without_keys
from tests.live.rehearsal import STRATEGY, rehearsal_config, rehearse

pytestmark = pytest.mark.skipif(
    os.environ.get("VOLDESK_TEST_LIVE") != "beta", reason="trades on the venue's beta; opt in with: make test-live"
)


def beta_desk() -> DeskConfig:
    """The shipped configuration, for the beta whatever it says; keys come from the environment or .env."""
    return load_config(ROOT / "voldesk.toml", {**os.environ, "TRADING_ENVIRONMENT": "beta"})


@pytest.fixture(autouse=True, scope="module")
def keys() -> None:
    """Nothing is tried without all keys: the run ends on one line that names what is missing."""
    end_without_keys(beta_desk())


class TestBeta(LiveChecks):
    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[LiveAccount]:
        async with live_account(BETA, load_api_key(beta_desk(), "execution")) as account:
            yield account


def test_a_whole_desk_rehearses_and_places_nothing(tmp_path: Path) -> None:
    keys = tmp_path / ".env"
    keys.touch(mode=0o600)
    for service in SERVICES:
        key = load_api_key(beta_desk(), service)
        suffix = f"BETA_{service.upper()}"
        with keys.open("a") as file:
            file.write(f"COINCALL_API_KEY_{suffix}={key.key}\nCOINCALL_API_SECRET_{suffix}={key.secret}\n")
    rehearse(Desk(tmp_path, rehearsal_config("beta"), {"rehearsal": STRATEGY}))

"""An exchange that is gone for seconds, and one whose books stand still, told on the page and over by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.monitor.test_watching_processes import Desk, alerts, is_ready


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.stop()


def inject(desk: Desk, **fault: Any) -> None:
    answer = httpx.post(f"http://127.0.0.1:{desk.ports['exchange']}/sim/faults", json=fault, timeout=60)
    assert answer.status_code == 200


def clear(desk: Desk) -> None:
    assert httpx.delete(f"http://127.0.0.1:{desk.ports['exchange']}/sim/faults", timeout=60).status_code == 200


def test_an_exchange_that_is_gone_for_seconds_is_alarmed_and_its_return_told_without_a_restart(desk: Desk) -> None:
    for name in ("exchange", "marketdata", "risk", "monitor"):
        desk.start(name)
    desk.wait("market data and the account", lambda s: is_ready(s, "marketdata") and s["account"] is not None)
    inject(desk, kind="http_500")
    inject(desk, kind="disconnect", duration_ms=120_000)
    matters = (("account_unreachable", "main"), ("market_data_stale", "BTCUSD"))
    desk.wait("the alarms", lambda s: all(alerts(s).get(matter) is False for matter in matters))
    clear(desk)
    desk.wait("their end", lambda s: all(alerts(s)[matter] for matter in matters) and is_ready(s, "marketdata"))
    assert all(process.poll() is None for process in desk.processes.values())

"""The history of a real monitor that is killed while it samples: what was written stays, in every width alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.monitor.config import MonitorConfig
from services.monitor.history.series import Bucket, Level
from services.monitor.history.store import HistoryReader, history_path
from tests.integration.monitor.test_watching_processes import PATIENCE_S, Desk

pytestmark = pytest.mark.long

EVER_NS = 1 << 62


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, "\n[monitor.history]\nsample_s = 1\n")
    yield desk
    desk.stop()


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)


def test_a_monitor_that_is_killed_loses_and_doubles_nothing_that_it_wrote(desk: Desk) -> None:
    for service in ("exchange", "marketdata", "risk", "monitor"):
        desk.start(service)
    path = history_path(desk.config.run_dir)
    reader = HistoryReader(path, desk.config.account_id)
    levels = desk.config.section("monitor", MonitorConfig).history.levels

    def kept(level: Level) -> list[Bucket]:
        return reader.buckets("equity_usd", level, 0, EVER_NS) if path.exists() and reader.names() else []

    def sampled() -> int:
        return len(kept(levels[0]))

    desk.wait("the first answer", lambda _: True)
    until("three seconds of history", lambda: sampled() >= 3)
    desk.kill("monitor")
    before = {level.width_s: kept(level) for level in levels}
    desk.start("monitor")
    until("more history after the death", lambda: sampled() >= len(before[levels[0].width_s]) + 2)
    desk.kill("monitor")

    fine = kept(levels[0])
    # the last bucket may go on: the monitor was killed in its second
    assert fine[: len(before[1]) - 1] == before[1][:-1]
    assert len({bucket.start_ns for bucket in fine}) == len(fine)
    for level in levels[1:]:
        wide = kept(level)
        assert sum(bucket.count for bucket in wide) == sum(bucket.count for bucket in fine), level
        assert (wide[0].first_ns, wide[-1].last_ns) == (fine[0].first_ns, fine[-1].last_ns), level
        assert min(bucket.low for bucket in wide) == min(bucket.low for bucket in fine), level
        assert max(bucket.high for bucket in wide) == max(bucket.high for bucket in fine), level

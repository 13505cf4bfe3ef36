"""Rules for a silent strategy host stand on the host that runs the trade's strategy."""

from __future__ import annotations

import msgspec
import pytest

from services.execution.hosts import HostsHeard
from shared.strategy_hosts import StrategyHosts
from tests.unit.execution.play import CALL, SECOND, T0, Script, beat, leg


def test_a_host_is_silent_for_the_strategies_that_it_runs_and_for_no_others() -> None:
    hosts = HostsHeard(StrategyHosts({"fast": ("grid",)}))
    hosts.begin(T0)
    hosts.heard(beat("strategy", T0), T0 + 30 * SECOND)
    assert hosts.last_ns("demo") == T0 + 30 * SECOND
    assert hosts.last_ns("grid") == hosts.last_ns("grid.hedge") == T0
    assert hosts.heard(beat("strategy-fast", T0), T0 + 40 * SECOND) == 40 * SECOND
    assert hosts.last_ns("grid") == T0 + 40 * SECOND


def test_a_strategy_that_was_moved_counts_where_a_heartbeat_says_that_it_runs() -> None:
    hosts = HostsHeard(StrategyHosts({"fast": ("grid",)}))
    hosts.begin(T0)
    moved = msgspec.structs.replace(beat("strategy", T0), strategies=("grid", "demo"))
    hosts.heard(moved, T0 + SECOND)
    assert hosts.of("grid") == hosts.of("grid.hedge") == "strategy"
    assert hosts.last_ns("grid") == T0 + SECOND
    hosts.begin(T0 + 9 * SECOND)
    assert hosts.last_ns("grid") == T0 + 9 * SECOND, "after a stall everybody has the full silence again"


@pytest.mark.parametrize(("strategy", "state"), [("demo", "OPEN"), ("grid", "CLOSING")])
def test_a_trade_is_closed_when_its_own_host_is_silent_although_another_one_is_heard(
    strategy: str, state: str
) -> None:
    script = Script(hosts=StrategyHosts({"fast": ("grid",)})).started()
    trade_id = script.opened(leg(CALL, "buy"), strategy=strategy, if_host_silent="close", host_silent_after_s=20.0)
    script.wait(22_000)
    assert script.state(trade_id) == state

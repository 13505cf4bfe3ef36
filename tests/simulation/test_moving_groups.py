"""Strategies that move between hosts: each has one host at a time, which knows what the one before it knew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest

from services.execution.rows import TradeRequested
from services.strategy.rows import StrategyTaken
from shared.messages.control import StrategyCommand
from shared.messages.steps import Entry
from shared.messages.trades import CloseTrade
from shared.strategy_hosts import StrategyHosts
from tests.simulation.test_world import run_until
from world.desk import Desk
from world.directed import DIRECTED
from world.faults import SECOND
from world.host_audit import Deeds
from world.moving_groups import moving_groups
from world.simulate import desk_of, simulate
from world.violations import Violation

pytestmark = pytest.mark.simulation
_SEED = 1
_PAUSE = StrategyCommand(action="pause", strategy="beta", requested_by="operator")


def two_hosts() -> Desk:
    """A calm desk whose strategy beta has a host of its own; all have traded."""
    scenario = moving_groups(_SEED)
    desk = desk_of(scenario, _SEED)
    run_until(desk, lambda: {"alpha", "beta"} <= {trade.request.strategy for trade in desk.book.trades.values()})
    return desk


def answered(desk: Desk, service: str) -> set[str]:
    return set(desk.nodes[service].core.answers_for)


def requested(desk: Desk, strategy: str) -> Entry:
    return next(
        entry
        for entry in desk.nodes["execution"].journal.entries
        if isinstance(entry.row, TradeRequested) and entry.row.request.strategy == strategy
    )


def a_host_that_closes_anothers_trade(desk: Desk) -> Iterable[Violation]:
    deeds = Deeds()
    entry = requested(desk, "alpha")
    assert list(deeds.written([entry], desk.engine.now_ns)) == []
    close = CloseTrade(trade_id=entry.row.trade_id, reason="drill", requested_by="strategy alpha")
    assert list(deeds.violations("strategy", close, StrategyHosts())) == []
    return deeds.violations("strategy", close, StrategyHosts({"fast": ("alpha",)}))


def a_strategy_without_a_host(desk: Desk) -> Iterable[Violation]:
    class Mute:
        answers_for = ()

    class Host:
        name, alive, core = "strategy", True, Mute()

        def was_up(self, since_ns: int) -> bool:
            return True

    tenants, real = desk.tenants, desk.tenants.nodes
    tenants.nodes = cast(Any, {"strategy": Host()})
    try:
        return list(tenants.violations(desk.engine.now_ns, ()))
    finally:
        tenants.nodes = real


def an_opening_after_a_pause(desk: Desk) -> Iterable[Violation]:
    deeds = Deeds()
    pause = StrategyCommand(action="pause", strategy="alpha", requested_by="operator")
    deeds.told(pause, 0)
    assert list(deeds.written([requested(desk, "alpha")], 20 * SECOND)) == []
    return deeds.written([requested(desk, "alpha")], 40 * SECOND)


def test_a_strategy_that_moves_is_answered_for_by_its_new_host_alone_which_knows_that_it_was_paused() -> None:
    desk = two_hosts()
    assert answered(desk, "strategy-fast") == {"beta"}
    desk.steer(_PAUSE, "drill")
    desk.engine.run_until(desk.engine.now_ns + 2 * SECOND)
    desk.regroup({"fast": ("condor",)})
    desk.regroup({"fast": ("alpha",)})
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    assert desk.tenants.hosts.groups == {"fast": ("condor",)}, "one at a time"
    assert answered(desk, "strategy-fast") == {"condor"}
    assert answered(desk, "strategy") == {"alpha", "beta"}
    assert list(desk.tenants.violations(desk.engine.now_ns - SECOND, ("beta",))) == []
    taken = [entry.row for entry in desk.nodes["strategy"].journal.entries if isinstance(entry.row, StrategyTaken)]
    assert taken == [StrategyTaken(strategy="beta", from_host="strategy-fast")]
    begun = len(desk.book.trades)
    run_until(desk, lambda: len(desk.book.trades) >= begun + 3, limit_s=300)
    late = list(desk.book.trades.values())[begun:]
    assert "beta" not in {trade.request.strategy for trade in late}
    assert desk.untrue == []


def test_a_strategy_with_two_hosts_is_caught() -> None:
    desk = two_hosts()
    desk.tenants._processes["strategy"].hosts = StrategyHosts()
    desk.tenants._processes["strategy"].loaded += desk.tenants._processes["strategy-fast"].loaded
    node = desk.nodes["strategy"]
    node.prepare = lambda: None
    node.crash(down_ns=0)
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    found = list(desk.tenants.violations(desk.engine.now_ns, ()))
    assert [violation.invariant for violation in found] == ["host_acts_alone"]
    assert "strategy and strategy-fast" in found[0].text


def test_a_host_that_dies_with_rows_taken_over_takes_them_once() -> None:
    desk = two_hosts()
    desk.steer(_PAUSE, "drill")
    desk.engine.run_until(desk.engine.now_ns + 2 * SECOND)
    real, deaths = desk.tenants.take, iter((True, False))
    desk.tenants.take = lambda service, now_ns, *, dies: real(  # type: ignore[method-assign]
        service, now_ns, dies=service == "strategy" and next(deaths, False)
    )
    desk.regroup({"fast": ("condor",)})
    desk.engine.run_until(desk.engine.now_ns + 12 * SECOND)
    rows = [entry.row for entry in desk.nodes["strategy"].journal.entries]
    assert sum(isinstance(row, StrategyTaken) for row in rows) == 1
    assert "beta" in answered(desk, "strategy")


def test_under_faults_strategies_move_and_every_promise_is_kept() -> None:
    directed = DIRECTED["moving_groups"]
    verdict = simulate(0, directed.faults, directed.scenario(0))
    assert verdict.violations == ()
    assert verdict.closed > 0

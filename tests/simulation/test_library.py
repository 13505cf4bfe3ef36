"""The strategies of strategies/ trade in the whole desk: they open whole, close flat, and keep every promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.execution.records import Trade
from services.strategy.config import StrategyHostConfig, StrategyInstance
from services.strategy.loader import STRATEGIES_FOLDER, load_strategies
from services.strategy.runner import StrategyRunner
from shared.strategy import StrategyConfig, max_hold_hours
from strategies.rfq_endurance import CYCLES
from tests.simulation.test_world import also_long
from tests.unit.strategy.making import at
from voldesk.strategy_templates import STRUCTURES, strategy_file
from world.desk import DESK_NUMBER, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.invariants import naked_leg_violations, safety_violations
from world.rehearsal import listed_exchange
from world.scenario import Scenario
from world.simulate import simulate

pytestmark = pytest.mark.simulation

LIBRARY = sorted(path.stem for path in STRATEGIES_FOLDER.glob("*.py") if path.stem != "__init__")

WAITING = ("account_delta_hedger", "long_strangle")
"""What trades when something has happened, in a test of its own."""

IN_FUTURES = ("gamma_scalper", "futures_carry")

START_NS = at("2025-11-18T14:00")
"""A Tuesday, at an hour at which every strategy of the library may open."""


def config_of(name: str, **parameters: Any) -> StrategyConfig:
    instances = {name: StrategyInstance(parameters=parameters)} if parameters else {}
    loaded, failures = load_strategies([name], instances=instances)
    assert failures == []
    runner = loaded[0].make(StrategyHostConfig())
    assert isinstance(runner, StrategyRunner)
    return runner.config


def held_for(config: StrategyConfig, seconds: float) -> StrategyConfig:
    """The strategy as it is, and one exit more: nobody waits for days here."""
    return msgspec.structs.replace(config, exit_conditions=[*config.exit_conditions, max_hold_hours(seconds / 3_600)])


def at_once_again(config: StrategyConfig) -> StrategyConfig:
    """Without the wait for the next day: a fault may cost the one trade of this day, and another one must follow."""
    return msgspec.structs.replace(config, max_trades_per_day=0, cooldown_seconds=10)


def desk_with(config: StrategyConfig, seed: int = 1, host: StrategyHostConfig | None = None) -> Desk:
    futures = config.name in IN_FUTURES
    return Desk(
        Engine(START_NS, seed), Faults.none(), [config], listed_exchange(seed), host_config=host, futures=futures
    )


def run_until(desk: Desk, condition: Callable[[], Any], limit_s: int = 900) -> None:
    """Run in small steps until the condition holds; fails the test when it does not within the limit."""
    end_ns = desk.engine.now_ns + limit_s * SECOND
    while not condition():
        assert desk.engine.now_ns < end_ns, f"not within {limit_s} s of virtual time"
        desk.engine.run_until(desk.engine.now_ns + SECOND)


def in_state(desk: Desk, state: str) -> list[Trade]:
    """Trades of the strategy, without those that hedge them."""
    return [trade for trade in desk.book.trades.values() if trade.state == state and not trade.request.hedge_of]


def broken_promises(desk: Desk) -> list[str]:
    fills = desk.venue.rfqs.named(desk.venue.exchange.fills("sim"), desk.book)
    found = [
        *safety_violations(desk.venue, desk.book, DESK_NUMBER),
        *naked_leg_violations(fills, desk.book, DESK_NUMBER),
    ]
    return [str(each) for each in found]


@pytest.mark.parametrize("seed", [1, *also_long(2, 3)])
@pytest.mark.parametrize("name", [name for name in LIBRARY if name not in WAITING])
def test_it_opens_whole_and_closes_flat(name: str, seed: int) -> None:
    desk = desk_with(held_for(config_of(name), 20.0), seed)
    run_until(desk, lambda: in_state(desk, "CLOSED"))
    trade = in_state(desk, "CLOSED")[0]
    assert trade.opened_ns is not None
    for leg in trade.legs:
        assert leg.opened_quantity == leg.quantity == leg.closed_quantity
    assert broken_promises(desk) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", [name for name in LIBRARY if name not in WAITING])
def test_under_drawn_faults_every_promise_is_kept(name: str, seed: int) -> None:
    scenario = Scenario(
        name=name,
        strategies=(at_once_again(held_for(config_of(name), 20.0)),),
        exchange=listed_exchange(seed),
        start_ns=START_NS,
        faulty_s=60,
        futures=name in IN_FUTURES,
    )
    assert simulate(seed, scenario=scenario).violations == ()


@pytest.mark.parametrize("structure", ["vertical", *also_long(*sorted(set(STRUCTURES) - {"vertical"}))])
def test_a_new_strategy_trades_once_its_dry_run_is_over(structure: str, tmp_path: Path) -> None:
    text = strategy_file("mine", structure).replace("        dry_run=True,\n", "")
    # more than the smallest lot, so that a quarter of a structure can be traded too
    (tmp_path / "mine.py").write_text(text.replace('"0.01"', '"0.1"').replace("2_000.0", "20_000.0"))
    loaded, failures = load_strategies(["mine"], [tmp_path])
    assert failures == []
    runner = loaded[0].make(StrategyHostConfig())
    assert isinstance(runner, StrategyRunner)
    assert not runner.config.dry_run
    desk = desk_with(held_for(runner.config, 20.0))
    run_until(desk, lambda: in_state(desk, "CLOSED"))
    assert all(leg.opened_quantity == leg.quantity == leg.closed_quantity for leg in in_state(desk, "CLOSED")[0].legs)
    assert broken_promises(desk) == []


def test_a_strangle_is_bought_when_the_index_has_moved_and_not_before() -> None:
    config = held_for(config_of("long_strangle", move_minutes=2.0), 20.0)
    desk = desk_with(config)
    desk.engine.run_until(START_NS + 210 * SECOND)
    assert not desk.book.trades
    desk.venue.exchange.move_index("BTC", 3.0, desk.venue.exchange.now_ns)
    run_until(desk, lambda: in_state(desk, "CLOSED"))
    assert all(leg.opened_quantity == leg.quantity == leg.closed_quantity for leg in in_state(desk, "CLOSED")[0].legs)
    assert broken_promises(desk) == []


@pytest.mark.long
def test_the_endurance_test_makes_three_block_trades_and_no_fourth() -> None:
    desk = desk_with(held_for(config_of("rfq_endurance"), 5.0))
    run_until(desk, lambda: len(in_state(desk, "CLOSED")) == CYCLES)
    desk.engine.run_until(desk.engine.now_ns + 90 * SECOND)
    assert len(in_state(desk, "CLOSED")) == CYCLES
    assert [trade for trade in desk.book.trades.values() if trade.was_filled and not trade.is_final] == []
    # each opened by one, and closed by one
    assert len(desk.venue.exchange.rfq.blocks("sim")) == 2 * CYCLES
    assert broken_promises(desk) == []


@pytest.mark.long
def test_a_put_is_sold_on_the_next_day_while_that_of_the_day_before_is_open_and_then_no_more() -> None:
    next_day_s = 240
    desk = desk_with(
        config_of("daily_put_sell"), host=StrategyHostConfig(day_boundary_minute=14 * 60 + next_day_s // 60)
    )
    run_until(desk, lambda: in_state(desk, "OPEN"), limit_s=next_day_s - 20)
    desk.engine.run_until(START_NS + (next_day_s - 5) * SECOND)
    assert len(in_state(desk, "OPEN")) == 1
    run_until(desk, lambda: len(in_state(desk, "OPEN")) == 2)
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    assert sum(trade.was_filled for trade in desk.book.trades.values()) == 2
    assert broken_promises(desk) == []

"""One strategy rehearsed on the whole desk, as people do it who write one."""

from __future__ import annotations

import doctest
from decimal import Decimal

import msgspec
import pytest

import world.rehearsal
from shared.strategy import StrategyConfig, covered_call, max_hold_hours, straddle, time_window, underlying_beyond
from world.rehearsal import Rehearsal

pytestmark = pytest.mark.simulation


def strategy(**fields: object) -> StrategyConfig:
    made: dict[str, object] = {"name": "mine", "legs": straddle("0.1"), "execution_mode": "limit"}
    return StrategyConfig(**(made | fields))  # type: ignore[arg-type]


def test_its_example_runs() -> None:
    assert doctest.testmod(world.rehearsal) == (0, 4)


def test_a_trade_that_does_not_come_fails_with_what_the_strategy_waits_for() -> None:
    desk = Rehearsal(strategy(entry_conditions=[time_window(22, 23)]))
    with pytest.raises(
        AssertionError, match=r"nothing OPEN within 10 s; no trade; .* open from 22:00 to before 23:00"
    ):
        desk.run_until("OPEN", limit_s=10)
    assert list(desk.waits_for) == ["time_window"]


def test_a_dry_run_trades_unless_it_is_rehearsed_as_one() -> None:
    dry = strategy(dry_run=True, exit_conditions=[max_hold_hours(1)])
    assert Rehearsal(dry).run_until("OPEN").strategy == "mine"
    desk = Rehearsal(dry, dry_run=True)
    desk.run(60)
    assert desk.trades == ()
    assert desk.status.reason.startswith("dry run: 1 open")


def test_a_covered_call_buys_its_coins_and_sells_what_the_fee_left_of_them() -> None:
    legs = covered_call("0.1", {"weekly": 1}, buys_coins=True)
    config = strategy(legs=legs, exit_conditions=[max_hold_hours(0.01)])
    call, coins = Rehearsal(config).run_until("CLOSED").legs
    assert call.closed_quantity == coins.filled_quantity == Decimal("0.1")
    assert coins.closed_quantity == Decimal("0.1") - coins.fee_quantity == Decimal("0.0999")
    dry = Rehearsal(msgspec.structs.replace(config, exit_conditions=[max_hold_hours(1)]), dry_run=True)
    dry.run(60)
    assert dry.status.reason.startswith("dry run: 1 open")


def test_the_index_moves_when_it_is_told_to() -> None:
    desk = Rehearsal(strategy(exit_conditions=[underlying_beyond(below=92_000)]))
    desk.run_until("OPEN")
    desk.run(30)
    (trade,) = desk.trades
    assert trade.state == "OPEN"
    desk.move_index(-10)
    assert "92000" in desk.run_until("CLOSED").reason.replace(",", "")

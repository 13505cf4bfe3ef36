"""The account delta hedger in the whole desk: it takes direction away from what others hold, and gives it back."""

from __future__ import annotations

import pytest

from services.strategy.config import StrategyInstance
from services.strategy.loaded import LoadedStrategy
from services.strategy.loader import load_strategies
from shared.strategy import DeltaHedge, LegSpec, StrategyConfig, max_hold_hours, straddle
from tests.simulation.test_library import START_NS, broken_promises, run_until
from world.desk import ACCOUNT_ID, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.rehearsal import listed_exchange

pytestmark = pytest.mark.simulation

NAME = "account_delta_hedger"
PERPETUAL = "BTCUSD"


def hedger(**parameters: object) -> LoadedStrategy:
    loaded, failures = load_strategies([NAME], instances={NAME: StrategyInstance(parameters=dict(parameters))})
    assert failures == []
    return loaded[0]


def call(quantity: str = "1", hold_h: float = 2.0) -> StrategyConfig:
    """A call bought at the money: half a coin of delta for each."""
    expiry = {"dte_min": 6, "dte_max": 16, "target": 10}
    return StrategyConfig(
        name="caller",
        legs=[LegSpec("C", "buy", quantity, {"type": "delta", "value": 0.5}, expiry)],
        exit_conditions=[max_hold_hours(hold_h)],
        execution_mode="limit",
        cooldown_seconds=100_000,
    )


def desk_of(*strategies: StrategyConfig | LoadedStrategy) -> Desk:
    return Desk(Engine(START_NS, 1), Faults.none(), strategies, listed_exchange(1), futures=True)


def delta_of(desk: Desk) -> float:
    """Of what the venue holds, by the chain of the venue's own Greeks."""
    account = desk.nodes["risk"].core.account
    return sum(each.greeks.delta for each in account.positions if each.greeks is not None)


def held(desk: Desk) -> list[float]:
    """What the hedger's open trades hold of the perpetual, signed."""
    trades = [trade for trade in desk.book.trades.values() if trade.request.strategy == f"{NAME}.hedge"]
    return [float(leg.sign * leg.held_quantity) for trade in trades for leg in trade.legs if leg.held_quantity]


def settled(desk: Desk, band: float) -> bool:
    """Whether the account is read after everything was traded, and its delta is within the band."""
    return bool(desk.venue.exchange.positions(ACCOUNT_ID)) and abs(delta_of(desk)) <= band


def test_it_sells_the_perpetual_against_a_call_and_buys_it_back_when_the_call_is_closed() -> None:
    desk = desk_of(call(hold_h=0.1), hedger(band=0.1, interval_seconds=20.0))
    run_until(desk, lambda: held(desk) and abs(delta_of(desk)) <= 0.1, 300)
    assert all(quantity < 0 for quantity in held(desk))
    assert sum(held(desk)) == pytest.approx(-0.5, abs=0.15)
    run_until(desk, lambda: any(trade.state == "CLOSED" for trade in desk.book.trades.values()), 600)
    run_until(desk, lambda: not held(desk), 300)
    assert broken_promises(desk) == []
    end_ns = desk.engine.now_ns + 120 * SECOND
    desk.engine.run_until(end_ns)
    assert held(desk) == [], "nothing is left to hedge"


def test_beside_a_structure_that_hedges_itself_it_trades_only_what_that_leaves_and_never_against_it() -> None:
    scalper = StrategyConfig(
        name="scalper",
        legs=straddle("0.5", side="buy", expiry_criteria={"dte_min": 6, "dte_max": 16, "target": 10}),
        delta_hedge=DeltaHedge(band=0.02, interval_seconds=5.0),
        exit_conditions=[max_hold_hours(2)],
        cooldown_seconds=100_000,
    )
    desk = desk_of(scalper, call("0.6"), hedger(band=0.1, interval_seconds=20.0, maximum_size=0.2))
    run_until(desk, lambda: held(desk), 300)
    for pct in (2.0, -3.0, 1.0):
        desk.venue.exchange.move_index("BTC", pct, desk.engine.now_ns)
        desk.engine.run_until(desk.engine.now_ns + 120 * SECOND)
        assert abs(sum(held(desk))) <= 0.2 + 1e-9
        signs = {
            float(leg.sign)
            for trade in desk.book.active_trades()
            for leg in trade.legs
            if leg.instrument.is_perpetual and leg.held_quantity
        }
        assert len(signs) <= 1, "what is bought and sold of one symbol would net at the venue"
    assert broken_promises(desk) == []

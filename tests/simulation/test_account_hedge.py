"""The account delta hedger in the whole desk: it takes direction away from what others hold, and gives it back."""

from __future__ import annotations

from typing import Literal

import pytest

from services.execution.records import Trade
from services.strategy.config import StrategyInstance
from services.strategy.loaded import LoadedStrategy
from services.strategy.loader import load_strategies
from shared.messages.control import StrategyCommand
from shared.messages.trades import CloseTrade
from shared.strategy import DeltaHedge, EntryView, LegSpec, StrategyConfig, max_hold_hours, straddle
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


def scalper(wanted: dict[str, bool]) -> StrategyConfig:
    """A straddle whose own hedge may have to buy and to sell the perpetual, opened once it is wanted."""

    def is_wanted(view: EntryView, now_ns: int) -> tuple[bool, str]:
        return wanted["now"], "not wanted yet"

    return StrategyConfig(
        name="scalper",
        legs=straddle("0.5", side="buy", expiry_criteria={"dte_min": 6, "dte_max": 16, "target": 10}),
        entry_conditions=[is_wanted],
        delta_hedge=DeltaHedge(band=0.02, interval_seconds=5.0),
        exit_conditions=[max_hold_hours(2)],
        cooldown_seconds=100_000,
        check_interval_seconds=5,
    )


def scalpers(desk: Desk, *states: str) -> list[Trade]:
    return [each for each in desk.book.trades.values() if each.request.strategy == "scalper" and each.state in states]


def hedger_trades(desk: Desk) -> list[Trade]:
    """All that the account's hedger ever opened."""
    return [each for each in desk.book.trades.values() if each.request.strategy == f"{NAME}.hedge"]


def own_hedge(desk: Desk) -> float:
    """What the structures' own hedges hold of the perpetual, signed."""
    hedges = [each for each in desk.book.trades.values() if each.request.hedge_of]
    return sum(float(leg.sign * leg.held_quantity) for each in hedges for leg in each.legs)


def why(desk: Desk) -> str:
    gates = desk.nodes["strategy"].core.slots[NAME].shown_gates
    return next(gate.reason for gate in gates if gate.name == "account_delta")


def off(desk: Desk, seconds: int, band: float) -> int:
    """For how many of the next seconds the account's delta, as risk reads it, is beyond the band."""
    late = 0
    for _ in range(seconds):
        desk.engine.run_until(desk.engine.now_ns + SECOND)
        late += abs(delta_of(desk)) > band
    return late


@pytest.mark.parametrize("victim", ["", "strategy", "execution"])
def test_what_is_left_over_gives_way_to_a_structure_that_opens_then_and_delta_never_leaves_the_band_for_it(
    victim: str,
) -> None:
    wanted = {"now": False}
    desk = desk_of(call(), scalper(wanted), hedger(band=0.3, interval_seconds=20.0))
    run_until(desk, lambda: held(desk) and abs(delta_of(desk)) <= 0.1, 300)
    # all else has a delta of some 0.25 then, which the band bears without a hedge
    desk.venue.exchange.move_index("BTC", -7.0, desk.engine.now_ns)
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    assert held(desk), "it is within its band, and keeps what it has"
    wanted["now"] = True
    if victim:
        run_until(desk, lambda: any(each.close is not None for each in hedger_trades(desk)), 60)
        desk.nodes[victim].crash(3 * SECOND)
    assert off(desk, 150, 0.3) == 0
    assert len(scalpers(desk, "OPEN")) == 1
    assert held(desk) == []
    (gone,) = hedger_trades(desk)
    assert gone.close is not None
    assert gone.close.reason.startswith("gives way to scalper-1: without its trades delta is ")
    assert off(desk, 300, 0.3) == 0
    assert hedger_trades(desk) == [gone], "nothing to and fro"
    assert broken_promises(desk) == []


def test_what_its_band_needs_stays_and_the_structure_is_refused_for_as_long() -> None:
    wanted = {"now": False}
    desk = desk_of(call(), scalper(wanted), hedger(band=0.1, interval_seconds=20.0))
    run_until(desk, lambda: held(desk) and abs(delta_of(desk)) <= 0.1, 300)
    wanted["now"] = True
    assert off(desk, 300, 0.1) == 0
    assert scalpers(desk, "OPENING", "OPEN") == []
    assert held(desk) != []
    assert "does not give way to scalper-" in why(desk)
    assert broken_promises(desk) == []


def test_had_it_given_what_its_band_needs_it_could_not_come_back_and_delta_would_be_off_for_as_long() -> None:
    """What docs/decisions says: somebody makes it give way by hand, and lets it go on at once."""
    wanted = {"now": False}
    desk = desk_of(call(), scalper(wanted), hedger(band=0.1, interval_seconds=20.0))
    run_until(desk, lambda: held(desk) and abs(delta_of(desk)) <= 0.1, 300)
    desk.operate_at(desk.engine.now_ns + 1, "strategy", command("pause"), "pause")
    (hedge,) = hedger_trades(desk)
    close = CloseTrade(trade_id=hedge.trade_id, reason="give way", requested_by="cli:ana")
    desk.operate_at(desk.engine.now_ns + 2, "execution", close, "close")
    run_until(desk, lambda: not held(desk), 60)
    wanted["now"] = True
    run_until(desk, lambda: scalpers(desk, "OPEN"), 60)
    desk.venue.exchange.move_index("BTC", -3.0, desk.engine.now_ns)
    run_until(desk, lambda: own_hedge(desk) > 0, 60)
    desk.operate_at(desk.engine.now_ns + 1, "strategy", command("resume"), "resume")
    assert off(desk, 600, 0.1) > 590
    assert held(desk) == []
    assert "would net against" in why(desk)
    assert broken_promises(desk) == []


def command(action: Literal["pause", "resume"]) -> StrategyCommand:
    return StrategyCommand(action=action, strategy=NAME, requested_by="cli:ana")

"""One seed: a desk under faults, then healed; every promise checked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random

import msgspec

from services.exchange.config import BTC, AccountConfig, ExchangeConfig, IndexConfig, LadderConfig, ListingConfig
from shared.messages.control import StrategyCommand
from shared.strategy import LegSpec, StrategyConfig, max_hold_hours, strangle
from world.desk import ACCOUNT_ID, DESK_NUMBER, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.invariants import (
    fold_violations,
    ledger_violations,
    liveness_violations,
    naked_leg_violations,
    safety_violations,
)
from world.node import crash_at_random

START_NS = 1_763_640_000_000_000_000  # 2025-11-20T12:00:00Z, far from an expiry
FAULTY_S = 150
OPENING_S = 60
HEALING_S = 420
HOLD_S = 30


class Verdict(msgspec.Struct, frozen=True):
    """What one seed showed. `violations` is empty when every promise held."""

    seed: int
    violations: tuple[str, ...]
    trades: int
    closed: int
    failed: int
    orders: int
    crashes: int
    unknown_orders: int
    faults: Faults
    shared_symbol: bool


def simulate(seed: int, faults: Faults | None = None) -> Verdict:
    """Run one seed. `faults` None draws them from the seed."""
    engine = Engine(START_NS, seed)
    drawn = Faults.swarm(Random(seed)) if faults is None else faults
    desk = Desk(engine, drawn, three_strategies(seed), small_exchange(seed))
    faulty_until_ns = START_NS + FAULTY_S * SECOND
    for node in desk.nodes.values():
        crash_at_random(node, engine, drawn, faulty_until_ns)
    violations: list[str] = []
    while engine.now_ns < faulty_until_ns and not violations:
        engine.run_until(engine.now_ns + 10 * SECOND)
        violations += safety_violations(desk.venue, desk.book, DESK_NUMBER)
    _heal(desk)
    engine.run_until(engine.now_ns + OPENING_S * SECOND)
    deadline_ns = engine.now_ns + HEALING_S * SECOND
    while engine.now_ns < deadline_ns and not violations:
        engine.run_until(engine.now_ns + 5 * SECOND)
        violations += safety_violations(desk.venue, desk.book, DESK_NUMBER)
        if not any(liveness_violations(desk.venue, desk.book)):
            break
    if not violations:
        # Fees are read some seconds after the last fill.
        engine.run_until(engine.now_ns + 10 * SECOND)
        violations += liveness_violations(desk.venue, desk.book)
        violations += ledger_violations(desk.venue, desk.book)
    violations += fold_violations(desk.nodes["execution"], desk.fold(), desk.book)
    violations += naked_leg_violations(list(desk.venue.exchange.fills(ACCOUNT_ID)), desk.book, DESK_NUMBER)
    violations += [f"{node.name}: {failure}" for node in desk.nodes.values() for failure in node.failures]
    return _verdict(seed, drawn, desk, violations)


def _heal(desk: Desk) -> None:
    """Stop all faults; a while later open nothing new, so that everything can come to its end."""
    calm = Faults.none()
    desk.faults = desk.venue.faults = calm
    desk.bus.heal(calm)
    for node in desk.nodes.values():
        node.heal(calm)
    pause = StrategyCommand(action="pause", strategy="*", requested_by="simulation")
    desk.operate_at(desk.engine.now_ns + OPENING_S * SECOND, "strategy", pause, "pause-all")


def small_exchange(seed: int) -> ExchangeConfig:
    """Two daily expiries of BTC with few strikes: what a chain costs is not what is tested here.

    Every side is quoted within the bound of a close: a leg that nobody buys stays open and alarmed, by design.
    """
    listing = ListingConfig(
        dailies=2,
        weeklies=0,
        monthlies=0,
        quarterlies=0,
        strike_steps=(Decimal(1_000), Decimal(1_000), Decimal(2_000), Decimal(5_000)),
        strikes_per_side=(5, 5, 5, 5),
    )
    index = IndexConfig(initial_price=100_000.0, jumps_per_day=50.0)
    ladder = LadderConfig(empty_side_probability=0.0, wing_multiplier=1.5)
    return ExchangeConfig(
        seed=seed,
        bases=(msgspec.structs.replace(BTC, listing=listing, index=index, ladder=ladder),),
        accounts=(AccountConfig(account_id=ACCOUNT_ID),),
    )


def three_strategies(seed: int) -> Sequence[StrategyConfig]:
    """Two strategies with the same legs, so that two trades hold one symbol; a third with protective legs."""
    long_legs = strangle(qty=0.1, call_delta=0.25, put_delta=-0.25, dte=1, side=1)
    condor = [
        *strangle(qty=0.2, call_delta=0.30, put_delta=-0.30, dte="next", side=2),
        *strangle(qty=0.2, call_delta=0.12, put_delta=-0.12, dte="next", side=1),
    ]
    return (
        _strategy("alpha", long_legs, seed),
        _strategy("beta", long_legs, seed + 1),
        _strategy("condor", condor, seed + 2),
    )


def _strategy(name: str, legs: Sequence[LegSpec], variant: int) -> StrategyConfig:
    return StrategyConfig(
        name=name,
        legs=legs,
        exit_conditions=[max_hold_hours(HOLD_S / 3600)],
        execution_mode="limit",
        policy="atomic" if variant % 3 else "best_effort",
        max_concurrent_trades=1,
        max_trades_per_day=3,
        cooldown_seconds=10,
        check_interval_seconds=1,
    )


def _verdict(seed: int, faults: Faults, desk: Desk, violations: Sequence[str]) -> Verdict:
    book = desk.book
    trades = list(book.trades.values())
    spans = [
        (leg.symbol, trade.created_ns, trade.closed_ns or desk.engine.now_ns, trade.trade_id)
        for trade in trades
        for leg in trade.legs
    ]
    shared = any(
        a[0] == b[0] and a[3] != b[3] and a[1] < b[2] and b[1] < a[2]
        for position, a in enumerate(spans)
        for b in spans[:position]
    )
    return Verdict(
        seed=seed,
        violations=tuple(dict.fromkeys(violations)),
        trades=len(trades),
        closed=sum(trade.state == "CLOSED" for trade in trades),
        failed=sum(trade.state == "FAILED" for trade in trades),
        orders=len(book.orders),
        crashes=sum(node.starts - 1 for node in desk.nodes.values()),
        unknown_orders=sum(
            entry.row.state == "UNKNOWN"
            for entry in desk.nodes["execution"].journal.entries
            if type(entry.row).__name__ == "OrderMoved"
        ),
        faults=faults,
        shared_symbol=shared,
    )

"""One seed: a desk under faults, then healed; every promise checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from shared.messages.control import LiftHalts, StrategyCommand
from world.audit import decision_violations, flip_violations, silent_changes
from world.desk import ACCOUNT_ID, DESK_NUMBER, Desk
from world.disturbances import disturb
from world.engine import Engine
from world.faults import SECOND, Faults
from world.intruder import Intruder
from world.invariants import (
    fold_violations,
    liveness_violations,
    naked_leg_violations,
    safety_violations,
)
from world.ledger import cash_violations, grant_violations, ledger_violations, outcome_violations
from world.node import Node
from world.quoter import grid
from world.scenario import NOON_NS, Operator, Scenario, drawn
from world.violations import Violation

START_NS = NOON_NS
OPENING_S = 60
HEALING_S = 420


class Verdict(msgspec.Struct, frozen=True):
    """What one seed showed. `violations` is empty when every promise held."""

    seed: int
    scenario: str
    violations: tuple[Violation, ...]
    trades: int
    closed: int
    failed: int
    settled: int
    orders: int
    crashes: int
    unknown_orders: int
    faults: Faults
    shared_symbol: bool


def simulate(seed: int, faults: Faults | None = None, scenario: Scenario | None = None) -> Verdict:
    """Run one seed. What is None is drawn from the seed."""
    faults = faults or Faults.swarm(Random(seed))
    scenario = scenario or drawn(seed)
    engine = Engine(scenario.start_ns, seed)
    desk = Desk(
        engine,
        faults,
        (*scenario.strategies, grid()) if scenario.quotes else scenario.strategies,
        scenario.exchange,
        scenario.execution,
        risk_config=scenario.risk,
        host_config=scenario.host,
    )
    faulty_until_ns = scenario.start_ns + scenario.faulty_s * SECOND
    disturb(desk, faults, faulty_until_ns)
    Operator(desk, scenario.operator_pause_s, faulty_until_ns)
    Intruder(desk, scenario.intruder_pause_s, faulty_until_ns)
    violations: list[Violation] = []
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
        violations += violations_at_rest(desk)
    else:
        violations += decided_wrongly(desk)
        violations += failures(desk.nodes.values())
    return _verdict(seed, faults, scenario, desk, violations)


def violations_at_rest(desk: Desk) -> list[Violation]:
    """Every promise, in a desk whose faults stopped long enough ago."""
    execution, venue, book = desk.nodes["execution"], desk.venue, desk.book
    entries = execution.journal.entries
    return [
        *safety_violations(venue, book, DESK_NUMBER),
        *liveness_violations(venue, book),
        *ledger_violations(venue, book),
        *cash_violations(venue, book, entries),
        *grant_violations(entries, desk.bus.published, book),
        *decided_wrongly(desk),
        *failures(desk.nodes.values()),
    ]


def decided_wrongly(desk: Desk) -> list[Violation]:
    """What execution should not have done with what it knew, or not have written or said."""
    entries = desk.nodes["execution"].journal.entries
    fills = desk.venue.rfqs.named(desk.venue.exchange.fills(ACCOUNT_ID), desk.book)
    violations = [
        *decision_violations(entries, desk.execution_config, desk.witness, desk.risk_config),
        *silent_changes(desk.bus.published),
        *outcome_violations(entries, desk.bus.answered),
        *flip_violations(fills, DESK_NUMBER),
        *fold_violations(desk.nodes["execution"], desk.fold(), desk.book),
    ]
    if not desk.venue.by_hand:
        # A short leg that somebody else closed is not in our fills, and its long leg may go.
        violations += naked_leg_violations(fills, desk.book, DESK_NUMBER)
    return violations


def failures(nodes: Iterable[Node]) -> list[Violation]:
    """Inputs on which a core raised."""
    return [Violation("no_core_failed", f"{node.name}: {failure}") for node in nodes for failure in node.failures]


def _heal(desk: Desk) -> None:
    """Stop all faults; a while later open nothing new, so that everything can come to its end."""
    desk.heal()
    for again in range(12):
        # A journal that was full or torn halts until a person says that all is well.
        lift = LiftHalts(requested_by="operator")
        desk.operate_at(desk.engine.now_ns + 5 * again * SECOND, "execution", lift, f"lift-{again}")
    pause = StrategyCommand(action="pause", strategy="*", requested_by="simulation")
    desk.operate_at(desk.engine.now_ns + OPENING_S * SECOND, "strategy", pause, "pause-all")


def _verdict(seed: int, faults: Faults, scenario: Scenario, desk: Desk, violations: Sequence[Violation]) -> Verdict:
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
        scenario=scenario.name,
        violations=tuple(dict.fromkeys(violations)),
        trades=len(trades),
        closed=sum(trade.state == "CLOSED" for trade in trades),
        settled=sum(trade.state == "SETTLED" for trade in trades),
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

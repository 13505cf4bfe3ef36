"""One seed: a desk under faults, then healed; every promise checked."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from random import Random

import msgspec

from services.execution.book import Book
from services.execution.rows import OrderMoved, OrderRequested
from services.strategy.loaded import LoadedStrategy
from shared.messages.control import LiftHalts, StrategyCommand
from world.audit import decision_violations, flip_violations, silent_changes
from world.cash_audit import sale_violations, unkept_minimum, unknown_sales, untrue_sales
from world.coins_audit import coin_violations, coins_at_rest
from world.covered_coins import coins_sold_by_hand, covered_coins
from world.desk import DESK_NUMBER, Desk
from world.disturbances import disturb
from world.engine import Engine
from world.faults import SECOND, Faults
from world.guard_audit import breaker_violations, margin_violations, refusal_violations, transfer_violations
from world.intruder import Intruder
from world.invariants import (
    countdown_violations,
    fold_violations,
    liveness_violations,
    naked_leg_violations,
    safety_violations,
)
from world.ledger import (
    cash_violations,
    grant_violations,
    ignorance,
    ledger_violations,
    missed_events,
    outcome_violations,
    untrue_outcomes,
)
from world.leverage import leverage_violations
from world.node import Node
from world.quoter import grid
from world.roll_audit import chain_violations, net_limit_violations, succession_violations, undecided_rolls
from world.scenario import NOON_NS, Operator, Scenario, drawn
from world.situations import Reached, reached
from world.stopper import stopper
from world.story import folded, ids_in, stories
from world.treasurer import Treasurer
from world.violations import Violation

START_NS = NOON_NS
OPENING_MIN_S = 25
OPENING_MAX_S = 440
"""A little longer than a grant of which no trade was made keeps its room."""

HEALING_S = 420

_ANY_POSITION = Decimal(1_000_000_000)


class Verdict(msgspec.Struct, frozen=True):
    """What one seed showed. `violations` is empty when every promise held.

    mix: what was on. story: of the trades that violations speak of. virtual_s: how much of the desk's time passed.
    digest: a hash of every row written, every frame published and every fill of the venue: two versions of the desk
    with the same digest did the same. reached: which situations it met.
    """

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
    mix: str
    shared_symbol: bool
    virtual_s: float
    story: tuple[str, ...]
    digest: str
    reached: Reached


def desk_of(scenario: Scenario, seed: int, faults: Faults | None = None) -> Desk:
    """The desk of a scenario at its start, without faults when none are given. Neither its script nor the people on
    the account act in it."""
    return Desk(
        Engine(scenario.start_ns, seed),
        faults or Faults.none(),
        (*scenario.strategies, *_coded(scenario)),
        scenario.exchange,
        scenario.execution,
        risk_config=scenario.risk,
        host_config=scenario.host,
        futures=scenario.futures,
        spot=scenario.spot,
        hosts=scenario.hosts,
    )


def simulate(seed: int, faults: Faults | None = None, scenario: Scenario | None = None) -> Verdict:
    """Run one seed. What is None is drawn from the seed."""
    faults = faults or Faults.swarm(Random(seed))
    scenario = scenario or _drawn(seed)
    desk = desk_of(scenario, seed, faults)
    # A run makes few cycles and many objects: looking for the former again and again takes a tenth of its time.
    collects = gc.isenabled()
    gc.disable()
    try:
        violations = _run(desk, faults, scenario)
        return _verdict(seed, faults, scenario, desk, desk.book, violations)
    except AssertionError as error:
        violations = [Violation("no_core_failed", f"assertion: {error}")]
        # The core may have died in the middle of a change.
        book = folded(desk.nodes["execution"].journal.entries, scenario.execution)
        return _verdict(seed, faults, scenario, desk, book, violations)
    finally:
        if collects:
            gc.enable()


def _drawn(seed: int) -> Scenario:
    """As scenarios are drawn, but three in a hundred trade coins of spot, in one of them sold by hand too."""
    number = Random(f"covered coins drawn {seed}").random()
    if number >= 0.03:
        return drawn(seed)
    return covered_coins(seed) if number < 0.02 else coins_sold_by_hand(seed)


def _coded(scenario: Scenario) -> Iterator[LoadedStrategy]:
    """The strategies that work their own orders."""
    if scenario.quotes:
        yield grid(scenario.quotes)
    if scenario.stops:
        yield stopper()


def _run(desk: Desk, faults: Faults, scenario: Scenario) -> list[Violation]:
    engine = desk.engine
    faulty_until_ns = scenario.start_ns + scenario.faulty_s * SECOND
    disturb(desk, faults, faulty_until_ns)
    Operator(desk, scenario.operator_pause_s, faulty_until_ns)
    Intruder(desk, scenario.intruder_pause_s, faulty_until_ns)
    Treasurer(desk, scenario.treasurer_pause_s, faulty_until_ns)
    if scenario.script is not None:
        scenario.script(desk, faulty_until_ns)
    violations: list[Violation] = []
    while engine.now_ns < faulty_until_ns and not violations:
        engine.run_until(engine.now_ns + 10 * SECOND)
        violations += _unsafe(desk, faults)
    if not violations:
        _heal(desk)
        _trade_again(desk)
    deadline_ns = engine.now_ns + HEALING_S * SECOND
    while engine.now_ns < deadline_ns and not violations:
        engine.run_until(engine.now_ns + 5 * SECOND)
        violations += _unsafe(desk, faults)
        if not any(_unfinished(desk)) and not _may_open(desk):
            break
    if violations:
        return [
            *violations,
            *decided_wrongly(desk),
            *rolled_wrongly(desk),
            *granted_wrongly(desk),
            *failures(desk.nodes.values()),
        ]
    # Fees are read some seconds after the last fill.
    engine.run_until(engine.now_ns + 10 * SECOND)
    return violations_at_rest(desk)


def _unfinished(desk: Desk) -> Iterator[Violation]:
    """What comes to its end once faults stop, and has not."""
    cash = desk.execution_config.cash
    yield from liveness_violations(desk.venue, desk.book)
    yield from unknown_sales(desk.venue, desk.book, cash)
    yield from unkept_minimum(desk.venue, cash)
    yield from leverage_violations(desk.venue.leverage, desk.nodes["execution"].journal.entries, at_rest=True)


def _may_open(desk: Desk) -> bool:
    """Whether a strategy is not paused yet, or has an intent on its way."""
    hosts = desk.tenants.nodes.values()
    return any(
        not host.alive
        or any(slot.flight is not None or slot.state(0) == "running" for slot in host.core.slots.values())
        for host in hosts
    )


def _unsafe(desk: Desk, faults: Faults) -> list[Violation]:
    """What must hold at every moment, and does not. A clock that is set back makes everything late."""
    found = [*safety_violations(desk.venue, desk.book, DESK_NUMBER)]
    entries = desk.nodes["execution"].journal.entries
    found += sale_violations(desk.venue, entries, desk.execution_config.cash, DESK_NUMBER)
    found += coin_violations(desk.venue, DESK_NUMBER)
    found += leverage_violations(desk.venue.leverage, entries, at_rest=False)
    if not faults.clock_jump_per_minute:
        lasts_ns = desk.execution_config.quoting_countdown_s * SECOND
        found += countdown_violations(desk.venue, desk.nodes["execution"], lasts_ns)
    if len(desk.tenants.nodes) > 1:
        trading = [trade.request.strategy for trade in desk.book.active_trades()]
        found += desk.tenants.violations(desk.engine.now_ns - SECOND, trading)
    return found


def violations_at_rest(desk: Desk) -> list[Violation]:
    """Every promise, in a desk whose faults stopped long enough ago."""
    execution, venue, book = desk.nodes["execution"], desk.venue, desk.book
    entries = execution.journal.entries
    return [
        *safety_violations(venue, book, DESK_NUMBER),
        *_unfinished(desk),
        *ledger_violations(venue, book),
        *cash_violations(venue, book, entries),
        *coins_at_rest(venue, book, DESK_NUMBER),
        *grant_violations(entries, desk.bus.published, book, clock_holds=not desk.machine.was_set),
        *rolled_wrongly(desk, at_rest=True),
        *ignorance(desk.bus.latest.values(), book),
        *missed_events(desk.bus, desk.engine.now_ns),
        *decided_wrongly(desk),
        *granted_wrongly(desk),
        *failures(desk.nodes.values()),
    ]


def rolled_wrongly(desk: Desk, *, at_rest: bool = False) -> list[Violation]:
    """What should not have been rolled, or not been told so of a chain."""
    hosts = [node.journal for node in desk.tenants.nodes.values()]
    written = [entry for host in hosts for entry in host.entries]
    violations = [
        *succession_violations(desk.nodes["execution"].journal.entries),
        *net_limit_violations(desk.book, written),
        *chain_violations(desk.book, desk.venue.account_id),
    ]
    if at_rest and not any(host.lost_rows for host in hosts):
        violations += undecided_rolls(written)
    return violations


def granted_wrongly(desk: Desk) -> list[Violation]:
    """What risk should not have granted, or not have taken for a loss."""
    journal, published, config = desk.nodes["risk"].journal, desk.bus.published, desk.risk_config
    opened = (trade.request.intent_id for trade in desk.book.trades.values())
    violations = list(refusal_violations(published, opened))
    if not journal.lost_rows:
        clock_holds = not desk.machine.was_set
        violations += breaker_violations(journal.entries, published, config, clock_holds=clock_holds)
        violations += margin_violations(journal.entries, config)
        violations += transfer_violations(journal.entries, desk.bus.accounts, desk.account_reads, config)
    return violations


def decided_wrongly(desk: Desk) -> list[Violation]:
    """What execution should not have done with what it knew, or not have written or said."""
    entries = desk.nodes["execution"].journal.entries
    fills = desk.venue.rfqs.named(desk.venue.fills_of_trades(), desk.book)
    limits = desk.risk_config
    if desk.venue.by_hand:
        # risk limits the account's position, and what somebody else traded is in it: the trades alone may hold more
        limits = msgspec.structs.replace(limits, max_position_quantity=_ANY_POSITION)
    violations = [
        *decision_violations(entries, desk.execution_config, desk.witness, limits),
        *silent_changes(desk.bus.published),
        *outcome_violations(entries, desk.bus.answered),
        *untrue_outcomes(entries, desk.venue),
        *untrue_sales(entries, desk.venue),
        *desk.untrue,
        *flip_violations(fills, DESK_NUMBER),
        *fold_violations(desk.nodes["execution"], desk.fold(), desk.book),
    ]
    if not desk.venue.by_hand:
        # A short leg that somebody else closed is not in our fills, and its long leg may go.
        violations += naked_leg_violations(fills, desk.book, DESK_NUMBER)
    return violations


def failures(nodes: Iterable[Node]) -> list[Violation]:
    """Inputs on which a core raised."""
    return [
        Violation("no_core_failed", f"{node.name}: {failure}", ids_in(repr(failure.item)))
        for node in nodes
        for failure in node.failures
    ]


def _heal(desk: Desk) -> None:
    """Stop all faults."""
    desk.heal()
    for again in range(12):
        # A journal that was full or torn halts until a person says that all is well.
        lift = LiftHalts(requested_by="operator")
        desk.operate_at(desk.engine.now_ns + 5 * again * SECOND, "execution", lift, f"lift-{again}")


def _trade_again(desk: Desk) -> None:
    """Go on until something has been opened, then open nothing new, so that everything can come to its end."""
    engine = desk.engine
    healed_ns = engine.now_ns
    while engine.now_ns < healed_ns + OPENING_MAX_S * SECOND:
        engine.run_until(engine.now_ns + 5 * SECOND)
        opened = any(trade.opened_ns is not None for trade in desk.book.trades.values())
        if opened and engine.now_ns >= healed_ns + OPENING_MIN_S * SECOND:
            break
    for again in range(3):
        # A host that is down when the faults stop hears of it later.
        pause = StrategyCommand(action="pause", strategy="*", requested_by="simulation")
        engine.after(20 * again * SECOND, partial(desk.steer, pause, f"pause-{again}"))


def _verdict(
    seed: int, faults: Faults, scenario: Scenario, desk: Desk, book: Book, violations: Sequence[Violation]
) -> Verdict:
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
    # Counted in the journal: the book forgets orders that a quoting strategy withdrew.
    written = [entry.row for entry in desk.nodes["execution"].journal.entries]
    return Verdict(
        seed=seed,
        scenario=scenario.name,
        violations=tuple(dict.fromkeys(violations)),
        trades=len(trades),
        closed=sum(trade.state == "CLOSED" for trade in trades),
        settled=sum(trade.state == "SETTLED" for trade in trades),
        failed=sum(trade.state == "FAILED" for trade in trades),
        orders=sum(isinstance(row, OrderRequested) for row in written),
        crashes=sum(node.starts - 1 for node in desk.nodes.values()),
        unknown_orders=sum(isinstance(row, OrderMoved) and row.state == "UNKNOWN" for row in written),
        mix=f"{scenario.mix()} {faults.mix()}",
        shared_symbol=shared,
        virtual_s=(desk.engine.now_ns - scenario.start_ns) / SECOND,
        story=tuple(stories(violations, book, scenario.start_ns, DESK_NUMBER)),
        digest=_digest(desk),
        reached=reached(desk.nodes["execution"].journal.entries, book, faults),
    )


def _digest(desk: Desk) -> str:
    digest = desk.bus.told.copy()
    encode = msgspec.msgpack.Encoder().encode
    for node in desk.nodes.values():
        for entry in (*node.journal.lost_rows, *node.journal.entries):
            digest.update(encode(entry))
    for fill in (*desk.venue.fills_of_trades(), *desk.venue.cash.fills()):
        digest.update(encode(fill))
    digest.update(encode(desk.engine.random.random()))
    return digest.hexdigest()

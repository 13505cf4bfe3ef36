"""Days on which the surroundings fail: the venue away for minutes, the disk full and full again."""

from __future__ import annotations

from collections import Counter

import pytest

from services.execution.rows import HaltRaised
from shared.messages.control import LiftHalts, StrategyCommand
from tests.simulation.test_world import EXTREME, also_long, calm_desk, run_until
from world.desk import DESK_NUMBER, Desk
from world.disturbances import crash_at_random
from world.engine import Engine
from world.faults import SECOND
from world.invariants import fold_violations, liveness_violations, safety_violations
from world.ledger import ledger_violations
from world.scenario import small_exchange, three_strategies
from world.simulate import START_NS

pytestmark = pytest.mark.simulation

MOMENTS = {
    "OPENING": lambda desk: any(trade.state == "OPENING" for trade in desk.book.trades.values()),
    "OPEN": lambda desk: any(trade.state == "OPEN" for trade in desk.book.trades.values()),
    "CLOSING": lambda desk: any(trade.state == "CLOSING" for trade in desk.book.trades.values()),
}


def assert_sound(desk: Desk) -> None:
    """Everything came to its end, nothing was doubled or lost, and the journal says what is true."""
    assert list(safety_violations(desk.venue, desk.book, DESK_NUMBER)) == []
    assert list(liveness_violations(desk.venue, desk.book)) == []
    assert list(ledger_violations(desk.venue, desk.book)) == []
    assert list(fold_violations(desk.nodes["execution"], desk.fold(), desk.book)) == []
    assert [failure for node in desk.nodes.values() for failure in node.failures] == []


def come_to_rest(desk: Desk) -> None:
    """Open nothing any more and let what is open come to its end."""
    pause = StrategyCommand(action="pause", strategy="*", requested_by="test")
    desk.operate_at(desk.engine.now_ns, "strategy", pause, f"pause-{desk.engine.now_ns}")
    run_until(desk, lambda: not any(liveness_violations(desk.venue, desk.book)), limit_s=400)
    desk.engine.run_until(desk.engine.now_ns + 15 * SECOND)


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_exchange_gone_for_five_minutes_costs_time_and_nothing_else(moment: str) -> None:
    desk = calm_desk()
    run_until(desk, lambda: desk.nodes["execution"].alive and MOMENTS[moment](desk))
    known = set(desk.book.trades)
    desk.venue.go_away(300 * SECOND)
    desk.engine.run_until(desk.engine.now_ns + 299 * SECOND)
    assert set(desk.book.trades) == known, "nothing is opened that cannot be seen"
    told = Counter(
        (service, alert.code, alert.subject, alert.text) for _, service, alert in desk.alerts if not alert.resolved
    )
    assert {code for _, code, _, _ in told} >= {"venue_unreadable", "account_unreachable", "market_data_stale"}
    assert [matter for matter, times in told.items() if times > 1] == [], "each is told once"
    run_until(desk, lambda: all(desk.book.trades[trade].is_final for trade in known), limit_s=400)
    run_until(desk, lambda: len(desk.book.trades) > len(known), limit_s=200)
    come_to_rest(desk)
    assert_sound(desk)
    assert max(desk.venue.sent.values()) == 1


@pytest.mark.parametrize(
    ("moment", "reserve_rows"), [("OPENING", 0), ("OPENING", 3), ("OPEN", 0), ("OPEN", 10_000), ("CLOSING", 3)]
)
def test_on_a_full_disk_what_is_open_is_closed_nothing_is_opened_and_then_it_goes_on(
    moment: str, reserve_rows: int
) -> None:
    desk = calm_desk()
    run_until(desk, lambda: desk.nodes["execution"].alive and MOMENTS[moment](desk))
    known = set(desk.book.trades)
    for name in ("risk", "execution", "strategy"):
        desk.nodes[name].fill_disk(reserve_rows, 120 * SECOND)
    desk.engine.run_until(desk.engine.now_ns + 119 * SECOND)
    assert set(desk.book.trades) == known
    assert all(trade.is_final for trade in desk.book.trades.values())
    assert desk.venue.positions() == ()
    assert desk.nodes["execution"].space == ("reserve" if reserve_rows > 100 else "memory")
    run_until(desk, lambda: len(desk.book.trades) > len(known))
    assert desk.nodes["execution"].journal.unwritten == ""
    come_to_rest(desk)
    assert_sound(desk)


@pytest.mark.parametrize("seed", [2, *also_long(3)])
def test_execution_killed_with_rows_in_memory_is_halted_takes_over_what_the_venue_says_and_loses_nothing(
    seed: int,
) -> None:
    desk = calm_desk(seed)
    execution = desk.nodes["execution"]
    run_until(desk, lambda: execution.alive and MOMENTS["OPEN"](desk))
    execution.fill_disk(0, 60 * SECOND)
    sent = len(desk.venue.sent)
    run_until(desk, lambda: execution.space == "memory" and len(desk.venue.sent) > sent, limit_s=60)
    execution.crash()
    run_until(desk, lambda: execution.alive and execution.core.book.halts, limit_s=30)
    (halt,) = execution.core.book.halts
    assert (halt.level, halt.raised_by) == ("no_new_trades", "journal")
    known = set(desk.book.trades)
    desk.engine.run_until(desk.engine.now_ns + 200 * SECOND)
    assert set(desk.book.trades) == known
    assert desk.venue.positions() == ()
    (raised,) = (entry.row for entry in execution.journal.entries if isinstance(entry.row, HaltRaised))
    assert "never written" in raised.reason
    desk.operate_at(desk.engine.now_ns, "execution", LiftHalts(requested_by="operator"), "lift")
    run_until(desk, lambda: len(desk.book.trades) > len(known))
    come_to_rest(desk)
    assert_sound(desk)


@pytest.mark.parametrize("seed", [1, *also_long(4, 48)])
def test_full_disks_crashes_and_an_absent_venue_among_all_other_faults_keep_every_promise(seed: int) -> None:
    engine = Engine(START_NS, seed)
    desk = Desk(engine, EXTREME, three_strategies(seed), small_exchange(seed))
    faulty_until_ns = START_NS + 150 * SECOND
    for node in desk.nodes.values():
        crash_at_random(desk, node, EXTREME, faulty_until_ns)
    while engine.now_ns < faulty_until_ns:
        engine.run_until(engine.now_ns + engine.between_ns(5 * SECOND, 25 * SECOND))
        for name in ("risk", "execution", "strategy"):
            if engine.chance(0.7):
                rows, duration_ns = engine.random.choice((0, 2, 20)), engine.between_ns(5 * SECOND, 30 * SECOND)
                desk.nodes[name].fill_disk(rows, duration_ns)
        if engine.chance(0.3):
            desk.venue.go_away(engine.between_ns(2 * SECOND, 20 * SECOND))
        assert list(safety_violations(desk.venue, desk.book, DESK_NUMBER)) == []
        if engine.chance(0.5):
            lift = LiftHalts(requested_by="operator")
            desk.operate_at(engine.now_ns, "execution", lift, f"lift-{engine.now_ns}")
    desk.heal()
    engine.run_until(engine.now_ns + 90 * SECOND)
    come_to_rest(desk)
    assert_sound(desk)

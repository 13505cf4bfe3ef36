"""The journal of execution on bad days: found damaged, or begun anew from a snapshot at every restart."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.execution.rows import OrderRequested
from shared.ids import parse_client_order_id
from shared.messages.control import LiftHalts
from shared.messages.reconciliation import AdoptPosition
from shared.messages.trades import CloseTrade
from tests.simulation.test_bad_days import MOMENTS
from tests.simulation.test_world import EXTREME, calm_desk, run_until
from world.desk import DESK_NUMBER, Desk
from world.faults import SECOND, Faults
from world.invariants import fold_violations
from world.simulate import simulate

pytestmark = pytest.mark.simulation


def order_ids(desk: Desk) -> list[int]:
    """Ids of all orders that any journal of execution asked for, the one that was moved aside included."""
    journal = desk.nodes["execution"].journal
    rows = (entry.row for entry in (*journal.lost_rows, *journal.entries))
    return [row.client_order_id for row in rows if isinstance(row, OrderRequested) and not row.adopted]


def held(desk: Desk) -> dict[str, Decimal]:
    return {position.symbol: position.quantity for position in desk.venue.positions()}


def test_a_desk_restarted_from_snapshots_all_the_time_keeps_every_promise() -> None:
    faults = Faults(crash_per_drain=0.02, crash_per_minute=2.0, answer_lost=0.2, snapshot_rows=5, snapshot_torn=0.2)
    desk = calm_desk(5, faults)
    desk.engine.run_until(desk.engine.now_ns + 90 * SECOND)
    node = desk.nodes["execution"]
    assert node.starts > 3
    assert node.journal.snapshots_used > 3
    assert list(fold_violations(node, desk.fold(), desk.book)) == []
    verdict = simulate(5, faults)
    assert verdict.violations == ()
    assert verdict.crashes > 3


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_damaged_journal_orders_of_ours_are_cancelled_positions_left_alone_and_no_id_is_used_again(
    moment: str,
) -> None:
    desk = calm_desk()
    execution = desk.nodes["execution"]
    run_until(desk, lambda: execution.alive and MOMENTS[moment](desk))
    before = set(order_ids(desk))
    execution.journal.damage = "the journal is damaged: row 7 is not as it was written"
    execution.crash()
    run_until(desk, lambda: execution.alive and execution.core.book.halts, limit_s=30)
    (halt,) = execution.core.book.halts
    assert (halt.level, halt.raised_by) == ("no_new_trades", "journal")
    assert "row 7 is not as it was written" in halt.reason
    desk.engine.run_until(desk.engine.now_ns + 20 * SECOND)
    positions = held(desk)
    desk.engine.run_until(desk.engine.now_ns + 100 * SECOND)
    ours = [
        order
        for order in desk.venue.exchange.open_orders(desk.venue.account_id)
        if order.client_order_id is not None and parse_client_order_id(order.client_order_id, DESK_NUMBER)
    ]
    assert ours == []
    assert desk.book.trades == {}
    assert set(order_ids(desk)) == before, "nothing is opened, and nothing of what is foreign is closed"
    told = {alert.code for _, service, alert in desk.alerts if service == "execution"}
    assert "journal_incomplete" in told
    assert held(desk) == positions
    assert ("foreign_position" in told) == bool(positions)
    desk.operate_at(desk.engine.now_ns, "execution", LiftHalts(requested_by="operator"), "lift")
    run_until(desk, lambda: len(desk.book.trades) > 0, limit_s=200)
    run_until(desk, lambda: any(trade.state == "CLOSED" for trade in desk.book.trades.values()), limit_s=200)
    assert len(order_ids(desk)) == len(set(order_ids(desk)))
    assert max(desk.venue.sent.values()) == 1
    assert list(fold_violations(execution, desk.fold(), desk.book)) == []


def test_what_a_damaged_journal_left_behind_can_be_adopted_and_closed_before_the_desk_is_resumed() -> None:
    desk = calm_desk()
    execution = desk.nodes["execution"]
    run_until(desk, lambda: execution.alive and MOMENTS["OPEN"](desk) and not MOMENTS["OPENING"](desk))
    execution.journal.damage = "the journal is damaged: file is not a database"
    execution.crash()
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    left = held(desk)
    assert left
    for symbol in left:
        adopt = AdoptPosition(symbol=symbol, quantity=None, strategy="manual", requested_by="operator")
        desk.operate_at(desk.engine.now_ns, "execution", adopt, f"adopt-{symbol}")
    run_until(desk, lambda: len(desk.book.trades) == len(left), limit_s=30)
    assert {trade.state for trade in desk.book.trades.values()} == {"OPEN"}
    for trade_id in desk.book.trades:
        close = CloseTrade(trade_id=trade_id, reason="lost", requested_by="operator")
        desk.operate_at(desk.engine.now_ns, "execution", close, f"close-{trade_id}")
    run_until(desk, lambda: all(trade.is_final for trade in desk.book.trades.values()), limit_s=300)
    assert held(desk) == {}
    assert {trade.state for trade in desk.book.trades.values()} == {"CLOSED"}
    assert [halt.raised_by for halt in desk.book.halts] == ["journal"]
    assert len(order_ids(desk)) == len(set(order_ids(desk)))


def test_a_damaged_journal_among_all_other_faults_sends_nothing_twice() -> None:
    desk = calm_desk(4, EXTREME)
    execution = desk.nodes["execution"]
    for _ in range(3):
        desk.engine.run_until(desk.engine.now_ns + 40 * SECOND)
        execution.journal.damage = "the journal is damaged: database disk image is malformed"
        execution.crash()
        desk.engine.run_until(desk.engine.now_ns + 20 * SECOND)
        lift = LiftHalts(requested_by="operator")
        desk.operate_at(desk.engine.now_ns, "execution", lift, f"lift-{desk.engine.now_ns}")
    assert len(order_ids(desk)) == len(set(order_ids(desk)))
    assert max(desk.venue.sent.values()) == 1
    assert [failure for node in desk.nodes.values() for failure in node.failures] == []

"""Desks with perpetuals beside options keep every promise, and all funding is in the P&L of the trades that held."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.execution.rows import FillSeen, FundingBooked, OrderRequested, StopTriggered
from world.directed import DIRECTED
from world.faults import SECOND
from world.perpetuals import BEFORE_FUNDING_NS, perpetuals
from world.simulate import desk_of, simulate

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("seed", [2, 4])
def test_perpetuals_under_faults_break_no_promise(seed: int) -> None:
    verdict = simulate(seed, DIRECTED["perpetuals"].faults, DIRECTED["perpetuals"].scenario(seed))
    assert verdict.violations == ()
    assert verdict.closed > 0


@pytest.mark.parametrize("seed", [2, 5, 20])
def test_stop_orders_under_faults_break_no_promise(seed: int) -> None:
    verdict = simulate(seed, DIRECTED["stopped"].faults, DIRECTED["stopped"].scenario(seed))
    assert verdict.violations == ()
    assert verdict.closed > 0


def test_stop_orders_wait_are_triggered_and_fill_at_the_simulated_exchange() -> None:
    scenario = DIRECTED["stopped"].scenario(2)
    desk = desk_of(scenario, 2)
    desk.engine.run_until(scenario.start_ns + 240 * SECOND)
    written = [each.row for each in desk.nodes["execution"].journal.entries]
    stops = {
        row.client_order_id: row
        for row in written
        if isinstance(row, OrderRequested) and row.trigger_price is not None
    }
    assert {(row.reduce_only, row.at_market) for row in stops.values()} == {
        (False, False),
        (True, False),
        (True, True),
    }
    assert any(isinstance(row, StopTriggered) for row in written)
    assert any(isinstance(row, FillSeen) and row.client_order_id in stops for row in written)


def test_what_longs_pay_shorts_at_the_hour_is_in_the_pnl_of_the_trades_that_held_then() -> None:
    scenario = perpetuals(2)
    assert scenario.start_ns == BEFORE_FUNDING_NS
    desk = desk_of(scenario, 2)
    desk.engine.run_until(scenario.start_ns + 240 * SECOND)
    (payment,) = desk.venue.products.funding()
    rows = [each.row for each in desk.nodes["execution"].journal.entries if isinstance(each.row, FundingBooked)]
    assert sum((row.received_usd for row in rows), Decimal(0)) == payment.amount
    assert sum((row.quantity for row in rows), Decimal(0)) == payment.quantity
    assert sum((trade.funding_usd for trade in desk.book.trades.values()), Decimal(0)) == -payment.amount != 0

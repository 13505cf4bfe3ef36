"""Desks with dated futures keep every promise over a delivery, and what was delivered is in the P&L of the trades."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.execution.rows import FundingBooked, LegSettled
from world.dated_futures import dated_futures
from world.directed import DIRECTED
from world.faults import SECOND
from world.ledger import cash_violations, ledger_violations
from world.simulate import desk_of, simulate

pytestmark = pytest.mark.simulation


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 4])
def test_dated_futures_under_faults_break_no_promise(seed: int) -> None:
    verdict = simulate(seed, DIRECTED["dated_futures"].faults, DIRECTED["dated_futures"].scenario(seed))
    assert verdict.violations == ()
    assert verdict.closed > 0
    assert verdict.settled > 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("switches", "symbol"),
    [
        ({}, "BTCUSD-28NOV25"),
        ({"dated_symbol": "usdt", "dated_settlement": "last", "settlement_delay_ms": 20_000}, "BTCUSDT-28NOV25"),
    ],
)
def test_what_is_delivered_is_in_the_pnl_of_the_trades_that_held_to_the_last_decimal(
    switches: dict[str, Any], symbol: str
) -> None:
    scenario = dated_futures(1)
    exchange = scenario.exchange
    exchange = msgspec.structs.replace(exchange, switches=msgspec.structs.replace(exchange.switches, **switches))
    desk = desk_of(msgspec.structs.replace(scenario, exchange=exchange), 1)
    desk.engine.run_until(scenario.start_ns + 1_150 * SECOND)
    deliveries = desk.venue.products.settlements()
    rows = [each.row for each in desk.nodes["execution"].journal.entries]
    settled = [row for row in rows if isinstance(row, LegSettled)]
    assert {one.symbol for one in deliveries} == {symbol}
    trades = desk.book.trades
    assert len({row.trade_id for row in settled}) > 1
    signed = [trades[row.trade_id].legs[row.leg_index].sign * row.quantity for row in settled]
    for ours, theirs in (
        (sum(signed, Decimal(0)), sum(one.quantity for one in deliveries)),
        (sum(row.cash_flow_usd for row in settled), sum(one.settlement_cash_flow_usd for one in deliveries)),
        (sum(row.fee_usd for row in settled), sum(one.fee_usd for one in deliveries)),
    ):
        assert ours == theirs != 0
    charged = {row.trade_id for row in rows if isinstance(row, FundingBooked)}
    holders = {trade.trade_id for trade in trades.values() if any(leg.symbol == "BTCUSD" for leg in trade.legs)}
    assert charged <= holders
    for trade in trades.values():
        for leg in trade.legs:
            if leg.settled_quantity == leg.opened_quantity > 0:
                row = next(row for row in settled if row.trade_id == trade.trade_id)
                made = leg.sign * (leg.opened_quantity * row.settlement_price - leg.opened_cash)
                assert leg.realized_pnl_usd == made
    assert list(ledger_violations(desk.venue, desk.book)) == []
    if all(trade.is_final for trade in trades.values()):
        entries = desk.nodes["execution"].journal.entries
        assert list(cash_violations(desk.venue, desk.book, entries)) == []

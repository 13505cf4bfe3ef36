"""The ledger that is made from the journal sums to the change of the venue's cash, to the last decimal."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from services.execution.rows import LegSettled, Row
from shared.config import load_config
from shared.ledger.pnl import Days, pnl_by
from shared.ledger.tables import LedgerTables
from shared.messages.control import StrategyCommand
from shared.service.journals import binding_of, journal_path
from shared.store import SqliteJournal
from tests.simulation.test_world import run_until
from voldesk.journal_tables import refresh, tables_path
from world.desk import Desk
from world.faults import SECOND
from world.scenario import expiring
from world.simulate import desk_of

pytestmark = pytest.mark.simulation

SEED = 82


def ended_desk() -> Desk:
    """Trades were closed and others settled with a delivery fee; money was paid in and out meanwhile."""
    scenario = expiring(SEED)
    desk = desk_of(scenario, SEED)
    exchange, account_id = desk.venue.exchange, desk.venue.account_id
    run_until(desk, lambda: any(trade.state == "OPEN" for trade in desk.book.trades.values()))
    exchange.deposit(account_id, Decimal("1234.56"), desk.engine.now_ns)
    exchange.withdraw(account_id, Decimal("0.07"), desk.engine.now_ns)
    desk.engine.run_until(scenario.start_ns + scenario.faulty_s * SECOND)
    desk.steer(StrategyCommand(action="pause", strategy="*", requested_by="test"), "pause")
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    trades = desk.book.trades.values()
    run_until(desk, lambda: all(trade.state in ("CLOSED", "SETTLED", "FAILED") for trade in trades), 1_200)
    # fees are read some seconds after the last fill
    desk.engine.run_until(desk.engine.now_ns + 20 * SECOND)
    return desk


def test_the_ledger_sums_to_the_change_of_cash_to_the_last_decimal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "voldesk.toml").write_text('[desk]\nname = "sums"\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n')
    monkeypatch.setenv("VOLDESK_CONFIG", str(tmp_path / "voldesk.toml"))
    monkeypatch.setenv("VOLDESK_RUN_DIR", str(tmp_path / "run"))
    desk = ended_desk()
    config = load_config()
    config.run_dir.mkdir()
    entries = desk.nodes["execution"].journal.entries
    with closing(SqliteJournal(journal_path(config, "execution"), binding_of(config), Row)) as journal:
        journal.append(list(entries))
    refresh(config, lambda _: None)
    ledger = LedgerTables(tables_path(config))

    exchange, account_id = desk.venue.exchange, desk.venue.account_id
    paid_in = sum((one.amount for one in exchange.transfers(account_id)), Decimal(0))
    begun = desk.venue.config.accounts[0].initial_balance_usd
    made = exchange.account_summary(account_id).cash - begun - paid_in
    changes = ledger.changes()
    assert paid_in == Decimal("1234.49")
    assert any(isinstance(entry.row, LegSettled) for entry in entries)
    assert sum(one.fee for one in exchange.exercise_history(account_id)) > 0, "no delivery fee was paid"
    assert sum((each.realized_pnl_usd - each.fees_usd - each.funding_usd for each in changes), Decimal(0)) == made
    days = pnl_by("day", ledger.trades(), changes, {}, 0, desk.engine.now_ns, Days())
    assert sum((row.realized_usd - row.fees_usd - row.funding_usd for row in days), Decimal(0)) == made

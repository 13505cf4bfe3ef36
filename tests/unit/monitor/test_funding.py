"""Funding of perpetuals is deducted from net P&L wherever it is shown, and files of before are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from services.execution.book import Book
from services.execution.metrics import ExecutionMetrics
from services.monitor.history.attribution import Follower, TradeSample
from services.monitor.history.config import HistoryConfig
from services.monitor.history.sampled import sampled_json
from services.monitor.history.sampled_report import sampled_lines, sampled_pnl
from services.monitor.history.store import HistoryReader, HistoryStore, history_path
from services.monitor.web.trading import trade_row
from shared.ledger.pnl import DAY_NS, Days, pnl_by
from shared.ledger.records import LedgerTrade, PnlChange
from shared.messages.steps import Publish
from shared.messages.trades import TradeUpdate
from shared.metrics import Metrics
from shared.strategy.pnl import trade_pnl
from tests.unit.monitor.desk import SECOND, START, trade
from tests.unit.shared.test_metrics import scraped

LEVELS = HistoryConfig().levels
HOUR = 3_600 * SECOND
NET = 40.0 - 1.5 - 7.25


def closed(*, funding: str = "7.25") -> TradeUpdate:
    """It made 40 USD, paid 1.5 of fees, and was closed in the middle of a day."""
    told = trade("CLOSED")
    legs = tuple(msgspec.structs.replace(leg, closed_quantity=leg.filled_quantity) for leg in told.legs)
    at_ns = START - START % DAY_NS + DAY_NS // 2
    return msgspec.structs.replace(
        told,
        legs=legs,
        created_ns=at_ns - 60 * SECOND,
        opened_ns=at_ns - 60 * SECOND,
        closed_ns=at_ns,
        updated_ns=at_ns,
        realized_pnl_usd=Decimal(40),
        fees_usd=Decimal("1.5"),
        funding_usd=Decimal(funding),
    )


def sampled(told: TradeUpdate) -> list[TradeSample]:
    return Follower(300.0).sample([told], {}, told.updated_ns)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    with closing(HistoryStore(history_path(tmp_path), "main", LEVELS)) as made:
        yield made


def journal_net(told: TradeUpdate) -> float:
    """As `voldesk pnl` has it of the rows of the journal."""
    known = LedgerTrade(
        trade_id=told.trade_id,
        strategy=told.strategy,
        structure="",
        state=told.state,
        execution_mode=told.execution_mode,
        created_ns=told.created_ns,
        opened_ns=told.opened_ns,
        closed_ns=told.closed_ns,
        legs=(),
        entry_premium_usd=Decimal(0),
        realized_pnl_usd=told.realized_pnl_usd,
        fees_usd=told.fees_usd,
        fees_complete=True,
        funding_usd=told.funding_usd,
        slippage_usd=None,
        close_reason="",
        close_requested_by="",
    )
    change = PnlChange(
        at_ns=told.updated_ns,
        trade_id=told.trade_id,
        realized_pnl_usd=told.realized_pnl_usd,
        fees_usd=told.fees_usd,
        funding_usd=told.funding_usd,
    )
    (row,) = pnl_by("strategy", [known], [change], {}, 0, told.updated_ns + HOUR)
    assert float(known.net_pnl_usd) == row.net_usd
    assert row.net_usd is not None
    return row.net_usd


def metrics_net(told: TradeUpdate) -> float:
    families = Metrics("risk", "paper", "main")
    made = ExecutionMetrics(families, None, lambda: Book(answers_kept=1, story_lines_max=1), lambda: START)  # type: ignore[arg-type]
    made.performed(Publish("", told), "")
    made.watch(is_synced=True)
    names = ("voldesk_realized_pnl_usd", "voldesk_fees_usd", "voldesk_funding_usd")
    realized, fees, funding = (sum(scraped(families, name).values()) for name in names)
    return realized - fees - funding


@pytest.mark.parametrize(("funding", "net"), [("7.25", NET), ("-7.25", NET + 14.5)], ids=["paid", "received"])
def test_a_trade_with_funding_has_the_same_net_everywhere(
    tmp_path: Path, store: HistoryStore, funding: str, net: float
) -> None:
    told = closed(funding=funding)
    store.write((), sampled(told))
    reader = HistoryReader(history_path(tmp_path), "main")
    since_ns, now_ns = told.updated_ns - HOUR, told.updated_ns + HOUR
    found = sampled_pnl(reader, since_ns, now_ns, Days(), {})
    (line,) = sampled_lines(reader, since_ns, now_ns).values()
    exit_view = trade_pnl(told, lambda index: "none is held")
    assert not isinstance(exit_view, str)
    nets = {
        "exits": exit_view.net_usd,
        "page and API of trades": trade_row(told, {}, {}).net_usd,
        "voldesk pnl": journal_net(told),
        "API of P&L": sampled_json(found.total)["net_usd"],
        "by day": found.by_day[0].net_usd,
        "by strategy": found.by_strategy[0].net_usd,
        "chart": line[-1][1],
        "sample": reader.trade(told.trade_id)[0].net_usd,
        "Grafana, of the history": store.made_by_strategy()[told.strategy].net_usd,
        "metrics of execution": metrics_net(told),
    }
    assert nets == dict.fromkeys(nets, pytest.approx(net))


def test_funding_that_is_known_after_the_close_is_sampled_too_and_once() -> None:
    follower, told = Follower(300.0), closed(funding="0")
    assert len(follower.sample([told], {}, told.updated_ns)) == 1
    late = closed()
    (sample,) = follower.sample([late], {}, told.updated_ns + SECOND)
    assert sample.net_usd == pytest.approx(NET)
    assert follower.sample([late], {}, told.updated_ns + 2 * SECOND) == []


def test_a_file_without_funding_is_read_as_it_is_and_goes_on_with_it(tmp_path: Path, store: HistoryStore) -> None:
    path, told = history_path(tmp_path), closed()
    store.write((), sampled(closed(funding="0")))
    store.close()
    with closing(sqlite3.connect(path)) as db:
        for table in ("trades", "newest"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN funding_usd")
        db.execute("PRAGMA user_version=1")
        db.commit()
    reader = HistoryReader(path, "main")
    since_ns, now_ns = told.updated_ns - HOUR, told.updated_ns + HOUR
    before = sampled_pnl(reader, since_ns, now_ns, Days(), {})
    assert before.total.net_usd == pytest.approx(38.5), "before any writer of this version has opened it"
    assert reader.nets(since_ns, now_ns, SECOND)[0][2] == pytest.approx(38.5)
    for _ in range(2):
        with closing(HistoryStore(path, "main", LEVELS)) as again:
            assert again.made_by_strategy()[told.strategy].net_usd == pytest.approx(38.5)
    with closing(HistoryStore(path, "main", LEVELS)) as again:
        again.write((), sampled(told))
        assert again.made_by_strategy()[told.strategy].net_usd == pytest.approx(NET)
    assert sampled_pnl(reader, since_ns, now_ns, Days(), {}).total.net_usd == pytest.approx(NET)

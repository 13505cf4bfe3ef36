"""voldesk pnl, ledger and history: what the journal and the samples say, as a person and as a program reads it."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.execution.views import trade_update
from services.monitor.history.attribution import Follower, UnitMark
from services.monitor.history.config import HistoryConfig
from services.monitor.history.series import Sample, fold
from services.monitor.history.store import HistoryStore, history_path
from shared.clock import Clock
from shared.config import load_config
from shared.messages.trades import TradeUpdate
from tests.unit.execution.play import Script
from tests.unit.voldesk.peers import Ran
from tests.unit.voldesk.test_journal import played, write

SECOND = 1_000_000_000


@pytest.fixture
def script(home: Path) -> Script:
    script = played()
    write(script.entries)
    return script


def ran_json(*arguments: str) -> Any:
    ran = Ran(*arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def sampled(script: Script, mark: float) -> TradeUpdate:
    """The open trade of the script, sampled on this mark at a time after it."""
    desk = load_config()
    book = script.core.book
    trade = next(trade_update(each, book, desk.account_id) for each in book.active_trades())
    desk.run_dir.mkdir(parents=True, exist_ok=True)
    with closing(HistoryStore(history_path(desk.run_dir), desk.account_id, HistoryConfig().levels)) as store:
        marks = {trade.legs[0].symbol: UnitMark(mark)}
        store.write((), Follower(300).sample([trade], marks, script.now_ns))
    return trade


def test_pnl_is_of_the_journal_and_of_the_newest_marks(script: Script) -> None:
    trade = sampled(script, 120.0)
    told = ran_json("pnl", "--by", "strategy")
    (group,) = told["groups"]
    book = script.core.book
    realized = sum((leg.realized_pnl_usd for each in book.trades.values() for leg in each.legs), Decimal(0))
    fees = sum((each.fees_usd for each in book.trades.values()), Decimal(0))
    assert (group["group"], group["trades"], group["closed"]) == ("demo", 2, 1)
    assert Decimal(group["realized_usd"]) == realized
    assert Decimal(group["fees_usd"]) == fees
    open_price = trade.legs[0].open_price
    assert open_price is not None
    unrealized = float(trade.legs[0].filled_quantity) * (120.0 - float(open_price))
    assert group["unrealized_usd"] == pytest.approx(unrealized)
    assert group["net_usd"] == pytest.approx(float(realized - fees) + unrealized)
    by_trade = ran_json("pnl", "--by", "trade")
    assert len(by_trade["groups"]) == 2
    assert by_trade["total"]["net_usd"] == pytest.approx(group["net_usd"])


def test_without_samples_what_is_held_is_unknown_and_what_is_realised_is_told(script: Script) -> None:
    told = ran_json("pnl")
    (group,) = told["groups"]
    assert (group["unrealized_usd"], group["net_usd"]) == (None, None)
    assert told["problem"].startswith("the history cannot be read")
    ran = Ran("pnl")
    assert ran.code == 0
    assert "demo" in ran.out
    assert "what is held is not valued" in ran.err


def test_the_ledger_has_every_trade_on_a_line_of_its_own(script: Script) -> None:
    rows = ran_json("ledger")
    assert {row["trade_id"] for row in rows} == set(script.core.book.trades)
    closed = next(row for row in rows if row["state"] == "CLOSED")
    assert (closed["structure"], closed["mode"], closed["execution_mode"]) == ("long call", "paper", "limit")
    assert Decimal(closed["net_pnl_usd"]) == Decimal(closed["realized_pnl_usd"]) - Decimal(closed["fees_usd"])
    assert closed["close_reason"]
    assert ran_json("ledger", "--strategy", "another") == []
    assert len(ran_json("ledger", "--limit", "1")) == 1
    shown = Ran("ledger").out
    assert all(row["trade_id"] in shown for row in rows), "on 80 columns too"


def test_a_series_is_plotted_listed_and_told_as_json(home: Path) -> None:
    desk = load_config()
    desk.run_dir.mkdir(parents=True, exist_ok=True)
    now_ns = Clock().now_ns()
    with closing(HistoryStore(history_path(desk.run_dir), desk.account_id, HistoryConfig().levels)) as store:
        taken = [
            Sample(now_ns - ago * 60 * SECOND, {"equity_usd": 1_000.0 + ago, "delta.BTCUSD": -0.1})
            for ago in range(60, 0, -1)
            if not 20 < ago < 40
        ]
        store.write(fold(taken, HistoryConfig().levels).items(), ())
    told = ran_json("history", "equity_usd", "--since", "2h")
    assert None in told["last"], "the gap is in it"
    assert next(value for value in told["last"] if value is not None) == 1_060.0
    ran = Ran("history", "equity_usd", "--since", "2h")
    assert ran.code == 0
    assert "lowest 1,001.00, highest 1,060.00" in ran.out
    listed = {row["series"]: row for row in ran_json("history")}
    assert listed["delta.BTCUSD"]["unit"] == "coins"
    assert listed["equity_usd"]["last"] == 1_001.0
    unknown = Ran("history", "nothing")
    assert unknown.code == 2
    assert "equity_usd" in unknown.err


def test_a_beginning_that_is_none_says_what_is_allowed(home: Path) -> None:
    ran = Ran("pnl", "--since", "soon")
    assert ran.code == 2
    assert "7d" in ran.err


def test_realised_pnl_over_time_is_of_the_journal(script: Script) -> None:
    told = ran_json("history", "realized_pnl_usd", "--since", "all")
    realized = sum(leg.realized_pnl_usd for each in script.core.book.trades.values() for leg in each.legs)
    assert told["last"][-1] == pytest.approx(float(realized))

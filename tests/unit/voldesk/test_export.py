"""voldesk export: what is in the file is what the ledger and the samples say, to the last digit."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from services.monitor.history.config import HistoryConfig
from services.monitor.history.series import Sample, fold
from services.monitor.history.store import HistoryStore, history_path
from shared.clock import Clock
from shared.config import load_config
from tests.unit.execution.play import Script
from tests.unit.voldesk.peers import Ran
from tests.unit.voldesk.test_journal import played, write

SECOND = 1_000_000_000


@pytest.fixture
def script(home: Path) -> Script:
    script = played()
    write(script.entries)
    return script


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def exported(tmp_path: Path, *arguments: str) -> list[dict[str, str]]:
    target = tmp_path / "out.csv"
    ran = Ran("export", *arguments, "--to", str(target), "--overwrite")
    assert ran.code == 0, ran.err
    return rows_of(target)


def test_trades_legs_fills_and_changes_are_written_with_every_digit(script: Script, tmp_path: Path) -> None:
    book = script.core.book
    trades = {row["trade_id"]: row for row in exported(tmp_path, "ledger")}
    assert trades.keys() == book.trades.keys()
    for trade_id, row in trades.items():
        assert row["mode"] == "paper"
        assert Decimal(row["fees_usd"]) == book.trades[trade_id].fees_usd
        assert (row["closed_at"] == "") == (book.trades[trade_id].closed_ns is None)
    assert len(exported(tmp_path, "legs")) == sum(len(trade.legs) for trade in book.trades.values())
    fills = exported(tmp_path, "fills")
    assert {int(row["venue_trade_id"]) for row in fills} == set(book.fills)
    changes = exported(tmp_path, "pnl")
    assert sum(Decimal(row["fees_usd"]) for row in changes) == sum(each.fees_usd for each in book.trades.values())


def test_the_history_is_written_by_series(home: Path, tmp_path: Path) -> None:
    desk = load_config()
    desk.run_dir.mkdir(parents=True, exist_ok=True)
    now_ns = Clock().now_ns()
    with closing(HistoryStore(history_path(desk.run_dir), desk.account_id, HistoryConfig().levels)) as store:
        taken = [
            Sample(now_ns - ago * 10 * SECOND, {"equity_usd": 1_000.0 + ago, "delta.BTCUSD": -0.1})
            for ago in range(20, 0, -1)
        ]
        store.write(fold(taken, HistoryConfig().levels).items(), ())
    rows = exported(tmp_path, "history", "--series", "equity_usd", "--since", "1h")
    assert {row["series"] for row in rows} == {"equity_usd"}
    assert [float(row["last"]) for row in rows] == [1_000.0 + ago for ago in range(20, 0, -1)]
    assert {row["series"] for row in exported(tmp_path, "history")} == {"equity_usd", "delta.BTCUSD"}
    unknown = Ran("export", "history", "--series", "nothing", "--to", str(tmp_path / "x"))
    assert unknown.code == 2
    assert "equity_usd" in unknown.err


def test_parquet_has_exact_amounts_and_times_in_utc(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    from pyarrow import parquet

    target = tmp_path / "fills.parquet"
    ran = Ran("export", "fills", "--format", "parquet", "--to", str(target), "--json")
    assert ran.code == 0, ran.err
    table = parquet.read_table(target)
    assert json.loads(ran.out)["rows"] == table.num_rows == len(script.core.book.fills)
    assert str(table.schema.field("executed_at").type) == "timestamp[ns, tz=UTC]"
    known = {entry.row.fill.venue_trade_id: entry.row.fill for entry in script.entries if hasattr(entry.row, "fill")}
    for row in table.select(["venue_trade_id", "quantity", "price"]).to_pylist():
        fill = known[row["venue_trade_id"]]
        assert (row["quantity"], row["price"]) == (fill.quantity, fill.price)


def test_without_the_library_parquet_is_refused_with_what_to_install(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    target = tmp_path / "fills.parquet"
    ran = Ran("export", "fills", "--format", "parquet", "--to", str(target))
    assert ran.code == 1
    assert "make install-parquet" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_unless_told_otherwise(script: Script, tmp_path: Path) -> None:
    target = tmp_path / "mine.csv"
    target.write_text("mine")
    ran = Ran("export", "ledger", "--to", str(target))
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert target.read_text() == "mine"
    elsewhere = Ran("export", "ledger", "--to", str(tmp_path / "none" / "x.csv"))
    assert elsewhere.code == 1
    assert "cannot be written" in elsewhere.err

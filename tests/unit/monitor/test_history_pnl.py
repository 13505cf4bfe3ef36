"""P&L from the history's file, longer ago than anybody remembers the trades. Real SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.monitor.history.attribution import Followed, Parts, TradeSample
from services.monitor.history.config import HistoryConfig
from services.monitor.history.sampled import lines_by_strategy
from services.monitor.history.sampled_report import sampled_lines, sampled_pnl
from services.monitor.history.store import HistoryReader, HistoryStore, history_path
from shared.ledger.pnl import DAY_NS, Days
from tests.unit.monitor.desk import START

LEVELS = HistoryConfig().levels
NOW = START - START % DAY_NS + DAY_NS // 2
HOUR = DAY_NS // 24


def net(store: HistoryStore) -> dict[str, float]:
    return {strategy: made.net_usd for strategy, made in store.made_by_strategy().items()}


def sample(trade_id: str, strategy: str, at_ns: int, pnl_usd: float, fees_usd: float = 1.0) -> TradeSample:
    parts = Parts(delta_usd=pnl_usd)
    return TradeSample(
        trade_id=trade_id,
        strategy=strategy,
        at_ns=at_ns,
        pnl_usd=pnl_usd,
        unrealized_usd=0.0,
        fees_usd=fees_usd,
        delta=None,
        gamma=None,
        vega=None,
        theta=None,
        parts=parts,
        followed=Followed(trade_id=trade_id, at_ns=at_ns, pnl_usd=pnl_usd, held=(), marks=(), parts=parts),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty days: a trade of two strategies in turn each day, open for two hours, that makes 10 or loses 4."""
    made = history_path(tmp_path)
    with closing(HistoryStore(made, "main", LEVELS)) as store:
        for day in range(40):
            begin_ns = NOW - (40 - day) * DAY_NS
            strategy, end_usd = ("condor", 10.0) if day % 2 else ("grid", -4.0)
            samples = [sample(f"t{day}", strategy, begin_ns + step * HOUR, end_usd * step / 2) for step in range(3)]
            store.write((), samples)
            store.prune(begin_ns + DAY_NS)
    return made


def test_strategies_of_trades_of_weeks_ago_are_named_and_sum_to_the_total(path: Path) -> None:
    found = sampled_pnl(HistoryReader(path, "main"), NOW - 30 * DAY_NS - HOUR, NOW, Days(), {})
    condor, grid = found.by_strategy
    assert (condor.group, condor.trades, condor.net_usd) == ("condor", 15, pytest.approx(15 * (10 - 1)))
    assert (grid.group, grid.trades, grid.net_usd) == ("grid", 15, pytest.approx(15 * (-4 - 1)))
    assert found.total.net_usd == pytest.approx(60.0)
    assert len(found.by_day) == 30


def test_a_picture_of_weeks_begins_at_nothing_and_ends_at_what_was_made(path: Path) -> None:
    since_ns = NOW - 30 * DAY_NS - HOUR
    lines = sampled_lines(HistoryReader(path, "main"), since_ns, NOW)
    assert {name: line[-1] for name, line in lines.items()} == {
        "condor": (NOW, pytest.approx(135.0)),
        "grid": (NOW, pytest.approx(-75.0)),
    }
    for line in lines.values():
        assert line[0] == (since_ns, 0.0)
        times = [at_ns for at_ns, _ in line]
        assert times == sorted(times)
        assert len(line) < 60, "thinned"


def test_a_trade_that_was_open_when_the_span_begins_counts_from_there(path: Path) -> None:
    since_ns = NOW - DAY_NS + HOUR + HOUR // 2
    (row,) = sampled_pnl(HistoryReader(path, "main"), since_ns, NOW, Days(), {}).by_strategy
    assert (row.group, row.net_usd) == ("condor", pytest.approx(5.0))
    assert sampled_lines(HistoryReader(path, "main"), since_ns, NOW)["condor"][-1] == (NOW, pytest.approx(5.0))


def test_what_each_strategy_ever_made_outlives_a_restart_and_what_is_let_go(path: Path) -> None:
    with closing(HistoryStore(path, "main", LEVELS)) as store:
        store.prune(NOW + 5_000 * DAY_NS)
        assert net(store) == {"condor": pytest.approx(180.0), "grid": pytest.approx(-100.0)}
        store.write((), [sample("t39", "condor", NOW, 30.0)])
        store.write((), [sample("t39", "condor", NOW - HOUR, 0.0)])
        assert net(store)["condor"] == pytest.approx(200.0), "the newest sample of a trade counts"
    with closing(HistoryStore(path, "other", LEVELS)) as store:
        assert net(store) == {}


def test_a_file_that_lacks_the_strategies_of_its_trades_still_has_what_they_made(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE newest")
    with closing(HistoryStore(path, "main", LEVELS)) as store:
        assert net(store) == {"": pytest.approx(80.0)}
        store.write((), [sample("t39", "condor", NOW, 10.0)])
        assert net(store) == {"": pytest.approx(71.0), "condor": pytest.approx(9.0)}
    found = sampled_pnl(HistoryReader(path, "main"), NOW - 2 * DAY_NS, NOW, Days(), {})
    assert [row.group for row in found.by_strategy] == ["", "condor"]


def test_trades_of_one_strategy_at_one_instant_are_one_point() -> None:
    nets = [("a", 5, 1.0), ("b", 5, 2.0), ("c", 5, 4.0), ("a", 9, 0.5)]
    lines = lines_by_strategy({"b": 1.5}, nets, {"a": "grid", "b": "grid"})
    assert lines == {"": [(5, 4.0)], "grid": [(5, 1.5), (9, 1.0)]}

"""What the ended trades of a strategy come to: win rate, average, expectancy, drawdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from shared.ledger.records import LedgerTrade
from shared.ledger.stats import stats_by_strategy, stats_json, stats_of
from tests.unit.shared.test_pnl import trade


def ended(nets: Sequence[int], *, strategy: str = "s") -> list[LedgerTrade]:
    """Trades with these net results, closed one hour after the other; each paid a fee of 1."""
    return [
        msgspec.structs.replace(
            trade(f"{strategy}{number}", number, number + 1, strategy=strategy), realized_pnl_usd=Decimal(net + 1)
        )
        for number, net in enumerate(nets)
    ]


def test_figures_are_of_what_is_left_after_fees() -> None:
    stats = stats_of("s", ended([30, -10, 20, -20, 0, 40]))
    assert (stats.trades, stats.wins, stats.losses) == (6, 3, 2)
    assert stats.win_rate_pct == pytest.approx(50)
    assert stats.net_usd == 60
    assert stats.average_usd == pytest.approx(10)
    assert (stats.average_win_usd, stats.average_loss_usd) == (30, -15)
    assert (stats.best_usd, stats.worst_usd) == (40, -20)
    assert stats.profit_factor == pytest.approx(90 / 30)
    assert stats.held_hours == pytest.approx(1)
    assert stats.expectancy_r == pytest.approx((3 / 6 * 30 - 2 / 6 * 15) / 15)


def test_the_drawdown_is_the_deepest_fall_of_the_sum_in_the_order_of_closing() -> None:
    trades = ended([30, -10, -20, 15, -40, 100])
    assert stats_of("s", trades).max_drawdown_usd == 55
    assert stats_of("s", trades[::-1]).max_drawdown_usd == 55
    assert stats_of("s", ended([-5, -5, 20])).max_drawdown_usd == 10, "below what it began with"
    assert stats_of("s", ended([-5, -5, 1, -1])).losses_in_a_row == 2


def test_what_is_open_or_never_had_a_fill_is_no_result() -> None:
    leg = trade("x", 0, 1).legs[0]
    empty = msgspec.structs.replace(
        trade("unfilled", 0, 1), legs=(msgspec.structs.replace(leg, opened_quantity=Decimal(0)),)
    )
    late = msgspec.structs.replace(trade("late", 0, 1), fees_complete=False)
    stats = stats_of("s", [trade("open", 0, None), empty, late])
    assert (stats.trades, stats.unfilled, stats.fees_missing) == (1, 1, 1)


def test_without_a_trade_or_a_loss_there_is_nothing_to_divide_by() -> None:
    none = stats_of("s", [])
    assert (none.trades, none.win_rate_pct, none.average_usd, none.expectancy_r) == (0, None, None, None)
    won = stats_of("s", ended([5]))
    assert (won.average_loss_usd, won.profit_factor, won.expectancy_r, won.win_rate_pct) == (None, None, None, 100)
    assert json.loads(json.dumps(stats_json(won)))["net_usd"] == "5"


def test_each_strategy_has_figures_of_its_own() -> None:
    found = stats_by_strategy([*ended([1, 2], strategy="b"), *ended([3], strategy="a"), trade("open", 0, None)])
    assert [(each.strategy, each.trades, each.net_usd) for each in found] == [("a", 1, 3), ("b", 2, 3)]

"""P&L by what trades share, and by day: what is on mark between days, what is not known, what is no P&L."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.ledger.pnl import DAY_NS, Days, cumulative, instants, pnl_by, pnl_total, since_ns_of, trading_days
from shared.ledger.records import LedgerLeg, LedgerTrade, PnlChange

HOUR_NS = DAY_NS // 24
DAY_0 = 20_000 * DAY_NS
"""2024-10-04."""


def trade(
    trade_id: str, opened_h: float, closed_h: float | None, *, strategy: str = "s", structure: str = "short put"
) -> LedgerTrade:
    leg = LedgerLeg(
        symbol="BTCUSD-27MAR26-90000-P",
        side="sell",
        quantity=Decimal(1),
        opened_quantity=Decimal(1),
        open_price=Decimal(100),
        closed_quantity=Decimal(0 if closed_h is None else 1),
        close_price=None if closed_h is None else Decimal(60),
    )
    return LedgerTrade(
        trade_id=trade_id,
        strategy=strategy,
        structure=structure,
        state="OPEN" if closed_h is None else "CLOSED",
        execution_mode="limit",
        created_ns=at(opened_h),
        opened_ns=at(opened_h),
        closed_ns=None if closed_h is None else at(closed_h),
        legs=(leg,),
        entry_premium_usd=Decimal(-100),
        realized_pnl_usd=Decimal(0 if closed_h is None else 40),
        fees_usd=Decimal(1),
        fees_complete=True,
        funding_usd=Decimal(0),
        slippage_usd=None,
        close_reason="",
        close_requested_by="",
    )


def at(hours: float) -> int:
    return DAY_0 + int(hours * HOUR_NS)


def change(trade_id: str, hours: float, realized: int, fees: str = "0") -> PnlChange:
    return PnlChange(
        at_ns=at(hours),
        trade_id=trade_id,
        realized_pnl_usd=Decimal(realized),
        fees_usd=Decimal(fees),
        funding_usd=Decimal(0),
    )


def test_days_sum_to_the_whole_with_what_was_on_mark_between_them() -> None:
    trades = [trade("a", 10, 30)]
    changes = [change("a", 10, 0, "1.5"), change("a", 30, 40, "0.5")]
    now_ns = at(40)
    wanted = instants("day", trades, 0, now_ns)
    assert wanted == [0, DAY_0, DAY_0 + DAY_NS, now_ns]
    marked = {DAY_0 + DAY_NS: {"a": 25.0}}
    rows = pnl_by("day", trades, changes, marked, 0, now_ns)
    assert [(row.group, row.realized_usd, row.unrealized_usd, row.net_usd) for row in rows] == [
        ("2024-10-04", 0, 25.0, 23.5),
        ("2024-10-05", 40, 0.0, 14.5),
    ]
    assert [row.closed for row in rows] == [0, 1]
    assert pnl_total(trades, changes, marked, 0, now_ns).net_usd == 38.0 == sum(row.net_usd or 0 for row in rows)


def test_a_day_whose_end_nobody_saw_is_unknown_and_the_total_is_known_all_the_same() -> None:
    trades = [trade("a", 10, 30)]
    changes = [change("a", 30, 40)]
    rows = pnl_by("day", trades, changes, {}, 0, at(40))
    assert [row.net_usd for row in rows] == [None, None]
    assert pnl_total(trades, changes, {}, 0, at(40)).net_usd == 40.0


def test_groups_have_their_own_and_only_what_took_part() -> None:
    trades = [
        trade("old", -50, -40, strategy="gone"),
        trade("a", -10, 5, strategy="x", structure="iron condor"),
        trade("b", 2, None, strategy="y"),
    ]
    changes = [change("a", 5, 40, "1"), change("b", 2, 0, "2")]
    marked = {DAY_0: {"a": 30.0}, at(10): {"b": -7.0}}
    by_strategy = pnl_by("strategy", trades, changes, marked, DAY_0, at(10))
    assert [(row.group, row.trades, row.closed, row.net_usd) for row in by_strategy] == [
        ("x", 1, 1, 40 - 1 - 30.0),
        ("y", 1, 0, -9.0),
    ]
    by_structure = pnl_by("structure", trades, changes, marked, DAY_0, at(10))
    assert [row.group for row in by_structure] == ["iron condor", "short put"]
    by_trade = pnl_by("trade", trades, changes, marked, DAY_0, at(10))
    assert [row.group for row in by_trade] == ["a", "b"]


def test_the_trading_day_begins_where_the_desk_says() -> None:
    days = trading_days(480)
    assert days.offset_ns == 8 * HOUR_NS
    assert days.name(at(7.9)) == "2024-10-03"
    assert days.name(at(8)) == "2024-10-04"
    assert trading_days(0) == Days()
    assert since_ns_of("2024-10-04", at(20), days) == at(8)


@pytest.mark.parametrize(("text", "hours"), [("12h", 8), ("1d", -4), ("today", 0), ("1w", 20 - 168)])
def test_a_beginning_is_read_as_people_write_it(text: str, hours: float) -> None:
    assert since_ns_of(text, at(20)) == at(hours)


@pytest.mark.parametrize("text", ["yesterday", "7x", "d", "2024-13-01", "-1d"])
def test_a_beginning_that_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="give 7d, 12h"):
        since_ns_of(text, at(20))


def test_what_was_made_so_far_is_a_step_at_each_change() -> None:
    columns = cumulative([change("a", 1, 5, "1"), change("b", 2, -2, "1")])
    assert columns["realized_pnl_usd"] == [5.0, 3.0]
    assert columns["fees_usd"] == [1.0, 2.0]

"""P&L and its attribution, read from the ledger and from the samples: for commands and pages alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from services.monitor.history.attributed import AttributedRow, attributed_by, attributed_by_day, sum_of
from services.monitor.history.attribution import TradePoint
from services.monitor.history.store import HistoryReader
from shared.ledger.pnl import DAY_NS, By, Days, PnlRow, instants, pnl_by, pnl_total
from shared.ledger.records import LedgerTrade
from shared.ledger.tables import LedgerTables

_MARK_AGE_NS = 3_600 * 1_000_000_000
"""What a trade was worth at the beginning of a day is told by a sample at most so old; else nobody knows it."""


class PnlReport(msgspec.Struct, frozen=True, kw_only=True):
    """P&L of a period. marked_ns: when the oldest of the marks was taken on which what is held now is valued, None
    where nothing is held or no mark is known. problem: why the marks and the attribution are missing, "" if they are
    not."""

    by: By
    since_ns: int
    now_ns: int
    rows: tuple[PnlRow, ...]
    total: PnlRow
    attributed: tuple[AttributedRow, ...]
    attributed_total: AttributedRow
    marked_ns: int | None
    problem: str = ""


def pnl_report(
    ledger: LedgerTables, history: HistoryReader, by: By, since_ns: int, now_ns: int, days: Days
) -> PnlReport:
    """Raises sqlite3.Error when the ledger cannot be read; a history that cannot be read is a `problem`."""
    trades = ledger.trades(since_ns)
    changes = ledger.changes(since_ns)
    problem = ""
    samples = Samples()
    try:
        samples = read_samples(history, by, trades, since_ns, now_ns, days)
    except sqlite3.Error as error:
        problem = f"the history cannot be read: {error}"
    marked = samples.marked
    attributed = (
        attributed_by_day(samples.before, samples.ends, days)
        if by == "day"
        else attributed_by(by, trades, samples.before, samples.now)
    )
    return PnlReport(
        by=by,
        since_ns=since_ns,
        now_ns=now_ns,
        rows=tuple(pnl_by(by, trades, changes, marked, since_ns, now_ns, days)),
        total=pnl_total(trades, changes, marked, since_ns, now_ns),
        attributed=tuple(attributed),
        attributed_total=AttributedRow(
            group="total",
            trades=len({trade.trade_id for trade in trades} & samples.now.keys()),
            parts=sum_of(row.parts for row in attributed),
        ),
        marked_ns=_marked_ns(trades, samples.now, now_ns),
        problem=problem,
    )


class Samples(msgspec.Struct, frozen=True):
    """What the samples tell of a period: the last of each trade before it, now, and of each day in it."""

    marked: Mapping[int, Mapping[str, float]] = {}
    before: Mapping[str, TradePoint] = {}
    now: Mapping[str, TradePoint] = {}
    ends: Sequence[TradePoint] = ()


def read_samples(
    history: HistoryReader, by: By, trades: Sequence[LedgerTrade], since_ns: int, now_ns: int, days: Days
) -> Samples:
    """Raises sqlite3.Error."""
    now = history.trades_at(now_ns)
    before = history.trades_at(since_ns) if since_ns else {}
    ends = history.day_ends(since_ns, now_ns, days) if by == "day" else []
    marked: dict[int, dict[str, float]] = {at_ns: {} for at_ns in instants(by, trades, since_ns, now_ns, days)}
    for point in ends:
        boundary_ns = days.start_ns(point.at_ns) + DAY_NS
        if boundary_ns in marked and boundary_ns - point.at_ns <= _MARK_AGE_NS:
            marked[boundary_ns][point.trade_id] = point.unrealized_usd
    for point in before.values():
        if since_ns - point.at_ns <= _MARK_AGE_NS:
            marked[since_ns][point.trade_id] = point.unrealized_usd
    marked[now_ns] = {trade_id: point.unrealized_usd for trade_id, point in now.items()}
    return Samples(marked, before, now, ends)


def _marked_ns(trades: Sequence[LedgerTrade], now: Mapping[str, TradePoint], now_ns: int) -> int | None:
    used = [now[trade.trade_id].at_ns for trade in trades if trade.was_open(now_ns) and trade.trade_id in now]
    return min(used, default=None)

"""P&L by strategy, structure, day or trade. Pure.

Realised P&L, fees and funding are of the journal and fall on the instant at which they happened. What is held is on
mark: the change of the unrealised P&L over the period is in its net P&L, so that days sum to the whole. Deposits and
withdrawals are in none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from shared.ledger.records import LedgerTrade, PnlChange
from shared.views import plain

By = Literal["strategy", "day", "structure", "trade"]
DAY_NS = 86_400 * 1_000_000_000
_ZERO = Decimal(0)

Marked = Mapping[int, Mapping[str, float]]
"""Unrealised P&L (USD, before fees) by instant and trade id; a trade without a mark then is missing."""


class PnlRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group, USD. trades: those that were open, or made something, in the period; closed: of them ended in it.

    unrealized_usd: at the end of the period; unrealized_change_usd: over it; None where a mark is missing, and so is
    net_usd then: realised + change − fees − funding.
    """

    group: str
    trades: int
    closed: int
    realized_usd: Decimal
    unrealized_usd: float | None
    unrealized_change_usd: float | None
    fees_usd: Decimal
    funding_usd: Decimal

    @property
    def net_usd(self) -> float | None:
        if self.unrealized_change_usd is None:
            return None
        return float(self.realized_usd - self.fees_usd - self.funding_usd) + self.unrealized_change_usd


class Days(msgspec.Struct, frozen=True):
    """Trading days that begin at an offset to the UTC day."""

    offset_ns: int = 0

    def start_ns(self, at_ns: int) -> int:
        """The beginning of the day of an instant."""
        return at_ns - (at_ns - self.offset_ns) % DAY_NS

    def name(self, at_ns: int) -> str:
        """The date of its beginning, "2026-11-27"."""
        return f"{datetime.fromtimestamp(self.start_ns(at_ns) // 1_000_000_000, UTC):%Y-%m-%d}"


def trading_days(boundary_minute: int) -> Days:
    """Days that begin at a minute of the UTC day (`DeskConfig.day_boundary_minute`)."""
    return Days(boundary_minute * 60_000_000_000)


def pnl_by(
    by: By,
    trades: Sequence[LedgerTrade],
    changes: Iterable[PnlChange],
    marked: Marked,
    since_ns: int,
    now_ns: int,
    days: Days = Days(),
) -> list[PnlRow]:
    """One row per group, in order; days newest last. `marked` has `since_ns` and `now_ns`, and for days each of their
    boundaries between (see `instants`). `changes` are those of the period."""
    known = {trade.trade_id: trade for trade in trades}
    made = [each for each in changes if each.trade_id in known and since_ns <= each.at_ns < now_ns]
    if by == "day":
        return _by_day(known, made, marked, since_ns, now_ns, days)
    groups: dict[str, list[LedgerTrade]] = {}
    for trade in trades:
        groups.setdefault(group_of(by, trade), []).append(trade)
    changed: dict[str, list[PnlChange]] = {}
    for each in made:
        changed.setdefault(group_of(by, known[each.trade_id]), []).append(each)
    rows = [
        _row(name, members, changed.get(name, ()), marked, since_ns, now_ns)
        for name, members in sorted(groups.items())
    ]
    return [row for row in rows if row.trades]


def instants(by: By, trades: Sequence[LedgerTrade], since_ns: int, now_ns: int, days: Days = Days()) -> list[int]:
    """The instants of which `pnl_by` needs to know what was held on mark, ascending."""
    if by != "day":
        return [since_ns, now_ns]
    starts = _day_starts(trades, since_ns, now_ns, days)
    return sorted({since_ns, *starts, now_ns})


def pnl_total(
    trades: Sequence[LedgerTrade], changes: Iterable[PnlChange], marked: Marked, since_ns: int, now_ns: int
) -> PnlRow:
    """All of it as one row. Of days it may be known where one of them is not: only the ends of the period count."""
    known = {trade.trade_id for trade in trades}
    made = [each for each in changes if each.trade_id in known and since_ns <= each.at_ns < now_ns]
    return _row("total", trades, made, marked, since_ns, now_ns)


def group_of(by: By, trade: LedgerTrade) -> str:
    """The group of a trade where groups are not days."""
    return {"strategy": trade.strategy, "structure": trade.structure}.get(by, trade.trade_id)


def _by_day(
    known: Mapping[str, LedgerTrade],
    made: Sequence[PnlChange],
    marked: Marked,
    since_ns: int,
    now_ns: int,
    days: Days,
) -> list[PnlRow]:
    rows = []
    trades = list(known.values())
    changed: dict[int, list[PnlChange]] = {}
    for each in made:
        changed.setdefault(days.start_ns(each.at_ns), []).append(each)
    for start_ns in _day_starts(trades, since_ns, now_ns, days):
        begin_ns, end_ns = max(start_ns, since_ns), min(start_ns + DAY_NS, now_ns)
        row = _row(days.name(start_ns), trades, changed.get(start_ns, ()), marked, begin_ns, end_ns)
        if row.trades:
            rows.append(row)
    return rows


def _day_starts(trades: Sequence[LedgerTrade], since_ns: int, now_ns: int, days: Days) -> list[int]:
    first_ns = min((trade.created_ns for trade in trades), default=now_ns)
    start_ns = days.start_ns(max(first_ns, since_ns))
    return list(range(start_ns, now_ns, DAY_NS))


def _row(
    name: str,
    trades: Sequence[LedgerTrade],
    changes: Sequence[PnlChange],
    marked: Marked,
    begin_ns: int,
    end_ns: int,
) -> PnlRow:
    changed = {each.trade_id for each in changes}
    taking_part = [
        trade
        for trade in trades
        if trade.trade_id in changed
        or (
            trade.was_filled
            and trade.created_ns < end_ns
            and (trade.closed_ns is None or trade.closed_ns >= begin_ns)
        )
    ]
    end = _sum([_unrealized(trade, marked, end_ns) for trade in taking_part])
    begin = _sum([_unrealized(trade, marked, begin_ns) for trade in taking_part])
    return PnlRow(
        group=name,
        trades=len(taking_part),
        closed=sum(trade.closed_ns is not None and begin_ns <= trade.closed_ns < end_ns for trade in taking_part),
        realized_usd=sum((each.realized_pnl_usd for each in changes), _ZERO),
        unrealized_usd=end,
        unrealized_change_usd=None if begin is None or end is None else end - begin,
        fees_usd=sum((each.fees_usd for each in changes), _ZERO),
        funding_usd=sum((each.funding_usd for each in changes), _ZERO),
    )


def _unrealized(trade: LedgerTrade, marked: Marked, at_ns: int) -> float | None:
    if not trade.was_open(at_ns):
        return 0.0
    return marked.get(at_ns, {}).get(trade.trade_id)


def _sum(values: Sequence[float | None]) -> float | None:
    """None while one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def cumulative(changes: Iterable[PnlChange]) -> dict[str, list[float]]:
    """Realised P&L, fees and funding so far at each change: columns "at_s", "realized_pnl_usd", "fees_usd",
    "funding_usd"."""
    realized = fees = funding = _ZERO
    columns: dict[str, list[float]] = {"at_s": [], "realized_pnl_usd": [], "fees_usd": [], "funding_usd": []}
    for each in changes:
        realized += each.realized_pnl_usd
        fees += each.fees_usd
        funding += each.funding_usd
        so_far = (each.at_ns / 1e9, float(realized), float(fees), float(funding))
        for name, value in zip(columns, so_far, strict=True):
            columns[name].append(value)
    return columns


def pnl_json(row: PnlRow) -> dict[str, Any]:
    """One row with stable keys: what the journal has is exact text, what is on mark is a number or null."""
    return {
        "group": row.group,
        "trades": row.trades,
        "closed": row.closed,
        "realized_usd": plain(row.realized_usd),
        "unrealized_usd": row.unrealized_usd,
        "unrealized_change_usd": row.unrealized_change_usd,
        "fees_usd": plain(row.fees_usd),
        "funding_usd": plain(row.funding_usd),
        "net_usd": row.net_usd,
    }


def since_ns_of(text: str, now_ns: int, days: Days = Days()) -> int:
    """An instant from "7d", "12h", "today", "2026-11-27" (the beginning of that trading day), or "" for ever.

    Raises ValueError naming what is allowed.
    """
    if not text or text == "all":
        return 0
    if text == "today":
        return days.start_ns(now_ns)
    units = {"d": timedelta(days=1), "h": timedelta(hours=1), "w": timedelta(weeks=1)}
    if text[:-1].isdecimal() and text[-1] in units and int(text[:-1]) < 100_000:
        span = units[text[-1]] * int(text[:-1])
        return max(now_ns - int(span.total_seconds()) * 1_000_000_000, 0)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{text!r} is no beginning: give 7d, 12h, 2w, today, all or a date as 2026-11-27") from None
    return int(day.timestamp()) * 1_000_000_000 + days.offset_ns

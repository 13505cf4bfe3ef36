"""Attribution of P&L by day, strategy, structure or trade, from the samples of trades. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.monitor.history.attribution import PART_FIELDS, PART_NAMES, Parts, TradePoint
from shared.ledger.pnl import By, Days, group_of
from shared.ledger.records import LedgerTrade


class AttributedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group: what its P&L before fees came from over the period, as far as it was sampled."""

    group: str
    trades: int
    parts: Parts


def attributed_by_day(
    before: Mapping[str, TradePoint], ends: Sequence[TradePoint], days: Days
) -> list[AttributedRow]:
    """One row per day, in order. before: the last sample of each trade before the period; ends: of each day in it.

    What happened while nothing was sampled is of the day on which sampling went on, and unattributed."""
    known = {trade_id: point.parts for trade_id, point in before.items()}
    made: dict[str, list[Parts]] = {}
    for point in ends:
        earlier = known.get(point.trade_id)
        made.setdefault(days.name(point.at_ns), []).append(point.parts if earlier is None else point.parts - earlier)
        known[point.trade_id] = point.parts
    return [AttributedRow(group=day, trades=len(parts), parts=sum_of(parts)) for day, parts in sorted(made.items())]


def attributed_by(
    by: By, trades: Iterable[LedgerTrade], before: Mapping[str, TradePoint], after: Mapping[str, TradePoint]
) -> list[AttributedRow]:
    """One row per group of trades, in order; those that were not sampled in the period are left out."""
    made: dict[str, list[Parts]] = {}
    for trade in trades:
        end, begin = after.get(trade.trade_id), before.get(trade.trade_id)
        if end is None or (begin is not None and begin.at_ns >= end.at_ns):
            continue
        parts = end.parts if begin is None else end.parts - begin.parts
        made.setdefault(group_of(by, trade), []).append(parts)
    return [AttributedRow(group=name, trades=len(parts), parts=sum_of(parts)) for name, parts in sorted(made.items())]


def sum_of(parts: Iterable[Parts]) -> Parts:
    total = Parts()
    for each in parts:
        total = total + each
    return total


def parts_json(parts: Parts) -> dict[str, Any]:
    """With the P&L that they sum to."""
    return {**{name: getattr(parts, name) for name in PART_FIELDS}, "pnl_usd": parts.pnl_usd}


def attributed_json(row: AttributedRow) -> dict[str, Any]:
    return {"group": row.group, "trades": row.trades, **parts_json(row.parts)}


def part_title(name: str) -> str:
    """The heading of a part, "delta" of "delta_usd"."""
    return name.removesuffix("_usd")


PART_TITLES: tuple[str, ...] = tuple(part_title(name) for name in PART_NAMES)

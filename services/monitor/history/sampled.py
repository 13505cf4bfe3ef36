"""P&L by day and by strategy from the samples of trades alone, as the dashboard shows it. Pure.

It is on mark, and is what `shared.ledger.pnl` says of the same time as far as the trades were sampled: the monitor
has no journal. What happened while nothing was sampled is of the day on which sampling went on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from services.monitor.history.attributed import parts_json
from services.monitor.history.attribution import Parts, TradePoint
from shared.ledger.pnl import Days


class SampledRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group, USD. parts: where the P&L before fees came from; fees and funding paid > 0."""

    group: str
    trades: int
    parts: Parts
    fees_usd: float
    funding_usd: float = 0.0

    @property
    def net_usd(self) -> float:
        """After fees and funding, with the change of what is held."""
        return self.parts.pnl_usd - self.fees_usd - self.funding_usd


class Change(msgspec.Struct, frozen=True):
    """What a trade made between two samples of it; at_ns: of the later one."""

    trade_id: str
    at_ns: int
    parts: Parts
    fees_usd: float
    funding_usd: float


def changes_of(before: Mapping[str, TradePoint], ends: Iterable[TradePoint]) -> list[Change]:
    """before: the last sample of each trade before the period; ends: of each day in it, days in order."""
    known = dict(before)
    changes = []
    for point in ends:
        earlier = known.get(point.trade_id)
        known[point.trade_id] = point
        parts = point.parts if earlier is None else point.parts - earlier.parts
        fees_usd = point.fees_usd - (0.0 if earlier is None else earlier.fees_usd)
        funding_usd = point.funding_usd - (0.0 if earlier is None else earlier.funding_usd)
        changes.append(Change(point.trade_id, point.at_ns, parts, fees_usd, funding_usd))
    return changes


def sampled_by_day(changes: Sequence[Change], days: Days) -> list[SampledRow]:
    """One row per day, the newest first."""
    return _grouped(changes, lambda each: days.name(each.at_ns))[::-1]


def sampled_by_strategy(changes: Sequence[Change], strategies: Mapping[str, str]) -> list[SampledRow]:
    """One row per strategy, by its name; strategies: of each trade; "" where nobody knows it any more."""
    return _grouped(changes, lambda each: strategies.get(each.trade_id, ""))


def lines_by_strategy(
    before: Mapping[str, float], nets: Iterable[tuple[str, int, float]], strategies: Mapping[str, str]
) -> dict[str, list[tuple[int, float]]]:
    """(time in ns, P&L after fees and funding in USD since the beginning) of each strategy, at each sample of a trade
    of it.

    before: of each trade at the beginning; nets: (trade, time, P&L after fees and funding), times in order;
    strategies as above.
    """
    known = dict(before)
    sums: dict[str, float] = {}
    lines: dict[str, list[tuple[int, float]]] = {}
    for trade_id, at_ns, net_usd in nets:
        name = strategies.get(trade_id, "")
        sums[name] = sums.get(name, 0.0) + net_usd - known.get(trade_id, 0.0)
        known[trade_id] = net_usd
        line = lines.setdefault(name, [])
        if line and line[-1][0] == at_ns:
            line.pop()
        line.append((at_ns, sums[name]))
    return dict(sorted(lines.items()))


def sampled_total(changes: Sequence[Change]) -> SampledRow:
    """All of them as one row."""
    return _row("total", changes)


def _grouped(changes: Sequence[Change], group: Callable[[Change], str]) -> list[SampledRow]:
    groups: dict[str, list[Change]] = {}
    for each in changes:
        groups.setdefault(group(each), []).append(each)
    return [_row(name, members) for name, members in sorted(groups.items())]


def _row(name: str, members: Sequence[Change]) -> SampledRow:
    parts = Parts()
    for each in members:
        parts = parts + each.parts
    return SampledRow(
        group=name,
        trades=len({each.trade_id for each in members}),
        parts=parts,
        fees_usd=sum(each.fees_usd for each in members),
        funding_usd=sum(each.funding_usd for each in members),
    )


def sampled_json(row: SampledRow) -> dict[str, Any]:
    """One row with stable keys."""
    return {
        "group": row.group,
        "trades": row.trades,
        **parts_json(row.parts),
        "fees_usd": row.fees_usd,
        "funding_usd": row.funding_usd,
        "net_usd": row.net_usd,
    }

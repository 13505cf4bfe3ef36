"""P&L of a period as it was sampled, read for pages, the phone and pictures: as far back as the history is kept."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.monitor.history.sampled import (
    SampledRow,
    changes_of,
    lines_by_strategy,
    sampled_by_day,
    sampled_by_strategy,
    sampled_total,
)
from services.monitor.history.store import HistoryReader
from shared.ledger.pnl import Days

_POINTS = 400
_MINUTE_NS = 60_000_000_000


class SampledPnl(msgspec.Struct, frozen=True, kw_only=True):
    """P&L of a period, on mark."""

    by_day: list[SampledRow]
    by_strategy: list[SampledRow]
    total: SampledRow


def sampled_pnl(
    reader: HistoryReader, since_ns: int, now_ns: int, days: Days, known: Mapping[str, str]
) -> SampledPnl:
    """known: the strategies of trades that are remembered; the file has the others. Raises sqlite3.Error."""
    changes = changes_of(reader.trades_at(since_ns), reader.day_ends(since_ns, now_ns + 1, days))
    return SampledPnl(
        by_day=sampled_by_day(changes, days),
        by_strategy=sampled_by_strategy(changes, {**reader.strategies(since_ns), **known}),
        total=sampled_total(changes),
    )


def sampled_lines(reader: HistoryReader, since_ns: int, now_ns: int) -> dict[str, list[tuple[int, float]]]:
    """(time in ns, P&L on mark after fees and funding in USD) by strategy, 0 at the beginning and up to now, in
    about as many steps as a picture shows. Raises sqlite3.Error."""
    before = {trade_id: point.net_usd for trade_id, point in reader.trades_at(since_ns).items()}
    step_ns = max((now_ns - since_ns) // _POINTS, _MINUTE_NS)
    lines = lines_by_strategy(before, reader.nets(since_ns, now_ns + 1, step_ns), reader.strategies(since_ns))
    return {name: [(since_ns, 0.0), *line, (now_ns, line[-1][1])] for name, line in lines.items()}

"""P&L from samples: days and strategies sum to the whole, and a gap is of the day on which sampling went on."""

from __future__ import annotations

import pytest

from services.monitor.history.attribution import Parts, TradePoint
from services.monitor.history.sampled import changes_of, sampled_by_day, sampled_by_strategy, sampled_total
from shared.ledger.pnl import DAY_NS, Days

MONDAY_NS = 1_764_547_200 * 1_000_000_000  # 2025-12-01T00:00:00Z


def point(trade_id: str, at_ns: int, delta_usd: float, fees_usd: float) -> TradePoint:
    parts = Parts(delta_usd=delta_usd, residual_usd=1.0)
    return TradePoint(
        trade_id=trade_id,
        at_ns=at_ns,
        pnl_usd=parts.pnl_usd,
        unrealized_usd=0.0,
        fees_usd=fees_usd,
        delta=None,
        gamma=None,
        vega=None,
        theta=None,
        parts=parts,
    )


def test_days_and_strategies_sum_to_the_change_since_the_period_began() -> None:
    before = {"t1": point("t1", MONDAY_NS - 60, 5.0, 1.0)}
    ends = [
        point("t1", MONDAY_NS + 60, 8.0, 1.5),
        point("t2", MONDAY_NS + 60, -2.0, 0.5),
        point("t1", MONDAY_NS + DAY_NS + 60, 20.0, 1.5),
    ]
    changes = changes_of(before, ends)
    tuesday, monday = sampled_by_day(changes, Days())
    assert (tuesday.group, monday.group) == ("2025-12-02", "2025-12-01")
    assert (tuesday.parts.pnl_usd, tuesday.fees_usd, tuesday.trades) == (12.0, 0.0, 1)
    # t1 made 3 on delta, t2 -2 on delta and 1 of residual; both paid 0.5
    assert (monday.parts.delta_usd, monday.parts.residual_usd, monday.fees_usd, monday.net_usd) == (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    unknown, straddle = sampled_by_strategy(changes, {"t1": "straddle"})
    assert (unknown.group, unknown.trades, straddle.group, straddle.net_usd) == ("", 1, "straddle", 14.5)
    total = sampled_total(changes)
    assert total.net_usd == pytest.approx(tuesday.net_usd + monday.net_usd)
    assert (total.trades, total.group) == (2, "total")

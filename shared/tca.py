"""Transaction cost analysis: openings and closes summed by what they have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from shared.messages.quality import Phase, PhaseQuality

By = Literal["strategy", "mode", "hour"]
FEW = 10
"""Averages over fewer say little."""

_ZERO = Decimal(0)


class CostRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group of one phase. `measured` of its `trades` have a known arrival price; averages of slippage and
    improvement are over these, per trade, in USD. slippage_bp: Σ slippage / Σ premium of these at arrival.
    fill_p50_s, fill_p90_s: time from arrival to the last execution. maker_share by premium. orders: per trade.
    naked_s, naked_delta_s: sums, the latter of those whose deltas were known."""

    group: str
    phase: Phase
    trades: int
    measured: int
    slippage_usd: Decimal | None
    slippage_bp: float | None
    improvement_usd: Decimal | None
    fill_p50_s: float | None
    fill_p90_s: float | None
    maker_share: float | None
    fees_usd: Decimal
    orders: float
    naked_s: float
    naked_delta_s: float


def summarise(phases: Iterable[PhaseQuality], by: By) -> list[CostRow]:
    """One row per group and phase, groups in order, openings before closes."""
    groups: dict[tuple[str, int], list[PhaseQuality]] = {}
    order = get_args(Phase)
    for each in phases:
        groups.setdefault((_KEYS[by](each), order.index(each.phase)), []).append(each)
    return [_row(group, order[index], members) for (group, index), members in sorted(groups.items())]


def _row(group: str, phase: Phase, members: Sequence[PhaseQuality]) -> CostRow:
    measured = [each for each in members if each.slippage_usd is not None]
    slippage = sum((each.slippage_usd or _ZERO for each in measured), _ZERO)
    premium = sum((each.premium_usd or _ZERO for each in measured), _ZERO)
    improvement = sum((each.improvement_usd or _ZERO for each in measured), _ZERO)
    times = sorted(each.time_to_fill_s for each in members if each.time_to_fill_s is not None)
    told = [(each.maker_share, float(each.filled_usd)) for each in members if each.maker_share is not None]
    weight = sum(usd for _, usd in told)
    return CostRow(
        group=group,
        phase=phase,
        trades=len(members),
        measured=len(measured),
        slippage_usd=slippage / len(measured) if measured else None,
        slippage_bp=float(slippage / premium) * 10_000 if premium else None,
        improvement_usd=improvement / len(measured) if measured else None,
        fill_p50_s=percentile(times, 0.5),
        fill_p90_s=percentile(times, 0.9),
        maker_share=sum(share * usd for share, usd in told) / weight if weight else None,
        fees_usd=sum((each.fees_usd for each in members), _ZERO),
        orders=sum(each.orders for each in members) / len(members),
        naked_s=sum(each.naked_s for each in members),
        naked_delta_s=sum(each.naked_delta_s or 0.0 for each in members),
    )


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed (nearest rank); None of nothing."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else None


def _hour(each: PhaseQuality) -> str:
    return f"{datetime.fromtimestamp(each.began_ns // 1_000_000_000, UTC):%H}:00"


_KEYS: dict[By, Callable[[PhaseQuality], str]] = {
    "strategy": lambda each: each.strategy,
    "mode": lambda each: each.mode,
    "hour": _hour,
}

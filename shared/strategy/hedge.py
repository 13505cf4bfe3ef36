"""Keeping the delta of a structure near a target with the perpetual of its underlying. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations

import msgspec

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.options.chain import snap_quantity

HEDGE_PARAMS = ExecutionParams(
    phases=(LimitPhase(pricing="aggressive", duration_s=20.0, reprice_interval_s=4.0, buffer_pct=0.1),),
    fill_timeout_s=4.0,
    max_requote_rounds=5,
    max_close_premium_pct=1.0,
)
"""How an adjustment is worked: a limit order a tenth of a per cent past the middle, which crosses a book that is a
basis point wide and never pays more than that."""

_WEIGHED = 10
"""So many trades are weighed against each other in every combination."""


class DeltaHedge(msgspec.Struct, frozen=True, kw_only=True):
    """Hedge the delta of each open trade with the perpetual of its underlying, until the trade ends.

    Delta is that of what the trade holds, in coins of the underlying, and of its hedges, one per coin.
    band: it is adjusted when delta is more than this away from `target`; to the target, in lots.
    interval_seconds: no sooner after the last adjustment than this. minimum_size: coins; less is left.
    Raises ValueError naming the field and what is allowed.

    >>> DeltaHedge(band=0.05, interval_seconds=30).minimum_size
    0.001
    """

    band: float = 0.05
    interval_seconds: float = 60.0
    minimum_size: float = 0.001
    target: float = 0.0

    def __post_init__(self) -> None:
        for field, low in (("band", 0.0), ("interval_seconds", 1.0), ("minimum_size", 0.0), ("target", -math.inf)):
            value = getattr(self, field)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or value < low:
                allowed = "a number" if math.isinf(low) else f"a number, {low:g} or more"
                raise ValueError(f"delta_hedge: {field} {value!r} must be {allowed}")
            # a float of numpy is one too, and writes itself in another way
            msgspec.structs.force_setattr(self, field, float(value))


class HeldHedge(msgspec.Struct, frozen=True):
    """One open trade of the perpetual; `quantity` is signed."""

    trade_id: str
    quantity: Decimal


class OpenHedge(msgspec.Struct, frozen=True):
    side: Side
    quantity: Decimal


class CloseHedges(msgspec.Struct, frozen=True):
    trade_ids: tuple[str, ...]


class NoHedge(msgspec.Struct, frozen=True):
    """Nothing is to be done. is_off: delta is beyond the band all the same, as the rest is too small to trade.

    is_kept: delta is beyond the band, and every hedge that could be closed would leave it farther away.
    """

    is_off: bool = False
    is_kept: bool = False


def adjustment(
    structure_delta: float,
    held: Sequence[HeldHedge],
    hedge: DeltaHedge,
    perpetual: Instrument,
    *,
    may_open: bool = True,
) -> OpenHedge | CloseHedges | NoHedge:
    """What brings delta back to its target: more of the hedge, or less of it, and then the rest.

    Trades that hedge are closed whole: of those at hand the largest first that do not take away too much; where none
    is small enough, the smallest, and what was too much is opened again with the next look. may_open: whether it can
    be; if not, those are closed that bring delta nearest to its target, and none where each takes it farther away.
    """
    have = sum((each.quantity for each in held), Decimal(0))
    off = structure_delta + float(have) - hedge.target
    if abs(off) <= hedge.band:
        return NoHedge()
    change = snap_quantity(abs(off), perpetual.lot_size)
    if change < least_change(hedge, perpetual):
        return NoHedge(is_off=True)
    side: Side = "sell" if off > 0 else "buy"
    against = [each for each in held if (each.quantity > 0) == (off > 0)]
    if not against:
        return OpenHedge(side, min(change, perpetual.max_quantity))
    if not may_open:
        return _taken_back(off, against)
    left, closing = change, []
    for each in sorted(against, key=lambda one: (-abs(one.quantity), one.trade_id)):
        if abs(each.quantity) <= left:
            closing.append(each.trade_id)
            left -= abs(each.quantity)
    if not closing:
        closing = [min(against, key=lambda one: (abs(one.quantity), one.trade_id)).trade_id]
    return CloseHedges(tuple(closing))


def least_change(hedge: DeltaHedge, perpetual: Instrument) -> Decimal:
    """No less than this is traded, in coins."""
    return max(perpetual.min_quantity, Decimal(repr(hedge.minimum_size)))


def _taken_back(off: float, against: Sequence[HeldHedge]) -> CloseHedges | NoHedge:
    """Those of the largest trades that bring delta nearest to its target; the fewest of what does so alike."""
    largest = sorted(against, key=lambda one: (-abs(one.quantity), one.trade_id))[:_WEIGHED]
    subsets = (subset for size in range(len(largest) + 1) for subset in combinations(largest, size))
    nearest = min(subsets, key=lambda subset: round(abs(off - float(sum(each.quantity for each in subset))), 9))
    return CloseHedges(tuple(each.trade_id for each in nearest)) if nearest else NoHedge(is_kept=True)

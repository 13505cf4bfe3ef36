"""Keeping the delta of a structure near a target with the perpetual of its underlying. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.options.chain import snap_quantity
from shared.options.instruments import expiry_and_last_trade_ns, instrument_kind
from shared.options.symbols import parse_option_symbol

HEDGE_PARAMS = ExecutionParams(
    phases=(LimitPhase(pricing="aggressive", duration_s=20.0, reprice_interval_s=4.0, buffer_pct=0.1),),
    fill_timeout_s=4.0,
    max_requote_rounds=5,
    max_close_premium_pct=1.0,
)
"""How an adjustment is worked: a limit order a tenth of a per cent past the middle, which crosses a book that is a
basis point wide and never pays more than that."""


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


class ReduceHedges(msgspec.Struct, frozen=True):
    """What each of these trades is to hold from now on, coins ≥ 0; by trade id."""

    keep: dict[str, Decimal]


class NoHedge(msgspec.Struct, frozen=True):
    """Nothing is to be done. is_off: delta is beyond the band all the same, as the rest is too small to trade."""

    is_off: bool = False


def adjustment(
    structure_delta: float,
    held: Sequence[HeldHedge],
    hedge: DeltaHedge,
    perpetual: Instrument,
) -> OpenHedge | ReduceHedges | NoHedge:
    """What brings delta back to its target: more of the hedge, or less of what is held, the largest trades first.

    Too much of a hedge is never made good by its opposite. More is opened once nothing is held on the other side.
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
    left, keep = change, {}
    for each in sorted(against, key=lambda one: (-abs(one.quantity), one.trade_id)):
        taken = _taken(abs(each.quantity), left, perpetual)
        if taken:
            keep[each.trade_id] = abs(each.quantity) - taken
            left -= taken
    return ReduceHedges(keep) if keep else NoHedge(is_off=True)


def _taken(held: Decimal, wanted: Decimal, perpetual: Instrument) -> Decimal:
    """What is taken of a trade: all of it, or what leaves a rest that can be closed by itself; 0 for nothing that can
    be traded."""
    if wanted >= held:
        return held
    taken = min(wanted, max(held - perpetual.min_quantity, Decimal(0)))
    return taken if taken >= perpetual.min_quantity else Decimal(0)


def hedge_range(legs: Sequence[LegOrder], hedge: DeltaHedge) -> tuple[float, float]:
    """The least and the most of the perpetual that the hedge of these legs may come to hold, coins, short < 0.

    At expiry the delta of an option is 0 or that of its underlying, and before it lies between. Expiries are taken
    apart: one may be in the money where another is out of it, and one that is over leaves the later ones alone.

    >>> call = LegOrder(symbol="BTCUSD-27MAR26-110000-C", side="sell", quantity=Decimal("0.5"))
    >>> put = LegOrder(symbol="BTCUSD-27MAR26-90000-P", side="sell", quantity=Decimal("0.3"))
    >>> hedge_range([call, put], DeltaHedge())
    (-0.3, 0.5)
    """
    by_expiry: dict[float, list[tuple[float, bool, float]]] = {}
    for leg in legs:
        signed = float(leg.quantity) if leg.side == "buy" else -float(leg.quantity)
        times = expiry_and_last_trade_ns(leg.symbol)
        part = by_expiry.setdefault(math.inf if times is None else times[0], [])
        if instrument_kind(leg.symbol) == "option":
            option = parse_option_symbol(leg.symbol)
            part.append((float(option.strike), option.option_type == "C", signed))
        else:
            # one a coin at every price, as a call that is always in the money
            part.append((-math.inf, True, signed))
    least = most = 0.0
    for expiry, part in by_expiry.items():
        deltas = [
            sum(signed * (strike <= at if is_call else -(strike > at)) for strike, is_call, signed in part)
            for at in (-math.inf, *(strike for strike, _, _ in part))
        ]
        if expiry < max(by_expiry):
            deltas.append(0.0)
        least, most = least + min(deltas), most + max(deltas)
    return hedge.target - most, hedge.target - least


def least_change(hedge: DeltaHedge, perpetual: Instrument) -> Decimal:
    """No less than this is traded, in coins."""
    return max(perpetual.min_quantity, Decimal(repr(hedge.minimum_size)))

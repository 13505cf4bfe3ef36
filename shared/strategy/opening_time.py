"""How long an opening may take when each of its legs needs all its time: for so long risk's grant is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from shared.messages.base import Side
from shared.messages.rfq import RfqParams
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionMode, ExecutionParams, LegOrder
from shared.options.instruments import instrument_kind

LegKind = Literal["C", "P", "linear"]

SETTLING_S = 15.0
"""How long the end of a leg's last order may take to be known, with the pauses between its orders."""
_ASKING_S = 60.0
"""What a request for quote may take beside its time-outs: a create that is made again, a lost accept that the venue
shows not to have been executed."""


def kind_of(leg: LegOrder) -> LegKind:
    """What the leg is, by the form of its symbol."""
    if instrument_kind(leg.symbol) != "option":
        return "linear"
    return "P" if leg.symbol.endswith("P") else "C"


def levels(legs: Iterable[tuple[Side, LegKind]]) -> int:
    """How many legs execution opens one after the other at most: those bought before those sold, of those bought the
    puts before the futures whose loss they bound, of those sold the futures before the puts."""
    kinds: dict[Side, set[LegKind]] = {}
    for side, kind in legs:
        kinds.setdefault(side, set()).add(kind)
    return sum(2 if {"P", "linear"} <= each else 1 for each in kinds.values())


def longest_opening_s(
    mode: ExecutionMode,
    legs: Sequence[tuple[Side, LegKind]],
    params: ExecutionParams,
    smart: SmartParams,
    rfq: RfqParams,
) -> float:
    """How long at most, in seconds, for every mode but "quoting", whose time the strategy says.

    A leg above the venue's largest order is worked slice by slice, each with a time of its own; that is not counted.
    """
    # A leg may have the time of a level anew for what the trade was scaled to.
    deep = levels(legs) + params.scale_to_filled
    each_s = params.final_look_s + SETTLING_S
    limit_s = deep * (params.patience_s + each_s)
    smart_s = smart.longest_s(deep, each_s)
    fallback_s = {"limit": limit_s, "smart": smart_s, None: 0.0}[rfq.fallback]
    rfq_s = 2 * rfq.timeout_s + _ASKING_S + fallback_s
    match mode:
        case "limit":
            return limit_s
        case "smart":
            return smart_s
        case "rfq":
            return rfq_s
        case _:
            otherwise_s = smart_s if len(legs) > 1 else limit_s
            makers_quote = all(kind != "linear" for _, kind in legs)
            return max(rfq_s, otherwise_s) if makers_quote else otherwise_s

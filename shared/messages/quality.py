"""How well trades were executed: per leg and for the whole opening or close. Signs: slippage > 0 is a cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side

Phase = Literal["open", "close"]
"""The opening of a trade, or everything that reduced it: close, unwinding, flatten."""


class LegQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of one phase. `side` and `average_price` (USD per unit, None without a fill) are of what was executed.

    arrival_mid: mid when the intent was accepted, or the close began, None without a two-sided book. decision_price:
    mid on which the strategy decided, of an opening. slippage_usd: side × (average price − arrival mid) × quantity.
    improvement_usd: what crossing the book at arrival, at its best price, would have cost more. orders: rounds,
    an order and each price that it was moved to.
    maker_share: 0 to 1, by premium, of the executions whose role is known.
    """

    symbol: str
    side: Side
    quantity: Decimal
    average_price: Decimal | None
    arrival_mid: float | None
    decision_price: float | None
    slippage_usd: Decimal | None
    slippage_bp: float | None
    improvement_usd: Decimal | None
    orders: int
    time_to_fill_s: float | None
    maker_share: float | None
    fees_usd: Decimal


class PhaseQuality(msgspec.Struct, frozen=True, kw_only=True):
    """An opening or a close as a whole: the sums over its legs.

    mode: the execution mode that had it at last. began_ns: when the intent was accepted, or the close began.
    filled_usd: Σ price × quantity of what was executed; premium_usd: the same at the arrival mids. premium, slippage
    and improvement are None when the arrival mid of a leg that traded is not known. time_to_fill_s: from the
    beginning to the last execution. chunks: of a smart plan. naked_s: seconds with legs held out of proportion;
    naked_delta_s: the integral over these of |delta| of what was held beyond the proportion, in coins × seconds, None
    when a delta was not known. legs: empty in a list.
    """

    trade_id: str
    strategy: str
    mode: str
    phase: Phase
    began_ns: int
    filled_usd: Decimal
    premium_usd: Decimal | None
    slippage_usd: Decimal | None
    slippage_bp: float | None
    improvement_usd: Decimal | None
    orders: int
    chunks: int
    time_to_fill_s: float | None
    maker_share: float | None
    fees_usd: Decimal
    naked_s: float
    naked_delta_s: float | None
    legs: tuple[LegQuality, ...] = ()


class ListQuality(Message, frozen=True, kw_only=True, tag="list_quality.1"):
    """Ask execution how well trades were executed that began at or after `since_ns`, oldest first."""

    since_ns: int = 0
    limit: int = 10_000


class QualityList(Message, frozen=True, kw_only=True, tag="quality_list.1"):
    """Openings and closes in which something traded, without their legs. kept_since_ns: how far back they go."""

    phases: tuple[PhaseQuality, ...]
    kept_since_ns: int

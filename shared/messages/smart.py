"""How the smart mode works a trade, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

QuotingStrategy = Literal["mid", "top_of_book", "top_of_book_offset_pct", "mark"]

_BOUNDS: dict[str, tuple[float, float]] = {
    "chunk_count": (1, 100),
    "time_per_chunk_s": (0, 3_600),
    "spread_pct": (0, 100),
    "reprice_interval_s": (10, 3_600),
    "reprice_price_threshold": (0, 1e6),
    "min_order_qty": (0, 1e6),
    "aggressive_attempts": (0, 100),
    "aggressive_wait_s": (1, 600),
    "aggressive_retry_pause_s": (0, 600),
    "total_duration_s": (0, 14_400),
}


class SmartParams(msgspec.Struct, frozen=True, kw_only=True):
    """How a smart plan works a trade, opening and closing it: in chunks that keep the ratios of the legs, each one
    quoted first, then taken across the spread.

    chunk_count: how many chunks at most; a chunk with less than `min_order_qty`, or less than the venue's minimum, of
    a leg is merged with its neighbours. time_per_chunk_s: how long a leg of a chunk is quoted.
    quoting_strategy: "mid"; "top_of_book", the own side of the book; "top_of_book_offset_pct", that one moved
    `spread_pct` per cent towards the middle and not past it; "mark", else mid. A book without a middle is priced from
    mark.
    reprice_interval_s: how long a quote rests before it is looked at, at least 10; reprice_price_threshold: it is
    replaced when its price has moved by more than this, USD per unit.
    aggressive_attempts: orders across the spread for a leg of a chunk, each resting `aggressive_wait_s`, with
    `aggressive_retry_pause_s` between them; 0: never across.
    total_duration_s: chunks begin evenly spaced over this time (TWAP); 0: one after the other.
    """

    chunk_count: int = 2
    time_per_chunk_s: float = 20.0
    quoting_strategy: QuotingStrategy = "mid"
    spread_pct: float = 0.5
    reprice_interval_s: float = 10.0
    reprice_price_threshold: float = 0.1
    min_order_qty: Decimal = Decimal("0.01")
    aggressive_attempts: int = 10
    aggressive_wait_s: float = 5.0
    aggressive_retry_pause_s: float = 1.0
    total_duration_s: float = 0.0

    def problem(self, names: Mapping[str, str] | None = None) -> str:
        """What is wrong with them, naming the field (as `names` calls it) and what is allowed; "" when nothing is."""
        names = names or {}
        total, each = (names.get(field, field) for field in ("total_duration_s", "time_per_chunk_s"))
        for field, (low, high) in _BOUNDS.items():
            value = getattr(self, field)
            if not math.isfinite(value) or not low <= value <= high:
                return f"{names.get(field, field)} {value} must lie within {low:g} to {high:g}"
        least_s = self.chunk_count * self.time_per_chunk_s
        if 0 < self.total_duration_s < least_s:
            return f"{total} {self.total_duration_s:g} must be 0, or at least chunk_count x {each}, {least_s:g}"
        if not self.time_per_chunk_s and not self.aggressive_attempts:
            return f"{each} and aggressive_attempts are both 0: no order would be sent; raise one of them"
        return ""

    @property
    def crossing_s(self) -> float:
        """How long a leg of a chunk may take across the spread."""
        return self.aggressive_attempts * (self.aggressive_wait_s + self.aggressive_retry_pause_s)

    @property
    def crossing_most_s(self) -> float:
        """How long it takes at most, where each attempt is late: then the leg is given up."""
        return 2 * self.crossing_s

    def longest_s(self, levels: int, settling_s: float) -> float:
        """How long an opening may take at most when each leg needs all its time, the legs of a chunk in so many
        levels one after the other. settling_s: what each level takes beside, until its last order has ended."""
        chunk_s = levels * (self.time_per_chunk_s + self.crossing_most_s + settling_s)
        last_begins_s = self.total_duration_s * (self.chunk_count - 1) / self.chunk_count
        return max(last_begins_s + chunk_s, self.chunk_count * chunk_s)


class ChunkProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a smart opening or close has come: chunks, and how many of their legs had to cross the spread."""

    planned: int
    completed: int
    crossings: int

"""What trading a structure is expected to cost by each mode, and what it did cost."""

from __future__ import annotations

from typing import Literal

import msgspec


class ModeCost(msgspec.Struct, frozen=True, kw_only=True):
    """What opening a structure by one mode is expected to cost beyond the middle of the books, USD, paid > 0.

    infeasible: why this mode cannot trade it, "" when it can. spread_usd: what its prices give away to the other
    side, net of the improvement that is expected of quotes. fees_usd: with the cap on the premium. Both None where a
    book has no price to tell by.
    """

    mode: Literal["limit", "rfq", "smart", "quoting"]
    infeasible: str = ""
    spread_usd: float | None = None
    fees_usd: float | None = None

    @property
    def total_usd(self) -> float | None:
        if self.spread_usd is None or self.fees_usd is None:
            return None
        return self.spread_usd + self.fees_usd


class ModeChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which mode opens a trade and why, with what each was expected to cost when the trade was accepted.

    arrival_mids: the middle of each leg's book at that moment, USD per unit, mark where a book had none; None where
    nothing was known.
    """

    mode: Literal["limit", "rfq", "smart", "quoting"]
    reason: str
    costs: tuple[ModeCost, ...] = ()
    arrival_mids: tuple[float | None, ...] = ()

    def expected_usd(self, mode: str) -> float | None:
        """What this mode was expected to cost in all; None when that could not be told."""
        return next((cost.total_usd for cost in self.costs if cost.mode == mode), None)


class OpeningCost(msgspec.Struct, frozen=True, kw_only=True):
    """The opening of a trade against what was expected of it, USD, paid > 0, for what was filled.

    actual_usd: what was paid beyond the middle at arrival, fees included. expected_usd: of the mode that was chosen,
    in the proportion that was filled; None when no figure was expected. fees_complete: every fee is in it.
    """

    mode: str
    expected_usd: float | None
    actual_usd: float
    fees_usd: float
    fees_complete: bool

    @property
    def over_usd(self) -> float | None:
        """How much more than expected it cost; < 0: less."""
        return None if self.expected_usd is None else self.actual_usd - self.expected_usd

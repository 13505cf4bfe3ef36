"""An operator's jumps of the market: what they become, or why not."""

import math
from collections.abc import Container, Sequence

from services.exchange.model import Rejection
from services.exchange.rows import IndexMoved, VolMoved


def factor_of(shocks: Sequence[tuple[int, float]]) -> float:
    """What jumps of the volatilities of a base have multiplied them by."""
    return math.prod(factor for _, factor in shocks)


def index_move(bases: Container[str], base: str, pct: float, step: int, at_ns: int) -> IndexMoved | Rejection:
    """From `step` on the index times (1 + pct / 100); outside -90..+900 % refused."""
    refusal = _refusal(bases, base, pct)
    return refusal or IndexMoved(base=base, step=step, factor=1.0 + pct / 100.0, at_ns=at_ns)


def vol_move(
    bases: Container[str], base: str, pct: float, before: float, step: int, at_ns: int
) -> VolMoved | Rejection:
    """From `step` on the volatilities times (1 + pct / 100); also refused where all moves together, `before` and this
    one, would be below a hundredth or above a hundredfold."""
    refusal, factor = _refusal(bases, base, pct), 1.0 + pct / 100.0
    if refusal is None and not 0.01 <= before * factor <= 100.0:
        return Rejection(10573, f"pct {pct} error: all moves together would be {before * factor:g}")
    return refusal or VolMoved(base=base, step=step, factor=factor, at_ns=at_ns)


def _refusal(bases: Container[str], base: str, pct: float) -> Rejection | None:
    if base not in bases:
        return Rejection(10579, f"index of {base} does not exist")
    if not -90.0 <= pct <= 900.0:
        return Rejection(10573, f"pct {pct} error: it must be from -90 to 900")
    return None

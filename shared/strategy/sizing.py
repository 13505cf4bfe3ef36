"""How large a trade may be so that it loses no more than a share of the equity. A pure function of its inputs."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from shared.options.chain import snap_quantity


class Size(msgspec.Struct, frozen=True):
    """quantity: in base coin, a multiple of the lot, 0 where not even the smallest order fits. risk_usd: what it can
    lose. limit_usd: what it was allowed to lose. reason: why it is 0, "" where it is not."""

    quantity: Decimal
    risk_usd: float
    limit_usd: float
    reason: str = ""


def position_size(
    equity_usd: float,
    loss_per_unit_usd: float,
    *,
    risk_pct: float,
    lot_size: Decimal,
    min_quantity: Decimal,
    max_quantity: Decimal | None = None,
    regime: float = 1.0,
    confidence: float = 1.0,
) -> Size:
    """The largest quantity whose loss stays within `risk_pct` per cent of the equity, times both multipliers.

    loss_per_unit_usd: what one unit of the structure loses at worst, USD > 0, fees included. lot_size, min_quantity,
    max_quantity: in coins. regime, confidence: 0 to
    1, how much of the risk this market and this signal are worth; they can only make the trade smaller. The quantity
    is rounded down to the lot: never up, not even to `min_quantity`, so that the limit holds.

    Raises ValueError naming the input that is not a finite number in its range.

    >>> lot = Decimal("0.01")
    >>> size = position_size(100_000, 3_000, risk_pct=1, lot_size=lot, min_quantity=lot)
    >>> size.quantity, size.risk_usd
    (Decimal('0.33'), 990.0)
    """
    _check("equity_usd", equity_usd, -math.inf, math.inf)
    _check("loss_per_unit_usd", loss_per_unit_usd, 0.0, math.inf)
    _check("risk_pct", risk_pct, 0.0, 100.0)
    _check("regime", regime, 0.0, 1.0)
    _check("confidence", confidence, 0.0, 1.0)
    if loss_per_unit_usd == 0:
        raise ValueError("loss_per_unit_usd 0 bounds no quantity: give what one unit loses at worst, fees included")
    for name, quantity in (("lot_size", lot_size), ("min_quantity", min_quantity), ("max_quantity", max_quantity)):
        if quantity is not None and not (quantity.is_finite() and quantity > 0):
            raise ValueError(f"{name} {quantity} must be a quantity above 0")
    limit_usd = max(equity_usd, 0.0) * risk_pct / 100 * regime * confidence
    wanted = snap_quantity(limit_usd / loss_per_unit_usd, lot_size)
    if max_quantity is not None:
        wanted = min(wanted, snap_quantity(max_quantity, lot_size))
    # a division can come out a hair too large
    while wanted > 0 and float(wanted) * loss_per_unit_usd > limit_usd:
        wanted -= lot_size
    if wanted < min_quantity:
        needed = float(min_quantity) * loss_per_unit_usd
        reason = f"{min_quantity} would risk {needed:,.2f} USD, allowed are {limit_usd:,.2f}"
        if max_quantity is not None and max_quantity < min_quantity:
            reason = f"at most {max_quantity} is allowed, at least {min_quantity} can be ordered"
        return Size(Decimal(0), 0.0, limit_usd, reason)
    return Size(wanted, float(wanted) * loss_per_unit_usd, limit_usd)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} {value} must be a number from {low:g} to {high:g}")

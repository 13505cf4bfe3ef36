"""Account limits that stop trading: drawdown from the peak, and the loss of the day."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.risk.config import RiskConfig

_ENDS_BELOW = 0.9
"""A breach is over once its figure is this far back inside the limit, so that noise at the limit halts once."""


class Measure(msgspec.Struct, frozen=True):
    """One figure against its limit, both in per cent."""

    code: str
    value: float
    limit: float

    @property
    def broken(self) -> bool:
        return self.value >= self.limit

    @property
    def over(self) -> bool:
        return self.value < self.limit * _ENDS_BELOW

    @property
    def detail(self) -> str:
        return f"{self.code} {self.value:.2f} % has reached the limit of {self.limit:g} %"


def drawdown_pct(equity_usd: Decimal, peak_usd: Decimal | None) -> float:
    """Fall from the peak, per cent of it, at least 0; 0 before a peak is known."""
    return _fall_pct(equity_usd, peak_usd)


def daily_loss_pct(equity_usd: Decimal, day_start_usd: Decimal | None) -> float:
    """Fall since the start of the UTC day, per cent of its first equity, at least 0."""
    return _fall_pct(equity_usd, day_start_usd)


def measures(
    config: RiskConfig, equity_usd: Decimal, peak_usd: Decimal | None, day_start_usd: Decimal | None
) -> tuple[Measure, ...]:
    return (
        Measure("drawdown", drawdown_pct(equity_usd, peak_usd), config.max_drawdown_pct),
        Measure("daily_loss", daily_loss_pct(equity_usd, day_start_usd), config.max_daily_loss_pct),
    )


def _fall_pct(equity_usd: Decimal, reference_usd: Decimal | None) -> float:
    if reference_usd is None or reference_usd <= 0:
        return 0.0
    return max(float((reference_usd - equity_usd) / reference_usd) * 100, 0.0)

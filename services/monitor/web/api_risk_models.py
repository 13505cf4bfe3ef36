"""The shapes of what risk tells by the JSON API: limits, breakers, margin guard, margin models, stress grid."""

from __future__ import annotations

from typing import Literal

from services.monitor.web.api_shape import Shape
from shared.messages.risk import BreakerState, LimitScope, MarginLevel


class LimitShape(Shape):
    """value: in `unit`, None where only a request has one; use_pct: None there, and above a limit of 0."""

    name: str
    scope: LimitScope
    subject: str
    value: float | None
    limit: float
    unit: str
    use_pct: float | None


class BreakerShape(Shape):
    """One circuit breaker; subject "": of the whole account. since: None for one that never opened. half_open_at:
    when the next trade is let through as a trial. halts: it also raises a halt."""

    name: str
    subject: str
    state: BreakerState
    since: str | None
    reason: str
    value: float | None
    limit: float
    unit: str
    half_open_at: str | None
    halts: bool


class MarginGuardShape(Shape):
    """utilisation_pct: maintenance margin / equity x 100. thresholds_pct: where each level begins. planned: what the
    guard will do at `planned_at`, "" for nothing; next_step: what it would do at the next level."""

    utilisation_pct: float | None
    level: MarginLevel
    since: str
    thresholds_pct: dict[MarginLevel, float]
    acts_up_to: MarginLevel
    planned: str
    planned_at: str | None
    next_step: str


class MarginModelShape(Shape):
    """What a model of the desk says of the positions, beside the venue. error_pct: (model - venue) / venue x 100."""

    model: Literal["standard", "portfolio"]
    figure: Literal["initial", "maintenance"]
    model_usd: float | None
    venue_usd: float
    error_pct: float | None


class LimitsShape(Shape):
    """Limits nearest first. grants_refused: why no grant can be given now, "" when one can."""

    account_id: str
    received_at: str
    grants_refused: str
    closest: LimitShape | None
    limits: list[LimitShape]
    breakers: list[BreakerShape]
    margin_guard: MarginGuardShape | None
    margin_models: list[MarginModelShape]


class UnderlyingStressShape(Shape):
    """The grid of one underlying, and its worst scenario. Moves in per cent, that of volatility relative."""

    underlying: str
    pnl_usd: list[list[float]]
    worst_usd: float
    worst_spot_pct: float
    worst_vol_pct: float


class PositionStressShape(Shape):
    """What one position makes in the worst scenario of its underlying."""

    symbol: str
    underlying: str
    pnl_usd: float


class StressShape(Shape):
    """`pnl_usd` has a row per volatility move and a column per spot move, loss < 0. stressed_loss_usd: the sum of the
    worst of each underlying, a loss > 0. complete: False when a position has no volatility now and is left out."""

    account_id: str
    received_at: str
    days: float
    spot_pct: list[float]
    vol_pct: list[float]
    pnl_usd: list[list[float]]
    underlyings: list[UnderlyingStressShape]
    positions: list[PositionStressShape]
    stressed_loss_usd: float
    limit_usd: float
    complete: bool

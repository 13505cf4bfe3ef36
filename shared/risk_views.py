"""What risk shows, as JSON with the same keys on the command line and in the dashboard."""

from __future__ import annotations

from typing import Any

from shared.messages.risk import (
    BreakerStatus,
    LimitUse,
    MarginGuard,
    MarginModel,
    RiskLimits,
    StressGrid,
    WhatIfAnswer,
)
from shared.views import iso


def limits_json(risk: RiskLimits) -> dict[str, Any]:
    """All limits, nearest first; `closest` is the first of them that is used at all."""
    used = [limit for limit in risk.limits if limit.use_pct]
    return {
        "account_id": risk.account_id,
        "received_at": iso(risk.received_ns),
        "grants_refused": risk.grants_refused,
        "closest": limit_json(used[0]) if used else None,
        "limits": [limit_json(limit) for limit in risk.limits],
        "breakers": [breaker_json(breaker) for breaker in risk.breakers],
        "margin_guard": None if risk.margin_guard is None else guard_json(risk.margin_guard),
        "margin_models": [_model_json(model) for model in risk.margin_models],
    }


def limit_json(limit: LimitUse) -> dict[str, Any]:
    return {
        "name": limit.name,
        "scope": limit.scope,
        "subject": limit.subject,
        "value": limit.value,
        "limit": limit.limit,
        "unit": limit.unit,
        "use_pct": limit.use_pct,
    }


def breaker_json(breaker: BreakerStatus) -> dict[str, Any]:
    return {
        "name": breaker.name,
        "subject": breaker.subject,
        "state": breaker.state,
        "since": iso(breaker.since_ns or None),
        "reason": breaker.reason,
        "value": breaker.value,
        "limit": breaker.limit,
        "unit": breaker.unit,
        "half_open_at": iso(breaker.half_open_ns),
        "halts": breaker.halts,
    }


def guard_json(guard: MarginGuard) -> dict[str, Any]:
    return {
        "utilisation_pct": guard.utilisation_pct,
        "level": guard.level,
        "since": iso(guard.since_ns),
        "thresholds_pct": guard.thresholds_pct,
        "acts_up_to": guard.acts_up_to,
        "planned": guard.planned,
        "planned_at": iso(guard.planned_ns),
        "next_step": guard.next_step,
    }


def stress_json(grid: StressGrid) -> dict[str, Any]:
    """`pnl_usd` has a row per volatility move and a column per spot move."""
    return {
        "account_id": grid.account_id,
        "received_at": iso(grid.received_ns),
        "days": grid.days,
        "spot_pct": grid.spot_pct,
        "vol_pct": grid.vol_pct,
        "pnl_usd": grid.pnl_usd,
        "underlyings": [
            {
                "underlying": each.underlying,
                "pnl_usd": each.pnl_usd,
                "worst_usd": each.worst_usd,
                "worst_spot_pct": each.worst_spot_pct,
                "worst_vol_pct": each.worst_vol_pct,
            }
            for each in grid.underlyings
        ],
        "positions": [
            {"symbol": each.symbol, "underlying": each.underlying, "pnl_usd": each.pnl_usd} for each in grid.positions
        ],
        "stressed_loss_usd": grid.stressed_loss_usd,
        "limit_usd": grid.limit_usd,
        "complete": grid.complete,
    }


def what_if_json(answer: WhatIfAnswer) -> dict[str, Any]:
    return {
        "granted": not answer.refusals,
        "refusals": [
            {"code": each.code, "detail": each.detail, "value": each.value, "limit": each.limit}
            for each in answer.refusals
        ],
        "margin_usd": answer.margin_usd,
        "available_margin_usd": answer.available_margin_usd,
        "max_loss_usd": answer.max_loss_usd,
        "margins": [
            {"model": each.model, "before_usd": each.before_usd, "after_usd": each.after_usd}
            for each in answer.margins
        ],
        "limits_before": [limit_json(limit) for limit in answer.limits_before],
        "limits_after": [limit_json(limit) for limit in answer.limits_after],
    }


def _model_json(model: MarginModel) -> dict[str, Any]:
    return {
        "model": model.model,
        "figure": model.figure,
        "model_usd": model.model_usd,
        "venue_usd": model.venue_usd,
        "error_pct": model.error_pct,
    }

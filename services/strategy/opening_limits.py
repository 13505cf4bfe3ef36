"""Whether risk can grant the time that a strategy's opening may take by what its file says."""

from __future__ import annotations

from collections.abc import Iterable

from shared.messages.base import Side
from shared.messages.trades import ExecutionParams
from shared.strategy.config import StrategyConfig
from shared.strategy.legs import AnyLeg, LegSpec
from shared.strategy.opening_time import LegKind, longest_opening_s

_FIELDS = {
    "limit": "the durations of its phases, reprice_interval_s or fill_timeout_s x max_requote_rounds",
    "smart": "chunk_count, time_per_chunk, aggressive_attempts or total_duration_seconds of smart_config",
    "rfq": "timeout_seconds of rfq or what its fallback_mode takes",
}
_UNKNOWN_LEGS: list[tuple[Side, LegKind]] = [("buy", "C"), ("sell", "C")]
"""What a `legs_factory` will return is not known: most structures buy and sell."""


def opening_problem(config: StrategyConfig, params: ExecutionParams, granted_s: float) -> str:
    """Why its trades cannot be opened whole: the opening, and the close before it where it rolls, may take longer
    than the `granted_s` that risk grants at most, and would then be undone in its midst; "" when they can.

    params: those of its limit plan. What is never undone (policy best_effort, but for a roll) may be cut short.
    """
    mode = config.execution_mode
    legs = _kinds(config.legs) or _UNKNOWN_LEGS
    ways = [(legs, 0.0)] if config.policy == "atomic" else []
    if config.roll is not None:
        ways.append((_kinds(config.roll.legs) or legs, config.roll.within_seconds))
    most_s = max(
        (
            closing_s + longest_opening_s(mode, each, params, config.smart_params, config.rfq_params)
            for each, closing_s in ways
        ),
        default=0.0,
    )
    if most_s <= granted_s:
        return ""
    fields = _FIELDS.get(mode) or "; ".join(_FIELDS.values())
    return (
        f"{config.name} may take {most_s:,.0f} s to open with execution_mode {mode!r}, and risk grants "
        f"{granted_s:,.0f} s at most, after which the trade would be undone half opened: lower {fields}, or raise "
        "[risk] grant_ttl_max_ms"
    )


def _kinds(legs: Iterable[AnyLeg]) -> list[tuple[Side, LegKind]]:
    return [(leg.order_side, leg.option_type if isinstance(leg, LegSpec) else "linear") for leg in legs]

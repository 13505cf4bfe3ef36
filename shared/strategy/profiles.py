"""Execution profiles: named parameters of the limit plan in voldesk.toml, and what a strategy changes of them.

A profile is resolved once, when a strategy is loaded. What travels to risk's grant and to execution are concrete
parameters, so that a trade keeps the ones it was opened with when the file changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.ids import MAX_ATTEMPTS
from shared.messages.trades import ExecutionParams, LimitPhase, Pricing

_FIGURE_MAX = 1e9
Seconds = Annotated[float, Meta(ge=0, le=_FIGURE_MAX)]
_PHASE_FIGURES: dict[str, tuple[float, float]] = {
    "duration_s": (0, _FIGURE_MAX),
    "reprice_interval_s": (1, _FIGURE_MAX),
    "buffer_pct": (0, 100),
    "fair_aggression": (0, 1),
}
_FIGURES: dict[str, tuple[float, float]] = {
    "max_requote_rounds": (1, MAX_ATTEMPTS // 2),
    "max_close_premium_pct": (0, _FIGURE_MAX),
    "final_look_s": (0, _FIGURE_MAX),
    "min_price_pct_of_fair": (0, 1_000),
    "max_unwind_cost_usd": (0, _FIGURE_MAX),
    "max_unwind_s": (1, _FIGURE_MAX),
    "min_floor_price_usd": (0, _FIGURE_MAX),
}
PHASE_FIELDS: tuple[str, ...] = LimitPhase.__struct_fields__
PARAMS_FIELDS: tuple[str, ...] = tuple(name for name in ExecutionParams.__struct_fields__ if name != "profile")


def params_problem(params: ExecutionParams) -> str:
    """What is wrong with these parameters, the field named; "" when nothing is."""
    if not params.phases:
        return "phases is empty: give at least one phase"
    if not 0 < params.fill_timeout_s <= _FIGURE_MAX:
        return f"fill_timeout_s {params.fill_timeout_s:g} must be above 0, to {_FIGURE_MAX:g}"
    for number, phase in enumerate(params.phases):
        problem = phase_problem(phase)
        if problem:
            return f"phases[{number}].{problem}"
    return _figures_problem(params, _FIGURES)


def phase_problem(phase: LimitPhase) -> str:
    """What is wrong with one phase, the field named; "" when nothing is."""
    return _figures_problem(phase, _PHASE_FIGURES)


def _figures_problem(struct: msgspec.Struct, bounds: Mapping[str, tuple[float, float]]) -> str:
    for name, (low, high) in bounds.items():
        figure = getattr(struct, name)
        # written so that NaN fails too
        if figure is not None and not low <= figure <= high:
            return f"{name} {figure:g} must be {low:g} to {high:g}"
    return ""


class ProfilePhase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One phase; they follow one another, and the last is repeated.

    pricing: where the price is put: aggressive = mid moved buffer_pct per cent towards the other side; mid; passive,
    top_of_book = the own side's best; mark; fair = mark inside the spread, else mid, else the one side that is there.
    duration_s: how long the phase lasts. reprice_interval_s: how long one price rests before it is moved.
    buffer_pct: how far past mid aggressive pricing goes, in per cent.
    fair_aggression: how far from fair towards the other side fair pricing goes, 0 = fair, 1 = the other side's best.
    """

    pricing: Pricing = "aggressive"
    duration_s: Seconds = 30.0
    reprice_interval_s: Annotated[float, Meta(ge=1, le=_FIGURE_MAX)] = 10.0
    buffer_pct: Annotated[float, Meta(ge=0, le=100)] = 2.0
    fair_aggression: Annotated[float, Meta(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        problem = phase_problem(self.phase())
        if problem:
            raise ValueError(problem)

    def phase(self) -> LimitPhase:
        """The phase as it travels with a trade."""
        return LimitPhase(**msgspec.structs.asdict(self))


class ExecutionProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the limit plan under a name, which a strategy gives as `execution_profile`.

    fill_timeout_s: times the rounds it bounds how long a leg is worked.
    max_requote_rounds: how many prices are shown for a leg at most.
    max_close_premium_pct: how far past mark a close may cross, in per cent of mark.
    final_look_s: how long a late fill is waited for before an opening gives up.
    min_price_pct_of_fair: an opening sale asks for at least this share of the fair price, in per cent.
    min_floor_price_usd: and for at least this price per unit; both bind whatever a phase says.
    max_unwind_cost_usd: what undoing a failed opening may cost, before fees; past it the trade is broken and waits.
    max_unwind_s: how long that may take until the trade is broken; by default [execution] close_patience_ms.
    scale_to_filled: when a leg ends with a part of it filled, the others are scaled to that ratio, in lots.
    requote_by: replace = an order is cancelled, and the next one sent when it is seen to be gone; amend = it is moved
    where it is, and replaced once an amendment was in vain. By default replaced: that an amended order stays
    reduce-only was not seen on the live venue yet.
    """

    phases: tuple[ProfilePhase, ...] = (ProfilePhase(),)
    fill_timeout_s: Annotated[float, Meta(gt=0, le=_FIGURE_MAX)] = 30.0
    max_requote_rounds: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS // 2)] = 10
    max_close_premium_pct: Annotated[float, Meta(ge=0, le=_FIGURE_MAX)] = 25.0
    final_look_s: Seconds = 2.0
    min_price_pct_of_fair: Annotated[float, Meta(ge=0, le=1_000)] | None = None
    min_floor_price_usd: Decimal | None = None
    max_unwind_cost_usd: Annotated[float, Meta(ge=0, le=_FIGURE_MAX)] | None = None
    max_unwind_s: Annotated[float, Meta(ge=1, le=_FIGURE_MAX)] | None = None
    scale_to_filled: bool = False
    requote_by: Literal["replace", "amend"] = "replace"

    def __post_init__(self) -> None:
        problem = params_problem(self.params(""))
        if problem:
            raise ValueError(problem)

    def params(self, name: str) -> ExecutionParams:
        """The profile as it travels with a trade."""
        fields = {field: getattr(self, field) for field in PARAMS_FIELDS}
        return ExecutionParams(**fields | {"phases": tuple(phase.phase() for phase in self.phases), "profile": name})


def changed(params: ExecutionParams, fields: Mapping[str, Any]) -> ExecutionParams:
    """The parameters with single fields changed; a field of a phase is changed in every phase.

    Raises ValueError naming the field and what is allowed.
    """
    for name in fields:
        if name not in PARAMS_FIELDS and name not in PHASE_FIELDS:
            raise ValueError(f"{name!r} is no field: use one of {', '.join((*PARAMS_FIELDS, *PHASE_FIELDS))}")
    merged = {name: fields.get(name, getattr(params, name)) for name in PARAMS_FIELDS}
    of_phases = {name: value for name, value in fields.items() if name in PHASE_FIELDS}
    if isinstance(merged["phases"], list | tuple):
        merged["phases"] = [_phase_fields(phase, of_phases) for phase in merged["phases"]]
    try:
        return msgspec.convert(merged, ExecutionProfile).params(params.profile)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("`$.", "`")) from None


def _phase_fields(phase: Any, of_phases: Mapping[str, Any]) -> Any:
    """A phase, given as a struct or as a mapping, with these fields changed; anything else is left to be refused."""
    if isinstance(phase, LimitPhase):
        phase = msgspec.structs.asdict(phase)
    return {**phase, **of_phases} if isinstance(phase, Mapping) else phase

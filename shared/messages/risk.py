"""What the guard shows: every limit with its use, breakers, the margin guard, and the stress grid."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.messages.base import Message
from shared.messages.trades import LegOrder

LimitScope = Literal["account", "underlying", "expiry", "option", "strategy", "trade", "order"]
BreakerState = Literal["closed", "open", "half_open"]
MarginLevel = Literal["normal", "warn", "no_new_trades", "reduce", "flatten"]


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """One limit and how much of it is used.

    name: the code with which a grant is refused when it is passed. scope, subject: what it holds for, such as
    ("strategy", "condor"); subject is "" for the account, and for scopes "trade" and "order", which look at one
    request at a time. unit: USD, %, coins, trades, orders, orders/min, grants/min, losses. value: in that unit, None
    while it is not known or where only a request has one.
    """

    name: str
    scope: LimitScope
    subject: str
    value: float | None
    limit: float
    unit: str

    @property
    def use_pct(self) -> float | None:
        """Value / limit × 100, None without a value; a limit of 0 is used in full by anything above 0."""
        if self.value is None:
            return None
        if self.limit <= 0:
            return 0.0 if self.value <= 0 else float("inf")
        return self.value / self.limit * 100


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One circuit breaker. `open` refuses every grant of its subject, `half_open` lets `probes` trades through.

    name: the code of the refusal. subject: a strategy, "" for the whole account. value, limit, unit: what is
    measured and where it opens; value None while too little was seen. half_open_ns: when an open one lets the first
    trade through, None when it is not open or only a person or the figure itself ends it. halts: it also raises a
    halt at execution, which `voldesk resume` lifts.
    """

    name: str
    subject: str
    state: BreakerState
    since_ns: int
    reason: str
    value: float | None
    limit: float
    unit: str
    half_open_ns: int | None = None
    halts: bool = False


class MarginGuard(msgspec.Struct, frozen=True, kw_only=True):
    """How near the account is to liquidation, and what the guard does about it.

    utilisation_pct: maintenance margin / equity × 100, None before the account was read; the venue liquidates at 100.
    thresholds_pct: where each level begins. level: in force since `since_ns`; `warn` tells, `no_new_trades` refuses
    grants, `reduce` closes one trade after the other, `flatten` halts at that level. acts_up_to: the highest level
    at which it acts; above it only tells. planned: what it will do at `planned_ns`, "" for nothing. next_step: what
    it would do at the next level, shown before it does it.
    """

    utilisation_pct: float | None
    level: MarginLevel
    since_ns: int
    thresholds_pct: dict[str, float]
    acts_up_to: MarginLevel
    planned: str = ""
    planned_ns: int | None = None
    next_step: str = ""


class MarginModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a model of ours says of the positions held, beside the venue's own figure (docs/risk.md).

    error_pct: (model − venue) / venue × 100, None where one of them is missing or the venue's is 0.
    """

    model: Literal["standard", "portfolio"]
    figure: Literal["initial", "maintenance"]
    model_usd: float | None
    venue_usd: float
    error_pct: float | None


class RiskLimits(Message, frozen=True, kw_only=True, tag="risk_limits.1"):
    """All limits of one account with their use, nearest first, as of the account read at `received_ns`.

    Published after each read of the account. `grants_refused`: why no grant at all can be given now, "" when one can.
    """

    account_id: str
    received_ns: int
    limits: tuple[LimitUse, ...]
    breakers: tuple[BreakerStatus, ...] = ()
    margin_guard: MarginGuard | None = None
    margin_models: tuple[MarginModel, ...] = ()
    grants_refused: str = ""

    @property
    def key(self) -> str:
        return self.account_id


class UnderlyingStress(msgspec.Struct, frozen=True, kw_only=True):
    """The grid of one underlying. `pnl_usd` has a row per volatility move and a column per spot move."""

    underlying: str
    pnl_usd: tuple[tuple[float, ...], ...]
    worst_usd: float
    worst_spot_pct: float
    worst_vol_pct: float


class PositionStress(msgspec.Struct, frozen=True, kw_only=True):
    """What one position makes in the worst scenario of its underlying, USD."""

    symbol: str
    underlying: str
    pnl_usd: float


class StressGrid(Message, frozen=True, kw_only=True, tag="stress_grid.1"):
    """What the positions held would make if spot and volatility moved at once, `days` from now, USD, loss < 0.

    spot_pct: moves of the forwards in per cent. vol_pct: moves of the implied volatilities, relative: 25 turns 40 %
    into 50 %. pnl_usd: Σ over underlyings that all make the same move, a row per volatility move and a column per
    spot move. stressed_loss_usd: the sum over underlyings of the worst of each, as a loss ≥ 0: what the limit is
    on. complete: False when a position has no volatility now; it is left out of every figure.
    """

    account_id: str
    received_ns: int
    days: float
    spot_pct: tuple[float, ...]
    vol_pct: tuple[float, ...]
    pnl_usd: tuple[tuple[float, ...], ...]
    underlyings: tuple[UnderlyingStress, ...]
    positions: tuple[PositionStress, ...]
    stressed_loss_usd: float
    limit_usd: float
    complete: bool

    @property
    def key(self) -> str:
        return self.account_id


class GetRisk(Message, frozen=True, kw_only=True, tag="get_risk.1"):
    """Ask risk for the newest limits and stress grid."""


class RiskAnswer(Message, frozen=True, kw_only=True, tag="risk_answer.1"):
    """Both are None before the account was read."""

    limits: RiskLimits | None
    stress: StressGrid | None


class WhatIf(Message, frozen=True, kw_only=True, tag="what_if.1"):
    """Ask risk whether it would grant this structure now. Nothing is granted or reserved."""

    account_id: str
    strategy: str
    legs: tuple[LegOrder, ...]
    max_loss_usd: float | None = None


class WhatIfRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """One check that would say no, as in `GrantRefused`."""

    code: str
    detail: str
    value: float | None = None
    limit: float | None = None


class MarginEffect(msgspec.Struct, frozen=True, kw_only=True):
    """Initial margin of the account by one model, before and after the structure, USD."""

    model: Literal["standard", "portfolio"]
    before_usd: float
    after_usd: float


class WhatIfAnswer(Message, frozen=True, kw_only=True, tag="what_if_answer.1"):
    """refusals: of every check that can be judged; none: it would be granted. The figures are None where a refusal
    says that they are not known.

    margin_usd: what it would use at worst, by the standard model. max_loss_usd: by its structure or as declared, None
    without a bound. margins: of the positions held, without and with it. limits_before, limits_after: all limits with
    their use, outstanding grants included.
    """

    refusals: tuple[WhatIfRefusal, ...]
    margin_usd: float | None = None
    available_margin_usd: float | None = None
    max_loss_usd: float | None = None
    margins: tuple[MarginEffect, ...] = ()
    limits_before: tuple[LimitUse, ...] = ()
    limits_after: tuple[LimitUse, ...] = ()


class ResetBreaker(Message, frozen=True, kw_only=True, tag="reset_breaker.1"):
    """Close the breaker `name` of `subject`, "" for that of the account, "*" for all of that name. Only for the
    operator; answered with all breakers, a name that none has with a refusal."""

    name: str
    subject: str
    requested_by: str


class BreakersReset(Message, frozen=True, kw_only=True, tag="breakers_reset.1"):
    breakers: tuple[BreakerStatus, ...]

"""What the guard shows: each limit with its use, why nothing can be granted now, and the stress grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.risk.breaches import measures
from services.risk.checks import GATES, SHOWN, STANDING, first_violation
from services.risk.config import RiskConfig
from services.risk.halting import Halting
from services.risk.limits import uses
from services.risk.margin_models import beside_the_venue
from services.risk.rows import BreakerMoved
from services.risk.situation import Situation
from services.risk.stress import F8, Stress, stressed_loss
from shared.messages.account import AccountSnapshot
from shared.messages.control import RequestGrant
from shared.messages.risk import BreakerStatus, MarginGuard, PositionStress, RiskLimits, StressGrid, UnderlyingStress
from shared.messages.steps import RaiseAlert


def nothing_asked(account_id: str, now_ns: int) -> RequestGrant:
    """A request without legs: the situation that it is judged in is how things are."""
    return RequestGrant(
        intent_id="",
        account_id=account_id,
        strategy="",
        legs=(),
        execution_mode="limit",
        max_loss_usd=None,
        valid_until_ns=now_ns + 1,
    )


def limits_of(now: Situation, breakers: tuple[BreakerStatus, ...], guard: MarginGuard) -> RiskLimits:
    """All limits with their use, given a situation in which nothing is asked and the account is known."""
    refused = first_violation(now, GATES) or first_violation(now, STANDING)
    return RiskLimits(
        account_id=now.account_id,
        received_ns=now.known_account.received_ns,
        limits=uses(now, SHOWN) if now.equity_usd > 0 else (),
        breakers=breakers,
        margin_guard=guard,
        margin_models=beside_the_venue(now.config, now.market, now.known_account, now.now_ns),
        grants_refused="" if refused is None else f"{refused.code}: {refused.detail}",
    )


def halting_breakers(now: Situation, halting: Halting) -> Iterator[BreakerStatus]:
    """Drawdown and daily loss as breakers: they halt, and close by themselves without a trial."""
    for measure in measures(now.config, now.known_account.equity_usd, now.peak_equity_usd, now.day_start_equity_usd):
        since_ns = halting.since_ns(measure.code)
        yield BreakerStatus(
            name=measure.code,
            subject="",
            state="closed" if since_ns is None else "open",
            since_ns=since_ns or 0,
            reason="" if since_ns is None else measure.detail,
            value=measure.value,
            limit=measure.limit,
            unit="%",
            halts=True,
        )


def breaker_alert(row: BreakerMoved, account_id: str) -> RaiseAlert | None:
    """Told when it opens and when it closes; None in between."""
    if row.state == "half_open":
        return None
    closed = row.state == "closed"
    return RaiseAlert(
        code="breaker_open",
        severity="info" if closed else "critical",
        subject=f"{row.name}/{row.subject or account_id}",
        text=f"{row.name}: {row.reason}" if closed else f"{row.name}, no new trades: {row.reason}",
        resolved=closed,
    )


def stress_of(config: RiskConfig, stress: Stress, account: AccountSnapshot) -> StressGrid:
    """The positions held, as everybody may see them; the position that loses most first."""
    total = sum(stress.grids.values(), start=np.zeros(stress.scenarios.shape))
    underlyings = tuple(_of_underlying(config, underlying, grid) for underlying, grid in sorted(stress.grids.items()))
    worst_at = {underlying: np.unravel_index(grid.argmin(), grid.shape) for underlying, grid in stress.grids.items()}
    positions = sorted(
        (
            PositionStress(symbol=symbol, underlying=underlying, pnl_usd=float(grid[worst_at[underlying]]))
            for symbol, (underlying, grid) in stress.positions.items()
        ),
        key=lambda position: position.pnl_usd,
    )
    return StressGrid(
        account_id=account.account_id,
        received_ns=account.received_ns,
        days=config.stress_days,
        spot_pct=config.stress_spot_pct,
        vol_pct=config.stress_vol_pct,
        pnl_usd=_rows(total),
        underlyings=underlyings,
        positions=tuple(positions),
        stressed_loss_usd=stressed_loss(stress.grids.values()),
        limit_usd=max(config.max_stressed_loss_pct / 100 * float(account.equity_usd), 0.0),
        complete=stress.complete,
    )


def _of_underlying(config: RiskConfig, underlying: str, grid: F8) -> UnderlyingStress:
    row, column = divmod(int(grid.argmin()), grid.shape[1])
    return UnderlyingStress(
        underlying=underlying,
        pnl_usd=_rows(grid),
        worst_usd=float(grid[row, column]),
        worst_spot_pct=config.stress_spot_pct[column],
        worst_vol_pct=config.stress_vol_pct[row],
    )


def _rows(grid: F8) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.round(grid, 2).tolist()))

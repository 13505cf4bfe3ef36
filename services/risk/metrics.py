"""What risk measures beside what every service does: the account, its Greeks, and broken limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from services.risk.breaches import daily_loss_pct, drawdown_pct
from services.risk.core import RiskCore
from services.risk.rows import BreachFound
from services.risk.states import MARGIN_LEVELS
from shared.messages.account import AccountSnapshot
from shared.messages.risk import RiskLimits, StressGrid
from shared.messages.steps import Entry, Publish
from shared.metrics import Metrics

_GREEKS = (
    ("delta", "voldesk_delta_coins", "Delta of all positions, in coins of the underlying"),
    (
        "gamma",
        "voldesk_gamma_coins_per_usd",
        "Gamma of all positions: change of delta when the underlying moves 1 USD",
    ),
    ("vega", "voldesk_vega_usd", "Vega of all positions, per volatility point"),
    ("theta", "voldesk_theta_usd_per_day", "Theta of all positions"),
)


_BREAKER_LEVELS = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
_BOUNDED_SCOPES = ("account", "underlying", "strategy")
"""Those whose subjects are few and stand in the configuration."""


class RiskMetrics:
    """An observer of the host, and of its core."""

    def __init__(self, metrics: Metrics, underlyings: Sequence[str], core: Callable[[], RiskCore]) -> None:
        self._underlyings = underlyings
        self._core = core
        self._account: AccountSnapshot | None = None
        gauge = metrics.gauge
        self._figures = {
            "equity": gauge("voldesk_equity_usd", "Equity of the account"),
            "peak": gauge("voldesk_peak_equity_usd", "Highest equity so far, moved by transfers"),
            "available": gauge("voldesk_available_margin_usd", "Margin that is free"),
            "initial": gauge("voldesk_initial_margin_usd", "Initial margin in use"),
            "maintenance": gauge("voldesk_maintenance_margin_usd", "Maintenance margin"),
            "unrealized": gauge("voldesk_unrealized_pnl_usd", "Unrealised P&L of all positions, as the venue says"),
            "utilisation": gauge("voldesk_margin_utilisation_ratio", "Initial margin / equity; NaN without equity"),
            "drawdown": gauge("voldesk_drawdown_ratio", "Fall of the equity from its peak / peak"),
            "daily_loss": gauge("voldesk_daily_loss_ratio", "Fall of the equity since 00:00 UTC / equity then"),
            "positions": gauge("voldesk_positions", "Options held, long or short"),
            "grants": gauge("voldesk_grants_outstanding", "Grants that reserve room now"),
            "granted": gauge("voldesk_grants_outstanding_margin_usd", "Margin reserved for them"),
            "complete": gauge("voldesk_greeks_complete", "1 when the Greeks of every position are known, else 0"),
            "received": gauge("voldesk_account_timestamp_seconds", "UTC at which the account was read last"),
        }
        self._greeks = {
            name: metrics.table(
                family, f"{text}; source own, and where it tells it beside it source venue", "underlying", "source"
            )
            for name, family, text in _GREEKS
        }
        self._limits = metrics.table(
            "voldesk_limit_use_ratio",
            "Use of a limit / limit; those that only a request has a use of are left out",
            "limit",
            "scope",
            "subject",
        )
        self._models = metrics.table(
            "voldesk_margin_model_error_ratio",
            "(Margin of the positions by our model − the venue's) / the venue's; without a value where that is 0",
            "model",
            "figure",
        )
        self._breaker_states = metrics.table(
            "voldesk_breaker_state", "0 closed, 1 half open, 2 open; subject is a strategy", "breaker", "subject"
        )
        self._guard_level = gauge(
            "voldesk_margin_guard_level", "0 normal, 1 warn, 2 no new trades, 3 reduce, 4 flatten"
        )
        self._stressed = gauge(
            "voldesk_stressed_loss_usd", "Loss of the positions in the worst scenarios, summed over underlyings"
        )
        self._breaches = metrics.counters(
            "voldesk_limit_breaches_total", "Limits of the account that were broken, by which", "limit"
        )
        metrics.read(
            "gauge",
            "voldesk_limit_broken",
            "1 while the limit is broken",
            ("limit",),
            lambda: dict.fromkeys(core().broken_limits, 1.0),
        )

    hears = frozenset[type]({AccountSnapshot, RiskLimits, StressGrid})

    def committed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            match entry.row:
                case BreachFound(code=code):
                    self._breaches(code).inc()

    def performed(self, effect: Any, cause_id: str) -> None:
        match effect:
            case Publish(message=AccountSnapshot() as account):
                self._account = account
                self._show(account)
            case Publish(message=RiskLimits() as risk):
                self._limits.show(
                    {
                        (limit.name, limit.scope, limit.subject if limit.scope in _BOUNDED_SCOPES else ""): (
                            limit.use_pct / 100
                        )
                        # the one nearest to its limit stands for all whose subjects come and go
                        for limit in reversed(risk.limits)
                        if limit.use_pct is not None
                    }
                )
                self._breaker_states.show(
                    {(each.name, each.subject): _BREAKER_LEVELS[each.state] for each in risk.breakers}
                )
                if risk.margin_guard is not None:
                    self._guard_level.set(MARGIN_LEVELS.index(risk.margin_guard.level))
                self._models.show(
                    {
                        (each.model, each.figure): each.error_pct / 100
                        for each in risk.margin_models
                        if each.error_pct is not None
                    }
                )
            case Publish(message=StressGrid() as stress):
                self._stressed.set(stress.stressed_loss_usd if stress.complete else math.nan)

    def words(self) -> dict[str, object]:
        """For the health line."""
        if self._account is None:
            return {"equity_usd": None}
        return {
            "equity_usd": str(self._account.equity_usd),
            "positions": len(self._account.positions),
            "grants": self._account.outstanding_grants,
            "limits_broken": len(self._core().broken_limits),
        }

    def _show(self, account: AccountSnapshot) -> None:
        equity, initial = float(account.equity_usd), float(account.initial_margin_usd)
        values = {
            "equity": equity,
            "peak": float(account.peak_equity_usd),
            "available": float(account.available_margin_usd),
            "initial": initial,
            "maintenance": float(account.maintenance_margin_usd),
            "unrealized": float(account.unrealized_pnl_usd),
            "utilisation": initial / equity if equity > 0 else math.nan,
            "drawdown": drawdown_pct(account.equity_usd, account.peak_equity_usd) / 100,
            "daily_loss": daily_loss_pct(account.equity_usd, self._core().day_start_equity_usd) / 100,
            "positions": len(account.positions),
            "grants": account.outstanding_grants,
            "granted": account.outstanding_margin_usd,
            "complete": account.greeks_complete,
            "received": account.received_ns / 1e9,
        }
        for name, value in values.items():
            self._figures[name].set(value)
        for name, table in self._greeks.items():
            own = {(underlying, "own"): 0.0 for underlying in self._underlyings}
            own |= {(underlying, "own"): getattr(sums, name) for underlying, sums in account.greeks.items()}
            table.show(own | (_venue_deltas(account) if name == "delta" else {}))


def _venue_deltas(account: AccountSnapshot) -> dict[tuple[str, str], float]:
    """The venue's own deltas of the positions for which it tells one, summed by underlying, never with ours."""
    sums: dict[tuple[str, str], float] = {}
    for position in account.positions:
        if position.venue_delta is not None:
            key = (position.underlying, "venue")
            sums[key] = sums.get(key, 0.0) + position.venue_delta
    return sums

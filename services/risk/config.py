"""The configuration of risk: the `[risk]` section of voldesk.toml."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

import msgspec

from shared.messages.grants import GRANT_TTL_MAX_MS, GRANT_TTL_MS
from shared.messages.risk import MarginLevel
from shared.messages.trades import HaltLevel

Positive = Annotated[float, msgspec.Meta(gt=0)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Moves = Annotated[
    tuple[Annotated[float, msgspec.Meta(gt=-100, le=1_000)], ...], msgspec.Meta(min_length=1, max_length=64)
]
Count = Annotated[int, msgspec.Meta(ge=1)]


class UnderlyingLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one underlying; what is not given is not limited by itself.

    max_delta_usd: |delta| × index after the trade. max_gamma_usd: |gamma| × index² / 100. max_vega_usd: |vega|, USD
    per volatility point. max_theta_usd: |theta|, USD per day. max_notional_pct: Σ |quantity| × index / equity.
    """

    max_delta_usd: Positive | None = None
    max_gamma_usd: Positive | None = None
    max_vega_usd: Positive | None = None
    max_theta_usd: Positive | None = None
    max_notional_pct: Positive | None = None


class StrategyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one strategy; what is not given is not limited by itself.

    max_trade_risk_pct, max_total_risk_pct, max_open_trades, max_order_notional_usd, max_grants_per_minute,
    max_consecutive_losses: as those of the account, of this strategy alone.
    """

    max_trade_risk_pct: Percent | None = None
    max_total_risk_pct: Percent | None = None
    max_open_trades: Count | None = None
    max_order_notional_usd: Positive | None = None
    max_grants_per_minute: Count | None = None
    max_consecutive_losses: Count | None = None


class RiskConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and periods of the guard. The defaults in USD and coins suit an account of 100,000 USD, as the paper
    account is; docs/risk.md has the formulas.

    poll_interval_ms: how often account and positions are read; the venue allows two account reads a second.
    account_age_max_ms: older than this the account is stale and no grant is given.
    account_lag_ms: a fill may be missing from an account that was asked for so soon after it; until then the
    reservation goes on counting.
    market_age_max_ms: a chain whose oldest part was received longer ago is stale: no grant, no Greeks from it.
    grant_ttl_ms: how long execution may work under a grant at least.
    grant_ttl_max_ms: how long at most, where the opening may take longer by its own phases, chunks and time-outs. A
    strategy file whose atomic opening may take longer still is not loaded.
    grant_release_delay_ms: an unused grant counts this much longer than its deadline, so that the news of a trade
    accepted at the last moment can arrive.
    max_legs: legs of one structure.
    max_order_quantity: largest quantity of one leg, in base coin.
    max_order_notional_usd: largest Σ strike × quantity of one structure, of a future mark × quantity.
    min_time_to_last_trade_ms: no grant for an option that stops trading sooner.
    collar_pct, collar_index_pct, collar_ticks: a leg may trade as far past mark as the largest of this share of the
    mark, this share of the index, and this many ticks. futures_collar_pct: a future or spot as far as this share of
    its mark, or collar_ticks; spot, whose mark is the middle of its book, at most twice as far above the index.
    max_position_quantity: most that may be long, and most that may be short, of one option after the trade, in base
    coin; what is held on the other side makes no room.
    max_delta_usd: Σ over underlyings of |delta| × index after the trade.
    max_gamma_usd: Σ of |gamma| × index² / 100 (the change of delta_usd when the index moves 1 %) after the trade.
    max_vega_usd: Σ of |vega| (USD per volatility point) after the trade.
    max_theta_usd: Σ of |theta| (USD per day) after the trade.
    max_underlying_notional_pct: Σ |quantity| × index over the options of one underlying after the trade / equity.
    max_expiry_notional_pct: the same over the options of one expiry: what one settlement can meet.
    max_stressed_loss_pct: Σ over underlyings of the loss in the worst scenario of each, after the trade / equity.
    stress_spot_pct: moves of spot of the scenarios, in per cent. stress_vol_pct: moves of the implied volatilities,
    relative, in per cent. stress_days: how long after now the scenarios are.
    max_margin_utilisation_pct: (initial margin + outstanding + trade) / equity × 100 at most.
    max_trade_risk_pct: what one trade puts at risk as a share of equity: the largest loss of its structure, else the
    maximum loss it declares, else the margin that it ties up.
    max_total_risk_pct: the same, summed over open trades and grants not yet used.
    allow_unbounded_loss: grant structures whose loss has no bound and that declare no maximum loss.
    max_open_trades: trades not final, plus grants not yet used; hedges are not among them.
    max_open_orders: orders of the account that are not final; above it no further trade is begun.
    max_orders_per_minute: orders that execution sent within 60 s; above it no further trade is begun.
    max_drawdown_pct: fall of equity from its peak at which trading is halted.
    max_daily_loss_pct: fall of equity since 00:00 UTC at which trading is halted. Deposits and withdrawals move peak
    and start of the day.
    max_consecutive_losses: so many trades in a row that ended with a loss open the breaker.
    max_slippage_pct, slippage_openings: what the newest openings cost more than was expected of them, summed, in per
    cent of equity, above which the breaker opens.
    max_rejection_pct, rejection_orders_min: share of refused orders among those that ended within 10 minutes, of at
    least so many, above which the breaker opens.
    max_venue_errors_per_minute: failed reads of the account and orders of unknown outcome that open the breaker.
    breaker_pause_s: how long the breakers of losses and slippage stay open before one trade is tried.
    breaker_short_pause_s: the same of those of rejections and venue errors.
    margin_warn_pct, margin_no_new_trades_pct, margin_reduce_pct, margin_flatten_pct: maintenance margin / equity from
    which the margin guard tells, grants nothing, closes one trade after the other, and flattens.
    margin_hysteresis_pct: so far below its threshold, in points of per cent, a level ends; below margin_warn_pct.
    margin_notice_s: what the guard will do is shown so long before it does it.
    margin_acts_up_to: the highest level at which it acts; beyond it only tells.
    breach_polls: so many account reads in a row must show a breach before it halts, against one wrong figure.
    breach_halt_level: what a breach raises at execution.
    halt_retry_ms: pause before an unanswered halt is asked for again.
    max_grants_per_minute: grants of any strategy within 60 s.
    short_margin_fraction, short_margin_floor_fraction, short_maintenance_fraction: standard margin of a short option,
    see margin.py.
    futures_initial_fraction, futures_maintenance_fraction: margin of a perpetual or dated future as a fraction of
    quantity times index; the first is one over the leverage, and never less than one over the lowest in
    [execution.leverage].
    portfolio_scan_pct, portfolio_vol_pct, portfolio_short_fraction, portfolio_maintenance_fraction: the model of
    portfolio margin, see margin_models.py.
    fee_rate, fee_cap_fraction: trading fee = min(rate × index, cap × price) × quantity, counted as used margin.
    futures_fee_rate, spot_fee_rate: trading fee of a future and of spot as a fraction of price × quantity, as taker.
    price_limit_up_fraction, price_limit_down_fraction: the venue's price band, see `venue_price_band` in margin.py.
    underlyings: `[risk.underlyings.BTCUSD]`: limits of one underlying, beside those of the account.
    strategies: `[risk.strategies.NAME]`: limits of one strategy, beside those of the account.
    rate_budget_share: share of those per-user rate limits of the venue that several services use; with the shares of
    the other two at most 1.
    """

    poll_interval_ms: Annotated[int, msgspec.Meta(ge=500, le=60_000)] = 2_000
    account_age_max_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 10_000
    account_lag_ms: Annotated[int, msgspec.Meta(ge=0)] = 500
    market_age_max_ms: Annotated[int, msgspec.Meta(ge=500)] = 5_000
    grant_ttl_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)] = GRANT_TTL_MS
    grant_ttl_max_ms: Annotated[int, msgspec.Meta(ge=1_000, le=21_600_000)] = GRANT_TTL_MAX_MS
    grant_release_delay_ms: Annotated[int, msgspec.Meta(ge=0)] = 5_000
    max_legs: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8
    max_order_quantity: Decimal = Decimal(50)
    max_order_notional_usd: Positive = 2_000_000.0
    min_time_to_last_trade_ms: Annotated[int, msgspec.Meta(ge=0)] = 120_000
    collar_pct: Percent = 20.0
    collar_index_pct: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.1
    futures_collar_pct: Annotated[float, msgspec.Meta(gt=0, le=4)] = 0.5
    collar_ticks: Annotated[int, msgspec.Meta(ge=0)] = 5
    max_position_quantity: Decimal = Decimal(100)
    max_delta_usd: Positive = 100_000.0
    max_gamma_usd: Positive = 10_000.0
    max_vega_usd: Positive = 2_000.0
    max_theta_usd: Positive = 1_000.0
    max_underlying_notional_pct: Positive = 500.0
    max_expiry_notional_pct: Positive = 300.0
    max_stressed_loss_pct: Positive = 30.0
    stress_spot_pct: Moves = (
        *(-30.0, -25.0, -20.0, -15.0, -10.0, -5.0, -2.5, 0.0),
        *(2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0),
    )
    stress_vol_pct: Moves = (-25.0, 0.0, 25.0, 50.0)
    stress_days: Annotated[float, msgspec.Meta(ge=0, le=30)] = 1.0
    max_margin_utilisation_pct: Percent = 80.0
    max_trade_risk_pct: Percent = 2.0
    max_total_risk_pct: Percent = 20.0
    allow_unbounded_loss: bool = True
    max_open_trades: Count = 5
    max_open_orders: Count = 200
    max_orders_per_minute: Count = 600
    max_drawdown_pct: Percent = 25.0
    max_daily_loss_pct: Percent = 15.0
    max_consecutive_losses: Count = 6
    max_slippage_pct: Positive = 0.5
    slippage_openings: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    max_rejection_pct: Percent = 50.0
    rejection_orders_min: Annotated[int, msgspec.Meta(ge=1, le=200)] = 10
    max_venue_errors_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 10
    breaker_pause_s: Count = 3_600
    breaker_short_pause_s: Count = 120
    margin_warn_pct: Percent = 50.0
    margin_no_new_trades_pct: Percent = 65.0
    margin_reduce_pct: Percent = 80.0
    margin_flatten_pct: Percent = 90.0
    margin_hysteresis_pct: Annotated[float, msgspec.Meta(ge=0, le=50)] = 5.0
    margin_notice_s: Annotated[int, msgspec.Meta(ge=0, le=3_600)] = 15
    margin_acts_up_to: MarginLevel = "flatten"
    breach_polls: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    breach_halt_level: HaltLevel = "no_new_trades"
    halt_retry_ms: Annotated[int, msgspec.Meta(ge=100)] = 1_000
    max_grants_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 60
    short_margin_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.15
    short_margin_floor_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.10
    short_maintenance_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.075
    futures_initial_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    futures_maintenance_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    portfolio_scan_pct: Annotated[float, msgspec.Meta(gt=0, lt=100)] = 15.0
    portfolio_vol_pct: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 30.0
    portfolio_short_fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    portfolio_maintenance_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    fee_rate: Annotated[float, msgspec.Meta(ge=0, le=0.01)] = 0.0004
    futures_fee_rate: Annotated[float, msgspec.Meta(ge=0, le=0.01)] = 0.0006
    spot_fee_rate: Annotated[float, msgspec.Meta(ge=0, le=0.01)] = 0.001
    fee_cap_fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.125
    price_limit_up_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    price_limit_down_fraction: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    underlyings: dict[str, UnderlyingLimits] = {}
    strategies: dict[str, StrategyLimits] = {}
    rate_budget_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        levels = [
            ("margin_warn_pct", self.margin_warn_pct),
            ("margin_no_new_trades_pct", self.margin_no_new_trades_pct),
            ("margin_reduce_pct", self.margin_reduce_pct),
            ("margin_flatten_pct", self.margin_flatten_pct),
        ]
        for (lower, low), (higher, high) in pairwise(levels):
            if low >= high:
                raise ValueError(f"{lower} {low:g} must be below {higher} {high:g}")
        if self.margin_hysteresis_pct >= self.margin_warn_pct:
            raise ValueError(
                f"margin_hysteresis_pct {self.margin_hysteresis_pct:g} must be below margin_warn_pct "
                f"{self.margin_warn_pct:g}, else that level never ends: lower the hysteresis or raise the threshold"
            )
        for name in ("max_order_quantity", "max_position_quantity"):
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise ValueError(f'{name} {value} must be a quantity above 0, written as text such as "50"')

    def ttl_ms(self, opening_s: float) -> int:
        """How long a grant for an opening that may take this long lasts."""
        longest_s = self.grant_ttl_max_ms / 1_000
        wanted_ms = math.ceil(min(max(opening_s, 0.0), longest_s) * 1_000) if math.isfinite(opening_s) else 0
        return max(self.grant_ttl_ms, wanted_ms)


def margined_at(config: RiskConfig, leverages: Iterable[int]) -> RiskConfig:
    """The same, with the margin of futures no lower than it is at the lowest of the leverages that execution sets."""
    lowest = min(leverages, default=None)
    if lowest is None or config.futures_initial_fraction >= 1 / lowest:
        return config
    return msgspec.structs.replace(config, futures_initial_fraction=1 / lowest)

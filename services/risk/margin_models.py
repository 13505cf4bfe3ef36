"""Margin of whole accounts by two models, beside the venue's own figures.

standard: Σ over short options of their own margin (margin.py); legs do not cover one another, longs need none.

portfolio: per underlying the loss in the worst scenario of a scan, of all its options together, and a minimum for
every short option; no underlying makes up for another:

    initial     = Σ underlyings max(−worst P&L, 0) + portfolio_short_fraction × index × Σ |short quantity|
    maintenance = portfolio_maintenance_fraction × initial

The scan moves spot by 0, ±1/3, ±2/3 and ±3/3 of `portfolio_scan_pct` and volatility by 0 and ±`portfolio_vol_pct`
(relative), at once and now. Its figures are our own: no venue's are published in full. How far either is off the
venue's account is measured, not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np

from services.risk.config import RiskConfig
from services.risk.margin import short_initial_margin, short_maintenance_margin
from services.risk.market import MarketView, is_delta_one
from services.risk.stress import Scenarios, Stress, stressed_loss
from shared.messages.account import AccountSnapshot
from shared.messages.risk import MarginModel
from shared.options.instruments import instrument_kind


class Margin(msgspec.Struct, frozen=True):
    """USD; NaN where an option is not known now."""

    initial: float
    maintenance: float


def standard_margin(config: RiskConfig, market: MarketView, quantities: Mapping[str, float]) -> Margin:
    """`quantities`: signed, per symbol."""
    initial = maintenance = 0.0
    for symbol, quantity in _margined(quantities).items():
        if is_delta_one(symbol):
            value = abs(quantity) * market.index(market.underlying_or_prefix(symbol))
            initial += config.futures_initial_fraction * value
            maintenance += config.futures_maintenance_fraction * value
            continue
        if quantity >= 0:
            continue
        option = market.option(symbol)
        if option is None or not math.isfinite(option.mark + option.index):
            return Margin(math.nan, math.nan)
        strike, is_call = float(option.instrument.strike), option.instrument.option_type == "C"
        initial -= quantity * short_initial_margin(config, option.index, strike, option.mark, is_call=is_call)
        maintenance -= quantity * short_maintenance_margin(config, option.index, option.mark, is_call=is_call)
    return Margin(initial, maintenance)


def portfolio_margin(config: RiskConfig, market: MarketView, quantities: Mapping[str, float], now_ns: int) -> Margin:
    """`quantities`: signed, per symbol."""
    quantities = _margined(quantities)
    scan = Stress.of_quantities(_scan(config), market, quantities, now_ns)
    if not scan.complete:
        return Margin(math.nan, math.nan)
    shorts = sum(
        -quantity * market.index(market.underlying_or_prefix(symbol))
        for symbol, quantity in quantities.items()
        if quantity < 0 and not is_delta_one(symbol)
    )
    initial = stressed_loss(scan.grids.values()) + config.portfolio_short_fraction * shorts
    return Margin(initial, config.portfolio_maintenance_fraction * initial)


def margins_of(
    config: RiskConfig, market: MarketView, quantities: Mapping[str, float], now_ns: int
) -> dict[Literal["standard", "portfolio"], Margin]:
    return {
        "standard": standard_margin(config, market, quantities),
        "portfolio": portfolio_margin(config, market, quantities, now_ns),
    }


def beside_the_venue(
    config: RiskConfig, market: MarketView, account: AccountSnapshot, now_ns: int
) -> tuple[MarginModel, ...]:
    """What each model says of the positions held, and how far that is off the venue's figures."""
    held = {position.symbol: float(position.quantity) for position in account.positions}
    found = []
    for model, margin in margins_of(config, market, held, now_ns).items():
        for figure, ours, venue in (
            ("initial", margin.initial, float(account.initial_margin_usd)),
            ("maintenance", margin.maintenance, float(account.maintenance_margin_usd)),
        ):
            known = math.isfinite(ours)
            found.append(
                MarginModel(
                    model=model,
                    figure="initial" if figure == "initial" else "maintenance",
                    model_usd=ours if known else None,
                    venue_usd=venue,
                    error_pct=(ours - venue) / venue * 100 if known and venue > 0 else None,
                )
            )
    return tuple(found)


def _margined(quantities: Mapping[str, float]) -> Mapping[str, float]:
    """Without coins of spot, which are paid for and need no margin."""
    return {symbol: quantity for symbol, quantity in quantities.items() if instrument_kind(symbol) != "spot"}


def _scan(config: RiskConfig) -> Scenarios:
    spot = np.arange(-3, 4) / 3 * config.portfolio_scan_pct / 100
    vol = np.array([-1.0, 0.0, 1.0]) * config.portfolio_vol_pct / 100
    return Scenarios(spot, vol, 0.0)

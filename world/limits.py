"""The limits under which desks are simulated."""

from __future__ import annotations

from services.risk.config import RiskConfig

WIDE = RiskConfig(
    max_delta_usd=500_000.0,
    max_gamma_usd=250_000.0,
    max_vega_usd=25_000.0,
    max_theta_usd=25_000.0,
    max_underlying_notional_pct=2_000.0,
    max_expiry_notional_pct=2_000.0,
    max_trade_risk_pct=20.0,
    max_total_risk_pct=100.0,
    max_stressed_loss_pct=1_000.0,
    max_open_trades=50,
    max_drawdown_pct=30.0,
    max_consecutive_losses=10_000,
    max_slippage_pct=100.0,
    max_rejection_pct=100.0,
    max_venue_errors_per_minute=1_000,
)
"""Limits with room for many trades at a time, so that a run meets more than refusals."""

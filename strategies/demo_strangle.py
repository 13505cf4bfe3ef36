"""A demonstration for paper trading: buys a small strangle, holds it for a minute, and begins again."""

from shared.strategy import ExecutionParams, StrategyConfig, max_hold_hours, strangle


def demo_strangle() -> StrategyConfig:
    """Long, so that the most that can be lost is the premium."""
    return StrategyConfig(
        name="demo_strangle",
        legs=strangle(
            qty="0.1",
            call_delta=0.25,
            put_delta=-0.25,
            side="buy",
            expiry_criteria={"dte_min": 2, "dte_max": 21, "target": 7},
        ),
        exit_conditions=[max_hold_hours(1 / 60)],
        execution_mode="limit",
        execution_params=ExecutionParams(fill_timeout_seconds=5.0, aggressive_buffer_pct=5.0, max_requote_rounds=10),
        max_concurrent_trades=1,
        max_trades_per_day=0,
        cooldown_seconds=15,
        check_interval_seconds=2,
        paper_only=True,
    )

"""The smallest live test: a long strangle of the next expiry, twice a day, held for an hour."""

from shared.strategy import ExecutionParams, StrategyConfig, max_hold_hours, min_available_margin_pct, strangle


def micro_strangle() -> StrategyConfig:
    return StrategyConfig(
        name="micro_strangle",
        legs=strangle(qty=0.01, call_delta=0.15, put_delta=-0.15, dte="next", side=1),
        entry_conditions=[min_available_margin_pct(30)],
        exit_conditions=[max_hold_hours(1)],
        max_concurrent_trades=1,
        max_trades_per_day=2,
        cooldown_seconds=60,
        check_interval_seconds=30,
        execution_params=ExecutionParams(fill_timeout_seconds=30.0, aggressive_buffer_pct=2.0, max_requote_rounds=10),
    )

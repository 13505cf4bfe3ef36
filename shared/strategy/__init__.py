"""What a strategy file imports: the configuration, legs and structures, condition factories."""

from shared.strategy.config import ExecutionParams, RfqConfig, SmartConfig, StrategyConfig
from shared.strategy.factories import (
    account_delta_limit,
    leg_greek_limit,
    max_account_delta,
    max_hold_hours,
    max_loss,
    max_margin_utilization,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    structure_delta_limit,
    time_exit,
    time_window,
    utc_datetime_exit,
    utc_time_window,
    weekday_filter,
)
from shared.strategy.legs import LegSpec, straddle, strangle
from shared.strategy.pnl import TradePnl, trade_pnl
from shared.strategy.selection import resolve_legs, select_option
from shared.strategy.sizing import Size, position_size
from shared.strategy.views import EntryView, ExitView, Verdict

__all__ = [
    "EntryView",
    "ExecutionParams",
    "ExitView",
    "LegSpec",
    "RfqConfig",
    "Size",
    "SmartConfig",
    "StrategyConfig",
    "TradePnl",
    "Verdict",
    "account_delta_limit",
    "leg_greek_limit",
    "max_account_delta",
    "max_hold_hours",
    "max_loss",
    "max_margin_utilization",
    "min_available_margin_pct",
    "min_equity",
    "no_existing_position_in",
    "position_size",
    "profit_target",
    "resolve_legs",
    "select_option",
    "straddle",
    "strangle",
    "structure_delta_limit",
    "time_exit",
    "time_window",
    "trade_pnl",
    "utc_datetime_exit",
    "utc_time_window",
    "weekday_filter",
]

"""Four strategies that open and close all the time, one for each way of working orders, as files of a real desk."""

from __future__ import annotations

_COMMON = """
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import LegSpec, RfqConfig, SmartConfig, StrategyConfig, max_hold_hours

SOON = {{"dte_min": 2, "dte_max": 21, "target": 7}}
PHASES = (
    LimitPhase(pricing="passive", duration_s=1.0, reprice_interval_s=1.0),
    LimitPhase(pricing="aggressive", duration_s=2.0, reprice_interval_s=2.0, buffer_pct=5.0),
)
LIMIT = ExecutionParams(phases=PHASES, fill_timeout_s=2.0, max_requote_rounds=20)
SMART = SmartConfig(chunk_count=2, time_per_chunk=2, aggressive_wait_seconds=1, aggressive_retry_pause=1)
RFQ = RfqConfig(min_notional_usd=0, window_seconds=3, timeout_seconds=8, fallback_mode="limit")


def leg(kind, side, quantity, delta, underlying):
    return LegSpec(kind, side, quantity, {{"type": "delta", "value": delta}}, SOON, underlying)


def made(name, mode, legs, **more):
    return StrategyConfig(
        name=name,
        legs=legs,
        exit_conditions=[max_hold_hours({hold_s} / 3600)],
        execution_mode=mode,
        execution_params=LIMIT,
        smart_config=SMART,
        rfq=RFQ,
        max_concurrent_trades=1,
        max_trades_per_day=0,
        cooldown_seconds={cooldown_s},
        check_interval_seconds=1,
        **more,
    )
"""
_STRATEGIES = {
    "by_limit": """
def by_limit():
    return made("by_limit", "limit", [leg("C", "buy", "1", 0.3, "ETH"), leg("P", "buy", "1", -0.3, "ETH")])
""",
    "by_smart": """
def by_smart():
    wings = [leg("C", "buy", "0.2", 0.6, "BTC"), leg("C", "buy", "0.2", 0.3, "BTC")]
    return made("by_smart", "smart", [*wings, leg("C", "sell", "0.4", 0.45, "BTC")])
""",
    "by_rfq": """
def by_rfq():
    return made("by_rfq", "rfq", [leg("P", "buy", "0.5", -0.4, "BTC"), leg("P", "sell", "0.5", -0.2, "BTC")])
""",
    "by_auto": """
def by_auto():
    return made("by_auto", "auto", [leg("C", "buy", "2", 0.2, "ETH")], policy="best_effort")
""",
}
NAMES = tuple(_STRATEGIES)


def strategy_files(*, hold_s: int = 3, cooldown_s: int = 1) -> dict[str, str]:
    """The text of each strategy's file by name. Each holds a trade so long and waits so long after it."""
    common = _COMMON.format(hold_s=hold_s, cooldown_s=cooldown_s)
    return {name: common + text for name, text in _STRATEGIES.items()}

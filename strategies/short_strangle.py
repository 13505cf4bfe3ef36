"""A short strangle as it is commonly sold: about 16 delta on either side, one to three weeks to expiry.

The idea is to earn the premium's decay while the index stays between the strikes. The risk is a large move: the loss
is not bounded by the structure, so that it must be bounded by the exits. Read every number before trading it.
"""

from decimal import Decimal

from shared.strategy import (
    ExecutionParams,
    LegSpec,
    StrategyConfig,
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
    time_window,
    weekday_filter,
)

EXPIRY = {"dte_min": 7, "dte_max": 21, "target": 14}
DAYS_HELD_MAX = 5


def short_strangle(underlying: str = "BTC", quantity: str = "0.1", delta: float = 0.16) -> StrategyConfig:
    """Sells a call and a put in the hours in which books are deep.

    quantity: of each leg, in coins of the underlying. delta: of the call and, negative, of the put.
    """
    return StrategyConfig(
        name="short_strangle",
        legs=[
            LegSpec("C", "sell", quantity, {"type": "delta", "value": delta, "tolerance": 0.05}, EXPIRY, underlying),
            LegSpec("P", "sell", quantity, {"type": "delta", "value": -delta, "tolerance": 0.05}, EXPIRY, underlying),
        ],
        entry_conditions=[
            # Europe and America are both awake; no new risk over the weekend, when books are thin
            time_window(13, 20),
            weekday_filter(["mon", "tue", "wed", "thu"]),
            # room for the margin of a short structure to double before anything has to be done in haste
            min_equity(5_000),
            min_available_margin_pct(50),
            max_margin_utilization(40),
            # no second bet in the same direction
            max_account_delta(0.5, underlying),
            no_existing_position_in([underlying]),
        ],
        exit_conditions=[
            # half of the premium, as a rule earned in less than half of the time
            profit_target(pct=50),
            # loses at most as much again as was received
            max_loss(pct=100),
            # a side that is threatened: its delta has more than doubled
            leg_greek_limit("delta", 0.40),
            # no bet on a quiet index any more but one on direction, whatever the quantity
            structure_delta_limit(0.3 * float(Decimal(quantity))),
            max_hold_hours(24 * DAYS_HELD_MAX),
        ],
        execution_mode="limit",
        execution_params=ExecutionParams(fill_timeout_seconds=30.0, aggressive_buffer_pct=1.0, max_requote_rounds=6),
        # both legs or none: one leg alone is another bet
        policy="atomic",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=4 * 3_600,
        check_interval_seconds=15,
        # nobody watches the exits while the host is away: a quarter of an hour is long for a short structure
        if_host_silent="close",
        host_silent_after_seconds=900,
    )

"""A short straddle: a call and a put at the money, sold one to two weeks before they expire.

It earns when the index moves less than the options cost: the largest premium that there is, and no room at all, as
both legs are at the money from the first minute on. The loss is not bounded by the structure, so that it must be
bounded by the exits. Read every number before trading it.
"""

from decimal import Decimal

from shared.strategy import (
    ExecutionParams,
    StrategyConfig,
    cooldown_after_loss,
    dte_exit,
    iv_level,
    max_account_delta,
    max_hold_hours,
    max_loss,
    max_margin_utilization,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    straddle,
    structure_delta_limit,
    time_window,
    weekday_filter,
)

EXPIRY = {"dte_min": 6, "dte_max": 16, "target": 10}


def short_straddle(underlying: str = "BTC", quantity: str = "0.1", iv_min_pct: float = 40.0) -> StrategyConfig:
    """Sells a call and a put at the strike nearest to the index, while volatility pays for it.

    quantity: of each leg, in coins of the underlying. iv_min_pct: the volatility at the money, per cent a year, below
    which nothing is sold.
    """
    return StrategyConfig(
        name="short_straddle",
        legs=straddle(quantity, side="sell", underlying=underlying, expiry_criteria=EXPIRY),
        entry_conditions=[
            # Europe and America are both awake; no new risk over the weekend, when books are thin
            time_window(13, 20),
            weekday_filter(["mon", "tue", "wed", "thu"]),
            # premium is the only thing that is earned here: cheap options are not worth their risk
            iv_level(min_pct=iv_min_pct, days=10, underlying=underlying),
            # a straddle's margin grows with every move, in either direction: twice the room of a strangle
            min_equity(10_000),
            min_available_margin_pct(60),
            max_margin_utilization(30),
            max_account_delta(0.5, underlying),
            no_existing_position_in([underlying]),
            # a market that has just moved too far for one straddle moves too far for the next
            cooldown_after_loss(24),
        ],
        exit_conditions=[
            # a quarter of the premium: to wait for half of it means to sit through the days of the greatest gamma
            profit_target(pct=25),
            # loses at most twice what it aims to earn
            max_loss(pct=50),
            # no straddle any more: the index is so far off that it is a bet on direction
            structure_delta_limit(0.35 * float(Decimal(quantity))),
            # gamma at the money grows with 1 / √days: leave before it does
            dte_exit(2),
            max_hold_hours(24 * 5),
        ],
        execution_mode="limit",
        # close to mid: options at the money are those with the narrowest books
        execution_params=ExecutionParams(fill_timeout_seconds=30.0, aggressive_buffer_pct=1.0, max_requote_rounds=6),
        # both legs or none: one leg alone is another bet
        policy="atomic",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=4 * 3_600,
        check_interval_seconds=15,
        # nobody watches the exits while the host is away: ten minutes are long for a structure at the money
        if_host_silent="close",
        host_silent_after_seconds=600,
    )

"""A put out of the money sold each day, with one day to expiry (DTE 1), so that two run at a time.

It earns the last and fastest part of the premium's decay, a little every day, and loses much on the day on which the
index falls. Sold after the daily expiry at 08:00 UTC, an option of DTE 1 lives for 40 to 47 hours: yesterday's put is
still open when today's is sold, and that is why there are two. The loss is not bounded by the structure.
"""

from shared.strategy import (
    ExecutionParams,
    LegSpec,
    StrategyConfig,
    before_expiry,
    cooldown_after_loss,
    credit_multiple,
    max_account_delta,
    max_loss,
    max_margin_utilization,
    min_available_margin_pct,
    min_equity,
    profit_target,
    short_leg_delta,
    short_strike_touched,
    time_window,
)


def daily_put_sell(
    underlying: str = "BTC", quantity: str = "0.1", delta: float = 0.12, max_loss_usd: float = 300.0
) -> StrategyConfig:
    """Sells a put of `delta` and DTE 1 each day after the expiry of that day.

    quantity: in coins of the underlying. delta: of the put, written without its minus. max_loss_usd: that one put
    may lose, USD; fit it to the quantity.
    """
    return StrategyConfig(
        name="daily_put_sell",
        legs=[
            LegSpec(
                "P",
                "sell",
                quantity,
                {"type": "delta", "value": delta, "tolerance": 0.06},
                {"dte": 1},
                underlying,
                # whatever the volatility: a put nearer than this is no bet on a quiet day any more
                min_otm_pct=2.0,
            )
        ],
        entry_conditions=[
            # after 08:00 DTE 1 is the day after tomorrow; by 16:00 a tenth of the decay is gone
            time_window(9, 16),
            min_equity(5_000),
            # two puts at a time, and the margin of both grows on the same day
            min_available_margin_pct(60),
            max_margin_utilization(30),
            max_account_delta(0.5, underlying),
            # falls come in clusters: the day after a loss is left out
            cooldown_after_loss(36),
        ],
        exit_conditions=[
            # what is left of the premium then is not worth a night
            profit_target(pct=80),
            # three premiums lost take three good days to come back
            credit_multiple(3),
            # what execution enforces by itself, host or no host
            max_loss(usd=max_loss_usd),
            short_leg_delta(0.40),
            # within half a per cent of the strike a day before expiry it is a coin toss
            short_strike_touched(0.5),
            # never into settlement, whose index is an average that nobody can trade
            before_expiry(1),
        ],
        execution_mode="limit",
        execution_params=ExecutionParams(fill_timeout_seconds=30.0, aggressive_buffer_pct=1.0, max_requote_rounds=6),
        max_concurrent_trades=2,
        max_trades_per_day=1,
        # so that a put that is closed in the evening is not followed by one sold just after midnight
        cooldown_seconds=3_600,
        check_interval_seconds=15,
        if_host_silent="close",
        host_silent_after_seconds=600,
    )

"""A put credit spread: a put out of the money sold, a further one bought.

It earns when the index does not fall far: puts below the market are what others pay most for. It may rise, stay, and
even fall a little. What it can lose is the width between the strikes less the credit.
"""

from shared.strategy import (
    ExecutionParams,
    StrategyConfig,
    any_of,
    cooldown_after_loss,
    credit_multiple,
    dte_exit,
    iv_level,
    max_account_delta,
    max_profit,
    min_available_margin_pct,
    min_equity,
    short_leg_delta,
    time_elapsed_pct,
    time_window,
    vertical,
    weekday_filter,
)

EXPIRY = {"dte_min": 10, "dte_max": 24, "target": 16}


def put_credit_spread(
    underlying: str = "BTC", risk_pct: float = 1.0, delta: float = 0.25, width_usd: float = 4_000.0
) -> StrategyConfig:
    """Sells a put of `delta` and buys the one `width_usd` below it.

    risk_pct: per cent of the equity that the spread can lose at its expiry; the quantity follows from it. delta:
    of the put sold, written without its minus. width_usd: between the strikes, USD.
    """
    return StrategyConfig(
        name="put_credit_spread",
        legs=vertical(
            "P", "sell", {"risk_pct": risk_pct}, {"type": "delta", "value": delta}, width_usd, EXPIRY, underlying
        ),
        entry_conditions=[
            time_window(9, 20),
            weekday_filter(["mon", "tue", "wed", "thu", "fri"]),
            # below this volatility the credit is too small a part of the width
            iv_level(min_pct=35, days=16, underlying=underlying),
            # below this one per cent does not pay for the smallest order
            min_equity(5_000),
            min_available_margin_pct(30),
            # it is a bet on direction: not on top of an account that has it already
            max_account_delta(0.5, underlying),
            # after a fall that cost a spread, a day for the market to find its level
            cooldown_after_loss(24),
        ],
        exit_conditions=[
            # the larger part of the credit; or less of it, once more than half of the time is over
            max_profit(60),
            # twice the credit lost: the index is at the sold strike, and half of the width is still there to be saved
            any_of(credit_multiple(2), short_leg_delta(0.50)),
            time_elapsed_pct(75),
            # two strikes close together are a coin toss in their last days
            dte_exit(2),
        ],
        execution_mode="limit",
        # close to mid and patient: half a spread on two legs is a large part of a small credit
        execution_params=ExecutionParams(fill_timeout_seconds=40.0, aggressive_buffer_pct=1.0, max_requote_rounds=8),
        # both legs or none: without the put bought the loss is not bounded
        policy="atomic",
        # two at a time, begun on different days, so that they seldom have the same strikes
        max_concurrent_trades=2,
        max_trades_per_day=1,
        cooldown_seconds=12 * 3_600,
        check_interval_seconds=30,
        if_host_silent="close",
        host_silent_after_seconds=3_600,
    )

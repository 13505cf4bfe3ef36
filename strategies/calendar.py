"""A call calendar: a later call bought, a nearer one sold, both at the strike nearest to the index.

It earns when the index stays near the strike while the nearer call decays faster than the later one, or when later
volatility rises. It loses by a large move in either direction and by falling volatility; at most the debit, as long
as both legs are there.
"""

from shared.strategy import (
    StrategyConfig,
    before_expiry,
    iv_level,
    max_hold_hours,
    max_loss,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    structures,
    time_window,
    weekday_filter,
)

NEAR = {"dte_min": 4, "dte_max": 11, "target": 7}
FAR = {"dte_min": 14, "dte_max": 45, "target": 28}


def calendar(underlying: str = "BTC", premium_usd: float = 300.0, iv_max_pct: float = 80.0) -> StrategyConfig:
    """Buys the later call and sells as many of the nearer one.

    premium_usd: what the bought leg costs at most, USD; the quantity follows from it, and the debit is less, as the
    sold leg pays for a part. iv_max_pct: the volatility at the money, per cent a year, above which nothing is bought.
    """
    return StrategyConfig(
        name="calendar",
        legs=structures.calendar("C", {"premium_usd": premium_usd}, NEAR, FAR, underlying=underlying),
        entry_conditions=[
            time_window(9, 20),
            # opened early in the week, the nearer leg's decay is not spent on a weekend of thin books
            weekday_filter(["mon", "tue", "wed", "thu"]),
            # it is long of vega: bought while volatility is high it loses as that comes back
            iv_level(max_pct=iv_max_pct, days=28, underlying=underlying),
            min_equity(2_000),
            min_available_margin_pct(30),
            # another position in the same options could net against a leg
            no_existing_position_in([underlying]),
        ],
        exit_conditions=[
            # a quarter of the debit: the most is made at one single price, which is not to be waited for
            profit_target(pct=25),
            # the index has left the strike: half of the debit is worth keeping
            max_loss(pct=50),
            # hours before the sold call trades for the last time: after it the bought one is a bet on direction
            before_expiry(6),
            max_hold_hours(24 * 7),
        ],
        execution_mode="smart",
        # both legs or none
        policy="atomic",
        # what is left when the sold call is gone is a call that nobody asked for
        if_broken="close",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=12 * 3_600,
        check_interval_seconds=30,
        if_host_silent="close",
        host_silent_after_seconds=3_600,
    )

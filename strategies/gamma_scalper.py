"""A gamma scalper: a straddle bought, its delta hedged with the perpetual each time that the index has moved.

It earns when the index moves more than the options' volatility says: each hedge sells what has risen and buys what
has fallen. It pays the decay of both options every day, and fees and spread for each hedge: in a quiet market it
loses these, at most about the debit and what the hedges cost.
"""

from shared.strategy import (
    DeltaHedge,
    StrategyConfig,
    dte_exit,
    iv_level,
    max_hold_hours,
    max_loss,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    straddle,
    time_window,
)

EXPIRY = {"dte_min": 6, "dte_max": 16, "target": 10}


def gamma_scalper(
    underlying: str = "BTC",
    quantity: str = "0.1",
    iv_max_pct: float = 60.0,
    band: float = 0.02,
    interval_seconds: float = 120.0,
) -> StrategyConfig:
    """Buys a call and a put at the strike nearest to the index while volatility is cheap, and hedges their delta.

    quantity: of each leg, in coins. iv_max_pct: the volatility at the money, per cent a year, above which nothing is
    bought. band: coins of delta that are left unhedged: a smaller one hedges more often and costs more.
    interval_seconds: between two hedges at least. Needs [desk] futures = true.
    """
    return StrategyConfig(
        name="gamma_scalper",
        legs=straddle(quantity, side="buy", underlying=underlying, expiry_criteria=EXPIRY),
        delta_hedge=DeltaHedge(band=band, interval_seconds=interval_seconds),
        entry_conditions=[
            # what is bought is volatility: not while it is dear
            iv_level(max_pct=iv_max_pct, days=10, underlying=underlying),
            time_window(9, 20),
            min_equity(5_000),
            min_available_margin_pct(40),
            # a hedge on the other side of somebody else's perpetual would close that one
            no_existing_position_in([underlying]),
        ],
        exit_conditions=[
            # of the premium, earned by options and hedges together
            profit_target(pct=20),
            # the decay has taken a quarter and the index did not move: the bet was wrong
            max_loss(pct=25),
            # gamma and decay of the last days are another trade
            dte_exit(3),
            max_hold_hours(24 * 7),
        ],
        execution_mode="smart",
        policy="atomic",
        # one option alone is a bet on direction, hedged or not
        if_broken="close",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=12 * 3_600,
        check_interval_seconds=30,
        # unhedged it may drift for a while; for hours it must not
        if_host_silent="close",
        host_silent_after_seconds=3_600,
    )

"""An iron condor: a strangle sold, and a further one bought, so that the most that can be lost is known.

It earns the premium's decay while the index stays between the inner strikes, as a short strangle does, and pays a
part of it for the wings. What it can lose is the width of the wider wing less the credit, whatever happens while
nobody looks.
"""

from shared.strategy import (
    SmartConfig,
    StrategyConfig,
    cooldown_after_loss,
    credit_multiple,
    dte_exit,
    max_profit,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    short_leg_delta,
    structures,
    time_window,
    weekday_filter,
)

EXPIRY = {"dte_min": 7, "dte_max": 16, "target": 10}


def iron_condor(
    underlying: str = "BTC", risk_pct: float = 1.0, delta: float = 0.20, width_usd: float = 4_000.0
) -> StrategyConfig:
    """Sells a call and a put of `delta`, and buys the options `width_usd` further out.

    risk_pct: per cent of the equity that the whole structure can lose at its expiry; the quantity follows from it.
    width_usd: between the strikes of a wing, USD.
    """
    return StrategyConfig(
        name="iron_condor",
        legs=structures.iron_condor(
            {"risk_pct": risk_pct},
            EXPIRY,
            call_delta=delta,
            put_delta=-delta,
            width=width_usd,
            underlying=underlying,
        ),
        entry_conditions=[
            # four legs pay four spreads: only in the hours in which books are deep
            time_window(13, 20),
            weekday_filter(["mon", "tue", "wed", "thu"]),
            # below this one per cent does not pay for the smallest order of four legs
            min_equity(5_000),
            min_available_margin_pct(30),
            # no second bet in the same direction
            no_existing_position_in([underlying]),
            cooldown_after_loss(12),
        ],
        exit_conditions=[
            # the second half of the credit takes longer than the first and risks as much
            max_profit(50),
            # a loss of one and a half credits is well inside what the wings bound: leave before they are needed
            credit_multiple(1.5),
            # an inner strike is about to be reached
            short_leg_delta(0.40),
            # the last days pay little and can lose the whole width
            dte_exit(1),
        ],
        # in chunks: at no moment is more open than a small condor, and the wings go first
        execution_mode="smart",
        smart_config=SmartConfig(chunk_count=2, time_per_chunk=30, aggressive_attempts=6),
        # all four legs or none: without its wings this is a short strangle
        policy="atomic",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=4 * 3_600,
        check_interval_seconds=15,
        # the loss is bounded without the host too: give it an hour to come back
        if_host_silent="close",
        host_silent_after_seconds=3_600,
    )

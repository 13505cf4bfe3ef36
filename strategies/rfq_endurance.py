"""An endurance test of requests for quote: a strangle bought and sold again as block trades, three times a day.

It is no bet on anything: it shows that quotes come, that they are judged against the book, that block trades open
and close whole, and what they cost. Bought, so that the most that can be lost is the premium; in fact it loses the
spreads and fees of six block trades.
"""

from shared.strategy import (
    RfqConfig,
    StrategyConfig,
    max_hold_hours,
    max_loss,
    min_available_margin_pct,
    no_existing_position_in,
    strangle,
    time_window,
)

CYCLES = 3


def rfq_endurance(underlying: str = "BTC", quantity: str = "0.5", hold_minutes: float = 10.0) -> StrategyConfig:
    """Opens a strangle by request for quote, holds it for `hold_minutes`, closes it in the same way; three times.

    quantity: of each leg, in coins of the underlying; Σ strike × quantity must reach the venue's 50,000 USD.
    """
    return StrategyConfig(
        name="rfq_endurance",
        legs=strangle(
            quantity,
            call_delta=0.25,
            put_delta=-0.25,
            side="buy",
            underlying=underlying,
            expiry_criteria={"dte_min": 5, "dte_max": 21, "target": 10},
        ),
        entry_conditions=[
            # dealers are people: none of them quotes well at night
            time_window(8, 20),
            min_available_margin_pct(30),
            # what closes must be this trade's own, so that the venue's positions can prove it
            no_existing_position_in([underlying]),
        ],
        exit_conditions=[
            max_hold_hours(hold_minutes / 60),
            # a jump within the minutes is no part of the test
            max_loss(pct=30),
        ],
        execution_mode="rfq",
        rfq=RfqConfig(
            window_seconds=8.0,
            timeout_seconds=25.0,
            # any quote that is no worse than the book: the test is of the way, not of the price
            min_improvement_pct=0.0,
            max_over_mark_pct=10.0,
            # no quote, no trade: a cycle that was worked by orders would have tested something else
            fallback_mode=None,
        ),
        policy="atomic",
        max_concurrent_trades=1,
        # openings without a fill do not count: these are three whole cycles
        max_trades_per_day=CYCLES,
        cooldown_seconds=60,
        check_interval_seconds=15,
        # so small a bet can wait for the host
        if_host_silent="close",
        host_silent_after_seconds=1_800,
    )

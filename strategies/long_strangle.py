"""A long strangle bought after the index has moved: moves come in clusters, and the next one is paid for in advance.

It earns when another large move follows, in either direction, before volatility has caught up; it loses its premium
day by day while nothing happens. Bought, so that the premium is the most that can be lost.
"""

from shared.strategy import (
    ExecutionParams,
    StrategyConfig,
    before_expiry,
    cooldown_after_loss,
    iv_change,
    iv_level,
    max_hold_hours,
    max_loss,
    min_available_margin_pct,
    min_equity,
    no_existing_position_in,
    profit_target,
    spot_move,
    strangle,
)


def long_strangle(
    underlying: str = "BTC",
    premium_usd: float = 300.0,
    move_pct: float = 2.0,
    move_minutes: float = 60.0,
    iv_max_pct: float = 75.0,
) -> StrategyConfig:
    """Buys a call and a put once the index has moved by `move_pct` per cent within `move_minutes`, either way.

    premium_usd: what the call costs at most, USD; as many puts are bought, for about as much. iv_max_pct: the
    volatility at the money, per cent a year, above which nothing is bought: then the move is in the price already.
    """
    return StrategyConfig(
        name="long_strangle",
        legs=strangle(
            {"premium_usd": premium_usd},
            call_delta=0.25,
            put_delta=-0.25,
            side="buy",
            underlying=underlying,
            # long enough for its decay within the holding time to be small, short enough for its gamma to be large
            expiry_criteria={"dte_min": 4, "dte_max": 14, "target": 7},
        ),
        entry_conditions=[
            # two and a half standard deviations of an hour at a volatility of 75 %: 0.75 / √8,760 is 0.8 %
            spot_move(move_pct, minutes=move_minutes, underlying=underlying),
            iv_level(max_pct=iv_max_pct, days=7, underlying=underlying),
            min_equity(2_000),
            min_available_margin_pct(20),
            no_existing_position_in([underlying]),
            # a cluster that did not come: the market has calmed down
            cooldown_after_loss(12),
        ],
        exit_conditions=[
            # half of the premium: the move came, and what is left decays as fast as it earns
            profit_target(pct=50),
            max_loss(pct=40),
            # volatility comes back: nobody expects the move any more
            iv_change(down_points=8),
            # clusters last for hours: after a day without a move this is another bet
            max_hold_hours(24),
            before_expiry(6),
        ],
        execution_mode="limit",
        # while the market moves a quote at the middle is left behind: reach further, and look again soon
        execution_params=ExecutionParams(fill_timeout_seconds=10.0, aggressive_buffer_pct=2.0, max_requote_rounds=8),
        # both legs or none: one leg alone is a bet on direction
        policy="atomic",
        max_concurrent_trades=1,
        max_trades_per_day=2,
        cooldown_seconds=3 * 3_600,
        # a move does not wait
        check_interval_seconds=2,
        # the premium is what can be lost, host or no host: give it an hour to come back
        if_host_silent="close",
        host_silent_after_seconds=3_600,
    )

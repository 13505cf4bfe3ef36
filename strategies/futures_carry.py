"""A carry trade: a dated future against the perpetual, whichever way round earns more than it pays.

The price of a dated future meets that of the coin at its expiry, so what lies between it and the perpetual now, its
basis, is earned until then by whoever sold the dearer one; meanwhile the longs of the perpetual pay its funding, or
are paid it. Basis less funding, as per cent a year, is the carry. It loses when the basis widens before it narrows,
and when funding turns: nothing bounds either, so it leaves at a loss in USD.

It may be rolled: then, some days before its expiry, the future makes place for the next one that carries enough.
"""

from shared.options.chain import ChainView
from shared.strategy import (
    AnyLeg,
    EntryView,
    LegSpec,
    Roll,
    StrategyConfig,
    dte_exit,
    max_hold_hours,
    max_loss,
    min_available_margin_pct,
    no_existing_position_in,
    profit_target,
)
from shared.strategy.legs import index_name

DAY_NS = 86_400 * 1_000_000_000
FUNDINGS_PER_YEAR = 3 * 365


def carry_pct(chain: ChainView, days_min: int, now_ns: int) -> tuple[float, str] | str:
    """The carry of buying the perpetual and selling the nearest dated future of `days_min` days or more, per cent a
    year, and the symbol of that future; or why it is not known."""
    perpetual, quotes = chain.snapshot.perpetual, {quote.symbol: quote for quote in chain.snapshot.futures}
    far = [each for each in chain.listed.futures if each.expiry_ns - now_ns >= days_min * DAY_NS]
    if perpetual is None or not far or far[0].symbol not in quotes:
        return f"no fresh price of the perpetual and of a future of {days_min} days or more"
    if not abs(perpetual.funding_rate) < 1:
        return "the funding rate is not known"
    years = (far[0].expiry_ns - now_ns) / (365 * DAY_NS)
    basis = quotes[far[0].symbol].mark / perpetual.mark - 1
    return 100 * (basis / years - perpetual.funding_rate * FUNDINGS_PER_YEAR), far[0].symbol


def futures_carry(
    underlying: str = "BTC",
    quantity: str = "0.1",
    carry_min_pct: float = 4.0,
    days_min: int = 25,
    max_loss_usd: float = 150.0,
    roll_days: int = 0,
    roll_net_limit_usd: float = 0.0,
    max_rolls: int = 3,
) -> StrategyConfig:
    """Buys the perpetual and sells a dated future while that carries enough, or the other way round.

    quantity: of each leg, in coins. carry_min_pct: per cent a year, either way, below which nothing is opened.
    days_min: to the expiry of the future at least. max_loss_usd: at which a trade leaves.
    roll_days: rolls the trade once its future has so many whole days left or fewer, 0 for never; more than 1, at
    which it would be closed, and below days_min, so that a later one is taken. roll_net_limit_usd: the most that a
    roll may cost, USD before fees; 0: no more than it brings in. max_rolls: of one chain.
    Needs [desk] futures = true.
    """
    if roll_days and not 1 < roll_days < days_min:
        raise ValueError(f"roll_days {roll_days!r} must be 0 for never, or more than 1 and below days_min {days_min}")

    def legs(view: EntryView, now_ns: int) -> list[AnyLeg] | str:
        chain = view.fresh_chain(index_name(underlying), now_ns)
        found = chain if isinstance(chain, str) else carry_pct(chain, days_min, now_ns)
        if isinstance(found, str):
            return found
        carry, symbol = found
        if abs(carry) < carry_min_pct:
            return f"the carry is {carry:.2f} % a year, opens at {carry_min_pct:g} either way"
        expiry = {"symbol": symbol.partition("-")[2]}
        return [
            LegSpec.perpetual(underlying, "buy" if carry > 0 else "sell", quantity),
            LegSpec.future(underlying, "sell" if carry > 0 else "buy", {"of_leg": 0}, expiry),
        ]

    return StrategyConfig(
        name="futures_carry",
        legs_factory=legs,
        legs_underlyings=[underlying],
        entry_conditions=[
            min_available_margin_pct(50),
            # the venue nets positions: a future held for something else would be closed by this one
            no_existing_position_in([underlying]),
        ],
        exit_conditions=[
            # the basis has narrowed sooner than it had to
            profit_target(usd=2 * max_loss_usd),
            # wider than it ever paid for: the reason for it was wrong
            max_loss(usd=max_loss_usd),
            # the future would settle alone and leave the perpetual naked
            dte_exit(1),
            max_hold_hours(24 * 45),
        ],
        roll=Roll(
            when=[dte_exit(roll_days)],
            net_limit_usd=roll_net_limit_usd,
            max_rolls=max_rolls,
            within_seconds=180,
        )
        if roll_days
        else None,
        execution_mode="smart",
        policy="atomic",
        if_broken="close",
        max_concurrent_trades=1,
        max_trades_per_day=1,
        cooldown_seconds=12 * 3_600,
        check_interval_seconds=30,
        # the two legs hold each other; funding goes on either way
        if_host_silent="hold",
    )

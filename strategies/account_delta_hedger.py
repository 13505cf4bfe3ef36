"""Keeps the delta of the whole account in one underlying near 0, with its perpetual.

It bets on nothing: it takes direction away from whatever else the account holds, and pays spread, fees and funding
for it. Run one for each underlying, in the default host or, so that no other strategy holds it up, in a group of its
own.
"""

from typing import Literal

from shared.strategy import AccountDeltaHedger


def account_delta_hedger(
    name: str = "account_delta_hedger",
    underlying: str = "BTC",
    band: float = 0.1,
    interval_seconds: float = 60.0,
    minimum_size: float = 0.01,
    maximum_size: float = 2.0,
    patience_seconds: float = 20.0,
    counts: Literal["account", "desk"] = "account",
) -> AccountDeltaHedger:
    """Sells or buys the perpetual when the account's delta is beyond ± band, back to 0.

    band: coins that are left alone: a smaller one trades more often and costs more. interval_seconds: between two
    adjustments at least, 5 or more. minimum_size, maximum_size: coins of one adjustment at least, and of all that it
    holds at most. patience_seconds: delta must have been beyond the band for so long, so that hedges of single
    structures come first. counts: "account", or "desk" for what is some trade's alone. Needs [desk] futures = true.
    """
    return AccountDeltaHedger(
        name,
        underlying,
        band=band,
        interval_seconds=interval_seconds,
        minimum_size=minimum_size,
        maximum_size=maximum_size,
        patience_seconds=patience_seconds,
        counts=counts,
    )

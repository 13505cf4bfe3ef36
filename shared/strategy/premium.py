"""Exits that are about a premium or a payoff, on legs that have none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shared.messages.conditions import (
    BreakevenTouched,
    CreditMultiple,
    MaxLoss,
    MaxProfitShare,
    ProfitTarget,
    TrailingProfit,
)
from shared.strategy.legs import AnyLeg, PerpetualLeg


def refuse_missing_premium(legs: Sequence[AnyLeg], exits: Iterable[Any]) -> None:
    """Raises ValueError for a percentage of a premium that is not there, and for a figure of a payoff at expiry that
    a perpetual does not have."""
    perpetuals = [isinstance(leg, PerpetualLeg) for leg in legs]
    if not any(perpetuals):
        return
    for item in exits:
        match item:
            case ProfitTarget(pct=pct) | MaxLoss(pct=pct) | TrailingProfit(start_pct=pct):
                if pct is not None and all(perpetuals):
                    raise ValueError(
                        f"exit_conditions: {item!r} is a percentage of the options' premium, and there is no option: "
                        "give it in USD"
                    )
            case CreditMultiple() if all(perpetuals):
                raise ValueError("exit_conditions: credit_multiple needs options that bring a credit: use max_loss")
            case MaxProfitShare() | BreakevenTouched():
                raise ValueError(
                    f"exit_conditions: {item!r} is about the payoff at expiry, which a perpetual does not have: use "
                    "profit_target or max_loss"
                )
            case _:
                pass

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
from shared.strategy.legs import AnyLeg, LinearLeg


def refuse_missing_premium(legs: Sequence[AnyLeg], exits: Iterable[Any]) -> None:
    """Raises ValueError for a percentage of a premium that is not there, and for a figure of a payoff at expiry that
    the desk does not draw with futures in it."""
    futures = [isinstance(leg, LinearLeg) for leg in legs]
    if not any(futures):
        return
    for item in exits:
        match item:
            case ProfitTarget(pct=pct) | MaxLoss(pct=pct) | TrailingProfit(start_pct=pct):
                if pct is not None and all(futures):
                    raise ValueError(
                        f"exit_conditions: {item!r} is a percentage of the options' premium, and there is no option: "
                        "give it in USD"
                    )
            case CreditMultiple() if all(futures):
                raise ValueError("exit_conditions: credit_multiple needs options that bring a credit: use max_loss")
            case MaxProfitShare() | BreakevenTouched():
                raise ValueError(
                    f"exit_conditions: {item!r} is about the payoff of options at expiry, and a leg is a future: use "
                    "profit_target or max_loss"
                )
            case _:
                pass

"""By how much a request moves a figure at most, whatever becomes of the grants that are outstanding.

A figure past its limit may only be moved back. What others were granted may be filled in any part, so a request
brings the figure back when it does so for every part of it: when the most by which it can grow is below 0.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
NumberT = TypeVar("NumberT", float, Decimal)


class Use(msgspec.Struct, frozen=True):
    """A figure before and after a request, each with outstanding grants at their worst, and how much the request adds
    to it at most. touched: whether the request holds anything of what it is a figure of."""

    before: float
    after: float
    worst_change: float
    touched: bool

    def plus(self, other: Use) -> Use:
        """Of both together."""
        return Use(
            self.before + other.before,
            self.after + other.after,
            self.worst_change + other.worst_change,
            self.touched or other.touched,
        )


def worst_growth(low: NumberT, high: NumberT, change: NumberT) -> NumberT:
    """The most by which |x| grows when `change` is added to an x that lies anywhere from `low` to `high`.

    |x + change| - |x| never falls, or never rises, as x grows: it is largest at an end.
    """
    return max(abs(low + change) - abs(low), abs(high + change) - abs(high))


def worst_loss_growth(low: F8, high: F8, added: F8) -> float:
    """The most by which the loss of the worst scenario grows when a profit of `added` per scenario comes to one that
    lies, in each scenario by itself, anywhere from `low` to `high`; all of one shape, USD.

    The loss is max(0, -profit of each scenario). It is surely as large as `certain`, so that a scenario whose loss
    cannot reach that moves it by so much less.
    """
    certain = max(0.0, -float(high.min()))
    growth = -added + np.minimum(-low - certain, 0.0)
    return max(-certain, float(growth.max()))

"""An order book as arrays. The only reader of the levels of `OrderBook`, and their only writer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.messages.base import Side
from shared.messages.on_demand import OrderBook

F8 = NDArray[np.float64]


def pack_levels(levels: Sequence[tuple[float, float]]) -> bytes:
    """Levels of (price, size), best first, as `OrderBook` carries them."""
    return np.array(levels, dtype="<f8").reshape(-1, 2).T.tobytes()


def pack_sides(prices: F8, sizes: F8) -> bytes:
    """The same from arrays of shape (n,)."""
    return prices.astype("<f8", copy=False).tobytes() + sizes.astype("<f8", copy=False).tobytes()


def unpack_levels(packed: bytes) -> F8:
    """Shape (2, n), read-only: prices, then sizes, best first. Raises ValueError for bytes that are no levels."""
    if len(packed) % 16:
        raise ValueError(f"{len(packed)} bytes are no levels of price and size")
    return np.frombuffer(packed, dtype="<f8").reshape(2, -1)


def best_of(packed: bytes) -> tuple[float, float]:
    """Price and size of the best level; NaN for a side without any."""
    levels = unpack_levels(packed)
    return (float(levels[0, 0]), float(levels[1, 0])) if levels.size else (math.nan, math.nan)


class BookView:
    """One order book. Prices in USD per unit, sizes in coins of the underlying."""

    def __init__(self, book: OrderBook) -> None:
        self.book = book

    @cached_property
    def bids(self) -> F8:
        return unpack_levels(self.book.bids)

    @cached_property
    def asks(self) -> F8:
        return unpack_levels(self.book.asks)

    @property
    def best_bid(self) -> float | None:
        return float(self.bids[0, 0]) if self.bids.size else None

    @property
    def best_ask(self) -> float | None:
        return float(self.asks[0, 0]) if self.asks.size else None

    @property
    def mid(self) -> float | None:
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid + ask) / 2

    def average_price(self, side: Side, quantity: float) -> float | None:
        """What buying or selling `quantity` at once would cost per unit; None when the book does not hold as much.
        Raises ValueError for a quantity that is not above 0."""
        if not quantity > 0:
            raise ValueError(f"quantity {quantity} must be above 0")
        prices, sizes = self.asks if side == "buy" else self.bids
        before = np.cumsum(sizes) - sizes
        taken = np.clip(quantity - before, 0.0, sizes)
        if quantity - taken.sum() > 1e-9 * quantity:
            return None
        return float(prices @ taken / quantity)

"""Mistakes of reading more of the market than its chains: the simulation must find each of them."""

from __future__ import annotations

from world.mutant import Edit, Mutant

MARKET_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "market_read_once",
        "candles and funding rates that a condition needs are read once and never again",
        (
            Edit(
                "services/strategy/market_desk.py",
                "self._due_ns[key] = now_ns + self._interval_ns",
                "self._due_ns[key] = now_ns + 1_000_000 * self._interval_ns",
            ),
        ),
        scenario="market_conditions",
    ),
)

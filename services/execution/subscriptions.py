"""What execution hears on the bus."""

from __future__ import annotations

from collections.abc import Sequence


def subscriptions(underlyings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Prefixes of topics by publisher. No index prices: a chain brings its own, and a message wakes all trades."""
    chains = tuple(f"md.{underlying}.{kind}" for underlying in underlyings for kind in ("instruments", "chain"))
    return {
        "marketdata": chains,
        "risk": ("sys.risk.heartbeat",),
        "strategy": ("sys.strategy.heartbeat",),
    }

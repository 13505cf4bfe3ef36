"""What risk hears on the bus."""

from __future__ import annotations

from collections.abc import Sequence


def subscriptions(underlyings: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Prefixes of topics by publisher. No index prices: a chain brings its own, and risk need not wake so often."""
    chains = tuple(f"md.{underlying}.{kind}" for underlying in underlyings for kind in ("instruments", "chain"))
    return {"marketdata": chains, "execution": ("exec.",)}

"""What execution hears on the bus."""

from __future__ import annotations

from collections.abc import Sequence

from shared.strategy_hosts import DEFAULT_HOST


def subscriptions(underlyings: Sequence[str], hosts: Sequence[str] = (DEFAULT_HOST,)) -> dict[str, tuple[str, ...]]:
    """Prefixes of topics by publisher. `hosts`: the strategy hosts. No index prices: a chain brings its own, and a
    message wakes all trades."""
    chains = tuple(f"md.{underlying}.{kind}" for underlying in underlyings for kind in ("instruments", "chain"))
    return {
        "marketdata": chains,
        "risk": ("sys.risk.heartbeat",),
        **{host: (f"sys.{host}.heartbeat",) for host in hosts},
    }

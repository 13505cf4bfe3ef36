"""What a strategy host hears on the bus."""

from __future__ import annotations

SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "marketdata": ("md.",),
    "risk": ("risk.", "sys.risk.heartbeat"),
    "execution": ("exec.", "sys.execution.heartbeat"),
}
"""Prefixes of topics by publisher."""

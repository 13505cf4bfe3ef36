"""What the monitor hears on the bus."""

from __future__ import annotations

from services.monitor.core import HEARD
from shared.messages.quote_requests import QuoteBoard
from shared.messages.topics import TOPICS
from shared.strategy_hosts import kind_of

_SHOWN = (QuoteBoard,)
"""What pages alone are told of."""


def prefixes_of(service: str) -> tuple[str, ...]:
    """The beginnings of the topics of a service that are looked at: chains would be read for nothing."""
    wanted = (*HEARD, *_SHOWN)
    own = dict.fromkeys(
        row.pattern.split("{", 1)[0] for row in TOPICS if row.publisher == kind_of(service) and row.message in wanted
    )
    return (*own, f"sys.{service}.")

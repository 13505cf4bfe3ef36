"""What the monitor hears on the bus."""

from __future__ import annotations

from services.monitor.core import HEARD
from shared.messages.topics import TOPICS


def prefixes_of(service: str) -> tuple[str, ...]:
    """The beginnings of the topics of a service that the core looks at: chains would be read for nothing."""
    own = dict.fromkeys(
        row.pattern.split("{", 1)[0] for row in TOPICS if row.publisher == service and row.message in HEARD
    )
    return (*own, f"sys.{service}.")

"""What the shell offers after Tab: names of the configuration, and of the running desk when it answers at once.

A completion never fails and never prints: without a desk it offers less.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.config import DeskConfig, load_config
from shared.errors import StartRefused
from voldesk.listening import known_topics


def complete_underlying(incomplete: str) -> list[str]:
    desk = _desk()
    return [] if desk is None else _beginning(desk.underlyings, incomplete.upper())


def complete_topic(incomplete: str) -> list[str]:
    """The next part of a topic: "exec." before "exec.main.trade"."""
    desk = _desk()
    if desk is None:
        return []
    topics = _beginning(known_topics(desk), incomplete)
    return list(dict.fromkeys(_to_next_dot(topic, len(incomplete)) for topic in topics))


def _to_next_dot(topic: str, start: int) -> str:
    head, dot, _ = topic[start:].partition(".")
    return topic[:start] + head + dot


def _desk() -> DeskConfig | None:
    try:
        return load_config()
    except StartRefused:
        return None


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

"""What conditions remember from one look to the next, such as since when one holds; the host keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from shared.ids import content_hash
from shared.messages.conditions import Condition


class Recall:
    """Of one trade, or of the entries of one strategy: numbers by key. `noted` is what this look noted, None for what
    it forgot; whoever made the recall keeps that."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self._known = {} if known is None else known
        self.noted: dict[str, float | None] = {}

    def get(self, key: str) -> float | None:
        return self.noted[key] if key in self.noted else self._known.get(key)

    def note(self, key: str, value: float | None) -> None:
        """Remember a number, or forget it."""
        if self.get(key) != value:
            self.noted[key] = value


@lru_cache(maxsize=4_096)
def key_of(condition: Condition) -> str:
    """Names what a condition remembers: the same after a restart, another one when its parameters are changed."""
    return content_hash(msgspec.msgpack.encode(condition))

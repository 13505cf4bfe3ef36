"""Which streams bring nothing although they are connected: what comes by REST alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

INDEX, SPOT = 0, 1
"""Stand for the streams of the index and of the spot pair among those of expiries, which are named by their
instants."""


class Brought:
    """When each stream of each underlying last brought something. What was read by REST is not noted."""

    def __init__(self) -> None:
        self._at_ns: dict[str, dict[int, int]] = {}

    def note(self, underlying: str, stream: int, now_ns: int) -> None:
        self._at_ns.setdefault(underlying, {})[stream] = now_ns

    def keep(self, underlying: str, streams: Collection[int]) -> None:
        """Forget those that are listed no more."""
        brought = self._at_ns.get(underlying, {})
        self._at_ns[underlying] = {stream: at_ns for stream, at_ns in brought.items() if stream in streams}

    def silent(self, underlying: str, since_ns: Mapping[int, int], before_ns: int) -> tuple[int, ...]:
        """The streams that have brought nothing since `before_ns`, in their order; since_ns: since when each is to
        bring something."""
        brought = self._at_ns.get(underlying, {})
        return tuple(stream for stream, at_ns in since_ns.items() if max(at_ns, brought.get(stream, 0)) < before_ns)

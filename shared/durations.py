"""Durations counted in buckets, cheap enough for every message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

LATENCY_BUCKETS_S = (1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 30.0)


class Durations:
    """Counts seconds by upper bounds in ascending order; a negative duration counts as 0.

    Written on one thread only, and so without the locks that make a histogram of the Prometheus library cost several
    times as much.
    """

    __slots__ = ("_counts", "_sum_s", "bounds")

    def __init__(self, bounds: Sequence[float] = LATENCY_BUCKETS_S) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        if seconds < 0.0:
            seconds = 0.0
        self.count(seconds)

    def count(self, value: float) -> None:
        """Count a value that may be below 0 and need not be a duration."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum_s += value

    def read(self) -> tuple[tuple[int, ...], float]:
        """How many fell into each bucket, the last one beyond all bounds, and the sum in seconds. On any thread."""
        return tuple(self._counts), self._sum_s

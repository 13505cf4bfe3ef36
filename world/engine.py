"""Virtual time: a heap of (time, event). Nothing here sleeps, and one seed decides everything."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

_MOST_AT_ONCE = 100_000
"""More events at one instant are a core that asks to be woken at once, again and again."""


class Engine:
    """Runs callbacks in the order of their virtual time; equal times run in the order in which they were set."""

    def __init__(self, start_ns: int, seed: int) -> None:
        self.now_ns = start_ns
        self.random = Random(seed)
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when_ns: int, callback: Callable[[], None]) -> None:
        """Run `callback` at `when_ns`, or next if that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), self._count, callback))

    def after(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self.at(self.now_ns + delay_ns, callback)

    def every(self, interval_ns: int, callback: Callable[[], None]) -> None:
        """Run `callback` now and then once per interval, for ever."""

        def again() -> None:
            callback()
            self.after(interval_ns, again)

        self.after(0, again)

    def run_until(self, end_ns: int) -> None:
        """Run everything that is due up to and including `end_ns`.

        Raises RuntimeError when time stands still: somebody asks to be woken at once, again and again.
        """
        at_once = 0
        heap, take = self._heap, heapq.heappop
        while heap and heap[0][0] <= end_ns:
            when_ns, _, callback = take(heap)
            at_once = at_once + 1 if when_ns == self.now_ns else 0
            if at_once > _MOST_AT_ONCE:
                raise RuntimeError(f"time stands still at {when_ns}: {at_once} events, the last of {callback}")
            self.now_ns = when_ns
            callback()
        self.now_ns = end_ns

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between_ns(self, low_ns: int, high_ns: int) -> int:
        """A delay from a skewed distribution: mostly near `low_ns`, at times near `high_ns`."""
        return low_ns + int((high_ns - low_ns) * self.random.random() ** 3)

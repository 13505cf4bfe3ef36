"""The only place that reads a clock. Shells stamp the time and pass it on; cores are given `now_ns`."""

from __future__ import annotations

import time
from collections.abc import Callable

_SLEW = 10
"""While we are ahead of the wall our time loses one part in so many."""


class Clock:
    """UTC nanoseconds that never decrease and never stand still.

    A wall clock that is set forward moves us at once. One that is set back does not: our time goes on by the
    monotonic clock, a tenth slower, until the wall has caught up. If it stood still, no time-out would fire and old
    prices would pass for fresh ones.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        # our time and the monotonic one when the wall was last with us or in front of us
        self._since_ns = 0
        self._begun_ns = 0

    def now_ns(self) -> int:
        wall_ns, monotonic_ns = self._wall(), self._monotonic()
        passed_ns = monotonic_ns - self._begun_ns
        passed_ns -= passed_ns // _SLEW
        if self._since_ns and wall_ns - self._since_ns < passed_ns:
            return self._since_ns + passed_ns
        self._since_ns, self._begun_ns = wall_ns, monotonic_ns
        return wall_ns


def monotonic_ns() -> int:
    """For durations within one process."""
    return time.monotonic_ns()


def boottime_ns() -> int:
    """Like `monotonic_ns`, but it also runs while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """The raw wall clock, for signatures and for measuring the venue's offset."""
    return time.time_ns()

"""The only place that reads a clock. Shells stamp the time and pass it on; cores are given `now_ns`."""

from __future__ import annotations

import time


class Clock:
    """UTC nanoseconds that never decrease, carried forward by the monotonic clock between readings of the wall.

    A wall clock that is set back holds our time still until it has caught up; one set forward moves us at once.
    """

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns


def monotonic_ns() -> int:
    """For durations within one process."""
    return time.monotonic_ns()


def boottime_ns() -> int:
    """Like `monotonic_ns`, but it also runs while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ns() -> int:
    """The raw wall clock, for signatures and for measuring the venue's offset."""
    return time.time_ns()

"""What a service does about its own errors, and about time that passed without it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

from shared.clock import Clock, boottime_ns
from shared.metrics import Metrics

EXIT_BUG = 70
"""Our own bug, or errors that do not end: supervisord starts the service again."""

FAILURES_MAX = 10
_LOOP_ERROR_FORGOTTEN_NS = 60_000_000_000
_STALL_NS = 2_000_000_000


class Failures:
    """Errors are logged with their traceback, counted and survived; ten in a row from one source are not.

    A failed assertion is our own bug: the process ends at once, before it does anything else with a wrong state.
    `survived` counts them all.
    """

    def __init__(self, log: Any, metrics: Metrics, end_process: Callable[[int], NoReturn] = os._exit) -> None:
        self._log = log
        self._metrics = metrics
        self._end_process = end_process
        self._in_a_row: Counter[str] = Counter()
        self._last_loop_error_ns = 0
        self.survived = 0

    def failed(self, source: str, error: BaseException) -> None:
        if isinstance(error, AssertionError):
            self.fatal(source, error)
        self._in_a_row[source] += 1
        count = self._in_a_row[source]
        self.survived += 1
        self._metrics.error(source)
        self._log.error("handler failed", source=source, in_a_row=count, exc_info=error)
        if count >= FAILURES_MAX:
            self._log.critical("too many errors in a row: the process ends", source=source)
            self._end_process(EXIT_BUG)

    def succeeded(self, source: str) -> None:
        """The errors of `source` were not in a row."""
        self._in_a_row.pop(source, None)

    def loop_error(self, error: BaseException | None, message: str) -> None:
        """An error that nobody else saw. Nothing says that the loop succeeded: a quiet minute counts as that."""
        now_ns = boottime_ns()
        if now_ns - self._last_loop_error_ns > _LOOP_ERROR_FORGOTTEN_NS:
            self.succeeded("loop")
        self._last_loop_error_ns = now_ns
        self.failed("loop", error or RuntimeError(message))

    def fatal(self, source: str, error: BaseException) -> NoReturn:
        self._metrics.error(source)
        self._log.critical("failed assertion: the process ends", source=source, exc_info=error)
        self._end_process(EXIT_BUG)


class StallWatch:
    """Notices time that passed without the process: it was not running (SIGSTOP, suspend, a handler that blocked the
    loop), or its clock was set forward.

    To be checked often; a gap of more than 2 s between two checks is passed to every listener, in nanoseconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checked_ns = boottime_ns()
        self._clock_ns = clock.now_ns()
        self._listeners: list[Callable[[int], None]] = []

    def listen(self, listener: Callable[[int], None]) -> None:
        self._listeners.append(listener)

    def check(self) -> None:
        now_ns = boottime_ns()
        clock_ns = self._clock.now_ns()
        # The time between two checks by either clock: a wall clock that is set forward takes ours with it.
        gap_ns = max(now_ns - self._checked_ns, clock_ns - self._clock_ns)
        self._checked_ns, self._clock_ns = now_ns, clock_ns
        if gap_ns > _STALL_NS:
            for listener in self._listeners:
                listener(gap_ns)

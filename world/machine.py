"""The machine that the desk's processes share: its wall clock can be set."""

from __future__ import annotations

from shared.clock import Clock
from world.engine import Engine


class Machine:
    """The venue keeps true time; the wall clock here is `ahead_ns` in front of it (behind it: < 0)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._unread: list[Clock] = []
        self.ahead_ns = 0
        self.was_set = False

    def set_clock(self, ahead_ns: int) -> None:
        """As an administrator or a time service does it, under the running processes."""
        if ahead_ns != self.ahead_ns and not self.was_set:
            self.was_set = True
            # Until now nobody needed to read them. One that has never been read would follow the wall back.
            for clock in self._unread:
                clock.now_ns()
            self._unread = []
        self.ahead_ns = ahead_ns

    def clock(self) -> Clock:
        """The clock of a process that starts now."""
        clock = Clock(wall=lambda: self._engine.now_ns + self.ahead_ns, monotonic=lambda: self._engine.now_ns)
        if not self.was_set:
            self._unread.append(clock)
        return clock

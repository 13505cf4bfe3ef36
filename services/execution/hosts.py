"""When a host answered last for which strategy: rules for a silent host stand on the heartbeats that name it."""

from __future__ import annotations

from shared.ids import hedged_name
from shared.messages.system import Heartbeat

_STARTING_NS = 30 * 1_000_000_000
"""For so long after it was ready last a host that is not ready is one that starts anew with what it had."""


class HostsHeard:
    """Volatile: after a start or a stall every strategy gets its full silence again.

    A heartbeat says which strategies its host answers for. One that no heartbeat names is silent, however many hosts
    are alive: a host that has given it up says nothing of it.
    """

    def __init__(self) -> None:
        self._heard_ns: dict[str, int] = {}
        self._ready_ns: dict[str, int] = {}
        self._named: dict[str, tuple[str, ...]] = {}
        self._strategy_ns: dict[str, int] = {}
        self._from_ns = 0

    def begin(self, now_ns: int) -> None:
        """Count all silences from now."""
        self._from_ns = now_ns
        self._heard_ns.clear()
        self._strategy_ns.clear()

    def heard(self, beat: Heartbeat, now_ns: int) -> int:
        """A host is alive; for how long (ns) it had been silent."""
        before_ns = self._heard_ns.get(beat.service, self._from_ns)
        self._heard_ns[beat.service] = now_ns
        if beat.ready:
            self._ready_ns[beat.service] = now_ns
            self._named[beat.service] = beat.strategies
        if now_ns - self._ready_ns.get(beat.service, 0) <= _STARTING_NS:
            for strategy in self._named.get(beat.service, ()):
                self._strategy_ns[strategy] = now_ns
        return now_ns - before_ns

    def last_ns(self, strategy: str) -> int:
        """When a host answered last for a strategy, or for the hedges of its trades, or a start or stall since."""
        return self._strategy_ns.get(hedged_name(strategy), self._from_ns)

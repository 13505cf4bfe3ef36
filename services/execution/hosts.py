"""Which strategy host was heard when: rules for a silent host stand on the one that runs the trade's strategy."""

from __future__ import annotations

from shared.ids import hedged_name
from shared.messages.system import Heartbeat
from shared.strategy_hosts import StrategyHosts


class HostsHeard:
    """Volatile: after a start or a stall every host gets its full silence again.

    A heartbeat says which strategies its host runs, so that one that was moved to another host counts there at once.
    Until somebody has said so it is where the configuration of this start has it.
    """

    def __init__(self, configured: StrategyHosts) -> None:
        self._configured = configured
        self._host_of: dict[str, str] = {}
        self._heard_ns: dict[str, int] = {}
        self._from_ns = 0

    def begin(self, now_ns: int) -> None:
        """Count all silences from now."""
        self._from_ns = now_ns
        self._heard_ns.clear()

    def heard(self, beat: Heartbeat, now_ns: int) -> int:
        """A host is alive; for how long (ns) it had been silent."""
        before_ns = self._heard_ns.get(beat.service, self._from_ns)
        self._heard_ns[beat.service] = now_ns
        for strategy in beat.strategies:
            self._host_of[strategy] = beat.service
        return now_ns - before_ns

    def of(self, strategy: str) -> str:
        """The host of a strategy, or of the hedges of its trades."""
        if not self._host_of:
            return self._configured.of(strategy)
        return self._host_of.get(hedged_name(strategy)) or self._configured.of(strategy)

    def last_ns(self, strategy: str) -> int:
        """When the host of a strategy was heard last; after a start or a stall, the time of that."""
        return self._heard_ns.get(self.of(strategy), self._from_ns)

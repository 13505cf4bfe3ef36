"""When statuses are published: all of them every now and then, at once those that have changed in more than words."""

from __future__ import annotations

from collections.abc import Callable, Collection

from services.strategy.gates import essence
from shared.messages.control import StrategyStatus
from shared.messages.steps import Publish
from shared.messages.topics import topic_of

_DELAY_NS = 5_000_000
"""How long after a request the statuses that it changed are published."""


class StatusNews:
    """`changed`: names of strategies that may have changed since they were last looked at. `due_ns`: when all are
    published next."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._published: dict[str, object] = {}
        self.changed: set[str] = set()
        self.due_ns = 0
        self._waits_until_ns = 0

    def is_due(self, now_ns: int) -> bool:
        return now_ns >= self._waits_until_ns and (bool(self.changed) or now_ns >= self.due_ns)

    def put_off(self, now_ns: int) -> None:
        """Something more urgent leaves first; what is due is published soon after, and not with the next input, which
        is often decided on before the urgent has left."""
        if self.is_due(now_ns):
            self.due_ns = self._waits_until_ns = now_ns + _DELAY_NS

    def publish(
        self,
        all_statuses: Callable[[], list[StrategyStatus]],
        statuses_of: Callable[[Collection[str]], list[StrategyStatus]],
        now_ns: int,
        cause_id: str,
    ) -> list[Publish]:
        """All of them when it is time for it, else those of which more than the wording has changed."""
        is_time = now_ns >= self.due_ns
        if is_time:
            self.due_ns = now_ns + self._interval_ns
        statuses = all_statuses() if is_time else statuses_of(self.changed)
        self.changed.clear()
        found = []
        for status in statuses:
            told = essence(status)
            if is_time or told != self._published.get(status.strategy):
                self._published[status.strategy] = told
                topic = topic_of("strat.{strategy}.status", strategy=status.strategy)
                found.append(Publish(topic, status, cause_id))
        return found

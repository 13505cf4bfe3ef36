"""Tells of open trades that no strategy host looks after."""

from __future__ import annotations

from collections import defaultdict

from services.execution.workspace import SECOND, Workspace
from shared.ids import hedged_name

_PATIENCE_NS = 60 * SECOND
_LOOK_NS = 5 * SECOND
_NAMED_MAX = 5


class HostlessTrades:
    """Volatile: who is told of it is told again after a restart, when it still holds."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._due_ns = 0
        self._told: set[str] = set()

    def look(self) -> None:
        """To be called with each heartbeat of anybody: a desk of which nothing is heard is another matter."""
        work = self._work
        if work.now_ns < self._due_ns:
            return
        self._due_ns = work.now_ns + _LOOK_NS
        trades: defaultdict[str, list[str]] = defaultdict(list)
        for trade in work.book.active_trades():
            strategy = hedged_name(trade.request.strategy)
            if work.now_ns - work.hosts.last_ns(strategy) > _PATIENCE_NS:
                trades[strategy].append(trade.trade_id)
        for strategy, ids in trades.items():
            more = f" and {len(ids) - _NAMED_MAX} more" if len(ids) > _NAMED_MAX else ""
            text = (
                f"no strategy host answers for {strategy}: nobody looks at the exits by price of "
                f"{', '.join(ids[:_NAMED_MAX])}{more}; execution keeps exits by time, deadlines and losses"
            )
            work.alert("trade_without_host", "critical", strategy, text)
        for strategy in self._told - trades.keys():
            work.resolve("trade_without_host", strategy, f"a host answers for {strategy} again, or nothing is open")
        self._told = set(trades)

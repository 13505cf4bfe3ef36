"""The orders of the account as execution tells of them: how many are at work, and how many were sent lately."""

from __future__ import annotations

from itertools import takewhile

from shared.messages.trades import FINAL_ORDER_STATES, OrderUpdate

MINUTE_NS = 60 * 1_000_000_000


class OrderWatch:
    """Volatile: execution's replay tells of its orders again."""

    def __init__(self) -> None:
        self._working: set[int] = set()
        self._sent: dict[int, int] = {}
        """When each order of the last minute was sent, by its id."""

    def forget(self) -> None:
        self._working.clear()
        self._sent.clear()

    def on_order(self, update: OrderUpdate, now_ns: int) -> None:
        if update.state in FINAL_ORDER_STATES:
            self._working.discard(update.client_order_id)
        else:
            self._working.add(update.client_order_id)
        if update.created_ns > now_ns - MINUTE_NS:
            self._sent[update.client_order_id] = update.created_ns
        for number in tuple(takewhile(lambda known: self._sent[known] <= now_ns - MINUTE_NS, self._sent)):
            del self._sent[number]

    @property
    def working(self) -> int:
        return len(self._working)

    def sent_since(self, start_ns: int) -> int:
        return sum(sent_ns > start_ns for sent_ns in self._sent.values())

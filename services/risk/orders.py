"""The orders of the account as execution tells of them: how many are at work, and how many were sent lately."""

from __future__ import annotations

from heapq import heappop, heappush

from shared.messages.trades import FINAL_ORDER_STATES, OrderUpdate

MINUTE_NS = 60 * 1_000_000_000


class OrderWatch:
    """Volatile: execution's replay tells of its orders again.

    A quoting strategy changes its orders thousands of times a second, most of them without a change of what is
    watched here: such an update costs two looks into a table.
    """

    def __init__(self) -> None:
        self._working: set[int] = set()
        self._sent: dict[int, int] = {}
        """When each order of the last minute was sent, by its id."""

        self._oldest: list[tuple[int, int]] = []
        """A heap of the same, as (when it was sent, its id): a replay does not tell of them in that order. Taking
        the first of a dict again and again would step over all that was taken before."""

    def forget(self) -> None:
        self._working.clear()
        self._sent.clear()
        self._oldest.clear()

    def on_order(self, update: OrderUpdate, now_ns: int) -> None:
        number, sent_ns = update.client_order_id, update.created_ns
        if update.state in FINAL_ORDER_STATES:
            self._working.discard(number)
        else:
            self._working.add(number)
        if sent_ns > now_ns - MINUTE_NS and self._sent.get(number) != sent_ns:
            self._sent[number] = sent_ns
            heappush(self._oldest, (sent_ns, number))
            self._forget_until(now_ns - MINUTE_NS)

    @property
    def working(self) -> int:
        return len(self._working)

    def sent_since(self, start_ns: int) -> int:
        """How many were sent after this instant. Those sent before it are forgotten: it may not go back."""
        self._forget_until(start_ns)
        return len(self._sent)

    def _forget_until(self, instant_ns: int) -> None:
        while self._oldest and self._oldest[0][0] <= instant_ns:
            sent_ns, number = heappop(self._oldest)
            # what was sent again since has a later place in the heap
            if self._sent.get(number) == sent_ns:
                del self._sent[number]

"""Tells a strategy once of each trade of its that has ended, over restarts of the host.

The row that says so is committed with what the call brought about. A host that is killed within the call has told
nobody, and tells again.
"""

from __future__ import annotations

from collections.abc import Callable

from services.strategy.rows import ClosingTold, Row
from services.strategy.slot import Slot
from shared.messages.trades import TradeUpdate


class Closings:
    """The ended trades of which their strategies are still to be told. Volatile: execution replays them."""

    def __init__(self, record: Callable[[Row], None], failed: Callable[[Slot, str | None], None]) -> None:
        self._record = record
        self._failed = failed
        self._seen_open: set[str] = set()
        self._owed: dict[str, TradeUpdate] = {}

    def on_trade(self, slot: Slot, trade: TradeUpdate) -> None:
        """Tell of a trade that has ended: one that was seen open, or was made since closings are followed."""
        if slot.loaded.on_trade_closed is None:
            return
        if not trade.is_final:
            self._seen_open.add(trade.trade_id)
            return
        since_ns = slot.memory.followed_ns
        is_ours = trade.trade_id in self._seen_open or (since_ns is not None and trade.created_ns >= since_ns)
        self._seen_open.discard(trade.trade_id)
        if is_ours and not slot.memory.is_closing_told(trade.ordinal):
            self._owed[trade.trade_id] = trade
            self.tell(slot)

    def tell(self, slot: Slot) -> None:
        """Tell what is owed to a strategy; nothing while it has failed."""
        for trade in [each for each in self._owed.values() if each.strategy == slot.name]:
            if slot.failure is not None:
                return
            del self._owed[trade.trade_id]
            self._record(ClosingTold(strategy=slot.name, ordinal=trade.ordinal))
            self._failed(slot, slot.tell_closed(trade))

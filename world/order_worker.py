"""What the simulation's strategies that work orders of their own have in common."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messages.control import Gate
from shared.messages.trades import FINAL_ORDER_STATES, LegOrder, OrderUpdate, TradeUpdate
from shared.strategy.protocol import Intent, IntentOutcome, OpenStructure
from shared.strategy.views import DeskView
from world.faults import SECOND


class OrderWorker:
    """Knows its open orders, and is content with every answer. `on_market` is the strategy's own."""

    def __init__(self) -> None:
        self._orders: dict[int, OrderUpdate] = {}
        self._due_ns = 0
        self._turn = 0
        self._opened = 0

    def _mine(self, trade: TradeUpdate) -> list[OrderUpdate]:
        """The open orders of a trade."""
        return [order for order in self._orders.values() if order.trade_id == trade.trade_id]

    def on_order(self, order: OrderUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        self._orders[order.client_order_id] = order
        if order.state in FINAL_ORDER_STATES:
            del self._orders[order.client_order_id]
        return ()

    def on_trade(self, trade: TradeUpdate, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_timer(self, desk: DeskView, now_ns: int) -> Sequence[Intent]:
        return ()

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None:
        return None

    def gates(self) -> Sequence[Gate]:
        return ()

    def next_deadline_ns(self) -> int | None:
        return None


def quoting_trade(leg: LegOrder, now_ns: int, *, quoting_s: float, held_s: int) -> OpenStructure:
    """A trade of one leg whose orders its strategy works for `quoting_s`, closed after `held_s` at the latest."""
    return OpenStructure(
        legs=(leg,),
        execution_mode="quoting",
        policy="best_effort",
        quoting_s=quoting_s,
        hard_deadline_ns=now_ns + held_s * SECOND,
    )

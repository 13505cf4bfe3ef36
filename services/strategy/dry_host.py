"""What a host does with trades of a dry run: opens, closes and rolls them at once, and tells their strategies."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from services.strategy.dry_run import DryDesk, legs_text
from services.strategy.slot import Slot
from shared.messages.trades import TradeUpdate
from shared.strategy.protocol import IntentOutcome, OpenStructure


class DryHost:
    """`alert`, `tell_outcome` and `tell_trade` are the core's."""

    def __init__(
        self,
        dry: DryDesk,
        alert: Callable[..., None],
        tell_outcome: Callable[[Slot, IntentOutcome], None],
        tell_trade: Callable[[Slot, TradeUpdate], None],
    ) -> None:
        self._dry = dry
        self._alert = alert
        self._tell_outcome = tell_outcome
        self._tell_trade = tell_trade

    def open(self, slot: Slot, intent: OpenStructure, now_ns: int) -> None:
        """Open what a strategy wants, and tell it."""
        trade = self._dry.open(slot.name, intent, now_ns)
        if isinstance(trade, str):
            outcome = IntentOutcome(kind="refused", code="dry_run_unpriced", reason=f"dry run: {trade}")
            self._tell_outcome(slot, outcome)
            return
        reason = f"dry run: would open {legs_text(intent)}"
        self._alert("dry_run_signal", "info", slot.name, f"{slot.name}: {reason}")
        outcome = IntentOutcome(kind="reported", code="dry_run", reason=reason, trade_id=trade.trade_id)
        self._tell_outcome(slot, outcome)
        self._tell_trade(slot, trade)

    def close(self, slot: Slot | None, trade: TradeUpdate, reason: str, now_ns: int) -> TradeUpdate | None:
        """End a trade and tell its strategy; None while it has no price."""
        ended = self._dry.close(trade, reason, now_ns)
        if ended is not None and slot is not None:
            self._tell_trade(slot, ended)
        return ended

    def roll(
        self,
        slot: Slot,
        trade: TradeUpdate,
        structure: OpenStructure,
        net_limit_usd: float,
        because: str,
        now_ns: int,
    ) -> str:
        """Close a trade and open its successor, if that keeps the net limit at the touch; what became of it.

        The strategy is told of the end once its successor stands, as it would be of one that is on its way: before,
        it would open another trade in the place that looks free.
        """
        ended = self._dry.close(trade, because, now_ns)
        if ended is None:
            return "a leg that is to be closed has no price"
        assert ended.close_cost_usd is not None, "what a dry run closes has a price"
        budget_usd = Decimal(str(net_limit_usd)) - ended.close_cost_usd
        successor = self._dry.open(slot.name, structure, now_ns, rolled_from=ended, budget_usd=budget_usd)
        self._tell_trade(slot, ended)
        if isinstance(successor, str):
            text = f"dry run: trade {trade.trade_id} is closed and nothing would be opened in its place: {successor}"
            self._alert("roll_ended_flat", "warning", trade.trade_id, f"{slot.name}: {text}")
            return successor
        self._alert("dry_run_signal", "info", slot.name, f"{slot.name}: dry run: {because}")
        self._tell_trade(slot, successor)
        return because

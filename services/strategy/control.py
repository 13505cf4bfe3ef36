"""What an operator tells strategies: pause, resume, stop, run once; and by closing a trade of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.strategy.hedge_pauses import closed_by_hand
from services.strategy.rows import ACTIONS, RUNS, Action, Row, StrategyTold
from services.strategy.slot import Slot
from shared.messages.control import StrategyCommand, StrategyCommandDone
from shared.messages.trades import Refusal, TradeUpdate


def command(
    order: StrategyCommand,
    slots: Mapping[str, Slot],
    record: Callable[[Row], None],
    revive: Callable[[Slot], None],
) -> StrategyCommandDone | Refusal:
    """Carry out a command on the strategies that it names. `revive` starts one that has failed anew."""
    action = next((known for known in ACTIONS if known == order.action), None)
    if action is None:
        detail = f"action {order.action!r} is unknown"
        return Refusal(code="unknown_action", detail=detail, remedy=f"use one of {', '.join(ACTIONS)}")
    names = list(slots) if order.strategy == "*" else [order.strategy]
    if order.strategy != "*" and order.strategy not in slots:
        known = ", ".join(slots) or "none"
        detail = f"strategy {order.strategy!r} is not running here"
        return Refusal(code="unknown_strategy", detail=detail, remedy=f"this host runs: {known}")
    for name in names:
        slot = slots[name]
        if slot.memory.is_news(action):
            record(StrategyTold(strategy=name, action=action, requested_by=order.requested_by))
        if action in RUNS:
            revive(slot)
    return StrategyCommandDone(strategies=tuple(names))


def heed_close(slot: Slot, trade: TradeUpdate, record: Callable[[Row], None]) -> None:
    """What a person closes of a strategy that hedges the account stays closed: the strategy is paused, once for each
    such trade. One that was told to stop stays so."""
    by = closed_by_hand(trade) if slot.loaded.trades_as else ""
    if by and not slot.memory.has_paused_for(trade.trade_id):
        action: Action = "stop" if slot.memory.told == "stop" else "pause"
        record(StrategyTold(strategy=slot.name, action=action, requested_by=by, closed=trade.trade_id))

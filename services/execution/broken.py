"""What becomes of the rest of a trade that lost a leg from outside: as was declared when it was asked for."""

from __future__ import annotations

from services.execution.config import ExecutionConfig
from services.execution.records import Trade
from shared.messages.trades import IfBroken


def if_broken(trade: Trade, config: ExecutionConfig) -> IfBroken:
    """What is done with what is left of it. An opening that was to be undone is closed, whatever was declared."""
    if trade.opened_ns is None:
        return "close"
    return trade.request.if_broken or config.if_broken


def is_held_broken(trade: Trade, config: ExecutionConfig) -> bool:
    """True while it is broken, and kept: nobody asked to close it, and it was declared that the rest stays."""
    return trade.state == "BROKEN" and trade.close is None and if_broken(trade, config) == "hold"

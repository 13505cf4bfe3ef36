"""The plans by mode: how an opening is worked, how an ordinary close is, and what each opening asks for."""

from __future__ import annotations

from services.execution.limit import LimitPlan
from services.execution.plan import ClosingPlan, Manner, OpeningPlan
from services.execution.quoting import QuotingPlan
from services.execution.records import Trade
from services.execution.rfq import RfqClosePlan, RfqPlan
from services.execution.smart import SmartClosing, SmartOpening
from shared.messages.trades import ExecutionMode

OPENING_PLANS: dict[ExecutionMode, OpeningPlan] = {
    "limit": LimitPlan(),
    "smart": SmartOpening(),
    "rfq": RfqPlan(),
    "quoting": QuotingPlan(),
}
"""The plans that are built. A mode that is missing here is refused when the trade is asked for."""

CLOSING_PLANS: dict[ExecutionMode, ClosingPlan] = {"smart": SmartClosing(), "rfq": RfqClosePlan()}
"""How an ordinary close is worked. A mode that is missing here is closed by the staircase, which every other one
falls back to, and which alone unwinds, flattens and closes what is broken."""


def manner_of(trade: Trade) -> Manner:
    """What the plan that opened the trade asks of everything around it."""
    return OPENING_PLANS[trade.mode].manner

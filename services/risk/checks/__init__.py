"""The pre-trade checks, in the order in which they are asked; the first that fails is the answer.

A check may rely on those before it having passed. Each has one stable reason code of its own, with the figure that
broke it and the limit.
"""

from __future__ import annotations

from collections.abc import Callable

from services.risk.checks import gates, losses, portfolio, structure
from services.risk.situation import LIMITED_GREEKS, Situation, Violation

Check = Callable[[Situation], Violation | None]
GATES: tuple[Check, ...] = (
    gates.account_mismatch,
    gates.halted,
    gates.disk_full,
    gates.intent_expired,
    gates.not_ready,
    gates.stale_account,
)
"""Asked even before an earlier grant of the same intent is given again."""
CHECKS: tuple[Check, ...] = (
    structure.duplicate_intent,
    losses.no_equity,
    losses.drawdown,
    losses.daily_loss,
    losses.grant_rate,
    losses.open_trades,
    structure.bad_structure,
    structure.unknown_instrument,
    structure.stale_market,
    structure.last_trade,
    structure.no_mark,
    structure.order_quantity,
    structure.order_notional,
    structure.price_collar,
    portfolio.position_limit,
    portfolio.greeks_unknown,
    *(portfolio.greek_limit(position, name) for position, name in enumerate(LIMITED_GREEKS)),
    portfolio.margin,
    portfolio.margin_utilisation,
    losses.trade_risk,
)


def first_violation(situation: Situation, checks: tuple[Check, ...]) -> Violation | None:
    """The first check that says no."""
    for check in checks:
        if violation := check(situation):
            return violation
    return None

"""The pre-trade checks, in the order in which they are asked; the first that fails is the answer.

A check may rely on those before it having passed. Each has one stable reason code of its own, with the figure that
broke it and the limit.
"""

from __future__ import annotations

from collections.abc import Callable

from services.risk.checks import gates, losses, portfolio, structure
from services.risk.limits import Family, within
from services.risk.situation import Situation, Violation

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
    gates.guarded,
    losses.no_equity,
    losses.drawdown,
    losses.daily_loss,
    within(losses.grant_rate),
    within(losses.open_trades),
    structure.bad_structure,
    within(losses.order_rate),
    structure.unknown_instrument,
    structure.stale_market,
    structure.last_trade,
    structure.no_mark,
    structure.order_quantity,
    within(structure.order_notional),
    structure.price_collar,
    within(portfolio.position_limit),
    within(portfolio.concentration),
    portfolio.greeks_unknown,
    within(portfolio.greek_limits),
    within(portfolio.underlying_greek_limits),
    within(portfolio.margin),
    within(portfolio.cash),
    within(portfolio.margin_utilisation),
    within(portfolio.hedge_room),
    losses.unbounded_loss,
    within(losses.trade_risk),
    within(losses.total_risk),
    portfolio.stress_unknown,
    within(portfolio.stressed_loss),
)

STANDING: tuple[Check, ...] = (
    gates.guarded,
    losses.no_equity,
    losses.drawdown,
    losses.daily_loss,
    portfolio.greeks_unknown,
    portfolio.stress_unknown,
)
"""Those of CHECKS that say no to any request, whatever it asks for."""

PREREQUISITES: frozenset[Check] = frozenset(
    {
        gates.account_mismatch,
        gates.not_ready,
        losses.no_equity,
        structure.bad_structure,
        structure.unknown_instrument,
        structure.stale_market,
        structure.no_mark,
        structure.price_collar,
        portfolio.greeks_unknown,
    }
)
"""Those of GATES and CHECKS without which the ones after them have nothing to judge by."""

SHOWN: tuple[Family, ...] = (
    losses.fallen,
    losses.grant_rate,
    losses.open_trades,
    losses.order_rate,
    losses.trade_risk,
    losses.total_risk,
    structure.order_notional,
    portfolio.position_limit,
    portfolio.concentration,
    portfolio.greek_limits,
    portfolio.underlying_greek_limits,
    portfolio.margin,
    portfolio.margin_utilisation,
    portfolio.stressed_loss,
)
"""The limits that an operator sees with their use."""


def first_violation(situation: Situation, checks: tuple[Check, ...]) -> Violation | None:
    """The first check that says no."""
    for check in checks:
        if violation := check(situation):
            return violation
    return None

"""What the guard shows of itself: each limit with its use, and why nothing can be granted now."""

from __future__ import annotations

from services.risk.checks import GATES, SHOWN, STANDING, first_violation
from services.risk.limits import uses
from services.risk.situation import Situation
from shared.messages.control import RequestGrant
from shared.messages.risk import RiskLimits


def nothing_asked(account_id: str, now_ns: int) -> RequestGrant:
    """A request without legs: the situation that it is judged in is how things are."""
    return RequestGrant(
        intent_id="",
        account_id=account_id,
        strategy="",
        legs=(),
        execution_mode="limit",
        max_loss_usd=None,
        valid_until_ns=now_ns + 1,
    )


def limits_of(now: Situation) -> RiskLimits:
    """All limits with their use, given a situation in which nothing is asked and the account is known."""
    refused = first_violation(now, GATES) or first_violation(now, STANDING)
    return RiskLimits(
        account_id=now.account_id,
        received_ns=now.known_account.received_ns,
        limits=uses(now, SHOWN) if now.equity_usd > 0 else (),
        grants_refused="" if refused is None else f"{refused.code}: {refused.detail}",
    )

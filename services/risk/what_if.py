"""Would this be granted now? Every check is asked, nothing is granted."""

from __future__ import annotations

import math

from services.risk.checks import CHECKS, GATES, PREREQUISITES, SHOWN
from services.risk.limits import uses
from services.risk.margin_models import margins_of
from services.risk.situation import Situation, Violation
from shared.messages.control import RequestGrant
from shared.messages.risk import MarginEffect, WhatIf, WhatIfAnswer, WhatIfRefusal

INTENT_ID = "what-if"
_DETAIL_MAX = 500


def as_request(what_if: WhatIf, now_ns: int) -> RequestGrant:
    """The request for a grant that is asked about."""
    return RequestGrant(
        intent_id=INTENT_ID,
        account_id=what_if.account_id,
        strategy=what_if.strategy,
        legs=what_if.legs,
        execution_mode="auto",
        max_loss_usd=what_if.max_loss_usd,
        valid_until_ns=now_ns + 1,
    )


def answer(s: Situation) -> WhatIfAnswer:
    """All that would refuse it, and what it would do to margin and limits."""
    refusals, blind = _refusals(s)
    told = tuple(
        WhatIfRefusal(code=found.code, detail=found.detail[:_DETAIL_MAX], value=found.value, limit=found.limit)
        for found in refusals
    )
    if blind:
        return WhatIfAnswer(refusals=told)
    before = {position.symbol: float(position.quantity) for position in s.known_account.positions}
    after = dict(before)
    for leg in s.legs:
        after[leg.order.symbol] = after.get(leg.order.symbol, 0.0) + leg.quantity
    then = margins_of(s.config, s.market, after, s.now_ns)
    effects = tuple(
        MarginEffect(model=model, before_usd=now.initial, after_usd=then[model].initial)
        for model, now in margins_of(s.config, s.market, before, s.now_ns).items()
        if math.isfinite(now.initial + then[model].initial)
    )
    return WhatIfAnswer(
        refusals=told,
        margin_usd=s.margin_usd,
        available_margin_usd=float(s.known_account.available_margin_usd),
        max_loss_usd=s.max_loss_usd,
        margins=effects,
        limits_before=uses(s, SHOWN),
        limits_after=uses(s, SHOWN, after=True),
    )


def _refusals(s: Situation) -> tuple[list[Violation], bool]:
    """Those of all checks that can be asked, and whether one said no without which the others cannot."""
    found = []
    for check in (*GATES, *CHECKS):
        if violation := check(s):
            found.append(violation)
            if check in PREREQUISITES:
                return found, True
    return found, False

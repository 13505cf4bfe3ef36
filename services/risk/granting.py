"""The answer to a request for a grant: the signed envelope, or the refusal with its figure."""

from __future__ import annotations

from services.risk.situation import Situation, Violation
from shared.messages.control import GrantRefused, RequestGrant
from shared.messages.grants import signed
from shared.messages.trades import Grant, GrantLeg

_MS = 1_000_000
_NAME_MAX, _DETAIL_MAX = 200, 500
"""Characters of a refusal, which is published and kept: the request may have had any number."""


def granted(situation: Situation, halt_epoch: int, grant_key: bytes) -> Grant:
    """The envelope for what is asked for, after every check has let it through."""
    ask, now_ns = situation.ask, situation.now_ns
    legs = tuple(
        GrantLeg(
            symbol=leg.order.symbol,
            side=leg.order.side,
            max_quantity=leg.order.quantity,
            worst_price=leg.worst_price,
        )
        for leg in situation.legs
        if leg.worst_price is not None
    )
    assert len(legs) == len(ask.legs), "the check `price_collar` lets no leg without a price through"
    return signed(
        Grant(
            grant_id=f"{ask.intent_id}-{now_ns}",
            intent_id=ask.intent_id,
            account_id=situation.account_id,
            legs=legs,
            deadline_ns=now_ns + situation.config.ttl_ms(ask.opening_s) * _MS,
            halt_epoch=halt_epoch,
            issued_ns=now_ns,
            margin_usd=situation.margin_usd,
            max_loss_usd=situation.max_loss_usd,
        ),
        grant_key,
    )


def refused(ask: RequestGrant, violation: Violation) -> GrantRefused:
    """Why nothing is granted."""
    return GrantRefused(
        intent_id=ask.intent_id[:_NAME_MAX],
        strategy=ask.strategy[:_NAME_MAX],
        code=violation.code,
        detail=violation.detail[:_DETAIL_MAX],
        value=violation.value,
        limit=violation.limit,
    )

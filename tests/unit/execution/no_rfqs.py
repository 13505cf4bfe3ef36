"""A venue that offers no requests for quote, for tests of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messages.rfq import (
    AcceptRefused,
    BlockTrade,
    RfqCancelRefused,
    RfqLeg,
    RfqRefused,
    VenueQuote,
    VenueRfq,
)
from shared.venues.ports import VenueError

_CODE, _TEXT = 7001, "no permission"


class NoRfqs:
    """The calls of requests for quote: each is refused, each read fails for want of the right."""

    async def create_rfq(self, rfq_id: str, legs: Sequence[RfqLeg], *, closes: bool) -> RfqRefused:
        return RfqRefused(rfq_id=rfq_id, kind="auth", code=_CODE, text=_TEXT)

    async def cancel_rfq(self, request_id: str) -> RfqCancelRefused:
        return RfqCancelRefused(request_id=request_id, code=_CODE, text=_TEXT)

    async def accept_quote(self, request_id: str, quote_id: str, *, closes: bool) -> AcceptRefused:
        return AcceptRefused(request_id=request_id, quote_id=quote_id, kind="auth", code=_CODE, text=_TEXT)

    async def quotes_received(self, request_id: str) -> tuple[VenueQuote, ...]:
        raise VenueError("auth", _TEXT, _CODE)

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]:
        raise VenueError("auth", _TEXT, _CODE)

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]:
        raise VenueError("auth", _TEXT, _CODE)

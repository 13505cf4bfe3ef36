"""Carries the effects of requests for quote to the venue. It decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from services.execution.effects import (
    AcceptQuote,
    CancelRfq,
    CreateRfq,
    FetchQuotes,
    QueryBlockTrades,
    QueryRfqs,
    RfqEffect,
)
from shared.clock import Clock
from shared.messages.rfq import (
    AcceptUnknown,
    BlockTradesFailed,
    BlockTradesFetched,
    QuotesFailed,
    QuotesFetched,
    RfqCancelUnknown,
    RfqOutcome,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
)
from shared.venues.ports import RfqGateway, VenueError


class Errand(NamedTuple):
    """The call that an effect asks for, its name, and its outcome should it fail here."""

    work: Coroutine[Any, Any, RfqOutcome]
    name: str
    if_failed: RfqOutcome


class RfqCourier:
    """A creation or an accept that has not come back after `deadline_s` is given up, so that nothing is sent later
    than the core counts with."""

    def __init__(self, gateway: RfqGateway, clock: Clock, deadline_s: float) -> None:
        self._gateway = gateway
        self._clock = clock
        self._deadline_s = deadline_s

    def errand(self, effect: RfqEffect) -> Errand:
        match effect:
            case CreateRfq(rfq_id=rfq_id):
                failed = RfqUnknown(rfq_id=rfq_id, reason="the request failed here")
                return Errand(self._create(effect), f"rfq-create-{rfq_id}", failed)
            case AcceptQuote(request_id=request_id, quote_id=quote_id):
                lost = AcceptUnknown(request_id=request_id, quote_id=quote_id, reason="the accept failed here")
                return Errand(self._accept(effect), f"rfq-accept-{quote_id}", lost)
            case CancelRfq(request_id=request_id):
                unknown = RfqCancelUnknown(request_id=request_id, reason="the cancel failed here")
                return Errand(self._gateway.cancel_rfq(request_id), f"rfq-cancel-{request_id}", unknown)
            case FetchQuotes(request_id=request_id):
                unread = QuotesFailed(request_id=request_id, reason="the read failed here")
                return Errand(self._quotes(request_id), f"rfq-quotes-{request_id}", unread)
            case QueryRfqs(since_ns=since_ns):
                return Errand(self._rfqs(since_ns), "rfq-list", RfqsFailed(reason="the read failed here"))
            case QueryBlockTrades(since_ns=since_ns):
                none = BlockTradesFailed(reason="the read failed here")
                return Errand(self._block_trades(since_ns), "block-trades", none)

    async def _create(self, effect: CreateRfq) -> RfqOutcome:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._gateway.create_rfq(effect.rfq_id, effect.legs, closes=effect.closes)
        except TimeoutError:
            return RfqUnknown(rfq_id=effect.rfq_id, reason=f"no answer within {self._deadline_s:g} s")

    async def _accept(self, effect: AcceptQuote) -> RfqOutcome:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._gateway.accept_quote(effect.request_id, effect.quote_id, closes=effect.closes)
        except TimeoutError:
            return AcceptUnknown(
                request_id=effect.request_id,
                quote_id=effect.quote_id,
                reason=f"no answer within {self._deadline_s:g} s",
            )

    async def _quotes(self, request_id: str) -> QuotesFetched | QuotesFailed:
        asked_ns = self._clock.now_ns()
        try:
            quotes = await self._gateway.quotes_received(request_id)
        except VenueError as error:
            return QuotesFailed(request_id=request_id, reason=f"{error.kind}: {error}")
        return QuotesFetched(request_id=request_id, asked_ns=asked_ns, quotes=quotes)

    async def _rfqs(self, since_ns: int) -> RfqsFetched | RfqsFailed:
        asked_ns = self._clock.now_ns()
        try:
            rfqs = await self._gateway.rfqs(since_ns)
        except VenueError as error:
            return RfqsFailed(reason=f"{error.kind}: {error}", unsupported=error.kind in ("rejected", "auth"))
        return RfqsFetched(asked_ns=asked_ns, since_ns=since_ns, rfqs=rfqs)

    async def _block_trades(self, since_ns: int) -> BlockTradesFetched | BlockTradesFailed:
        asked_ns = self._clock.now_ns()
        try:
            trades = await self._gateway.block_trades(since_ns)
        except VenueError as error:
            return BlockTradesFailed(reason=f"{error.kind}: {error}")
        return BlockTradesFetched(asked_ns=asked_ns, since_ns=since_ns, trades=trades)

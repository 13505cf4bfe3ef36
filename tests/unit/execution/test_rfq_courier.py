"""Effects of requests for quote go to the venue and every outcome comes back, whatever the gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from services.execution.courier import Courier
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
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    BlockTradesFailed,
    BlockTradesFetched,
    QuoteAccepted,
    QuoteLeg,
    QuotesFailed,
    QuotesFetched,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.venues.ports import VenueError
from tests.unit.execution.play import CALL
from tests.unit.execution.test_courier import ScriptedGateway

LEGS = (RfqLeg(symbol=CALL, side="buy", quantity=Decimal(1)),)
QUOTE = VenueQuote(
    quote_id="q",
    request_id="r",
    quote_side="sell",
    state="open",
    legs=(QuoteLeg(symbol=CALL, side="sell", quantity=Decimal(1), price=Decimal(900)),),
    created_ns=1,
    expiry_ns=2,
)
REQUEST = VenueRfq(request_id="r", state="active", legs=LEGS, created_ns=1, expiry_ns=2)
TRADE = BlockTrade(block_trade_id="q", request_id="r", quote_id="q", role="taker", legs=(), venue_ns=3)

EVERY: tuple[tuple[RfqEffect, type, type], ...] = (
    (CreateRfq(rfq_id="ours", legs=LEGS), RfqCreated, RfqUnknown),
    (AcceptQuote(request_id="r", quote_id="q"), QuoteAccepted, AcceptUnknown),
    (CancelRfq(request_id="r"), RfqCancelled, RfqCancelUnknown),
    (FetchQuotes(request_id="r"), QuotesFetched, QuotesFailed),
    (QueryRfqs(since_ns=5), RfqsFetched, RfqsFailed),
    (QueryBlockTrades(since_ns=5), BlockTradesFetched, BlockTradesFailed),
)
"""Each effect with what comes back of it, and what does when nothing is known."""


class QuotingGateway(ScriptedGateway):
    """A venue with one request, one quote and one block trade. `closing` notes what was said to close."""

    def __init__(self) -> None:
        super().__init__()
        self.placing.set()
        self.closing: list[bool] = []

    async def create_rfq(
        self, rfq_id: str, legs: Sequence[RfqLeg], *, closes: bool
    ) -> RfqCreated | RfqRefused | RfqUnknown:
        await self._answer(closes)
        return RfqCreated(rfq_id=rfq_id, request_id="r", created_ns=1, expiry_ns=2)

    async def cancel_rfq(self, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown:
        await self._answer()
        return RfqCancelled(request_id=request_id)

    async def accept_quote(
        self, request_id: str, quote_id: str, *, closes: bool
    ) -> QuoteAccepted | AcceptRefused | AcceptUnknown:
        await self._answer(closes)
        return QuoteAccepted(request_id=request_id, quote_id=quote_id, trade=TRADE)

    async def quotes_received(self, request_id: str) -> tuple[VenueQuote, ...]:
        await self._answer()
        return (QUOTE,)

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]:
        await self._answer()
        return (REQUEST,)

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]:
        await self._answer()
        return (TRADE,)

    async def _answer(self, *closing: bool) -> None:
        self.closing += closing
        await self.placing.wait()
        self._raise()


class _Outcomes:
    def __init__(self, gateway: ScriptedGateway, deadline_s: float = 5.0) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.courier = Courier(gateway, Clock(), self.queue.put_nowait, deadline_s)

    async def of(self, effect: RfqEffect) -> Any:
        self.courier.carry(effect)
        return await asyncio.wait_for(self.queue.get(), 60)


async def test_every_effect_comes_back_with_what_the_venue_said() -> None:
    outcomes = _Outcomes(QuotingGateway())
    found = [await outcomes.of(effect) for effect, _, _ in EVERY]
    assert [type(each) for each in found] == [good for _, good, _ in EVERY]
    assert (found[0].rfq_id, found[0].request_id) == ("ours", "r")
    assert found[3].quotes == (QUOTE,)
    assert (found[4].since_ns, found[4].rfqs) == (5, (REQUEST,))
    assert (found[5].since_ns, found[5].trades) == (5, (TRADE,))
    assert all(each.asked_ns > 0 for each in found[3:])


async def test_a_gateway_that_raises_leaves_no_effect_without_outcome() -> None:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    gateway = QuotingGateway()
    gateway.error = RuntimeError("bug")
    outcomes = _Outcomes(gateway)
    assert [type(await outcomes.of(effect)) for effect, _, _ in EVERY] == [unknown for _, _, unknown in EVERY]
    await outcomes.courier.drained(1.0)
    assert len(raised) == len(EVERY)


@pytest.mark.parametrize("effect", [EVERY[0][0], EVERY[1][0]], ids=["create", "accept"])
async def test_what_does_not_come_back_in_time_is_unknown_and_not_sent_later(effect: RfqEffect) -> None:
    gateway = QuotingGateway()
    gateway.placing.clear()
    outcomes = _Outcomes(gateway, deadline_s=0.02)
    assert isinstance(await outcomes.of(effect), RfqUnknown | AcceptUnknown)
    gateway.placing.set()
    await outcomes.courier.drained(1.0)
    assert outcomes.queue.empty()


async def test_what_closes_a_trade_is_said_to_close() -> None:
    gateway = QuotingGateway()
    outcomes = _Outcomes(gateway)
    for closes in (True, False):
        await outcomes.of(CreateRfq(rfq_id="ours", legs=LEGS, closes=closes))
        await outcomes.of(AcceptQuote(request_id="r", quote_id="q", closes=closes))
    assert gateway.closing == [True, True, False, False]


@pytest.mark.parametrize(("kind", "unsupported"), [("rejected", True), ("auth", True), ("down", False)])
async def test_a_list_that_this_account_may_not_read_is_told_apart_from_one_that_failed(
    kind: Any, unsupported: bool
) -> None:
    gateway = QuotingGateway()
    gateway.error = VenueError(kind, "HTTP 404", 404)
    answer = await _Outcomes(gateway).of(QueryRfqs(since_ns=5))
    assert answer == RfqsFailed(reason=f"{kind}: HTTP 404", unsupported=unsupported)

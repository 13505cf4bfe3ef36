"""Requests for quote at the simulated exchange, behind the same network as its orders, in the words of the ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from services.exchange import model as ex
from services.exchange import rfq_model as rm
from services.exchange.core import ExchangeCore
from services.exchange.rows import Outcome
from services.execution.book import Book
from services.execution.effects import AcceptQuote, CancelRfq, CreateRfq, FetchQuotes, QueryBlockTrades, QueryRfqs
from services.execution.effects import RfqEffect as Effect
from shared.messages.base import Side
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
    QuoteState,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqPush,
    RfqRefused,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
    VenueRfqState,
)
from shared.messages.venue import VenueFill
from world.engine import Engine

Deliver = Callable[[Any], None]
_DOWN = "down: connection reset"
_STATES: dict[rm.RequestState, VenueRfqState] = {
    rm.RequestState.ACTIVE: "active",
    rm.RequestState.CANCELLED: "cancelled",
    rm.RequestState.FILLED: "filled",
    rm.RequestState.EXPIRED: "expired",
}
_QUOTE_STATES: dict[rm.QuoteState, QuoteState] = {
    rm.QuoteState.OPEN: "open",
    rm.QuoteState.CANCELLED: "cancelled",
    rm.QuoteState.FILLED: "filled",
    rm.QuoteState.EXPIRED: "expired",
}


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How a call or a read reaches the venue and its answer comes back, or does not.

    run: takes the events of an outcome and gives its result. refusal: why the venue takes no call now, None when it
    does. horizon_ns: what is younger is in no list yet. delay_ns: how long a part of a read takes.
    """

    engine: Engine
    call: Callable[[Callable[[], Any], Any, Deliver], None]
    read: Callable[[Callable[[], Any], Any, Deliver], None]
    run: Callable[[Outcome[Any]], Any]
    refusal: Callable[[], tuple[int, str] | None]
    horizon_ns: Callable[[], int]
    delay_ns: Callable[[], int]


class VenueRfqs:
    """One account as a taker. `accepted` counts the accepts that were sent, by request and quote."""

    def __init__(self, network: Network, exchange: ExchangeCore, account_id: str) -> None:
        self._network = network
        self._exchange = exchange
        self._account_id = account_id
        self.accepted: Counter[tuple[str, str]] = Counter()

    def perform(self, effect: Effect, asked_ns: int, deliver: Deliver) -> None:
        """Carry out one effect; `asked_ns` is the time of the machine that asks."""
        match effect:
            case CreateRfq():
                self._create(effect, deliver)
            case AcceptQuote():
                self._accept(effect, deliver)
            case CancelRfq():
                self._cancel(effect, deliver)
            case FetchQuotes(request_id=request_id):
                failed: Any = QuotesFailed(request_id=request_id, reason=_DOWN)
                self._network.read(lambda: self._quotes(request_id, asked_ns), failed, deliver)
            case QueryRfqs(since_ns=since_ns):
                failed = RfqsFailed(reason=_DOWN)
                self._network.read(lambda: self._requests(since_ns, asked_ns), failed, deliver)
            case QueryBlockTrades(since_ns=since_ns):
                failed = BlockTradesFailed(reason=_DOWN)
                self._network.read(lambda: self._blocks(since_ns, asked_ns), failed, deliver)

    def pushed(self, event: Any) -> RfqPush | None:
        """What an event of the exchange tells the account; None if nothing."""
        match event:
            case rm.RequestEvent(request=request) if request.account_id == self._account_id:
                return _shown_request(request)
            case rm.QuoteEvent(quote=quote, taker_id=taker_id) if taker_id == self._account_id:
                return _shown_quote(quote)
            case rm.BlockTradeEvent(block=block) if block.taker_id == self._account_id:
                return _shown_block(block)
            case _:
                return None

    def active(self) -> Iterator[int]:
        """The account's requests that still wait for quotes. For the checks."""
        for request in self._exchange.rfq.requests(self._account_id):
            if request.state is rm.RequestState.ACTIVE:
                yield request.request_id

    def orders(self) -> set[int]:
        """The orders that block trades made. For the checks."""
        return {leg.taker.order_id for block in self._exchange.rfq.blocks(self._account_id) for leg in block.legs}

    def named(self, fills: Iterable[ex.Fill], book: Book) -> list[ex.Fill]:
        """The executions, those of block trades under the order that stands for them in the journal.

        For the checks. What the journal does not know keeps no name.
        """
        numbers: dict[int, int] = {}
        for block in self._exchange.rfq.blocks(self._account_id):
            rfq = book.rfqs.of_quote(str(block.block_id))
            stands = {} if rfq is None else {book.orders[each].symbol: each for each in rfq.order_ids}
            numbers |= {leg.taker.order_id: stands[leg.symbol] for leg in block.legs if leg.symbol in stands}
        return [
            msgspec.structs.replace(fill, client_order_id=numbers.get(fill.order_id, fill.client_order_id))
            for fill in fills
        ]

    def _create(self, effect: CreateRfq, deliver: Deliver) -> None:
        def execute() -> RfqCreated | RfqRefused:
            refusal = self._network.refusal()
            if refusal is None:
                legs = tuple(rm.LegWanted(leg.symbol, _side(leg.side), leg.quantity) for leg in effect.legs)
                now_ns = self._network.engine.now_ns
                command = rm.CreateRequest(legs=legs)
                result = self._network.run(self._exchange.rfq.create(self._account_id, command, now_ns))
                if isinstance(result, rm.RequestForQuote):
                    return RfqCreated(
                        rfq_id=effect.rfq_id,
                        request_id=str(result.request_id),
                        created_ns=result.created_ns,
                        expiry_ns=result.expires_ns,
                    )
                refusal = (result.code, result.message)
            return RfqRefused(rfq_id=effect.rfq_id, kind="rejected", code=refusal[0], text=refusal[1])

        self._network.call(execute, RfqUnknown(rfq_id=effect.rfq_id, reason="time-out"), deliver)

    def _accept(self, effect: AcceptQuote, deliver: Deliver) -> None:
        self.accepted[effect.request_id, effect.quote_id] += 1
        ids = {"request_id": effect.request_id, "quote_id": effect.quote_id}

        def execute() -> QuoteAccepted | AcceptRefused:
            refusal = self._network.refusal()
            if refusal is None:
                result = self._network.run(
                    self._exchange.rfq.accept(
                        self._account_id,
                        int(effect.request_id),
                        int(effect.quote_id),
                        self._network.engine.now_ns,
                    )
                )
                if isinstance(result, rm.BlockTrade):
                    return QuoteAccepted(**ids, trade=_shown_block(result))
                refusal = (result.code, result.message)
            return AcceptRefused(**ids, kind="rejected", code=refusal[0], text=refusal[1])

        self._network.call(execute, AcceptUnknown(**ids, reason="time-out"), deliver)

    def _cancel(self, effect: CancelRfq, deliver: Deliver) -> None:
        request_id = effect.request_id

        def execute() -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown:
            if self._network.refusal() is not None:
                return RfqCancelUnknown(request_id=request_id, reason="throttled")
            now_ns = self._network.engine.now_ns
            result = self._network.run(self._exchange.rfq.cancel(self._account_id, int(request_id), now_ns))
            if isinstance(result, rm.RequestForQuote):
                return RfqCancelled(request_id=request_id)
            return RfqCancelRefused(request_id=request_id, code=result.code, text=result.message)

        self._network.call(execute, RfqCancelUnknown(request_id=request_id, reason="time-out"), deliver)

    def _quotes(self, request_id: str, asked_ns: int) -> QuotesFetched:
        quotes = self._exchange.rfq.quotes_received(self._account_id, int(request_id))
        return QuotesFetched(
            request_id=request_id,
            asked_ns=asked_ns,
            quotes=tuple(map(_shown_quote, quotes)),
        )

    def _requests(self, since_ns: int, asked_ns: int) -> RfqsFetched:
        requests = self._exchange.rfq.requests(self._account_id)
        horizon_ns = self._network.horizon_ns()
        return RfqsFetched(
            asked_ns=asked_ns,
            since_ns=since_ns,
            rfqs=tuple(_shown_request(each) for each in requests if since_ns <= each.created_ns <= horizon_ns),
        )

    def _blocks(self, since_ns: int, asked_ns: int) -> BlockTradesFetched:
        blocks = self._exchange.rfq.blocks(self._account_id)
        horizon_ns = self._network.horizon_ns()
        return BlockTradesFetched(
            asked_ns=asked_ns,
            since_ns=since_ns,
            trades=tuple(_shown_block(each) for each in blocks if since_ns <= each.at_ns <= horizon_ns),
        )


def _side(side: Side) -> ex.Side:
    return ex.Side.BUY if side == "buy" else ex.Side.SELL


def _shown_side(side: ex.Side) -> Side:
    return "buy" if side is ex.Side.BUY else "sell"


def _shown_request(request: rm.RequestForQuote) -> VenueRfq:
    return VenueRfq(
        request_id=str(request.request_id),
        state=_STATES[request.state],
        legs=tuple(
            RfqLeg(symbol=leg.symbol, side=_shown_side(leg.side), quantity=leg.quantity) for leg in request.legs
        ),
        created_ns=request.created_ns,
        expiry_ns=request.expires_ns,
    )


def _shown_quote(quote: rm.RfqQuote) -> VenueQuote:
    return VenueQuote(
        quote_id=str(quote.quote_id),
        request_id=str(quote.request_id),
        quote_side=_shown_side(quote.side),
        state=_QUOTE_STATES[quote.state],
        legs=tuple(
            QuoteLeg(symbol=leg.symbol, side=_shown_side(leg.side), quantity=leg.quantity, price=leg.price)
            for leg in quote.legs
        ),
        created_ns=quote.created_ns,
        expiry_ns=quote.expires_ns,
    )


def _shown_block(block: rm.BlockTrade) -> BlockTrade:
    return BlockTrade(
        block_trade_id=str(block.block_id),
        request_id=str(block.request_id),
        quote_id=str(block.block_id),
        role="taker",
        legs=tuple(
            VenueFill(
                venue_trade_id=leg.trade_id,
                venue_order_id=leg.taker.order_id,
                client_order_id=None,
                symbol=leg.symbol,
                side=_shown_side(leg.side),
                quantity=leg.quantity,
                price=leg.price,
                fee_usd=leg.taker.fee,
                is_taker=True,
                venue_ns=block.at_ns,
                is_block=True,
            )
            for leg in block.legs
        ),
        venue_ns=block.at_ns,
    )

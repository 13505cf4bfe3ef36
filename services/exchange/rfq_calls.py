"""The core's commands and queries about requests for quote and block trades: `ExchangeCore.rfq`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.exchange.accounts import ExchangeState
from services.exchange.codes import BlockCodes
from services.exchange.makers import Makers
from services.exchange.rfq import Rfq
from services.exchange.rfq_model import (
    BlockOffer,
    BlockResult,
    BlockTrade,
    CancelledQuotes,
    CreateQuote,
    CreateRequest,
    OfferLeg,
    OfferResult,
    QuoteResult,
    RequestForQuote,
    RequestResult,
    RfqQuote,
    Role,
)
from services.exchange.rows import Outcome
from services.exchange.transaction import Transaction

Begin = Callable[[int, str | None], Transaction]
End = Callable[[Any, Transaction], Outcome[Any]]


class RfqCalls:
    """Commands advance the market first and raise KeyError for an unknown account, as the core's own do."""

    def __init__(
        self, state: ExchangeState, rfq: Rfq, makers: Makers, codes: BlockCodes, begin: Begin, end: End
    ) -> None:
        self._state = state
        self._rfq = rfq
        self._makers = makers
        self._codes = codes
        self._begin = begin
        self._end = end

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Requests, quotes and block trades by what became of them, since the exchange's first start."""
        return dict(self._state.rfq.counts)

    def live(self) -> Mapping[str, int]:
        """Active requests and open quotes."""
        return {"request": len(self._state.rfq.active), "quote": len(self._state.rfq.open_quotes)}

    def create(self, account_id: str, command: CreateRequest, now_ns: int) -> Outcome[RequestResult]:
        """Open a request. A refused one leaves no trace."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._rfq.create(account_id, command, transaction), transaction)

    def cancel(self, account_id: str, request_id: int, now_ns: int) -> Outcome[RequestResult]:
        """End an active request of the account. 10592 unknown, 10537 no longer active."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._rfq.cancel(account_id, request_id, transaction), transaction)

    def accept(self, account_id: str, request_id: int, quote_id: int, now_ns: int) -> Outcome[BlockResult]:
        """Trade with an open quote: all legs, or nothing. 50014 when the quote does not belong to the request."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._rfq.accept(account_id, request_id, quote_id, transaction), transaction)

    def create_quote(self, account_id: str, command: CreateQuote, now_ns: int) -> Outcome[QuoteResult]:
        """Quote a request of somebody else. 50012 a second one, 50014 other legs or a request that has ended."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._makers.create(account_id, command, transaction), transaction)

    def cancel_quote(self, account_id: str, quote_id: int, now_ns: int) -> Outcome[QuoteResult]:
        """End an open quote of the account. 10592 unknown, 10537 no longer open."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._makers.cancel(account_id, quote_id, transaction), transaction)

    def cancel_quotes(self, account_id: str, now_ns: int) -> Outcome[CancelledQuotes]:
        """End all open quotes of the account."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._makers.cancel_all(account_id, transaction), transaction)

    def offer_block(
        self, account_id: str, role: Role, legs: tuple[OfferLeg, ...], now_ns: int
    ) -> Outcome[OfferResult]:
        """Offer a block trade to whoever is told its code."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._codes.offer(account_id, role, legs, transaction), transaction)

    def accept_offer(self, account_id: str, role: Role, offer_id: int, now_ns: int) -> Outcome[BlockResult]:
        """Trade what was offered. 10592 unknown, used or expired, 10571 the role that is taken already."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._codes.accept(account_id, role, offer_id, transaction), transaction)

    def requests(self, account_id: str) -> Sequence[RequestForQuote]:
        """The account's own requests, by id."""
        return [each for each in self._state.rfq.requests.values() if each.account_id == account_id]

    def quotes_received(self, account_id: str, request_id: int | None = None) -> Sequence[RfqQuote]:
        """The quotes on one or all of the account's requests, by id; empty for a request that is not its own."""
        if request_id is not None:
            known = self._rfq.request_of(account_id, request_id) is not None
            return self._state.rfq.quotes_for(request_id) if known else []
        own = {each.request_id for each in self.requests(account_id)}
        return [quote for quote in self._state.rfq.quotes.values() if quote.request_id in own]

    def quotes_given(self, account_id: str) -> Sequence[RfqQuote]:
        """The account's own quotes, by id."""
        return [quote for quote in self._state.rfq.quotes.values() if quote.account_id == account_id]

    def requests_of_others(self, account_id: str) -> Sequence[RequestForQuote]:
        """What a maker may quote or could have, by id."""
        return [each for each in self._state.rfq.requests.values() if each.account_id != account_id]

    def request(self, request_id: int) -> RequestForQuote | None:
        """A request, whoever owns it."""
        return self._state.rfq.requests.get(request_id)

    def quotes_on(self, request_id: int) -> Sequence[RfqQuote]:
        """All quotes on a request, by id."""
        return self._state.rfq.quotes_for(request_id)

    def offer(self, offer_id: int) -> BlockOffer | None:
        """An offered block trade that was not accepted, whoever offers it."""
        return self._state.rfq.offers.get(offer_id)

    def block(self, block_id: int) -> BlockTrade | None:
        """A block trade, whoever made it."""
        return self._state.rfq.blocks.get(block_id)

    def blocks(self, account_id: str | None = None) -> Sequence[BlockTrade]:
        """The block trades of an account, or all, by id."""
        blocks = self._state.rfq.blocks.values()
        return [block for block in blocks if account_id is None or block.role_of(account_id) is not None]

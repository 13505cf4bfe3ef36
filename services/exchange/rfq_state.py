"""The fold of requests for quote, quotes and block trades: part of the exchange's state; makes no decisions."""

from collections import Counter, deque
from dataclasses import dataclass, field

from msgspec.structs import replace

from services.exchange.rfq_model import BlockOffer, BlockTrade, QuoteState, RequestForQuote, RequestState, RfqQuote
from services.exchange.rows import BlockOffered, BlockTraded, QuoteCreated, QuoteEnded, RequestCreated, RequestEnded
from services.exchange.states import assert_ends

RfqRow = RequestCreated | RequestEnded | QuoteCreated | QuoteEnded | BlockOffered | BlockTraded


@dataclass(slots=True)
class RfqState:
    """All active requests with their quotes, the newest `kept` ended ones, and the newest block trades.

    Ids ascend in every mapping. `ended` is in the order in which requests ended. `revision` counts rows, `counts`
    what they say: (request, quote or block; what became of it).
    """

    kept: int
    revision: int = 0
    requests: dict[int, RequestForQuote] = field(default_factory=dict)
    quotes: dict[int, RfqQuote] = field(default_factory=dict)
    quotes_of: dict[int, list[int]] = field(default_factory=dict)
    active: dict[int, None] = field(default_factory=dict)
    open_quotes: dict[int, None] = field(default_factory=dict)
    ended: deque[int] = field(default_factory=deque)
    blocks: dict[int, BlockTrade] = field(default_factory=dict)
    offers: dict[int, BlockOffer] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def apply(self, row: RfqRow) -> None:
        """Fold one row in. Raises KeyError for a request or quote that is not there."""
        self.revision += 1
        match row:
            case RequestCreated():
                request = row.request
                self.counts["request", "asked"] += 1
                self.requests[request.request_id] = request
                self.quotes_of[request.request_id] = []
                self.active[request.request_id] = None
            case QuoteCreated():
                quote = row.quote
                self.counts["quote", "given"] += 1
                self.quotes[quote.quote_id] = quote
                self.quotes_of[quote.request_id].append(quote.quote_id)
                self.open_quotes[quote.quote_id] = None
            case QuoteEnded():
                self._end_quote(row)
            case RequestEnded():
                self._end_request(row)
            case BlockOffered():
                self.offers = {key: offer for key, offer in self.offers.items() if offer.expires_ns > row.at_ns}
                self.offers[row.offer.offer_id] = row.offer
            case BlockTraded():
                self.counts["block", "traded"] += 1
                self.offers.pop(row.block.block_id, None)
                self.blocks[row.block.block_id] = row.block
                while len(self.blocks) > self.kept:
                    del self.blocks[next(iter(self.blocks))]

    def quotes_for(self, request_id: int) -> list[RfqQuote]:
        """The quotes of a request, oldest first."""
        return [self.quotes[quote_id] for quote_id in self.quotes_of.get(request_id, ())]

    def open_quotes_for(self, request_id: int) -> list[RfqQuote]:
        """Those of them that are open."""
        return [quote for quote in self.quotes_for(request_id) if quote.state is QuoteState.OPEN]

    def _end_quote(self, row: QuoteEnded) -> None:
        quote = self.quotes[row.quote_id]
        assert_ends(quote.state, row.state)
        self.counts["quote", row.state.value.lower()] += 1
        self.quotes[row.quote_id] = replace(quote, state=row.state, updated_ns=row.at_ns)
        del self.open_quotes[row.quote_id]
        self._forget()

    def _end_request(self, row: RequestEnded) -> None:
        request = self.requests[row.request_id]
        assert_ends(request.state, row.state)
        self.counts["request", row.state.value.lower()] += 1
        self.requests[row.request_id] = replace(request, state=row.state, updated_ns=row.at_ns)
        del self.active[row.request_id]
        self.ended.append(row.request_id)
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest ended requests beyond `kept`, each once none of its quotes is open."""
        while len(self.ended) > self.kept and not self.open_quotes_for(self.ended[0]):
            request_id = self.ended.popleft()
            del self.requests[request_id]
            for quote_id in self.quotes_of.pop(request_id):
                del self.quotes[quote_id]


def is_active(request: RequestForQuote | None) -> bool:
    """Whether it can be quoted and accepted."""
    return request is not None and request.state is RequestState.ACTIVE

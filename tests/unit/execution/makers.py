"""The makers' side of a dialogue with an execution core: requests, quotes and block trades as a venue tells them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.execution.effects import (
    AcceptQuote,
    CancelRfq,
    CreateRfq,
    FetchQuotes,
    QueryBlockTrades,
    QueryRfqs,
)
from services.execution.rows import FellBack
from shared.messages.base import Side, opposite
from shared.messages.rfq import (
    BlockTrade,
    BlockTradesFetched,
    QuoteAccepted,
    QuoteLeg,
    QuotesFetched,
    QuoteState,
    RfqCreated,
    RfqLeg,
    RfqParams,
    RfqsFetched,
    VenueQuote,
    VenueRfq,
    VenueRfqState,
)
from shared.messages.trades import LegOrder
from shared.messages.venue import VenueFill
from tests.unit.execution.play import CALL, HIGH_CALL, SECOND, Script, leg

D = Decimal
SPREAD = (leg(CALL, "buy", "2"), leg(HIGH_CALL, "sell", "2"))
"""A call spread: marks 1000 and 300, so 1400 USD at mark and 1440 USD on a book 10 USD wide of it."""
FAIR = {CALL: "1000", HIGH_CALL: "300"}
LIFE_NS = 300 * SECOND


def quote_id(number: int) -> str:
    return f"20752074949897{number:05d}"


class Makers:
    """Answers for the venue: the requests of a script's core, quotes on them, and what became of accepts."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.count = 0

    def asked(self) -> list[CreateRfq]:
        return self.script.take(CreateRfq)

    def accepts(self) -> list[AcceptQuote]:
        return self.script.take(AcceptQuote)

    def withdrawn(self) -> list[str]:
        return [effect.request_id for effect in self.script.take(CancelRfq)]

    def polled(self) -> list[str]:
        return [effect.request_id for effect in self.script.take(FetchQuotes)]

    def block_queries(self) -> list[QueryBlockTrades]:
        return self.script.take(QueryBlockTrades)

    def rfq_queries(self) -> list[QueryRfqs]:
        return self.script.take(QueryRfqs)

    def fallbacks(self) -> list[tuple[str, str, str]]:
        return [(row.purpose, row.mode, row.code) for row in self.script.rows(FellBack)]

    def created(self, asked: CreateRfq, request_id: str = "") -> str:
        """The venue takes the request; its id."""
        self.count += 1
        request_id = request_id or f"2075207481654{self.count:06d}"
        self.script.on(
            RfqCreated(
                rfq_id=asked.rfq_id,
                request_id=request_id,
                created_ns=self.script.now_ns,
                expiry_ns=self.script.now_ns + 3600 * SECOND,
            )
        )
        return request_id

    def quote(
        self,
        request_id: str,
        prices: Mapping[str, str],
        ours: Mapping[str, Side],
        quantity: str = "2",
        number: int | None = None,
        state: QuoteState = "open",
        life_ns: int = LIFE_NS,
        quote_side: Side | None = None,
    ) -> VenueQuote:
        """A quote on it; `ours` are our sides, the maker's are the others."""
        if number is None:
            self.count += 1
            number = self.count
        return VenueQuote(
            quote_id=quote_id(number),
            request_id=request_id,
            quote_side=quote_side,
            state=state,
            legs=tuple(
                QuoteLeg(symbol=symbol, side=opposite(ours[symbol]), quantity=D(quantity), price=D(price))
                for symbol, price in prices.items()
            ),
            created_ns=self.script.now_ns,
            expiry_ns=self.script.now_ns + life_ns,
        )

    def quotes(self, request_id: str, *quotes: VenueQuote) -> None:
        """The list of quotes is read."""
        self.script.on(QuotesFetched(request_id=request_id, asked_ns=self.script.now_ns, quotes=quotes))

    def block(self, quote: VenueQuote, *, fee: str | None = "0.3", legs: int | None = None) -> BlockTrade:
        """The quote as it was executed; our sides."""
        number = int(quote.quote_id[-5:])
        fills = tuple(
            VenueFill(
                venue_trade_id=900_000 + number * 10 + index,
                venue_order_id=800_000 + number * 10 + index,
                client_order_id=None,
                symbol=each.symbol,
                side=opposite(each.side),
                quantity=each.quantity,
                price=each.price,
                fee_usd=None if fee is None else D(fee),
                is_taker=True,
                venue_ns=self.script.now_ns,
                is_block=True,
            )
            for index, each in enumerate(quote.legs)
        )
        return BlockTrade(
            block_trade_id=quote.quote_id,
            request_id=quote.request_id,
            quote_id=quote.quote_id,
            role="taker",
            legs=fills[:legs],
            venue_ns=self.script.now_ns,
        )

    def executed(self, quote: VenueQuote, **changes: Any) -> None:
        """The accept is answered with the block trade."""
        trade = self.block(quote, **changes)
        self.script.on(QuoteAccepted(request_id=quote.request_id, quote_id=quote.quote_id, trade=trade))

    def block_list(self, *trades: BlockTrade) -> None:
        """The list of block trades is read."""
        now_ns = self.script.now_ns
        self.script.on(BlockTradesFetched(asked_ns=now_ns, since_ns=0, trades=trades))

    def rfq(
        self, request_id: str, legs: tuple[RfqLeg, ...], state: VenueRfqState = "active", at_ns: int | None = None
    ) -> VenueRfq:
        created_ns = self.script.now_ns if at_ns is None else at_ns
        return VenueRfq(
            request_id=request_id,
            state=state,
            legs=legs,
            created_ns=created_ns,
            expiry_ns=created_ns + 3600 * SECOND,
        )

    def rfq_list(self, *rfqs: VenueRfq) -> None:
        """The list of our requests is read."""
        self.script.on(RfqsFetched(asked_ns=self.script.now_ns, since_ns=0, rfqs=rfqs))

    def collecting(self, *legs: LegOrder, **changes: Any) -> tuple[str, str]:
        """A trade whose request is at the venue: trade id and request id."""
        changes.setdefault("rfq", RfqParams())
        trade_id = self.script.open(*(legs or SPREAD), execution_mode="rfq", **changes)
        (asked,) = self.asked()
        return trade_id, self.created(asked)

    def accepting(self, prices: Mapping[str, str] | None = None, **changes: Any) -> tuple[str, VenueQuote]:
        """A trade whose accept is on its way, and the quote that was taken."""
        trade_id, request_id = self.collecting(**changes)
        quote = self.quote(request_id, prices or FAIR, {CALL: "buy", HIGH_CALL: "sell"})
        self.script.on(quote).wait(4_000)
        self.quotes(request_id, quote)
        self.script.wait(1_000)
        (accept,) = self.accepts()
        assert (accept.request_id, accept.quote_id) == (request_id, quote.quote_id)
        return trade_id, quote

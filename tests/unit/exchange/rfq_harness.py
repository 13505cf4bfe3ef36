"""An exchange core with dealers on hand-moved time, for tests of requests for quote."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from services.exchange.config import AccountConfig, DealerConfig, RfqConfig
from services.exchange.model import Rejection, Side
from services.exchange.rfq_model import (
    BlockTrade,
    CreateQuote,
    CreateRequest,
    LegPriced,
    LegWanted,
    RequestForQuote,
    RfqQuote,
)
from services.exchange.switches import Switches
from tests.unit.exchange.harness import SECOND_NS, A, D, Venue, small_config

BUY, SELL = Side.BUY, Side.SELL
MAKER, RIVAL = "maker", "rival"
SURE = DealerConfig(
    name="sure",
    better_min_pct=1.0,
    better_max_pct=1.0,
    answer_min_ms=1_000,
    answer_max_ms=1_000,
    no_quote_probability=0,
    pull_move_pct=1_000.0,
)


class RfqVenue(Venue):
    """Alice takes; maker and rival are accounts with quote access; `dealers` answer."""

    def __init__(self, *, dealers: tuple[DealerConfig, ...] = (SURE,), seed: int = 7, **switches: Any) -> None:
        config = small_config(seed, rfq=RfqConfig(dealers=dealers), switches=Switches(**switches))
        makers = tuple(
            AccountConfig(account_id=name, initial_balance_usd=D(1_000_000), rights=("rfq_quotes",))
            for name in (MAKER, RIVAL)
        )
        super().__init__(replace(config, accounts=(*config.accounts, *makers)))

    def do(self, outcome: Any) -> Any:
        """Keep what a command returned; its result."""
        self.keep(outcome.rows, outcome.events)
        self.last_events = outcome.events
        return outcome.result

    def legs(self, *legs: tuple[Side, int, str] | tuple[Side, int, str, str]) -> tuple[LegWanted, ...]:
        """(side, strike, quantity[, kind]) of options of the last expiry."""
        return tuple(
            LegWanted(self.option(strike, *(kind or ("C",)), expiry=-1).symbol, side, D(quantity))
            for side, strike, quantity, *kind in legs
        )

    def spread(self, quantity: str = "0.5") -> tuple[LegWanted, ...]:
        """A call spread, bought."""
        return self.legs((BUY, 100_000, quantity), (SELL, 102_000, quantity))

    def ask(self, legs: tuple[LegWanted, ...], account_id: str = A, **faults: Any) -> RequestForQuote:
        """A request that must be taken."""
        result = self.ask_for(legs, account_id, **faults)
        assert isinstance(result, RequestForQuote), result
        return result

    def ask_for(self, legs: tuple[LegWanted, ...], account_id: str = A, **faults: Any) -> RequestForQuote | Rejection:
        return self.do(self.core.rfq.create(account_id, CreateRequest(legs=legs, **faults), self.now_ns))

    def accept(self, quote: RfqQuote, account_id: str = A) -> BlockTrade | Rejection:
        return self.do(self.core.rfq.accept(account_id, quote.request_id, quote.quote_id, self.now_ns))

    def traded(self, quote: RfqQuote, account_id: str = A) -> BlockTrade:
        """Accept a quote that must be there."""
        block = self.accept(quote, account_id)
        assert isinstance(block, BlockTrade), block
        return block

    def offer(
        self, request: RequestForQuote, prices: tuple[str, ...], account_id: str = MAKER, side: Side = SELL
    ) -> RfqQuote | Rejection:
        priced = tuple(
            LegPriced(symbol=leg.symbol, price=D(price)) for leg, price in zip(request.legs, prices, strict=True)
        )
        command = CreateQuote(request.request_id, side, priced)
        return self.do(self.core.rfq.create_quote(account_id, command, self.now_ns))

    def offered(self, *arguments: Any, **fields: Any) -> RfqQuote:
        quote = self.offer(*arguments, **fields)
        assert isinstance(quote, RfqQuote), quote
        return quote

    def dealer_quotes(self, request: RequestForQuote, seconds: float = 6) -> dict[Side, RfqQuote]:
        """Wait for the dealers; the last quote per side."""
        self.wait(round(seconds * SECOND_NS))
        return {quote.side: quote for quote in self.core.rfq.quotes_on(request.request_id)}

    def book_cost(self, legs: tuple[LegWanted, ...], direction: int = 1) -> Any:
        """What the legs cost in the market makers' books, USD; with -1 the legs of the opposite sides."""
        total = D(0)
        for leg in legs:
            side = leg.side if direction > 0 else leg.side.opposite
            book = self.core.order_book(leg.symbol)
            assert book is not None
            left = leg.quantity
            for level in book.asks if side is BUY else book.bids:
                taken = min(left, level.quantity)
                total += side.sign * taken * level.price
                left -= taken
            assert not left, "the book is deep enough for this test"
        return total

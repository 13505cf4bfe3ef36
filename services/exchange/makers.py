"""What accounts with quote access do: quote requests of others, cancel their quotes."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from services.exchange.accounts import ExchangeState
from services.exchange.blocks import Blocks
from services.exchange.config import ExchangeConfig
from services.exchange.model import Rejection, Side
from services.exchange.rfq import Origin, Rfq
from services.exchange.rfq_model import (
    CancelledQuotes,
    CreateQuote,
    LegPriced,
    QuoteResult,
    QuoteState,
    RequestForQuote,
    RequestState,
    RfqQuote,
)
from services.exchange.structures import SidedLeg, side_of_quote
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation, exact

NS_PER_MS = 1_000_000
PRICE_MIN = Decimal("0.01")
QuoteRefusal = Callable[[str, Sequence[str], int], Rejection | None]


class Makers:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(
        self,
        config: ExchangeConfig,
        state: ExchangeState,
        valuation: Valuation,
        rfq: Rfq,
        blocks: Blocks,
        quote_refusal: QuoteRefusal,
    ) -> None:
        """quote_refusal: why market-maker protection lets an account quote none of these options at that time."""
        self._switches = config.switches
        self._state = state
        self._valuation = valuation
        self._rfq = rfq
        self._blocks = blocks
        self._quote_refusal = quote_refusal

    def create(self, account_id: str, command: CreateQuote, transaction: Transaction) -> QuoteResult:
        """Quote an active request of somebody else, all legs at its full size.

        10592 unknown request, 50014 not active or other legs, 50012 the account quotes it already.
        """
        request = self._state.rfq.requests.get(command.request_id)
        if request is None or (request.account_id == account_id and not self._switches.block_with_oneself):
            return Rejection(10592, f"the requestId {command.request_id} does not exist")
        if request.state is not RequestState.ACTIVE:
            return Rejection(50014, f"request {command.request_id} is {request.state.value}: it cannot be quoted")
        now_ns = transaction.now_ns
        rejection = self._quote_refusal(account_id, [leg.symbol for leg in request.legs], now_ns)
        rejection = rejection or self._repeat_refusal(account_id, request, command.side, now_ns)
        if rejection is not None:
            return rejection
        sent = self._prices(request, command)
        if isinstance(sent, Rejection):
            return sent
        on_tick = [self._on_tick(leg.symbol, price) for leg, price in zip(request.legs, sent, strict=True)]
        rejection = self._band_refusal(request, on_tick)
        if rejection is None and self._switches.maker_margin_check == "quote_and_accept":
            rejection = self._margin_refusal(account_id, request, command.side, on_tick)
        if rejection is not None:
            return rejection
        return self._rfq.add_quote(request, Origin(account_id), command.side, sent, on_tick, transaction)

    def cancel(self, account_id: str, quote_id: int, transaction: Transaction) -> QuoteResult:
        """End an open quote of the account. 10592 unknown, 10537 no longer open."""
        quote = self._state.rfq.quotes.get(quote_id)
        if quote is None or quote.account_id != account_id:
            return Rejection(10592, f"the quoteId {quote_id} does not exist")
        if quote.state is not QuoteState.OPEN:
            return Rejection(10537, f"cancellation failed: quote {quote_id} is {quote.state.value}")
        self._rfq.end_quote(quote_id, QuoteState.CANCELLED, transaction)
        return self._state.rfq.quotes[quote_id]

    def cancel_all(self, account_id: str, transaction: Transaction) -> CancelledQuotes:
        """End all open quotes of the account."""
        rfq = self._state.rfq
        own = tuple(quote_id for quote_id in rfq.open_quotes if rfq.quotes[quote_id].account_id == account_id)
        for quote_id in own:
            self._rfq.end_quote(quote_id, QuoteState.CANCELLED, transaction)
        return CancelledQuotes(own)

    def _repeat_refusal(self, account_id: str, request: RequestForQuote, side: Side, now_ns: int) -> Rejection | None:
        """One open quote per account and side, or request; and not at once after one that was cancelled."""
        per_side = self._switches.one_quote_per == "side"
        own: list[RfqQuote] = [
            quote
            for quote in self._state.rfq.quotes_for(request.request_id)
            if quote.account_id == account_id and (quote.side is side or not per_side)
        ]
        if any(quote.state is QuoteState.OPEN for quote in own):
            return Rejection(50012, "a quote of yours on this request exists already: cancel it first")
        delay_ns = self._switches.requote_delay_ms * NS_PER_MS
        if any(quote.state is QuoteState.CANCELLED and now_ns < quote.updated_ns + delay_ns for quote in own):
            return Rejection(50012, f"a quote was cancelled less than {self._switches.requote_delay_ms} ms ago")
        return None

    def _prices(self, request: RequestForQuote, command: CreateQuote) -> list[Decimal] | Rejection:
        """The prices in the order of the request's legs. Every leg must be there, once, with its side and size."""
        priced = {leg.symbol: leg for leg in command.legs}
        if len(priced) < len(command.legs) or priced.keys() != {leg.symbol for leg in request.legs}:
            return Rejection(50014, "the quote does not match the request: price each of its legs once")
        prices = []
        for leg in request.legs:
            given = priced[leg.symbol]
            side = leg.side.opposite if command.side is Side.SELL else leg.side
            rejection = _leg_refusal(given, side, leg.quantity)
            if rejection is not None:
                return rejection
            prices.append(given.price)
        return prices

    def _on_tick(self, symbol: str, price: Decimal) -> Decimal:
        """The nearest tick, at least one."""
        found = self._valuation.option(symbol)
        assert found is not None, symbol
        tick = found[1].tick_size
        ticks = max((price / tick).to_integral_value("ROUND_HALF_UP"), Decimal(1))
        return Decimal(format(ticks * tick, "f"))

    def _band_refusal(self, request: RequestForQuote, prices: Sequence[Decimal]) -> Rejection | None:
        band = Decimal(repr(self._switches.quote_price_band_pct)) / 100
        for leg, price in zip(request.legs, prices, strict=True):
            found = self._valuation.option(leg.symbol)
            assert found is not None, leg.symbol
            _, _, quote = found
            distance = abs(price - exact(quote.mark))
            if band and distance > band * quote.index_price:
                return Rejection(10573, f"price {price} of {leg.symbol} error: too far from its mark")
        return None

    def _margin_refusal(
        self, account_id: str, request: RequestForQuote, quote_side: Side, prices: Sequence[Decimal]
    ) -> Rejection | None:
        flips = quote_side is Side.SELL
        legs = [SidedLeg(leg.symbol, leg.side.opposite if flips else leg.side, leg.quantity) for leg in request.legs]
        side = side_of_quote([leg.side for leg in request.legs], quote_side).opposite
        return self._blocks.refusal(account_id, legs, prices, side, is_taker=False)


def _leg_refusal(given: LegPriced, side: Side, quantity: Decimal) -> Rejection | None:
    if not given.price.is_finite() or given.price < PRICE_MIN:
        return Rejection(10573, f"price {given.price} of {given.symbol} error: it must be {PRICE_MIN} or more")
    if given.side not in (None, side) or given.quantity not in (None, quantity):
        return Rejection(50014, f"{given.symbol} does not match the request: {side.name} {quantity} expected")
    return None

"""Requests for quote: their lives, the quotes of makers and dealers, and acceptance.

What time does (dealers answer, quotes and requests expire) happens at its own instants, in order, with the market of
each instant; `next_ns` names them, `act` carries one out.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.exchange.accounts import ExchangeState
from services.exchange.blocks import Blocks, Deal
from services.exchange.checks import quantity_refusal
from services.exchange.config import ExchangeConfig
from services.exchange.dealers import NS_PER_MS, Answer, LegMarket, next_answer, prices, sides_quoted
from services.exchange.model import Instrument, Rejection, Side
from services.exchange.quotes import BaseMarket, Quote
from services.exchange.rfq_model import (
    BlockResult,
    BlockTradeEvent,
    CreateRequest,
    LegWanted,
    QuoteEvent,
    QuoteLeg,
    QuoteState,
    RequestEvent,
    RequestForQuote,
    RequestLeg,
    RequestResult,
    RequestState,
    RfqQuote,
)
from services.exchange.rows import QuoteCreated, QuoteEnded, RequestCreated, RequestEnded
from services.exchange.settlement import SUSPENDED_BEFORE_EXPIRY_NS
from services.exchange.structures import SidedLeg, net_price, side_of_quote, structure_side
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation, exact

Found = tuple[BaseMarket, Instrument, Quote]


class Origin(NamedTuple):
    """Whose quote it is: an account's, or a dealer's answer number `number`."""

    account_id: str | None
    dealer: str = ""
    number: int = 0


class _Agenda(NamedTuple):
    """What was due next when the state of requests had this revision."""

    revision: int
    due_ns: int | None


class Rfq:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, blocks: Blocks) -> None:
        self._config = config
        self._switches = config.switches
        self._state = state
        self._valuation = valuation
        self._blocks = blocks
        self._agenda: _Agenda | None = None

    # What takers do.

    def create(self, account_id: str, command: CreateRequest, transaction: Transaction) -> RequestResult:
        """Open a request; dealers and makers may answer from now on."""
        active = sum(
            self._state.rfq.requests[request_id].account_id == account_id for request_id in self._state.rfq.active
        )
        if active >= self._config.rfq.active_requests_max:
            return Rejection(10552, f"operation failed: {active} requests are open, cancel one")
        found = [self._valuation.option(leg.symbol) for leg in command.legs]
        rejection = self._legs_refusal(command.legs, found, transaction.now_ns)
        if rejection is not None:
            return rejection
        known = [each for each in found if each is not None]
        if self._switches.taker_margin_check == "create_and_accept":
            rejection = self._create_margin_refusal(account_id, command.legs, known)
            if rejection is not None:
                return rejection
        now_ns = transaction.now_ns
        expires_ns = now_ns + self._config.rfq.request_life_ms * NS_PER_MS
        request = RequestForQuote(
            request_id=transaction.next_id(),
            account_id=account_id,
            legs=tuple(
                RequestLeg(leg.symbol, leg.side, leg.quantity, exact(quote.mark))
                for leg, (_, _, quote) in zip(command.legs, known, strict=True)
            ),
            state=RequestState.ACTIVE,
            created_ns=now_ns,
            updated_ns=now_ns,
            expires_ns=expires_ns,
            ends_ns=min(expires_ns, *(option.expiry_ns - SUSPENDED_BEFORE_EXPIRY_NS for _, option, _ in known)),
            dealers_silent=command.dealers_silent,
            dealers_late_ms=command.dealers_late_ms,
        )
        transaction.commit(RequestCreated(request=request, at_ns=now_ns))
        transaction.events.append(RequestEvent(request))
        return request

    def cancel(self, account_id: str, request_id: int, transaction: Transaction) -> RequestResult:
        """End an active request of the account. 10592 unknown, 10537 no longer active."""
        request = self.request_of(account_id, request_id)
        if request is None:
            return Rejection(10592, f"the requestId {request_id} does not exist")
        if request.state is not RequestState.ACTIVE:
            return Rejection(10537, f"cancellation failed: request {request_id} is {request.state.value}")
        self._end_request(request_id, RequestState.CANCELLED, transaction)
        return self._state.rfq.requests[request_id]

    def accept(self, account_id: str, request_id: int, quote_id: int, transaction: Transaction) -> BlockResult:
        """Trade with an open quote on an active request of the account: all legs, or nothing happens."""
        request = self.request_of(account_id, request_id)
        if request is None:
            return Rejection(10592, f"the requestId {request_id} does not exist")
        quote = self._state.rfq.quotes.get(quote_id)
        if quote is None or quote.request_id != request_id:
            return Rejection(50014, f"the quoteId {quote_id} is not valid for request {request_id}")
        gone = self._switches.gone_quote_code
        if request.state is not RequestState.ACTIVE:
            return Rejection(gone, f"request {request_id} is {request.state.value}: nothing can be accepted")
        if quote.state is not QuoteState.OPEN:
            return Rejection(gone, f"quote {quote_id} is {quote.state.value}: accept one that is OPEN")
        if quote.account_id == account_id and not self._switches.block_with_oneself:
            return Rejection(10001, f"quote {quote_id} is your own: a block trade needs two accounts")
        deal = _deal(request, quote)
        rejection = self._accept_refusal(deal)
        if rejection is not None:
            return rejection
        block = self._blocks.execute(deal, transaction)
        transaction.events.append(BlockTradeEvent(block))
        self._end_request(request_id, RequestState.FILLED, transaction, traded=quote)
        return block

    # What makers do. `add_quote` and `end_quote` serve dealers and accounts alike.

    def add_quote(
        self,
        request: RequestForQuote,
        origin: Origin,
        side: Side,
        sent: Sequence[Decimal],
        on_tick: Sequence[Decimal],
        transaction: Transaction,
    ) -> RfqQuote:
        """Open a quote: `sent` are the prices as they came, `on_tick` as they trade."""
        taker_sides = [leg.side for leg in request.legs]
        flips = side is Side.SELL
        legs = [SidedLeg(leg.symbol, leg.side.opposite if flips else leg.side, leg.quantity) for leg in request.legs]
        maker_side = side_of_quote(taker_sides, side).opposite
        quote = RfqQuote(
            quote_id=transaction.next_id(),
            request_id=request.request_id,
            account_id=origin.account_id,
            dealer=origin.dealer,
            number=origin.number,
            side=side,
            legs=tuple(QuoteLeg(*leg, price) for leg, price in zip(legs, on_tick, strict=True)),
            strategy_price=net_price(legs, sent, maker_side),
            state=QuoteState.OPEN,
            created_ns=transaction.now_ns,
            updated_ns=transaction.now_ns,
            expires_ns=transaction.now_ns + self._config.rfq.quote_life_ms * NS_PER_MS,
        )
        transaction.commit(QuoteCreated(quote=quote, at_ns=transaction.now_ns))
        transaction.events.append(QuoteEvent(quote, request.account_id))
        return quote

    def end_quote(self, quote_id: int, state: QuoteState, transaction: Transaction) -> None:
        """End an open quote."""
        transaction.commit(QuoteEnded(quote_id=quote_id, state=state, at_ns=transaction.now_ns))
        quote = self._state.rfq.quotes.get(quote_id)
        if quote is not None:
            owner = self._state.rfq.requests[quote.request_id].account_id
            transaction.events.append(QuoteEvent(quote, owner))

    # What time does.

    def next_ns(self, until_ns: int) -> int | None:
        """The first instant, `until_ns` at the latest, at which something is due; None when nothing is."""
        if self._agenda is None or self._agenda.revision != self._state.rfq.revision:
            self._agenda = self._make_agenda()
        due_ns = self._agenda.due_ns
        return due_ns if due_ns is not None and due_ns <= until_ns else None

    def act(self, due_ns: int, transaction: Transaction) -> None:
        """Carry out what is due at `due_ns`, with the market of that instant: expiries first, then answers."""
        rfq = self._state.rfq
        for quote_id in tuple(rfq.open_quotes):
            if rfq.quotes[quote_id].expires_ns <= due_ns:
                self.end_quote(quote_id, QuoteState.EXPIRED, transaction)
        for request_id in tuple(rfq.active):
            if rfq.requests[request_id].ends_ns <= due_ns:
                self._end_request(request_id, RequestState.EXPIRED, transaction)
        for request_id in tuple(rfq.active):
            for answer in self._answers(rfq.requests[request_id]):
                if answer.due_ns <= due_ns:
                    self._answer(rfq.requests[request_id], answer, transaction)

    def pull(self, transaction: Transaction) -> None:
        """Let dealers take back the quotes that the index has left behind; they quote anew later."""
        dealers = {dealer.name: dealer for dealer in self._config.rfq.dealers}
        for quote_id in tuple(self._state.rfq.open_quotes):
            quote = self._state.rfq.quotes[quote_id]
            dealer = dealers.get(quote.dealer)
            if dealer is not None and any(
                market.has_moved(quote.created_ns, dealer.pull_move_pct) for market in self._markets_of(quote)
            ):
                self.end_quote(quote_id, QuoteState.CANCELLED, transaction)

    def _make_agenda(self) -> _Agenda:
        """The first instant at which something will be due, as long as requests and quotes stay as they are."""
        rfq = self._state.rfq
        instants = [rfq.quotes[quote_id].expires_ns for quote_id in rfq.open_quotes]
        for request_id in rfq.active:
            request = rfq.requests[request_id]
            instants.append(request.ends_ns)
            instants += [answer.due_ns for answer in self._answers(request)]
        due_ns = min(instants, default=None)
        # A dealer that a new configuration has added may have been due long ago.
        return _Agenda(rfq.revision, None if due_ns is None else max(due_ns, self._state.last_ns))

    def _answers(self, request: RequestForQuote) -> list[Answer]:
        """The next answer of each dealer that will answer."""
        quotes: dict[str, list[RfqQuote]] = {}
        for quote in self._state.rfq.quotes_for(request.request_id):
            quotes.setdefault(quote.dealer, []).append(quote)
        found = [
            next_answer(self._config.rfq, self._config.seed, request, index, quotes.get(dealer.name, ()))
            for index, dealer in enumerate(self._config.rfq.dealers)
        ]
        return sorted(answer for answer in found if answer is not None)

    def _markets_of(self, quote: RfqQuote) -> list[BaseMarket]:
        found = [self._valuation.market_of(leg.symbol) for leg in quote.legs]
        return list(dict.fromkeys(market for market in found if market is not None))

    def request_of(self, account_id: str, request_id: int) -> RequestForQuote | None:
        """A request of the account."""
        request = self._state.rfq.requests.get(request_id)
        return request if request is not None and request.account_id == account_id else None

    def _answer(self, request: RequestForQuote, answer: Answer, transaction: Transaction) -> None:
        """A dealer's quotes, one per side."""
        dealer, seed = self._config.rfq.dealers[answer.dealer], self._config.seed
        for side in sides_quoted(dealer, seed, request.request_id, answer.number):
            legs = [self._leg_market(leg, side) for leg in request.legs]
            quoted = prices(dealer, seed, request.request_id, answer.number, side, legs)
            origin = Origin(None, dealer.name, answer.number)
            self.add_quote(request, origin, side, quoted, quoted, transaction)

    def _leg_market(self, leg: RequestLeg, quote_side: Side) -> LegMarket:
        """What the dealer sees; with a BUY quote the taker's sides are opposite to the request's."""
        found = self._valuation.option(leg.symbol)
        assert found is not None, leg.symbol
        market, option, quote = found
        taker_side = leg.side if quote_side is Side.SELL else leg.side.opposite
        levels = market.makers(leg.symbol, taker_side.opposite, self._state.consumed)
        return LegMarket(taker_side, leg.quantity, option.tick_size, quote.mark, levels)

    def _end_request(
        self, request_id: int, state: RequestState, transaction: Transaction, traded: RfqQuote | None = None
    ) -> None:
        """End a request and, as configured, its open quotes; `traded` is the one that was accepted."""
        quotes = self._state.rfq.quotes_for(request_id)
        maker_id = None if traded is None else traded.account_id
        quoted = tuple(dict.fromkeys(each.account_id for each in quotes if each.account_id is not None))
        still_open = [quote.quote_id for quote in self._state.rfq.open_quotes_for(request_id)]
        transaction.commit(RequestEnded(request_id=request_id, state=state, at_ns=transaction.now_ns))
        if state is not RequestState.EXPIRED or self._switches.expired_request_push:
            transaction.events.append(RequestEvent(self._state.rfq.requests[request_id], quoted, maker_id))
        for quote_id in still_open:
            if traded is not None and quote_id == traded.quote_id:
                self.end_quote(quote_id, QuoteState.FILLED, transaction)
        for quote_id in still_open:
            is_traded = traded is not None and quote_id == traded.quote_id
            if not is_traded and self._switches.open_quotes == "cancelled":
                self.end_quote(quote_id, QuoteState.CANCELLED, transaction)

    def _legs_refusal(
        self, legs: Sequence[LegWanted], found: Sequence[Found | None], now_ns: int
    ) -> Rejection | None:
        """The first thing that is wrong with a request's legs."""
        if not legs:
            return Rejection(10570, "parameter legs can not be empty: a request has at least one leg")
        if len(legs) > self._switches.rfq_legs_max:
            return Rejection(10572, f"parameter legs count exceeds the limit of {self._switches.rfq_legs_max}")
        if len({leg.symbol for leg in legs}) < len(legs):
            return Rejection(10573, "parameter legs error: an instrument may stand in one leg only")
        notional = Decimal(0)
        bases = set()
        for leg, listed in zip(legs, found, strict=True):
            if listed is None:
                return Rejection(10574, f"instrument {leg.symbol} does not exist: use a listed symbolName")
            market, option, _ = listed
            if now_ns >= option.expiry_ns - SUSPENDED_BEFORE_EXPIRY_NS:
                text = f"trading in {leg.symbol} is suspended in the 15 minutes before its expiry"
                return Rejection(self._switches.suspended_code, text)
            rejection = quantity_refusal(option, leg.quantity, market.config.max_order_quantity)
            if rejection is not None:
                return rejection
            least = self._switches.rfq_min_lots * option.min_quantity
            if leg.quantity < least:
                return Rejection(10558, f"the qty {leg.quantity} of {leg.symbol} is below the minimum of {least}")
            notional += option.strike * leg.quantity
            bases.add(option.base)
        if len(bases) > 1 and self._switches.rfq_underlyings == "one":
            return Rejection(10571, "parameter legs does not match: all legs must have one underlying")
        if notional < Decimal(repr(self._switches.rfq_min_notional_usd)):
            floor = self._switches.rfq_min_notional_usd
            return Rejection(10558, f"the notional {notional} (strike times qty) is below the minimum of {floor:g}")
        sells_only = structure_side(leg.side for leg in legs) is Side.SELL
        if sells_only and self._switches.rfq_sell_only == "refused":
            return Rejection(10573, "parameter side error: a request with SELL legs alone must be made as BUY")
        return None

    def _create_margin_refusal(
        self, account_id: str, legs: Sequence[LegWanted], found: Sequence[Found]
    ) -> Rejection | None:
        sided = [SidedLeg(leg.symbol, leg.side, leg.quantity) for leg in legs]
        marks = [exact(quote.mark) for _, _, quote in found]
        side = structure_side(leg.side for leg in legs)
        return self._blocks.refusal(account_id, sided, marks, side, is_taker=True)

    def _accept_refusal(self, deal: Deal) -> Rejection | None:
        """Why the taker, or a maker that is an account, cannot afford the trade."""
        rejection = self._blocks.refusal(deal.taker_id, deal.legs, deal.prices, deal.side, is_taker=True)
        if rejection is not None or deal.maker_id is None:
            return rejection
        mirrored = [leg._replace(side=leg.side.opposite) for leg in deal.legs]
        side = deal.side.opposite
        if self._blocks.refusal(deal.maker_id, mirrored, deal.prices, side, is_taker=False) is not None:
            return Rejection(50014, f"quote {deal.block_id} is not valid: its maker cannot trade it")
        return None


def _deal(request: RequestForQuote, quote: RfqQuote) -> Deal:
    return Deal(
        block_id=quote.quote_id,
        request_id=request.request_id,
        taker_id=request.account_id,
        maker_id=quote.account_id,
        legs=[SidedLeg(leg.symbol, leg.side.opposite, leg.quantity) for leg in quote.legs],
        prices=[leg.price for leg in quote.legs],
        side=side_of_quote([leg.side for leg in request.legs], quote.side),
    )

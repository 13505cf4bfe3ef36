"""What goes into and comes out of the core about requests for quote and block trades.

A request (RFQ) has one or several legs; makers answer with quotes, one price per leg; accepting a quote makes a block
trade. A quote's side is the maker's: with SELL the maker sells the structure, and its legs have the sides opposite
to the request's. Prices are USD per unit of the base coin, quantities base coins.
"""

from decimal import Decimal
from enum import Enum
from typing import Literal

import msgspec

from services.exchange.model import Rejection, Side

Role = Literal["TAKER", "MAKER"]


class RequestState(Enum):
    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    FILLED = "FILLED"
    EXPIRED = "EXPIRED"


class QuoteState(Enum):
    OPEN = "OPEN"
    CANCELLED = "CANCELLED"
    FILLED = "FILLED"
    EXPIRED = "EXPIRED"


class LegWanted(msgspec.Struct, frozen=True):
    """One leg as the taker asks for it."""

    symbol: str
    side: Side
    quantity: Decimal


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`dealers_silent` and `dealers_late_ms` are faults of the simulation: no dealer answers, or so much later."""

    legs: tuple[LegWanted, ...]
    dealers_silent: bool = False
    dealers_late_ms: int = 0


class LegPriced(msgspec.Struct, frozen=True, kw_only=True):
    """One leg as a maker prices it; `side` (the maker's) and `quantity` may be left out, else they must match."""

    symbol: str
    price: Decimal
    side: Side | None = None
    quantity: Decimal | None = None


class CreateQuote(msgspec.Struct, frozen=True):
    """A quote for a whole request. `side` SELL: the maker sells the structure."""

    request_id: int
    side: Side
    legs: tuple[LegPriced, ...]


class RequestLeg(msgspec.Struct, frozen=True):
    """`mark` is that at the request's creation."""

    symbol: str
    side: Side
    quantity: Decimal
    mark: Decimal


class RequestForQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it stands. `ends_ns` is when it expires: at `expires_ns`, or when trading in a leg stops."""

    request_id: int
    account_id: str
    legs: tuple[RequestLeg, ...]
    state: RequestState
    created_ns: int
    updated_ns: int
    expires_ns: int
    ends_ns: int
    dealers_silent: bool
    dealers_late_ms: int


class QuoteLeg(msgspec.Struct, frozen=True):
    """`side` is the maker's."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal


class RfqQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote as it stands: of an account, or of the simulated dealer `dealer` where `account_id` is None.

    `number` counts a dealer's answers to the request, the silent ones included. `strategy_price` is made of the
    prices as they were sent, those of the legs are on the tick.
    """

    quote_id: int
    request_id: int
    account_id: str | None
    dealer: str
    number: int
    side: Side
    legs: tuple[QuoteLeg, ...]
    strategy_price: Decimal
    state: QuoteState
    created_ns: int
    updated_ns: int
    expires_ns: int


class LegBooking(msgspec.Struct, frozen=True):
    """What one leg did to one account: `fee` positive when paid, `profit` realised."""

    order_id: int
    fee: Decimal
    profit: Decimal


class BlockLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One executed leg. `side` is the taker's; `maker` is None where a dealer was the maker."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    iv: float | None
    mark_price: float
    index_price: Decimal
    trade_id: int
    taker: LegBooking
    maker: LegBooking | None


class BlockTrade(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted quote, whose id is `block_id`; or an accepted offer, its id, and then there is no request. `side`
    is the taker's side of the structure."""

    block_id: int
    request_id: int | None
    taker_id: str
    maker_id: str | None
    side: Side
    strategy_price: Decimal
    legs: tuple[BlockLeg, ...]
    at_ns: int

    @property
    def quote_id(self) -> int | None:
        """The accepted quote; None where two accounts agreed between themselves."""
        return None if self.request_id is None else self.block_id

    def role_of(self, account_id: str) -> Role | None:
        """What the account was in it; None for others."""
        if account_id == self.taker_id:
            return "TAKER"
        return "MAKER" if account_id == self.maker_id else None


class OfferLeg(msgspec.Struct, frozen=True):
    """One leg of a block trade that two accounts have agreed on; `side` is that of who offers it."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal


class BlockOffer(msgspec.Struct, frozen=True, kw_only=True):
    """Half of a block trade between two accounts: whoever has its code may accept it, once, in the other role."""

    offer_id: int
    account_id: str
    role: Role
    legs: tuple[OfferLeg, ...]
    created_ns: int
    expires_ns: int


class CancelledQuotes(msgspec.Struct, frozen=True):
    """The quotes that a mass cancel ended, oldest first."""

    quote_ids: tuple[int, ...]


RequestResult = RequestForQuote | Rejection
QuoteResult = RfqQuote | Rejection
BlockResult = BlockTrade | Rejection
OfferResult = BlockOffer | Rejection


class RequestEvent(msgspec.Struct, frozen=True):
    """A request began or ended. `quoted` are the accounts that had quoted it, `maker_id` the one that traded."""

    request: RequestForQuote
    quoted: tuple[str, ...] = ()
    maker_id: str | None = None


class QuoteEvent(msgspec.Struct, frozen=True):
    """A quote began or ended; `taker_id` owns the request."""

    quote: RfqQuote
    taker_id: str


class BlockTradeEvent(msgspec.Struct, frozen=True):
    block: BlockTrade


RfqEvent = RequestEvent | QuoteEvent | BlockTradeEvent

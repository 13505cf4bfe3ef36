"""Requests for quote in our words: what a gateway is asked and what it answers. Inputs and effects of cores.

Three sides meet in a request for quote. Ours: what we want to do with each leg. The request's: what was asked for,
which is ours unless the request was turned round. The maker's: in every quote, and always the opposite of what the
taker would do. Every structure says whose its sides are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Side
from shared.messages.venue import RefusalKind, VenueFill

RfqFallback = Literal["limit", "smart"]
RequestSides = Literal["own", "buy_if_all_sell"]
RfqRole = Literal["taker", "maker"]
VenueRfqState = Literal["active", "cancelled", "filled", "traded_away", "expired"]
"""`traded_away`: seen by a maker when the taker executed somebody else's quote."""
QuoteState = Literal["open", "cancelled", "filled", "expired"]

RfqState = Literal[
    "REQUESTING",
    "UNKNOWN",
    "COLLECTING",
    "ACCEPTING",
    "ACCEPT_UNKNOWN",
    "CANCELLING",
    "FILLED",
    "CANCELLED",
    "EXPIRED",
    "REFUSED",
    "ABSENT",
]
"""The life of a request of ours, as execution knows it."""
FINAL_RFQ_STATES: frozenset[str] = frozenset({"FILLED", "CANCELLED", "EXPIRED", "REFUSED", "ABSENT"})

QuoteVerdict = Literal[
    "good",
    "not_open",
    "stale",
    "expiring",
    "wrong_legs",
    "wrong_side",
    "wrong_quantity",
    "outside_grant",
    "below_floor",
    "no_mark",
    "past_mark",
    "improvement_usd_too_small",
    "improvement_pct_too_small",
]
"""Why a quote may be taken, or the first reason why not."""
FallbackCode = Literal[
    "below_min_notional",
    "no_fresh_market",
    "journal_full",
    "rfq_refused",
    "rfq_throttled",
    "create_lost",
    "no_quotes",
    "no_good_quote",
    "accept_refused",
    "accept_lost",
    "withdrawn",
    "gone",
    "position_not_fresh",
    "not_in_lots",
    "trading_ends",
]
"""Why a structure is not, or no longer, traded by request for quote."""


_BOUNDS: dict[str, tuple[float, float]] = {
    "min_notional_usd": (0, 1e12),
    "window_s": (0.5, 60),
    "timeout_s": (0.5, 300),
    "min_improvement_usd": (-1e9, 1e9),
    "min_improvement_pct": (-100, 10_000),
    "max_over_mark_pct": (-100, 10_000),
}


class RfqParams(msgspec.Struct, frozen=True, kw_only=True):
    """How the structure is traded by request for quote.

    min_notional_usd: Σ strike × quantity below which no request is made. window_s: how long quotes are collected
    before the best is judged; timeout_s: how long after the request a good one is waited for at most.
    min_improvement_usd, min_improvement_pct: what a quote must be better than the order book by, for the whole
    structure; per cent of the book's cost, or of half its spread where the cost is near zero. max_over_mark_pct: how
    much worse than mark a quote may be at most, in per cent of Σ |mark × quantity|; decides alone where the book
    lacks the size.
    fallback: what works the trade when no quote is taken, None: nothing, an opening then fails and a close is
    worked by limit orders all the same. request_sides: "own" asks for what is wanted, "buy_if_all_sell" turns a
    structure of sales round and hits the maker's bid. closes: close by request for quote too.
    """

    min_notional_usd: float = 50_000.0
    window_s: float = 5.0
    timeout_s: float = 15.0
    min_improvement_usd: float = 0.0
    min_improvement_pct: float = 0.0
    max_over_mark_pct: float = 10.0
    fallback: RfqFallback | None = "limit"
    request_sides: RequestSides = "own"
    closes: bool = True

    def problem(self, names: Mapping[str, str] | None = None) -> str:
        """What is wrong with them, naming the field (as `names` calls it) and what is allowed; "" when nothing is."""
        names = names or {}
        for field, (low, high) in _BOUNDS.items():
            value = getattr(self, field)
            if not math.isfinite(value) or not low <= value <= high:
                return f"{names.get(field, field)} {value:g} must lie within {low:g} to {high:g}"
        if self.timeout_s < self.window_s:
            timeout, window = (names.get(field, field) for field in ("timeout_s", "window_s"))
            return f"{timeout} {self.timeout_s:g} must be at least {window}, {self.window_s:g}"
        return ""


class JudgedQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote as it was judged. Cost for the whole structure, paid > 0; improvements as in
    `shared.options.comparison.Comparison`."""

    quote_id: str
    verdict: QuoteVerdict
    cost_usd: float | None = None
    improvement_usd: float | None = None
    improvement_pct: float | None = None
    over_mark_pct: float | None = None


class RfqLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a request. `side`: the request's, which makers read as the taker's direction. Base coin units."""

    symbol: str
    side: Side
    quantity: Decimal


class QuoteLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a quote. `side`: the maker's, "sell" means that the taker buys. `price`: USD per unit."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal


class VenueRfq(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the venue reports it, pushed or read; `legs` in the request's sides. `role`: this account's."""

    request_id: str
    state: VenueRfqState
    legs: tuple[RfqLeg, ...]
    created_ns: int
    expiry_ns: int
    role: RfqRole = "taker"


class VenueQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote as the venue reports it, pushed or read; times by the venue's clock.

    quote_side: "sell" when the maker sells the structure as it was requested, "buy" when it buys it; None when the
    report lacks it: the legs' sides, which are the maker's, say the same. request_id: "" when the report lacks it.
    """

    quote_id: str
    request_id: str
    quote_side: Side | None
    state: QuoteState
    legs: tuple[QuoteLeg, ...]
    created_ns: int
    expiry_ns: int


class BlockTrade(msgspec.Struct, frozen=True, kw_only=True):
    """An executed quote. `legs`: one execution each, `side` ours, without an order id of ours; with their fees where
    the report has them. `block_trade_id`: "" when the report lacks it."""

    block_trade_id: str
    request_id: str
    quote_id: str
    role: RfqRole
    legs: tuple[VenueFill, ...]
    venue_ns: int


class RfqCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The venue took the request. `rfq_id` is ours, `request_id` the venue's; times by the venue's clock."""

    rfq_id: str
    request_id: str
    created_ns: int
    expiry_ns: int


class RfqRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue certainly did not take the request."""

    rfq_id: str
    kind: RefusalKind
    code: int
    text: str


class RfqUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """The request may or may not be at the venue. No harm by itself: only an accepted quote trades."""

    rfq_id: str
    reason: str


class RfqCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The venue took the cancel of a request."""

    request_id: str


class RfqCancelRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The request cannot be cancelled, as a rule because it is already filled, cancelled or expired."""

    request_id: str
    code: int
    text: str


class RfqCancelUnknown(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str
    reason: str


class QuoteAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The venue executed the quote: the block trade with our side of each leg."""

    request_id: str
    quote_id: str
    trade: BlockTrade


class AcceptRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue certainly did not execute the quote."""

    request_id: str
    quote_id: str
    kind: RefusalKind
    code: int
    text: str


class AcceptUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """The quote may or may not have been executed. Never accepted again; evidence decides."""

    request_id: str
    quote_id: str
    reason: str


class QuotesFetched(msgspec.Struct, frozen=True, kw_only=True):
    """All quotes that the venue lists for a request, whatever their state. `asked_ns`: when it was asked."""

    request_id: str
    asked_ns: int
    quotes: tuple[VenueQuote, ...]


class QuotesFailed(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str
    reason: str


class RfqsFetched(msgspec.Struct, frozen=True, kw_only=True):
    """This account's requests in the role of taker, created since `since_ns`."""

    asked_ns: int
    since_ns: int
    rfqs: tuple[VenueRfq, ...]


class RfqsFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The list could not be read. `unsupported`: never can be with this account, so nothing is learned from it."""

    reason: str
    unsupported: bool = False


class BlockTradesFetched(msgspec.Struct, frozen=True, kw_only=True):
    """This account's block trades since `since_ns`, any quote's. `asked_ns`: when the first page was asked."""

    asked_ns: int
    since_ns: int
    trades: tuple[BlockTrade, ...]


class BlockTradesFailed(msgspec.Struct, frozen=True, kw_only=True):
    reason: str


RfqPush = VenueRfq | VenueQuote | BlockTrade
"""What the private stream delivers of requests for quote."""
RfqOutcome = (
    RfqCreated
    | RfqRefused
    | RfqUnknown
    | RfqCancelled
    | RfqCancelRefused
    | RfqCancelUnknown
    | QuoteAccepted
    | AcceptRefused
    | AcceptUnknown
    | QuotesFetched
    | QuotesFailed
    | RfqsFetched
    | RfqsFailed
    | BlockTradesFetched
    | BlockTradesFailed
)
"""What comes back from the calls of a request for quote."""

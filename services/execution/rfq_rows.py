"""What requests for quote of trades write to execution's journal: each request and each acceptance before it is sent,
and what became of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.rfq import JudgedQuote, RfqLeg, RfqState
from shared.messages.venue import RefusalKind


class RfqRequested(msgspec.Struct, frozen=True, kw_only=True, tag="rfq_requested"):
    """Makers are about to be asked for quotes, once. `legs` in the request's sides; written before it is sent."""

    rfq_id: str
    trade_id: str
    purpose: Literal["open", "close"]
    attempt: int
    legs: tuple[RfqLeg, ...]
    notional_usd: float


class RfqMoved(msgspec.Struct, frozen=True, kw_only=True, tag="rfq_moved"):
    """The request changed its state. `request_id` (the venue's) and `expiry_ns` where they have become known;
    `refusal_kind` only for a refusal."""

    rfq_id: str
    state: RfqState
    reason: str
    request_id: str = ""
    expiry_ns: int = 0
    refusal_kind: RefusalKind | None = None


class QuotesJudged(msgspec.Struct, frozen=True, kw_only=True, tag="quotes_judged"):
    """What decided about the quotes: what the structure costs without one (USD, paid > 0, None where a book lacks the
    size or a mark is missing), and each quote against it. `chosen`: the one taken, "" for none."""

    rfq_id: str
    book_cost_usd: float | None
    mark_cost_usd: float | None
    quotes: tuple[JudgedQuote, ...]
    chosen: str


class AcceptRequested(msgspec.Struct, frozen=True, kw_only=True, tag="accept_requested"):
    """This quote is about to be accepted, once; an `OrderRequested` for each leg follows. Written before.

    foreign: by symbol of its legs, what the venue held of it just before that is no trade's, signed; without those of
    which it held nothing. None in rows of older versions.
    """

    rfq_id: str
    quote_id: str
    quote_expiry_ns: int
    foreign: dict[str, Decimal] | None = None


RfqSight = Literal["executed", "gone", "quote_gone"]
"""Of an accepted quote: executed; or not any more, as the request, or the quote alone, has ended."""


class RfqSighted(msgspec.Struct, frozen=True, kw_only=True, tag="rfq_sighted"):
    """The venue showed that the accepted quote was executed, or that it cannot be any more."""

    rfq_id: str
    what: RfqSight
    reason: str


RfqRow = RfqRequested | RfqMoved | QuotesJudged | AcceptRequested | RfqSighted

"""Requests for quote as a person follows them: who was asked for what, and what makers have quoted so far."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side
from shared.messages.rfq import QuoteVerdict
from shared.messages.trades import LegOrder

AT_WORK: frozenset[str] = frozenset({"REQUESTING", "ASKING", "COLLECTING", "ACCEPTING", "ACCEPT_UNKNOWN"})
"""The states in which a request may still come to something."""

RequestPurpose = Literal["open", "close", "inquiry"]


class DirectionCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the structure costs without a quote, USD for its full size, paid > 0. `direction` "buy" trades the legs as
    they are given, "sell" the other way round.

    book_cost_usd: taking the other side of every book at full size, None where `shallow` symbols lack the size or the
    market is not known; mark_cost_usd: at mark.
    """

    direction: Side
    book_cost_usd: float | None
    mark_cost_usd: float | None
    shallow: tuple[str, ...] = ()


class RequestQuote(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's price for one direction. `direction` None: for other legs or quantities than were asked for.

    cost_usd, improvement_usd, improvement_pct, over_mark_pct: as in `shared.options.comparison.Comparison`, None
    where they are not known. verdict: whether the trade may take it, or the first reason why not; None where nothing
    is to be taken. prices: USD per unit, one per leg of the request; empty once it was only written down what came
    of it. expiry_ns: by the venue's clock, None as for the prices.
    """

    quote_id: str
    direction: Side | None
    cost_usd: float | None = None
    improvement_usd: float | None = None
    improvement_pct: float | None = None
    over_mark_pct: float | None = None
    verdict: QuoteVerdict | None = None
    prices: tuple[Decimal, ...] = ()
    expiry_ns: int | None = None


class QuoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for quote, of a trade or of a person.

    rfq_id: ours; request_id: the venue's, "" before it is known. trade_id: "" for an inquiry. asked_by: the strategy,
    or who asked. wanted: the direction that the trade takes, None for an inquiry, on which nothing is taken.
    judged_ns: when quotes are judged, or were; ends_ns: when the request is given up; both None before makers were
    asked. is_collecting: quotes may come still, and figures are of this moment. costs, quotes: by direction, the
    cheapest first; of what is over, as they were judged. chosen: the quote that was taken, "" for none.
    """

    rfq_id: str
    request_id: str
    trade_id: str
    asked_by: str
    purpose: RequestPurpose
    state: str
    reason: str
    legs: tuple[LegOrder, ...]
    wanted: Side | None
    asked_ns: int
    judged_ns: int | None
    ends_ns: int | None
    is_collecting: bool
    costs: tuple[DirectionCost, ...]
    quotes: tuple[RequestQuote, ...]
    chosen: str = ""

    @property
    def is_at_work(self) -> bool:
        return self.state in AT_WORK


class QuoteBoard(Message, frozen=True, kw_only=True, tag="quote_board.1"):
    """The requests for quote that collect or trade just now, published when a quote comes, goes or is judged; without
    any once the last has ended."""

    account_id: str
    at_ns: int
    requests: tuple[QuoteRequest, ...]


class ListQuoteRequests(Message, frozen=True, kw_only=True, tag="list_quote_requests.1"):
    """Ask execution for the newest requests for quote, those at work and those that are over.

    trade_id: only those of this trade.
    """

    trade_id: str = ""
    limit: int = 20


class QuoteRequestList(Message, frozen=True, kw_only=True, tag="quote_request_list.1"):
    """Newest first. `at_ns`: when execution answered."""

    at_ns: int
    requests: tuple[QuoteRequest, ...]

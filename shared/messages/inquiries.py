"""Inquiries: an operator asks what makers would trade a structure at. Nothing is ever accepted on one."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side
from shared.messages.trades import LegOrder


class QuoteStructure(Message, frozen=True, kw_only=True, tag="quote_structure.1"):
    """Ask makers for two-way quotes on a structure, collect them for `collect_s` seconds and withdraw the request.

    The answer comes after that. No quote is accepted, whatever it says.
    """

    legs: tuple[LegOrder, ...]
    collect_s: float = 5.0
    requested_by: str


class SideQuote(msgspec.Struct, frozen=True, kw_only=True):
    """One maker's price for one direction of the structure. `prices`: USD per unit, one per leg of the inquiry.

    cost_usd: of the whole structure, paid > 0. improvement_usd: how much less than on the book it costs, in
    improvement_pct per cent of what `basis` says; over_mark_usd, over_mark_pct: how much more than at mark
    (`shared.options.comparison.Comparison`). expiry_ns: by the venue's clock.
    """

    quote_id: str
    prices: tuple[Decimal, ...]
    cost_usd: float
    basis: Literal["book", "half_spread", "mark"]
    improvement_usd: float | None
    improvement_pct: float | None
    over_mark_usd: float | None
    over_mark_pct: float | None
    expiry_ns: int


class SideQuotes(msgspec.Struct, frozen=True, kw_only=True):
    """One direction: "buy" trades the legs as they were asked for, "sell" the other way round.

    book_cost_usd: taking the other side of every book at full size, None where `shallow` symbols lack the size or the
    market is not known; mark_cost_usd: at mark. quotes: the best first.
    """

    action: Side
    book_cost_usd: float | None
    mark_cost_usd: float | None
    shallow: tuple[str, ...]
    quotes: tuple[SideQuote, ...]


class StructureQuotes(Message, frozen=True, kw_only=True, tag="structure_quotes.1"):
    """What came of an inquiry, `sides` "buy" and "sell". `request_id` is the venue's; `unusable` quotes were for
    other legs or quantities."""

    inquiry_id: str
    account_id: str
    request_id: str
    legs: tuple[LegOrder, ...]
    requested_by: str
    asked_ns: int
    answered_ns: int
    sides: tuple[SideQuotes, ...]
    unusable: int
    reason: str

    @property
    def quote_count(self) -> int:
        return sum(len(side.quotes) for side in self.sides)


class ListInquiries(Message, frozen=True, kw_only=True, tag="list_inquiries.1"):
    """Ask execution for the inquiries that were answered with quotes or without any, newest first."""

    limit: int = 50


class InquiryList(Message, frozen=True, kw_only=True, tag="inquiry_list.1"):
    inquiries: tuple[StructureQuotes, ...]

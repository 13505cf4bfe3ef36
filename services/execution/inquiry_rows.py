"""What an operator's requests for quote write to execution's journal: each before it is sent, and its answer."""

from __future__ import annotations

import msgspec

from shared.messages.inquiries import StructureQuotes
from shared.messages.trades import LegOrder, Refusal


class InquiryAsked(msgspec.Struct, frozen=True, kw_only=True, tag="inquiry_asked"):
    """Makers are about to be asked for quotes that an operator wants to see, once. The id is the bus request's."""

    inquiry_id: str
    legs: tuple[LegOrder, ...]
    collect_s: float
    requested_by: str


class InquiryTaken(msgspec.Struct, frozen=True, kw_only=True, tag="inquiry_taken"):
    """The venue has the request under this id."""

    inquiry_id: str
    request_id: str
    expiry_ns: int


class InquiryAnswered(msgspec.Struct, frozen=True, kw_only=True, tag="inquiry_answered"):
    """The operator was answered so; the same id gets this answer again. The request is withdrawn after this."""

    inquiry_id: str
    answer: StructureQuotes | Refusal


class InquiryEnded(msgspec.Struct, frozen=True, kw_only=True, tag="inquiry_ended"):
    """Nothing of it is at the venue any more."""

    inquiry_id: str
    reason: str


InquiryRow = InquiryAsked | InquiryTaken | InquiryAnswered | InquiryEnded

"""Inquiries as the journal knows them: their records and the fold. It makes no decisions."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from services.execution.inquiry_rows import InquiryAnswered, InquiryAsked, InquiryEnded, InquiryRow, InquiryTaken
from shared.messages.inquiries import StructureQuotes
from shared.messages.trades import LegOrder, Refusal

_ENDED_KEPT = 200
_SECOND = 1_000_000_000

InquiryState = Literal["ASKING", "COLLECTING", "WITHDRAWING", "LOST", "ENDED"]
"""LOST: nobody knows whether the request is at the venue. WITHDRAWING: answered, and still to be cancelled there."""


class Inquiry(msgspec.Struct, kw_only=True):
    """One inquiry. `state_ns` is when it entered its state; `request_id` and `expiry_ns` are the venue's.
    `lost_ns`: when it was given up without an answer to its create, 0 for never."""

    inquiry_id: str
    legs: tuple[LegOrder, ...]
    collect_s: float
    requested_by: str
    asked_ns: int
    state: InquiryState
    state_ns: int
    request_id: str = ""
    expiry_ns: int = 0
    lost_ns: int = 0
    answer: StructureQuotes | Refusal | None = None

    @property
    def collected_until_ns(self) -> int:
        """When the collection ends, while it collects; it began when the venue had taken the request."""
        return self.state_ns + math.ceil(self.collect_s * _SECOND)


class InquiryBook(msgspec.Struct):
    """All inquiries that are known, oldest first; of those that ended the newest few."""

    inquiries: dict[str, Inquiry] = msgspec.field(default_factory=dict)
    live: dict[str, None] = msgspec.field(default_factory=dict)

    def live_inquiries(self) -> list[Inquiry]:
        """Those that are not ended."""
        return [self.inquiries[inquiry_id] for inquiry_id in self.live]

    def of_request(self, request_id: str) -> Inquiry | None:
        """The live one by the venue's id."""
        return next((each for each in self.live_inquiries() if request_id and each.request_id == request_id), None)

    def answered(self) -> list[StructureQuotes]:
        """What came of them, newest first."""
        answers = [each.answer for each in self.inquiries.values()]
        return [each for each in reversed(answers) if isinstance(each, StructureQuotes)]

    def apply(self, row: InquiryRow, at_ns: int) -> None:
        """Fold one row."""
        match row:
            case InquiryAsked():
                self.live[row.inquiry_id] = None
                self.inquiries[row.inquiry_id] = Inquiry(
                    inquiry_id=row.inquiry_id,
                    legs=row.legs,
                    collect_s=row.collect_s,
                    requested_by=row.requested_by,
                    asked_ns=at_ns,
                    state="ASKING",
                    state_ns=at_ns,
                )
            case InquiryTaken():
                inquiry = self.inquiries[row.inquiry_id]
                inquiry.request_id, inquiry.expiry_ns = row.request_id, row.expiry_ns
                self._move(inquiry, "COLLECTING" if inquiry.answer is None else "WITHDRAWING", at_ns)
            case InquiryAnswered():
                inquiry = self.inquiries[row.inquiry_id]
                inquiry.answer = row.answer
                self._move(inquiry, "WITHDRAWING" if inquiry.request_id else "LOST", at_ns)
            case InquiryEnded():
                self._move(self.inquiries[row.inquiry_id], "ENDED", at_ns)

    def _move(self, inquiry: Inquiry, state: InquiryState, at_ns: int) -> None:
        inquiry.state, inquiry.state_ns = state, at_ns
        if state == "LOST":
            inquiry.lost_ns = at_ns
        if state != "ENDED":
            # One that had ended, and was found at the venue all the same, has to be withdrawn.
            self.live[inquiry.inquiry_id] = None
            return
        self.live.pop(inquiry.inquiry_id, None)
        ended = [each for each in self.inquiries if each not in self.live]
        for inquiry_id in ended[:-_ENDED_KEPT]:
            del self.inquiries[inquiry_id]

"""What execution measures about inquiries: how many makers were asked for an operator, and what came of them."""

from __future__ import annotations

from services.execution.inquiries import InquiryBook
from services.execution.inquiry_rows import InquiryAnswered, InquiryAsked, InquiryRow
from shared.messages.inquiries import StructureQuotes
from shared.messages.trades import Refusal
from shared.metrics import Metrics


class InquiryMetrics:
    """Counts rows; `watch` sets the gauge."""

    def __init__(self, metrics: Metrics) -> None:
        self._live = metrics.gauge(
            "voldesk_inquiries", "Inquiries of which something is, or may be, at the venue: a request to be withdrawn"
        )
        self._asked = metrics.counter("voldesk_inquiries_asked_total", "Inquiries of operators, once each")
        self._answered = metrics.counters(
            "voldesk_inquiries_answered_total",
            "Inquiries by answer: quoted, no_quotes, or the code of the refusal",
            "outcome",
        )

    def count(self, row: InquiryRow) -> None:
        """One row that was committed."""
        match row:
            case InquiryAsked():
                self._asked.inc()
            case InquiryAnswered(answer=Refusal(code=code)):
                self._answered(code).inc()
            case InquiryAnswered(answer=StructureQuotes() as answer):
                self._answered("quoted" if answer.quote_count else "no_quotes").inc()

    def watch(self, book: InquiryBook) -> None:
        """Set the gauge."""
        self._live.set(len(book.live))

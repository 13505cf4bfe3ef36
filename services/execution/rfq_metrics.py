"""What execution measures about requests for quote: how they end, how quotes are judged, what they are worth."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from services.execution import rows
from services.execution.rfq_rows import QuotesJudged, RfqMoved, RfqRequested, RfqRow
from services.execution.rfqs import Rfq, RfqBook
from shared.messages.rfq import FINAL_RFQ_STATES, RfqState
from shared.metrics import Metrics

_LIVE_STATES = tuple(state for state in get_args(RfqState) if state not in FINAL_RFQ_STATES)


class RfqMetrics:
    """Counts rows; `watch` sets the gauge."""

    def __init__(self, metrics: Metrics) -> None:
        self._live = metrics.table(
            "voldesk_rfqs",
            "Requests for quote that are not final, by state; ACCEPT_UNKNOWN counts as exposure",
            "state",
        )
        self._requested = metrics.counters("voldesk_rfqs_requested_total", "Requests for quote, once each", "purpose")
        self._ended = metrics.counters(
            "voldesk_rfqs_ended_total",
            "Requests for quote by what became of them, at each time it was decided",
            "purpose",
            "state",
        )
        self._accepts_unknown = metrics.counter(
            "voldesk_rfq_accepts_unknown_total", "Accepted quotes whose outcome became unknown"
        )
        self._judged = metrics.counters(
            "voldesk_rfq_quotes_judged_total", "Quotes at the moment of the decision, by verdict", "verdict"
        )
        self._improvement_usd = metrics.counters(
            "voldesk_rfq_improvement_usd_total",
            "How much better than the order book the quotes were that were taken, where the book had the size; one "
            "that was worse counts as 0",
            "purpose",
        )
        self._fallbacks = metrics.counters(
            "voldesk_fallbacks_total", "Openings and closes left to another mode, by reason", "purpose", "code"
        )

    def count(self, row: RfqRow, rfq: Rfq | None) -> None:
        """One row that was committed; `rfq` as it is now."""
        match row:
            case RfqRequested(purpose=purpose):
                self._requested(purpose).inc()
            case RfqMoved(state=state):
                if state in FINAL_RFQ_STATES and rfq is not None:
                    self._ended(rfq.purpose, state).inc()
                if state == "ACCEPT_UNKNOWN":
                    self._accepts_unknown.inc()
            case QuotesJudged():
                for quote in row.quotes:
                    self._judged(quote.verdict).inc()
                    if quote.quote_id == row.chosen and quote.improvement_usd is not None and rfq is not None:
                        self._improvement_usd(rfq.purpose).inc(max(0.0, quote.improvement_usd))

    def fell_back(self, row: rows.FellBack) -> None:
        """A mode left the rest to another."""
        self._fallbacks(row.purpose, row.code or "other").inc()

    def watch(self, book: RfqBook) -> None:
        """Set the gauge."""
        states = Counter(rfq.state for rfq in book.live_rfqs())
        self._live.show({state: states[state] for state in _LIVE_STATES})

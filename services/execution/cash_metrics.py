"""What execution measures about the cash rule: sales, what they brought, and how much of the cap is used."""

from __future__ import annotations

from services.execution.cash_book import FINAL_STATES, CashBook
from services.execution.cash_rows import CashRow, CashSaleMoved, CashSaleRequested
from shared.metrics import Metrics


class CashMetrics:
    """Counts rows; `watch` sets the gauges."""

    def __init__(self, metrics: Metrics) -> None:
        self._live = metrics.gauge("voldesk_cash_sales_live", "Sales of the cash rule that may still trade")
        self._used = metrics.gauge(
            "voldesk_cash_used_usd", "What the cash rule sold within 24 hours, live sales by what they reserve, USD"
        )
        self._requested = metrics.counter("voldesk_cash_sales_total", "Sales that the cash rule sent, once each")
        self._ended = metrics.counters(
            "voldesk_cash_sales_ended_total", "Sales of the cash rule by how they ended", "state"
        )

    def count(self, row: CashRow) -> None:
        """One row that was committed."""
        match row:
            case CashSaleRequested():
                self._requested.inc()
            case CashSaleMoved(state=state) if state in FINAL_STATES:
                self._ended(state).inc()

    def watch(self, book: CashBook, now_ns: int) -> None:
        """Set the gauges."""
        self._live.set(len(book.live))
        self._used.set(float(book.used_usd(now_ns)))

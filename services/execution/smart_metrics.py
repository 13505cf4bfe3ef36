"""What execution measures about trades in chunks: how the chunks end, and where the spread had to be crossed."""

from __future__ import annotations

from services.execution import rows
from shared.metrics import Metrics


class SmartMetrics:
    """Counts rows."""

    def __init__(self, metrics: Metrics) -> None:
        self._ended = metrics.counters(
            "voldesk_chunks_ended_total",
            "Chunks of openings and closes by outcome: complete, or given_up, which is the last that is worked",
            "purpose",
            "outcome",
        )
        self._crossed = metrics.counters(
            "voldesk_chunk_crossings_total",
            "Legs of chunks that were not filled by quoting and cross the spread",
            "purpose",
        )

    def count(self, row: rows.ChunkEnded | rows.SpreadCrossed) -> None:
        """One row that was committed."""
        if isinstance(row, rows.SpreadCrossed):
            self._crossed(row.purpose).inc()
        else:
            self._ended(row.purpose, "complete" if row.complete else "given_up").inc()

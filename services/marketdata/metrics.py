"""What market data measures of itself: ages, silent streams, and how far our figures are from the venue's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from services.marketdata.core import MarketdataCore
from services.marketdata.effects import Compared
from shared.metrics import Metrics

_NS_PER_S = 1e9


class MarketdataMetrics:
    """Hand it each comparison, and let it `measure` once a second."""

    def __init__(self, metrics: Metrics, underlyings: Sequence[str]) -> None:
        self._underlyings = underlyings
        self._differences: dict[tuple[str, str], float] = {}
        self._difference = metrics.table(
            "voldesk_venue_difference",
            "Largest absolute difference of our figure from the venue's over the options of an underlying: delta, "
            "gamma, vega, theta, rho in their units, mark_iv, bid_iv, ask_iv as fractions where a tick is worth less "
            "than a volatility point",
            "underlying",
            "figure",
        )
        self._ages = metrics.table(
            "voldesk_stream_age_seconds",
            "Since the stream that was received longest ago was received: of an underlying its expiries (chain), "
            "index, leased books (book); NaN for never",
            "underlying",
            "stream",
        )
        self._stale = metrics.table(
            "voldesk_stale_streams", "Expiries and indices that are listed and not received any more", "underlying"
        )
        self._books = metrics.table("voldesk_books", "Order books that somebody leases", "underlying")
        self._frozen = metrics.table(
            "voldesk_frozen_books", "Leased books that change while their stream is silent", "underlying"
        )
        self._cache_entries = metrics.gauge("voldesk_read_cache_entries", "Answers to reads on request that are kept")
        reads = metrics.counters(
            "voldesk_reads_total", "Reads on request by who answered: cache or venue, not counting refusals", "source"
        )
        self._reads = {"cache": reads("cache"), "venue": reads("venue")}
        self._counted = {"cache": 0, "venue": 0}

    def compared(self, compared: Compared) -> None:
        self._differences = {
            **self._differences,
            **{(compared.underlying, name): value for name, value in compared.largest.items()},
        }
        self._difference.show(self._differences)

    def measure(self, core: MarketdataCore, now_ns: int) -> None:
        ages: dict[tuple[str, str], float] = {}
        for name in self._underlyings:
            chain_ns, index_ns = core.oldest_ns(name, now_ns) or (0, 0)
            ages[name, "chain"], ages[name, "index"] = _age_s(chain_ns, now_ns), _age_s(index_ns, now_ns)
            book_ns = core.books.oldest_ns(name)
            if book_ns is not None:
                ages[name, "book"] = _age_s(book_ns, now_ns)
        self._ages.show(ages)
        self._stale.show({name: len(core.stale_streams(name, now_ns)) for name in self._underlyings})
        self._books.show({name: len(core.books.symbols_of(name)) for name in self._underlyings})
        self._frozen.show({name: len(core.books.frozen_of(name)) for name in self._underlyings})
        self._cache_entries.set(core.reads.entries)
        for source, count in (("cache", core.reads.hits), ("venue", core.reads.misses)):
            # a core that was built anew counts from 0
            self._reads[source].inc(max(count - self._counted[source], 0))
            self._counted[source] = count

    def words(self) -> dict[str, object]:
        """For the health line. oldest_chain_s: age of the expiry that was received longest ago, None for never."""
        ages = [age for (_, stream), age in self._ages.values.items() if stream == "chain"]
        known = [age for age in ages if not math.isnan(age)]
        return {
            "oldest_chain_s": round(max(known), 1) if known and len(known) == len(ages) else None,
            "stale_streams": int(sum(self._stale.values.values())),
            "books": int(sum(self._books.values.values())),
        }


def _age_s(received_ns: int, now_ns: int) -> float:
    return (now_ns - received_ns) / _NS_PER_S if received_ns else math.nan

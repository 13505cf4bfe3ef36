"""What market data measures of itself: ages, silent streams, and how far our figures are from the venue's."""

from __future__ import annotations

import math
from collections.abc import Sequence

from services.marketdata.comparison import COMPARED, VOLATILITIES
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import Compared
from shared.metrics import Metrics


class MarketdataGauges:
    """Over all underlyings of the desk: the worst is shown."""

    def __init__(self, metrics: Metrics, underlyings: Sequence[str]) -> None:
        self._underlyings = underlyings
        self._compared: dict[str, dict[str, float]] = {}
        self._differences = {
            name: metrics.gauge(
                f"voldesk_{'iv' if name in VOLATILITIES else 'greeks'}_difference_{name.removesuffix('_iv')}",
                f"Largest absolute difference of our {name} from the venue's",
            )
            for name in COMPARED
        }
        self._chain_age = metrics.gauge(
            "voldesk_chain_age_seconds", "Since the listed expiry that was received longest ago was received"
        )
        self._index_age = metrics.gauge(
            "voldesk_index_age_seconds", "Since the index that was received longest ago was received"
        )
        self._stale = metrics.gauge(
            "voldesk_stale_streams", "Expiries and indices that are listed and not received any more"
        )

    def compared(self, compared: Compared) -> None:
        self._compared[compared.underlying] = compared.largest
        for name, gauge in self._differences.items():
            known = [largest[name] for largest in self._compared.values() if not math.isnan(largest[name])]
            gauge.set(max(known, default=math.nan))

    def measure(self, core: MarketdataCore, now_ns: int) -> None:
        """Set the ages; NaN for what was never received."""
        received = [core.oldest_ns(name, now_ns) for name in self._underlyings]
        for gauge, part in ((self._chain_age, 0), (self._index_age, 1)):
            oldest_ns = min((pair[part] if pair else 0 for pair in received), default=0)
            gauge.set((now_ns - oldest_ns) / 1e9 if oldest_ns else math.nan)
        self._stale.set(sum(len(core.stale_streams(name, now_ns)) for name in self._underlyings))

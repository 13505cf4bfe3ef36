"""The candles of one contract as arrays without holes, of which only finished ones decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.messages.on_demand import PERIOD_NS, Kline, KlinePeriod, Klines

F8 = NDArray[np.float64]
ResultT = TypeVar("ResultT")

BARS_MAX = 1_000
"""As many as market data reads at once, and as are kept."""

SETTLING_NS = 2_000_000_000
"""A candle that ended less than this before its receipt may lack its last trades, which were on their way."""

YEAR_NS = 365 * 86_400 * 1_000_000_000


class Candles:
    """Of one symbol and period, oldest first, the newest BARS_MAX at most, whatever the venue sends. A period in
    which nothing traded is flat at the close before it.

    Finished are those that had ended SETTLING_NS before they were received: `high`, `low` and `close`, float64 of
    shape (n,), USD. `traded`: for each of them whether anything traded in it. `ended_ns`: the end of the newest.
    `last`: the newest price, of the running candle where there is one. `newest_ns`: when the newest candle that
    traded began, 0 where there is none.
    """

    def __init__(self, klines: Klines) -> None:
        self.symbol = klines.symbol
        self.period: KlinePeriod = klines.period
        self.received_ns = klines.received_ns
        self._results: dict[Any, Any] = {}
        period_ns = PERIOD_NS[klines.period]
        settled_ns = klines.received_ns - SETTLING_NS
        first_ns, last_ns = settled_ns - BARS_MAX * period_ns, klines.received_ns + period_ns
        known = {
            kline.start_ns: kline
            for kline in klines.klines
            if kline.close > 0 and first_ns <= kline.start_ns < last_ns
        }
        starts = sorted(known)
        self.newest_ns = starts[-1] if starts else 0
        self.last: float | None = known[starts[-1]].close if starts else None
        rows, traded = _without_holes(known, starts, period_ns, settled_ns)
        self.high, self.low, self.close = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        self.traded = np.array(traded, dtype=bool)
        self.ended_ns = 0 if not starts else starts[0] + len(rows) * period_ns

    def __len__(self) -> int:
        """How many are finished."""
        return len(self.close)

    def once(self, key: object, compute: Callable[[], ResultT]) -> ResultT:
        """The result of `compute` on these candles, computed at the first look only."""
        if key not in self._results:
            self._results[key] = compute()
        result: ResultT = self._results[key]
        return result


def _without_holes(
    known: dict[int, Kline], starts: list[int], period_ns: int, settled_ns: int
) -> tuple[list[tuple[float, float, float]], list[bool]]:
    """High, low and close of each finished period, and whether it traded."""
    if not starts:
        return [], []
    rows: list[tuple[float, float, float]] = []
    traded: list[bool] = []
    close = known[starts[0]].close
    for start_ns in range(starts[0], settled_ns - period_ns + 1, period_ns):
        bar = known.get(start_ns)
        traded.append(bar is not None)
        rows.append((close, close, close) if bar is None else (bar.high, bar.low, bar.close))
        close = close if bar is None else bar.close
    return rows, traded

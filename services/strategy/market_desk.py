"""Reads what conditions ask of the market beyond chains, while a strategy or an open trade needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from services.strategy.answers import Answer
from services.strategy.config import StrategyHostConfig
from services.strategy.rows import IvSampled, Row
from shared.messages.on_demand import FundingRateAnswer, GetFundingRate, GetKlines, Klines
from shared.messages.steps import RequestTimedOut, SendRequest
from shared.messages.trades import Refusal
from shared.options.chain import ChainView
from shared.strategy.candles import Candles
from shared.strategy.market_reads import CandleKey, IvHistory, IvKey, MarketReads, Needs, bars_to_read
from shared.strategy.views import SECOND_NS, Tolerances
from shared.strategy.wording import HOUR_NS

_LOOK_NS = SECOND_NS
_DEADLINE_MS = 10_000
_SAMPLES_MAX = 367 * 24
"""Of each implied volatility: a year and a day of hours."""

Key = CandleKey | str
"""Of candles, or of the funding rate of a perpetual."""


class _Samples(msgspec.Struct):
    at_ns: deque[int]
    vols: deque[float]


class MarketDesk:
    """What was read is volatile and is read again after a restart. Samples of implied volatility cannot be: they are
    folded from rows, one an hour. `record` is the core's, which folds what it writes."""

    def __init__(self, config: StrategyHostConfig, tolerances: Tolerances, record: Callable[[Row], None]) -> None:
        self._interval_ns = int(config.market_read_interval_s * SECOND_NS)
        self._tolerances = tolerances
        self._record = record
        self._candles: dict[CandleKey, Candles] = {}
        self._funding: dict[str, FundingRateAnswer] = {}
        self._failures: dict[Key, str] = {}
        self._samples: dict[IvKey, _Samples] = {}
        self._histories: dict[IvKey, IvHistory] = {}
        self._asked: dict[str, Key] = {}
        self._due_ns: dict[Key, int] = {}
        self._bars: dict[CandleKey, int] = {}
        self._next_look_ns = 0
        self.reads = MarketReads(
            candles=self._candles,
            funding=self._funding,
            ivs=self._histories,
            failures=self._failures,
            tolerance_ns=int(config.market_read_tolerance_s * SECOND_NS),
        )
        """What conditions see: it shows what is known at the moment of the look."""

    def apply(self, row: Row) -> bool:
        """Fold a row; False if it is none of ours."""
        if not isinstance(row, IvSampled):
            return False
        key = row.underlying, row.days
        kept = self._samples.get(key)
        if kept is None:
            kept = self._samples[key] = _Samples(deque(maxlen=_SAMPLES_MAX), deque(maxlen=_SAMPLES_MAX))
        kept.at_ns.append(row.at_ns)
        kept.vols.append(row.vol)
        self._histories.pop(key, None)
        return True

    def look(self, needs: Callable[[], Needs], chains: Mapping[str, ChainView], now_ns: int) -> list[SendRequest]:
        """Once a second: sample what is due, and ask for what is needed and due."""
        if now_ns < self._next_look_ns:
            return []
        self._next_look_ns = now_ns + _LOOK_NS
        needed = needs()
        self._forget_all_but(needed)
        for key in sorted(needed.ivs):
            self._sample(key, chains, now_ns)
            self._show(key)
        for candle_key, bars in needed.candles.items():
            if bars > self._bars.get(candle_key, 0):
                self._due_ns[candle_key] = 0
            self._bars[candle_key] = bars
        wanted: list[Key] = [*needed.candles, *sorted(needed.funding)]
        asked = set(self._asked.values())
        return [self._ask(key, now_ns) for key in wanted if key not in asked and now_ns >= self._due_ns.get(key, 0)]

    def on_answer(self, answer: Answer, now_ns: int) -> Sequence[SendRequest] | None:
        """See `Asker`. What was read is kept, and why something was not."""
        key = self._asked.pop(answer.request_id, None)
        if key is None:
            return None
        if isinstance(answer, RequestTimedOut):
            self._failures[key] = "market data did not answer"
            return ()
        match answer.message:
            case Klines() as klines if isinstance(key, tuple) and key == (klines.symbol, klines.period):
                self._candles[key] = Candles(klines)
                self._failures.pop(key, None)
            case FundingRateAnswer(symbol=symbol) as funding if key == symbol:
                self._funding[symbol] = funding
                self._failures.pop(key, None)
            case Refusal(code=code, detail=detail):
                self._failures[key] = f"{code}, {detail}"
                if code == "busy":
                    # its turn comes before that of those that were answered, or it might never come
                    self._due_ns[key] = 0
            case other:
                self._failures[key] = f"market data answered with {type(other).__name__}"
        return ()

    def _ask(self, key: Key, now_ns: int) -> SendRequest:
        self._due_ns[key] = now_ns + self._interval_ns
        if isinstance(key, tuple):
            symbol, period = key
            periods = bars_to_read(self._bars[key])
            ask: GetKlines | GetFundingRate = GetKlines(
                symbol=symbol, period=period, periods=periods, max_age_ms=self._interval_ns // 2_000_000
            )
            request_id = f"candles/{symbol}/{period}/{now_ns}"
        else:
            ask = GetFundingRate(symbol=key, max_age_ms=self._interval_ns // 2_000_000)
            request_id = f"funding/{key}/{now_ns}"
        self._asked[request_id] = key
        return SendRequest("marketdata", ask, request_id, _DEADLINE_MS)

    def _sample(self, key: IvKey, chains: Mapping[str, ChainView], now_ns: int) -> None:
        """One sample in each hour, the first that there is."""
        underlying, days = key
        kept = self._samples.get(key)
        if kept is not None and kept.at_ns[-1] // HOUR_NS >= now_ns // HOUR_NS:
            return
        chain = chains.get(underlying)
        if chain is None or abs(now_ns - chain.snapshot.received_ns) > self._tolerances.market_ns:
            return
        vol = chain.atm_iv(days, now_ns)
        if vol is not None:
            self._record(IvSampled(underlying=underlying, days=days, at_ns=now_ns, vol=vol))

    def _show(self, key: IvKey) -> None:
        """Bring the history up to date when a sample was added."""
        kept = self._samples.get(key)
        if kept is not None and key not in self._histories:
            self._histories[key] = IvHistory(
                at_ns=np.array(kept.at_ns, dtype=np.int64), vols=np.array(kept.vols, dtype=np.float64)
            )

    def _forget_all_but(self, needed: Needs) -> None:
        for key in [key for key in self._due_ns if key not in needed.candles and key not in needed.funding]:
            del self._due_ns[key]
            self._failures.pop(key, None)
            if isinstance(key, tuple):
                self._candles.pop(key, None)
                self._bars.pop(key, None)
            else:
                self._funding.pop(key, None)

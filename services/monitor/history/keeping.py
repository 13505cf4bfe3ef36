"""Keeps the history beside the monitor: samples what it knows, writes on a thread, reads for pages and commands.

Whatever fails here is told and tried again; watching goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from services.monitor.effects import Observed
from services.monitor.history.attribution import Follower, TradeSample, unit_marks
from services.monitor.history.config import HistoryConfig
from services.monitor.history.sampling import sample_of
from services.monitor.history.series import Bucket, Key, fold, level_for, thinned, with_gaps
from services.monitor.history.store import HistoryReader, HistoryStore, Made, history_path, is_damage, set_aside
from services.monitor.views import Status
from shared.messages.account import AccountSnapshot
from shared.messages.trades import TradeUpdate

_NS = 1_000_000_000
_PRUNE_NS = 3_600 * _NS
_FOLLOWED_NS = 8 * 86_400 * _NS
FILE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What SQLite and the disk have against a file."""

_TELL_AFTER = 3
"""Writes that failed in a row: a file that is locked for a moment is no matter for people."""


class Waiting:
    """What is sampled and not written yet: buckets by their key, samples by trade and minute."""

    def __init__(self, finest_s: int, most: int = 100_000) -> None:
        self._finest_s = finest_s
        self._most = most
        self.buckets: dict[Key, Bucket] = {}
        self.trades: dict[tuple[str, int], TradeSample] = {}

    def add(self, buckets: dict[Key, Bucket], trades: Iterable[TradeSample]) -> None:
        for key, bucket in buckets.items():
            earlier = self.buckets.get(key)
            self.buckets[key] = bucket if earlier is None else earlier.joined(bucket)
        for trade in trades:
            self.trades[trade.trade_id, trade.at_ns // (60 * _NS)] = trade
        self._shrink()

    def take(self) -> Waiting:
        """All of it; what cannot be written is given back by `put_back`."""
        taken = Waiting(self._finest_s, self._most)
        taken.buckets, taken.trades = self.buckets, self.trades
        self.buckets, self.trades = {}, {}
        return taken

    def put_back(self, earlier: Waiting) -> None:
        trades = {**earlier.trades, **self.trades}
        newer, self.buckets = self.buckets, earlier.buckets
        self.add(newer, ())
        self.trades = trades

    def _shrink(self) -> None:
        """Past what memory may take, the finest buckets go first: what they held is in the wider ones too."""
        if len(self.buckets) > self._most:
            self.buckets = {key: bucket for key, bucket in self.buckets.items() if key[0] != self._finest_s}
        while len(self.buckets) > self._most:
            del self.buckets[next(iter(self.buckets))]
        while len(self.trades) > self._most:
            del self.trades[next(iter(self.trades))]


class History:
    """The history of one account. `run` samples until cancelled; the rest may be asked at any time.

    status: what the monitor knows now. put: hands what is observed to the monitor's core.
    """

    def __init__(
        self,
        config: HistoryConfig,
        run_dir: Path,
        account_id: str,
        *,
        now_ns: Callable[[], int],
        status: Callable[[], Status],
        put: Callable[[Observed], None],
        log: Any,
    ) -> None:
        self._config = config
        self._path = history_path(run_dir)
        self._account_id = account_id
        self._now_ns = now_ns
        self._status = status
        self._put = put
        self._log = log
        self._store: HistoryStore | None = None
        self._writing = threading.Lock()
        self._waiting = Waiting(config.sample_s)
        self._follower: Follower | None = None
        self._sampled_ns = 0
        self._pruned_ns = 0
        self._failed = 0
        self._reason = ""
        self.made_by_strategy: dict[str, Made] = {}
        """As of the last time that the file was written; see `HistoryStore.made_by_strategy`."""

        self.reader = HistoryReader(self._path, account_id)

    @property
    def config(self) -> HistoryConfig:
        return self._config

    async def run(self) -> None:
        """Sample and write, every `sample_s`."""
        while True:
            try:
                await self.round()
            except Exception as error:
                self._log.error("the history failed on a sample", exc_info=error)
            await asyncio.sleep(self._config.sample_s)

    async def round(self) -> None:
        """One sample, written where the file takes it."""
        is_open = await self._done(self.open)
        self.look(self._status())
        if is_open and await self._done(self.write):
            self._written()

    async def _done(self, work: Callable[[], None]) -> bool:
        """Whether the file took it, on a thread. People are told from the loop."""
        try:
            await asyncio.to_thread(work)
        except FILE_ERRORS as error:
            self._not_written(error)
            return False
        return True

    def look(self, status: Status) -> None:
        """Sample what the monitor knows, unless it is no newer than the last time, or old."""
        account = status.account
        if account is None or account.account_id != self._account_id or account.received_ns <= self._sampled_ns:
            return
        if status.now_ns - account.received_ns > self._config.account_age_max_s * _NS:
            return
        self._sampled_ns = account.received_ns
        self._waiting.add(fold((sample_of(account),), self._config.levels), self._follow(account, status.trades))

    def _follow(self, account: AccountSnapshot, trades: tuple[TradeUpdate, ...]) -> list[TradeSample]:
        if self._follower is None:
            # the file cannot be opened yet, and what it knows of these trades decides what is attributed now
            return []
        return self._follower.sample(trades, unit_marks(account), account.received_ns)

    def open(self) -> None:
        """Open the file, unless it is. Raises sqlite3.Error, OSError or UnicodeDecodeError."""
        with self._writing:
            if self._store is not None:
                return
            store = HistoryStore(self._path, self._account_id, self._config.levels)
            try:
                followed = store.followed(self._now_ns() - _FOLLOWED_NS)
            except BaseException:
                store.close()
                raise
            self._store = store
            if self._follower is None:
                self._follower = Follower(self._config.gap_s, followed)

    def write(self) -> None:
        """Write what waits. Raises sqlite3.Error, OSError or UnicodeDecodeError, and what waits goes on waiting."""
        with self._writing:
            if self._store is None:
                return
            taken = self._waiting.take()
            try:
                self._store.write(taken.buckets.items(), taken.trades.values())
            except BaseException:
                self._waiting.put_back(taken)
                raise
            self.made_by_strategy = self._store.made_by_strategy()
            if self._now_ns() - self._pruned_ns > _PRUNE_NS:
                self._pruned_ns = self._now_ns()
                self._store.prune(self._pruned_ns)

    def _written(self) -> None:
        if self._failed >= _TELL_AFTER:
            self._observe("history_not_written", "the history is written again", is_over=True)
        self._failed, self._reason = 0, ""

    def _not_written(self, error: Exception) -> None:
        """Set a damaged file aside, which mends it; tell of anything else once it lasts."""
        if is_damage(error):
            self._set_aside(error)
            return
        self._failed += 1
        reason = str(error)
        if reason != self._reason:
            self._log.warning("the history cannot be written yet", file=str(self._path), reason=reason)
        self._reason = reason
        if self._failed == _TELL_AFTER:
            text = f"{self._path} cannot be written, what is sampled waits in memory: {reason}"
            self._observe("history_not_written", text)

    def _set_aside(self, error: Exception) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        try:
            target = set_aside(self._path)
        except OSError as failed:
            self._failed += 1
            self._log.error("the damaged history cannot be moved", file=str(self._path), reason=str(failed))
            return
        self._log.error("the history is damaged", file=str(self._path), moved_to=str(target), reason=str(error))
        text = f"{self._path} is damaged ({error}); it was moved to {target.name}, and a new history begins"
        self._observe("history_damaged", text)

    async def series(self, name: str, since_ns: int, until_ns: int, count_max: int = 600) -> list[Bucket | None]:
        """One series, oldest first, in at most about `count_max` buckets, None where there is a gap. Raises
        sqlite3.Error when the file cannot be read."""
        return await asyncio.to_thread(
            read_series, self.reader, self._config, name, since_ns, until_ns, self._now_ns(), count_max
        )

    def _observe(self, code: str, text: str, *, is_over: bool = False) -> None:
        self._put(Observed(code=code, subject="history", text=text, is_over=is_over))

    def close(self) -> None:
        """Write what waits, and end. Sampling must have ended before."""
        try:
            self.write()
        except FILE_ERRORS as error:
            self._log.warning("the end of the history was not written", file=str(self._path), reason=str(error))
        with self._writing:
            if self._store is not None:
                self._store.close()
                self._store = None


def read_series(
    reader: HistoryReader,
    config: HistoryConfig,
    name: str,
    since_ns: int,
    until_ns: int,
    now_ns: int,
    count_max: int = 600,
) -> list[Bucket | None]:
    """As `History.series`, from any process. The finest level that still reaches so far back is read, unless it has
    far more buckets than are wanted."""
    level = level_for(config.levels, (now_ns - since_ns) / _NS, (until_ns - since_ns) / _NS, 8 * count_max)
    buckets = thinned(reader.buckets(name, level, since_ns, until_ns), count_max)
    width_ns = max(level.width_s * _NS, (until_ns - since_ns) // count_max)
    return with_gaps(buckets, max(config.gap_s * _NS, 2 * width_ns))

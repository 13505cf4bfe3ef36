"""The core on its journal: every row is committed before its result is answered and its events are pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.events import ExchangeEvent
from services.exchange.model import Rejection
from services.exchange.rows import ExchangeRow, Outcome, Row
from services.exchange.server.errors import INTERNAL_ERROR, ApiError
from shared.messages.steps import Entry
from shared.runner import Journal

ResultT = TypeVar("ResultT")
StepT = TypeVar("StepT")


class MarketStarted(Row, frozen=True, kw_only=True, tag="market_started"):
    """First row of a journal: `at_ns` anchors the market's path, so that a restart continues it."""


JournalRow = ExchangeRow | MarketStarted


class JournalFailed(Exception):
    """Rows could not be made safe, so nothing may be answered any more: the process must start anew."""


class Venue:
    """Commands and time in, committed; events out to `deliver`. One per process.

    A core that raises on a command is folded anew from the journal, which has nothing of that command, and the
    command is answered with an internal error. A journal that raises is fatal: `JournalFailed`, now and ever after.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        journal: Journal,
        now_ns: Callable[[], int],
        deliver: Callable[[Sequence[ExchangeEvent]], None],
        on_core_error: Callable[[Exception], None],
    ) -> None:
        self.config = config
        self.now_ns = now_ns
        self._journal = journal
        self._deliver = deliver
        self._on_core_error = on_core_error
        self.failed: JournalFailed | None = None
        self._held: tuple[list[ExchangeRow], list[ExchangeEvent]] | None = None
        self.core = self._fold()

    def _fold(self) -> ExchangeCore:
        core: ExchangeCore | None = None
        for entry in self._journal.load():
            if isinstance(entry.row, MarketStarted):
                core = ExchangeCore(self.config, entry.row.at_ns)
            else:
                assert core is not None, "a journal begins with its market's start"
                core.apply(entry.row)
        if core is None:
            started = MarketStarted(at_ns=self.now_ns())
            self._append([started])
            core = ExchangeCore(self.config, started.at_ns)
        return core

    def execute(self, command: Callable[[ExchangeCore, int], Outcome[ResultT | Rejection]]) -> ResultT:
        """Run a command that may be refused. Raises ApiError with the core's refusal, JournalFailed."""
        result = self.run(command)
        if isinstance(result, Rejection):
            raise ApiError(result.code, text=result.message)
        return result

    def run(self, command: Callable[[ExchangeCore, int], Outcome[ResultT]]) -> ResultT:
        """Run one command at the present time. Raises JournalFailed, ApiError when the core failed."""
        outcome = self._guarded(command)
        self._commit(outcome.rows, outcome.events)
        return outcome.result

    @contextmanager
    def together(self) -> Iterator[None]:
        """One commit, at the end, for all commands of the block; nothing may be answered before. Raises JournalFailed
        then."""
        assert self._held is None, "a batch is no part of another"
        self._held = [], []
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            (rows, events), self._held = self._held, None
            self._commit(rows, events)

    def advance(self) -> None:
        """Move the market to the present. Raises JournalFailed, ApiError when the core failed."""
        moved = self._guarded(lambda core, now_ns: core.advance(now_ns))
        self._commit(moved.rows, moved.events)

    def _guarded(self, command: Callable[[ExchangeCore, int], StepT]) -> StepT:
        if self.failed is not None:
            raise self.failed
        try:
            return command(self.core, self.now_ns())
        except Exception as error:
            self._on_core_error(error)
            held = self._held is not None
            self._release()
            self.core = self._fold()
            self._held = ([], []) if held else None
            raise ApiError(INTERNAL_ERROR) from error

    def _commit(self, rows: Sequence[ExchangeRow], events: Sequence[ExchangeEvent]) -> None:
        if self._held is not None:
            self._held[0].extend(rows)
            self._held[1].extend(events)
            return
        if rows:
            self._append(rows)
        if events:
            self._deliver(events)

    def _append(self, rows: Sequence[Row]) -> None:
        try:
            self._journal.append([Entry(at_ns=row.at_ns, cause_id="", row=row) for row in rows])
        except Exception as error:
            self.failed = JournalFailed(f"the exchange's journal refused {len(rows)} rows: {error}")
            raise self.failed from error

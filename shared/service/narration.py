"""Writes what a core decided to the log: after the orders that it sends, and without the core knowing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any, Protocol

from shared.log_lines import RANK, Told, at_text
from shared.logging import output
from shared.messages.steps import Entry
from shared.service.context import ServiceContext

_LATER_S = 0.02
"""Long enough for what one decision sends to have left, short enough for a person."""

_LEVEL_NUMBERS = logging.getLevelNamesMapping()


class Narrator(Protocol):
    """Says what a row or an effect of a core is in the log. Pure, but for what it remembers of what it said.

    hears: the effects, or the messages that they carry, that it has something to say to.
    """

    @property
    def hears(self) -> frozenset[type]: ...

    def told(self, what: Any) -> Iterable[Told]: ...


class Host(Protocol):
    """What is read of the core's host."""

    @property
    def decided_ns(self) -> int: ...


class Narration:
    """An observer of a core's host. Rows and effects are kept as they come, and written a moment later with the time
    of the decision.

    is_quiet: whether all that the narrator says to a row is of level debug, asked before it says it where that level
    is not written.
    """

    def __init__(
        self,
        context: ServiceContext,
        host: Host,
        narrator: Narrator,
        is_quiet: Callable[[Any], bool] | None = None,
    ) -> None:
        self._log = context.log
        self._host = host
        self._narrator = narrator
        self._least = RANK[context.desk.logging.level]
        self._is_quiet = is_quiet if self._least > RANK["debug"] else None
        self._untold: list[Entry] = []

    @property
    def hears(self) -> frozenset[type]:
        return self._narrator.hears

    def committed(self, entries: Sequence[Entry]) -> None:
        is_quiet = self._is_quiet
        self._keep(entries if is_quiet is None else [entry for entry in entries if not is_quiet(entry.row)])

    def performed(self, effect: Any, cause_id: str) -> None:
        if type(getattr(effect, "message", effect)) in self._narrator.hears:
            self._keep((Entry(self._host.decided_ns, cause_id, effect),))

    def _keep(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        if not self._untold:
            output.defer(self._tell)
            asyncio.get_running_loop().call_later(_LATER_S, output.flush)
        self._untold += entries

    def _tell(self) -> None:
        # whoever happens to log next has things bound that are not of these decisions
        Context().run(self._tell_all)

    def _tell_all(self) -> None:
        untold, self._untold = self._untold, []
        for entry in untold:
            try:
                for told in self._narrator.told(entry.row):
                    if RANK[told.level] >= self._least:
                        self._write(entry, told)
            except Exception as error:
                self._log.error("telling failed", what=type(entry.row).__name__, exc_info=error)

    def _write(self, entry: Entry, told: Told) -> None:
        fields = {
            name: _rounded(name, value) for name, value in told.fields.items() if value is not None and value != ""
        }
        if entry.cause_id:
            fields["cause_id"] = entry.cause_id
        self._log.log(
            _LEVEL_NUMBERS[told.level.upper()], told.event, at=at_text(entry.at_ns), track=told.track, **fields
        )


def _rounded(name: str, value: object) -> object:
    """Money that was computed, without the digits that say nothing."""
    return round(value, 4) if isinstance(value, float) and name.endswith("_usd") else value

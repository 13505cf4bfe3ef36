"""Which host has a strategy: one at a time, and whoever takes it goes on with what the last one had written.

`strategy-hosts/<name>` in the run directory is locked by the host that runs the strategy, as long as its process
lives, and names the host that did last. A host that takes a strategy from another one copies the rows of it from the
journal of that one, so that a pause, a roll that was begun and the trades of a dry run move with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.rows import IvSampled, Row, StrategyTaken
from shared.config import DeskConfig
from shared.entries import JournalReader, JournalRefused
from shared.errors import JournalDamaged
from shared.ids import hedge_name
from shared.messages.steps import Entry
from shared.service.journals import binding_of, journal_path
from shared.store import SqliteJournal
from shared.strategy_hosts import DEFAULT_HOST, is_host

PATIENCE_S = 5.0
"""How long a start waits for a host that is just being stopped."""

_LOOK_S = 0.1
_NAME_BYTES_MAX = 64


class Tenancy:
    """The strategies that one host has. `patience_s`: how long `take` waits for those that another one still has.
    taken_from: by strategy, the host whose memory of it was taken over. refused: the enabled names of those that it
    does not have."""

    def __init__(self, desk: DeskConfig, service: str, patience_s: float = PATIENCE_S) -> None:
        self._desk = desk
        self._service = service
        self.taken_from: dict[str, str] = {}
        self.refused: frozenset[str] = frozenset()
        self._patience_s = patience_s
        self._folder = desk.run_dir / "strategy-hosts"
        self._held: list[int] = []

    async def take(
        self, loaded: Sequence[LoadedStrategy], failures: Sequence[LoadFailure], journal: SqliteJournal, now_ns: int
    ) -> tuple[list[LoadedStrategy], list[LoadFailure]]:
        """Have each strategy, whether its file loads or not, before anything of it is decided; without those that
        another host still runs, or whose memory cannot be read. Raises JournalFull, and OSError for a file of the run
        directory that cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refused: dict[str, str] = {}
        deadline = asyncio.get_running_loop().time() + self._patience_s
        for name in dict.fromkeys((*(each.name for each in loaded), *(each.name for each in failures))):
            problem = await self._have(name, journal, deadline, now_ns)
            if problem:
                refused[name] = problem
        kept = [each for each in loaded if each.name not in refused]
        left_out = [
            LoadFailure(name=each.enabled_as or each.name, source=each.source, reason=refused[each.name])
            for each in loaded
            if each.name in refused
        ]
        self.refused = frozenset((*refused, *(each.name for each in left_out)))
        return kept, [*failures, *left_out]

    def release(self) -> None:
        """Let others have them. The end of the process does the same."""
        while self._held:
            os.close(self._held.pop())

    async def _have(self, name: str, journal: SqliteJournal, deadline: float, now_ns: int) -> str:
        """Lock a strategy and take it over where another host had it last; why not, "" when it is ours."""
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not await _locked(descriptor, deadline):
            holder = _host_in(descriptor)
            os.close(descriptor)
            return (
                f"it still runs in the host {holder}: `voldesk restart {holder}`, which gives it up, then "
                f"`voldesk restart {self._service}`"
            )
        last = _host_in(descriptor) or DEFAULT_HOST
        path = journal_path(self._desk, last)
        if last != self._service and path.exists():
            try:
                rows = self._rows_of(name, path, journal)
            except (JournalRefused, JournalDamaged) as error:
                os.close(descriptor)
                return f"what the host {last} knew of it cannot be read: {error}"
            # the rows first: a process that dies between the two takes them once more
            journal.append([Entry(now_ns, "", StrategyTaken(strategy=name, from_host=last)), *rows])
            self.taken_from[name] = last
        if last != self._service or not _host_in(descriptor):
            _write_host(descriptor, self._service)
        self._held.append(descriptor)
        return ""

    def _rows_of(self, name: str, path: Path, journal: SqliteJournal) -> list[Entry]:
        """What the journal at `path` has of a strategy since it was taken there, and samples of volatilities that
        ours has none of."""
        sampled = {
            (entry.row.underlying, entry.row.days) for entry in journal.load() if isinstance(entry.row, IvSampled)
        }
        own = (name, hedge_name(name))
        rows: list[Entry] = []
        with closing(JournalReader(path, binding_of(self._desk), Row)) as reader:
            for _, entry in reader.entries():
                row = entry.row
                if isinstance(row, IvSampled):
                    if (row.underlying, row.days) not in sampled:
                        rows.append(entry)
                elif isinstance(row, StrategyTaken):
                    if row.strategy == name:
                        rows = [kept for kept in rows if isinstance(kept.row, IvSampled)]
                elif row.strategy in own:
                    rows.append(entry)
        return rows


async def _locked(descriptor: int, deadline: float) -> bool:
    """Take the lock of a file, waiting until the deadline."""
    while True:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_LOOK_S)


def _host_in(descriptor: int) -> str:
    """The host that the file names, "" for none."""
    name = os.pread(descriptor, _NAME_BYTES_MAX, 0).decode(errors="replace").strip()
    return name if is_host(name) else ""


def _write_host(descriptor: int, service: str) -> None:
    line = f"{service}\n".encode()
    os.pwrite(descriptor, line, 0)
    os.ftruncate(descriptor, len(line))
    os.fsync(descriptor)

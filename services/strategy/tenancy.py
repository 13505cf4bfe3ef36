"""Which host has a strategy: one at a time, and whoever takes it goes on with what the last one had written.

`strategy-hosts/<name>` in the run directory is locked by the host that runs the strategy, as long as its process
lives, and names the host that did last. A host that takes a strategy from another one copies the rows of it from the
journal of that one, so that a pause, a roll that was begun and the trades of a dry run move with it. Where the file
is lost, the journal with the newest row of the strategy is that of the host that had it. Strategies that are enabled
no more are taken as well: their trades may be open.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from services.strategy.handover import rows_of, rows_taken
from services.strategy.loaded import LoadedStrategy, LoadFailure
from services.strategy.rows import Row
from shared.config import DeskConfig
from shared.entries import JournalReader, JournalRefused, is_unmade
from shared.errors import JournalDamaged
from shared.service.journals import binding_of, journal_path
from shared.store import SqliteJournal
from shared.strategy_groups import host_in, sync_folder, tenancy_folder
from shared.strategy_hosts import DEFAULT_HOST, is_host

PATIENCE_S = 5.0
"""How long a start waits for a host that is just being stopped."""

_LOOK_S = 0.1


class Tenancy:
    """The strategies that one host has. `patience_s`: how long `take` waits for those that another one still has.
    taken_from: by strategy, the host whose memory of it was taken over. refused: the enabled names of those that it
    does not run. elsewhere: what another host has, whose trades are that one's. unread: why nothing is known of
    strategies that are not enabled."""

    def __init__(self, desk: DeskConfig, service: str, patience_s: float = PATIENCE_S) -> None:
        self._desk = desk
        self._service = service
        self.taken_from: dict[str, str] = {}
        self.refused: frozenset[str] = frozenset()
        self.elsewhere: frozenset[str] = frozenset()
        self.unread: dict[str, str] = {}
        self._patience_s = patience_s
        self._folder = tenancy_folder(desk.run_dir)
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
        enabled = dict.fromkeys((*(each.name for each in loaded), *(each.name for each in failures)))
        for name in dict.fromkeys((*enabled, *self._left_to_us())):
            problem = await self._have(name, journal, deadline, now_ns)
            if problem and name in enabled:
                refused[name] = problem
            elif problem:
                self.unread[name] = problem
        sync_folder(self._folder)
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

    def _left_to_us(self) -> list[str]:
        """What some host had once and that is this one's now, enabled or not."""
        names = sorted(path.name for path in self._folder.iterdir())
        return [name for name in names if self._desk.strategy_hosts.of(name) == self._service]

    async def _have(self, name: str, journal: SqliteJournal, deadline: float, now_ns: int) -> str:
        """Lock a strategy and take it over where another host had it last; why it cannot run here, "" when it can."""
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not await _locked(descriptor, deadline):
            holder = host_in(descriptor)
            os.close(descriptor)
            self.elsewhere |= {name}
            return (
                f"it still runs in the host {holder}: `voldesk restart {holder}`, which gives it up, then "
                f"`voldesk restart {self._service}`"
            )
        # kept whatever comes: the exits of its open trades are looked at here
        self._held.append(descriptor)
        named = last = host_in(descriptor)
        try:
            last = named or self._last_by_journals(name) or self._service
            path = journal_path(self._desk, last)
            if last != self._service and path.exists():
                self._copy(name, last, path, journal, now_ns)
        except (JournalRefused, JournalDamaged) as error:
            return f"what the host {last or 'before'} knew of it cannot be read: {error}"
        if named != self._service:
            _write_host(descriptor, self._service)
        return ""

    def _copy(self, name: str, last: str, path: Path, journal: SqliteJournal, now_ns: int) -> None:
        """Append what `last` knew of a strategy, before the file names us: a process that dies between the two finds
        that it has these rows already."""
        with closing(JournalReader(path, binding_of(self._desk), Row)) as reader:
            new = rows_taken(name, last, journal.load(), (entry for _, entry in reader.entries()), now_ns)
        if new:
            journal.append(new)
        self.taken_from[name] = last

    def _last_by_journals(self, name: str) -> str:
        """The host whose journal has the newest row of a strategy, of equals this one; "" when none has any."""
        newest, host = 0, ""
        end = f"-{self._desk.account_id}.sqlite3"
        paths = journal_path(self._desk, DEFAULT_HOST).parent.glob(f"{DEFAULT_HOST}*{end}")
        services = {path.name.removesuffix(end): path for path in paths}
        for service in sorted(filter(is_host, services), key=lambda each: (each != self._service, each)):
            if is_unmade(services[service]):
                # that host starts for the first time, as this one does
                continue
            with closing(JournalReader(services[service], binding_of(self._desk), Row)) as reader:
                rows = rows_of(name, (entry for _, entry in reader.entries()))
            at_ns = max((entry.at_ns for entry in rows), default=0)
            if at_ns > newest:
                newest, host = at_ns, service
        return host


async def _locked(descriptor: int, deadline: float) -> bool:
    """Take the lock of a file, waiting until the deadline."""
    while True:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_LOOK_S)


def _write_host(descriptor: int, service: str) -> None:
    line = f"{service}\n".encode()
    os.pwrite(descriptor, line, 0)
    os.ftruncate(descriptor, len(line))
    os.fsync(descriptor)

"""Watches the files of a host's strategies and has a changed one used, without a restart.

A changed file is loaded in a process of its own first. Only one that loads there replaces what runs; any other leaves
it as it is, and is looked at again when it changes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy, LoadFailure, hedged_twice
from services.strategy.loader import folders_of, load_enabled, path_of
from services.strategy.reloads import ReloadRefused, StrategyReloaded
from services.strategy.validation import StrategyFiles, validate_aside
from shared.config import DeskConfig

LOOK_S = 1.0
"""Between two looks at the files. A file counts as written when two looks find the same."""

Validate = Callable[[DeskConfig, Sequence[str]], Awaitable[StrategyFiles]]


class _Seen(NamedTuple):
    """A file as it was when it was looked at: another one has another time, size or inode."""

    path: str
    modified_ns: int
    size: int
    inode: int


class FileWatcher:
    """`loaded` and `failures` are what the host started with; `put` hands an input to its core. enabled: the names
    that the host may run, by default all of the configuration."""

    def __init__(
        self,
        desk: DeskConfig,
        loaded: Sequence[LoadedStrategy],
        failures: Sequence[LoadFailure],
        put: Callable[[StrategyReloaded | ReloadRefused], None],
        log: Any,
        validate: Validate = validate_aside,
        *,
        enabled: Sequence[str] | None = None,
    ) -> None:
        self._desk = desk
        self._config = desk.section("strategy", StrategyHostConfig)
        self._folders = folders_of(desk, self._config)
        self._put = put
        self._log = log
        self._validate = validate
        self._running = {each.enabled_as: each for each in loaded}
        self._failed = {each.name: each for each in failures}
        names = self._config.enabled if enabled is None else enabled
        self._used: dict[str, _Seen | None] = {name: self._see(name) for name in names}
        self._changing: dict[str, _Seen | None] = {}

    @property
    def running(self) -> Sequence[LoadedStrategy]:
        """What a host that begins anew would run."""
        return tuple(self._running.values())

    @property
    def failures(self) -> Sequence[LoadFailure]:
        return tuple(self._failed.values())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception as error:
                # what runs goes on: a folder that cannot be read now may be read by the next look
                self._log.error("strategy files not looked at", exc_info=error)

    async def look(self) -> None:
        """Have what has changed, and is written, used."""
        for name, used in self._used.items():
            seen = self._see(name)
            if seen is None or seen == used:
                # one that is gone changes nothing: an editor may be about to put the new one in its place
                self._changing.pop(name, None)
            elif self._changing.get(name) != seen:
                self._changing[name] = seen
            else:
                del self._changing[name]
                await self._reload(name, seen)

    def _see(self, name: str) -> _Seen | None:
        path = path_of(name, self._folders, self._config.instances)
        return None if path is None else _seen(path)

    async def _reload(self, name: str, seen: _Seen) -> None:
        found = await self._validate(self._desk, [name])
        if self._see(name) != seen:
            return  # it has changed while it was looked at: the next look sees that
        self._used = {**self._used, name: seen}
        reason = found.failures[0].reason if found.failures else ""
        loaded = None if reason else self._load(name)
        if isinstance(loaded, LoadedStrategy):
            self._running[name] = loaded
            self._failed.pop(name, None)
            self._log.info("strategy reloaded", strategy=loaded.name, source=loaded.source)
            self._put(StrategyReloaded(loaded=loaded))
            return
        strategy = self._running[name].name if name in self._running else name
        reason = reason or str(loaded)
        if name not in self._running:
            self._failed[name] = LoadFailure(name=name, source=seen.path, reason=reason)
        self._log.error("strategy not reloaded", strategy=strategy, reason=reason)
        self._put(ReloadRefused(name=strategy, reason=reason))

    def _load(self, name: str) -> LoadedStrategy | str:
        """The strategy of the changed file, or why it cannot take the place of what runs."""
        loaded, failures = load_enabled(self._desk, [name])
        if failures:
            return failures[0].reason
        (strategy,) = loaded
        others: Mapping[str, LoadedStrategy] = {each.name: each for each in self._running.values()}
        before = self._running.get(name)
        if before is not None and before.name != strategy.name:
            return (
                f"{strategy.source}: its name is {strategy.name!r} now and was {before.name!r}, which its trades "
                "have: keep the name, or restart the host"
            )
        if before is None and strategy.name in others:
            return f"the name {strategy.name!r} is taken by {others[strategy.name].source}: give it its own name"
        beside = [each for each in others.values() if each.name != strategy.name]
        return hedged_twice(strategy, beside) or strategy


def _seen(path: Path) -> _Seen | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Seen(str(path), found.st_mtime_ns, found.st_size, found.st_ino)

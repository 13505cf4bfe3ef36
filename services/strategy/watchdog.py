"""Ends a host whose loop a strategy blocks, and keeps that strategy out of the next one.

A strategy that computes for ever, or waits, holds up every other one and their exits, and nothing in the loop can
stop it. A thread looks from outside: it notes which strategy it is and where, and ends the process; supervisord
starts it again, without that strategy until its file changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from services.strategy.asking import Asking
from services.strategy.loaded import LoadedStrategy, LoadFailure
from shared.clock import monotonic_ns
from shared.service.watch import EXIT_BUG

_LOOK_S = 0.5
_STARVED_S = 1.0
"""A look that comes so much too late says that the process did not run, not that a strategy blocked."""

_LOCK_TRIES, _LOCK_AGAIN_S = 40, 0.05


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy that blocked a host. source, modified_ns: its file then; another file is another strategy."""

    strategy: str
    source: str
    modified_ns: int
    where: str
    seconds: float


def blocked_path(run_dir: Path) -> Path:
    return run_dir / "strategies-blocked.json"


def read_blocked(run_dir: Path) -> list[Blocked]:
    """What is noted; nothing when it cannot be read: it would only block again."""
    try:
        return msgspec.json.decode(blocked_path(run_dir).read_bytes(), type=list[Blocked])
    except (OSError, msgspec.MsgspecError):
        return []


def note_blocked(run_dir: Path, blocked: Blocked) -> None:
    """Add a strategy to what is noted, or replace what is noted of it; hosts that end together wait for each other.
    Raises OSError."""
    path = blocked_path(run_dir)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(lock)
        others = [each for each in read_blocked(run_dir) if each.strategy != blocked.strategy]
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode([*others, blocked]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        os.close(lock)


def _lock(descriptor: int) -> None:
    """Wait for who writes now, a process that stands still excepted: a host that is blocked must end."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_AGAIN_S)


def without_blocked(
    run_dir: Path, loaded: Sequence[LoadedStrategy], failures: Sequence[LoadFailure]
) -> tuple[list[LoadedStrategy], list[LoadFailure]]:
    """Leave out those that blocked a host and whose file is the same as then."""
    noted = {each.strategy: each for each in read_blocked(run_dir)}
    kept, left_out = [], list(failures)
    for strategy in loaded:
        blocked = noted.get(strategy.name)
        if blocked is None or (strategy.source, _modified_ns(strategy.source)) != (
            blocked.source,
            blocked.modified_ns,
        ):
            kept.append(strategy)
            continue
        reason = (
            f"it blocked the host for {blocked.seconds:.0f} s at {blocked.where}: a strategy must not wait; correct "
            "the file, and it runs"
        )
        left_out.append(LoadFailure(name=strategy.enabled_as, source=strategy.source, reason=reason))
    return kept, left_out


class Watchdog:
    """A thread. `asking` reads what the core asks now, `sources` the file of each strategy. max_s: how long one call
    of a strategy may last."""

    def __init__(
        self,
        run_dir: Path,
        asking: Callable[[], Asking],
        sources: Callable[[], Mapping[str, str]],
        max_s: float,
        log: Any,
    ) -> None:
        self._run_dir = run_dir
        self._asking = asking
        self._sources = sources
        self._max_s = max_s
        self._log = log
        self._main = threading.main_thread().ident
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        call, since_s, looked_s = -1, 0.0, _seconds()
        while not self._stopped.wait(_LOOK_S):
            now_s = _seconds()
            starved, looked_s = now_s - looked_s > _LOOK_S + _STARVED_S, now_s
            asking = self._asking()
            strategy, count = asking.strategy, asking.count
            if not strategy or count != call or starved:
                call, since_s = count, now_s
            elif now_s - since_s >= self._max_s:
                self._end(strategy, now_s - since_s)

    def _end(self, strategy: str, seconds: float) -> None:
        source = self._sources().get(strategy, "")
        where = self._where(source)
        blocked = Blocked(
            strategy=strategy, source=source, modified_ns=_modified_ns(source), where=where, seconds=seconds
        )
        try:
            note_blocked(self._run_dir, blocked)
        except OSError as error:
            self._log.error("the blocking strategy could not be noted", strategy=strategy, reason=str(error))
        self._log.critical("a strategy blocks the host, which ends", strategy=strategy, where=where, seconds=seconds)
        os._exit(EXIT_BUG)

    def _where(self, source: str) -> str:
        """File and line at which the loop stands: the innermost of the strategy's own file."""
        frame = sys._current_frames().get(self._main or 0)
        innermost = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        while frame is not None:
            if frame.f_code.co_filename == source:
                return f"{source}:{frame.f_lineno}"
            frame = frame.f_back
        return innermost or "an unknown place"


def _modified_ns(source: str) -> int:
    try:
        return Path(source).stat().st_mtime_ns
    except OSError:
        return 0


def _seconds() -> float:
    return monotonic_ns() / 1e9

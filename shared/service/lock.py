"""One process per service and run directory, and how often each was started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

import msgspec

from shared.errors import StartRefused


class ServiceLock:
    """Held until the process ends, however it ends. Raises StartRefused naming the holder."""

    def __init__(self, run_dir: Path, service: str) -> None:
        path = _lock_path(run_dir, service)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _read_pid(path)
            os.close(self._descriptor)
            raise StartRefused(
                f"{service} already runs in {run_dir} (process {holder or 'unknown'})",
                "stop it with `voldesk down`, or use another run directory (VOLDESK_RUN_DIR)",
            ) from None
        # Only for the message above, and not worth a start on a full disk. Written over, not anew: the block is ours.
        holder_line = json.dumps({"pid": os.getpid(), "service": service}).encode()
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, holder_line, 0)
            os.ftruncate(self._descriptor, len(holder_line))

    def release(self) -> None:
        os.close(self._descriptor)


_RAPID_NS = 5_000_000_000
_PAUSE_MAX_S = 30.0


class Start(msgspec.Struct, frozen=True):
    """One start of a service. `epoch` is larger than that of any start before it in this run directory.

    rapid: so many starts before this one lived for less than 5 s, without a longer-lived one between.
    """

    count: int
    epoch: int
    rapid: int = 0

    @property
    def pause_s(self) -> float:
        """How long to wait before doing anything: nothing after one death, then 1, 2, 4 ... 30 s.

        supervisord starts a dead service again at once, so a crash at the start must not spin.
        """
        return min(2.0 ** (self.rapid - 2), _PAUSE_MAX_S) if self.rapid >= 2 else 0.0


def record_start(run_dir: Path, service: str, now_ns: int) -> Start:
    """Count a start, on disk before it returns. On a full disk it is not counted, but pauses as after three deaths:
    nothing would tell how often it failed."""
    path = run_dir / "starts" / f"{service}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        last = msgspec.json.decode(path.read_bytes(), type=Start)
    except (FileNotFoundError, msgspec.MsgspecError):
        last = Start(0, 0)
    lived_ns = now_ns - last.epoch - int(last.pause_s * 1e9)
    rapid = last.rapid + 1 if last.count and lived_ns < _RAPID_NS else 0
    start = Start(last.count + 1, max(now_ns, last.epoch + 1), rapid)
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(start))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        return msgspec.structs.replace(start, rapid=max(rapid, 2))
    return start


def _lock_path(run_dir: Path, service: str) -> Path:
    return run_dir / "locks" / f"{service}.lock"


def _read_pid(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None

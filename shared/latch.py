"""The halt that `voldesk flatten --direct` leaves in the run directory: execution cannot be asked at that moment.

One file per run, so that taking over one never removes another. Execution journals the halt and then removes its
file; a file that cannot be read halts as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from shared.messages.control import FLATTEN_DIRECT, FlattenLatch

_SUFFIX = ".latch.json"


def write_latch(run_dir: Path, latch: FlattenLatch) -> Path:
    """On disk when it returns. On a full disk without its words, which take space: an empty file halts as well."""
    directory = _directory(run_dir)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{latch.latch_id}{_SUFFIX}"
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(latch) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        path.touch(mode=0o600)
        temporary.unlink(missing_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def read_latches(run_dir: Path) -> list[FlattenLatch]:
    """Those that execution has not removed yet, oldest first."""
    return [_read(path) for path in sorted(_directory(run_dir).glob(f"*{_SUFFIX}"))]


def remove_latch(run_dir: Path, latch_id: str) -> None:
    """Its halt is journalled."""
    (_directory(run_dir) / f"{latch_id}{_SUFFIX}").unlink(missing_ok=True)


def _read(path: Path) -> FlattenLatch:
    latch_id = path.name.removesuffix(_SUFFIX)
    try:
        latch = msgspec.json.decode(path.read_bytes(), type=FlattenLatch)
    except (OSError, msgspec.MsgspecError):
        return FlattenLatch(latch_id=latch_id, raised_by=FLATTEN_DIRECT, reason=f"{path} cannot be read")
    return msgspec.structs.replace(latch, latch_id=latch_id)


def _directory(run_dir: Path) -> Path:
    return run_dir / "latches"

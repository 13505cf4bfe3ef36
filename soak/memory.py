"""Whether memory is flat: one slope per service over the settled parts of all of its processes."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

FLAT_MB_PER_HOUR = 6.0
"""What an allocator wanders by itself, as in `bench.memory`."""

SETTLE_S = 600.0
"""How old a process is before it counts: its caches fill first."""

WARM_UP_SHARE = 0.2
"""The part of the run in which what is bounded fills up to its bound."""

TELLING_HOURS = 0.5
"""With fewer hours of settled processes a slope says nothing."""

_BARS = "▁▂▃▄▅▆▇█"


class ProcessSample(msgspec.Struct, frozen=True, kw_only=True):
    """One process at one moment. age_s: since it was first seen. pss_mb counts its part of shared pages, own_mb is
    anonymous memory, in MB of 2^20; cpu_s is processor time so far."""

    at_s: float
    service: str
    pid: int
    age_s: float
    pss_mb: float
    own_mb: float
    cpu_s: float
    descriptors: int
    threads: int


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """The common slope of a service's processes; None where they were too short-lived to tell."""

    slope_mb_per_hour: float | None
    settled_hours: float
    processes: int

    @property
    def is_flat(self) -> bool | None:
        return None if self.slope_mb_per_hour is None else self.slope_mb_per_hour <= FLAT_MB_PER_HOUR


def growth(samples: Sequence[ProcessSample], run_s: float) -> Growth:
    """The least-squares slope of own memory with one level per process: a service that was killed and started anew
    is judged by how all of its processes grew, and not by the step from one to the next."""
    from_s, settle_s = run_s * WARM_UP_SHARE, min(SETTLE_S, run_s * WARM_UP_SHARE)
    by_process: dict[int, list[ProcessSample]] = {}
    for sample in samples:
        if sample.at_s >= from_s and sample.age_s >= settle_s:
            by_process.setdefault(sample.pid, []).append(sample)
    settled = [each for each in by_process.values() if len(each) >= 2]
    hours = sum(each[-1].at_s - each[0].at_s for each in settled) / 3_600
    slope = None
    if hours >= min(TELLING_HOURS, run_s / 3_600 / 4):
        at = np.concatenate([_centred([sample.at_s / 3_600 for sample in each]) for each in settled])
        own = np.concatenate([_centred([sample.own_mb for sample in each]) for each in settled])
        slope = float(at @ own / (at @ at))
    return Growth(slope_mb_per_hour=slope, settled_hours=hours, processes=len({each.pid for each in samples}))


def _centred(values: Sequence[float]) -> np.ndarray:
    array = np.array(values)
    return array - array.mean()


def curve(values: Iterable[float], width: int = 40) -> str:
    """A series as a line of bars, from its least to its largest; a single level where it hardly moves."""
    series = np.array(list(values), dtype=float)
    if not len(series):
        return ""
    parts = [part.mean() for part in np.array_split(series, min(width, len(series)))]
    low, high = min(parts), max(parts)
    span = max(high - low, 1e-9)
    return "".join(_BARS[min(int((part - low) / span * len(_BARS)), len(_BARS) - 1)] for part in parts)


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of the C library."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def given_out_mb() -> float:
    """What the allocators of Python and of the C library have given out in this process and not got back, MB of 2^20.

    Whatever leaks is in it, and what they keep for later is not: that grows with every look at all that there is.
    """
    with tempfile.TemporaryFile() as told:
        standard_error = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
        told.seek(0)
        found = re.search(rb"# bytes in allocated blocks\s*=\s*([0-9,]+)", told.read())
    assert found is not None, "the statistics of CPython's allocator tell the bytes in allocated blocks"
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _MallocInfo
    info = mallinfo2()
    return (int(found[1].replace(b",", b"")) + int(info.uordblks) + int(info.hblkhd)) / 1_048_576

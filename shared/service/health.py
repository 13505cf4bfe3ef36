"""One line per service every few minutes: is it well, and what is it doing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.clock import monotonic_ns

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class HealthLine:
    """`words` are read for each line, in their order; one that cannot be read is said to be so. One that is read as
    a dict stands for its items.

    cpu_pct: of one core since the last line. memory_mb: resident, in millions of bytes.
    """

    def __init__(self, log: Any, words: Mapping[str, Callable[[], object]]) -> None:
        self._log = log
        self._words = words
        self._begun_ns = monotonic_ns()
        self._told_ns = self._begun_ns
        self._cpu_s = time.process_time()

    def tell(self) -> None:
        """Write the line now."""
        now_ns, cpu_s = monotonic_ns(), time.process_time()
        passed_s = max((now_ns - self._told_ns) / 1e9, 1e-3)
        self._log.info(
            "health",
            uptime_s=(now_ns - self._begun_ns) // 1_000_000_000,
            memory_mb=round(resident_bytes() / 1e6, 1),
            cpu_pct=round((cpu_s - self._cpu_s) / passed_s * 100, 1),
            **self._read(),
        )
        self._told_ns, self._cpu_s = now_ns, cpu_s

    def _read(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, read in self._words.items():
            value = _read(read)
            found |= value if isinstance(value, dict) else {name: value}
        return found


def resident_bytes() -> int:
    """What this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _read(read: Callable[[], object]) -> object:
    try:
        return read()
    except Exception as error:
        return f"unreadable: {type(error).__name__}"

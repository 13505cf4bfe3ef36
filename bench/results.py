"""bench/results.json: the last full figures of every bench and the machine that they are of. It is versioned."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.rows import Row, from_json, to_json

PATH = Path(__file__).with_name("results.json")
_PACKAGES = ("pyzmq", "msgspec", "uvloop", "numpy", "scipy", "aiohttp", "httpx")


def machine() -> dict[str, Any]:
    """What figures can depend on: processor, cores, memory, system, and the versions of what does the work."""
    cpu = next((line.partition(":")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": cpu.strip() or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(int(memory) / 1_048_576, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: found for name in _PACKAGES if (found := _version(name))},
    }


def load_average() -> str:
    """The load of the last 1, 5 and 15 minutes: a busy machine stretches both ours and the floors."""
    return " ".join(next(iter(_lines("/proc/loadavg")), "").split()[:3])


def now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Results:
    """benches: by name, {"machine", "measured", "load_average_before", "took_s", "rows"}."""

    benches: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, name: str, rows: Sequence[Row], measured: str, load_before: str, took_s: float) -> None:
        """Keep the rows of one bench, measured on this machine, in place of its older ones."""
        self.benches[name] = {
            "machine": machine(),
            "measured": measured,
            "load_average_before": load_before,
            "took_s": round(took_s, 1),
            "rows": to_json(rows),
        }

    def rows(self, name: str) -> list[Row]:
        return from_json(self.benches[name]["rows"])

    def write(self, path: Path = PATH) -> None:
        path.write_text(json.dumps({"benches": self.benches}, indent=2, ensure_ascii=False) + "\n")


def read(path: Path = PATH) -> Results:
    """What earlier runs left; nothing where there is no file.

    Raises ValueError with the file's name where it cannot be read: the figures in it would be lost by writing.
    """
    if not path.exists():
        return Results()
    try:
        kept = Results(dict(json.loads(path.read_text())["benches"]))
        for name, bench in kept.benches.items():
            for key in ("machine", "measured", "load_average_before"):
                bench[key]
            kept.rows(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): restore it, or delete it and measure all anew") from error
    return kept


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []

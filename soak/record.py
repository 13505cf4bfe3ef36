"""What a run against a real desk wrote down, minute by minute, so that it can be judged again without another run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from soak.causes import AlertSeen, Spell
from soak.memory import ProcessSample


class FileSample(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the run directory's files in MB (2^20), by group, and rows by journal."""

    at_s: float
    sizes_mb: dict[str, float]
    rows: dict[str, int]


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """A log line from warning upwards, or one that is none of ours."""

    at_s: float
    service: str
    level: str
    text: str


class Record(msgspec.Struct, kw_only=True):
    """Times are seconds since `began`. seconds: how long faults could come. broken: promises that did not hold in the
    end. final_trades_mb: what execution's final trades took when its journal was folded at the end."""

    version: str
    began: str
    seed: int
    machine: str
    seconds: float = 0.0
    ended_s: float = 0.0
    samples: list[ProcessSample] = []
    files: list[FileSample] = []
    spells: list[Spell] = []
    alerts: list[AlertSeen] = []
    complaints: list[Complaint] = []
    trades: dict[str, int] = {}
    fills: int = 0
    done: dict[str, int] = {}
    broken: list[str] = []
    final_trades_mb: float = 0.0

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(msgspec.json.encode(self))
        part.replace(path)


def read_record(path: Path) -> Record:
    return msgspec.json.decode(path.read_bytes(), type=Record)

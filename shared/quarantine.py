"""Files that cannot be trusted are moved aside under a name with the time: nothing is lost, and all is found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from shared.clock import wall_ns

_MARK = ".quarantined-"
_NAMED = re.compile(r"\.quarantined-\d{8}T\d{6}Z(-\d+)?$")


def move_aside(file: Path) -> Path:
    """Rename one file. Raises OSError."""
    target = free_name(file)
    file.rename(target)
    return target


def move_journal_aside(path: Path, target: Path, suffixes: Iterable[str]) -> None:
    """Rename a journal and, before it, what lies beside it under these suffixes, so that a process that dies in
    between finds the journal again. Raises OSError."""
    for suffix in (*suffixes, ""):
        source = Path(f"{path}{suffix}")
        if source.exists():
            source.rename(f"{target}{suffix}")


def free_name(file: Path) -> Path:
    """The name under which it is moved aside now."""
    stamp = datetime.fromtimestamp(wall_ns() / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, number = f"{file.name}{_MARK}{stamp}", 1
    while (target := file.with_name(name)).exists():
        number += 1
        name = f"{file.name}{_MARK}{stamp}-{number}"
    return target


def quarantined(directory: Path) -> list[Path]:
    """What was moved aside in this directory, by name."""
    return sorted(file for file in directory.glob(f"*{_MARK}*") if _NAMED.search(file.name))

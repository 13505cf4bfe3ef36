"""Do strategy files load? Asked of a process of its own, as they are code of others.

Run as `python -m services.strategy.validation REPORT NAME ...` it loads them as a host would, makes one instance of
each, and writes what came of it to the file REPORT.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadFailure
from services.strategy.loader import load_enabled
from services.strategy.slot import where
from shared.config import DeskConfig, load_config
from shared.secrets import without_secrets

PATIENCE_S = 60.0


class StrategyFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The names that loaded, and the files that did not, with file and line."""

    loaded: tuple[str, ...] = ()
    failures: tuple[LoadFailure, ...] = ()


def validate(desk: DeskConfig, names: Sequence[str], patience_s: float = PATIENCE_S) -> StrategyFiles:
    """Load these enabled strategies as the host would, within `patience_s`, without secrets in the environment."""
    if not names:
        return StrategyFiles()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "services.strategy.validation", str(report), *names],
                env=without_secrets(os.environ) | {"VOLDESK_CONFIG": str(desk.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _stuck(names, f"not loaded within {patience_s:g} s")
        try:
            return msgspec.json.decode(report.read_bytes(), type=StrategyFiles)
        except (OSError, msgspec.MsgspecError):
            return _stuck(names, f"the process that loads them ended with code {done.returncode}")


async def validate_aside(desk: DeskConfig, names: Sequence[str], patience_s: float = PATIENCE_S) -> StrategyFiles:
    """`validate` without holding up the event loop."""
    return await asyncio.to_thread(validate, desk, names, patience_s)


def _stuck(names: Sequence[str], what: str) -> StrategyFiles:
    reason = f"{what}: look for what runs while the file is read"
    return StrategyFiles(failures=(LoadFailure(name=", ".join(names), source="", reason=reason),))


def _load(report: Path, names: Sequence[str]) -> None:
    desk = load_config()
    config = desk.section("strategy", StrategyHostConfig)
    loaded, failures = load_enabled(desk, names)
    made = []
    for strategy in loaded:
        try:
            strategy.make(config)
        except Exception as error:
            reason = f"{type(error).__name__}: {error} at {where(error, strategy.source)}"
            failures.append(LoadFailure(name=strategy.enabled_as, source=strategy.source, reason=reason))
        else:
            made.append(strategy.name)
    report.write_bytes(msgspec.json.encode(StrategyFiles(loaded=tuple(made), failures=tuple(failures))))


if __name__ == "__main__":
    _load(Path(sys.argv[1]), sys.argv[2:])

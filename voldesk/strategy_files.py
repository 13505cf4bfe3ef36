"""Do the enabled strategy files load? Asked of a process of its own, as they are code of others.

Run as `python -m voldesk.strategy_files REPORT` it loads them and writes what came of it to the file REPORT.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadFailure
from services.strategy.loader import load_enabled
from services.strategy.runner import StrategyRunner
from shared.config import DeskConfig, load_config
from voldesk.console import EXIT_USAGE, Failure
from voldesk.supervision import without_secrets

_PATIENCE_S = 60.0


class StrategyFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The names that loaded, and the files that did not, with file and line."""

    loaded: tuple[str, ...] = ()
    failures: tuple[LoadFailure, ...] = ()


def check_strategy_files(desk: DeskConfig, patience_s: float = _PATIENCE_S) -> StrategyFiles:
    """Load every enabled strategy as the host would, within `patience_s`, without secrets in the environment."""
    enabled = desk.section("strategy", StrategyHostConfig).enabled
    if not enabled:
        return StrategyFiles()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "voldesk.strategy_files", str(report)],
                env=without_secrets(os.environ) | {"VOLDESK_CONFIG": str(desk.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _stuck(enabled, f"not loaded within {patience_s:g} s")
        try:
            return msgspec.json.decode(report.read_bytes(), type=StrategyFiles)
        except (OSError, msgspec.MsgspecError):
            return _stuck(enabled, f"the process that loads them ended with code {done.returncode}")


def load_runner(desk: DeskConfig, name: str) -> StrategyRunner:
    """The strategy of this name among those enabled, in this process. Raises Failure where there is none, and for
    one that is no StrategyConfig: what it would open depends on what it has seen."""
    config = desk.section("strategy", StrategyHostConfig)
    loaded, failures = load_enabled(desk)
    found = next((strategy for strategy in loaded if strategy.name == name), None)
    if found is None:
        broken = next((failure.reason for failure in failures if failure.name == name), None)
        names = ", ".join(strategy.name for strategy in loaded) or "none loads"
        raise Failure(
            f"{name} does not load: {broken}" if broken else f"{name!r} is no strategy of this desk",
            "see `voldesk check-config`" if broken else f"use one of: {names}",
            EXIT_USAGE,
        )
    runner = found.make(config)
    if not isinstance(runner, StrategyRunner):
        raise Failure(
            f"{name} selects its legs as it goes", "give the structure: buy|sell QUANTITY SYMBOL", EXIT_USAGE
        )
    return runner


def _stuck(enabled: tuple[str, ...], what: str) -> StrategyFiles:
    names = ", ".join(enabled)
    reason = f"{what}: look for what runs while the file is read"
    return StrategyFiles(failures=(LoadFailure(name=names, source="", reason=reason),))


def _load(report: Path) -> None:
    loaded, failures = load_enabled(load_config())
    found = StrategyFiles(loaded=tuple(strategy.name for strategy in loaded), failures=tuple(failures))
    report.write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    _load(Path(sys.argv[1]))

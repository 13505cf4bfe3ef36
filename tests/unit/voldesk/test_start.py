"""What a command imports before it does anything: an operator in a hurry does not wait for what others need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "scipy", "aiohttp", "httpx", "fastapi", "prometheus_client", "structlog")
AND_THEN = f"""
import atexit, sys
sys.argv[0] = "voldesk"
atexit.register(lambda: print("imported:", *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))
from voldesk.main import app
app()
"""


def imported_by(*words: str, **variables: str) -> list[str]:
    """Which of HEAVY a process of its own had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", AND_THEN, *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("imported:"), done.stderr
    return last.split()[1:]


LIGHT = ("--help", "--version", "status", "status --json", "halt", "resume -y", "trades")


@pytest.mark.parametrize("command", LIGHT)
def test_commands_that_compute_nothing_import_nothing_to_compute_with(home: Path, command: str) -> None:
    assert imported_by(*command.split()) == []


@pytest.mark.parametrize("line", ["voldesk st", "voldesk restart ri", "voldesk exchange mo"])
def test_completion_imports_nothing_to_compute_with(home: Path, line: str) -> None:
    words = len(line.split()) - 1
    assert imported_by(_VOLDESK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(words)) == []


def test_a_command_that_computes_imports_what_it_needs(home: Path) -> None:
    """The proof that the others could have been seen importing it."""
    assert "numpy" in imported_by("journal", "tables")

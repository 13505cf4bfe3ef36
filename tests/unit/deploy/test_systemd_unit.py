"""The systemd unit, judged by systemd's own tool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "voldesk.service"
EXPOSURE_MAX = "25"
"""In tenths: 2.5 of 10, where a service without any sandbox has 9.6."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine: apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments, str(UNIT)], capture_output=True, text=True, timeout=120, check=False
    )


def test_systemd_knows_every_line_of_the_unit() -> None:
    complaints = [line for line in analyze("verify").stderr.splitlines() if UNIT.name in line]
    # the checkout is elsewhere on this machine
    assert [line for line in complaints if "/opt/voldesk/.venv/bin/voldesk" not in line] == []


def test_the_sandbox_leaves_little_exposed() -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert "Overall exposure level" in done.stdout

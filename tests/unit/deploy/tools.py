"""Debian's promtool and amtool, and the rules as text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus"
_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
}


def program(name: str) -> str:
    """The path of a program; skips without it, fails where VOLDESK_TEST_PROMETHEUS says that it must be there."""
    found = shutil.which(name)
    if found is None:
        reason = f"no {name} on this machine: apt-get install {_PACKAGES[name]}"
        if os.environ.get("VOLDESK_TEST_PROMETHEUS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def ran(name: str, *arguments: str | Path) -> str:
    """What a program printed; fails with it when the program failed."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def alert_names() -> list[str]:
    """Of the alerting rules, in their order."""
    return re.findall(r"^ +- alert: (\w+)$", (RULES / "alerts.yml").read_text(), re.MULTILINE)

"""The systemd unit, judged by systemd's own tool."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.systemd_sandbox import NoSandbox, allowed_calls, values

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


def test_the_filter_allows_what_supervisord_libzmq_and_snapshots_call() -> None:
    try:
        allowed = allowed_calls(UNIT)
    except NoSandbox as reason:
        pytest.skip(str(reason))
    # chown of supervisord's socket, scheduling of libzmq's threads, niceness of the process that makes a snapshot
    assert {"chown", "fchown", "fchownat", "sched_setscheduler", "setpriority", "execve"} <= allowed
    assert {"mount", "setuid", "capset", "setrlimit", "sched_setaffinity", "ptrace"} & allowed == set()


def test_supervisord_need_not_raise_a_limit() -> None:
    """It ends where it may not set one: what the unit grants must be enough as it is."""
    wanted = re.search(r"^minfds = (\d+)$", (UNIT.parents[2] / "supervisord.conf").read_text(), re.MULTILINE)
    assert wanted is not None
    assert int(values(UNIT, "LimitNOFILE")[-1]) >= int(wanted[1])


@pytest.mark.parametrize(("ended_with", "is_started"), [(0, True), (1, True), (69, True), (78, False)])
def test_the_unit_does_not_start_what_a_person_must_change_first_and_tries_anything_else(
    tmp_path: Path, ended_with: int, *, is_started: bool
) -> None:
    """RestartPreventExitStatus heeds the main process alone, which is supervisord and not `voldesk up`."""
    assert values(UNIT, "RestartPreventExitStatus") == []
    voldesk = tmp_path / "voldesk"
    voldesk.write_text(f'#!/bin/sh\ntest "$*" = prepare && exit {ended_with}\n')
    voldesk.chmod(0o755)
    (condition,) = values(UNIT, "ExecCondition")
    command = shlex.split(condition.replace("/opt/voldesk/.venv/bin/voldesk", str(voldesk)))
    assert (subprocess.run(command, timeout=60, check=False).returncode == 0) is is_started

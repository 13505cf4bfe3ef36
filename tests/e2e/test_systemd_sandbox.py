"""The desk under the system calls and address families that its systemd unit leaves it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.service.journals import journal_path
from shared.snapshots import snapshot_files
from tests.e2e.conftest import make_desk, strangle_file, take_down
from tests.e2e.stack import REPOSITORY, VOLDESK, until
from tests.systemd_sandbox import NoSandbox, allowed_calls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

UNIT = REPOSITORY / "deploy" / "systemd" / "voldesk.service"


def test_the_desk_starts_and_makes_snapshots_under_the_filter_of_its_unit() -> None:
    try:
        allowed_calls(UNIT)
    except NoSandbox as reason:
        pytest.skip(str(reason))
    desk = make_desk(
        "sandbox",
        7,
        ["quick"],
        {"quick": strangle_file("quick", "1", hold_s=2)},
        sections="[journal]\nsnapshot_rows = 10\n",
    )
    try:
        started = subprocess.run(
            [sys.executable, "-m", "tests.systemd_sandbox", str(UNIT), *VOLDESK, "up", "--yes", "--timeout", "180"],
            env=desk.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert started.returncode == 0, started.stderr + desk.logs()
        for name, row in desk.services().items():
            status = Path(f"/proc/{row['pid']}/status").read_text()
            assert "\nSeccomp:\t2\n" in status, f"{name} is under no filter"
            assert row["restarts"] == 0, f"{name} died: {desk.logs()}"
        journal = journal_path(desk.settings, "execution")
        until(desk, "a snapshot is made", lambda: snapshot_files(journal))
    finally:
        take_down(desk)

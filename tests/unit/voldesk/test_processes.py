"""Processes are found and ended by what the kernel says of them, with real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.voldesk.peers import Ran
from voldesk.processes import desk_processes, end_processes, is_alive

OBEDIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}"
HOLDING = f"import os; kept = open(os.environ['HELD'], 'w'); {OBEDIENT}"


class Starter:
    """Starts processes whose command line is that of a service."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home = home
        self._stack = stack

    def start(self, name: str, text: str, **environment: str) -> subprocess.Popen[str]:
        package = self._home / "services"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        (package / f"{name}.py").write_text(text)
        clean = {key: value for key, value in os.environ.items() if key != "VOLDESK_RUN_DIR"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"services.{name}"],
            env={**clean, "PYTHONPATH": str(self._home), **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.stdout.close if process.stdout else lambda: None)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process


@pytest.fixture
def starter(home: Path) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(home, stack)


def test_a_service_of_this_run_directory_is_found_by_its_environment_or_an_open_file(
    home: Path, starter: Starter
) -> None:
    run_dir = home / "run"
    run_dir.mkdir()
    by_environment = starter.start("risk", OBEDIENT, VOLDESK_RUN_DIR=str(run_dir))
    by_file = starter.start("monitor", HOLDING, HELD=str(run_dir / "lock"))
    starter.start("strategy", OBEDIENT, VOLDESK_RUN_DIR=str(home / "other"))
    starter.start("execution", OBEDIENT)
    found = [(process.name, process.pid) for process in desk_processes(run_dir)]
    assert found == [("monitor", by_file.pid), ("risk", by_environment.pid)]


def test_a_process_that_ignores_sigterm_is_killed(home: Path, starter: Starter) -> None:
    run_dir = home / "run"
    starter.start("risk", STUBBORN, VOLDESK_RUN_DIR=str(run_dir))
    starter.start("monitor", OBEDIENT, VOLDESK_RUN_DIR=str(run_dir))
    processes = desk_processes(run_dir)
    assert end_processes(processes, patience_s=0.5) == ()
    assert not any(is_alive(process.pid) for process in processes)
    assert desk_processes(run_dir) == ()


def test_down_ends_services_that_lost_their_supervisord(home: Path, starter: Starter) -> None:
    (home / "run").mkdir()
    process = starter.start("risk", OBEDIENT, VOLDESK_RUN_DIR=str(home / "run"))
    other = starter.start("monitor", OBEDIENT, VOLDESK_RUN_DIR=str(home / "other"))
    status = Ran("status", "--json").out
    assert f'"pid": {process.pid}' in status
    assert "nobody restarts it" in status
    assert "stopped risk" in Ran("down").out
    assert process.wait(timeout=60) != 0
    assert is_alive(other.pid)


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 60
    while is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process.pid)
    process.wait()

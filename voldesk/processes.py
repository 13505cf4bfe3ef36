"""The desk's processes as the kernel sees them: found in /proc, ended by id. Works without supervisord."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.strategy_hosts import DEFAULT_HOST, host_name

_SERVICE_MODULE = re.compile(r"^services\.([a-z]+)$")
_POLL_S = 0.05


class DeskProcess(msgspec.Struct, frozen=True):
    """A process of this desk: a service by name, or "supervisord"."""

    name: str
    pid: int


def desk_processes(run_dir: Path) -> tuple[DeskProcess, ...]:
    """All live processes of the desk in `run_dir`, whoever started them.

    A process counts when its command line names one of our services and it was given this run directory, or holds
    a file in it open: its lock, at least.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        name = _desk_name(_command_line(entry))
        if name is not None and _belongs_to(entry, run_dir):
            found.append(DeskProcess(name, int(entry.name)))
    return tuple(sorted(found, key=lambda process: (process.name, process.pid)))


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X")


def end_processes(processes: Iterable[DeskProcess], patience_s: float = 5.0) -> tuple[DeskProcess, ...]:
    """SIGTERM, and SIGKILL for those still there after `patience_s`. Returns those that could not be ended."""
    left = [process for process in processes if _signal(process.pid, signal.SIGTERM)]
    left = wait_until_gone(left, patience_s)
    for process in left:
        _signal(process.pid, signal.SIGKILL)
    return tuple(wait_until_gone(left, patience_s))


def wait_until_gone(processes: Iterable[DeskProcess], patience_s: float) -> list[DeskProcess]:
    """Those still alive when all are gone or the time is up."""
    deadline = time.monotonic() + patience_s
    left = [process for process in processes if is_alive(process.pid)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [process for process in left if is_alive(process.pid)]
    return left


def holder_of_port(port: int) -> str | None:
    """Who listens on a TCP port, "pid 12 (python -m http.server)"; None when the kernel does not let us see."""
    pid = pid_on_port(port)
    if pid is None:
        return None
    command = " ".join(_command_line(Path(f"/proc/{pid}")))
    return f"pid {pid} ({command[:80]})"


def pid_on_port(port: int) -> int | None:
    """The process that listens on a TCP port; None when there is none, or the kernel does not let us see."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes.intersection(_open_files(entry)):
            return int(entry.name)
    return None


def _desk_name(command: list[str]) -> str | None:
    for flag, module in itertools.pairwise(command):
        if flag == "-m":
            if module == "supervisor.supervisord":
                return "supervisord"
            match = _SERVICE_MODULE.fullmatch(module)
            return _service_of(match[1], command) if match else None
    return None


def _service_of(module: str, command: list[str]) -> str:
    """The name of the service: of a strategy host it is that of its group."""
    group = next((value for flag, value in itertools.pairwise(command) if flag == "--group"), "")
    return host_name(group) if module == DEFAULT_HOST else module


def _belongs_to(entry: Path, run_dir: Path) -> bool:
    try:
        environment = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    given = b"VOLDESK_RUN_DIR=" + os.fsencode(run_dir)
    prefix = f"{run_dir}/"
    return given in environment or any(name.startswith(prefix) for name in _open_files(entry))


def _command_line(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _open_files(entry: Path) -> list[str]:
    names = []
    with contextlib.suppress(OSError):
        for descriptor in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(os.readlink(descriptor))
    return names


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True

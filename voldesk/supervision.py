"""supervisord, which keeps the services alive: start it, ask it, tell it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from shared.bus.endpoints import socket_path
from shared.config import DeskConfig
from shared.secrets import without_secrets
from shared.strategy_hosts import host_name, is_host
from voldesk.console import Failure

CONFIG_ERROR_EXIT = 78
_NOT_RUNNING, _ALREADY_STARTED, _NO_SUCH_NAME, _ALREADY_ADDED = 70, 60, 10, 90


class SupervisedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """What supervisord says of one service. `state` is supervisord's; `exit_status` is of its last exit."""

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    exit_status: int
    problem: str


class Supervisor:
    """The supervisord of one desk, over its unix socket. `patience_s`: how long one call may take."""

    def __init__(self, desk: DeskConfig, patience_s: float = 15.0) -> None:
        self._desk = desk
        self._socket = socket_path(desk.run_dir, "supervisor.sock")
        self._rpc = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2", transport=_UnixTransport(self._socket, patience_s), allow_none=True
        )

    def pid(self) -> int | None:
        """supervisord's pid, None when it does not run. A stale pid file is no evidence; its answer is."""
        try:
            pid = self._call("supervisor.getPID")
        except SupervisorAway:
            return None
        assert isinstance(pid, int)
        return pid

    def processes(self) -> dict[str, SupervisedProcess]:
        """All services by name. Raises SupervisorAway."""
        rows: Any = self._call("supervisor.getAllProcessInfo")
        return {row["name"]: _read_process(row) for row in rows}

    def start_service(self, name: str) -> None:
        """Start a service that does not run. Raises SupervisorAway."""
        self._tolerate(_ALREADY_STARTED, "supervisor.startProcess", name, False)

    def stop_service(self, name: str) -> None:
        """Stop a service and wait until it is gone. Raises SupervisorAway."""
        self._tolerate(_NOT_RUNNING, "supervisor.stopProcess", name, True)

    def apply_programs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Run the strategy hosts of the files that `write_programs` wrote and no others; the names of those that are
        new and of those that are gone. Raises SupervisorAway."""
        try:
            answer: Any = self._call("supervisor.reloadConfig")
        except xmlrpc.client.Fault as error:
            raise Failure(f"supervisord: {error.faultString}", self._see_log()) from None
        added, changed, removed = (tuple(name for name in names if is_host(name)) for names in answer[0])
        for name in (*changed, *removed):
            self.stop_service(name)
            self._tolerate(_NO_SUCH_NAME, "supervisor.removeProcessGroup", name)
        for name in (*changed, *added):
            self._tolerate(_ALREADY_ADDED, "supervisor.addProcessGroup", name)
        return added, removed

    def shut_down(self) -> None:
        """Ask supervisord to stop all services and itself. Raises SupervisorAway."""
        self._call("supervisor.shutdown")

    def launch(self) -> None:
        """Start supervisord as a daemon with all services. Raises Failure with what it said when it cannot start."""
        conf = Path(__file__).resolve().parent.parent / "supervisord.conf"
        if not conf.is_file():
            raise Failure(f"{conf} is missing", "run voldesk from a checkout of its repository (make install)")
        (self._desk.run_dir / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
        environment = self.environment(os.environ)
        try:
            done = subprocess.run(
                command, env=environment, cwd=conf.parent, capture_output=True, text=True, timeout=30, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failure("supervisord did not start within 30 s", self._see_log()) from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise Failure(f"supervisord did not start: {said[-1] if said else 'no reason given'}", self._see_log())
        deadline = time.monotonic() + 10
        while self.pid() is None:
            if time.monotonic() > deadline:
                raise Failure("supervisord started but does not answer", self._see_log())
            time.sleep(0.05)

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """What supervisord and the services are given of our environment: no secrets, and where their desk is.

        Nobody multiplies matrices here: numpy starts sooner, and smaller, when it need not make threads for that.
        """
        return without_secrets(ours) | {
            "OPENBLAS_NUM_THREADS": "1",
            "VOLDESK_CONFIG": str(self._desk.path),
            "VOLDESK_RUN_DIR": str(self._desk.run_dir),
            "VOLDESK_SUPERVISOR_SOCKET": str(self._socket),
            "VOLDESK_PYTHON": sys.executable,
            "VOLDESK_WITH_EXCHANGE": "true" if self._desk.mode == "paper" else "false",
        }

    def _see_log(self) -> str:
        return f"see {self._desk.run_dir / 'logs' / 'supervisord.log'}"

    def _tolerate(self, fault: int, method: str, *arguments: Any) -> None:
        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as error:
            if error.faultCode != fault:
                raise Failure(f"supervisord: {error.faultString}", self._see_log()) from None

    def _call(self, method: str, *arguments: Any) -> object:
        try:
            return getattr(self._rpc, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError):
            raise SupervisorAway from None


_PROGRAM = """[program:{name}]
command = %(ENV_VOLDESK_PYTHON)s -m services.strategy --group {group}
priority = 30
startsecs = 0
startretries = 1000000
autorestart = unexpected
exitcodes = 78
stopsignal = TERM
stopwaitsecs = 10
redirect_stderr = true
stdout_logfile = %(ENV_VOLDESK_RUN_DIR)s/logs/{name}.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 5
"""


def write_programs(desk: DeskConfig) -> None:
    """Write what supervisord is to know of the host of each group of strategies, and remove what it is not."""
    folder = desk.run_dir / "supervisord"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = {f"{host_name(group)}.conf": group for group in desk.strategy_hosts.groups}
    for path in folder.glob("*.conf"):
        if path.name not in wanted:
            path.unlink()
    for name, group in wanted.items():
        path = folder / name
        path.write_text(_PROGRAM.format(name=host_name(group), group=group))


class SupervisorAway(Exception):
    """supervisord does not run, or does not answer."""


def _read_process(row: Mapping[str, Any]) -> SupervisedProcess:
    pid = int(row["pid"]) or None
    return SupervisedProcess(
        name=row["name"],
        state=row["statename"],
        pid=pid,
        uptime_s=max(0.0, float(row["now"] - row["start"])) if pid else None,
        exit_status=int(row["exitstatus"]),
        problem=str(row["spawnerr"]),
    )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> _UnixConnection:
        return _UnixConnection(self._path, self._timeout_s)

"""A Docker engine and the desk's stack in it: found, or started for the test, and left as it was found.

VOLDESK_TEST_COMPOSE=required: without an engine the tests fail instead of being skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
BESIDE = ("control", "prometheus", "alertmanager")
"""What else is started: all but Grafana, of which there is no stand-in."""

_STATE = Path("/var/tmp/voldesk-test-docker")
"""Of an engine that the tests start themselves: its images stay for the next run."""

_PROJECT_FILES = (
    "Dockerfile",
    ".dockerignore",
    "docker-compose.yml",
    "docker-compose.live.yml",
    "docker-compose.groups.yml",
    "pyproject.toml",
    "README.md",
    "requirements.lock",
    "requirements-telegram.lock",
    "requirements-notify.lock",
    "requirements-parquet.lock",
    "voldesk.toml",
)
_PROJECT_FOLDERS = ("shared", "services", "strategies", "voldesk", "world", "deploy")


class NoEngine(Exception):
    """Why there is none."""


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` finds an engine. Raises NoEngine."""
    plain = {**os.environ, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
    if shutil.which("docker") is None:
        raise NoEngine("there is no `docker` command")
    if _answers(plain):
        yield plain
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise NoEngine("no engine runs, and none can be started: that needs dockerd and root")
    _STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = plain | {"DOCKER_HOST": f"unix://{_STATE}/docker.sock"}
    if _answers(found):
        yield found
        return
    with (_STATE / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(
            [
                "dockerd",
                f"--data-root={_STATE}/data",
                f"--exec-root={_STATE}/exec",
                f"--pidfile={_STATE}/dockerd.pid",
                f"--host=unix://{_STATE}/docker.sock",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not _answers(found):
            if daemon.poll() is not None or time.monotonic() > deadline:
                said = (_STATE / "dockerd.log").read_text().splitlines()[-3:]
                raise NoEngine(f"dockerd does not start: {' '.join(said)}")
            time.sleep(0.5)
        yield found
    finally:
        daemon.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(60)
        if daemon.poll() is None:
            daemon.kill()


def _answers(environment: dict[str, str]) -> bool:
    done = subprocess.run(["docker", "info"], env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


class Stack:
    """The project in a copy of the repository, so that a test may change its strategy, configuration and code."""

    def __init__(self, environment: dict[str, str], home: Path, web_port: int) -> None:
        self.home = home
        self.project = "voldesk-test"
        self.services: tuple[str, ...] = SERVICES
        self.environment = environment | {
            "COMPOSE_PROJECT_NAME": self.project,
            "VOLDESK_IMAGE": "voldesk:test",
            "VOLDESK_WEB_PORT": str(web_port),
        }
        for name in _PROJECT_FILES:
            shutil.copy(REPOSITORY / name, home / name)
        for name in _PROJECT_FOLDERS:
            shutil.copytree(REPOSITORY / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._compose = ["docker", "compose"] if plugin else ["docker-compose"]

    def run(self, *command: str, timeout_s: float = 900, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(*self._compose, *arguments, check=check)

    def up(self) -> None:
        """As a person does it, without Grafana."""
        self.compose("up", "-d", *BESIDE, *self.services)

    def voldesk(self, *arguments: str, service: str = "control") -> subprocess.CompletedProcess[str]:
        return self.compose("exec", "-T", service, "voldesk", *arguments, check=False)

    def look(self, *arguments: str) -> Any:
        """What a command says as JSON; None while it cannot."""
        done = self.voldesk(*arguments, "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def container(self, service: str) -> str:
        return self.compose("ps", "-q", service).stdout.strip()

    def inspect(self, service: str, what: str) -> str:
        return self.run("docker", "inspect", "--format", what, self.container(service)).stdout.strip()

    def kill(self, service: str) -> None:
        """SIGKILL from outside, after which the engine starts the container again: `docker kill` would end it."""
        os.kill(int(self.inspect(service, "{{.State.Pid}}")), signal.SIGKILL)

    def cut(self, network: str, service: str) -> None:
        self.run("docker", "network", "disconnect", f"{self.project}_{network}", self.container(service))

    def heal(self, network: str, service: str) -> None:
        alias = f"{service}.{network}"
        name = f"{self.project}_{network}"
        self.run("docker", "network", "connect", "--alias", alias, name, self.container(service))

    def states(self) -> dict[str, str]:
        found = self.look("status")
        return {} if found is None else {row["name"]: row["state"] for row in found["services"]}

    def all_running(self) -> bool:
        states = self.states()
        return set(states) == set(self.services) and set(states.values()) == {"RUNNING"}

    def trades(self) -> list[dict[str, Any]]:
        return self.look("trades") or []

    def open_trade(self, strategy: str) -> str | None:
        """The id of an open trade of the strategy."""
        rows = ((str(t["trade_id"]), t["state"]) for t in self.trades() if t["strategy"] == strategy)
        return next((trade_id for trade_id, state in rows if state == "OPEN"), None)

    def state_of(self, trade_id: str) -> str:
        return next((str(row["state"]) for row in self.trades() if row["trade_id"] == trade_id), "")

    def get(self, url: str) -> Any:
        """JSON from inside the networks, asked by the monitor's container."""
        code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=20).read().decode())"
        done = self.compose("exec", "-T", "monitor", "python", "-c", code, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def until(self, what: str, condition: Callable[[], T | None], timeout_s: float = 240) -> T:
        """The first true value of `condition`; fails with what the containers say when there is none in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                said = self.voldesk("status").stdout + self.compose("logs", "--tail=8", check=False).stdout
                raise AssertionError(f"not within {timeout_s:.0f} s: {what}\n{self.compose('ps').stdout}{said}")
            time.sleep(0.5)

    def tar(self, *arguments: str, read_from: Path | None = None, written_to: Path | None = None) -> None:
        """tar in the run directory of the desk, all of whose services are stopped, as docs/deployment.md has it."""
        with (
            (read_from or Path(os.devnull)).open("rb") as source,
            (written_to or Path(os.devnull)).open("wb") as target,
        ):
            done = subprocess.run(
                [*self._compose, "run", "--rm", "-T", "setup", "tar", "-C", "/var/lib/voldesk", *arguments],
                cwd=self.home,
                env=self.environment,
                stdin=source,
                stdout=target,
                stderr=subprocess.PIPE,
                timeout=300,
                check=False,
            )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]

    def down(self, *, with_data: bool = False) -> None:
        self.compose("down", *(["--volumes", "--remove-orphans"] if with_data else []))


def stand_in_images(environment: dict[str, str]) -> None:
    """The base images with their tags, made of Debian's packages where no registry is reached."""
    if _pulled(environment):
        return
    if shutil.which("debootstrap") is None:
        raise NoEngine("the base images cannot be pulled, and stand-ins need debootstrap")
    done = subprocess.run(
        ["bash", "tests/compose/stand_ins.sh"],
        cwd=REPOSITORY,
        env=environment,
        stdout=sys.stderr,
        timeout=1_500,
        check=False,
    )
    if done.returncode:
        raise NoEngine("the stand-ins for the base images cannot be made, see above")


def _pulled(environment: dict[str, str]) -> bool:
    return all(
        subprocess.run(
            ["docker", "image", "inspect", name], env=environment, capture_output=True, check=False
        ).returncode
        == 0
        for name in base_images()
    )


def base_images() -> Sequence[str]:
    """What Dockerfile and docker-compose.yml name, Grafana left out."""
    base = re.findall(r"^ARG BASE=(\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:PROMETHEUS|ALERTMANAGER)_IMAGE:-([^}]+)", (REPOSITORY / "docker-compose.yml").read_text())
    assert len(base) == 1
    assert len(named) == 2
    return (*base, *named)


def for_old_alertmanager(stack: Stack) -> None:
    """Before 0.26, as Debian has it, Alertmanager knows no bot_token_file: there it is told a token."""
    image = base_images()[2]
    said = stack.run("docker", "run", "--rm", "--entrypoint", "/bin/alertmanager", image, "--version").stdout
    version = re.search(r"version[= ]+(\d+)\.(\d+)", said)
    assert version is not None, said
    if (int(version[1]), int(version[2])) < (0, 26):
        path = stack.home / "deploy" / "alertmanager" / "alertmanager.yml"
        path.write_text(re.sub(r"bot_token_file: \S+", "bot_token: in-a-file", path.read_text()))


@contextlib.contextmanager
def built_stack(home: Path) -> Iterator[Stack]:
    """A stack in `home` whose image is built, with nothing of it started; all of it is gone afterwards. The shipped
    strategy holds its trade until the test closes it. Without an engine the test is skipped, or fails where one is
    required."""
    home.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        with engine() as environment:
            print("a Docker engine is there: the stack runs for real")
            stand_in_images(environment)
            made = Stack(environment, home, port)
            _hold_for_long(home)
            for_old_alertmanager(made)
            made.down(with_data=True)
            try:
                made.compose("build", "setup")
                yield made
            finally:
                made.down(with_data=True)
    except NoEngine as reason:
        if os.environ.get("VOLDESK_TEST_COMPOSE") == "required":
            pytest.fail(f"VOLDESK_TEST_COMPOSE=required, but {reason}")
        pytest.skip(f"no Docker engine: {reason}")


def _hold_for_long(home: Path) -> None:
    path = home / "strategies" / "demo_strangle.py"
    text = path.read_text()
    changed = text.replace("max_hold_hours(1 / 60)", "max_hold_hours(24)")
    assert changed != text
    path.write_text(changed)
    for file in (home / "strategies").rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)

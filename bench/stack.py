"""The desk in containers: its cold start, its image, what each container costs, how soon a killed one works again.

    python -m bench.stack [--json] [--quick] [--kills 3] [--minutes 5]

A Docker engine runs docker-compose.yml without Grafana, as `make test-compose` does: one that is there, or, as root,
one that is started for it; base images that cannot be pulled are stand-ins made of Debian's packages. Cold start: the
image is there, the volumes are empty; from `up -d` until the first trade is open, beside what `up -d` itself took.
Memory is what the engine counts for a container without the file cache that can be given back, the mean over the run;
CPU is of one core. Recovery: SIGKILL from outside, until the new process and all the others answer on the bus that
they are ready (Prometheus and Alertmanager: until they answer that they are), beside an idle container of the same
image, until it runs again: the engine's own delay. The desk comes to rest before each kill.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from bench.desk import REPOSITORY
from bench.harness import Run, bench_main
from bench.rows import Row, row
from tests.compose.engine import (
    BESIDE,
    SERVICES,
    NoEngine,
    Stack,
    base_images,
    engine,
    for_old_alertmanager,
    stand_in_images,
)

KILLS, QUICK_KILLS = 3, 1
MINUTES, QUICK_MINUTES = 5.0, 0.5
SAMPLE_S = 5.0
START_S = 600.0
PATIENCE_S = 180.0
QUIET_S = 12.0
"""How long all must have been ready before the next kill: one that ran for less than 10 s is started later."""

POLL_S = 0.02
MB = 1_048_576
IMAGE = "voldesk:test"
IDLE = "voldesk-bench-idle"
WEB = {"prometheus": 9090, "alertmanager": 9093}
"""Containers that are not on the bus: the port on which each says whether it is ready."""


class Watcher:
    """What the services say of themselves, by bench.stack_watch in the container `control`."""

    def __init__(self, stack: Stack) -> None:
        command = ["docker", "exec", "-i", stack.container("control"), "python", "-u", "-"]
        self._process = subprocess.Popen(
            command,
            stdin=(REPOSITORY / "bench" / "stack_watch.py").open("rb"),
            stdout=subprocess.PIPE,
            env=stack.environment,
        )
        self._lock = threading.Lock()
        self._said: dict[str, tuple[int, bool]] = {}
        self._changed = time.monotonic()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            service, epoch, ready = json.loads(line)
            with self._lock:
                self._said[service] = (epoch, ready)
                self._changed = time.monotonic()

    def epoch(self, service: str) -> int:
        with self._lock:
            return self._said.get(service, (0, False))[0]

    def all_ready(self) -> bool:
        with self._lock:
            return len(self._said) == len(SERVICES) and all(ready for _, ready in self._said.values())

    def at_rest(self) -> bool:
        """Everybody has been ready for a while."""
        return self.all_ready() and time.monotonic() - self._changed > QUIET_S

    def told(self) -> str:
        with self._lock:
            silent = [service for service in SERVICES if not self._said.get(service, (0, False))[1]]
        return f"not ready: {', '.join(silent) or 'none'}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Use:
    """Of one container: MB (2^20) without the file cache that can be given back, and CPU time so far."""

    memory_mb: float
    cpu_s: float
    at_s: float


def use_of(said: dict[str, Any], at_s: float) -> Use:
    """What the engine's API says of a container, on control groups of version 1 or 2."""
    memory = said["memory_stats"]
    details = memory["stats"]
    reclaimable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Use((memory["usage"] - reclaimable) / MB, said["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, at_s)


class Engine:
    """The API of the engine that `docker` speaks to: an answer takes milliseconds, a command of Docker's far more."""

    def __init__(self, environment: dict[str, str]) -> None:
        host = environment.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        if not host.startswith("unix://"):
            raise SystemExit(
                f"DOCKER_HOST is {host}: this bench kills processes, so the engine must be on this machine"
            )
        transport = httpx.HTTPTransport(uds=host.removeprefix("unix://"))
        self._client = httpx.Client(transport=transport, base_url="http://docker", timeout=60)

    def ask(self, container: str, what: str = "json", **parameters: str) -> Any:
        answer = self._client.get(f"/containers/{container}/{what}", params=parameters)
        return answer.raise_for_status().json()

    def pid(self, container: str) -> int:
        """Of its first process; 0 while it does not run."""
        return int(self.ask(container)["State"]["Pid"])

    def kill(self, container: str) -> float:
        """SIGKILL from outside, after which the engine starts the container again; when that was."""
        pid = self.pid(container)
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return killed_at

    def close(self) -> None:
        self._client.close()


def wait_for(condition: Callable[[], bool], what: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Raises RuntimeError when the condition does not hold in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {patience_s:.0f} s: {what()}")
        time.sleep(POLL_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def made_stack(environment: dict[str, str], home: Path) -> Iterator[Stack]:
    """The project as it is in this working tree, its image built, nothing running; removed in the end."""
    stack = Stack(environment, home, free_port())
    for_old_alertmanager(stack)
    stack.down(with_data=True)
    try:
        stack.compose("build", "setup")
        yield stack
    finally:
        stack.down(with_data=True)


def image_rows(stack: Stack) -> list[Row]:
    def size_mb(name: str) -> float:
        return int(stack.run("docker", "image", "inspect", "--format", "{{.Size}}", name).stdout) / 1e6

    base = base_images()[0]
    digests = stack.run("docker", "image", "inspect", "--format", "{{len .RepoDigests}}", base).stdout.strip()
    beside = f"its base {base}" + (", a stand-in" if digests == "0" else "")
    return [
        row("size of the image", round(size_mb(IMAGE), 1), "MB", beside=beside, beside_value=round(size_mb(base), 1))
    ]


def cold_start(stack: Stack) -> list[Row]:
    """From nothing but images to a trade. When it was opened stands in execution's journal: asking costs no time."""
    began_at, began = datetime.now(UTC), time.monotonic()
    stack.up()
    up_s = time.monotonic() - began
    opened: list[datetime] = []

    def traded() -> bool:
        opened.extend(datetime.fromisoformat(trade["opened_at"]) for trade in stack.trades() if trade["opened_at"])
        return bool(opened)

    wait_for(traded, lambda: stack.compose("ps").stdout, START_S)
    seconds = (min(opened) - began_at).total_seconds()
    return [
        row(
            "cold start to the first open trade",
            round(seconds, 1),
            "s",
            beside="`up -d` itself",
            beside_value=round(up_s, 1),
        )
    ]


def uses(stack: Stack, api: Engine, run: Run) -> list[Row]:
    """Memory and CPU of each container, sampled while the shipped demonstration trades."""
    minutes = QUICK_MINUTES if run.quick else run.arguments.minutes
    ids = {service: stack.container(service) for service in (*BESIDE, *SERVICES)}
    began = time.monotonic()
    taken: dict[str, list[Use]] = {service: [] for service in (*BESIDE, *SERVICES)}
    for number in run.track(range(round(minutes * 60 / SAMPLE_S) + 1), "memory and CPU"):
        time.sleep(max(0.0, began + number * SAMPLE_S - time.monotonic()))
        for service, container in ids.items():
            said = api.ask(container, "stats", stream="false", **{"one-shot": "true"})
            taken[service].append(use_of(said, time.monotonic()))
    return use_rows(taken, minutes)


def use_rows(taken: dict[str, list[Use]], minutes: float) -> list[Row]:
    """Two lines for each container, and for all of the desk's together."""
    memory = {name: float(np.mean([use.memory_mb for use in each])) for name, each in taken.items()}
    cpu = {
        name: 100 * (each[-1].cpu_s - each[0].cpu_s) / (each[-1].at_s - each[0].at_s) for name, each in taken.items()
    }
    peak = {name: max(use.memory_mb for use in each) for name, each in taken.items()}
    desk = [name for name in taken if name not in WEB]
    rows = [
        row(
            "containers of the desk together, memory",
            round(sum(memory[name] for name in desk), 1),
            "MB",
            note=f"{minutes:g} min",
        ),
        row("containers of the desk together, CPU", round(sum(cpu[name] for name in desk), 1), "% of one core"),
    ]
    for name in taken:
        rows.append(row(f"  {name}, memory", round(memory[name], 1), "MB", note=f"most {peak[name]:.1f} MB"))
        rows.append(row(f"  {name}, CPU", round(cpu[name], 1), "% of one core"))
    return rows


def is_ready(api: Engine, name: str, container: str, pid_before: int) -> bool:
    """Whether a new process of Prometheus or Alertmanager answers that it is, at its address on the network `web`."""
    said = api.ask(container)
    networks = said["NetworkSettings"]["Networks"]
    address = next((found["IPAddress"] for key, found in networks.items() if key.endswith("_web")), "")
    if said["State"]["Pid"] in (0, pid_before) or not address:
        return False
    try:
        with urllib.request.urlopen(f"http://{address}:{WEB[name]}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def killed(api: Engine, watcher: Watcher, name: str, container: str) -> float:
    """Kill a container's process once and return the seconds until it does its work again."""
    wait_for(watcher.at_rest, lambda: f"the desk at rest before {name} is killed; {watcher.told()}")
    epoch, pid = (0, api.pid(container)) if name in WEB else (watcher.epoch(name), 0)
    killed_at = api.kill(container)

    def back() -> bool:
        if name in WEB:
            return is_ready(api, name, container, pid)
        return watcher.epoch(name) > epoch and watcher.all_ready()

    wait_for(back, lambda: f"{name} at work after its kill; {watcher.told()}")
    return time.monotonic() - killed_at


def healthy_after(api: Engine, name: str, container: str, began: float) -> float:
    """Seconds from `began` until the engine's own check of the container has succeeded."""
    wait_for(
        lambda: api.ask(container)["State"]["Health"]["Status"] == "healthy",
        lambda: f"the engine finds {name} healthy",
    )
    return time.monotonic() - began


@contextmanager
def idle_container(stack: Stack, api: Engine) -> Iterator[Callable[[], float]]:
    """A container of the desk's image that does nothing: how long it is away after SIGKILL."""
    stack.run("docker", "rm", "-f", IDLE, check=False)
    options = ("--restart", "unless-stopped", "--name", IDLE, "--network", "none")
    stack.run("docker", "run", "-d", *options, IMAGE, "sleep", "infinity")

    def kill() -> float:
        before = api.pid(IDLE)
        killed_at = api.kill(IDLE)
        wait_for(lambda: api.pid(IDLE) not in (0, before), lambda: "the idle container runs again")
        return time.monotonic() - killed_at

    try:
        yield kill
    finally:
        stack.run("docker", "rm", "-f", IDLE, check=False)


def recovery_rows(away: dict[str, list[float]], floor: Sequence[float], healthy: dict[str, float]) -> list[Row]:
    """p50 of each container; the worst, and when the engine called it healthy, in its note."""
    rows = []
    for name, seconds in away.items():
        note = f"{len(seconds)} kills, worst {max(seconds):.1f} s"
        if name in healthy:
            note += f"; the engine called it healthy {healthy[name]:.0f} s after the last: it looks every 30 s"
        rows.append(
            row(
                f"{name}, SIGKILL to work again, p50",
                round(float(np.median(seconds)), 2),
                "s",
                beside="an idle container, until it runs",
                beside_value=round(float(np.median(floor)), 2),
                note=note,
            )
        )
    return rows


def recoveries(stack: Stack, api: Engine, run: Run) -> list[Row]:
    count = QUICK_KILLS if run.quick else run.arguments.kills
    ids = {name: stack.container(name) for name in (*SERVICES, *WEB)}
    away: dict[str, list[float]] = {name: [] for name in ids}
    healthy: dict[str, float] = {}
    floor: list[float] = []
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        closing(Watcher(stack)) as watcher,
        idle_container(stack, api) as idle,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("kills")
        for number in range(count):
            for name, container in ids.items():
                progress.update(task, description=f"SIGKILL {name} ({number + 1} of {count})")
                away[name].append(killed(api, watcher, name, container))
                if number == count - 1 and name in SERVICES and not run.quick:
                    began = time.monotonic() - away[name][-1]
                    healthy[name] = healthy_after(api, name, container, began)
            wait_for(watcher.at_rest, lambda: f"the desk at rest; {watcher.told()}")
            floor.append(idle())
    return recovery_rows(away, floor, healthy)


def measure(run: Run) -> list[Row]:
    try:
        with engine() as environment, tempfile.TemporaryDirectory(prefix="vd-stack-") as home:
            Path(home).chmod(0o755)
            stand_in_images(environment)
            with made_stack(environment, Path(home)) as stack, closing(Engine(environment)) as api:
                rows = [*image_rows(stack), *cold_start(stack)]
                return [*rows, *uses(stack, api, run), *recoveries(stack, api, run)]
    except NoEngine as reason:
        raise SystemExit(f"no Docker engine: {reason}") from None


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills of each container (default {KILLS})")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long to watch (default {MINUTES:g})")


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())

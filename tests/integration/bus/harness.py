"""Real buses on real sockets: a desk in a temporary directory, peers in this process or in their own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from shared.bus import Bus
from shared.config import SERVICE_NAMES, DeskConfig
from shared.messages.base import Message
from shared.messages.control import HaltsAnswered, HaltState, RaiseHalt
from shared.messages.steps import Inbound, StreamSynced
from shared.ports import port_is_free
from shared.tasks import spawn
from tests.unit.shared.samples import MINIMAL, heartbeat, write_desk

ROOT = Path(__file__).parents[3]
HALT_TOPIC = "exec.main.halt"
DEADLINE_S = 120.0


def make_desk(directory: Path, bus_section: str = "") -> DeskConfig:
    return write_desk(directory, f"{MINIMAL}[bus]\n{bus_section}\n")


def free_base_port() -> int:
    """The first of the ports of a desk over tcp, all of which were free a moment ago."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base: int = probe.getsockname()[1]
        count = 2 * len(SERVICE_NAMES)
        if base + count < 65_000 and all(port_is_free(base + each) for each in range(count)):
            return base


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait for a condition; fails after a deadline that no healthy machine needs."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"did not come true: {what or condition}"
        await asyncio.sleep(0.005)


def open_service(name: str, desk: DeskConfig, **options: Any) -> Bus:
    """A bus that is open as `name` and beats five times a second for as long as the loop runs."""
    bus = Bus(name, desk, **options)
    bus.open(lambda newest: heartbeat(name, newest))

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.2)
            bus.beat()

    task = spawn(beat(), name=f"beat of {name}")
    close = bus.close

    def close_and_stop() -> None:
        task.cancel()
        close()

    bus.close = close_and_stop  # type: ignore[method-assign]
    return bus


def raw_socket(kind: int) -> zmq.Socket[bytes]:
    """A bare ZeroMQ socket, for what a bus of ours would not send."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    return socket


class Heard(list[Inbound | StreamSynced]):
    """What a subscriber was given."""

    def messages(self, topic: str = HALT_TOPIC) -> list[Message]:
        return [item.message for item in self if isinstance(item, Inbound) and item.topic == topic]

    def halts(self) -> list[int]:
        """The halt epochs heard, in order."""
        return [message.halt_epoch for message in self.messages() if isinstance(message, HaltState)]

    def synced(self) -> list[int]:
        """The epochs that were announced as synced."""
        return [item.epoch for item in self if isinstance(item, StreamSynced)]


def halt_of(account_id: str, epoch: int) -> HaltState:
    return HaltState(account_id=account_id, halt_epoch=epoch, halts=())


def raise_halt(reason: str) -> RaiseHalt:
    return RaiseHalt(level="no_new_trades", reason=reason, requested_by="test")


@contextmanager
def execution_process(desk: DeskConfig) -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes one halt per `RaiseHalt` and answers it; killed with -9 at the end if still there."""
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.bus.harness", str(desk.path)], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _execution(desk: DeskConfig) -> None:
    bus = open_service("execution", desk)
    count = 0

    def halt(request: Any) -> None:
        nonlocal count
        count += 1
        state = halt_of(request.message.reason, count)
        bus.publish(HALT_TOPIC, state, request.request_id)
        if not request.message.reason.startswith("silent"):
            bus.reply(request.request_id, HaltsAnswered(state=state))

    bus.serve(halt)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    from shared.config import load_config

    asyncio.run(_execution(load_config(Path(sys.argv[1]), {})))

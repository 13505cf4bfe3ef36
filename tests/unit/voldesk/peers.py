"""Tiny services on the real bus, in a thread of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from typer.testing import CliRunner

from shared.bus import Bus
from shared.config import DeskConfig, load_config
from shared.messages.base import Message
from shared.messages.steps import Request
from shared.messages.system import Heartbeat
from voldesk.main import app

T = TypeVar("T")


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, *arguments: str, answer: str = "") -> None:
        result = CliRunner().invoke(app, list(arguments), input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr


class Peers:
    """`answer` starts a service that answers each request with what the function makes of it."""

    def __init__(self) -> None:
        self.desk: DeskConfig = load_config()
        self.desk.run_dir.mkdir(parents=True, exist_ok=True)
        self.asked: list[Message] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._buses: list[Bus] = []
        self._of: dict[str, Bus] = {}

    def __enter__(self) -> Peers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while self._buses:
            bus = self._buses.pop()
            self._on_loop(bus.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answer(self, service: str, make_answer: Callable[[Message], Message | None]) -> None:
        self._on_loop(lambda: self._open(service, make_answer))

    def publish(self, service: str, topic: str, message: Message, every_s: float | None = None) -> None:
        """Publish once from a service that was started, or again and again until the end."""
        self._on_loop(lambda: self._publish(self._of[service], topic, message, every_s))

    def _publish(self, bus: Bus, topic: str, message: Message, every_s: float | None) -> None:
        if bus not in self._buses:
            return
        bus.publish(topic, message)
        if every_s is not None:
            self._loop.call_later(every_s, self._publish, bus, topic, message, every_s)

    def _open(self, service: str, make_answer: Callable[[Message], Message | None]) -> None:
        bus = Bus(service, self.desk)

        def deliver(request: Request) -> None:
            self.asked.append(request.message)
            answer = make_answer(request.message)
            if answer is not None:
                bus.reply(request.request_id, answer)

        bus.open(lambda sequences: self._heartbeat(service, sequences))
        bus.serve(deliver)
        self._buses.append(bus)
        self._of[service] = bus

    def _heartbeat(self, service: str, sequences: dict[str, int]) -> Heartbeat:
        return Heartbeat(
            service=service,
            account_id=self.desk.account_id,
            mode=self.desk.mode,
            venue=self.desk.venue,
            pid=os.getpid(),
            epoch=1,
            started_ns=1,
            beat_ns=2,
            starts=1,
            ready=True,
            detail="",
            event_sequences=sequences,
        )

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        future: Any = asyncio.run_coroutine_threadsafe(run(), self._loop)
        result: T = future.result(timeout=60)
        return result

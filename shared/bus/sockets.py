"""One ZeroMQ socket driven by the event loop, without zmq.asyncio, which costs 20 times the CPU per message.

The socket's file descriptor is registered with the loop and the socket drained when it fires. The descriptor is
edge-triggered, and sending consumes edges too: the socket is drained again after every send and after registering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import zmq

DRAIN_MAX = 500
"""Messages taken before the loop gets its turn again."""

DRAIN_BYTES_MAX = 32 * 1024 * 1024
"""The same in bytes: a flood of large messages must not be in memory all at once."""

_CLOSING_LINGER_MS = 200


class LoopSocket:
    """A socket that hands over what arrived, in batches of at most `DRAIN_MAX`.

    deliver: called with the frames of one drain, for a ROUTER the identity and the rest of each message.
    on_writable: called after a drain while `wants_writable` is set and the socket can send.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        options: Mapping[int, int],
        deliver: Callable[[list[list[bytes]]], None],
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        self._socket = context.socket(kind)
        self._multipart = kind == zmq.ROUTER
        self._deliver = deliver
        self._on_writable = on_writable
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wants_writable = False
        for option, value in {
            zmq.LINGER: _CLOSING_LINGER_MS,
            zmq.RECONNECT_IVL: 50,
            zmq.RECONNECT_IVL_MAX: 500,
            **options,
        }.items():
            self._socket.setsockopt(option, value)

    def bind(self, endpoint: str) -> None:
        self._socket.bind(endpoint)
        self._register()

    def connect(self, endpoint: str) -> None:
        self._socket.connect(endpoint)
        self._register()

    def subscribe(self, prefix: bytes) -> None:
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix)

    def send(self, *parts: bytes) -> bool:
        """Send now; False when nobody is there to take it or the queue is full."""
        try:
            if len(parts) == 1:
                self._socket.send(parts[0], zmq.NOBLOCK)
            else:
                self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            self._schedule()
        return True

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close()

    def _register(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._drain)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_drain)

    def _scheduled_drain(self) -> None:
        self._scheduled = False
        self._drain()

    def _drain(self) -> None:
        if self._loop is None:
            return
        batch: list[list[bytes]] = []
        size = 0
        while len(batch) < DRAIN_MAX and size < DRAIN_BYTES_MAX:
            parts = self._receive()
            if parts is None:
                break
            batch.append(parts)
            size += len(parts[-1])
        else:
            self._schedule()
        if batch:
            self._deliver(batch)
        if self.wants_writable and self._on_writable and self._loop is not None and self._can_send():
            self._on_writable()

    def _receive(self) -> list[bytes] | None:
        try:
            if self._multipart:
                return self._socket.recv_multipart(zmq.NOBLOCK)
            return [self._socket.recv(zmq.NOBLOCK)]
        except zmq.Again:
            return None

    def _can_send(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        assert isinstance(events, int)
        return bool(events & zmq.POLLOUT)

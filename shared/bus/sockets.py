"""One ZeroMQ socket driven by the event loop, without zmq.asyncio, which costs 20 times the CPU per message.

The socket's file descriptor is registered with the loop and the socket drained when it fires. The descriptor is
edge-triggered, and sending consumes edges too: after every send, after registering and after every drain the socket
is asked whether more has come. To ask costs less than to receive nothing, which raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import zmq

DRAIN_MAX = 500
"""Messages taken before the loop gets its turn again."""

DRAIN_BYTES_MAX = 32 * 1024 * 1024
"""The same in bytes: a flood of large messages must not be in memory all at once."""

_AT_ONCE_MAX = 4
"""Messages delivered one by one before the rest is taken as a batch."""

_CLOSING_LINGER_MS = 200
# as plain numbers: pyzmq's flags are enums whose arithmetic is a microsecond of Python
_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)


def _not_taken(error: zmq.ZMQError) -> bool:
    if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
        raise error
    return False


class LoopSocket:
    """A socket that hands over what arrived, in batches of at most `DRAIN_MAX`.

    deliver: called with what one drain took: frames, or for a ROUTER lists of the identity and the frames.
    at_once: the first few messages are delivered one by one, before the socket is asked for more: for those to whom
    each message counts. Without it a batch is all that is there: for those who only want the newest.
    on_writable: called after a drain while `wants_writable` is set and the socket can send.

    A burst, for sockets that refuse nothing (PUB, XPUB): `publish` sends the first message of a turn of the loop at
    once and the rest together at the end of the turn, because ZeroMQ's own thread falls asleep between messages that
    come one by one, and to wake it costs as much as to send. `burst_ns` is for the publisher to note when that was,
    and 0 again in the next turn.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        options: Mapping[int, int],
        deliver: Callable[[list[Any]], None],
        *,
        at_once: bool = True,
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        self._socket = context.socket(kind)
        # without pyzmq's own layer, whose further arguments nobody needs here
        self._send_frame = super(zmq.Socket, self._socket).send
        self._routed_frames = kind == zmq.ROUTER
        self._receive: Callable[[int], Any] = self._routed if self._routed_frames else self._socket.recv
        self._deliver = deliver
        self._at_once = at_once
        self._on_writable = on_writable
        self._scheduled = False
        self._draining = False
        self._sent = False
        self._burst: list[bytes | bytearray] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wants_writable = False
        self.burst_ns = 0
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

    def send(self, frame: bytes | bytearray) -> bool:
        """Send now; False when nobody is there to take it or the queue is full."""
        self._sent = True
        if not self._scheduled and not self._draining:
            self._schedule()
        try:
            self._send_frame(frame, _NOBLOCK)
        except zmq.ZMQError as error:
            return _not_taken(error)
        return True

    def publish(self, frame: bytes | bytearray) -> None:
        """Send from a PUB or XPUB, which takes whatever comes: now, or with the others of this turn."""
        if self._scheduled:
            self._burst.append(frame)
        else:
            self._schedule()
            self._send_frame(frame, _NOBLOCK)

    def send_to(self, identity: bytes, frame: bytes | bytearray) -> bool:
        """From a ROUTER to one of its peers; False when that one is gone or its queue is full."""
        self._sent = True
        if not self._scheduled and not self._draining:
            self._schedule()
        try:
            self._send_frame(identity, _NOBLOCK_MORE)
            self._send_frame(frame, _NOBLOCK)
        except zmq.ZMQError as error:
            return _not_taken(error)
        return True

    def close(self) -> None:
        self._flush()
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
            self._loop.call_soon(self._look)

    def _flush(self) -> None:
        if self._burst:
            burst, self._burst = self._burst, []
            send = self._send_frame
            for frame in burst:
                send(frame, _NOBLOCK)

    def _look(self) -> None:
        self._scheduled = False
        self.burst_ns = 0
        if self._loop is None:
            return
        self._flush()
        events = self._events()
        if events & _POLLIN:
            self._drain()
        elif events & _POLLOUT and self.wants_writable and self._on_writable:
            self._on_writable()

    def _drain(self) -> None:
        """Deliver what is there, as much as one drain may take; for the rest it comes back by itself."""
        if self._loop is None:
            return
        self._draining = True
        try:
            self._take()
        except BaseException:
            self._schedule()
            raise
        finally:
            self._draining = False
        if self.wants_writable and self._on_writable and self._loop is not None and self._events() & _POLLOUT:
            self._on_writable()

    def _take(self) -> None:
        batch: list[Any] = []
        try:
            for _ in range(_AT_ONCE_MAX if self._at_once else 0):
                self._deliver([self._receive(_NOBLOCK)])
                if self._loop is None or not self._events() & _POLLIN:
                    return
            batch.append(self._receive(_NOBLOCK))
        except zmq.Again:
            return
        if not self._events() & _POLLIN:
            self._deliver_batch(batch)
            return
        receive, take = self._receive, batch.append
        emptied, size, routed = False, 0, self._routed_frames
        try:
            for _ in range(DRAIN_MAX):
                item = receive(_NOBLOCK)
                take(item)
                size += len(item[-1] if routed else item)
                if size >= DRAIN_BYTES_MAX:
                    break
        except zmq.Again:
            emptied = True
        self._deliver_batch(batch)
        if not emptied:
            self._schedule()

    def _deliver_batch(self, batch: list[Any]) -> None:
        """Deliver, and come back when something was sent meanwhile, which can have consumed an edge."""
        self._sent = False
        self._deliver(batch)
        if self._sent:
            self._schedule()

    def _routed(self, flags: int) -> list[bytes]:
        """Identity and frames of one message: behind an identity there is always a frame."""
        socket = self._socket
        parts = [socket.recv(flags), socket.recv(flags)]
        while socket.get(zmq.RCVMORE):
            parts.append(socket.recv(flags))
        return parts

    def _events(self) -> int:
        events = self._socket.get(zmq.EVENTS)
        assert isinstance(events, int)
        return events

"""One ZeroMQ socket driven by the event loop, without zmq.asyncio, which costs 20 times the CPU per message.

The socket's file descriptor is registered with the loop and the socket drained when it fires. The descriptor is
edge-triggered, and sending consumes edges too: after every send, after registering and after every drain the socket
is asked whether more has come. To ask costs less than to receive nothing, which raises.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
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

_REBIND_S = 0.02
_HANDSHAKES = int(
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


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
        options: Mapping[int, int | bytes],
        deliver: Callable[[list[Any]], None],
        *,
        at_once: bool = True,
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        self._context = context
        self._kind = kind
        self._routed_frames = kind == zmq.ROUTER
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
        self._options: dict[int, int | bytes] = {
            zmq.LINGER: _CLOSING_LINGER_MS,
            zmq.RECONNECT_IVL: 50,
            zmq.RECONNECT_IVL_MAX: 100,
            **options,
        }
        self._prefixes: list[bytes] = []
        self._bound: str | None = None
        self._connected: str | None = None
        self._observed = False
        self._monitor: zmq.Socket[bytes] | None = None
        self.closed = False
        self._make()

    def _make(self) -> None:
        self._socket = self._context.socket(self._kind)
        # without pyzmq's own layer, whose further arguments nobody needs here
        self._send_frame = super(zmq.Socket, self._socket).send
        self._receive: Callable[[int], Any] = self._routed if self._routed_frames else self._socket.recv
        for option, value in self._options.items():
            self._socket.setsockopt(option, value)
        for prefix in self._prefixes:
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        if self._observed:
            self._monitor = self._socket.get_monitor_socket(_HANDSHAKES)

    def bind(self, endpoint: str) -> None:
        self._socket.bind(endpoint)
        self._bound = endpoint
        self._register()

    def connect(self, endpoint: str) -> None:
        self._socket.connect(endpoint)
        self._connected = endpoint
        self._register()

    def subscribe(self, prefix: bytes) -> None:
        self._prefixes.append(prefix)
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix)

    def secure(self, options: Mapping[int, int | bytes]) -> None:
        """Set what a later `bind` or `connect` is made with."""
        self._options.update(options)
        for option, value in options.items():
            self._socket.setsockopt(option, value)

    def reopen(self, options: Mapping[int, int | bytes]) -> None:
        """Cut every connection and bind or connect again, with these options. What was under way is lost."""
        self._options.update(options)
        self._let_go()
        self._make()
        if self._connected is not None:
            self._socket.connect(self._connected)
            self._register()
        elif self._bound is not None:
            self._rebind()

    def disconnect(self) -> None:
        """Cut the connection until the next `connect`."""
        if self._connected is not None:
            self._let_go()
            self._connected = None
            self._make()

    def observe_handshakes(self) -> None:
        """Keep what becomes of handshakes, for `handshakes`."""
        self._observed = True
        self._monitor = self._socket.get_monitor_socket(_HANDSHAKES)

    def handshakes(self) -> list[int]:
        """ZeroMQ's events of the handshakes since the last call."""
        found: list[int] = []
        if self._monitor is not None:
            while self._monitor.poll(0):
                event, _endpoint = self._monitor.recv_multipart(_NOBLOCK)
                found.append(struct.unpack("=HI", event)[0])
        return found

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

    def send_parts(self, parts: Sequence[bytes]) -> None:
        """From a ROUTER, the peer's identity first; for what has frames of its own, as ZeroMQ's own questions."""
        self._sent = True
        if not self._scheduled and not self._draining:
            self._schedule()
        self._socket.send_multipart(parts, _NOBLOCK)

    def close(self) -> None:
        self.closed = True
        self._let_go()

    def _let_go(self) -> None:
        self._flush()
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._monitor = None
        self._socket.close()

    def _rebind(self) -> None:
        """Bind again; ZeroMQ's own thread may need a moment to let the address go."""
        if self.closed or self._bound is None:
            return
        try:
            self._socket.bind(self._bound)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            asyncio.get_running_loop().call_later(_REBIND_S, self._rebind)
        else:
            self._register()

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

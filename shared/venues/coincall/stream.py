"""One authenticated socket that keeps itself subscribed until cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from shared.clock import monotonic_ns
from shared.messages.venue import StreamDown, StreamUp
from shared.venues.coincall import build, wire
from shared.venues.coincall.liveness import Liveness, LivenessLimits, reconnect_delay_s
from shared.venues.coincall.parse import ParseError, decoded
from shared.venues.coincall.sign import Value

_TICK_S = 0.5
_OPEN_TIMEOUT_S = 10.0
_SEND_TIMEOUT_S = 5.0
_MAX_FRAME_BYTES = 32 * 1024 * 1024
_LONG_FRAME_BYTES = 8_192
_HEARTBEAT_ANSWER, DATA = 11, 20
_NULL = b"null"

# The library logs the request line, which holds the key and a signature, at debug level.
_quiet_log = logging.getLogger("shared.venues.coincall.socket")
_quiet_log.setLevel(logging.WARNING)


class Subscription(msgspec.Struct, frozen=True):
    """One channel. `stream` names its data where silence means failure; None where silence is normal. A refused
    subscription without a stream name ends the connection, unless it is `optional`; for an optional one the stream
    does not wait before it says that it is up."""

    data_type: str
    payload: tuple[tuple[str, str | int], ...] = ()
    stream: str | None = None
    optional: bool = False

    def frame(self, *, undo: bool = False) -> str:
        payload: dict[str, Value] | None = dict(self.payload) if self.payload else None
        return build.subscribe(self.data_type, payload, undo=undo)


class _Broken(Exception):
    """The connection is of no more use; the text says why and names no secret."""


class VenueStream:
    """Connects, subscribes, sends heartbeats, notices silence, and starts again with back-off.

    `address` makes the signed URL anew for each attempt; `wanted` is asked on each connect and once a minute;
    `on_data(data type code, data, venue time in ms)` returns the names of the streams that the data belongs to and
    raises ParseError for what it cannot read, which is reported to `on_skipped` and never ends the stream.
    `read_frame` puts a frame of a socket with another protocol into the terms of this one.
    """

    def __init__(
        self,
        name: str,
        *,
        address: Callable[[], str],
        wanted: Callable[[], Sequence[Subscription]],
        on_data: Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        on_state: Callable[[StreamUp | StreamDown], None],
        on_skipped: Callable[[str], None],
        limits: LivenessLimits | None = None,
        read_frame: Callable[[bytes], wire.Frame] | None = None,
        reconnect_delay: Callable[[str, int], float] = reconnect_delay_s,
    ) -> None:
        self._name = name
        self._address = address
        self._wanted = wanted
        self._on_data = on_data
        self._on_state = on_state
        self._on_skipped = on_skipped
        self._limits = limits or LivenessLimits()
        self._read_frame = read_frame or _read_frame
        self._reconnect_delay = reconnect_delay
        self._patience: dict[Hashable, int] = {}
        self._attempt = 0
        self._refresh_asked = False
        self._to_renew: dict[Subscription, None] = {}

    def refresh(self) -> None:
        """Ask `wanted` within half a second: it has changed."""
        self._refresh_asked = True

    def renew(self, subscription: Subscription) -> None:
        """Undo a subscription and make it again within half a second, if it is one now."""
        self._to_renew[subscription] = None

    async def run(self) -> None:
        while True:
            started_ns = monotonic_ns()
            try:
                await self._connect_and_serve()
            except (OSError, TimeoutError, WebSocketException, _Broken) as error:
                reason = _reason(error)
            if monotonic_ns() - started_ns >= self._limits.lasting_after_ns:
                self._attempt = 0
            self._on_state(StreamDown(f"{self._name}: {reason}", self._name))
            await asyncio.sleep(self._reconnect_delay(self._name, self._attempt))
            self._attempt += 1

    async def _connect_and_serve(self) -> None:
        async with connect(
            self._address(),
            logger=_quiet_log,
            compression=None,
            proxy=None,
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=1.0,
            ping_interval=None,
            max_size=_MAX_FRAME_BYTES,
        ) as socket:
            now_ns = monotonic_ns()
            session = _Session(
                alive=Liveness(self._limits, now_ns, self._patience),
                up_by_ns=now_ns + self._limits.acknowledged_within_ns,
                refresh_ns=now_ns,
            )
            while True:
                await self._keep_alive(socket, session)
                try:
                    async with asyncio.timeout(_TICK_S):
                        while True:
                            data = await socket.recv(decode=False)
                            self._take(data, session)
                            if len(data) >= _LONG_FRAME_BYTES:
                                # what has come already is handed out without a pause: let the others have theirs
                                await asyncio.sleep(0)
                except TimeoutError:
                    continue

    async def _keep_alive(self, socket: ClientConnection, session: _Session) -> None:
        """What is due now: answers to pings, subscriptions, heartbeat, giving up."""
        now_ns = monotonic_ns()
        pongs, session.pongs = session.pongs, []
        for pong in pongs:
            await _send(socket, msgspec.json.encode({"pong": pong}).decode())
        failure = session.alive.failure(now_ns)
        if failure is not None:
            raise _Broken(failure)
        if now_ns >= session.refresh_ns or self._refresh_asked:
            self._refresh_asked = False
            session.refresh_ns = now_ns + self._limits.refresh_after_ns
            await self._refresh(socket, session, now_ns)
        silent = session.alive.to_renew(now_ns)
        for subscription in session.subscribed:
            if subscription.stream in silent:
                await _send(socket, subscription.frame())
        to_renew, self._to_renew = self._to_renew, {}
        for subscription in to_renew:
            if subscription in session.subscribed:
                await _send(socket, subscription.frame(undo=True))
                await _send(socket, subscription.frame())
        if session.alive.needs_heartbeat(now_ns):
            await _send(socket, build.HEARTBEAT)
        if not session.is_up and now_ns >= session.up_by_ns:
            for data_type in session.unacknowledged:
                self._on_skipped(f"{self._name}: subscription to {data_type} was not acknowledged")
            self._up(session)

    async def _refresh(self, socket: ClientConnection, session: _Session, now_ns: int) -> None:
        wanted = dict.fromkeys(self._wanted())
        for subscription in session.subscribed:
            if subscription not in wanted:
                await _send(socket, subscription.frame(undo=True))
        for subscription in wanted:
            if subscription not in session.subscribed:
                if not session.is_up and not subscription.optional:
                    session.unacknowledged.append(subscription.data_type)
                await _send(socket, subscription.frame())
        session.subscribed = wanted
        session.alive.watch([item.stream for item in wanted if item.stream is not None], now_ns)
        if not session.is_up and not session.unacknowledged:
            self._up(session)

    def _take(self, data: bytes, session: _Session) -> None:
        now_ns = monotonic_ns()
        session.alive.heard(now_ns)
        try:
            frame = self._read_frame(data)
            if bytes(frame.ping) != _NULL:
                session.pongs.append(frame.ping)
            elif frame.dt is not None and frame.c in (None, DATA):
                if frame.dataType in session.unacknowledged:
                    self._acknowledged(frame, session)
                for stream in self._on_data(frame.dt, frame.d, frame.ts):
                    session.alive.data(stream, now_ns)
            elif frame.action is not None:
                self._acknowledged(frame, session)
            elif frame.c == _HEARTBEAT_ANSWER:
                if frame.rc != 1:
                    raise _Broken(f"heartbeat answered with rc {frame.rc}")
            else:
                self._on_skipped(f"{self._name}: a frame of no known form")
        except ParseError as error:
            self._on_skipped(f"{self._name}: {error}")

    def _acknowledged(self, frame: wire.Frame, session: _Session) -> None:
        """A refused order stream is no stream; one refused chain must not keep the others from running."""
        if frame.result is not None and frame.result.lower() != "success":
            refusal = f"{frame.action} {frame.dataType} answered with {frame.result!r}"
            if any(
                item.data_type == frame.dataType and item.stream is None and not item.optional
                for item in session.subscribed
            ):
                raise _Broken(refusal)
            self._on_skipped(f"{self._name}: {refusal}")
        if frame.dataType in session.unacknowledged:
            session.unacknowledged.remove(frame.dataType)
        if not session.is_up and not session.unacknowledged:
            self._up(session)

    def _up(self, session: _Session) -> None:
        session.is_up = True
        session.unacknowledged.clear()
        self._on_state(StreamUp(self._name))


class _Session(msgspec.Struct):
    """What is known of one connection."""

    alive: Liveness
    up_by_ns: int
    refresh_ns: int
    is_up: bool = False
    subscribed: dict[Subscription, None] = {}
    unacknowledged: list[str] = []
    pongs: list[msgspec.Raw] = []


def _read_frame(data: bytes) -> wire.Frame:
    return decoded(wire.Frame, data)


async def _send(socket: ClientConnection, text: str) -> None:
    async with asyncio.timeout(_SEND_TIMEOUT_S):
        await socket.send(text)


def _reason(error: Exception) -> str:
    """A text without the address, which holds the key."""
    if isinstance(error, InvalidStatus):
        return f"handshake refused with HTTP {error.response.status_code}"
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        return f"closed with {close.code} {close.reason}".rstrip() if close else "connection lost"
    if isinstance(error, _Broken):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__

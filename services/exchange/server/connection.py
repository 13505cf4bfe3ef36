"""One WebSocket client: what it follows, and a bounded queue towards it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from starlette.websockets import WebSocket, WebSocketState

from services.exchange.server.auth import Credential
from services.exchange.server.channels import SOCKET_PATHS, SocketName, Topic
from services.exchange.server.ratelimits import Limit, SlidingWindow
from shared.clock import monotonic_ns
from shared.logging import get_logger

log = get_logger("exchange.socket")


class Connection:
    """Frames are queued by `push` and written by `write_forever`; a client that does not read is cut, not waited for.

    Bounded twice: our queue by `queue_bytes_max`, the transport's buffer by its own high-water mark.
    """

    def __init__(
        self,
        websocket: WebSocket,
        socket: SocketName,
        credential: Credential | None,
        *,
        queue_bytes_max: int,
        requests_per_second: int,
    ) -> None:
        self.socket: SocketName = socket
        self.path = SOCKET_PATHS[socket]
        self.credential = credential
        self.topics: set[Topic] = set()
        self.requests = SlidingWindow(Limit(requests_per_second, 1_000))
        self.dropped: str | None = None
        self._close_code: int | None = None
        self._websocket = websocket
        self._queue: deque[str] = deque()
        self._queued_bytes = 0
        self._queue_bytes_max = queue_bytes_max
        self._wake = asyncio.Event()
        self._active_ns = monotonic_ns()

    def push(self, text: str) -> None:
        """Queue one text frame; cuts the connection when too much waits already."""
        if self.dropped is not None:
            return
        if self._queued_bytes + len(text) > self._queue_bytes_max:
            self.drop("slow")
            return
        self._queue.append(text)
        self._queued_bytes += len(text)
        self._wake.set()

    def heard(self) -> None:
        self._active_ns = monotonic_ns()

    def idle_ns(self) -> int:
        """How long nothing came or went."""
        return monotonic_ns() - self._active_ns

    def drop(self, reason: str) -> None:
        """Cut the connection without a closing handshake; what is queued is lost."""
        if self.dropped is not None:
            return
        self.dropped = reason
        self._queue.clear()
        self._queued_bytes = 0
        transport: Any = self._websocket.scope.get("extensions", {}).get("transport")
        if transport is not None:
            transport.abort()
        self._wake.set()
        account_id = None if self.credential is None else self.credential.account_id
        log.info("socket dropped", reason=reason, account=account_id, path=self.path)

    def end(self, code: int) -> None:
        """Close properly with this code once what is queued is written."""
        self._close_code = code
        self._wake.set()

    async def write_forever(self) -> None:
        """Write queued frames until the connection ends."""
        while self.dropped is None and self._websocket.application_state is WebSocketState.CONNECTED:
            if not self._queue and self._close_code is not None:
                await self._websocket.close(self._close_code)
                return
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            text = self._queue.popleft()
            self._queued_bytes -= len(text)
            try:
                await self._websocket.send_text(text)
            except Exception:
                self.drop("lost")
                return
            self._active_ns = monotonic_ns()

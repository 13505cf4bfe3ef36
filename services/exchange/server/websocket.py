"""The WebSocket endpoints: handshake, requests in, queued frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from services.exchange.core import ExchangeCore
from services.exchange.model import CancelledOrders
from services.exchange.rows import Outcome
from services.exchange.server.auth import Credential, authenticate_socket
from services.exchange.server.channels import (
    HEARTBEAT_ACK,
    SOCKET_PATHS,
    Heartbeat,
    SocketName,
    Subscription,
    parse_request,
    refusal,
    subscription_ack,
)
from services.exchange.server.config import ExchangeServiceConfig
from services.exchange.server.connection import Connection
from services.exchange.server.errors import TRY_AGAIN_LATER, ApiError
from services.exchange.server.faults import FaultTable
from services.exchange.server.hub import Hub
from services.exchange.server.spot_channels import SpotSocket, parse_spot_request, spot_ack
from shared.tasks import spawn

NS_PER_MS = 1_000_000


class SocketServer:
    """Serves the sockets of options, futures and spot; the public one of spot needs no login."""

    def __init__(
        self,
        config: ExchangeServiceConfig,
        keys: Mapping[str, Credential],
        hub: Hub,
        faults: FaultTable,
        now_ns: Callable[[], int],
    ) -> None:
        self._config = config.server
        self._switches = config.switches
        self._keys = keys
        self._hub = hub
        self._faults = faults
        self._now_ns = now_ns

    def routes(self) -> list[WebSocketRoute]:
        return [WebSocketRoute(path, self._endpoint(socket)) for socket, path in SOCKET_PATHS.items()]

    def _endpoint(self, socket: SocketName) -> Callable[[WebSocket], Awaitable[None]]:
        async def serve(websocket: WebSocket) -> None:
            await self._serve(websocket, socket)

        return serve

    async def _serve(self, websocket: WebSocket, socket: SocketName) -> None:
        now_ns = self._now_ns()
        query = websocket.scope["query_string"].decode("latin-1")
        credential = None
        if socket != "spot":
            credential = authenticate_socket(self._keys, query, now_ns // NS_PER_MS, self._switches)
        refused = credential is None and socket != "spot"
        if refused or self._faults.hit_handshake(SOCKET_PATHS[socket], now_ns):
            await self._refuse(websocket)
            return
        await websocket.accept()
        connection = Connection(
            websocket,
            socket,
            credential,
            queue_bytes_max=self._config.socket_queue_bytes_max,
            requests_per_second=self._config.socket_requests_per_second,
        )
        self._hub.join(connection)
        writer = spawn(connection.write_forever(), name=f"socket writer {socket}")
        try:
            await self._read(websocket, connection)
        finally:
            self._hub.leave(connection)
            connection.dropped = connection.dropped or "closed"
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if connection.dropped != "shutdown" and credential is not None:
                self._end_orders_of(credential.account_id)

    async def _refuse(self, websocket: WebSocket) -> None:
        """End the handshake: closing before accepting answers 403."""
        if self._switches.handshake_status == 403:
            await websocket.close()
        else:
            await websocket.send_denial_response(Response(status_code=self._switches.handshake_status))

    def _end_orders_of(self, account_id: str) -> None:
        """Cancel an account's orders and quotes, once its last client is gone and the configuration says so."""
        if self._hub.has_sockets(account_id):
            return
        if self._switches.cancel_on_disconnect:
            for base in self._hub.venue.config.bases:
                self._hub.venue.run(partial(_cancel_index, account_id, f"{base.base}USD"))
        if self._switches.cancel_quotes_on_disconnect:
            self._hub.venue.run(lambda core, now_ns: core.rfq.cancel_quotes(account_id, now_ns))

    async def _read(self, websocket: WebSocket, connection: Connection) -> None:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode("utf-8", "replace")
            connection.heard()
            self._handle(connection, text)

    def _handle(self, connection: Connection, text: str) -> None:
        if not connection.requests.allow(self._now_ns()):
            self._answer_refused(connection, ApiError(TRY_AGAIN_LATER, text="too many request"))
            return
        try:
            if connection.socket in ("spot", "spot_private"):
                self._handle_spot(connection, connection.socket, text)
            else:
                self._handle_request(connection, parse_request(connection.socket, text))
        except ApiError as error:
            self._answer_refused(connection, error)

    def _handle_request(self, connection: Connection, request: Heartbeat | Subscription) -> None:
        if isinstance(request, Heartbeat):
            connection.push(HEARTBEAT_ACK)
        else:
            self._follow(connection, request, subscription_ack(request))

    def _handle_spot(self, connection: Connection, socket: SpotSocket, text: str) -> None:
        request = parse_spot_request(socket, text)
        if isinstance(request, Heartbeat):
            connection.push(HEARTBEAT_ACK)
        elif isinstance(request, Subscription):
            self._follow(connection, request, spot_ack(request, self._now_ns() // NS_PER_MS, self._switches))
        elif request.answer is not None:
            connection.push(request.answer)

    def _follow(self, connection: Connection, request: Subscription, ack: str | None) -> None:
        topics = []
        if request.subscribe:
            topics = self._hub.subscribe(connection, request)
        else:
            self._hub.unsubscribe(connection, request)
        if ack is not None:
            connection.push(ack)
        self._hub.push_image(connection, topics)

    def _answer_refused(self, connection: Connection, error: ApiError) -> None:
        if self._switches.socket_error == "ignore":
            return
        connection.push(refusal(error))
        if self._switches.socket_error == "close":
            connection.end(self._switches.socket_close_code)


def _cancel_index(account_id: str, index: str, core: ExchangeCore, now_ns: int) -> Outcome[CancelledOrders]:
    return core.cancel_index(account_id, index, now_ns)

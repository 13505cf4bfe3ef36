"""The exchange server: the application around the venue, and uvicorn on a socket of ours in the running loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from services.exchange.server.api import Api, json_response
from services.exchange.server.auth import Credential
from services.exchange.server.config import ExchangeServiceConfig
from services.exchange.server.errors import METHOD_NOT_SUPPORTED, URL_PATH, ApiError
from services.exchange.server.faults import FaultTable
from services.exchange.server.hub import Hub
from services.exchange.server.ratelimits import RateLimiter, limits_of
from services.exchange.server.routes import all_endpoints
from services.exchange.server.routes_sim import SimControl
from services.exchange.server.venue import Venue
from services.exchange.server.websocket import SocketServer
from services.exchange.server.wire import failure
from shared.http_refusals import HttpRefusals
from shared.http_server import BoundedHttp, HttpServer
from shared.logging import get_logger
from shared.runner import Journal
from shared.tasks import spawn

NS_PER_MS = 1_000_000
KEEP_ALIVE_S = 75
REQUEST_FRAME_BYTES_MAX = 262_144
BOOK_PUSH_S = 0.1

log = get_logger("exchange.server")


class HttpProtocol(BoundedHttp):
    """Lets a handler cut its own connection: an answer that gets lost is one of the faults."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {"transport": self.transport}


class SocketProtocol(WebSocketsSansIOProtocol):
    """Lets the hub cut a client that does not read, without waiting for a closing handshake."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"]["transport"] = self.transport


class ExchangeServer:
    """The simulated venue on a bound socket. `run` serves and moves the market until cancelled or failed."""

    http_protocol: type[BoundedHttp] = HttpProtocol

    def __init__(
        self,
        config: ExchangeServiceConfig,
        credentials: list[Credential],
        journal: Journal,
        now_ns: Callable[[], int],
        *,
        paper: bool,
        refusals: HttpRefusals | None = None,
    ) -> None:
        self._config = config
        self._step_s = config.step_ms / 1_000
        self.core_failures = 0
        self.refusals = refusals or HttpRefusals()
        self.faults = FaultTable()
        keys = {credential.api_key: credential for credential in credentials}
        user_ids = {credential.account_id: credential.user_id for credential in credentials}
        self.hub = Hub(config.server, user_ids, self.faults)
        self.venue = Venue(config, journal, now_ns, self.hub.deliver, self._on_core_error)
        self.hub.bind(self.venue)
        limits = limits_of(config.rate_limits, config.switches.quote_rate_per_s)
        limiter = RateLimiter(limits, config.switches.rate_limit_penalty_ms)
        self.api = Api(self.venue, keys, limiter, self.faults, self.refusals, config.server.body_bytes_max)
        sockets = SocketServer(config, keys, self.hub, self.faults, now_ns)
        control = SimControl(
            self.venue,
            self.hub,
            self.faults,
            frozenset(user_ids),
            self.refusals,
            beyond_loopback=config.server.control_beyond_loopback,
        )
        routes: list[Any] = [self.api.route(endpoint) for endpoint in all_endpoints()]
        routes += sockets.routes()
        if paper and config.server.control_api:
            routes += control.routes()
        self.app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _wrong_method})

    def _on_core_error(self, error: Exception) -> None:
        self.core_failures += 1
        log.error("the core failed on a command and was folded anew", exc_info=error)

    async def serve(self, listener: socket.socket) -> None:
        """Serve on a bound socket and advance the market each step. Returns only by cancellation or failure."""
        self.venue.advance()
        server = HttpServer(
            self.app,
            self.refusals,
            protocol=self.http_protocol,
            ws=SocketProtocol,
            ws_ping_interval=None,
            ws_ping_timeout=None,
            ws_per_message_deflate=False,
            ws_max_size=REQUEST_FRAME_BYTES_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        serving = spawn(server.serve(sockets=[listener]), name="exchange http")
        keeping = spawn(self._keep_time(), name="exchange time", on_error=lambda _error: None)
        books = spawn(self._push_books(), name="exchange books", on_error=lambda _error: None)
        tasks = {serving, keeping, books}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in (serving, keeping, books):
                if task.done():
                    task.result()
        finally:
            keeping.cancel()
            books.cancel()
            self.hub.disconnect("/", "shutdown")
            server.should_exit = True
            await asyncio.wait(tasks)

    async def _keep_time(self) -> None:
        """Advance the market and push, once per step; a step that comes late is not made up for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._step_s, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                self.venue.advance()
            except ApiError:
                continue
            await self.hub.step()

    async def _push_books(self) -> None:
        while True:
            await asyncio.sleep(BOOK_PUSH_S)
            await self.hub.push_books()


async def _not_found(request: Request, error: Exception) -> Response:
    return json_response(failure(ApiError(URL_PATH)), 404)


async def _wrong_method(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 405
    return json_response(failure(ApiError(METHOD_NOT_SUPPORTED)), status)

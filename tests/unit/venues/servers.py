"""A small venue on real sockets that answers as it is told: correctly, wrongly, late, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def envelope(data: Any = None, *, code: Any = 0, msg: str | None = "Success") -> bytes:
    return msgspec.json.encode({"code": code, "msg": msg, "i18nArgs": None, "data": data})


class Call(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at_ns: int
    """When it came, on the monotonic clock."""
    connection: object
    """Which one it came on."""


class RestVenue:
    """Answers each path with what `then` queued for it, else with the last thing told by `always`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.clock_ahead_ms = 0
        self._queued: dict[str, deque[Handler]] = {}
        self._always: dict[str, Handler] = {"/time": self._time}
        self.url = ""

    def then(self, path: str, *handlers: Handler) -> None:
        self._queued.setdefault(path, deque()).extend(handlers)

    def always(self, path: str, handler: Handler) -> None:
        self._always[path] = handler

    def calls_of(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        at_ns = time.monotonic_ns()
        body = await request.read()
        self.calls.append(
            Call(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                body,
                at_ns,
                request.transport,
            )
        )
        queued = self._queued.get(request.path)
        handler = queued.popleft() if queued else self._always[request.path]
        return await handler(request)

    async def _time(self, request: web.Request) -> web.StreamResponse:
        return await ok({"serverTime": time.time_ns() // 1_000_000 + self.clock_ahead_ms})(request)


def ok(data: Any = None) -> Handler:
    return raw(envelope(data))


def refuse(code: Any, msg: str = "refused", *, status: int = 200) -> Handler:
    return raw(envelope(None, code=code, msg=msg), status=status)


def raw(body: bytes, *, status: int = 200) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type="application/json")

    return handler


async def drop(request: web.Request) -> web.StreamResponse:
    """Take the request and cut the connection instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(_request: web.Request) -> web.StreamResponse:
    """Take the request and never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")


async def cut_short(request: web.Request) -> web.StreamResponse:
    """Announce a body and cut the connection in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"code":0,')
    assert request.transport is not None
    request.transport.abort()
    return response


@asynccontextmanager
async def rest_venue() -> AsyncIterator[RestVenue]:
    venue = RestVenue()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    try:
        yield venue
    finally:
        await runner.cleanup()


class SocketVenue:
    """Acknowledges subscriptions and heartbeats while it is told to; pushes what a test gives it."""

    def __init__(self) -> None:
        self.handshakes: list[str] = []
        self.subscribed: list[dict[str, Any]] = []
        self.heartbeats = 0
        self.refuse_handshake = False
        self.acknowledge = True
        self.answer_heartbeats = True
        self.refused_data_types: set[str] = set()
        self.on_subscribed: Callable[[dict[str, Any]], list[str]] = lambda _frame: []
        self.connections: set[ServerConnection] = set()
        self.url = ""

    async def push(self, *frames: str) -> None:
        """Send to whoever is there; a client that is just leaving misses it."""
        for connection in list(self.connections):
            with suppress(ConnectionClosed):
                for frame in frames:
                    await connection.send(frame)

    async def disconnect(self) -> None:
        for connection in list(self.connections):
            connection.transport.abort()

    async def serve_one(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        try:
            with suppress(ConnectionClosed):
                async for text in connection:
                    await self._answer(connection, msgspec.json.decode(text))
        finally:
            self.connections.discard(connection)

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        if frame["action"] == "heartbeat":
            self.heartbeats += 1
            if self.answer_heartbeats:
                await connection.send('{"c":11,"rc":1}')
            return
        self.subscribed.append(frame)
        data_type = frame["dataType"]
        result = "error" if data_type in self.refused_data_types else "success"
        if self.acknowledge:
            answer = {"action": frame["action"].upper(), "dataType": data_type, "result": result}
            await connection.send(msgspec.json.encode(answer).decode())
        for push in self.on_subscribed(frame):
            await connection.send(push)

    def check(self, _connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request.path)
        if self.refuse_handshake:
            return _connection.respond(HTTPStatus.FORBIDDEN, "forbidden\n")
        return None


@asynccontextmanager
async def socket_venue() -> AsyncIterator[SocketVenue]:
    venue = SocketVenue()
    server: Server
    async with serve(venue.serve_one, "127.0.0.1", 0, process_request=venue.check, ping_interval=None) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        venue.url = f"ws://{host}:{port}"
        yield venue
        for connection in list(venue.connections):
            connection.transport.abort()


async def until(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is read, nothing announces it
            await asyncio.sleep(0.005)

"""uvicorn inside a service's loop, bounded: a client that stalls, floods or sends no HTTP costs a counter, not the
service. What was refused is counted by kind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.http_refusals import HttpRefusals


class BoundedHttp(HttpToolsProtocol):
    """One connection: few beside it, and a request on it that is whole soon.

    request_s: how long a client may take to send one whole request, or to begin its first. connections_max: far below
    the usual limit of open files, which everything else in the process shares.
    """

    request_s = 20.0
    connections_max = 400

    def __init__(self, *args: Any, refusals: HttpRefusals, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusals = refusals
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._refusals.add("crowd")
            transport.abort()
        else:
            self._expect_whole_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_is_whole()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._expect_whole_request()
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        self._refusals.add("garbage")
        super().send_400_response(msg)

    def handle_websocket_upgrade(self) -> None:
        self._request_is_whole()
        super().handle_websocket_upgrade()

    def on_message_complete(self) -> None:
        self._request_is_whole()
        super().on_message_complete()

    def _expect_whole_request(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.request_s, self._is_late)

    def _request_is_whole(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._refusals.add("late")
        self.transport.abort()


class HttpServer(uvicorn.Server):
    """An application on a bound socket, until cancelled. Leaves the signals to the service.

    options: those of uvicorn, beside the ones that are the same for all our servers.
    """

    def __init__(
        self, app: Any, refusals: HttpRefusals, *, protocol: type[BoundedHttp] = BoundedHttp, **options: Any
    ):
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(protocol, refusals=refusals),  # type: ignore[arg-type]
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                **options,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

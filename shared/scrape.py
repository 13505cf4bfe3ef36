"""Answers Prometheus on a thread of its own, bounded: a client that stalls or floods costs a counter."""

from __future__ import annotations

import sys
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from shared.http_refusals import HttpRefusals

_AT_ONCE_MAX = 16


class ScrapeHandler(WSGIRequestHandler):
    """One scrape. `timeout`: the longest silence of a client, in seconds."""

    timeout = 10.0

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""

    def send_error(self, *args: Any, **kwargs: Any) -> None:
        """What was sent is no HTTP."""
        assert isinstance(self.server, ScrapeServer), "it serves nobody else"
        self.server.refusals.add("garbage")
        super().send_error(*args, **kwargs)


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """At most so many clients at once, further ones are closed unread."""

    daemon_threads = True
    request_queue_size = 64
    refusals: HttpRefusals

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._busy = threading.Semaphore(_AT_ONCE_MAX)
        super().__init__(*args, **kwargs)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._busy.acquire(blocking=False):
            self.refusals.add("crowd")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._busy.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, TimeoutError):
            self.refusals.add("late")
        elif isinstance(error, OSError):
            self.refusals.add("cut")
        else:
            self.refusals.add("garbage")


def serve_metrics(
    registry: CollectorRegistry,
    port: int,
    refusals: HttpRefusals,
    handler: type[ScrapeHandler] = ScrapeHandler,
    host: str = "127.0.0.1",
) -> tuple[ScrapeServer, threading.Thread]:
    """Answer on `host` until shut down. Raises OSError when the port is taken."""
    server = make_server(host, port, make_wsgi_app(registry), ScrapeServer, handler)
    server.refusals = refusals
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return server, thread

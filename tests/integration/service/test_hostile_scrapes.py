"""Whatever connects to a service's metrics port: scrapes go on, threads and the log stay few."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from shared.http_refusals import HttpRefusals
from shared.scrape import ScrapeHandler, ScrapeServer, serve_metrics
from tests.hostile_http import HttpForger, exchange
from tests.integration.bus.harness import until

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Impatient(ScrapeHandler):
    timeout = 0.5


@pytest.fixture
def refusals() -> HttpRefusals:
    return HttpRefusals()


@pytest.fixture
def server(refusals: HttpRefusals) -> Iterator[ScrapeServer]:
    registry = CollectorRegistry()
    Counter("something", "counted", registry=registry).inc()
    server, thread = serve_metrics(registry, 0, refusals, Impatient)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def is_scraped(server: ScrapeServer) -> None:
    """A scrape is answered; on a busy machine one may be too slow for who is so impatient."""
    async with asyncio.timeout(60):
        while b"something_total 1.0" not in (await exchange(server.server_port, SCRAPE)).body:
            pass


async def test_hostile_requests_are_answered_and_leave_no_traceback(
    server: ScrapeServer, refusals: HttpRefusals, capfd: pytest.CaptureFixture[str]
) -> None:
    for data in HttpForger(1, [("GET", "/metrics"), ("GET", "/")]).requests(300):
        answer = await exchange(server.server_port, data)
        assert answer.status < 500, (data[:500], answer)
    await is_scraped(server)
    assert refusals.counts["garbage"] > 10
    assert capfd.readouterr() == ("", "")


async def test_clients_that_stall_are_cut_and_a_crowd_makes_no_threads(
    server: ScrapeServer, refusals: HttpRefusals
) -> None:
    before = threading.active_count()
    clients = [await asyncio.open_connection("127.0.0.1", server.server_port) for _ in range(100)]
    for _, writer in clients:
        writer.write(b"GET /metr")
    await until(lambda: refusals.counts["crowd"] > 0)
    assert threading.active_count() <= before + 16
    await until(lambda: refusals.counts["late"] + refusals.counts["crowd"] + refusals.counts["cut"] == 100)
    await is_scraped(server)
    for _, writer in clients:
        writer.transport.abort()

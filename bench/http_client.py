"""What one REST call costs the client: plain httpx, httpx over aiohttp, our transport, bare aiohttp.

A POST of an order (about 290 bytes) with keep-alive to a minimal server in a process of its own, on loopback, all
connections warm.

    python -m bench.http_client [--json] [--quick]
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from statistics import median
from typing import Any, cast

import aiohttp
import httpx
import httpx_aiohttp
import msgspec
import uvloop
from yarl import URL

from bench.harness import Run, bench_main
from bench.rows import Row, at_most, ratio_at_least, row
from shared.secrets import ApiKey
from shared.venues.coincall.endpoints import CREATE_ORDER
from shared.venues.coincall.limits import CallWindow, RateLimit
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.transport import HttpTransport

ROUNDS = 3
REQUESTS = 3_200
IN_FLIGHT = (1, 16)
FLOOR = "bare aiohttp"
GATEWAY = "gateway order call, signed"
_ORDER = msgspec.json.encode(
    {
        "symbol": "BTCUSD-26JUN26-100000-C",
        "tradeSide": 1,
        "tradeType": 1,
        "qty": 0.5,
        "price": 1250.5,
        "clientOrderId": 7530219456123456789,
        "timeInForce": "GTC",
        "reduceOnly": 0,
        "remark": "x" * 120,
    }
)
_REPLY = b'{"code":0,"msg":"Success","i18nArgs":null,"data":2075207494989787138}'
_HEADERS = {
    "X-CC-APIKEY": "k" * 44,
    "sign": "A" * 64,
    "ts": "1750000000000",
    "X-REQ-TS-DIFF": "5000",
    "Content-Type": "application/json",
}
_PATH = CREATE_ORDER.path

Call = Callable[[], Awaitable[object]]
Close = Callable[[], Awaitable[None]]


class _Server(asyncio.Protocol):
    """Answers every request with the same bytes; understands just enough HTTP for that."""

    _answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(_REPLY),
        _REPLY,
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            length = 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._transport.write(self._answer)


def _serve(port: Any, ready: Event) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    uvloop.run(run())


def _plain_httpx(base: str) -> tuple[Call, Close]:
    client = httpx.AsyncClient(base_url=base, limits=httpx.Limits(max_connections=16, max_keepalive_connections=16))
    return lambda: client.post(_PATH, content=_ORDER, headers=_HEADERS), client.aclose


def _httpx_aiohttp(base: str) -> tuple[Call, Close]:
    client = httpx.AsyncClient(base_url=base, transport=httpx_aiohttp.AiohttpTransport())
    return lambda: client.post(_PATH, content=_ORDER, headers=_HEADERS), client.aclose


def _our_transport(base: str) -> tuple[Call, Close]:
    transport = HttpTransport()
    url, headers = URL(base + _PATH), list(_HEADERS.items())
    return lambda: transport.send("POST", url, headers, _ORDER, connect_s=2.0), transport.close


def _gateway_call(base: str) -> tuple[Call, Close]:
    """As orders go out: budget, signature, time-out, envelope."""
    rest = RestClient(base, ApiKey(key="k" * 44, secret="s" * 64))
    rest._windows["place"] = CallWindow(RateLimit(10_000_000, 1_000), 1.0)
    params = msgspec.json.decode(_ORDER, type=dict[str, Any])
    params.update(qty=0, price=1250)
    return lambda: rest.send(CREATE_ORDER, params, "close"), rest.close


def _bare_aiohttp(base: str) -> tuple[Call, Close]:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16), cookie_jar=aiohttp.DummyCookieJar())

    async def call() -> object:
        async with session.post(base + _PATH, data=_ORDER, headers=_HEADERS) as answer:
            return await answer.read()

    return call, session.close


CLIENTS: dict[str, Callable[[str], tuple[Call, Close]]] = {
    "httpx": _plain_httpx,
    "httpx + httpx-aiohttp": _httpx_aiohttp,
    "our transport": _our_transport,
    GATEWAY: _gateway_call,
    FLOOR: _bare_aiohttp,
}


async def _measure(
    make: Callable[[str], tuple[Call, Close]], base: str, in_flight: int, requests: int
) -> list[float]:
    """p50 and p99 in µs, requests per second, client CPU in µs per request."""
    call, close = make(base)
    latencies: list[float] = []

    async def worker(count: int, times: list[float]) -> None:
        for _ in range(count):
            started = time.perf_counter()
            await call()
            times.append((time.perf_counter() - started) * 1e6)

    async def burst(count: int, times: list[float]) -> None:
        await asyncio.gather(*(worker(count // in_flight, times) for _ in range(in_flight)))

    await burst(max(160, requests // 10), [])
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await burst(requests, latencies)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await close()
    latencies.sort()
    done = len(latencies)
    return [latencies[done // 2], latencies[min(done - 1, done * 99 // 100)], done / wall, cpu / done * 1e6]


@contextmanager
def server() -> Iterator[str]:
    """The minimal server in a process of its own; its address."""
    context = multiprocessing.get_context("spawn")
    port, ready = context.Value("i", 0), context.Event()
    process = context.Process(target=_serve, args=(port, ready), daemon=True)
    process.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port.value}"
    finally:
        process.terminate()
        process.join()


def bare_calls_per_s(in_flight: int, requests: int) -> float:
    """How many order calls a second bare aiohttp makes to that server."""
    with server() as base:
        return uvloop.run(_measure(_bare_aiohttp, base, in_flight, requests))[2]


def cpu_row(name: str, in_flight: int, ours: list[float], floor: list[float]) -> Row:
    p50, p99, rate, cpu = ours
    note = f"p50 {p50:,.0f} µs, p99 {p99:,.0f} µs, {rate:,.0f} calls/s beside {floor[2]:,.0f}"
    return row(
        f"{name}, {in_flight} in flight, CPU a call",
        cpu,
        "µs",
        beside=FLOOR,
        beside_value=floor[3],
        target=at_most(200) if name == GATEWAY else None,
        note=note,
    )


def measure(run: Run) -> list[Row]:
    found: dict[tuple[str, int], list[list[float]]] = {}
    with server() as base:
        for _ in run.rounds(ROUNDS, "http_client"):
            for name, make in CLIENTS.items():
                for in_flight in IN_FLIGHT:
                    found.setdefault((name, in_flight), []).append(
                        uvloop.run(_measure(make, base, in_flight, REQUESTS // (4 if run.quick else 1)))
                    )
    middle = {key: [median(column) for column in zip(*rounds, strict=True)] for key, rounds in found.items()}
    rows = [
        cpu_row(name, n, middle[name, n], middle[FLOOR, n]) for n in IN_FLIGHT for name in CLIENTS if name != FLOOR
    ]
    one, many = (middle[GATEWAY, n][2] for n in IN_FLIGHT)
    beside = f"{IN_FLIGHT[0]} in flight"
    what = f"{GATEWAY}, {IN_FLIGHT[-1]} in flight"
    rows.append(row(what, many, "calls/s", beside=beside, beside_value=one, target=ratio_at_least(1.5)))
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))

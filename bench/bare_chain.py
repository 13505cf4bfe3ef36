"""The hops from tick to order without a desk: one process per hop, the same frames, no logic.

    python -m bench.bare_chain ROLE HOME

ROLE is exchange, marketdata, strategy, risk or execution; HOME has the `Sample` to repeat in `sample.msgpack`. The
exchange pushes an index tick over WebSocket and notes when the order's bytes arrive; market data publishes, the
strategy asks risk and then execution, execution commits the rows in one transaction and sends the order's bytes over
a connection that is kept alive. uvloop, msgspec and pyzmq on the loop's descriptor, as in the desk.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop
import zmq
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from services.execution.rows import Row, TradeRequested
from shared.bus.frames import Header, decode_frame, encode_frame
from shared.messages.control import GrantGiven, RequestGrant
from shared.messages.market import IndexPrice
from shared.messages.trades import OpenTrade

ROLES = ("exchange", "marketdata", "strategy", "risk", "execution")
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{"code":0,"msg":"Success"}'


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one decision of the real desk looked like. `phase_ns` is when in a step the bare exchange ticks.

    tcp_ports: by the name of a socket, where it is on loopback instead of ipc. curve: the public and the secret key
    in Z85 that both ends of each connection use there; None for plain sockets.
    """

    tick: str
    request: bytes
    rows: tuple[Row, ...]
    open_trade: OpenTrade
    step_ns: int
    phase_ns: int
    tcp_ports: dict[str, int] = {}
    curve: tuple[bytes, bytes] | None = None

    def endpoint(self, home: Path, name: str) -> str:
        return f"tcp://127.0.0.1:{self.tcp_ports[name]}" if self.tcp_ports else f"ipc://{home}/{name}"


class Tick(msgspec.Struct):
    """The fields of the WebSocket frame that count."""

    d: dict[str, Any]
    ts: int


class BareSocket:
    """A ZeroMQ socket on the loop's descriptor: drained when it fires and after each send."""

    def __init__(self, kind: int, deliver: Callable[[list[bytes]], None]) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        self._deliver = deliver
        self._multipart = kind == zmq.ROUTER

    def register(self) -> None:
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._drain)
        self._drain()

    def send(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts, zmq.NOBLOCK)
        asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        while True:
            try:
                parts = (
                    self.socket.recv_multipart(zmq.NOBLOCK) if self._multipart else [self.socket.recv(zmq.NOBLOCK)]
                )
            except zmq.Again:
                return
            self._deliver(parts)


def bound(home: Path, sample: Sample, name: str, kind: int, deliver: Callable[[list[bytes]], None]) -> BareSocket:
    bare = BareSocket(kind, deliver)
    if sample.curve is not None:
        bare.socket.setsockopt(zmq.CURVE_SERVER, 1)
        bare.socket.setsockopt(zmq.CURVE_SECRETKEY, sample.curve[1])
    bare.socket.bind(sample.endpoint(home, name))
    bare.register()
    return bare


def connected(home: Path, sample: Sample, name: str, kind: int, deliver: Callable[[list[bytes]], None]) -> BareSocket:
    bare = BareSocket(kind, deliver)
    if kind == zmq.SUB:
        bare.socket.setsockopt(zmq.SUBSCRIBE, b"")
    if sample.curve is not None:
        bare.socket.setsockopt(zmq.CURVE_SERVERKEY, sample.curve[0])
        bare.socket.setsockopt(zmq.CURVE_PUBLICKEY, sample.curve[0])
        bare.socket.setsockopt(zmq.CURVE_SECRETKEY, sample.curve[1])
    bare.socket.connect(sample.endpoint(home, name))
    bare.register()
    return bare


def header(name: str) -> Header:
    return Header(name, 1, 1, f"{name}.18e9c6d5ea305818.1", "", time.time_ns())


class OrderProtocol(asyncio.Protocol):
    """Notes when a request has arrived and answers it."""

    def __init__(self, note: Callable[[str, int], None]) -> None:
        self._note = note
        self._transport: Any = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        arrived_ns = time.time_ns()
        self._read += data
        head, separator, body = self._read.partition(b"\r\n\r\n")
        if separator and len(body) >= content_length(head):
            self._note("order", arrived_ns)
            self._read = b""
            self._transport.write(ANSWER)


def content_length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name.lower() == b"content-length"), 0)


async def exchange(home: Path, sample: Sample) -> None:
    file = (home / "bare.stamps").open("w", buffering=1)

    def note(what: str, at_ns: int) -> None:
        file.write(json.dumps([what, at_ns]) + "\n")

    async def push(client: ServerConnection) -> None:
        due_ns = time.time_ns() // sample.step_ns * sample.step_ns + sample.phase_ns
        while True:
            due_ns += sample.step_ns
            await asyncio.sleep(max(0, due_ns - time.time_ns()) / 1e9)
            now_ns = time.time_ns()
            await client.send(sample.tick)
            note("tick", now_ns)

    server = await asyncio.get_running_loop().create_server(lambda: OrderProtocol(note), "127.0.0.1", 0)
    async with serve(push, "127.0.0.1", 0, compression=None) as sockets:
        ports = {
            "orders": server.sockets[0].getsockname()[1],
            "ticks": next(iter(sockets.sockets)).getsockname()[1],
        }
        temporary = home / "ports.tmp"
        temporary.write_text(json.dumps(ports))
        temporary.replace(home / "ports.json")
        await asyncio.get_running_loop().create_future()


def ports_of(home: Path) -> dict[str, int]:
    """Where the exchange listens, once it does. Blocks: nothing else is running yet."""
    while not (home / "ports.json").exists():
        time.sleep(0.05)
    ports: dict[str, int] = json.loads((home / "ports.json").read_text())
    return ports


async def marketdata(home: Path, sample: Sample) -> None:
    publisher = bound(home, sample, "ticks", zmq.XPUB, lambda _: None)
    decoder = msgspec.json.Decoder(Tick)
    port = ports_of(home)["ticks"]
    async with connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None) as socket:
        while True:
            tick = decoder.decode(await socket.recv(decode=False))
            now_ns = time.time_ns()
            price = IndexPrice(
                underlying=tick.d["s"], price=float(tick.d["pr"]), venue_ns=tick.ts * 1_000_000, received_ns=now_ns
            )
            publisher.send(encode_frame("md.BTCUSD.index", header("marketdata"), price))


async def strategy(home: Path, sample: Sample) -> None:
    received_ns = made_ns = 0
    opening = sample.open_trade

    def on_tick(parts: list[bytes]) -> None:
        nonlocal received_ns, made_ns
        price = decode_frame(parts[0]).message
        assert isinstance(price, IndexPrice)
        received_ns, made_ns = price.received_ns, time.time_ns()
        ask = RequestGrant(
            intent_id=opening.intent_id,
            account_id=opening.account_id,
            strategy=opening.strategy,
            legs=opening.legs,
            execution_mode=opening.execution_mode,
            max_loss_usd=opening.max_loss_usd,
            valid_until_ns=made_ns,
        )
        risk_socket.send(encode_frame("request", header("strategy"), ask))

    def on_grant(parts: list[bytes]) -> None:
        given = decode_frame(parts[0]).message
        assert isinstance(given, GrantGiven)
        order = msgspec.structs.replace(
            opening, grant=given.grant, hard_deadline_ns=received_ns, valid_until_ns=made_ns
        )
        execution_socket.send(encode_frame("request", header("strategy"), order))

    risk_socket = connected(home, sample, "risk", zmq.DEALER, on_grant)
    execution_socket = connected(home, sample, "execution", zmq.DEALER, lambda _: None)
    ticks = connected(home, sample, "ticks", zmq.SUB, on_tick)
    await asyncio.get_running_loop().create_future()
    ticks.socket.close()


async def risk(home: Path, sample: Sample) -> None:
    def on_request(parts: list[bytes]) -> None:
        decode_frame(parts[1])
        grant = msgspec.structs.replace(sample.open_trade.grant, issued_ns=time.time_ns())
        server.send(parts[0], encode_frame("reply", header("risk"), GrantGiven(grant=grant)))

    server = bound(home, sample, "risk", zmq.ROUTER, on_request)
    await asyncio.get_running_loop().create_future()


async def execution(home: Path, sample: Sample) -> None:
    connection = sqlite3.connect(home / "bare.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, row BLOB NOT NULL)"
    )
    encoder = msgspec.msgpack.Encoder()
    port = ports_of(home)["orders"]
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)

    def on_request(parts: list[bytes]) -> None:
        order = decode_frame(parts[1]).message
        now_ns = time.time_ns()
        assert isinstance(order, OpenTrade)
        rows = [
            msgspec.structs.replace(row, request=order) if isinstance(row, TradeRequested) else row
            for row in sample.rows
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO entries (at_ns, row) VALUES (?, ?)", [(now_ns, encoder.encode(row)) for row in rows]
        )
        connection.execute("COMMIT")
        transport.write(sample.request)

    server = bound(home, sample, "execution", zmq.ROUTER, on_request)
    await asyncio.get_running_loop().create_future()
    server.socket.close()


def main() -> None:
    role, home = sys.argv[1], Path(sys.argv[2])
    sample = msgspec.msgpack.decode((home / "sample.msgpack").read_bytes(), type=Sample)
    hops = {
        "exchange": exchange,
        "marketdata": marketdata,
        "strategy": strategy,
        "risk": risk,
        "execution": execution,
    }
    uvloop.run(hops[role](home, sample))


if __name__ == "__main__":
    main()

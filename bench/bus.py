"""The bus beside bare pyzmq on the same event loop: round trips, and messages one way.

    python -m bench.bus [--json] [--quick]

Two processes over ipc, uvloop on both sides. The floor of the round trip is a DEALER and a ROUTER on the loop's file
descriptor that pass the same bytes unread; ours encodes, decodes, keeps deadlines and answers. The floor of one way
is an XPUB and a SUB that encode and decode the same array into the same classes; ours numbers, keeps what a late
joiner needs, checks for gaps and delivers. Both run alternately; figures are medians over rounds.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, perf_counter_ns
from typing import Any

import msgspec
import uvloop
import zmq

from bench.harness import Run, bench_main
from bench.rows import Row, Target, ratio_at_least, ratio_at_most, row
from shared.bus import Bus
from shared.bus.endpoints import socket_path
from shared.bus.frames import Header, encode_frame
from shared.bus.sockets import LoopSocket
from shared.config import DeskConfig, load_config
from shared.messages.control import AccountAnswer, GetAccount
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Heartbeat
from shared.messages.trades import CancelAccepted, CancelOrders, OrderUpdate

CONFIG = """
[desk]
venue = "sim"
underlyings = ["BTCUSD"]
[bus]
publish_queue = 1000000
event_queue = 1000000
"""
TOPIC = "exec.main.order"
ROUNDS = 5
ROUND_TRIPS = 3_000
MESSAGES = 50_000
SLICE = 500
UNLIMITED: dict[int, int] = {zmq.SNDHWM: 0, zmq.RCVHWM: 0}


class WireOrder(msgspec.Struct, array_like=True):
    """The array of a frame with its body typed, as the bare loop reads it."""

    schema: str
    publisher: str
    epoch: int
    sequence: int
    message_id: str
    cause_id: str
    published_ns: int
    body: OrderUpdate


def order(number: int) -> OrderUpdate:
    return OrderUpdate(
        client_order_id=number,
        venue_order_id=number + 1,
        account_id="main",
        trade_id="t59876543",
        leg_index=0,
        purpose="open",
        attempt=1,
        symbol="BTCUSD-28AUG26-110000-C",
        side="buy",
        quantity=Decimal("0.25"),
        price=Decimal("1250.5"),
        filled_quantity=Decimal("0.10"),
        average_price=Decimal("1250.1"),
        state="WORKING",
        reason="",
        reduce_only=False,
        created_ns=1_790_000_000_000_000_000,
        updated_ns=1_790_000_000_100_000_000,
    )


def heartbeat(newest: dict[str, int]) -> Heartbeat:
    return Heartbeat(
        service="execution",
        account_id="main",
        mode="paper",
        venue="sim",
        pid=1,
        epoch=1,
        started_ns=1,
        beat_ns=1,
        starts=1,
        ready=True,
        detail="",
        event_sequences=newest,
    )


def address(desk: DeskConfig) -> str:
    return f"ipc://{socket_path(desk.run_dir, 'bare')}"


def bare_socket(kind: int, deliver: Callable[[list[list[bytes]]], None]) -> LoopSocket:
    return LoopSocket(zmq.Context.instance(), kind, UNLIMITED, deliver)


async def serve_ours(desk: DeskConfig) -> None:
    bus = Bus("execution", desk)
    bus.open(heartbeat)

    def publish(first: int) -> None:
        for number in range(first, first + SLICE):
            bus.publish(TOPIC, order(number))
        if first + SLICE < MESSAGES:
            asyncio.get_running_loop().call_soon(publish, first + SLICE)

    def answer(request: Any) -> None:
        if isinstance(request.message, CancelOrders):
            bus.reply(request.request_id, CancelAccepted(client_order_ids=()))
            publish(0)
        else:
            bus.reply(request.request_id, AccountAnswer(account=None))

    bus.serve(answer)
    await asyncio.get_running_loop().create_future()


async def serve_bare_echo(desk: DeskConfig) -> None:
    def echo(batch: list[list[bytes]]) -> None:
        for parts in batch:
            socket.send(*parts)

    socket = bare_socket(zmq.ROUTER, echo)
    socket.bind(address(desk))
    await asyncio.get_running_loop().create_future()


async def serve_bare_publish(desk: DeskConfig) -> None:
    encoder = msgspec.msgpack.Encoder()

    def publish(first: int) -> None:
        for number in range(first, first + SLICE):
            array = WireOrder("order.1", "execution", 1, number, f"execution.1.{number}", "", 1, order(number))
            socket.send(b"exec.main.order\0" + encoder.encode(array))
        if first + SLICE < MESSAGES:
            asyncio.get_running_loop().call_soon(publish, first + SLICE)

    socket = bare_socket(zmq.XPUB, lambda _: publish(0))
    socket.bind(address(desk))
    await asyncio.get_running_loop().create_future()


async def round_trips_ours(desk: DeskConfig) -> list[float]:
    times: list[float] = []
    async with Bus("risk", desk) as bus:
        await bus.ask("execution", GetAccount(), 10_000)
        for _ in range(ROUND_TRIPS):
            begun = perf_counter_ns()
            await bus.ask("execution", GetAccount())
            times.append((perf_counter_ns() - begun) / 1_000)
    return times


async def round_trips_bare(desk: DeskConfig) -> list[float]:
    data = encode_frame("request", Header("risk", 1, 0, "risk.18e9c6d5ea305818.ask.1", "", 1), GetAccount())
    loop = asyncio.get_running_loop()
    times: list[float] = []
    done = loop.create_future()
    begun = perf_counter_ns()

    def answered(_: list[list[bytes]]) -> None:
        nonlocal begun
        times.append((perf_counter_ns() - begun) / 1_000)
        if len(times) > ROUND_TRIPS:
            done.set_result(None)
            return
        begun = perf_counter_ns()
        socket.send(data)

    socket = bare_socket(zmq.DEALER, answered)
    socket.connect(address(desk))
    socket.send(data)
    await done
    socket.close()
    return times[1:]


async def one_way_ours(desk: DeskConfig) -> list[float]:
    loop = asyncio.get_running_loop()
    synced, done = loop.create_future(), loop.create_future()
    count, begun = 0, 0.0

    def heard(item: Inbound | StreamSynced) -> None:
        nonlocal count, begun
        if isinstance(item, StreamSynced):
            synced.set_result(None)
            return
        count += 1
        if count == 1:
            begun = perf_counter()
        elif count == MESSAGES:
            done.set_result(MESSAGES / (perf_counter() - begun))

    async with Bus("risk", desk) as bus:
        bus.subscribe("execution", ["exec."], heard)
        await synced
        await bus.ask("execution", CancelOrders(requested_by="bench"))
        return [await done]


async def one_way_bare(desk: DeskConfig) -> list[float]:
    decoder = msgspec.msgpack.Decoder(WireOrder)
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    count, begun = 0, 0.0

    def heard(batch: list[list[bytes]]) -> None:
        nonlocal count, begun
        for (data,) in batch:
            decoder.decode(data.partition(b"\0")[2])
            count += 1
            if count == 1:
                begun = perf_counter()
            elif count == MESSAGES:
                done.set_result(MESSAGES / (perf_counter() - begun))

    socket = bare_socket(zmq.SUB, heard)
    socket.subscribe(b"exec.")
    socket.connect(address(desk))
    rate = await done
    socket.close()
    return [rate]


PEERS = {"ours": serve_ours, "echo": serve_bare_echo, "publish": serve_bare_publish}


def with_peer(peer: str, work: Callable[[DeskConfig], Awaitable[list[float]]]) -> list[float]:
    """Run one side here and the other in its own process, in a fresh directory."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "voldesk.toml"
        path.write_text(CONFIG)
        process = subprocess.Popen([sys.executable, "-m", "bench.bus", "--peer", peer, "--config", str(path)])
        try:
            return uvloop.run(asyncio.wait_for(work(load_config(path, {})), timeout=60))
        finally:
            process.kill()
            process.wait()


def measure(run: Run) -> list[Row]:
    trips: dict[str, list[list[float]]] = {"ours": [], "floor": []}
    rates: dict[str, list[float]] = {"ours": [], "floor": []}
    for _ in run.rounds(ROUNDS, "bus"):
        trips["ours"].append(with_peer("ours", round_trips_ours))
        trips["floor"].append(with_peer("echo", round_trips_bare))
        rates["ours"] += with_peer("ours", one_way_ours)
        rates["floor"] += with_peer("publish", one_way_bare)

    def percentile(side: str, percent: int) -> float:
        return median(quantiles(times, n=100)[percent - 1] for times in trips[side])

    def trip(percent: int, target: Target | None) -> Row:
        ours, floor = percentile("ours", percent), percentile("floor", percent)
        name = f"bus round trip p{percent}"
        return row(name, ours, "µs", beside="bare pyzmq, same bytes", beside_value=floor, target=target)

    return [
        trip(50, ratio_at_most(1.3)),
        trip(99, None),
        row(
            "bus throughput",
            median(rates["ours"]),
            "messages/s",
            beside="bare pyzmq and msgspec, same bytes",
            beside_value=median(rates["floor"]),
            target=ratio_at_least(0.7),
        ),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", choices=sorted(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)


def measure_or_serve(run: Run) -> list[Row]:
    if run.arguments.peer:
        uvloop.run(PEERS[run.arguments.peer](load_config(run.arguments.config, {})))
    return measure(run)


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure_or_serve, add_arguments))

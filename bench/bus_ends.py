"""The processes of bench/bus.py and bench/account.py: both ends of the bus, and both of a bare pyzmq loop.

    python -m bench.bus_ends {ours-server,ours-client,account-client,bare-server,bare-client} RUN_DIR

The bare loop is as small as a correct one can be: the socket's descriptor on the event loop, drained until it is
empty, looked at again after a send, because sending can consume the edge.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop
import zmq

from bench.workers import obey
from shared.bus import Bus
from shared.bus.frames import Header, encode_frame
from shared.config import DeskConfig, load_config
from shared.messages.control import AccountAnswer, GetAccount
from shared.messages.steps import Inbound, ReplyReceived, RequestTimedOut, SendRequest, StreamSynced
from shared.messages.system import Heartbeat
from shared.messages.trades import OrderUpdate

CONFIG = """
[desk]
venue = "sim"
underlyings = ["BTCUSD"]
[bus]
publish_queue = 1000000
event_queue = 1000000
"""
TOPIC = "exec.main.order"
PREFIX = b"exec.main.order\0"
REPLY_FILE = "reply"
SLICE = 500
ORDERS = 2_000
TICK_S = 0.001
WAIT_S = 60.0
NOBLOCK, POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)

Commands = dict[str, Callable[..., Awaitable[Any]]]


class WireOrder(msgspec.Struct, array_like=True):
    """The array of a frame with its body typed, as the bare loop writes and reads it."""

    schema: str
    publisher: str
    epoch: int
    sequence: int
    message_id: str
    cause_id: str
    published_ns: int
    body: OrderUpdate


def order(number: int, stamp_ns: int = 0) -> OrderUpdate:
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
        updated_ns=stamp_ns or 1_790_000_000_100_000_000,
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


async def cpu() -> float:
    return time.process_time()


class Publishing:
    """Publishes `count` orders: as fast as it goes, or at a rate, in bursts of what is due once per millisecond."""

    def __init__(self, publish: Callable[[OrderUpdate], object], after_burst: Callable[[], None]) -> None:
        self._publish = publish
        self._after_burst = after_burst
        self._orders = [order(number) for number in range(ORDERS)]

    async def run(self, count: int, rate: float) -> int:
        done = asyncio.get_running_loop().create_future()
        if rate:
            self._paced(0, count, rate, time.perf_counter(), done)
        else:
            self._at_once(count, done)
        await done
        return count

    def _at_once(self, left: int, done: asyncio.Future[None]) -> None:
        publish, orders = self._publish, self._orders
        for number in range(min(SLICE, left)):
            publish(orders[number])
        self._after_burst()
        if left > SLICE:
            asyncio.get_running_loop().call_soon(self._at_once, left - SLICE, done)
        else:
            done.set_result(None)

    def _paced(self, sent: int, count: int, rate: float, begun: float, done: asyncio.Future[None]) -> None:
        due = min(count, 1 + int((time.perf_counter() - begun) * rate))
        for number in range(sent, due):
            self._publish(order(number % ORDERS, time.perf_counter_ns()))
        self._after_burst()
        if due == count:
            done.set_result(None)
            return
        wait_s = max(TICK_S, 1 / rate)
        asyncio.get_running_loop().call_later(wait_s, self._paced, due, count, rate, begun, done)


class Listening:
    """Counts orders: the rate from the first to the last, and each one's age in µs where it bears a stamp."""

    def __init__(self) -> None:
        self._left = 0
        self.ages_us: list[float] | None = None
        self.expect_now(0, stamped=False)

    def expect_now(self, count: int, *, stamped: bool) -> None:
        self._count = self._left = count
        self._begun = 0.0
        self.ages_us = [] if stamped else None
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def expect(self, count: int, stamped: bool) -> str:
        self.expect_now(count, stamped=stamped)
        return "listening"

    async def collect(self) -> dict[str, Any]:
        seconds = await asyncio.wait_for(self._done, WAIT_S)
        return {"per_s": self._count / seconds, "ages_us": self.ages_us}

    def heard(self, message: OrderUpdate) -> None:
        if self.ages_us is not None:
            self.ages_us.append((time.perf_counter_ns() - message.updated_ns) / 1_000)
        if self._left == self._count:
            self._begun = time.perf_counter()
        self._left -= 1
        if self._left == 0:
            self._done.set_result(time.perf_counter() - self._begun)


async def ours_server(desk: DeskConfig) -> None:
    bus = Bus("execution", desk)
    bus.open(heartbeat)
    bus.serve(lambda request: bus.reply(request.request_id, AccountAnswer(account=None)))
    publishing = Publishing(partial(bus.publish, TOPIC), lambda: None)
    await obey({"publish": publishing.run, "cpu": cpu})


async def ours_client(desk: DeskConfig) -> None:
    async with Bus("risk", desk) as bus:
        await obey({**requests_of(bus, "execution"), **await listening_of(bus), "cpu": cpu})


async def account_client(desk: DeskConfig) -> None:
    """Asks risk for the account, and keeps the answer's bytes for the bare loop."""
    async with Bus("strategy", desk) as bus:
        answer = await bus.ask("risk", GetAccount(), int(WAIT_S * 1_000))
        assert isinstance(answer, AccountAnswer), answer
        assert answer.account is not None, "risk has its account"
        (desk.run_dir / REPLY_FILE).write_bytes(reply_bytes(answer))
        await obey(requests_of(bus, "risk"))


def requests_of(bus: Bus, service: str) -> Commands:
    """Round trips as a core makes them (`trips`) and as the command line does (`asks`); µs each."""
    number = 0

    async def trips(count: int) -> list[float]:
        nonlocal number
        done = asyncio.get_running_loop().create_future()
        times: list[float] = []
        begun = 0

        def send() -> None:
            nonlocal begun, number
            number += 1
            begun = time.perf_counter_ns()
            bus.send_request(SendRequest(service, GetAccount(), f"risk.18e9c6d5ea305818.{number}"), answered)

        def answered(answer: ReplyReceived | RequestTimedOut) -> None:
            assert isinstance(answer, ReplyReceived), "the server did not answer"
            times.append((time.perf_counter_ns() - begun) / 1_000)
            if len(times) == count:
                done.set_result(None)
            else:
                send()

        send()
        await done
        return times

    async def asks(count: int) -> list[float]:
        times = []
        for _ in range(count):
            begun = time.perf_counter_ns()
            await bus.ask(service, GetAccount(), 10_000)
            times.append((time.perf_counter_ns() - begun) / 1_000)
        return times

    return {"trips": trips, "asks": asks}


async def listening_of(bus: Bus) -> Commands:
    listening = Listening()
    synced = asyncio.get_running_loop().create_future()

    def heard(item: Inbound | StreamSynced) -> None:
        if isinstance(item, Inbound):
            listening.heard(item.message)  # type: ignore[arg-type]  # nothing but orders is published
        else:
            synced.set_result(None)

    bus.subscribe("execution", ["exec."], heard)
    await asyncio.wait_for(synced, WAIT_S)
    return {"expect": listening.expect, "collect": listening.collect}


class BareSocket:
    """A ZeroMQ socket on the loop's descriptor and nothing else."""

    def __init__(self, kind: int, receive: Callable[[zmq.Socket[bytes]], object], *, many: bool = False) -> None:
        self._drain = self.drain_all if many else self.drain
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
        self._receive = receive
        for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
            self.socket.setsockopt(option, 0)

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._drain)
        self._drain()

    def look_again(self) -> None:
        """After a send: what came meanwhile raises no edge any more."""
        if self.socket.get(zmq.EVENTS) & POLLIN:  # type: ignore[operator]
            asyncio.get_running_loop().call_soon(self._drain)

    def drain(self) -> None:
        """One by one, asking in between: for single messages cheaper than to receive nothing, which raises."""
        receive, socket = self._receive, self.socket
        try:
            while True:
                receive(socket)
                if not socket.get(zmq.EVENTS) & POLLIN:  # type: ignore[operator]
                    return
        except zmq.Again:
            return

    def drain_all(self) -> None:
        """All that is there: cheapest for many messages."""
        receive, socket = self._receive, self.socket
        try:
            while True:
                receive(socket)
        except zmq.Again:
            return


def bare_address(run_dir: Path, what: str) -> str:
    return f"ipc://{run_dir / what}"


async def bare_server(run_dir: Path, reply: bytes) -> None:
    """Answers every request with the same bytes, and publishes what it encodes."""

    def echo(socket: zmq.Socket[bytes]) -> None:
        identity, _ = socket.recv_multipart(NOBLOCK)
        socket.send_multipart((identity, reply), NOBLOCK)

    router = BareSocket(zmq.ROUTER, echo)
    router.socket.bind(bare_address(run_dir, "bare-requests"))
    router.start()
    publisher = BareSocket(zmq.XPUB, lambda socket: socket.recv(NOBLOCK))
    publisher.socket.bind(bare_address(run_dir, "bare-events"))
    publisher.start()
    socket, encoder, sequence = publisher.socket, msgspec.msgpack.Encoder(), 0

    def publish(message: OrderUpdate) -> None:
        nonlocal sequence
        sequence += 1
        array = WireOrder("order.1", "execution", 1, sequence, f"execution.{sequence}", "", time.time_ns(), message)
        socket.send(PREFIX + encoder.encode(array), NOBLOCK)

    publishing = Publishing(publish, publisher.look_again)
    await obey({"publish": publishing.run, "cpu": cpu})


async def bare_client(run_dir: Path, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    decoder = msgspec.msgpack.Decoder(WireOrder)
    listening = Listening()
    answered: Callable[[], None] = lambda: None  # noqa: E731

    def heard(socket: zmq.Socket[bytes]) -> None:
        listening.heard(decoder.decode(socket.recv(NOBLOCK).partition(b"\0")[2]).body)

    def received(socket: zmq.Socket[bytes]) -> None:
        socket.recv(NOBLOCK)
        answered()

    dealer = BareSocket(zmq.DEALER, received)
    dealer.socket.connect(bare_address(run_dir, "bare-requests"))
    dealer.start()
    subscriber = BareSocket(zmq.SUB, heard, many=True)
    subscriber.socket.setsockopt(zmq.SUBSCRIBE, b"exec.")
    subscriber.socket.connect(bare_address(run_dir, "bare-events"))
    subscriber.start()

    async def trips(count: int) -> list[float]:
        nonlocal answered
        done = loop.create_future()
        times: list[float] = []
        begun = 0

        def send() -> None:
            nonlocal begun
            begun = time.perf_counter_ns()
            dealer.socket.send(request)

        def next_trip() -> None:
            times.append((time.perf_counter_ns() - begun) / 1_000)
            if len(times) == count:
                done.set_result(None)
            else:
                send()

        answered = next_trip
        send()
        dealer.look_again()
        await done
        return times

    await obey({"trips": trips, "expect": listening.expect, "collect": listening.collect, "cpu": cpu})


def request_bytes() -> bytes:
    return encode_frame("request", Header("risk", 1, 0, "risk.18e9c6d5ea305818.1", "", time.time_ns()), GetAccount())


def reply_bytes(answer: AccountAnswer) -> bytes:
    cause_id = "risk.18e9c6d5ea305818.1"
    return encode_frame("reply", Header("execution", 1, 0, "execution.1.1", cause_id, time.time_ns()), answer)


def write_config(run_dir: Path) -> Path:
    path = run_dir / "voldesk.toml"
    path.write_text(CONFIG)
    return path


def desk_in(run_dir: Path) -> DeskConfig:
    return load_config(run_dir / "voldesk.toml", {"VOLDESK_RUN_DIR": str(run_dir)})


def kept_reply(run_dir: Path) -> bytes:
    """What the bare server answers: the account that was asked for before, or an answer without one."""
    kept = run_dir / REPLY_FILE
    return kept.read_bytes() if kept.exists() else reply_bytes(AccountAnswer(account=None))


def main() -> None:
    role, run_dir = sys.argv[1], Path(sys.argv[2])
    ends: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "ours-server": lambda: ours_server(desk_in(run_dir)),
        "ours-client": lambda: ours_client(desk_in(run_dir)),
        "account-client": lambda: account_client(desk_in(run_dir)),
        "bare-server": lambda: bare_server(run_dir, kept_reply(run_dir)),
        "bare-client": lambda: bare_client(run_dir, request_bytes()),
    }
    uvloop.run(ends[role]())


if __name__ == "__main__":
    main()

"""Whatever bytes arrive at whichever socket: counted, dropped, and the service goes on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from shared.bus import Bus
from shared.bus.endpoints import Endpoints
from shared.bus.frames import Header, encode_frame
from shared.messages.control import AccountAnswer, GetAccount
from shared.messages.steps import RequestTimedOut, SendRequest
from shared.messages.system import GetStatus, Heartbeat
from tests.integration.bus.harness import HALT_TOPIC, Heard, halt_of, make_desk, open_service, raw_socket, until

COUNT = 600


def garbage(seed: int) -> Iterator[bytes]:
    """Random bytes, valid frames with bytes changed, valid frames of the wrong kind, empty and long ones."""
    draw = random.Random(seed)
    header = Header("execution", 5, 1, "m", "", 1)
    valid = encode_frame(HALT_TOPIC, header, halt_of("a", 1))
    for number in range(COUNT):
        kind = number % 6
        if kind == 0:
            yield draw.randbytes(draw.randint(0, 60))
        elif kind == 1:
            changed = bytearray(valid)
            changed[draw.randrange(len(valid))] = draw.randrange(256)
            yield bytes(changed)
        elif kind == 2:
            yield b"exec.main.halt\0" + draw.randbytes(draw.randint(0, 40))
        elif kind == 3:
            yield b"request\0" + draw.randbytes(draw.randint(0, 40))
        elif kind == 4:
            yield valid[: draw.randint(0, len(valid) - 1)]
        else:
            yield b"" if number % 12 == 5 else b"exec.main.halt\0" + bytes(200_000)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_garbage_at_the_request_socket_is_dropped_and_the_service_answers(tmp_path: Path, seed: int) -> None:
    desk = make_desk(tmp_path, "max_message_bytes = 65536")
    warnings: list[str] = []
    server = open_service("execution", desk, warn=lambda kind, _: warnings.append(kind))
    server.serve(lambda request: server.reply(request.request_id, AccountAnswer(account=None)))
    socket = raw_socket(zmq.DEALER)
    socket.connect(Endpoints(desk.run_dir, desk.bus).requests("execution"))
    for number, data in enumerate(garbage(seed)):
        socket.send_multipart([data] * (1 + number % 5))
    await until(lambda: server.counts.received >= COUNT)
    assert server.counts.dropped.total() > COUNT / 2
    assert {"garbage", "oversize"} <= set(warnings)
    assert len(warnings) == len(set(warnings))
    async with Bus.client(desk) as client:
        assert isinstance(await client.ask("execution", GetStatus(), 60_000), Heartbeat)
        assert await client.ask("execution", GetAccount(), 60_000) == AccountAnswer(account=None)
    socket.close()
    server.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_garbage_from_a_subscriber_does_not_stop_the_publisher(tmp_path: Path, seed: int) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    socket = raw_socket(zmq.XSUB)
    socket.connect(Endpoints(desk.run_dir, desk.bus).events("execution"))
    for data in garbage(seed):
        socket.send(data)
    heard = Heard()
    async with Bus("risk", desk) as reader:
        reader.subscribe("execution", ["exec."], heard.append)
        publisher.publish(HALT_TOPIC, halt_of("a", 1))
        await until(lambda: heard.halts() == [1])
    socket.close()
    publisher.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_garbage_from_a_publisher_is_dropped_and_its_next_message_is_read(tmp_path: Path, seed: int) -> None:
    desk = make_desk(tmp_path, "max_message_bytes = 65536")
    heard = Heard()
    publisher = raw_socket(zmq.XPUB)
    publisher.setsockopt(zmq.SNDHWM, 0)
    publisher.bind(Endpoints(desk.run_dir, desk.bus).events("execution"))
    async with Bus("risk", desk) as reader:
        reader.subscribe("execution", ["sys.", "exec."], heard.append)
        subscriptions: list[bytes] = []

        def subscribed() -> bool:
            while publisher.poll(0):
                subscriptions.append(publisher.recv())
            return b"\x01exec." in subscriptions and b"\x01sys." in subscriptions

        await until(subscribed)
        for data in garbage(seed):
            publisher.send(b"exec." + data)
            publisher.send(b"sys.execution.heartbeat\0" + data)
        publisher.send(b"sys.execution.heartbeat\0" + b"\x91")
        await until(lambda: reader.counts.dropped["garbage"] > 0 and reader.counts.received >= COUNT)
        publisher.unbind(Endpoints(desk.run_dir, desk.bus).events("execution"))
        publisher.close()
        healthy = open_service("execution", desk)
        healthy.publish(HALT_TOPIC, halt_of("a", 7))
        await until(lambda: heard.halts()[-1:] == [7] and healthy.epoch in heard.synced())
        healthy.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_garbage_as_an_answer_is_dropped_and_the_request_times_out(tmp_path: Path, seed: int) -> None:
    desk = make_desk(tmp_path)
    server = raw_socket(zmq.ROUTER)
    server.bind(Endpoints(desk.run_dir, desk.bus).requests("risk"))
    answers: list[object] = []
    async with Bus("strategy", desk) as client:
        client.send_request(SendRequest("risk", GetAccount(), "q0", deadline_ms=120_000), answers.append)
        await until(lambda: server.poll(0), "they are connected")
        identity, _ = server.recv_multipart()
        client.send_request(SendRequest("risk", GetAccount(), "q1", deadline_ms=1_000), answers.append)
        for data in garbage(seed):
            server.send_multipart([identity, data])
            server.send_multipart([identity, b"reply\0" + data])
        await until(lambda: client.counts.dropped["garbage"] > 10)
        await until(lambda: answers)
    assert answers == [RequestTimedOut("q1")]
    server.close()

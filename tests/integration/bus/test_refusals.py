"""What a service cannot take is refused with a reason or dropped and counted: nobody waits in vain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import zmq

from shared.bus import Bus
from shared.bus.endpoints import Endpoints
from shared.bus.frames import Header, decode_frame, encode_frame
from shared.messages.base import Message
from shared.messages.control import AccountAnswer, GetAccount, RaiseHalt
from shared.messages.steps import Request
from shared.messages.system import Heartbeat
from shared.messages.trades import Refusal
from tests.hostile import wire
from tests.integration.bus.harness import (
    HALT_TOPIC,
    Heard,
    halt_of,
    make_desk,
    open_service,
    raise_halt,
    raw_socket,
    until,
)
from tests.unit.shared.samples import heartbeat


class Stranger:
    """A client that sends whatever bytes it likes."""

    def __init__(self, desk: Any, service: str = "execution") -> None:
        self._socket = raw_socket(zmq.DEALER)
        self._socket.connect(Endpoints(desk.run_dir, desk.bus).requests(service))

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def request(self, request_id: str, message: Message) -> None:
        self.send(encode_frame("request", Header("stranger", 1, 0, request_id, "", 1), message))

    async def answer(self) -> tuple[str, Message]:
        """The next answer: the id of its request and the message."""
        await until(lambda: self._socket.poll(0), "an answer")
        frame = decode_frame(self._socket.recv())
        return frame.header.cause_id, frame.message

    def close(self) -> None:
        self._socket.close()


async def test_a_request_that_cannot_be_read_is_refused_under_its_id_and_may_be_sent_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    warnings: list[str] = []
    server = open_service("execution", desk, warn=lambda kind, _: warnings.append(kind))
    server.serve(lambda request: server.reply(request.request_id, AccountAnswer(account=None)))
    stranger = Stranger(desk)
    body = {"schema": "get_account.7"}
    stranger.send(wire(b"request", "get_account.7", "stranger", 1, 0, "q1", "", 1, body))
    request_id, refusal = await stranger.answer()
    assert isinstance(refusal, Refusal)
    assert (request_id, refusal.code) == ("q1", "unreadable_request")
    assert "get_account.7" in refusal.detail
    body = {"schema": "raise_halt.1", "level": "stop", "reason": "", "requested_by": ""}
    stranger.send(wire(b"request", "raise_halt.1", "stranger", 1, 0, "q2", "", 1, body))
    request_id, refusal = await stranger.answer()
    assert isinstance(refusal, Refusal)
    assert (request_id, refusal.code, "level" in refusal.detail) == ("q2", "unreadable_request", True)
    stranger.request("q1", GetAccount())
    assert await stranger.answer() == ("q1", AccountAnswer(account=None))
    assert (server.counts.dropped, warnings) == (
        {"unknown_schema": 1, "wrong_body": 1},
        ["unknown_schema", "wrong_body"],
    )
    stranger.close()
    server.close()


async def test_a_request_of_ten_megabytes_is_refused_with_its_size(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("execution", desk)
    requests: list[Request] = []
    server.serve(requests.append)
    stranger = Stranger(desk)
    stranger.request("q1", raise_halt("x" * 10_000_000))
    request_id, refusal = await stranger.answer()
    assert isinstance(refusal, Refusal)
    assert (request_id, refusal.code) == ("q1", "unreadable_request")
    assert "at most 65536" in refusal.detail
    assert (requests, server.counts.dropped) == ([], {"oversize": 1})
    stranger.close()
    server.close()


async def test_a_service_that_serves_nothing_says_so(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("monitor", desk)
    server.refuse_unserved()
    async with Bus.client(desk) as client:
        answer = await client.ask("monitor", GetAccount(), 60_000)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.detail) == ("unknown_request", "monitor does not answer GetAccount")
    server.close()


async def test_more_requests_than_can_be_pending_wait_at_their_clients(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, "answers_kept = 16")
    server = open_service("execution", desk)
    requests: list[Request] = []
    server.serve(requests.append)
    stranger = Stranger(desk)
    for number in range(40):
        stranger.request(f"q{number}", GetAccount())
    await until(lambda: server.counts.dropped["overload"] == 24)
    assert [request.request_id for request in requests] == [f"q{number}" for number in range(16)]
    for request in requests[:16]:
        server.reply(request.request_id, AccountAnswer(account=None))
    stranger.request("q39", GetAccount())
    await until(lambda: len(requests) == 17)
    stranger.close()
    server.close()


async def test_a_message_that_its_topic_does_not_carry_is_dropped(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    heard = Heard()
    publisher = raw_socket(zmq.XPUB)
    publisher.bind(Endpoints(desk.run_dir, desk.bus).events("execution"))
    async with Bus("risk", desk) as reader:
        reader.subscribe("execution", ["sys.", "exec."], heard.append)
        await until(lambda: publisher.poll(0))
        await asyncio.sleep(0)

        def forged(topic: str, message: Message) -> bytes:
            return encode_frame(topic, Header("execution", 5, 1, "m", "", 1), message)

        def counted() -> bool:
            publisher.send(forged("sys.execution.heartbeat", halt_of("a", 1)))
            publisher.send(forged("sys.execution.heartbeat", heartbeat("risk")))
            publisher.send(forged("sys.execution.heartbeat", RaiseHalt(level="flatten", reason="", requested_by="")))
            return reader.counts.dropped["wrong_message"] > 3 and reader.counts.dropped["wrong_publisher"] > 0

        await until(counted)
    assert not any(isinstance(getattr(item, "message", None), Heartbeat | RaiseHalt) for item in heard)
    publisher.close(0)


async def test_a_publisher_of_garbage_leaves_no_trace_in_memory(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = raw_socket(zmq.XPUB)
    publisher.bind(Endpoints(desk.run_dir, desk.bus).events("execution"))
    async with Bus("risk", desk) as reader:
        reader.subscribe("execution", ["exec."], Heard().append)
        await until(lambda: publisher.poll(0))
        before = _resident_bytes()
        for number in range(400):
            publisher.send(b"exec." + str(number).encode() + b"x" * 1_000_000)
            received = reader.counts.received
            await until(lambda received=received: reader.counts.received > received)  # type: ignore[misc]
        assert reader.counts.dropped["garbage"] == 400
        assert _resident_bytes() - before < 150_000_000
    publisher.close(0)


async def test_no_subscription_from_a_subscriber_is_counted_and_its_flood_does_not_stop_events(
    tmp_path: Path,
) -> None:
    desk = make_desk(tmp_path)
    warnings: list[str] = []
    publisher = open_service("execution", desk, warn=lambda kind, _: warnings.append(kind))
    socket = raw_socket(zmq.XSUB)
    socket.connect(Endpoints(desk.run_dir, desk.bus).events("execution"))
    heard = Heard()
    async with Bus("risk", desk) as reader:
        for number in range(1_000):
            socket.send(b"\x02not a subscription")
            socket.send(b"\x01" + msgspec.msgpack.encode(number) * 20)
            await asyncio.sleep(0)
        reader.subscribe("execution", ["exec."], heard.append)
        publisher.publish(HALT_TOPIC, halt_of("a", 1))
        await until(lambda: heard.halts() == [1] and publisher.counts.dropped["garbage"] > 100)
    assert warnings == ["garbage"]
    socket.close()
    publisher.close()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096

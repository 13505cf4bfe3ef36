from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import zmq

from shared.bus import Bus, NoAnswer
from shared.bus.endpoints import Endpoints
from shared.bus.frames import Header, decode_frame, encode_frame
from shared.config import DeskConfig
from shared.messages.control import AccountAnswer, GetAccount, HaltsAnswered
from shared.messages.steps import ReplyReceived, Request, RequestTimedOut, SendRequest
from shared.messages.system import GetStatus, Heartbeat
from tests.integration.bus.harness import (
    execution_process,
    halt_of,
    make_desk,
    open_service,
    raise_halt,
    raw_socket,
    until,
)

ANSWER = AccountAnswer(account=None)


def raw_client(desk: DeskConfig, service: str) -> zmq.Socket[bytes]:
    socket = raw_socket(zmq.DEALER)
    socket.connect(Endpoints(desk.run_dir, desk.bus).requests(service))
    return socket


def request_frame(request_id: str, client: str = "raw") -> bytes:
    return encode_frame("request", Header(client, 1, 0, request_id, "", 1), GetAccount())


async def receive(socket: zmq.Socket[bytes]) -> bytes:
    await until(lambda: socket.poll(0))
    return socket.recv()


async def test_a_request_is_answered_and_the_answer_names_its_message(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    server.serve(lambda request: server.reply(request.request_id, ANSWER))
    answers: list[ReplyReceived | RequestTimedOut] = []
    async with Bus("strategy", desk) as client:
        client.send_request(SendRequest("risk", GetAccount(), "grant:s-1", deadline_ms=60_000), answers.append)
        await until(lambda: answers)
    (answer,) = answers
    assert isinstance(answer, ReplyReceived)
    assert (answer.request_id, answer.message) == ("grant:s-1", ANSWER)
    assert answer.message_id.startswith("risk.")
    server.close()


async def test_a_request_waits_for_a_service_that_starts_later(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    async with Bus("strategy", desk) as client:
        asking = asyncio.ensure_future(client.ask("risk", GetAccount(), 60_000))
        await asyncio.sleep(0.2)
        server = open_service("risk", desk)
        server.serve(lambda request: server.reply(request.request_id, ANSWER))
        assert await asking == ANSWER
    server.close()


async def test_each_request_has_its_own_deadline_though_all_share_a_timer(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    told: dict[str, float] = {}
    async with Bus("strategy", desk) as client:
        begun = time.monotonic()
        for deadline_ms in (900, 300, 600, 120_000):
            request = SendRequest("risk", GetAccount(), f"q{deadline_ms}", deadline_ms=deadline_ms)
            client.send_request(request, lambda answer: told.update({answer.request_id: time.monotonic() - begun}))
        await until(lambda: len(told) == 3)
        # a loop that stood still for a while tells of several at once, and none too early
        assert told.keys() == {"q300", "q600", "q900"}
        assert all(elapsed_s > int(request_id[1:]) / 1_000 - 0.1 for request_id, elapsed_s in told.items())
        server = open_service("risk", desk)
        server.serve(lambda request: server.reply(request.request_id, ANSWER))
        await until(lambda: len(told) == 4)
        assert client.counts.requests_timed_out == 3
    server.close()


async def test_without_an_answer_the_deadline_is_told_once(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    seen: list[Request] = []
    server.serve(seen.append)
    answers: list[ReplyReceived | RequestTimedOut] = []
    async with Bus("strategy", desk) as client:
        client.send_request(SendRequest("risk", GetAccount(), "q0", deadline_ms=120_000), answers.append)
        await until(lambda: seen and client.counts.requests_repeated >= 1)
        client.send_request(SendRequest("risk", GetAccount(), "q1", deadline_ms=700), answers.append)
        await until(lambda: answers and len(seen) == 2)
        server.reply("q1", ANSWER)
        with pytest.raises(NoAnswer, match="risk did not answer within 100 ms"):
            await client.ask("risk", GetAccount(), deadline_ms=100)
    assert answers == [RequestTimedOut("q1")]
    assert [request.request_id for request in seen].count("q1") == 1
    server.close()


async def test_an_answer_after_the_deadline_is_not_taken_for_that_of_a_later_request(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("execution", desk)
    seen: list[Request] = []
    server.serve(seen.append)
    answers: list[ReplyReceived | RequestTimedOut] = []
    late, own = (HaltsAnswered(state=halt_of("main", epoch)) for epoch in (1, 2))
    async with Bus("strategy", desk) as client:
        assert isinstance(await client.ask("execution", GetStatus(), 60_000), Heartbeat), "they are connected"
        client.send_request(SendRequest("execution", raise_halt("first"), "q1", deadline_ms=500), answers.append)
        await until(lambda: answers and seen)
        second = SendRequest("execution", raise_halt("second"), "q2", deadline_ms=120_000)
        client.send_request(second, answers.append)
        await until(lambda: len(seen) == 2)
        received = client.counts.received
        server.reply("q1", late)
        await until(lambda: client.counts.received > received, "the late answer has arrived")
        assert answers == [RequestTimedOut("q1")]
        server.reply("q2", own)
        await until(lambda: len(answers) == 2)
    answer = answers[1]
    assert isinstance(answer, ReplyReceived)
    assert (answer.request_id, answer.message) == ("q2", own)
    server.close()


async def test_a_repeated_request_is_handed_over_once_and_answered_every_time_alike(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    seen: list[Request] = []
    server.serve(seen.append)
    socket = raw_client(desk, "risk")
    for _ in range(3):
        socket.send(request_frame("q1"))
    await until(lambda: seen and server.counts.received >= 3)
    server.reply("q1", ANSWER)
    first = await receive(socket)
    socket.send(request_frame("q1"))
    assert await receive(socket) == first
    assert len(seen) == 1
    assert decode_frame(first).header.cause_id == "q1"
    socket.close()
    server.close()


async def test_a_client_that_reconnected_gets_the_answer_on_its_new_connection(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    seen: list[Request] = []
    server.serve(seen.append)
    before = raw_client(desk, "risk")
    before.send(request_frame("q1"))
    await until(lambda: seen)
    before.close()
    after = raw_client(desk, "risk")
    after.send(request_frame("q1"))
    await until(lambda: server.counts.received >= 2)
    server.reply("q1", ANSWER)
    assert decode_frame(await receive(after)).message == ANSWER
    assert len(seen) == 1
    after.close()
    server.close()


async def test_two_clients_with_the_same_id_each_get_their_own_answer(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, "resend_ms = 20")
    server = open_service("risk", desk)
    clients: list[str] = []

    def answer(request: Request) -> None:
        clients.append(request.client)
        asyncio.get_running_loop().call_later(0.1, server.reply, request.request_id, ANSWER)

    server.serve(answer)
    answers: list[ReplyReceived | RequestTimedOut] = []
    async with Bus("strategy", desk) as one, Bus("monitor", desk) as other:
        for client in (one, other):
            client.send_request(SendRequest("risk", GetAccount(), "same", deadline_ms=120_000), answers.append)
        await until(lambda: len(answers) == 2)
    assert all(isinstance(one_answer, ReplyReceived) for one_answer in answers)
    assert sorted(clients) == ["monitor", "strategy"]
    server.close()


async def test_requests_before_the_service_can_serve_are_answered_when_it_can(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    async with Bus("strategy", desk) as client:
        asking = asyncio.ensure_future(client.ask("risk", GetAccount(), 60_000))
        await until(lambda: server.counts.received >= 1)
        server.serve(lambda request: server.reply(request.request_id, ANSWER))
        assert await asking == ANSWER
    server.close()


async def test_the_status_is_answered_by_any_open_bus(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    async with Bus.client(desk) as client:
        status = await client.ask("risk", GetStatus(), 60_000)
    assert isinstance(status, Heartbeat)
    assert status.service == "risk"
    server.close()


async def test_a_server_killed_between_request_and_answer_is_asked_again_with_the_same_id(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    heard: list[object] = []
    answers: list[ReplyReceived | RequestTimedOut] = []
    async with Bus("strategy", desk) as client:
        client.subscribe("execution", ["exec."], heard.append)
        effect = SendRequest("execution", raise_halt("silent"), "halt:1", deadline_ms=120_000)
        with execution_process(desk):
            client.send_request(effect, answers.append)
            await until(lambda: any("silent" in str(item) for item in heard))
        heard.clear()
        with execution_process(desk):
            await until(lambda: any("silent" in str(item) for item in heard))
            assert isinstance(await client.ask("execution", raise_halt("loud"), 60_000), HaltsAnswered)
    assert answers == []


async def test_answers_are_forgotten_only_beyond_the_configured_number(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, "answers_kept = 16")
    server = open_service("risk", desk)
    seen: list[str] = []

    def answer(request: Request) -> None:
        seen.append(request.request_id)
        server.reply(request.request_id, ANSWER)

    server.serve(answer)
    socket = raw_client(desk, "risk")
    for number in [*range(17), 16, 0]:
        socket.send(request_frame(f"q{number}"))
        await receive(socket)
    assert seen == [f"q{number}" for number in range(17)] + ["q0"]
    socket.close()
    server.close()


async def test_many_requests_in_flight_are_each_answered(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    server = open_service("risk", desk)
    server.serve(lambda request: server.reply(request.request_id, ANSWER))
    async with Bus("strategy", desk) as client:
        answers = await asyncio.gather(*(client.ask("risk", GetAccount(), 60_000) for _ in range(2_000)))
    assert answers == [ANSWER] * 2_000
    server.close()

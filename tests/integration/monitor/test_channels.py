"""Channels over real HTTP: the real bot library against a double of the Bot API, apprise against a webhook."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.monitor.channels.build import bot_token, secret_parts
from services.monitor.channels.courier import Courier, Sender
from services.monitor.channels.notify import NotifySender
from services.monitor.channels.telegram import TelegramSender
from services.monitor.effects import Deliver, Delivered, DeliveryFailed
from shared.config import load_config
from shared.http_refusals import HttpRefusals
from shared.http_server import HttpServer
from shared.logging import redactor
from shared.messages.system import Severity
from shared.tasks import spawn
from tests.telegram_api import TOKEN, TelegramDouble

LIMIT_S = 90.0


class Outcomes:
    def __init__(self) -> None:
        self.items: list[Any] = []
        self._news = asyncio.Event()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self._news.set()

    async def next(self) -> Any:
        async with asyncio.timeout(LIMIT_S):
            while not self.items:
                self._news.clear()
                await self._news.wait()
        return self.items.pop(0)


@pytest_asyncio.fixture
async def double() -> AsyncIterator[TelegramDouble]:
    telegram = TelegramDouble()
    await telegram.start()
    yield telegram
    await telegram.stop()


async def send(sender: Sender, text: str = "hello\nm1", severity: Severity = "critical") -> Any:
    outcomes = Outcomes()
    courier = Courier({"phone": sender}, outcomes.put, structlog.get_logger())
    message = Deliver(message_id="m1", channel="phone", text=text, severity=severity)
    courier.send(message)
    courier.send(message)
    outcome = await outcomes.next()
    assert outcomes.items == []
    await courier.close()
    return outcome


async def test_a_message_is_delivered_once_it_is_confirmed_and_not_begun_twice(double: TelegramDouble) -> None:
    outcome = await send(TelegramSender(TOKEN, double.base_url, 42))
    assert outcome == Delivered(message_id="m1")
    (call,) = double.sent()
    assert (call.fields["chat_id"], call.text) == ("42", "hello\nm1")
    assert "parse_mode" not in call.fields


async def test_a_flood_limit_says_when_to_come_again(double: TelegramDouble) -> None:
    double.faults.append((429, "Too Many Requests: retry after 17", {"retry_after": 17}))
    outcome = await send(TelegramSender(TOKEN, double.base_url, 42))
    assert isinstance(outcome, DeliveryFailed)
    assert (outcome.retry_after_s, outcome.is_final) == (17.0, False)


async def test_what_a_person_must_change_is_final_and_names_it(double: TelegramDouble) -> None:
    for fault, words in (
        ((400, "Bad Request: chat not found", None), "chat 42: Chat not found"),
        ((403, "Forbidden: bot was blocked by the user", None), "bot was blocked"),
        ((400, "group upgraded", {"migrate_to_chat_id": -100777}), "-100777"),
    ):
        double.faults.append(fault)
        outcome = await send(TelegramSender(TOKEN, double.base_url, 42))
        assert isinstance(outcome, DeliveryFailed)
        assert outcome.is_final, fault
        assert words in outcome.reason


async def test_a_refused_token_is_final_and_is_in_no_text(double: TelegramDouble) -> None:
    wrong = "987654:ThisIsAnotherTokenThatIsNotGood"
    redactor.add(wrong)
    outcome = await send(TelegramSender(wrong, double.base_url, 42))
    assert isinstance(outcome, DeliveryFailed)
    assert outcome.is_final
    assert "VOLDESK_TELEGRAM_TOKEN" in outcome.reason
    assert "ThisIsAnother" not in outcome.reason


async def test_a_venue_of_messages_that_is_away_is_tried_again(double: TelegramDouble) -> None:
    double.is_down = True
    outcome = await send(TelegramSender(TOKEN, double.base_url, 42))
    assert isinstance(outcome, DeliveryFailed)
    assert not outcome.is_final
    await double.stop()
    outcome = await send(TelegramSender(TOKEN, double.base_url, 42))
    assert isinstance(outcome, DeliveryFailed)
    assert not outcome.is_final
    await double.start()


async def test_secrets_are_taken_out_of_what_is_sent(double: TelegramDouble) -> None:
    redactor.add("averysecretvalue")
    await send(TelegramSender(TOKEN, double.base_url, 42), "the key averysecretvalue was refused")
    assert double.sent()[0].text == "the key *** was refused"


@asynccontextmanager
async def webhook(path: str, hook: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """A server that has `hook` at `path`, and its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = HttpServer(Starlette(routes=[Route(path, hook, methods=["POST"])]), HttpRefusals())
        serving = spawn(server.serve(sockets=[listener]), name="webhook")
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def test_a_webhook_gets_heading_and_text_and_its_refusal_is_a_failure() -> None:
    got: list[dict[str, Any]] = []
    statuses = [200, 500]

    async def hook(request: Request) -> Response:
        got.append(json.loads(await request.body()))
        return Response("", status_code=statuses[len(got) - 1])

    async with webhook("/hook", hook) as address:
        url = f"json://{address}/hook"
        assert await send(NotifySender(url), "paper · main\nCRITICAL · Disk full") == Delivered(message_id="m1")
        assert (got[0]["title"], got[0]["message"]) == ("paper · main", "CRITICAL · Disk full")
        outcome = await send(NotifySender(url), severity="warning")
    assert [each["type"] for each in got] == ["failure", "warning"]
    assert isinstance(outcome, DeliveryFailed)
    assert not outcome.is_final


async def test_a_text_longer_than_the_service_takes_comes_whole_in_several_parts() -> None:
    got: list[str] = []

    async def hook(request: Request) -> Response:
        text = json.loads(await request.body())["text"]
        got.append(text)
        return Response("", status_code=200 if len(text) <= 4_000 else 400)

    lines = [f"WARNING · order_refused · trade t{number} was refused by the venue" for number in range(90)]
    async with webhook("/hooks/{token}", hook) as address:
        url = f"mmost://{address}/3ccdd113474722377935511fc85d3dd4"
        assert await send(NotifySender(url), "\n".join(["paper · main", *lines])) == Delivered(message_id="m1")
    assert len(got) > 1
    arrived = "".join("".join(got).split())
    assert all("".join(line.split()) in arrived for line in lines[:3] + lines[-3:])


def test_passwords_and_tokens_in_an_address_are_secrets_of_their_own() -> None:
    assert secret_parts("mailtos://anna:pass-word-1@smtp.example.com?to=x@example.com") == ["pass-word-1"]
    assert secret_parts("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#desk") == [
        "T1JJ3T3L2",
        "A1BRTD4JD",
        "TIiajkdnlazkcOXrIdevi7FQ",
    ]


def test_of_a_bots_token_the_part_that_is_secret_is_hidden_alone_too(tmp_path: Path) -> None:
    (tmp_path / "voldesk.toml").write_text('[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n')
    secrets = tmp_path / ".env"
    secrets.write_text("VOLDESK_TELEGRAM_TOKEN=424242:TheSecretPartOfThisToken\n")
    secrets.chmod(0o600)
    assert bot_token(load_config(tmp_path / "voldesk.toml", {})) == "424242:TheSecretPartOfThisToken"
    assert redactor.clean("refused: TheSecretPartOfThisToken") == "refused: ***"

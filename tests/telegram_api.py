"""A double of Telegram's Bot API over real HTTP: what the real bot library sends arrives here, and people write here.

Its answers have the form of https://core.telegram.org/bots/api: `{"ok": true, "result": ...}`, errors with
`error_code`, `description` and, for a flood, `parameters.retry_after`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "123456789:AAtestTokenOfTheDoubleNotOfTelegram"
BOT = {"id": 123456789, "is_bot": True, "first_name": "voldesk", "username": "voldesk_bot"}


@dataclass(frozen=True)
class Call:
    """One call of a method. `arrived_ns`: on the monotonic clock."""

    method: str
    fields: dict[str, Any]
    arrived_ns: int

    @property
    def text(self) -> str:
        return str(self.fields.get("text", self.fields.get("caption", "")))


@dataclass
class TelegramDouble:
    """Serves on a port of its own. `faults`: answers to the next sendMessage and sendPhoto calls instead of success,
    each an (HTTP status, description, parameters), or "lost": it is taken and the answer never comes. `poll_faults`:
    the same for getUpdates."""

    calls: list[Call] = field(default_factory=list)
    faults: deque[Any] = field(default_factory=deque)
    poll_faults: deque[Any] = field(default_factory=deque)
    is_down: bool = False
    port: int = 0

    def __post_init__(self) -> None:
        self._updates: list[dict[str, Any]] = []
        self._next_update = 1000
        self._next_message = 1
        self._news = asyncio.Event()
        self._arrived = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bot"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._called)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def say(self, text: str, *, chat_id: int = 42, user_id: int | None = None, age_s: float = 0.0) -> None:
        """Somebody writes to the bot; in a group (chat_id < 0) user_id says who."""
        who = chat_id if user_id is None else user_id
        message = {
            "message_id": self._next_message,
            "date": int(time.time() - age_s),
            "chat": {"id": chat_id, "type": "private" if chat_id > 0 else "group", "title": "chat"},
            "from": {"id": who, "is_bot": False, "first_name": f"user{who}"},
            "text": text,
        }
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split()[0])}]
        self._next_message += 1
        self._updates.append({"update_id": self._next_update, "message": message})
        self._next_update += 1
        self._news.set()

    @property
    def unconfirmed(self) -> int:
        """How many updates the bot has not confirmed."""
        return len(self._updates)

    def sent(self, chat_id: int | None = None) -> list[Call]:
        """The messages that were taken."""
        found = [call for call in self.calls if call.method in ("sendMessage", "sendPhoto")]
        return [call for call in found if chat_id is None or int(call.fields["chat_id"]) == chat_id]

    async def until(self, count: int, *, chat_id: int | None = None, limit_s: float = 90.0) -> list[Call]:
        """Wait for so many messages."""
        async with asyncio.timeout(limit_s):
            while len(self.sent(chat_id)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.sent(chat_id)

    async def until_said(self, words: str, *, limit_s: float = 90.0) -> Call:
        """Wait for a message with these words."""
        async with asyncio.timeout(limit_s):
            while True:
                for call in self.sent():
                    if words in call.text:
                        return call
                self._arrived.clear()
                await self._arrived.wait()

    async def _called(self, request: web.Request) -> web.Response:
        arrived_ns = time.monotonic_ns()
        if self.is_down:
            return web.Response(text="bad gateway", status=502)
        if request.match_info["token"] != TOKEN:
            return _error(401, "Unauthorized")
        method = request.match_info["method"]
        said = await (request.json() if request.content_type == "application/json" else request.post())
        posted = {**request.query, **said}
        fields = {
            name: value.file.read() if isinstance(value, web.FileField) else value for name, value in posted.items()
        }
        if method == "getUpdates" and self.poll_faults:
            return _error(*self.poll_faults.popleft())
        if method == "getUpdates":
            return await self._get_updates(fields)
        if method in ("sendMessage", "sendPhoto") and self.faults:
            fault = self.faults.popleft()
            if fault == "lost":
                self.calls.append(Call(method, fields, arrived_ns))
                self._arrived.set()
                await asyncio.sleep(3_600)
            return _error(*fault)
        self.calls.append(Call(method, fields, arrived_ns))
        self._arrived.set()
        if method == "getMe":
            return _result({**BOT, "can_join_groups": True})
        if method in ("sendMessage", "sendPhoto"):
            self._next_message += 1
            chat = {"id": int(fields["chat_id"]), "type": "private", "first_name": "x"}
            message = {"message_id": self._next_message, "date": int(time.time()), "chat": chat, "from": BOT}
            return _result({**message, "text": fields.get("text", "")})
        return _result(True)

    async def _get_updates(self, fields: dict[str, Any]) -> web.Response:
        offset = int(fields.get("offset", 0))
        self._updates = [update for update in self._updates if update["update_id"] >= offset]
        if not self._updates:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), float(fields.get("timeout", 0)))
        return _result(self._updates)


def _result(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _error(status: int, description: str, parameters: dict[str, Any] | None = None) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters is not None:
        body["parameters"] = parameters
    return web.json_response(body, status=status)

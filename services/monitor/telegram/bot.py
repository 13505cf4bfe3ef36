"""Hears what people write to the bot and answers. It runs beside the monitor and cannot keep it from watching."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from services.monitor import answers
from services.monitor.channels.telegram import seconds_of
from services.monitor.commands import Ask, Commands, Do, Draw, Response, Said, Say, Stranger, TellPnl
from services.monitor.effects import Observed
from services.monitor.views import Status
from shared.logging import redactor
from shared.messages.base import Message
from shared.tasks import spawn

_POLL_S = 25
_TIMEOUT_S = 10.0
_PAUSE_FIRST_S, _PAUSE_MAX_S = 1.0, 10.0
_DOWN_AFTER_S = 60.0
_SEND_TRIES = 4
_STRANGERS_MAX = 20
_AT_ONCE_MAX = 20
"""Commands that are answered at once; more wait until one of them is."""

_LOOK_AGAIN_S = 0.5
"""While a command is being answered it is not confirmed, and so a poll comes back at once."""

_MENU = {
    "status": "what runs and what is wrong",
    "pnl": "equity and profit by strategy",
    "trades": "open trades",
    "positions": "what the account holds",
    "risk": "limits and their use",
    "why": "why it does or does not",
    "chart": "a picture",
    "alerts": "open alerts",
    "halt": "stop opening, at once",
    "help": "everything",
}


class Audit(Protocol):
    """Where actions are written down: who, what, and what came of it."""

    def begin(self, action_id: str, who: str, what: str) -> None: ...

    def end(self, action_id: str, outcome: str) -> None: ...


class TelegramBot:
    """One bot, one poll at a time. What people write is understood in its order, and answered each by a task of its
    own: who waits for a slow answer keeps nobody waiting. An update is confirmed once all up to it were answered, so
    one that was being answered at a crash comes again; the requests that it led to carry its id, and are acted on
    once.

    status: what the monitor knows. put: hands an input to its core. ask: a request with an id of ours, None without
    an answer. draw: a PNG of a chart, raising OSError with the reason when there is none. pnl: what was made in a
    span, in words.
    """

    def __init__(
        self,
        token: str,
        base_url: str,
        commands: Commands,
        *,
        heading: str,
        desk: str,
        status: Callable[[], Status],
        put: Callable[[Any], None],
        ask: Callable[[str, Message, str], Awaitable[Message | None]],
        draw: Callable[[Draw], Awaitable[bytes]],
        pnl: Callable[[TellPnl], Awaitable[str]],
        audit: Audit,
        log: Any,
    ) -> None:
        self._token = token
        self._base_url = base_url
        self._commands = commands
        self._heading = heading
        self._desk = desk
        self._status = status
        self._put = put
        self._ask = ask
        self._draw = draw
        self._pnl = pnl
        self._audit = audit
        self._log = log
        self._next_update: int | None = None
        self._own_name = ""
        self._strangers: set[str] = set()
        self._is_drawing = False
        self._answering: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled. Whatever fails is tried again, ever more slowly; after a minute a person is told."""
        try:
            async with _Api(self._token, self._base_url) as self._sender:
                await self._hear()
        finally:
            answering = list(self._answering.values())
            for task in answering:
                task.cancel()
            await asyncio.gather(*answering, return_exceptions=True)

    async def _hear(self) -> None:
        pause_s = _PAUSE_FIRST_S
        failing_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with _Api(self._token, self._base_url) as api:
                    await api.set_menu()
                    self._own_name = await api.name() or self._own_name
                    while True:
                        updates = await api.updates(self._unconfirmed())
                        if failing_since is not None:
                            failing_since, pause_s = None, _PAUSE_FIRST_S
                            self._put(Observed(code="telegram_down", subject="bot", text="heard again", is_over=True))
                        await self._take(updates)
            except Exception as error:
                reason = redactor.clean(f"{type(error).__name__}: {error}")
                self._log.warning("telegram bot fails and is started anew", reason=reason, pause_s=pause_s)
                failing_since = loop.time() if failing_since is None else failing_since
                if loop.time() - failing_since >= _DOWN_AFTER_S:
                    text = f"commands by Telegram are not heard: {reason}"
                    self._put(Observed(code="telegram_down", subject="bot", text=text))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    def _unconfirmed(self) -> int | None:
        """The first update that is not answered yet; all before it are confirmed by the next poll."""
        return min(self._answering, default=self._next_update)

    async def _take(self, updates: Sequence[Any]) -> None:
        """Start on what is new. What is being answered is handed over again and again until it is confirmed."""
        fresh = [each for each in updates if self._next_update is None or each.update_id >= self._next_update]
        for update in fresh:
            while len(self._answering) >= _AT_ONCE_MAX:
                await asyncio.wait(self._answering.values(), return_when=asyncio.FIRST_COMPLETED)
            self._next_update = update.update_id + 1
            self._on_update(update)
        if self._answering and not fresh:
            await asyncio.wait(self._answering.values(), timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)

    def _on_update(self, update: Any) -> None:
        """Start to answer one update; whatever goes wrong with it, the next is heard."""
        message = update.message
        if message is None or message.from_user is None or not message.text:
            return
        if _is_for_another(message.text, self._own_name):
            # in a group with the bot of another desk
            return
        said = Said(
            update_id=update.update_id,
            chat_id=message.chat.id,
            user_id=message.from_user.id,
            text=message.text,
            sent_ns=int(message.date.timestamp()) * 1_000_000_000,
            code=str(100_000 + secrets.randbelow(900_000)),
        )
        try:
            response: Response | Exception = self._commands.handle(said, self._status())
        except Exception as error:
            response = error
        self._log.info("telegram command", user=said.user_id, chat=said.chat_id, text=said.text[:80])
        task = self._answering[said.update_id] = spawn(self._answer(said, response), name="telegram answer")
        task.add_done_callback(lambda _: self._answering.pop(said.update_id))

    async def _answer(self, said: Said, response: Response | Exception) -> None:
        try:
            if isinstance(response, Exception):
                raise response
            await self._follow(said, response)
        except Exception as error:
            self._log.error("telegram command failed", text=said.text[:80], exc_info=error)
            await self._say(said.chat_id, f"failed: {type(error).__name__}; see the log. Check before you repeat it.")

    async def _follow(self, said: Said, response: Response) -> None:
        match response:
            case Stranger(who=who):
                self._refuse(who)
            case Say(text=text):
                await self._say(said.chat_id, text)
            case Ask():
                await self._say(said.chat_id, await self._asked(said, response))
            case Do(item=item, what=what):
                action_id = self._action_id(said)
                self._audit.begin(action_id, item.by, what)
                self._put(item)
                self._audit.end(action_id, "done")
                await self._say(said.chat_id, f"done: {what}")
            case TellPnl():
                await self._say(said.chat_id, await self._pnl(response))
            case Draw() if self._is_drawing:
                await self._say(said.chat_id, "the picture before is not finished yet")
            case Draw():
                self._is_drawing = True
                try:
                    await self._picture(said.chat_id, response)
                finally:
                    self._is_drawing = False

    async def _asked(self, said: Said, ask: Ask) -> str:
        action_id = self._action_id(said)
        who = str(getattr(ask.message, "requested_by", ""))
        if ask.changes:
            self._audit.begin(action_id, who, ask.what)
        answer = await self._ask(ask.service, ask.message, action_id)
        if answer is None:
            outcome = f"{ask.service} did not answer"
            told = f"{outcome}; what was asked may still take effect: look before you repeat it"
        else:
            outcome = told = answers.answer_of(answer)
        if ask.changes:
            self._audit.end(action_id, outcome)
            told = f"{ask.what}: {told}"
        return told

    def _action_id(self, said: Said) -> str:
        return f"telegram-{self._desk}-{said.update_id}"

    def _refuse(self, who: str) -> None:
        """No answer, which would tell a stranger that there is a desk."""
        if who not in self._strangers and len(self._strangers) < _STRANGERS_MAX:
            self._strangers.add(who)
            text = f"{who} wrote to the bot and is not in [[monitor.telegram.users]]; nothing was answered"
            self._put(Observed(code="telegram_refused", subject=who, text=text))

    async def _picture(self, chat_id: int, draw: Draw) -> None:
        try:
            png = await self._draw(draw)
        except OSError as error:
            await self._say(chat_id, f"no picture: {error}")
            return
        await self._try(lambda: self._sender.bot.send_photo(chat_id=chat_id, photo=png, caption=self._heading))

    async def _say(self, chat_id: int, text: str) -> None:
        whole = redactor.clean(f"{self._heading}\n{text}")
        await self._try(lambda: self._sender.bot.send_message(chat_id=chat_id, text=whole))

    async def _try(self, send: Callable[[], Awaitable[Any]]) -> None:
        """An answer is tried a few times; it is no alert, which has its own way."""
        from telegram.error import RetryAfter, TelegramError

        for number in range(_SEND_TRIES):
            try:
                await send()
                return
            except RetryAfter as error:
                await asyncio.sleep(min(seconds_of(error.retry_after), 30.0))
            except TelegramError as error:
                self._log.warning("telegram answer not sent", reason=redactor.clean(str(error)))
                await asyncio.sleep(1.0 * number)


def _is_for_another(text: str, own_name: str) -> bool:
    """Whether this is a command that names another bot: `/halt@other_bot`."""
    first = text.split(maxsplit=1)[0] if text.startswith("/") else ""
    named = first.partition("@")[2]
    return bool(named and own_name) and named.lower() != own_name.lower()


class _Api:
    """The library's bot with its two pools of connections, one for the long poll."""

    def __init__(self, token: str, base_url: str) -> None:
        from telegram import Bot
        from telegram.request import HTTPXRequest

        timeouts: dict[str, Any] = dict.fromkeys(
            ("connect_timeout", "read_timeout", "write_timeout", "pool_timeout"), _TIMEOUT_S
        )
        self._requests: list[Any] = [
            HTTPXRequest(connection_pool_size=4, **timeouts),
            HTTPXRequest(connection_pool_size=1, **timeouts),
        ]
        self.bot: Any = Bot(
            token, base_url=base_url, request=self._requests[0], get_updates_request=self._requests[1]
        )

    async def __aenter__(self) -> _Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        for request in self._requests:
            await request.shutdown()

    async def set_menu(self) -> None:
        """The menu of the phone; the poll says what is wrong, if something is."""
        from telegram.error import TelegramError

        with contextlib.suppress(TelegramError):
            await self.bot.set_my_commands(list(_MENU.items()))

    async def name(self) -> str:
        """The bot's name, by which people in a group tell it from others; "" while it cannot be asked."""
        from telegram.error import TelegramError

        with contextlib.suppress(TelegramError):
            return (await self.bot.get_me()).username or ""
        return ""

    async def updates(self, first: int | None) -> Sequence[Any]:
        """The updates from `first` on, and those before it are confirmed; none when nobody wrote for a while. Raises
        what the library raises."""
        found: Sequence[Any] = await self.bot.get_updates(offset=first, timeout=_POLL_S, allowed_updates=["message"])
        return found

"""Makes the bot of a monitor's process, with the ways by which it asks the others."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.monitor.alert_config import TelegramSection
from services.monitor.channels.build import bot_token, missing_extra
from services.monitor.commands import Commands, Draw
from services.monitor.telegram.bot import Audit, TelegramBot
from services.monitor.telegram.chart import Chart, Panel, draw, equity_panel, pnl_panel
from services.monitor.views import Status
from services.monitor.web.store import AuditLine, WebStore
from shared.errors import StartRefused
from shared.messages.base import Message
from shared.messages.steps import ReplyReceived, RequestTimedOut, SendRequest
from shared.service import ServiceContext

_ANSWER_MS = 5_000
_DAY_NS = 86_400_000_000_000

EquityPoints = Callable[[int], Awaitable[Sequence[tuple[int, float]]]]
"""(time in ns, equity in USD) since a time, oldest first, thinned to what a picture shows."""


class StoreAudit:
    """The audit that the dashboard shows. A disk that takes nothing keeps nobody from a halt: the log has it too.

    store: None while its file cannot be opened.
    """

    def __init__(self, store: Callable[[], WebStore | None], context: ServiceContext) -> None:
        self._store = store
        self._context = context
        self._log = context.log.bind(track="execution")

    def begin(self, action_id: str, who: str, what: str) -> None:
        self._log.info("action asked for", action=action_id, by=who, what=what)
        now_ns = self._context.clock.now_ns()
        line = AuditLine(action_id=action_id, at_ns=now_ns, who=who, address="telegram", what=what, detail="")
        with contextlib.suppress(sqlite3.Error, OSError):
            if (store := self._store()) is not None:
                store.begin(line)

    def end(self, action_id: str, outcome: str) -> None:
        self._log.info("action answered", action=action_id, outcome=outcome)
        with contextlib.suppress(sqlite3.Error, OSError):
            if (store := self._store()) is not None:
                store.end(action_id, outcome, self._context.clock.now_ns())


async def run_bot(
    context: ServiceContext,
    section: TelegramSection,
    *,
    heading: str,
    status: Callable[[], Status],
    put: Callable[[Any], None],
    equity: EquityPoints,
    audit: Audit,
) -> None:
    """Hear people until cancelled; with nobody listed, or without library or token, only say so and wait."""
    if section.users:
        try:
            token = bot_token(context.desk)
            if remedy := missing_extra("telegram"):
                raise StartRefused("the library of the bot is not installed", remedy)
        except StartRefused as error:
            context.log.error("commands by telegram are not heard", reason=error.reason, remedy=error.remedy)
        else:
            await _bot(context, section, token, heading, status, put, equity, audit).run()
    await asyncio.get_running_loop().create_future()


def _bot(
    context: ServiceContext,
    section: TelegramSection,
    token: str,
    heading: str,
    status: Callable[[], Status],
    put: Callable[[Any], None],
    equity: EquityPoints,
    audit: Audit,
) -> TelegramBot:
    async def ask(service: str, message: Message, request_id: str) -> Message | None:
        answered: asyncio.Future[ReplyReceived | RequestTimedOut] = asyncio.get_running_loop().create_future()

        def deliver(answer: ReplyReceived | RequestTimedOut) -> None:
            if not answered.done():
                answered.set_result(answer)

        context.bus.send_request(SendRequest(service, message, request_id, _ANSWER_MS), deliver)
        answer = await answered
        return answer.message if isinstance(answer, ReplyReceived) else None

    async def drawn(wanted: Draw) -> bytes:
        return await picture(wanted, heading=heading, now=status(), equity=equity)

    return TelegramBot(
        token,
        section.base_url,
        Commands(section, heading=heading),
        heading=heading,
        desk=context.desk.name,
        status=status,
        put=put,
        ask=ask,
        draw=drawn,
        audit=audit,
        log=context.log,
    )


async def picture(wanted: Draw, *, heading: str, now: Status, equity: EquityPoints) -> bytes:
    """A PNG of what was asked for. Raises OSError with the reason, in words, when there is none."""
    panels: list[Panel] = []
    if wanted.kind != "pnl":
        panels.append(equity_panel(await equity(now.now_ns - round(wanted.days * _DAY_NS)), wanted.days))
    if wanted.kind != "equity":
        panels.append(pnl_panel(now, wanted.days))
    return await draw(Chart(title=heading, panels=tuple(panels)))

"""Makes the bot of a monitor's process, with the ways by which it asks the others."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from services.monitor import answers
from services.monitor.alert_config import TelegramSection
from services.monitor.channels.build import bot_token, missing_extra
from services.monitor.commands import Commands, Draw, TellPnl
from services.monitor.history.keeping import History
from services.monitor.history.sampled_report import sampled_lines, sampled_pnl
from services.monitor.telegram.bot import Audit, TelegramBot
from services.monitor.telegram.chart import Chart, Panel, draw, equity_panel, pnl_panel
from services.monitor.views import Status
from services.monitor.web.store import AuditLine, WebStore
from shared.errors import StartRefused
from shared.host_requests import asked_of, together
from shared.ledger.pnl import DAY_NS, Days, trading_days
from shared.messages.base import Message
from shared.messages.steps import ReplyReceived, RequestTimedOut, SendRequest
from shared.service import ServiceContext

_ANSWER_MS = 5_000

_CHART_POINTS = 3_000


class Past:
    """What the bot tells and draws of the past, read on threads from the history. What cannot be read is not drawn.

    days: the desk's trading days.
    """

    def __init__(self, history: History, status: Callable[[], Status], days: Days = Days()) -> None:
        self._history = history
        self._status = status
        self._days = days

    async def equity(self, since_ns: int, now_ns: int) -> Sequence[tuple[int, float]]:
        """(time in ns, equity in USD), oldest first, thinned to what a picture shows."""
        try:
            found = await self._history.series("equity_usd", since_ns, now_ns, _CHART_POINTS)
        except sqlite3.Error:
            return []
        return [(each.last_ns, each.last) for each in found if each is not None]

    async def lines(self, since_ns: int, now_ns: int) -> dict[str, list[tuple[int, float]]]:
        """(time in ns, P&L on mark after fees and funding in USD since the beginning) by strategy."""
        try:
            return await asyncio.to_thread(sampled_lines, self._history.reader, since_ns, now_ns)
        except sqlite3.Error:
            return {}

    async def pnl(self, asked: TellPnl) -> str:
        """What was made in a span, in words."""
        now = self._status()
        known = {trade.trade_id: trade.strategy for trade in now.trades}
        try:
            found = await asyncio.to_thread(
                sampled_pnl, self._history.reader, asked.since_ns, now.now_ns, self._days, known
            )
        except sqlite3.Error as error:
            return f"the history cannot be read: {error}"
        return answers.pnl_over(asked.span, found)

    async def picture(self, wanted: Draw, heading: str) -> bytes:
        """A PNG of what was asked for. Raises OSError with the reason, in words, when there is none."""
        now_ns = self._status().now_ns
        since_ns = now_ns - round(wanted.days * DAY_NS)
        panels: list[Panel] = []
        if wanted.kind != "pnl":
            panels.append(equity_panel(await self.equity(since_ns, now_ns), wanted.days))
        if wanted.kind != "equity":
            panels.append(pnl_panel(await self.lines(since_ns, now_ns), wanted.days))
        return await draw(Chart(title=heading, panels=tuple(panels)))


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
    history: History,
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
            await _bot(context, section, token, heading, status, put, history, audit).run()
    await asyncio.get_running_loop().create_future()


def _bot(
    context: ServiceContext,
    section: TelegramSection,
    token: str,
    heading: str,
    status: Callable[[], Status],
    put: Callable[[Any], None],
    history: History,
    audit: Audit,
) -> TelegramBot:
    days = trading_days(context.desk.day_boundary_minute)
    past = Past(history, status, days)

    async def ask(service: str, message: Message, request_id: str) -> Message | None:
        """Ask all that the request concerns; None when one of them did not answer."""
        asked = asked_of(service, message, context.desk.strategy_hosts)
        ids = [request_id if len(asked) == 1 else f"{request_id}.{each}" for each in asked]
        found = await asyncio.gather(*(ask_one(each, message, own) for each, own in zip(asked, ids, strict=True)))
        answers = [answer for answer in found if answer is not None]
        return together(answers) if len(answers) == len(found) else None

    async def ask_one(service: str, message: Message, request_id: str) -> Message | None:
        answered: asyncio.Future[ReplyReceived | RequestTimedOut] = asyncio.get_running_loop().create_future()

        def deliver(answer: ReplyReceived | RequestTimedOut) -> None:
            if not answered.done():
                answered.set_result(answer)

        context.bus.send_request(SendRequest(service, message, request_id, _ANSWER_MS), deliver)
        answer = await answered
        return answer.message if isinstance(answer, ReplyReceived) else None

    async def drawn(wanted: Draw) -> bytes:
        return await past.picture(wanted, heading)

    return TelegramBot(
        token,
        section.base_url,
        Commands(section, heading=heading, days=days),
        heading=heading,
        desk=context.desk.name,
        status=status,
        put=put,
        ask=ask,
        draw=drawn,
        pnl=past.pnl,
        audit=audit,
        log=context.log,
    )

"""The bot with the real library against a double of the Bot API: people write, the desk answers, pictures come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import pytest_asyncio
import structlog

from services.monitor.alert_config import TelegramSection, TelegramUser
from services.monitor.commands import ChartKind, Commands, Draw
from services.monitor.effects import Acknowledge, Observed
from services.monitor.history.config import HistoryConfig
from services.monitor.history.keeping import History
from services.monitor.telegram import bot as bot_module
from services.monitor.telegram.attach import Past
from services.monitor.telegram.bot import TelegramBot
from services.monitor.telegram.chart import Chart, draw, pnl_panel
from shared.ledger.pnl import DAY_NS
from shared.messages.base import Message
from shared.messages.control import Halt, HaltsAnswered, HaltState, RaiseHalt
from shared.messages.trades import CloseAccepted, CloseTrade
from shared.tasks import spawn
from tests.telegram_api import TOKEN, TelegramDouble
from tests.unit.monitor.desk import START, Script, account, alert, halts, strategy, trade

SECTION = TelegramSection(
    users=(TelegramUser(id=42, name="anna", role="operate"), TelegramUser(id=43, name="ben")), command_age_s=3_600
)
MINUTE = 60_000_000_000
PNG = b"\x89PNG\r\n"


class Desk:
    """What stands behind the bot: the monitor's status, its history in `folder`, a service that answers, an audit."""

    def __init__(self, telegram: TelegramDouble, folder: Path) -> None:
        self.script = Script()
        self.script.hear(account(), 1)
        self.script.hear(trade("OPEN", 1), 1)
        self.script.hear(strategy(), 1)
        self.script.hear(halts(), 1)
        self.asked: list[tuple[str, Message, str]] = []
        self.put: list[Any] = []
        self.audit: list[tuple[str, ...]] = []
        self.is_away = False
        self.hold: asyncio.Event | None = None
        """Requests are answered once it is set."""

        self.history = History(
            HistoryConfig(),
            folder,
            "main",
            now_ns=lambda: START,
            status=lambda: self.script.core.status(START),
            put=self.put.append,
            log=structlog.get_logger(),
        )
        self.past = Past(self.history, lambda: self.script.core.status(START))
        self.bot = TelegramBot(
            TOKEN,
            telegram.base_url,
            Commands(SECTION, heading="paper · main"),
            heading="paper · main",
            desk="told",
            status=lambda: self.script.core.status(START),
            put=self.put.append,
            ask=self.ask,
            draw=self.draw,
            pnl=self.past.pnl,
            audit=self,
            log=structlog.get_logger(),
        )

    async def ask(self, service: str, message: Message, request_id: str) -> Message | None:
        self.asked.append((service, message, request_id))
        if self.hold is not None:
            await self.hold.wait()
        match message:
            case _ if self.is_away:
                return None
            case RaiseHalt():
                halt = Halt(
                    level=message.level, reason=message.reason, raised_by=message.requested_by, raised_ns=START
                )
                return HaltsAnswered(state=HaltState(account_id="main", halt_epoch=1, halts=(halt,)))
            case CloseTrade():
                return CloseAccepted(trade_id=message.trade_id, state="CLOSING")
        raise AssertionError(message)

    async def draw(self, wanted: Draw) -> bytes:
        return await self.past.picture(wanted, "paper · main")

    def remember(self, *, trades: bool = True) -> None:
        """Three minutes of equity ten days ago and three now, and with `trades` one of each time."""
        self.history.open()
        for number, ago_ns in enumerate((10 * DAY_NS, 0)):
            for minute in range(3):
                at_ns = START - ago_ns - (3 - minute) * MINUTE
                made = msgspec.structs.replace(
                    trade("OPEN", trade_id=f"h{number}"),
                    created_ns=at_ns,
                    opened_ns=at_ns,
                    realized_pnl_usd=Decimal(100 * (number + 1) * minute),
                )
                snapshot = msgspec.structs.replace(account(), received_ns=at_ns)
                now = msgspec.structs.replace(self.script.core.status(at_ns), trades=(made,) if trades else ())
                self.history.look(msgspec.structs.replace(now, account=snapshot))
        self.history.write()

    def begin(self, action_id: str, who: str, what: str) -> None:
        self.audit.append((action_id, who, what))

    def end(self, action_id: str, outcome: str) -> None:
        self.audit.append((action_id, outcome))


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[TelegramDouble]:
    double = TelegramDouble()
    await double.start()
    yield double
    await double.stop()


@pytest_asyncio.fixture
async def desk(telegram: TelegramDouble, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(telegram, tmp_path)
    running = spawn(made.bot.run(), name="bot")
    yield made
    running.cancel()
    await asyncio.wait({running})
    made.history.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def answer(telegram: TelegramDouble, text: str, chat_id: int = 42) -> str:
    before = len(telegram.sent(chat_id))
    telegram.say(text, chat_id=chat_id)
    return (await telegram.until(before + 1, chat_id=chat_id))[before].text


async def test_a_question_is_answered_under_mode_and_account(telegram: TelegramDouble, desk: Desk) -> None:
    text = await answer(telegram, "/status", chat_id=43)
    assert text.startswith("paper · main\nservices: ")
    assert "equity 100,012.50 USD" in text


async def test_a_close_is_done_once_its_code_comes_and_is_audited(telegram: TelegramDouble, desk: Desk) -> None:
    question = await answer(telegram, "/close t1")
    assert "paper · main\nclose trade t1 of short_strangle: -0.1" in question
    code = question.split("Answer ")[1][:6]
    assert "CLOSING" in await answer(telegram, code)
    ((service, message, request_id),) = desk.asked
    assert (service, message) == (
        "execution",
        CloseTrade(trade_id="t1", reason="telegram:anna", requested_by="telegram:anna"),
    )
    assert [line[1] for line in desk.audit] == ["telegram:anna", "trade t1 is CLOSING"]
    assert {line[0] for line in desk.audit} == {request_id}


async def test_a_command_that_a_crash_cut_short_comes_again_and_asks_with_the_same_id(
    telegram: TelegramDouble, tmp_path: Path
) -> None:
    ids = []
    telegram.faults.append("lost")
    telegram.say("/halt")
    for _ in range(2):
        desk = Desk(telegram, tmp_path)
        running = spawn(desk.bot.run(), name="bot")
        await until(lambda desk=desk: desk.asked)
        ids.append(desk.asked[0][2])
        await telegram.until(len(ids))
        running.cancel()
        await asyncio.wait({running})
    assert ids[0] == ids[1]


async def test_without_an_answer_it_says_that_it_may_still_happen(telegram: TelegramDouble, desk: Desk) -> None:
    desk.is_away = True
    text = await answer(telegram, "/halt")
    assert "execution did not answer; what was asked may still take effect" in text
    assert desk.audit[-1][1] == "execution did not answer"


async def test_a_stranger_gets_nothing_and_a_person_is_told_once(telegram: TelegramDouble, desk: Desk) -> None:
    telegram.say("/halt", chat_id=666)
    telegram.say("/flatten", chat_id=666)
    await answer(telegram, "/help")
    assert telegram.sent(666) == []
    (seen,) = desk.put
    assert isinstance(seen, Observed)
    assert (seen.code, seen.subject) == ("telegram_refused", "user 666")
    assert desk.asked == []


async def test_a_command_to_the_bot_of_another_desk_in_the_same_group_is_not_ours(
    telegram: TelegramDouble, desk: Desk
) -> None:
    telegram.say("/halt@other_desk_bot theirs")
    assert "halts in force" in await answer(telegram, "/halt@Voldesk_Bot ours")
    (halt,) = [message for _, message, _ in desk.asked]
    assert isinstance(halt, RaiseHalt)
    assert halt.reason == "ours"


async def test_an_alert_is_acknowledged_from_the_phone(telegram: TelegramDouble, desk: Desk) -> None:
    desk.script.hear(alert("clock_off", 1), 1)
    known = desk.script.core.status(START).alerts
    (alert_id,) = [matter.alert_id for matter in known if matter.record.code == "clock_off"]
    assert "done: acknowledge warning Clock off" in await answer(telegram, f"/ack {alert_id}")
    assert desk.put == [Acknowledge(alert_id=alert_id, by="telegram:anna")]


async def test_a_chart_is_a_picture_and_one_of_nothing_is_a_sentence(telegram: TelegramDouble, desk: Desk) -> None:
    desk.remember(trades=False)
    telegram.say("/chart equity 1")
    (call,) = await telegram.until(1)
    assert call.method == "sendPhoto"
    (name,) = [value for value in call.fields.values() if isinstance(value, bytes)]
    assert name.startswith(PNG)
    assert "there is nothing to draw yet" in await answer(telegram, "/chart pnl 7")


async def test_what_was_made_longer_ago_than_trades_are_remembered_is_told_and_drawn(
    telegram: TelegramDouble, desk: Desk
) -> None:
    desk.remember()
    week, month = await answer(telegram, "/pnl 7 d", chat_id=43), await answer(telegram, "/pnl 30 d", chat_id=43)
    # 0.1 calls sold at 3250, mark 3125, fees 1.25; realised 400 and 200
    assert "7 d, net of fees and funding, on mark:\nshort_strangle: +411.25 (1 trade, fees 1.25)" in week
    assert "short_strangle: +622.50 (2 trades, fees 2.50)" in month
    lines = await desk.past.lines(START - 30 * DAY_NS, START)
    assert lines["short_strangle"][-1] == (START, pytest.approx(622.5))
    panel = pnl_panel(lines, 30)
    assert panel.title == "P&L on mark after fees and funding by strategy, 30 d"
    assert (await draw(Chart(title="paper · main", panels=(panel,)))).startswith(PNG)


async def test_a_history_that_cannot_be_read_is_said(telegram: TelegramDouble, desk: Desk) -> None:
    assert "the history cannot be read" in await answer(telegram, "/pnl 7 d")


async def test_a_chart_shows_equity_and_below_it_the_profit_by_strategy(desk: Desk) -> None:
    desk.remember()
    pictures = [await desk.draw(Draw(kind=kind, days=1.0)) for kind in get_args(ChartKind)]
    assert all(png.startswith(PNG) for png in pictures)
    both, equity, pnl = (int.from_bytes(png[20:24]) for png in pictures)
    assert both > equity == pnl, "one below the other"


class Held(ThreadPoolExecutor):
    """Threads that do nothing before they are let go."""

    def __init__(self) -> None:
        super().__init__(max_workers=2)
        self.waiting: list[Callable[[], object]] = []
        self.is_held = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.is_held:
            return super().submit(fn, *args, **kwargs)
        promised: Future[Any] = Future()
        self.waiting.append(lambda: promised.set_result(fn(*args, **kwargs)))
        return promised

    def let_go(self) -> None:
        self.is_held = False
        for each in self.waiting:
            super().submit(each)


async def test_while_the_equity_of_a_chart_is_read_the_bot_answers_others(
    telegram: TelegramDouble, desk: Desk
) -> None:
    desk.remember()
    threads = Held()
    asyncio.get_running_loop().set_default_executor(threads)
    telegram.say("/chart equity")
    await until(lambda: threads.waiting)
    assert "equity" in await answer(telegram, "/status", chat_id=43)
    assert telegram.sent(42) == [], "nothing is drawn before the threads have read"
    threads.let_go()
    await until(lambda: telegram.sent(42))
    (call,) = telegram.sent(42)
    assert call.method == "sendPhoto"


async def test_a_request_that_waits_keeps_no_other_command_waiting_and_is_made_once(
    telegram: TelegramDouble, desk: Desk
) -> None:
    desk.hold = asyncio.Event()
    telegram.say("/halt the first")
    await until(lambda: desk.asked)
    assert "equity" in await answer(telegram, "/status", chat_id=43)
    assert "/status" in await answer(telegram, "/help")
    telegram.say("/halt the second")
    await until(lambda: len(desk.asked) == 2)
    # handed over with each poll until it is confirmed, and understood once
    for _ in range(3):
        assert "equity" in await answer(telegram, "/status", chat_id=43)
    reasons = [message.reason for _, message, _ in desk.asked if isinstance(message, RaiseHalt)]
    assert reasons == ["the first", "the second"], "in the order in which they were written"
    assert len({request_id for _, _, request_id in desk.asked}) == 2
    desk.hold.set()
    halted = (await telegram.until(3, chat_id=42))[1:]
    assert ["halt at no_new_trades: halts in force" in call.text for call in halted] == [True, True]
    assert len(desk.asked) == 2
    await until(lambda: not telegram.unconfirmed)


async def test_a_request_that_waited_when_the_bot_died_is_made_again_with_its_id_and_what_came_after_it_too(
    telegram: TelegramDouble, tmp_path: Path
) -> None:
    ids = []
    for _ in range(2):
        desk = Desk(telegram, tmp_path)
        desk.hold = asyncio.Event()
        running = spawn(desk.bot.run(), name="bot")
        if not ids:
            telegram.say("/halt")
        await until(lambda desk=desk: desk.asked)
        ids.append(desk.asked[0][2])
        assert "equity" in await answer(telegram, "/status", chat_id=43)
        running.cancel()
        await asyncio.wait({running})
    assert ids[0] == ids[1]


async def test_an_answer_that_is_under_way_while_the_poll_fails_arrives(telegram: TelegramDouble, desk: Desk) -> None:
    desk.hold = asyncio.Event()
    telegram.say("/halt")
    await until(lambda: desk.asked)
    telegram.poll_faults.append((502, "Bad Gateway", None))
    await until(lambda: not telegram.poll_faults)
    desk.hold.set()
    await telegram.until_said("halt at no_new_trades: ")
    assert len(desk.asked) == 1


async def test_a_poll_that_fails_is_tried_again_and_told_after_a_while(
    telegram: TelegramDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_module, "_DOWN_AFTER_S", 0.5)
    telegram.is_down = True
    desk = Desk(telegram, tmp_path)
    running = spawn(desk.bot.run(), name="bot")
    await until(lambda: desk.put)
    assert (desk.put[0].code, desk.put[0].is_over) == ("telegram_down", False)
    assert TOKEN not in desk.put[0].text
    telegram.is_down = False
    telegram.say("/help")
    await telegram.until(1)
    assert desk.put[-1].is_over
    running.cancel()
    await asyncio.wait({running})


async def test_two_bots_with_one_token_are_told_of(
    telegram: TelegramDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_module, "_DOWN_AFTER_S", 0.0)
    words = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
    telegram.poll_faults.append((409, words, None))
    desk = Desk(telegram, tmp_path)
    running = spawn(desk.bot.run(), name="bot")
    # a machine that is slow may have had a poll time out before
    await until(lambda: any("only one bot instance" in each.text for each in desk.put))
    telegram.say("/help")
    await telegram.until(1)
    running.cancel()
    await asyncio.wait({running})


async def test_what_fails_inside_one_command_is_said_and_the_next_is_heard(
    telegram: TelegramDouble, desk: Desk
) -> None:
    good, desk.script.core = desk.script.core, None  # type: ignore[assignment]
    assert "failed: AttributeError" in await answer(telegram, "/status")
    desk.script.core = good
    assert "equity" in await answer(telegram, "/status")


async def test_a_flood_limit_delays_an_answer_and_does_not_lose_it(telegram: TelegramDouble, desk: Desk) -> None:
    telegram.faults.append((429, "Too Many Requests: retry after 1", {"retry_after": 1}))
    assert "/status" in await answer(telegram, "/help")

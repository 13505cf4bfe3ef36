"""What people write on Telegram: who may what, codes, and what is asked of the desk."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from services.monitor import answers
from services.monitor.alert_config import TelegramSection, TelegramUser
from services.monitor.commands import Ask, Commands, Do, Draw, Response, Said, Say, Stranger, TellPnl
from services.monitor.history.attribution import Parts
from services.monitor.history.sampled import SampledRow
from services.monitor.history.sampled_report import SampledPnl
from services.monitor.views import Status
from shared.ledger.pnl import DAY_NS
from shared.messages.control import GrantRefused, HaltState, LiftHalts, RaiseHalt, StrategyCommand
from shared.messages.risk import LimitUse, RiskLimits
from shared.messages.trades import CloseTrade, TellTrade
from shared.views import clock_text
from tests.unit.monitor.desk import (
    SECOND,
    START,
    SYMBOL,
    Script,
    account,
    alert,
    compared,
    foreign_order,
    foreign_position,
    halts,
    heartbeat,
    strategy,
    trade,
)

ANNA, BEN, GROUP = 42, 43, -500
SECTION = TelegramSection(
    users=(
        TelegramUser(id=ANNA, name="anna", role="operate"),
        TelegramUser(id=BEN, name="ben"),
        TelegramUser(id=GROUP, name="room", role="operate"),
    )
)


class Phone:
    """A desk with one open trade, and somebody who writes to it. Each message is a second after the last."""

    def __init__(self) -> None:
        self.script = Script()
        self.script.beat(1)
        self.script.hear(account(), 1)
        self.script.hear(trade("OPEN", 1), 1)
        self.script.hear(strategy(), 1)
        self.script.hear(halts(), 1)
        self.commands = Commands(SECTION, heading="paper · main")
        self.now_ns = START + 2 * SECOND
        self.count = 0

    def status(self) -> Status:
        return self.script.core.status(self.now_ns)

    def say(self, text: str, user: int = ANNA, chat: int | None = None, *, age_s: float = 0.0) -> Response:
        self.count += 1
        self.now_ns += SECOND
        said = Said(
            update_id=self.count,
            chat_id=user if chat is None else chat,
            user_id=user,
            text=text,
            sent_ns=self.now_ns - round(age_s * SECOND),
            code=f"{100_000 + self.count}",
        )
        return self.commands.handle(said, self.status())

    def text(self, text: str, user: int = ANNA) -> str:
        response = self.say(text, user)
        assert isinstance(response, Say), response
        return response.text


@pytest.fixture
def phone() -> Phone:
    return Phone()


def test_who_is_not_listed_gets_no_answer_and_neither_does_a_listed_person_in_a_foreign_group(phone: Phone) -> None:
    assert phone.say("/status", user=666) == Stranger("user 666")
    assert phone.say("/status", user=ANNA, chat=-999) == Stranger("user 42 in chat -999")
    assert phone.say("/status", user=666, chat=GROUP) == Stranger("user 666 in chat -500")


def test_in_a_group_the_lesser_role_counts(phone: Phone) -> None:
    assert isinstance(phone.say("/halt", user=ANNA, chat=GROUP), Ask)
    assert isinstance(phone.say("/halt", user=BEN, chat=GROUP), Say)


@pytest.mark.parametrize(
    "text", ["/halt", "/pause all", "/resume desk", "/close t1", "/flatten", "/ack x", "/confirm 1"]
)
def test_who_may_look_may_not_act(phone: Phone, text: str) -> None:
    assert "may look and not operate" in phone.text(text, user=BEN)


def test_a_halt_and_a_pause_act_at_once_and_say_who_and_why(phone: Phone) -> None:
    halt = phone.say("/halt cancel_all venue acts up")
    assert isinstance(halt, Ask)
    assert halt.message == RaiseHalt(level="cancel_all", reason="venue acts up", requested_by="telegram:anna")
    for written in ("/halt Cancel_all venue acts up", "/halt cancel all venue acts up"):
        again = phone.say(written)
        assert isinstance(again, Ask)
        assert again.message == halt.message, "a halt is never less than what was meant"
    pause = phone.say("/pause@voldesk_bot short_strangle")
    assert isinstance(pause, Ask)
    assert pause.service == "strategy"
    assert pause.message == StrategyCommand(action="pause", strategy="short_strangle", requested_by="telegram:anna")
    everything = phone.say("/pause All")
    assert isinstance(everything, Ask)
    assert isinstance(everything.message, StrategyCommand)
    assert everything.message.strategy == "*"
    assert "/flatten" in phone.text("/halt Flatten")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/close t1", CloseTrade),
        ("/resume short_strangle", StrategyCommand),
        ("/flatten it is over", RaiseHalt),
    ],
)
def test_what_moves_money_needs_the_code_of_its_own_question(phone: Phone, text: str, kind: type) -> None:
    question = phone.text(text)
    code = f"{100_000 + phone.count}"
    assert f"Answer {code} within 60 s" in question
    assert "nothing was done" in phone.text("123")
    done = phone.say(code)
    assert isinstance(done, Ask)
    assert isinstance(done.message, kind)
    assert done.changes
    assert "nothing waits for a code" in phone.text(code)


def test_a_flatten_names_what_it_leaves_at_the_venue_before_it_and_until_it_is_gone(phone: Phone) -> None:
    assert "no trade's" not in phone.text("/flatten")
    phone.script.hear(compared(foreign_position(), foreign_order()), 2)
    left = f"as it is no trade's: -0.3 {SYMBOL}, order 77 to buy 0.2 {SYMBOL} at 410."
    question = phone.text("/flatten")
    assert left in question
    assert "voldesk adopt SYMBOL" in question
    assert "voldesk flatten --direct --force" in question
    done = phone.say(f"{100_000 + phone.count}")
    assert isinstance(done, Ask)
    assert left in done.what, "the answer begins with it"
    assert "flat" not in phone.text("/status"), "none is in force"

    phone.script.hear(halts("flatten"), 3)
    assert "not flat: 1 trade still open. Not closed by this" in phone.text("/status")
    phone.script.hear(trade("CLOSED", 4), 4)
    told = phone.text("/status")
    assert f"NOT FLAT: no trade is open, and by the comparison at {clock_text(START)} UTC the venue holds" in told
    assert f"no trade's: -0.3 {SYMBOL}" in phone.text("/positions")
    phone.script.hear(compared(), 5)
    assert "\nflat: no trade is open" in phone.text("/status")


def test_a_flatten_is_not_called_done_before_the_venue_was_compared(phone: Phone) -> None:
    phone.script.hear(halts("flatten"), 2)
    phone.script.hear(trade("CLOSED", 3), 3)
    assert "whether the venue holds more is not known" in phone.text("/status")


def test_halts_are_lifted_with_a_code_and_only_when_there_are_any(phone: Phone) -> None:
    assert phone.text("/resume desk") == "no halt is in force"
    phone.script.hear(halts("no_new_trades"), 2)
    phone.text("/resume desk")
    done = phone.say(f"/confirm {100_000 + phone.count}")
    assert isinstance(done, Ask)
    assert done.message == LiftHalts(requested_by="telegram:anna")


def test_a_code_expires_is_ones_own_and_is_gone_after_three_wrong_ones_or_a_newer_question(phone: Phone) -> None:
    phone.text("/close t1")
    code = f"{100_000 + phone.count}"
    assert "nothing waits" in phone.say(code, user=ANNA, chat=GROUP).text  # type: ignore[union-attr]
    phone.now_ns += 70 * SECOND
    assert "expired" in phone.text(code)

    phone.text("/close t1")
    code = f"{100_000 + phone.count}"
    answers = [phone.text(str(number)) for number in (1, 2, 3)]
    assert "third time; not done: close trade t1" in answers[-1]
    assert "nothing waits" in phone.text(code)

    phone.text("/close t1")
    older = f"{100_000 + phone.count}"
    phone.text("/flatten")
    assert "wrong code" in phone.text(older)
    assert "not done: FLATTEN" in phone.text("/cancel")


def test_what_was_written_long_ago_is_not_done(phone: Phone) -> None:
    for text in ("/resume desk", "/close t1", "/flatten", "/status"):
        response = phone.say(text, age_s=300)
        assert isinstance(response, Say)
        assert "was written 300 s ago" in response.text


def test_what_makes_the_desk_safer_is_done_though_the_bot_was_not_reached_for_up_to_an_hour(phone: Phone) -> None:
    for text in ("/halt cancel_all", "/halt@voldesk_bot", "/pause all"):
        assert isinstance(phone.say(text, age_s=3_000), Ask), text
    phone.script.hear(alert("clock_off", 2), 2)
    matter = next(each for each in phone.status().alerts if each.record.code == "clock_off")
    assert isinstance(phone.say(f"/ack {matter.alert_id}", age_s=3_000), Do)
    late = phone.say("/halt", age_s=3_700)
    assert isinstance(late, Say)
    assert "was written 3700 s ago" in late.text


def test_a_mistake_is_answered_with_what_there_is(phone: Phone) -> None:
    assert "Open: t1" in phone.text("/close t999")
    assert "there are short_strangle" in phone.text("/pause nosuch")
    assert "/help" in phone.text("/nosuch")
    assert "/chart [equity|pnl] [SPAN]" in phone.text("/chart weekly")
    phone.script.hear(trade("CLOSED", 2), 2)
    assert "trade t1 is CLOSED" in phone.text("/close t1")


def test_an_alert_is_acknowledged_by_its_id(phone: Phone) -> None:
    phone.script.hear(alert("clock_off", 2), 2)
    alert_id = phone.status().alerts[0].alert_id
    assert f"#{alert_id}" in phone.text("/alerts")
    response = phone.say(f"/ack #{alert_id.upper()}")
    assert isinstance(response, Do)
    assert (response.item.alert_id, response.item.by) == (alert_id, "telegram:anna")
    assert "no open alert" in phone.text("/ack nosuch")


def test_an_alert_that_flaps_is_acknowledged_by_the_id_in_the_message_even_while_it_is_over(phone: Phone) -> None:
    first_s = 10
    for number in range(6):
        at_s = first_s + 20 * number
        phone.script.hear(alert("clock_off", at_s, severity="critical"), at_s)
        phone.script.hear(alert("clock_off", at_s + 10, severity="info", resolved=True), at_s + 10)
    matter = next(each for each in phone.status().alerts if each.record.code == "clock_off")
    assert matter.held_id not in ("", matter.alert_id)
    response = phone.say(f"/ack {matter.held_id}")
    assert isinstance(response, Do)
    phone.script.on(response.item, 140)
    seen = next(each for each in phone.status().alerts if each.record.code == "clock_off")
    assert seen.acknowledged_by == "telegram:anna"


def test_a_chart_has_a_kind_and_days(phone: Phone) -> None:
    assert phone.say("/chart") == Draw(kind="all", days=1.0)
    assert phone.say("/chart equity") == Draw(kind="equity", days=1.0)
    assert phone.say("/chart pnl 30d") == phone.say("/chart 30 d pnl") == Draw(kind="pnl", days=30.0)
    assert phone.say("/chart 12 h") == Draw(kind="all", days=0.5)
    for wrong in ("/chart 900", "/chart 0", "/chart all years"):
        assert "an hour to two years" in phone.text(wrong)


def test_profit_over_a_span_is_told_from_the_history(phone: Phone) -> None:
    for span in ("7 d", "7d", "7", "1 w", "7 D"):
        asked = phone.say(f"/pnl {span}")
        assert isinstance(asked, TellPnl), span
        assert (phone.now_ns - asked.since_ns, asked.span) == (7 * DAY_NS, span.lower())
    today = phone.say("/pnl today", user=BEN)
    assert isinstance(today, TellPnl)
    assert today.since_ns == phone.now_ns - phone.now_ns % DAY_NS
    assert "no span: /pnl, or /pnl 7 d" in phone.text("/pnl lately")
    assert "has not begun yet" in phone.text("/pnl 2099-01-01")


def test_profit_over_a_span_names_each_strategy_the_total_and_the_days() -> None:
    def row(group: str, made_usd: float, trades: int = 1) -> SampledRow:
        return SampledRow(group=group, trades=trades, parts=Parts(delta_usd=made_usd), fees_usd=0.5)

    days = [row("2026-02-25", 8.0), row("2026-02-24", -3.0)]
    found = SampledPnl(by_day=days, by_strategy=[row("", -3.0), row("grid", 8.0)], total=row("total", 5.0, 2))
    assert answers.pnl_over("7 d", found).splitlines()[:5] == [
        "7 d, net of fees and funding, on mark:",
        "grid: +7.50 (1 trade, fees 0.50)",
        "earlier trades: -3.50 (1 trade, fees 0.50)",
        "total: +4.50 (2 trades, fees 0.50)",
        "by day: 02-25 +7.50, 02-24 -3.50",
    ]
    nothing = SampledPnl(by_day=[], by_strategy=[], total=row("total", 0.0, 0))
    assert answers.pnl_over("7 d", nothing) == "7 d: no trade was sampled in that time"


def test_everything_that_is_asked_has_an_answer_in_words(phone: Phone) -> None:
    phone.script.hear(heartbeat("risk", ready=False, detail="the account is old"), 2)
    phone.script.hear(halts("no_new_trades"), 2)
    name = "short_strangle"
    refused = GrantRefused(intent_id="short_strangle-2", strategy=name, code="delta_limit", detail="too much")
    phone.script.hear(refused, 2)
    limit = LimitUse(name="delta_limit", scope="account", subject="", value=450.0, limit=500.0, unit="USD")
    other = LimitUse(name="trades", scope="account", subject="", value=1.0, limit=50.0, unit="trades")
    limits = RiskLimits(account_id="main", received_ns=START, limits=(other, limit))
    phone.script.hear(limits, 2)
    wanted = {
        "/status": ("risk not ready (the account is old)", "HALTED no_new_trades", "equity 100,012.50 USD"),
        "/pnl": ("short_strangle: open +23.75, today +0.00 (0), fees 1.25", "USD, after fees and funding."),
        "/positions": ("-0.1 BTCUSD-27MAR26-110000-C at 3250, mark 3,125, +12.50 USD, delta -0.031", "no mark"),
        "/trades": ("t1 short_strangle OPEN, +23.75 USD after fees: -0.1 BTCUSD-27MAR26-110000-C",),
        "/trade t1": ("opened 02-25 06:13:21 UTC by limit", "fees 1.25 USD"),
        "/strategies": ("short_strangle: running, 1 open, 1 today; time_window: open from 09:00 to 17:00 UTC",),
        "/risk": ("90 % delta_limit: 450 of 500 USD\n2 % trades",),
        "/why short_strangle": ("- waits time_window", "risk refused short_strangle-2: delta_limit, too much"),
        "/help": ("/flatten close every trade",),
    }
    for command, texts in wanted.items():
        answer = phone.text(command)
        for text in texts:
            assert text in answer, f"{command}: {answer}"
    assert "/flatten" not in phone.text("/help", user=BEN)
    story = phone.say("/why t1")
    assert isinstance(story, Ask)
    assert (story.message, story.changes) == (TellTrade(trade_id="t1"), False)


def test_what_ended_today_is_told_after_fees_and_funding(phone: Phone) -> None:
    closed = trade("CLOSED", 3, trade_id="t2")
    legs = tuple(msgspec.structs.replace(leg, closed_quantity=leg.filled_quantity) for leg in closed.legs)
    ended = msgspec.structs.replace(closed, legs=legs, closed_ns=START + 3 * SECOND, funding_usd=Decimal(13))
    phone.script.hear(ended, 3)
    told = phone.text("/pnl")
    assert "short_strangle: open +23.75, today -1.75 (1), fees 2.50, funding 13.00" in told, told
    assert "over: t2 short_strangle CLOSED, -1.75 USD after fees and funding" in phone.text("/trades")


def test_a_desk_that_knows_nothing_yet_says_so() -> None:
    status = Script().core.status(START)
    empty = msgspec.structs.replace(status, services=())
    phone = Commands(SECTION, heading="paper · main")
    commands = ("/status", "/pnl", "/positions", "/trades", "/strategies", "/risk", "/why", "/alerts")
    for number, command in enumerate(commands):
        said = Said(update_id=number, chat_id=ANNA, user_id=ANNA, text=command, sent_ns=START, code="1")
        response = phone.handle(said, empty)
        assert isinstance(response, Say)
        assert response.text


def test_an_answer_fits_into_a_message(phone: Phone) -> None:
    for number in range(150):
        phone.script.hear(trade("OPEN", 1, trade_id=f"t{number}"), 2)
    text = phone.text("/trades")
    assert len(text) < 4_000
    assert text.splitlines()[-1].startswith("... and ")


def test_a_resume_of_everything_names_no_halt_of_another_kind(phone: Phone) -> None:
    phone.script.hear(HaltState(account_id="main", halt_epoch=2, halts=()), 3)
    assert "resume all?" in phone.text("/resume all")

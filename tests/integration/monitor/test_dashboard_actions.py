"""What an operator does from the dashboard: asked before, sent over a real bus, done once, written down."""

from __future__ import annotations

import asyncio
import html
import re
import sqlite3
from pathlib import Path

import httpx
import pytest

from services.monitor.web.store import AuditLine, WebStore, store_path
from shared.messages.alerts import AcknowledgeAlert, AlertAcknowledgement
from shared.messages.base import Message
from shared.messages.control import HaltsAnswered, LiftHalts, RaiseHalt, StrategyCommand, StrategyCommandDone
from shared.messages.reconciliation import AdoptPosition, PositionAdopted
from shared.messages.risk import BreakersReset, ResetBreaker
from shared.messages.trades import CancelAccepted, CancelOrders, CloseAccepted, CloseTrade, Refusal
from tests.integration.monitor.dashboard import Dashboard, field_of
from tests.unit.monitor.desk import ACCOUNT, SYMBOL, compared, foreign_order, foreign_position, halts, strategy, trade


def answers(message: Message) -> Message | None:
    match message:
        case RaiseHalt(level=level):
            return HaltsAnswered(state=halts(level))
        case LiftHalts():
            return HaltsAnswered(state=halts())
        case CloseTrade(trade_id="t9"):
            return Refusal(code="unknown_trade", detail="there is no trade t9", remedy="see `voldesk trades`")
        case CloseTrade(trade_id=trade_id):
            return CloseAccepted(trade_id=trade_id, state="CLOSING")
        case CancelOrders():
            return CancelAccepted(client_order_ids=(1, 2))
        case ResetBreaker():
            return BreakersReset(breakers=())
        case StrategyCommand(strategy=strategy):
            return StrategyCommandDone(strategies=(strategy,))
        case AdoptPosition(symbol=symbol, quantity=quantity):
            assert quantity is not None
            return PositionAdopted(trade_id="t7", symbol=symbol, side="sell", quantity=quantity, entry_price=quantity)
    return None


async def send(http: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Open a confirmation and confirm it."""
    form = await http.get(path)
    assert form.status_code == 200, form.text
    hidden = {name: field_of(form.text, name) for name in ("csrf", "action_id")}
    return await http.post(path.partition("?")[0], data={**hidden, **fields})


@pytest.mark.parametrize(
    ("path", "fields", "service", "wanted", "said"),
    [
        (
            "/actions/halt",
            {"level": "cancel_all", "reason": "drill"},
            "execution",
            RaiseHalt(level="cancel_all", reason="drill", requested_by="web:anna"),
            "in force: cancel_all",
        ),
        ("/actions/resume", {}, "execution", LiftHalts(requested_by="web:anna"), "no halt is in force"),
        (
            "/actions/flatten",
            {"typed": ACCOUNT},
            "execution",
            RaiseHalt(level="flatten", reason="from the dashboard", requested_by="web:anna"),
            "in force: flatten",
        ),
        (
            "/actions/close?trade=t1",
            {"trade": "t1"},
            "execution",
            CloseTrade(trade_id="t1", reason="operator: from the dashboard", requested_by="web:anna"),
            "t1 is CLOSING",
        ),
        (
            "/actions/cancel-order?order=123",
            {"order": "123"},
            "execution",
            CancelOrders(client_order_id=123, requested_by="web:anna"),
            "cancelling 2 orders",
        ),
        (
            "/actions/cancel-trade-orders?trade=t1",
            {"trade": "t1"},
            "execution",
            CancelOrders(trade_id="t1", requested_by="web:anna"),
            "cancelling 2 orders",
        ),
        (
            "/actions/pause?strategy=demo",
            {"strategy": "demo"},
            "strategy",
            StrategyCommand(action="pause", strategy="demo", requested_by="web:anna"),
            "told demo",
        ),
        (
            "/actions/reset-breaker?breaker=losses&subject=demo",
            {"breaker": "losses", "subject": "demo"},
            "risk",
            ResetBreaker(name="losses", subject="demo", requested_by="web:anna"),
            "every circuit breaker is closed",
        ),
        (
            "/actions/run-once?strategy=demo",
            {"strategy": "demo"},
            "strategy",
            StrategyCommand(action="run_once", strategy="demo", requested_by="web:anna"),
            "told demo",
        ),
        (
            "/actions/resume-strategy?strategy=*",
            {"strategy": "*"},
            "strategy",
            StrategyCommand(action="resume", strategy="*", requested_by="web:anna"),
            "told *",
        ),
    ],
    ids=lambda value: value.partition("?")[0].rpartition("/")[2] if isinstance(value, str) and "/" in value else "",
)
async def test_an_action_is_asked_for_sent_and_written_down(
    dashboard: Dashboard, path: str, fields: dict[str, str], service: str, wanted: Message, said: str
) -> None:
    await dashboard.serve(service, answers)
    http = await dashboard.logged_in()
    async with http:
        form = (await http.get(path)).text
        assert '<strong class="mode">paper</strong> account <b>main</b>' in form
        assert dashboard.asked == []
        answer = await send(http, path, **fields)
    assert said in answer.text
    assert [message for _, message in dashboard.asked] == [wanted]
    line = dashboard.store.audit(1)[0]
    assert (line.what, line.who, line.outcome) == (path.partition("?")[0].rpartition("/")[2], "anna", said)
    assert line.ended_ns is not None
    assert line.address == "127.0.0.1"


async def test_the_question_says_what_is_held_and_what_it_is_worth(dashboard: Dashboard) -> None:
    dashboard.fill()
    http = await dashboard.logged_in()
    async with http:
        close = (await http.get("/actions/close?trade=t1")).text
        assert "Close what trade t1 still holds?" in close
        assert f"short_strangle, OPEN: −0.1 {SYMBOL}; +23.75 USD after fees and funding so far." in close
        assert "Open now: 1 trade, 2 positions." in (await http.get("/actions/flatten")).text
        assert "no trade" not in (await http.get("/actions/flatten")).text
        dashboard.script.hear(compared(foreign_position(), foreign_order()), 20)
        question = html.unescape((await http.get("/actions/flatten")).text)
        left = f"Not closed by this, as it is no trade's: -0.3 {SYMBOL}, order 77 to buy 0.2 {SYMBOL} at 410."
        assert left in question
        assert "voldesk flatten --direct --force" in question
        unknown = await http.get("/actions/close?trade=t9")
        assert (unknown.status_code, "after fees" in unknown.text) == (200, False)


async def test_a_flatten_in_force_says_on_every_page_whether_the_account_is_flat(dashboard: Dashboard) -> None:
    dashboard.fill()
    dashboard.script.hear(halts("flatten"))
    dashboard.script.hear(compared(foreign_position()), 20)
    http = await dashboard.logged_in()
    async with http:
        assert "not flat: 1 trade still open" in html.unescape((await http.get("/")).text)
        dashboard.script.hear(trade("CLOSED", 30))
        page = html.unescape((await http.get("/")).text)
        assert f"the venue holds what is no trade's: -0.3 {SYMBOL}. voldesk adopt" in page
        dashboard.script.hear(compared(), 40)
        assert "flat: no trade is open" in (await http.get("/risk")).text


async def test_a_double_click_acts_once_and_is_told_the_same(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", answers)
    http = await dashboard.logged_in()
    async with http:
        form = (await http.get("/actions/close?trade=t1")).text
        fields = {name: field_of(form, name) for name in ("csrf", "action_id", "trade")}
        both = await asyncio.gather(*(http.post("/actions/close", data=fields) for _ in range(5)))
        late = await http.post("/actions/close", data=fields)
        assert all("t1 is CLOSING" in answer.text for answer in (*both, late))
        other = await http.post("/actions/close", data={**fields, "trade": "t2"})
        assert "used for something else" in other.text
    assert len(dashboard.asked) == 1
    assert len([line for line in dashboard.store.audit(10) if line.what == "close"]) == 1


async def test_an_action_that_was_cut_off_by_a_restart_is_asked_again_with_its_id(dashboard: Dashboard) -> None:
    """The line is there without an outcome: the service that has acted on the id answers as it did before."""
    await dashboard.serve("execution", answers)
    http = await dashboard.logged_in()
    async with http:
        form = (await http.get("/actions/close?trade=t1")).text
        fields = {name: field_of(form, name) for name in ("csrf", "action_id", "trade")}
        begun = AuditLine(action_id=fields["action_id"], at_ns=1, who="anna", address="x", what="close", detail="t1")
        assert dashboard.store.begin(begun) is None
        assert "t1 is CLOSING" in (await http.post("/actions/close", data=fields)).text
    assert [request_id for request_id, _ in dashboard.asked] == [f"web.{fields['action_id']}"]
    line = dashboard.store.audit_line(fields["action_id"])
    assert line is not None
    assert line.outcome == "t1 is CLOSING"


async def test_a_refusal_says_what_can_be_done(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", answers)
    http = await dashboard.logged_in()
    async with http:
        answer = await send(http, "/actions/close?trade=t9", trade="t9")
    assert "refused: there is no trade t9 (unknown_trade); see `voldesk trades`" in answer.text


async def test_no_answer_is_unknown_and_never_no(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", lambda _: None)
    http = await dashboard.logged_in()
    async with http:
        answer = await send(http, "/actions/halt", level="no_new_trades")
    assert "unknown: execution did not answer" in answer.text
    assert "may still take effect" in answer.text
    assert dashboard.store.audit(1)[0].outcome.startswith("unknown")


async def test_what_is_wrong_with_a_field_is_said_and_nothing_is_sent(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", answers)
    http = await dashboard.logged_in()
    async with http:
        for path, fields, words in (
            ("/actions/flatten", {"typed": "other"}, "type the account"),
            ("/actions/halt", {"level": "flatten"}, "level must be"),
            ("/actions/halt", {}, "level must be"),
            ("/actions/close", {"trade": " "}, "trade is missing"),
            ("/actions/cancel-order", {"order": "1; DROP"}, "no client order id"),
            ("/actions/cancel-order", {"order": "٣"}, "no client order id"),
            ("/actions/adopt", {"symbol": "X", "strategy": ""}, "strategy is missing"),
            ("/actions/adopt", {"symbol": "X", "strategy": "s", "quantity": "-1"}, "quantity must be"),
            ("/actions/adopt", {"symbol": "X", "strategy": "s", "quantity": "nan"}, "quantity must be"),
        ):
            answer = await send(http, path, **fields)
            assert answer.status_code == 400, path
            assert words in answer.text, (path, answer.text[-600:])
        dashboard.script.hear(strategy(), 1)
        asked = (await http.get("/actions/adopt?symbol=X")).text
        assert re.search(r'<select name="strategy" required>\s*<option value="" selected>', asked), asked
        form = (await http.get("/actions/halt")).text
        short = {"csrf": field_of(form, "csrf"), "action_id": "short", "level": "no_new_trades"}
        assert "has no id" in (await http.post("/actions/halt", data=short)).text
        assert (await http.get("/actions/nothing")).status_code == 404
    assert dashboard.asked == []
    assert [line.what for line in dashboard.store.audit(10)] == ["login"]


async def test_with_real_money_the_account_is_typed_before_anything_moves(tmp_path: Path) -> None:
    async with Dashboard(tmp_path, mode="LIVE") as dashboard:
        await dashboard.serve("execution", answers)
        http = await dashboard.logged_in()
        async with http:
            form = (await http.get("/actions/close?trade=t1")).text
            assert '<strong class="mode">LIVE</strong>' in form
            assert "Type the account&#39;s name, main, to confirm" in form
            assert (await send(http, "/actions/close?trade=t1", trade="t1")).status_code == 400
            assert dashboard.asked == []
            done = await send(http, "/actions/close?trade=t1", trade="t1", typed="main")
            assert "t1 is CLOSING" in done.text
            stopped = await send(http, "/actions/halt", level="no_new_trades")
            assert "in force" in stopped.text, "what stops things asks for nothing more"


async def test_an_alert_is_acknowledged_by_name(dashboard: Dashboard) -> None:
    dashboard.fill()
    (matter,) = [each for each in dashboard.script.core.status(dashboard.now_ns()).alerts if each.is_open][:1]

    def monitor(message: Message) -> Message | None:
        assert isinstance(message, AcknowledgeAlert)
        assert message.alert_id == matter.alert_id
        view = next(each for each in _views(dashboard) if each.alert_id == message.alert_id)
        return AlertAcknowledgement(alert=view)

    await dashboard.serve("monitor", monitor)
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/alerts")).text
        assert f"/actions/acknowledge?alert={matter.alert_id}" in page
        answer = await send(http, f"/actions/acknowledge?alert={matter.alert_id}", alert=matter.alert_id)
    assert "is acknowledged by" in answer.text


def _views(dashboard: Dashboard) -> list[object]:
    from services.monitor.alerts import alert_view

    return [alert_view(each) for each in dashboard.script.core.status(dashboard.now_ns()).alerts]


async def test_a_program_acts_by_token_once_for_each_id(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", answers)
    headers = dashboard.token("read", "halt", name="watchdog")
    body = {"action_id": "watchdog-2026-03-27-1", "fields": {"level": "no_new_trades", "reason": "no heartbeat"}}
    async with dashboard.client(headers=headers) as http:
        told = [(await http.post("/api/actions/halt", json=body)).json() for _ in range(3)]
        assert told == [{"done": True, "text": "in force: no_new_trades"}] * 3
        missing = await http.post("/api/actions/halt", json={"action_id": "x" * 20, "fields": {}})
        assert (missing.status_code, "level must be" in missing.json()["detail"]) == (400, True)
        assert (await http.post("/api/actions/halt", json={"action_id": "x" * 20, "other": 1})).status_code == 422
    assert len(dashboard.asked) == 1
    assert dashboard.store.audit(1)[0].who == "token:watchdog"


def test_on_a_full_disk_an_action_goes_on_and_its_line_is_written_later(tmp_path: Path) -> None:
    store = WebStore(store_path(tmp_path))
    with sqlite3.connect(store_path(tmp_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = AuditLine(action_id="a" * 16, at_ns=5, who="anna", address="x", what="halt", detail="")
        assert store.begin(line) is None
        assert store.begin(line) == line, "known although it is not on disk"
        store.end(line.action_id, "in force: cancel_all", 6)
        assert [each.outcome for each in store.audit(10)] == ["in force: cancel_all"]
        session = store.new_session("nobody", 5)
        assert not store.write_audit()
        other.rollback()
    assert session
    assert store.write_audit()
    store.close()
    again = WebStore(store_path(tmp_path))
    assert [(each.outcome, each.ended_ns) for each in again.audit(10)] == [("in force: cancel_all", 6)]
    again.close()

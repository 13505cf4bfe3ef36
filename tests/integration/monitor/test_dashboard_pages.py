"""Pages as a real server draws them and keeps them up to date."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from services.monitor.alert_config import Route
from services.monitor.config import MonitorConfig
from services.monitor.subscriptions import prefixes_of
from services.monitor.web.pages import PAGES
from services.monitor.web.texts import figure_text, gain_class, price_text, share_text, signed_text, utc_text
from shared.messages.alerts import AcknowledgeAlert
from shared.messages.base import Message
from shared.messages.inquiries import InquiryList
from shared.messages.market import IndexPrice
from shared.messages.quality import QualityList
from shared.messages.quote_requests import (
    DirectionCost,
    ListQuoteRequests,
    QuoteRequest,
    QuoteRequestList,
    RequestQuote,
)
from shared.messages.reconciliation import DifferenceList, ForeignOrder, ForeignPosition, FoundDifference
from shared.messages.steps import Request
from shared.messages.trades import LegOrder, OrderList, OrderUpdate, Refusal, StoryLine, TellTrade, TradeStory
from tests.integration.monitor.dashboard import Dashboard
from tests.integration.monitor.peers import risk
from tests.unit.monitor.desk import SECOND, START, SYMBOL, Script, account, alert, halts, trade
from tests.unit.monitor.test_dispatch import PHONE
from tests.unit.voldesk.test_tca import phase

ORDER = OrderUpdate(
    client_order_id=1_234_567_890_123_456_789,
    venue_order_id=5,
    account_id="main",
    trade_id="t1",
    leg_index=0,
    purpose="open",
    attempt=0,
    symbol=SYMBOL,
    side="sell",
    quantity=Decimal("0.1"),
    price=Decimal(3250),
    filled_quantity=Decimal("0.05"),
    average_price=Decimal(3251),
    state="WORKING",
    reason="",
    reduce_only=False,
    created_ns=START,
    updated_ns=START,
)


QUOTE = RequestQuote(
    quote_id="q1",
    direction="buy",
    cost_usd=-326.5,
    improvement_usd=4.25,
    improvement_pct=1.32,
    over_mark_pct=0.4,
    verdict="good",
    prices=(Decimal(3265),),
    expiry_ns=START + 300 * SECOND,
)
ASKED = QuoteRequest(
    rfq_id="t1-open-0",
    request_id="77",
    trade_id="t1",
    asked_by="short_strangle",
    purpose="open",
    state="COLLECTING",
    reason="",
    legs=(LegOrder(symbol=SYMBOL, side="sell", quantity=Decimal("0.1")),),
    wanted="buy",
    asked_ns=START + 80 * SECOND,
    judged_ns=START + 95 * SECOND,
    ends_ns=START + 105 * SECOND,
    is_collecting=True,
    costs=(
        DirectionCost(direction="buy", book_cost_usd=-322.25, mark_cost_usd=-325.0),
        DirectionCost(direction="sell", book_cost_usd=None, mark_cost_usd=325.0, shallow=(SYMBOL,)),
    ),
    quotes=(QUOTE,),
)


def execution(message: Message) -> Message | None:
    """What execution answers to the questions of the pages."""
    match message:
        case TellTrade(trade_id="t1"):
            lines = (StoryLine(START, "order_sent", f"Order {ORDER.client_order_id} is sent.", "c"),)
            return TradeStory(trade=trade("OPEN", 10), orders=(ORDER,), lines=lines, quality=(phase(),))
        case TellTrade():
            return Refusal(code="unknown_trade", detail="no such trade")
    name = type(message).__name__
    if name == "ListOrders":
        return OrderList(orders=(ORDER,))
    if name == "ListDifferences":
        foreign = ForeignPosition(
            symbol="BTCUSD-27MAR26-90000-P",
            done="left_alone",
            detail="opened by hand",
            quantity=Decimal("-0.1"),
            held_quantity=Decimal(0),
            average_price=Decimal(2800),
        )
        by_hand = ForeignOrder(
            symbol="BTCUSD-27MAR26-80000-P",
            done="left_alone",
            detail="placed by hand",
            venue_order_id=77_001,
            side="buy",
            quantity=Decimal("0.3"),
            price=Decimal(1450),
        )
        found = tuple(
            FoundDifference(difference=each, found_ns=START, trigger="timer") for each in (foreign, by_hand)
        )
        return DifferenceList(differences=found, at_ns=START, compared_ns=START, unconfirmed=())
    if isinstance(message, ListQuoteRequests):
        return QuoteRequestList(at_ns=START, requests=(ASKED,) if message.trade_id in ("", "t1") else ())
    if name == "ListInquiries":
        return InquiryList(inquiries=())
    return QualityList(phases=(phase(),), kept_since_ns=0)


@pytest.fixture
async def filled(dashboard: Dashboard) -> Dashboard:
    dashboard.fill()
    await dashboard.serve("execution", execution)
    return dashboard


async def test_every_page_says_mode_and_account_before_anything_was_heard(dashboard: Dashboard) -> None:
    await dashboard.serve("execution", execution)
    http = await dashboard.logged_in()
    async with http:
        for page in PAGES:
            answer = await http.get("/" if page.name == "overview" else f"/{page.name}")
            assert answer.status_code == 200, page.name
            assert '<strong class="mode">paper</strong>' in answer.text, page.name
            assert "account <b>main</b>" in answer.text, page.name
            assert answer.text.count("<main ") == answer.text.count("<h1>") == 1, page.name
            assert 'name="viewport"' in answer.text, page.name
    assert dashboard.errors == []


async def test_pages_show_what_the_desk_holds_and_what_is_wrong(filled: Dashboard) -> None:
    filled.script.hear(IndexPrice(underlying="BTCUSD", price=1.0, venue_ns=0, received_ns=0), 1, "md.BTCUSD.index")
    filled.script.tick(89)
    wanted = {
        "": (
            "100,012.50",
            "Trading is halted.",
            "+12.50",
            "Down: strategy",
            "order_vanished",
            "Silent: md.BTCUSD.index",
        ),
        "trades": ("t1", "OPEN", "−0.1 " + SYMBOL, "+23.75"),
        "trade?trade=t1": ("3,125.00", "Order 0.open.0 is sent.", "WORKING", "0.05 of 0.1", "-0.0312"),
        "strategies": ("time_window", "open from 09:00 to 17:00 UTC", "1 of 2 gates closed"),
        "positions": (SYMBOL, "-0.0311", "Some positions have no Greeks now", "Holdings", "Not the desk", "Adopt"),
        "orders": ("1234567890123456789", "Cancel all working", "0.3 at 1,450 ", "the venue's order 77001"),
        "risk": ("no_new_trades", "lost the feed", "risk does not answer", "Circuit breakers"),
        "rfq": ("t1-open-0", "COLLECTING", "what the trade wants", "+4.25", "may be taken", "lacks the size of"),
        "alerts": ("order_vanished", "critical"),
        "audit": ("login", "anna"),
    }
    http = await filled.logged_in()
    async with http:
        for path, texts in wanted.items():
            page = (await http.get(f"/{path}")).text
            for text in texts:
                assert text in page, (path, text)
    assert filled.errors == []


async def test_every_page_says_above_all_what_is_critical_until_somebody_sees_to_it(filled: Dashboard) -> None:
    for code, severity in (("naked_leg", "critical"), ("halted", "critical"), ("drawdown_high", "warning")):
        filled.script.hear(alert(code, 20, severity=severity))  # type: ignore[arg-type]
    http = await filled.logged_in()
    async with http:
        for page in PAGES:
            shown = (await http.get("/" if page.name == "overview" else f"/{page.name}")).text
            assert "Critical, and nobody sees to it: Naked leg, Order vanished." in shown, page.name
            banner = shown.partition('<section id="banner"')[2].partition("</section>")[0]
            assert ('href="/alerts"' in banner) is (page.name != "alerts"), page.name
        matter = next(each for each in filled.script.core.status(START).alerts if each.record.code == "naked_leg")
        seen = AcknowledgeAlert(alert_id=matter.alert_id, requested_by="web:anna")
        filled.script.on(Request("r1", seen, "c"), 21)
        assert "nobody sees to it: Order vanished." in (await http.get("/")).text
    assert filled.errors == []


async def test_an_alert_that_is_told_on_and_on_shows_since_when(filled: Dashboard) -> None:
    for at_s in (10, 40, 80):
        filled.script.hear(alert("naked_leg", at_s, severity="critical"), at_s)
    http = await filled.logged_in()
    async with http:
        overview, alerts = (await http.get("/")).text, (await http.get("/alerts")).text
    begun, newest = (f'data-ns="{(START + at_s * SECOND) // 1_000_000}"' for at_s in (10, 80))
    (line,) = [line for line in overview.splitlines() if line.startswith("<li>") and "naked_leg" in line]
    assert begun in line
    assert newest not in line
    (row,) = [line for line in alerts.splitlines() if line.startswith("<tr>") and "naked_leg" in line]
    assert begun in row
    assert newest not in row


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "no channel is configured"),
        ({"channels": {"phone": PHONE}}, "no route names a channel"),
        ({"channels": {"phone": PHONE}, "routes": {"default": Route(channels=("phone",))}}, None),
    ],
)
async def test_the_overview_says_that_nobody_is_told_of_alerts_and_what_to_do(
    dashboard: Dashboard, changes: dict[str, Any], said: str | None
) -> None:
    dashboard.script = Script(MonitorConfig(**changes))
    http = await dashboard.logged_in()
    async with http:
        overview, alerts = (await http.get("/")).text, (await http.get("/alerts")).text
    assert ("Nobody is told of alerts who does not look here:" in overview) is (said is not None)
    if said is not None:
        assert said in overview
        assert "<code>[monitor.routes.default]</code>" in overview
        assert "docs/alerts.md" in overview
        assert "Nobody" in alerts
    assert dashboard.errors == []


async def test_a_holding_is_shown_as_it_is_counted_and_in_full_where_one_looks(filled: Dashboard) -> None:
    balances = {"USDT": Decimal("97512.256789012345"), "BTC": Decimal("0.02500000000012"), "SOL": Decimal("1E-9")}
    filled.script.hear(msgspec.structs.replace(account(), balances=balances), 89)
    http = await filled.logged_in()
    async with http:
        page = (await http.get("/positions")).text
        figures = (await http.get("/api/account")).json()
    for full, shown in (
        ("97,512.256789012345 USDT", "97,512.25"),
        ("0.02500000000012 BTC", "0.025"),
        ("0.000000001 SOL", "&lt; 0.000001"),
    ):
        assert f'title="{full}">{shown}</td>' in page
    assert figures["holdings"] == {asset: f"{amount:f}" for asset, amount in sorted(balances.items())}


async def test_basis_points_say_of_what(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http:
        quality, story = [(await http.get(f"/{page}")).text for page in ("quality", "trade?trade=t1")]
    for shown, tables in ((quality, 3), (story, 1)):
        assert shown.count('<th class="n">bp of premium</th>') == tables
        assert shown.count('data-label="bp of premium"') == tables
    assert "A basis point (bp) of premium is a hundredth of a per cent of what all legs together" in quality


async def test_the_page_of_risk_shows_limits_breakers_guard_and_stress(filled: Dashboard) -> None:
    await filled.serve("risk", risk)
    texts = (
        "No grant can be given now.",
        "halted: no_new_trades",
        'aria-label="85 % used"',
        "<b>over</b>",
        "17 of 20 %",
        "4 losses in a row",
        "close t1 of short_strangle",
        "worst <b>1,500.00</b> of 2,500.00 allowed",
        '<th scope="row" class="n">-10 %</th>',
        '<td class="n bad deep">-1,500</td>',
        '<td class="n good">+10</td>',
    )
    http = await filled.logged_in()
    async with http, asyncio.timeout(60):
        while "risk does not answer" in (page := (await http.get("/risk")).text):  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.05)
    for text in texts:
        assert text in page, text
    assert filled.errors == []


async def test_a_page_says_so_when_a_service_does_not_answer(dashboard: Dashboard) -> None:
    dashboard.fill()
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/orders")).text
        assert "execution does not answer: what is shown may be old, or missing." in page
        unknown = (await http.get("/trade", params={"trade": "t9"})).text
        assert "There is no such trade, or execution does not answer." in unknown


async def test_a_stop_order_is_shown_with_its_trigger_and_that_it_waits(dashboard: Dashboard) -> None:
    stop = msgspec.structs.replace(ORDER, trigger_price=Decimal(3100), at_market=True, waits=True)
    dashboard.fill()
    await dashboard.serve("execution", lambda _: OrderList(orders=(stop,)))
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/orders")).text
    assert "stop 3100, market" in page
    assert "waits for its trigger" in page


async def test_figures_of_an_account_that_is_read_no_more_are_marked_as_old(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http:
        filled.now_s = 10.0
        assert "Account figures are old" not in (await http.get("/trades")).text
        filled.now_s = 20.0
        page = (await http.get("/trades")).text
        assert "Account figures are old" in page
        assert f'data-now="{(START + 20 * SECOND) // 1_000_000}"' in page, "ages are told by the desk's clock"


async def sections(answer: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """(name, HTML) of each event, until the stream ends."""
    name, data = "", []
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))
        elif not line and data:
            yield name, "\n".join(data)
            name, data = "", []


async def test_what_changes_reaches_an_open_page_and_nothing_else_is_sent(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http, http.stream("GET", "/events/trades") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        heard = sections(answer)
        async with asyncio.timeout(60):
            first = dict([await anext(heard), await anext(heard), await anext(heard)])
            assert set(first) == {"banner", "open_trades", "ended_trades"}
            assert "t1" in first["open_trades"]
            closed = msgspec.structs.replace(trade("CLOSED", 20), closed_ns=START + 20 * SECOND)
            filled.script.hear(closed)
            filled.app.live.changed()
            news = dict([await anext(heard), await anext(heard)])
            assert set(news) == {"open_trades", "ended_trades"}
            assert "None is open." in news["open_trades"]
            assert "t1" in news["ended_trades"]
            filled.script.hear(halts(epoch=2))
            filled.app.live.changed()
            name, html = await anext(heard)
            assert (name, "halted" in html) == ("banner", False)


async def test_quotes_reach_an_open_page_as_they_come_and_are_read_from_execution_each_time(
    dashboard: Dashboard,
) -> None:
    dashboard.fill()
    told = [ASKED]
    await dashboard.serve(
        "execution",
        lambda message: (
            QuoteRequestList(at_ns=START, requests=tuple(told))
            if isinstance(message, ListQuoteRequests)
            else execution(message)
        ),
    )
    http = await dashboard.logged_in()
    async with http, http.stream("GET", "/events/rfq") as answer:
        heard = sections(answer)
        async with asyncio.timeout(60):
            first = dict([await anext(heard), await anext(heard)])
            assert "q1" in first["rfq"]
            assert f'data-until="{(START + 300 * SECOND) // 1_000_000}"' in first["rfq"], "its life is counted down"
            told[0] = msgspec.structs.replace(
                ASKED, quotes=(msgspec.structs.replace(QUOTE, quote_id="q2", improvement_usd=6.75), QUOTE)
            )
            dashboard.app.live.changed(urgent=True)
            name, html = await anext(heard)
            assert name == "rfq"
            assert html.index("q2") < html.index("q1")
            assert "+6.75" in html
            told[0] = msgspec.structs.replace(
                told[0], state="FILLED", chosen="q2", is_collecting=False, judged_ns=None, ends_ns=None
            )
            dashboard.app.live.changed(urgent=True)
            name, html = await anext(heard)
            assert "No maker is asked just now" in html
            assert ">taken</span>" in html
    assert dashboard.errors == []


async def viewers_are(dashboard: Dashboard, count: int) -> None:
    while dashboard.app.live.viewers != count:  # noqa: ASYNC110 - a count of theirs, no event of ours
        await asyncio.sleep(0.02)


async def test_many_viewers_of_a_page_cost_one_drawing(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http:

        async def look() -> None:
            async with http.stream("GET", "/events/overview") as answer:
                heard = sections(answer)
                async for name, html in heard:
                    if name == "summary" and "77,777.00" in html:
                        return

        async with asyncio.timeout(60):
            looking = [asyncio.ensure_future(look()) for _ in range(8)]
            await viewers_are(filled, 8)
            before, begun = filled.app.live.rendered, time.monotonic()
            filled.script.hear(msgspec.structs.replace(account(), equity_usd=Decimal(77_777)), 89)
            filled.app.live.changed()
            await asyncio.gather(*looking)
        # and one a second, for as long as a busy machine takes to tell all of them
        assert filled.app.live.rendered - before < 6 + time.monotonic() - begun
        await viewers_are(filled, 0)


async def test_an_open_page_ends_with_its_login_and_a_crowd_is_turned_away(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http:
        async with http.stream("GET", "/events/alerts") as answer:
            heard = sections(answer)
            await anext(heard)
            assert filled.store.remove_user("anna")
            filled.script.hear(halts(epoch=2))
            filled.app.live.changed()
            async with asyncio.timeout(60):
                async for _ in heard:
                    pass
        assert (await http.get("/events/alerts")).status_code == 401
        headers = filled.token("read")
        assert (await http.get("/events/nothing", headers=headers)).status_code == 404


async def test_an_open_stream_ends_with_the_token_that_opened_it(filled: Dashboard) -> None:
    client = filled.client(headers=filled.token("read", name="wall"))
    async with client as http, http.stream("GET", "/events/alerts") as answer:
        heard = sections(answer)
        await anext(heard)
        assert filled.store.remove_token("wall")
        filled.script.hear(halts(epoch=2))
        filled.app.live.changed()
        async with asyncio.timeout(60):
            async for _ in heard:
                pass


async def test_a_section_that_cannot_be_drawn_is_said_to_be_so_and_watching_goes_on(filled: Dashboard) -> None:
    http = await filled.logged_in()
    async with http:
        broken = msgspec.structs.replace(account(), greeks={"BTCUSD": None})  # type: ignore[dict-item]
        filled.script.hear(broken, 89)
        page = (await http.get("/")).text
        assert page.count("This part cannot be shown") == 1
        assert "Trading is halted." in page
        assert [where for where, _ in filled.errors] == ["section summary"]
        filled.script.hear(account(), 89)
        assert "This part cannot be shown" not in (await http.get("/")).text


async def test_nothing_is_loaded_from_elsewhere(dashboard: Dashboard) -> None:
    http = await dashboard.logged_in()
    async with http:
        page = (await http.get("/")).text
        sources = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert all(source.startswith(("/", "#")) for source in sources), sources
        for source in sources:
            if source.startswith("/static/"):
                assert (await http.get(source)).status_code == 200, source


def test_figures_are_readable() -> None:
    assert utc_text(START) == "2026-02-25 06:13:20"
    assert utc_text(None) == figure_text(None) == figure_text(float("nan")) == signed_text(None) == "–"
    assert [signed_text(value) for value in (1234.5, -0.001, 0.0, Decimal(-3))] == [
        "+1,234.50",
        "0.00",
        "0.00",
        "-3.00",
    ]
    assert (price_text(Decimal("3250.12345")), price_text(Decimal("1E+4"))) == ("3,250.1234", "10,000")
    assert share_text(0.123) == "12.3 %"
    assert [gain_class(value) for value in (0.01, -0.01, 0.001, None)] == ["good", "bad", "", ""]


def test_every_topic_that_the_monitor_looks_at_is_heard_and_market_data_is_not() -> None:
    assert prefixes_of("marketdata") == ("sys.marketdata.",)
    assert prefixes_of("execution") == ("exec.", "rfq.", "sys.execution.")
    assert prefixes_of("exchange") == ("sys.exchange.",)

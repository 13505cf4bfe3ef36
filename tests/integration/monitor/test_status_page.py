"""The status page as a real server renders it and a real client reads it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.monitor.page import PageHeader, age_text, figure_text, make_app, utc_text
from services.monitor.subscriptions import prefixes_of
from shared.http_refusals import HttpRefusals
from shared.http_server import HttpServer
from shared.messages.control import GrantRefused
from shared.messages.market import IndexPrice
from shared.tasks import spawn
from tests.unit.monitor.desk import SECOND, START, Script, account, alert, halts, heartbeat, strategy, trade

HEADER = PageHeader(desk="demo", mode="paper", venue="sim", account_id="main", refresh_s=2)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest_asyncio.fixture
async def client(script: Script) -> AsyncIterator[httpx.AsyncClient]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = HttpServer(make_app(HEADER, lambda: script.core.status(START + 90 * SECOND)), HttpRefusals())
    serving = spawn(server.serve(sockets=[listener]), name="page")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as http:
        yield http
    server.should_exit = True
    await serving
    listener.close()


def fill(script: Script) -> None:
    script.beat(88, "marketdata", "execution")
    script.hear(heartbeat("risk", ready=False, detail="the account is 12 s old"), 88)
    script.hear(account(), 88)
    script.hear(trade("OPEN", 10))
    script.hear(strategy())
    script.hear(halts("no_new_trades"))
    script.hear(alert("core_failed", 5, severity="critical"))
    script.hear(GrantRefused(intent_id="short_strangle-2", strategy="short_strangle", code="delta_limit", detail="x"))
    script.hear(IndexPrice(underlying="BTCUSD", price=1.0, venue_ns=0, received_ns=0), 1, "md.BTCUSD.index")
    script.tick(89)


async def test_the_page_says_mode_and_account_before_anything_was_heard(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert "<strong>paper</strong>" in page
    assert "account main" in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert page.count("setTimeout(renew, 2000);") == 2
    assert 'name="viewport"' in page
    for text in ("Not read yet.", "None yet.", "No host was heard yet.", "Execution was not heard yet.", "unheard"):
        assert text in page, text


async def test_what_the_script_renews_in_place_is_on_every_page_once(
    client: httpx.AsyncClient, script: Script
) -> None:
    """The script replaces header and main, tells tables apart by section and first heading, and shows #lost."""
    empty = (await client.get("/")).text
    fill(script)
    for page in (empty, (await client.get("/")).text):
        for tag in ("<header ", "<main>", '<p id="lost" '):
            assert page.count(tag) == 1, tag
        main = page.partition("<main>")[2].partition("</main>")[0]
        assert "<script" not in main
        names = []
        for section in main.split("<section ")[1:]:
            section_id = section.split('"')[1]
            names += [section_id + box.split("<th>", 1)[1].split("<")[0] for box in section.split('"scroll"')[1:]]
        assert len(set(names)) == len(names)
        assert main.count('"scroll"') == len(names)


async def test_the_page_shows_what_the_desk_holds_and_what_is_wrong(
    client: httpx.AsyncClient, script: Script
) -> None:
    fill(script)
    page = (await client.get("/")).text
    for text in (
        "100,012.50",
        "the account is 12 s old",
        "sell 0.1 of 0.1 BTCUSD-27MAR26-110000-C",
        "time_window: open from 09:00 to 17:00 UTC",
        "Trading is halted.",
        "core_failed",
        "delta_limit",
        "Silent feeds: md.BTCUSD.index",
        "Some positions have no Greeks now",
        "-0.0312",
    ):
        assert text in page, text
    assert "cooldown" not in page
    assert ">unheard<" in page or ">down<" in page


async def test_text_from_outside_is_shown_as_text(client: httpx.AsyncClient, script: Script) -> None:
    fill(script)
    page = (await client.get("/")).text
    assert "<b>lost the feed</b>" not in page
    assert "&lt;b&gt;lost the feed&lt;/b&gt;" in page


async def test_the_same_as_json_keeps_figures_exact(client: httpx.AsyncClient, script: Script) -> None:
    fill(script)
    body = (await client.get("/api/status")).json()
    assert (body["mode"], body["desk"]) == ("paper", "demo")
    status = body["status"]
    assert status["account"]["equity_usd"] == "100012.50"
    assert [view["name"] for view in status["services"]] == ["marketdata", "risk", "execution", "strategy"]
    assert status["trades"][0]["state"] == "OPEN"


async def test_the_health_check_names_what_is_down(client: httpx.AsyncClient, script: Script) -> None:
    assert (await client.get("/healthz")).text == "ok\n"
    script.beat(30, "marketdata", "execution", "strategy")
    script.tick(31)
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "down: risk\n")


async def test_nothing_can_be_changed_through_the_page(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, "/")).status_code == 405
    assert (await client.get("/docs")).status_code == 404


def test_figures_are_readable() -> None:
    assert utc_text(START) == "2026-02-25 06:13:20"
    assert utc_text(None) == age_text(None, 0) == figure_text(None) == figure_text(float("nan")) == "–"
    ages = [age_text(0, seconds * SECOND) for seconds in (1, 600, 36_000, 864_000)]
    assert ages == ["1.0 s", "10.0 min", "10.0 h", "10.0 d"]


def test_every_topic_that_the_monitor_looks_at_is_heard_and_market_data_is_not() -> None:
    assert prefixes_of("marketdata") == ("sys.marketdata.",)
    assert prefixes_of("execution") == ("exec.", "sys.execution.")
    assert prefixes_of("exchange") == ("sys.exchange.",)

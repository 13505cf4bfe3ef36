"""The dashboard of a running desk in a real browser, on a desktop and on a phone.

With VOLDESK_SHOTS=FOLDER the pictures of the documentation are taken anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.sync_api import Browser, Page, expect

from services.monitor.web.pages import PAGES
from tests.e2e.browser import PASSWORD, Look, Scheme, Screen, started
from tests.e2e.conftest import make_desk, strangle_file, take_down
from tests.e2e.stack import Desk, newest_in, until

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

BLOCKS = """
from shared.strategy import LegSpec, RfqConfig, StrategyConfig, max_hold_hours

FAR = {"dte_min": 2, "dte_max": 200, "target": "near"}


def blocks() -> StrategyConfig:
    return StrategyConfig(
        name="blocks",
        legs=[
            LegSpec("P", "buy", "0.5", {"type": "delta", "value": -0.4}, FAR, underlying="BTCUSD"),
            LegSpec("P", "sell", "0.5", {"type": "delta", "value": -0.2}, FAR, underlying="BTCUSD"),
        ],
        exit_conditions=[max_hold_hours(10 / 3600)],
        execution_mode="rfq",
        rfq=RfqConfig(
            min_notional_usd=0,
            window_seconds=12,
            timeout_seconds=20,
            min_improvement_usd=-1e6,
            max_over_mark_pct=1000,
            fallback_mode=None,
        ),
        cooldown_seconds=1,
        check_interval_seconds=1,
    )
"""
"""Opened and closed by request for quote all the time, at whatever makers ask."""

SCREENS: tuple[Screen, ...] = get_args(Screen)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as made:
        yield made


@pytest.fixture(scope="module")
def desk(browser: Browser) -> Iterator[Desk]:
    """One strategy that opens and closes all the time, one that holds, and one that asks makers."""
    files = {
        "quick": strangle_file("quick", "1", hold_s=25, cooldown_s=3),
        "patient": strangle_file("patient", "2", hold_s=3_000, cooldown_s=3_600),
        "blocks": BLOCKS,
    }
    made = make_desk("browser", 9, ["quick", "patient", "blocks"], files)
    up = made.at_terminal("up", "--timeout", "180")
    assert up.code == 0, up.out + made.logs()
    assert up.out.count("/setup/") == 1
    assert "/setup/" not in made.logs()
    made.setup_link = next(line.strip() for line in up.out.splitlines() if "/setup/" in line)
    again = made.voldesk("up")
    assert "`voldesk web` prints a link" in again.out
    assert "/setup/" not in again.out + again.err, "no terminal, and the link of the start still holds"
    yield made
    take_down(made)


@pytest.fixture(scope="module")
def anna(browser: Browser, desk: Desk) -> Any:
    """What a browser keeps of the first user, who was made with the one-time link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(desk.setup_link)
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password, 12").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Make the user").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    state = context.storage_state()
    context.close()
    assert desk.voldesk("web", "--json").json["setup_link"] is None
    assert desk.setup_link.rpartition("/")[2] not in desk.logs()
    return state


@pytest.fixture(params=SCREENS)
def look(request: pytest.FixtureRequest, browser: Browser, desk: Desk, anna: Any) -> Iterator[Look]:
    """A browser that is logged in; at the end its console must have said nothing."""
    with Look(browser, url_of(desk), anna, request.param) as made:
        yield made
        assert made.complaints == []


def url_of(desk: Desk) -> str:
    url: str = desk.voldesk("web", "--json").json["url"]
    return url


def test_one_logs_in_with_the_password_and_out_again(browser: Browser, desk: Desk, anna: Any) -> None:
    with Look(browser, url_of(desk), None, "phone") as look:
        page = look.page
        look.go("/trades")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        page.get_by_label("Name").fill("anna")
        page.get_by_label("Password").fill("a wrong password")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Trades")
        page.locator(".more summary").click()
        page.locator(".sheet").get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_trade_is_seen_to_open_to_move_and_to_close_without_a_reload(look: Look, desk: Desk) -> None:
    page = look.page
    look.go("/trades")
    known = {each["trade_id"] for each in desk.trades("quick")}

    def newly_open() -> str | None:
        trade = newest_in(desk, "quick", ("OPEN",))
        return None if trade is None or trade["trade_id"] in known else trade["trade_id"]

    trade_id = until(desk, "a trade opens", newly_open)
    row = page.locator(f"#open_trades #row-{trade_id}")
    expect(row.locator(".badge")).to_have_text("OPEN")
    net = row.locator('td[data-label="after fees and funding, USD"]')
    expect(net).to_have_text(re.compile(r"^[+-]?[\d,]+\.\d\d$"))
    expect(net).not_to_have_text(net.inner_text())
    expect(page.locator(f"#ended_trades #row-{trade_id} .badge")).to_have_text("CLOSED")
    expect(row).to_have_count(0)
    assert not look.was_reloaded


def test_quotes_are_seen_to_come_in_both_directions_their_life_counted_down_and_one_to_be_taken(look: Look) -> None:
    page = look.page
    look.go("/rfq")
    card = page.locator("#rfq article", has=page.locator("h3 .badge", has_text="COLLECTING")).first
    quote = card.locator('tr[id^="quote-"]').first
    expect(quote).to_be_visible()
    expect(card.locator("caption", has_text="what the trade wants")).to_be_visible()
    expect(card.locator("caption")).to_have_count(2)
    expect(quote.locator('td[data-label="better, USD"]')).to_have_text(re.compile(r"^[+-]?[\d,]+\.\d\d$|^–$"))
    life = quote.locator("time[data-until]")
    expect(life).to_have_text(re.compile(r"^\d+ (s|min) left$"))
    judged = card.locator(".facts time[data-until]").first
    expect(judged).to_have_text(re.compile(r"^\d+ s left$"))
    taken = page.locator("#rfq article", has=page.locator("h3 .badge", has_text="FILLED")).first
    expect(taken.locator("th .badge", has_text="taken")).to_be_visible()
    assert not look.was_reloaded
    taken.locator(".facts a").click()
    expect(page.locator("#quotes article").first).to_be_visible()


def test_a_trade_is_closed_by_hand_after_a_confirmation(browser: Browser, desk: Desk, anna: Any) -> None:
    trade_id = until(desk, "a trade is open", lambda: newest_in(desk, "patient", ("OPEN",)))["trade_id"]
    with Look(browser, url_of(desk), anna, "phone") as look:
        look.go(f"/trade?trade={trade_id}")
        expect(look.page.locator("#payoff canvas")).to_be_visible()
        look.page.get_by_role("link", name="Close trade").click()
        expect(look.page.locator("#dialog")).to_contain_text(f"Close what trade {trade_id} still holds?")
        expect(look.page.locator("#dialog .deskline")).to_have_text(re.compile("paper.*account browser"))
        look.page.locator("#dialog").get_by_role("link", name="Back").click()
        assert desk.trade(trade_id)["state"] == "OPEN"
        look.page.get_by_role("link", name="Close trade").click()
        look.confirm()
        expect(look.page.locator("#trade .badge").first).to_have_text("CLOSED")
        expect(look.page.locator("#story")).to_contain_text("web:anna")
        look.go("/audit")
        expect(look.page.locator("#audit tbody tr").first).to_contain_text(f"close {trade_id}")


def test_a_strategy_is_paused_and_resumed(look: Look, desk: Desk) -> None:
    page = look.page
    look.go("/strategies")
    card = page.locator("#strategy-quick")
    expect(card.locator("h2 .badge")).to_have_text("running")
    card.get_by_role("link", name="Pause").click()
    look.confirm()
    expect(card.locator("h2 .badge")).to_have_text("paused")
    states = {each["strategy"]: each["state"] for each in desk.look("strategies", "--json").json}
    assert states["quick"] == "paused"
    card.get_by_role("link", name="Resume").click()
    look.confirm()
    expect(card.locator("h2 .badge")).to_have_text("running")
    assert not look.was_reloaded


def test_trading_is_halted_from_any_page_and_the_halt_is_lifted(look: Look, desk: Desk) -> None:
    page = look.page
    look.go("/orders")
    page.get_by_role("link", name="Halt", exact=True).click()
    page.locator("#dialog").get_by_label("Reason").fill("a drill")
    look.confirm()
    expect(page.locator("#banner")).to_contain_text("Trading is halted.")
    expect(page.locator("#banner")).to_contain_text("a drill")
    halted = desk.voldesk("status", "--json")
    assert halted.code == 0
    page.locator("#banner").get_by_role("link", name="Lift").click()
    look.confirm()
    expect(page.locator("#banner")).not_to_contain_text("Trading is halted.")
    assert not look.was_reloaded


def test_a_page_says_that_the_monitor_is_away_and_goes_on_after(browser: Browser, desk: Desk, anna: Any) -> None:
    with Look(browser, url_of(desk), anna, "phone") as look:
        look.go("/")
        expect(look.page.locator("#summary")).to_contain_text("Equity")
        desk.kill("monitor")
        expect(look.page.locator("#link-state")).to_contain_text("no connection")
        expect(look.page.locator("#link-state")).to_have_text("")
        assert not look.was_reloaded


def test_a_viewer_is_shown_no_button_that_acts(browser: Browser, desk: Desk, anna: Any) -> None:
    assert desk.voldesk("web", "add", "bert", "--role", "viewer", answer=PASSWORD + "\n").code == 0
    with Look(browser, url_of(desk), None, "desktop") as look:
        look.go("/strategies")
        look.page.get_by_label("Name").fill("bert")
        look.page.get_by_label("Password").fill(PASSWORD)
        look.page.get_by_role("button", name="Log in").click()
        expect(look.page.locator("#strategy-quick")).to_be_visible()
        expect(look.page.locator(".act:visible")).to_have_count(0)


@pytest.mark.parametrize("scheme", get_args(Scheme))
@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_fits_the_screen_and_can_be_used_by_everybody(
    browser: Browser, desk: Desk, anna: Any, screen: Screen, scheme: Scheme
) -> None:
    """No page is wider than the screen, axe-core finds nothing in it, and the browser's console says nothing."""
    trade_id = until(desk, "there is a trade", lambda: desk.trades())[0]["trade_id"]
    found = []
    with Look(browser, url_of(desk), anna, screen, scheme) as look:
        for page in PAGES:
            path = {"overview": "/", "trade": f"/trade?trade={trade_id}"}.get(page.name, f"/{page.name}")
            look.go(path)
            expect(look.page.locator(f"#{page.sections[-1]} > *").first).to_be_visible()
            if page.fixed & {"equity", "payoff", "smile"}:
                expect(look.page.locator(".chart > *").first).to_be_visible()
            if screen == "phone":
                found += [f"{page.name}: {each} is hard to hit" for each in look.small_targets()]
            found += [f"{page.name}: {each} is out of sight" for each in look.out_of_sight()]
            wide = look.overflow_px()
            found += [f"{page.name} is {wide} px too wide"] if wide > 0 else []
            found += [f"{page.name}: {each}" for each in look.violations()]
        look.page.get_by_role("link", name="Halt", exact=True).click()
        expect(look.page.locator("#dialog button.primary")).to_be_visible()
        wide = look.page.locator("#dialog").evaluate("box => box.scrollWidth - box.clientWidth")
        found += [f"the dialog is {wide} px too wide"] if wide > 0 else []
        found += [f"dialog: {each}" for each in look.violations()]
        found += look.complaints
    assert found == []


SHOTS: tuple[tuple[str, str, Screen, Scheme], ...] = (
    ("overview", "/", "desktop", "light"),
    ("trade", "/trade?trade={trade}", "desktop", "dark"),
    ("phone-overview", "/", "phone", "dark"),
    ("phone-trades", "/trades", "phone", "light"),
    ("phone-risk", "/risk", "phone", "dark"),
)


@pytest.mark.skipif(not os.environ.get("VOLDESK_SHOTS"), reason="pictures are taken with VOLDESK_SHOTS=docs/images")
def test_pictures_for_the_documentation(browser: Browser, desk: Desk, anna: Any) -> None:
    folder = Path(os.environ["VOLDESK_SHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    for name, path, screen, scheme in SHOTS:
        trade_id = until(desk, "a trade is open", lambda: newest_in(desk, "quick", ("OPEN",)))["trade_id"]
        with Look(browser, url_of(desk), anna, screen, scheme) as look:
            look.go(path.format(trade=trade_id))
            settle(look.page)
            look.page.screenshot(path=folder / f"dashboard-{name}.png")


def settle(page: Page) -> None:
    """Until what is drawn by script is there."""
    for chart in page.locator(".chart").all():
        expect(chart.locator("> *").first).to_be_visible()
    expect(page.locator("main section > *").first).to_be_visible()

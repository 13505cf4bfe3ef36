"""The widest rows that a table can hold, in a real browser: what one presses stays in sight."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.trades import OrderList
from tests.e2e.browser import Look, Screen, started
from tests.integration.monitor.dashboard import Dashboard
from tests.integration.monitor.test_dashboard_pages import ORDER, execution

WIDE = msgspec.structs.replace(
    ORDER,
    trade_id="t60180509",
    attempt=12,
    symbol="BTCUSD-27MAR27-105000-C",
    purpose="unwind",
    quantity=Decimal("1234.125"),
    filled_quantity=Decimal("1033.125"),
    price=Decimal("12345.5"),
    average_price=Decimal("12344.25"),
    trigger_price=Decimal("12340.5"),
    state="UNKNOWN",
    waits=True,
    reason="the venue did not answer within 3,000 ms: its own list of orders is asked, then the executions",
)


@pytest.mark.parametrize("screen", ["desktop", "phone"])
async def test_an_order_with_the_longest_figures_can_be_cancelled(dashboard: Dashboard, screen: Screen) -> None:
    def answers(message: Message) -> Message | None:
        return OrderList(orders=(WIDE,)) if type(message).__name__ == "ListOrders" else execution(message)

    await dashboard.serve("execution", answers)
    http = await dashboard.logged_in()
    cookies = [{"name": name, "value": value, "url": dashboard.url} for name, value in http.cookies.items()]
    await http.aclose()

    def look() -> tuple[int, list[str], int]:
        with started() as browser, Look(browser, dashboard.url, {"cookies": [], "origins": []}, screen) as made:
            made.context.add_cookies(cookies)  # type: ignore[arg-type]
            made.go("/orders")
            return made.page.locator(".acts .button").count(), made.out_of_sight(), made.overflow_px()

    assert await asyncio.to_thread(look) == (1, [], 0)

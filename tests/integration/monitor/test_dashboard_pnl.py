"""The page of P&L and the attribution of a trade, over real HTTP, from what the history sampled."""

from __future__ import annotations

import pytest

from tests.integration.monitor.dashboard import Dashboard
from tests.integration.monitor.test_dashboard_pages import execution


@pytest.fixture
async def filled(dashboard: Dashboard) -> Dashboard:
    dashboard.fill()
    await dashboard.serve("execution", execution)
    return dashboard


def sample(filled: Dashboard) -> None:
    """The open trade of the desk on its mark, when the account was read."""
    account = filled.script.core.status(filled.now_ns()).account
    assert account is not None
    filled.history.look(filled.script.core.status(account.received_ns))
    filled.history.write()


async def test_pnl_by_day_and_strategy_and_the_attribution_of_a_trade_are_shown(filled: Dashboard) -> None:
    sample(filled)
    async with filled.client(headers=filled.token("read")) as http:
        (day,) = (await http.get("/api/pnl")).json()
        (strategy,) = (await http.get("/api/pnl", params={"by": "strategy"})).json()
        (trade,) = (await http.get("/api/attribution", params={"trade": "t1"})).json()
        assert (await http.get("/api/attribution", params={"trade": "unknown"})).json() == []
    # realised 12.50 and 12.5 open, fees 1.25, as the page of the trade has it
    assert (day["pnl_usd"], day["fees_usd"], day["net_usd"], day["trades"]) == (25.0, 1.25, 23.75, 1)
    assert {key: value for key, value in strategy.items() if key != "group"} == {
        key: value for key, value in day.items() if key != "group"
    }
    names = ("delta_usd", "gamma_usd", "theta_usd", "vega_usd", "execution_usd", "residual_usd")
    assert (trade["trade_id"], trade["pnl_usd"]) == ("t1", 25.0)
    assert sum(trade[name] for name in names) == pytest.approx(25.0)
    async with await filled.logged_in() as http:
        page = (await http.get("/pnl")).text
        of_trade = (await http.get("/trade", params={"trade": "t1"})).text
    assert "23.75" in page
    assert strategy["group"] in page
    assert 'data-series="vega_usd,theta_usd"' in page
    assert "Where its P&amp;L came from" in of_trade
    assert filled.errors == []


async def test_without_samples_the_page_says_so(filled: Dashboard) -> None:
    async with await filled.logged_in() as http:
        page = (await http.get("/pnl")).text
        assert "No trade was sampled in that time." in page
        assert "Where its P&amp;L came from" not in (await http.get("/trade", params={"trade": "t1"})).text
    assert filled.errors == []

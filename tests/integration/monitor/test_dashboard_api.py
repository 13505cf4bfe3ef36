"""The JSON API: every answer is as its document says, and the document has every route."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.monitor.dashboard import Dashboard
from tests.integration.monitor.test_dashboard_pages import execution
from tests.unit.monitor.desk import SYMBOL


@pytest.fixture
async def filled(dashboard: Dashboard) -> Dashboard:
    dashboard.fill()
    await dashboard.serve("execution", execution)
    return dashboard


def undocumented(value: Any, schema: dict[str, Any], parts: dict[str, Any], at: str = "") -> list[str]:
    """The keys of an answer that its schema does not name."""
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    options = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if options:
        return [] if value is None else undocumented(value, options[0], parts, at)
    if isinstance(value, list):
        return [name for each in value for name in undocumented(each, schema.get("items", {}), parts, f"{at}[]")]
    if isinstance(value, dict) and "properties" in schema:
        names = [f"{at}.{key}" for key in value if key not in schema["properties"]]
        for key, inner in schema["properties"].items():
            names += undocumented(value.get(key), inner, parts, f"{at}.{key}")
        return names
    return []


async def test_every_answer_has_the_shape_that_the_document_says(filled: Dashboard) -> None:
    (filled.run_dir / "logs").mkdir()
    (filled.run_dir / "logs" / "execution.log").write_text('{"event": "started", "level": "info", "at": "x"}\n')
    headers = filled.token("read")
    async with filled.client(headers=headers) as http:
        document = (await http.get("/openapi.json")).json()
        parts = document["components"]["schemas"]
        seen = 0
        for path, methods in document["paths"].items():
            assert path.startswith("/api/"), path
            if "get" not in methods:
                continue
            address = path.format(trade_id="t1", underlying="BTCUSD", series="equity_usd")
            answer = await http.get(address, params={"every": "1"} if path == "/api/orders" else {})
            if path in ("/api/limits", "/api/stress", "/api/chain/{underlying}", "/api/trades/{trade_id}/payoff"):
                assert answer.status_code in (404, 503), path
                continue
            assert answer.status_code == 200, (path, answer.text)
            schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert methods["get"]["description"], path
            if path == "/api/trades/{trade_id}":
                continue
            assert undocumented(answer.json(), schema, parts) == [], path
            seen += 1
    assert seen >= 18


async def test_figures_are_exact_and_live(filled: Dashboard) -> None:
    async with filled.client(headers=filled.token("read")) as http:
        told = (await http.get("/api/overview")).json()
        assert (told["mode"], told["account"]["equity_usd"], told["open_trades"]) == ("paper", "100012.50", 1)
        assert [each["state"] for each in told["services"]] == ["ready", "not ready", "ready", "unheard"]
        (trade,) = (await http.get("/api/trades")).json()
        # sold 0.1 at 3250, mark 3125: 12.5 open beside the 12.50 realised, fees 1.25
        assert (trade["pnl_usd"], trade["net_pnl_usd"]) == (25.0, 23.75)
        assert trade["greeks"]["delta"] == pytest.approx(-0.0312)
        assert (await http.get("/api/positions")).json()[0]["symbol"] == SYMBOL
        (order,) = (await http.get("/api/orders")).json()
        assert order["order_id"] == "1234567890123456789"
        story = (await http.get("/api/trades/t1")).json()
        assert story["trade"]["trade_id"] == "t1"
        assert story["story"][0]["kind"] == "order_sent"


async def test_what_cannot_be_answered_is_an_error_that_says_why(filled: Dashboard) -> None:
    async with filled.client(headers=filled.token("read")) as http:
        for path, status, words in (
            ("/api/trades/t9", 404, "no such trade"),
            ("/api/chain/DOGEUSD", 404, "BTCUSD"),
            ("/api/limits", 503, "risk does not answer"),
            ("/api/logs?service=nothing", 404, "execution, monitor"),
            ("/api/trades?limit=0", 422, "greater than or equal"),
            ("/api/history/equity_usd?hours=-1", 422, "greater than"),
            ("/api/nothing", 404, "Not Found"),
        ):
            answer = await http.get(path)
            assert answer.status_code == status, path
            assert words in answer.text, (path, answer.text)

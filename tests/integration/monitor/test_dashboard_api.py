"""The JSON API: every answer is as its document says, and the document has every route."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest

from services.monitor.web.store import SCOPES
from shared.messages.base import Message
from shared.messages.inquiries import InquiryList, ListInquiries
from shared.messages.quality import ListQuality, QualityList
from shared.messages.trades import TellTrade, TradeStory
from tests.integration.monitor.dashboard import Dashboard
from tests.integration.monitor.peers import FORWARD, VOL, risk
from tests.integration.monitor.test_dashboard_pages import execution
from tests.unit.monitor.desk import START, SYMBOL
from tests.unit.voldesk.test_rfq import ANSWER
from tests.unit.voldesk.test_tca import LEG, phase


def execution_with_records(message: Message) -> Message | None:
    match message:
        case ListQuality():
            return QualityList(phases=(phase(began_ns=START),), kept_since_ns=0)
        case ListInquiries():
            return InquiryList(inquiries=(ANSWER,))
        case TellTrade(trade_id="t1"):
            story = execution(message)
            assert isinstance(story, TradeStory)
            return msgspec.structs.replace(story, quality=(phase(legs=(LEG,)),))
    return execution(message)


@pytest.fixture
async def filled(dashboard: Dashboard) -> Dashboard:
    dashboard.fill()
    await dashboard.serve("execution", execution_with_records)
    return dashboard


def undocumented(value: Any, schema: dict[str, Any], parts: dict[str, Any], at: str = "") -> list[str]:
    """The keys of an answer that its schema does not name, and objects of which it says nothing at all."""
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
    if isinstance(value, dict):
        inner = schema.get("additionalProperties")
        if not isinstance(inner, dict):
            return [f"{at}: any object"]
        return [name for key, each in value.items() for name in undocumented(each, inner, parts, f"{at}.{key}")]
    return []


async def answer_of(http: httpx.AsyncClient, path: str, **params: str) -> httpx.Response:
    """The answer once what it is made of was heard: market data are subscribed to at the first look."""
    async with asyncio.timeout(60):
        while (answer := await http.get(path, params=params)).status_code in (404, 503):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
    return answer


async def test_every_answer_has_the_shape_that_the_document_says(filled: Dashboard) -> None:
    await filled.serve("risk", risk)
    await filled.serve_market()
    (filled.run_dir / "logs").mkdir()
    (filled.run_dir / "logs" / "execution.log").write_text('{"event": "started", "level": "info", "at": "x"}\n')
    headers = filled.token("read")
    async with filled.client(headers=headers) as http:
        document = (await http.get("/openapi.json")).json()
        parts = document["components"]["schemas"]
        ((name, scheme),) = document["components"]["securitySchemes"].items()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        assert document["security"] == [{name: []}]
        assert all(f"{scope}:" in scheme["description"] for scope in SCOPES)
        seen = 0
        for path, methods in document["paths"].items():
            assert path.startswith("/api/"), path
            if "get" not in methods:
                continue
            address = path.format(trade_id="t1", underlying="BTCUSD", series="equity_usd")
            answer = await answer_of(http, address, **({"every": "1"} if path == "/api/orders" else {}))
            assert answer.status_code == 200, (path, answer.text)
            schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert methods["get"]["description"], path
            assert undocumented(answer.json(), schema, parts) == [], path
            seen += 1
    assert seen >= 22
    untyped = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, each in part.get("properties", {}).items()
        if '"additionalProperties": true' in json.dumps(each)
    ]
    assert untyped == []


async def test_the_figures_of_risk_and_of_the_market_are_told_as_they_are(filled: Dashboard) -> None:
    await filled.serve("risk", risk)
    await filled.serve_market()
    async with filled.client(headers=filled.token("read")) as http:
        limits = (await answer_of(http, "/api/limits")).json()
        assert (limits["closest"]["name"], limits["closest"]["use_pct"]) == ("total_risk", 85.0)
        # more than a limit of nothing has no number in JSON
        assert [each["use_pct"] for each in limits["limits"]] == [85.0, 50.0, None, None]
        losses, drawdown = limits["breakers"]
        assert (losses["state"], losses["half_open_at"]) == ("open", "2026-02-25T07:13:20.000Z")
        assert (drawdown["since"], drawdown["halts"]) == (None, True)
        assert limits["margin_guard"]["thresholds_pct"]["reduce"] == 75.0
        assert [each["error_pct"] for each in limits["margin_models"]] == [2.91, None]
        stress = (await answer_of(http, "/api/stress")).json()
        assert stress["pnl_usd"][1] == [-1500.0, -200.0, -700.0]
        assert (stress["stressed_loss_usd"], stress["limit_usd"], stress["complete"]) == (1500.0, 2500.0, True)
        assert stress["positions"] == [{"symbol": SYMBOL, "underlying": "BTCUSD", "pnl_usd": -1500.0}]
        chain = (await answer_of(http, "/api/chain/BTCUSD")).json()
        assert (chain["index_price"], [each["expiry"] for each in chain["expiries"]]) == (FORWARD, ["27MAR26"])
        assert {each["iv"] for each in chain["expiries"][0]["options"]} == {VOL}
        payoff = (await answer_of(http, "/api/trades/t1/payoff")).json()
        # 0.1 calls sold at 3250: all of it is kept below the strike
        assert (payoff["forward"], payoff["at_expiry"][0]) == (FORWARD, 325.0)
        assert all(value is not None for value in payoff["now"])


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

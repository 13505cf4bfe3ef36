"""The JSON API: what the pages show, and the same actions. Its document is /openapi.json; tokens by `voldesk web`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.openapi.utils import get_openapi

from services.monitor.alerts import alert_view
from services.monitor.views import RefusedIntent, ServiceView
from services.monitor.web import api_models as shapes
from services.monitor.web import api_risk_models as risk_shapes
from services.monitor.web.actions import ACTIONS, BadRequest, Performer, is_allowed
from services.monitor.web.api_execution import Limit, add_execution_api
from services.monitor.web.data import payoff_of
from services.monitor.web.desk import WebDesk
from services.monitor.web.logs import shown_lines
from services.monitor.web.reading import asked
from services.monitor.web.store import AuditLine
from services.monitor.web.texts import service_state
from services.monitor.web.trading import TradeRow, change_today_usd, closed_today_usd, open_trades, trade_rows
from shared.log_lines import Level, Track
from shared.log_query import LogQuery
from shared.messages.alerts import AlertList
from shared.messages.reconciliation import DifferenceList, ListDifferences
from shared.messages.risk import GetRisk, RiskAnswer
from shared.messages.trades import TellTrade, TradeStory
from shared.risk_views import limits_json, stress_json
from shared.views import (
    account_json,
    alert_json,
    alerts_json,
    differences_json,
    greeks_json,
    halts_json,
    iso,
    plain,
    position_json,
    story_json,
    strategy_json,
    trade_json,
)

_TOKEN = (
    "A token of `voldesk web token NAME --scope SCOPE`. read: every GET. halt: also the actions halt and pause. "
    "operate: every action. A browser that is logged in may read by its session too."
)


def describe(routes: FastAPI) -> None:
    """Have the API's document say how one is let in: what is in front of the routes is not theirs to tell."""

    def document() -> dict[str, Any]:
        if routes.openapi_schema is None:
            made = get_openapi(title=routes.title, version=routes.version, routes=routes.routes)
            parts = made.setdefault("components", {})
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": _TOKEN}}
            made["security"] = [{"token": []}]
            routes.openapi_schema = made
        return routes.openapi_schema

    routes.openapi = document  # type: ignore[method-assign]


def add_api(routes: FastAPI, desk: WebDesk, performer: Performer, changed: Callable[[], None]) -> None:
    """Every route below /api/."""
    _add_state(routes, desk)
    _add_trading(routes, desk)
    add_execution_api(routes, desk)
    _add_records(routes, desk)
    _add_actions(routes, desk, performer, changed)
    describe(routes)


def _add_state(routes: FastAPI, desk: WebDesk) -> None:
    @routes.get("/api/overview", response_model=shapes.OverviewShape)
    async def overview() -> dict[str, Any]:
        """The desk at a glance."""
        status = desk.status()
        account = status.account
        return {
            "desk": desk.header.desk,
            "mode": desk.header.mode,
            "venue": desk.header.venue,
            "account_id": desk.header.account_id,
            "at": iso(status.now_ns),
            "account": None if account is None else account_json(account),
            "equity_change_usd": None if account is None else change_today_usd(account),
            "closed_today_usd": plain(closed_today_usd(status)),
            "open_trades": len(open_trades(status)),
            "open_alerts": sum(matter.is_open for matter in status.alerts),
            "services": [service_json(view) for view in status.services],
            "halts": None if status.halts is None else halts_json(status.halts),
            "silent_feeds": list(status.silent_feeds),
        }

    @routes.get("/api/services", response_model=list[shapes.ServiceShape])
    async def services() -> list[dict[str, Any]]:
        """Every service, and whether it is ready."""
        return [service_json(view) for view in desk.status().services]

    @routes.get("/api/halts", response_model=shapes.HaltsShape | None)
    async def halts() -> dict[str, Any] | None:
        """What halts trading; null before execution was heard."""
        found = desk.status().halts
        return None if found is None else halts_json(found)

    @routes.get("/api/account", response_model=shapes.AccountShape | None)
    async def account() -> dict[str, Any] | None:
        """The account as risk read it last; null before."""
        found = desk.status().account
        return None if found is None else account_json(found)

    @routes.get("/api/strategies", response_model=list[shapes.StrategyShape])
    async def strategies() -> list[dict[str, Any]]:
        """Every strategy with its gates and the exits of its trades."""
        return [strategy_json(each) for each in desk.status().strategies]

    @routes.get("/api/alerts", response_model=list[shapes.AlertShape])
    async def alerts(only_open: bool = False, limit: Limit = 200) -> list[dict[str, Any]]:
        """Alerts, newest first."""
        found = [matter for matter in desk.status().alerts if matter.is_open or not only_open]
        return [alert_json(alert_view(matter)) for matter in found[:limit]]

    @routes.get("/api/channels", response_model=list[shapes.ChannelShape])
    async def channels() -> list[dict[str, Any]]:
        """Who is told of alerts, and whether that works."""
        found = AlertList(alerts=(), channels=desk.status().channels)
        return list(alerts_json(found)["channels"])

    @routes.get("/api/refusals", response_model=list[shapes.RefusalShape])
    async def refusals(limit: Limit = 50) -> list[dict[str, Any]]:
        """Intents that risk refused, newest first."""
        return [refusal_json(each) for each in desk.status().refusals[:limit]]


def _add_trading(routes: FastAPI, desk: WebDesk) -> None:
    @routes.get("/api/positions", response_model=list[shapes.PositionShape])
    async def positions() -> list[dict[str, Any]]:
        """Net positions at the venue."""
        account = desk.status().account
        return [] if account is None else [position_json(each) for each in account.positions]

    @routes.get("/api/differences", response_model=shapes.DifferencesShape)
    async def differences() -> dict[str, Any]:
        """What the newest comparisons with the venue found, newest first; foreign positions can be adopted."""
        return differences_json(await asked(desk.reader, "execution", ListDifferences(), DifferenceList))

    @routes.get("/api/trades", response_model=list[shapes.TradeShape])
    async def trades(only_open: bool = False, limit: Limit = 200) -> list[dict[str, Any]]:
        """Trades with live figures, newest first."""
        status = desk.status()
        chosen = open_trades(status) if only_open else list(status.trades)
        return [row_json(row) for row in trade_rows(chosen[:limit], status.account)]

    @routes.get("/api/trades/{trade_id}", response_model=shapes.StoryShape)
    async def trade(trade_id: str) -> dict[str, Any]:
        """The whole story of one trade."""
        story = await asked(desk.reader, "execution", TellTrade(trade_id=trade_id[:100]), TradeStory, missing=404)
        (row,) = trade_rows([story.trade], desk.status().account)
        return {**story_json(story), "trade": row_json(row)}

    @routes.get("/api/trades/{trade_id}/payoff", response_model=shapes.PayoffShape)
    async def trade_payoff(trade_id: str) -> dict[str, Any]:
        """What the trade is worth against the price of its underlying, now and at its first expiry, before fees."""
        found = await payoff_of(desk, trade_id)
        if "reason" in found:
            raise HTTPException(404, str(found["reason"]))
        return found

    @routes.get("/api/limits", response_model=risk_shapes.LimitsShape | None)
    async def limits() -> dict[str, Any] | None:
        """Every limit with its use, breakers, the margin guard; null before the account was read."""
        found = (await asked(desk.reader, "risk", GetRisk(), RiskAnswer)).limits
        return None if found is None else _finite(limits_json(found))

    @routes.get("/api/stress", response_model=risk_shapes.StressShape | None)
    async def stress() -> dict[str, Any] | None:
        """What the positions make under moves of spot and volatility; null before it was computed."""
        found = (await asked(desk.reader, "risk", GetRisk(), RiskAnswer)).stress
        return None if found is None else stress_json(found)

    @routes.get("/api/chain/{underlying}", response_model=shapes.ChainShape)
    async def chain(underlying: str, expiry: str = "", every: bool = False) -> dict[str, Any]:
        """The option chain around the money, `every`: all strikes; one expiry where it is given."""
        if underlying not in desk.market.underlyings:
            raise HTTPException(404, f"underlyings of this desk: {', '.join(desk.market.underlyings)}")
        view = await desk.market.next_chain(underlying)
        if view is None:
            raise HTTPException(503, "no chain was heard yet")
        # imported here because arrays take memory that a desk without a viewer does not need
        from shared.options.smiles import chain_json, smiles_of

        smiles = [smile for smile in smiles_of(view) if not expiry or smile.name == expiry]
        if not smiles:
            raise HTTPException(404, "no such expiry is listed")
        return chain_json(view, smiles, every)


def _add_records(routes: FastAPI, desk: WebDesk) -> None:
    @routes.get("/api/logs", response_model=list[shapes.LogShape])
    async def logs(
        service: str = "",
        search: Annotated[str, Query(max_length=200)] = "",
        level: Level = "info",
        track: Track | Literal[""] = "",
        trade: Annotated[str, Query(max_length=64)] = "",
        order: Annotated[str, Query(max_length=64)] = "",
        strategy: Annotated[str, Query(max_length=200)] = "",
        limit: Limit = 200,
    ) -> list[dict[str, Any]]:
        """The newest lines that match all that is given, newest first. `search`: words that a line must all hold;
        `trade`: lines of a trade, its intent and its orders; `order`: our id or the venue's."""
        if service and service not in desk.log_names:
            raise HTTPException(404, f"services: {', '.join(desk.log_names)}")
        names = (service,) if service else desk.log_names
        query = LogQuery(
            services=names,
            tracks=(track,) if track else (),
            search=search,
            level=level,
            trade=trade.strip(),
            order=order.strip(),
            strategy=strategy.strip(),
        )
        lines = await asyncio.to_thread(shown_lines, desk.run_dir / "logs", query, limit)
        return [msgspec.structs.asdict(line) for line in lines]

    @routes.get("/api/audit", response_model=list[shapes.AuditShape])
    async def audit(limit: Limit = 200) -> list[dict[str, Any]]:
        """Who did what from the dashboard, newest first."""
        return [audit_json(line) for line in desk.store.audit(limit)]


def _add_actions(routes: FastAPI, desk: WebDesk, performer: Performer, changed: Callable[[], None]) -> None:
    @routes.post("/api/actions/{name}", response_model=shapes.OutcomeShape)
    async def act(name: str, body: shapes.ActionRequest, request: Request) -> dict[str, Any]:
        """Do something, once for each action_id. 403 without the right to."""
        action, visitor = ACTIONS.get(name), request.state.visitor
        if action is None:
            raise HTTPException(404, f"actions: {', '.join(ACTIONS)}")
        if not is_allowed(action, visitor):
            raise HTTPException(403, "this token or role may not do that")
        try:
            outcome = await performer.perform(
                action, body.fields, body.action_id, visitor.name, request.state.address
            )
        except BadRequest as error:
            raise HTTPException(400, str(error)) from None
        changed()
        return {"done": outcome.done, "text": outcome.text}


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    """With null for what JSON has no number for: the use of a limit of nothing."""
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return told


def service_json(view: ServiceView) -> dict[str, Any]:
    beat = view.heartbeat
    return {
        "name": view.name,
        "state": service_state(view),
        "detail": "" if beat is None else beat.detail,
        "pid": None if beat is None else beat.pid,
        "starts": None if beat is None else beat.starts,
        "started_at": None if beat is None else iso(beat.started_ns),
        "heard_at": None if beat is None else iso(view.heard_ns),
    }


def row_json(row: TradeRow) -> dict[str, Any]:
    return {
        **trade_json(row.trade),
        "pnl_usd": row.pnl_usd,
        "net_pnl_usd": row.net_usd,
        "greeks": greeks_json(row.greeks),
    }


def refusal_json(each: RefusedIntent) -> dict[str, Any]:
    refused = each.refused
    return {
        "at": iso(each.received_ns),
        "intent_id": refused.intent_id,
        "strategy": refused.strategy,
        "code": refused.code,
        "detail": refused.detail,
        "value": refused.value,
        "limit": refused.limit,
    }


def audit_json(line: AuditLine) -> dict[str, Any]:
    return {
        "action_id": line.action_id,
        "at": iso(line.at_ns),
        "who": line.who,
        "address": line.address,
        "what": line.what,
        "detail": line.detail,
        "outcome": line.outcome,
        "ended_at": iso(line.ended_ns),
    }

"""The pages of the dashboard: of what sections each is made, and what these need to know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from services.monitor.alerts import Matter
from services.monitor.web.desk import WebDesk
from services.monitor.web.pnl import attribution_of, pnl_page
from services.monitor.web.reading import LIVE_S
from services.monitor.web.trading import (
    account_figures,
    change_today_usd,
    closed_today_usd,
    marks_of,
    open_trades,
    trade_row,
    trade_rows,
    unit_greeks,
)
from shared.log_lines import LEVELS, TRACKS
from shared.log_query import LogQuery
from shared.messages.quality import ListQuality, QualityList
from shared.messages.quote_requests import ListQuoteRequests, QuoteRequestList
from shared.messages.reconciliation import DifferenceList, ForeignOrder, ForeignPosition, ListDifferences
from shared.messages.risk import GetRisk, RiskAnswer
from shared.messages.system import SEVERITY_RANK
from shared.messages.trades import ListOrders, OrderList, TellTrade, TradeStory
from shared.tca import summarise
from shared.views import order_name

Query = Mapping[str, str]
Gather = Callable[[WebDesk, Query], Awaitable[dict[str, Any]]]

_DAY_NS = 86_400_000_000_000
_QUALITY_DAYS = 7
_ORDERS_SHOWN = 200
_TRADES_SHOWN = 100
_REQUESTS_SHOWN = 20
_ALERTS_SHOWN = 100
_LOG_LINES_SHOWN = 200
_SILENT_LINES = frozenset({"order_sighted"})
_NOT_DRAWN = "is in the book: acknowledged."


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page. sections: names of templates, in order; those in `fixed` are drawn once and not kept up to date.

    params: the names of the query's fields that it reads. in_menu: False for what is reached from another page.
    """

    name: str
    title: str
    sections: tuple[str, ...]
    gather: Gather
    fixed: frozenset[str] = frozenset()
    params: tuple[str, ...] = ()
    in_menu: bool = True


async def overview(desk: WebDesk, _: Query) -> dict[str, Any]:
    status = desk.status()
    account = status.account
    return {
        "status": status,
        "figures": None if account is None else account_figures(account),
        "change_usd": None if account is None else change_today_usd(account),
        "closed_usd": closed_today_usd(status),
        "rows": trade_rows(open_trades(status), account),
        "index": {name: desk.market.index_price(name) for name in desk.market.underlyings},
        "open_alerts": [matter for matter in urgent_first(status.alerts) if matter.is_open],
    }


async def strategies(desk: WebDesk, _: Query) -> dict[str, Any]:
    return {"status": desk.status()}


async def trades(desk: WebDesk, _: Query) -> dict[str, Any]:
    status = desk.status()
    ended = [trade for trade in status.trades if trade.is_final]
    return {
        "status": status,
        "rows": trade_rows(open_trades(status), status.account),
        "ended": trade_rows(ended[:_TRADES_SHOWN], status.account),
        "ended_count": len(ended),
    }


async def trade(desk: WebDesk, query: Query) -> dict[str, Any]:
    status = desk.status()
    trade_id = query.get("trade", "")
    told, quoted = await asyncio.gather(
        desk.reader.ask("execution", TellTrade(trade_id=trade_id), TradeStory),
        desk.reader.ask(
            "execution", ListQuoteRequests(trade_id=trade_id, limit=_REQUESTS_SHOWN), QuoteRequestList, LIVE_S
        ),
    )
    heard = next((each for each in status.trades if each.trade_id == trade_id), None)
    story = told.answer
    newest = story.trade if story is not None else heard
    lines = (
        []
        if story is None
        else [line for line in story.lines if line.kind not in _SILENT_LINES and not line.text.endswith(_NOT_DRAWN)]
    )
    return {
        "status": status,
        **await attribution_of(desk, trade_id),
        "trade_id": trade_id,
        "problem_text": told.problem,
        "row": None if newest is None else trade_row(newest, marks_of(status.account), unit_greeks(status.account)),
        "orders": () if story is None else story.orders,
        "names": {} if story is None else {str(order.client_order_id): order_name(order) for order in story.orders},
        "lines": lines,
        "quality": () if story is None else story.quality,
        "requests": () if quoted.answer is None else quoted.answer.requests,
        "exits": next(
            (each for strategy in status.strategies for each in strategy.exits if each.trade_id == trade_id), None
        ),
    }


async def positions(desk: WebDesk, _: Query) -> dict[str, Any]:
    told = await desk.reader.ask("execution", ListDifferences(), DifferenceList)
    foreign = (
        [] if told.answer is None else [each for each in told.answer.foreign if isinstance(each, ForeignPosition)]
    )
    return {"status": desk.status(), "foreign": foreign, "problem_text": told.problem}


async def orders(desk: WebDesk, query: Query) -> dict[str, Any]:
    every = query.get("all") == "1"
    told, found = await asyncio.gather(
        desk.reader.ask("execution", ListOrders(include_final=every, limit=_ORDERS_SHOWN), OrderList),
        desk.reader.ask("execution", ListDifferences(), DifferenceList),
    )
    foreign = () if found.answer is None else found.answer.foreign
    return {
        "status": desk.status(),
        "problem_text": told.problem or found.problem,
        "orders": () if told.answer is None else told.answer.orders,
        "foreign": [each for each in foreign if isinstance(each, ForeignOrder)],
        "every": every,
        "order_name": order_name,
    }


async def chain(desk: WebDesk, query: Query) -> dict[str, Any]:
    underlyings = desk.market.underlyings
    underlying = query.get("underlying", "") if query.get("underlying") in underlyings else underlyings[0]
    view = await desk.market.next_chain(underlying)
    found: dict[str, Any] = {"status": desk.status(), "underlying": underlying, "underlyings": underlyings}
    if view is None:
        return {**found, "expiries": (), "expiry": "", "rows": (), "forward": None, "index": None}
    # imported here because arrays take memory that a desk without a viewer does not need
    from shared.options.smiles import smiles_of, strikes_around

    smiles = smiles_of(view)
    smile = next((each for each in smiles if each.name == query.get("expiry")), smiles[0] if smiles else None)
    columns = {name: view.column(name) for name in ("bid", "ask", "mark", "mark_iv", "delta", "open_interest")}

    def cells(row: int | None) -> dict[str, float | None]:
        if row is None:
            return dict.fromkeys(columns)
        values = {name: float(column[row]) for name, column in columns.items()}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    strikes = () if smile is None else strikes_around(smile, 12)
    nearest = None if smile is None or not strikes else min(strikes, key=lambda each: abs(each - smile.forward))
    return {
        **found,
        "expiries": tuple(each.name for each in smiles),
        "expiry": "" if smile is None else smile.name,
        "forward": None if smile is None or not math.isfinite(smile.forward) else smile.forward,
        "index": view.snapshot.index_price,
        "received_ns": view.snapshot.received_ns,
        "rows": [
            (strike, strike == nearest, cells(smile.calls.get(strike)), cells(smile.puts.get(strike)))
            for strike in strikes
        ]
        if smile is not None
        else [],
    }


async def rfq(desk: WebDesk, _: Query) -> dict[str, Any]:
    told = await desk.reader.ask("execution", ListQuoteRequests(limit=_REQUESTS_SHOWN), QuoteRequestList, LIVE_S)
    requests = () if told.answer is None else told.answer.requests
    return {
        "status": desk.status(),
        "problem_text": told.problem,
        "at_work": [each for each in requests if each.is_at_work],
        "over": [each for each in requests if not each.is_at_work],
    }


async def quality(desk: WebDesk, _: Query) -> dict[str, Any]:
    since_ns = desk.now_ns() - _QUALITY_DAYS * _DAY_NS
    rounded_ns = since_ns - since_ns % 60_000_000_000
    told = await desk.reader.ask("execution", ListQuality(since_ns=rounded_ns), QualityList, max_age_s=5.0)
    phases = () if told.answer is None else told.answer.phases
    return {
        "status": desk.status(),
        "problem_text": told.problem,
        "days": _QUALITY_DAYS,
        "by_strategy": summarise(phases, "strategy"),
        "by_mode": summarise(phases, "mode"),
        "newest": tuple(reversed(phases[-30:])),
    }


async def risk(desk: WebDesk, _: Query) -> dict[str, Any]:
    told = await desk.reader.ask("risk", GetRisk(), RiskAnswer)
    return {
        "status": desk.status(),
        "problem_text": told.problem,
        "limits": None if told.answer is None else told.answer.limits,
        "grid": None if told.answer is None else told.answer.stress,
    }


async def alerts(desk: WebDesk, _: Query) -> dict[str, Any]:
    status = desk.status()
    return {"status": status, "matters": urgent_first(status.alerts)[:_ALERTS_SHOWN]}


def urgent_first(matters: Iterable[Matter]) -> list[Matter]:
    """What is open before what is over, of that what nobody sees to first, the worst first; then the newest."""
    return sorted(matters, key=_urgency)


def _urgency(matter: Matter) -> tuple[bool, bool, int, int]:
    severity = SEVERITY_RANK[matter.record.severity] if matter.is_open else 0
    return not matter.is_open, bool(matter.is_open and matter.acknowledged_by), -severity, -matter.last_ns


async def logs(desk: WebDesk, query: Query) -> dict[str, Any]:
    chosen = query.get("service", "")
    track = query.get("track", "")
    wanted = LogQuery(
        services=(chosen,) if chosen in desk.log_names else desk.log_names,
        tracks=(track,) if track in TRACKS else (),
        search=query.get("search", "")[:200],
        level=query.get("level", "") if query.get("level") in LEVELS else "info",
        trade=query.get("trade", "").strip()[:64],
        order=query.get("order", "").strip()[:64],
        strategy=query.get("strategy", "").strip()[:200],
    )
    return {
        "status": desk.status(),
        "names": desk.log_names,
        "levels": LEVELS,
        "tracks": TRACKS,
        "query": wanted,
        "service": chosen if chosen in desk.log_names else "",
        "lines": await desk.logs.lines(desk.run_dir / "logs", wanted, _LOG_LINES_SHOWN, desk.now_ns()),
    }


async def audit(desk: WebDesk, _: Query) -> dict[str, Any]:
    return {"status": desk.status(), "lines": desk.store.audit(200)}


PAGES: tuple[Page, ...] = (
    Page(
        name="overview",
        title="Overview",
        sections=("banner", "summary", "open_alerts", "equity", "open_trades", "services"),
        fixed=frozenset({"equity"}),
        gather=overview,
    ),
    Page(name="trades", title="Trades", sections=("banner", "open_trades", "ended_trades"), gather=trades),
    Page(
        name="trade",
        title="Trade",
        sections=("banner", "trade", "quotes", "payoff", "attribution", "story", "trade_orders"),
        fixed=frozenset({"payoff"}),
        gather=trade,
        params=("trade",),
        in_menu=False,
    ),
    Page(name="strategies", title="Strategies", sections=("banner", "strategies"), gather=strategies),
    Page(name="positions", title="Positions", sections=("banner", "account", "positions"), gather=positions),
    Page(
        name="pnl",
        title="P&L",
        sections=("banner", "pnl", "equity", "curves"),
        fixed=frozenset({"equity", "curves"}),
        gather=pnl_page,
    ),
    Page(name="orders", title="Orders", sections=("banner", "orders"), gather=orders, params=("all",)),
    Page(
        name="risk",
        title="Risk",
        sections=("banner", "limits", "breakers", "stress", "halts", "refusals"),
        gather=risk,
    ),
    Page(
        name="chain",
        title="Chain",
        sections=("banner", "chain_choice", "smile", "chain"),
        fixed=frozenset({"chain_choice", "smile"}),
        gather=chain,
        params=("underlying", "expiry"),
    ),
    Page(name="rfq", title="RFQ", sections=("banner", "rfq"), gather=rfq),
    Page(name="quality", title="Execution", sections=("banner", "quality", "quality_newest"), gather=quality),
    Page(name="alerts", title="Alerts", sections=("banner", "alerts", "channels"), gather=alerts),
    Page(
        name="logs",
        title="Logs",
        sections=("banner", "log_search", "log_lines"),
        fixed=frozenset({"log_search"}),
        gather=logs,
        params=("service", "track", "search", "level", "trade", "order", "strategy"),
    ),
    Page(name="audit", title="Audit", sections=("banner", "audit"), gather=audit),
)
PAGE_OF: dict[str, Page] = {page.name: page for page in PAGES}

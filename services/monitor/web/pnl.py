"""P&L and attribution as the dashboard shows them: the page, its part of a trade's page, and their JSON API."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from services.monitor.history.attributed import PART_TITLES, parts_json
from services.monitor.history.attribution import PART_NAMES, TradePoint
from services.monitor.history.sampled import sampled_json
from services.monitor.history.sampled_report import SampledPnl, sampled_pnl
from services.monitor.web.desk import WebDesk
from shared.ledger.pnl import DAY_NS
from shared.views import iso

_DAYS_SHOWN = 30


async def pnl_of(desk: WebDesk, days: int) -> SampledPnl:
    """Of today and the trading days before it, `days` in all. Raises sqlite3.Error."""
    now_ns = desk.now_ns()
    since_ns = max(desk.trading_days.start_ns(now_ns) - (days - 1) * DAY_NS, 0)
    known = {trade.trade_id: trade.strategy for trade in desk.status().trades}
    return await asyncio.to_thread(sampled_pnl, desk.history.reader, since_ns, now_ns, desk.trading_days, known)


async def pnl_page(desk: WebDesk, _: Mapping[str, str]) -> dict[str, Any]:
    """What the page of P&L shows."""
    found: dict[str, Any] = {"status": desk.status(), "days": _DAYS_SHOWN, "part_names": PART_NAMES}
    found["part_titles"] = PART_TITLES
    try:
        return {**found, "pnl": await pnl_of(desk, _DAYS_SHOWN), "problem_text": ""}
    except sqlite3.Error as error:
        return {**found, "pnl": None, "problem_text": f"the history cannot be read ({error})"}


async def attribution_of(desk: WebDesk, trade_id: str) -> dict[str, Any]:
    """What a trade's page shows of where its P&L came from: the last sample of the trade, None without one."""
    points: list[TradePoint] = []
    # without the history the page tells of the trade all the same
    with suppress(sqlite3.Error):
        points = await asyncio.to_thread(desk.history.reader.trade, trade_id)
    return {"sampled": points[-1] if points else None, "part_names": PART_NAMES, "part_titles": PART_TITLES}


class PartsShape(BaseModel):
    """P&L before fees, USD, by what it came from; unattributed_s: the time whose P&L is all in the residual."""

    model_config = ConfigDict(extra="forbid")

    delta_usd: float
    gamma_usd: float
    theta_usd: float
    vega_usd: float
    execution_usd: float
    residual_usd: float
    unattributed_s: float
    pnl_usd: float


class SampledShape(PartsShape):
    """Of one day or strategy, on mark. fees_usd, funding_usd paid > 0; net_usd: pnl_usd less both."""

    group: str
    trades: int
    fees_usd: float
    funding_usd: float
    net_usd: float


class AttributionShape(PartsShape):
    """Of one trade, from its opening to the last sample."""

    trade_id: str
    sampled_at: str
    fees_usd: float
    funding_usd: float


def add_pnl_api(routes: FastAPI, desk: WebDesk) -> None:
    """/api/pnl and /api/attribution."""

    @routes.get("/api/pnl", response_model=list[SampledShape])
    async def pnl(
        by: Literal["day", "strategy"] = "day", days: Annotated[int, Query(ge=1, le=731)] = _DAYS_SHOWN
    ) -> list[dict[str, Any]]:
        """P&L on mark by trading day or strategy, as it was sampled, and what it came from."""
        try:
            found = await pnl_of(desk, days)
        except sqlite3.Error as error:
            raise HTTPException(503, f"the history cannot be read: {error}") from None
        return [sampled_json(row) for row in (found.by_day if by == "day" else found.by_strategy)]

    @routes.get("/api/attribution", response_model=list[AttributionShape])
    async def attribution(trade: Annotated[str, Query(max_length=100)] = "") -> list[dict[str, Any]]:
        """Where the P&L of each trade that was sampled in the last day came from; of one trade where it is given."""
        now_ns = desk.now_ns()

        def read() -> list[TradePoint]:
            reader = desk.history.reader
            return reader.trade(trade)[-1:] if trade else list(reader.trades_at(now_ns, DAY_NS).values())

        try:
            points = await asyncio.to_thread(read)
        except sqlite3.Error as error:
            raise HTTPException(503, f"the history cannot be read: {error}") from None
        return [
            {
                "trade_id": point.trade_id,
                "sampled_at": iso(point.at_ns),
                "fees_usd": point.fees_usd,
                "funding_usd": point.funding_usd,
                **parts_json(point.parts),
            }
            for point in points
        ]

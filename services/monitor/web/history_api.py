"""The JSON API of the history: series, P&L, the ledger and attribution."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict

from services.monitor.history.series import bucket_columns
from services.monitor.web.data import HOURS_MAX
from services.monitor.web.desk import WebDesk

_HOUR_NS = 3_600_000_000_000


class SeriesShape(BaseModel):
    """One series, oldest first, columns of one length. A gap is an entry whose figures are all null."""

    model_config = ConfigDict(extra="forbid")

    series: str
    at_s: list[int]
    first: list[float | None]
    last: list[float | None]
    low: list[float | None]
    high: list[float | None]


def add_history(routes: FastAPI, desk: WebDesk) -> None:
    """/api/history and /api/history/{series}."""

    @routes.get("/api/history", response_model=list[str])
    async def names() -> list[str]:
        """The names of all series that were ever sampled."""
        try:
            return await asyncio.to_thread(desk.history.reader.names)
        except sqlite3.Error as error:
            raise HTTPException(503, f"the history cannot be read: {error}") from None

    @routes.get("/api/history/{series}", response_model=SeriesShape)
    async def history(
        series: str,
        hours: Annotated[float, Query(gt=0, le=HOURS_MAX)] = 24.0,
        points: Annotated[int, Query(ge=10, le=5_000)] = 600,
    ) -> dict[str, Any]:
        """One figure over time: what it was first, last, at least and at most in each bucket."""
        now_ns = desk.now_ns()
        try:
            found = await desk.history.series(series[:100], now_ns - int(hours * _HOUR_NS), now_ns, points)
        except sqlite3.Error as error:
            raise HTTPException(503, f"the history cannot be read: {error}") from None
        return {"series": series[:100], **bucket_columns(found)}

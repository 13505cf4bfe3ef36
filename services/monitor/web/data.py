"""What charts draw: series as JSON columns, or the `reason` why there is nothing to draw."""

from __future__ import annotations

import sqlite3
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from services.monitor.history.series import columns
from services.monitor.web.desk import WebDesk
from services.monitor.web.trading import marks_of
from shared.messages.trades import TellTrade, TradeStory
from shared.options.instruments import underlying_of

_HOUR_NS = 3_600_000_000_000
HOURS_MAX = 24 * 366 * 10
_SERIES_MAX = 8


def add_data(routes: FastAPI, desk: WebDesk) -> None:
    """/data/history, /data/payoff, /data/smile."""

    @routes.get("/data/history", include_in_schema=False)
    async def history(series: str = "equity_usd", hours: float = 24.0) -> dict[str, Any]:
        if not 0 < hours <= HOURS_MAX:
            raise HTTPException(400, f"hours must be above 0 and at most {HOURS_MAX}")
        names = series.split(",")[:_SERIES_MAX]
        now_ns = desk.now_ns()
        try:
            found = {name: await desk.history.series(name, now_ns - int(hours * _HOUR_NS), now_ns) for name in names}
        except sqlite3.Error as error:
            return {"reason": f"the history cannot be read: {error}"}
        return dict(columns(found))

    @routes.get("/data/payoff", include_in_schema=False)
    async def payoff(request: Request) -> dict[str, Any]:
        return await payoff_of(desk, request.query_params.get("trade", ""))

    @routes.get("/data/smile", include_in_schema=False)
    async def smile(underlying: str = "", expiry: str = "") -> dict[str, Any]:
        view = desk.market.chain(underlying) if underlying in desk.market.underlyings else None
        if view is None:
            return {"reason": "no chain was heard yet"}
        # imported here because arrays take memory that a desk without a viewer does not need
        from shared.options.smiles import smile_curve, smiles_of

        smiles = smiles_of(view)
        chosen = next((each for each in smiles if each.name == expiry), smiles[0] if smiles else None)
        if chosen is None:
            return {"reason": "no expiry is listed"}
        strikes, vols = smile_curve(view, chosen)
        return {
            "strike": strikes.tolist(),
            "mark_iv_pct": vols.round(2).tolist(),
            "forward": chosen.forward if chosen.forward == chosen.forward else None,
        }


async def payoff_of(desk: WebDesk, trade_id: str) -> dict[str, Any]:
    """As `services.monitor.web.payoff.payoff`, or the `reason` why there is none."""
    # imported here because arrays take memory that a desk without a viewer does not need
    from services.monitor.web.payoff import payoff

    told = await desk.reader.ask("execution", TellTrade(trade_id=trade_id[:100]), TradeStory)
    if told.answer is None:
        return {"reason": told.problem}
    legs = told.answer.trade.legs
    try:
        index = await desk.market.next_index_price(underlying_of(legs[0].symbol))
        if index is None:
            return {"reason": "the index price was not heard yet"}
        status = desk.status()
        return dict(payoff(legs, marks_of(status.account), index, status.now_ns))
    except ValueError as error:
        return {"reason": str(error)}

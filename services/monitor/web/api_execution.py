"""The JSON API of what execution knows: orders, requests for quote, inquiries, what executions cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query

from services.monitor.web import api_execution_models as shapes
from services.monitor.web.api_models import OrderShape
from services.monitor.web.desk import WebDesk
from services.monitor.web.reading import LIVE_S, asked
from shared.cost_views import cost_row_json, quote_request_json, quotes_json
from shared.messages.inquiries import InquiryList, ListInquiries
from shared.messages.quality import ListQuality, QualityList
from shared.messages.quote_requests import ListQuoteRequests, QuoteRequestList
from shared.messages.trades import ListOrders, OrderList
from shared.tca import summarise
from shared.views import order_json, quality_json

_DAY_NS = 86_400_000_000_000

Limit = Annotated[int, Query(ge=1, le=1_000)]
Days = Annotated[int, Query(ge=1, le=365)]


def add_execution_api(routes: FastAPI, desk: WebDesk) -> None:
    """/api/orders, /api/quote-requests, /api/inquiries, /api/quality, /api/executions."""

    @routes.get("/api/orders", response_model=list[OrderShape])
    async def orders(every: bool = False, limit: Limit = 200) -> list[dict[str, Any]]:
        """Working orders, newest first; `every`: also those that are final."""
        wanted = ListOrders(include_final=every, limit=limit)
        found = await asked(desk.reader, "execution", wanted, OrderList)
        return [order_json(order) for order in found.orders]

    @routes.get("/api/inquiries", response_model=list[shapes.InquiryShape])
    async def inquiries(limit: Limit = 20) -> list[dict[str, Any]]:
        """What makers quoted when they were asked, newest first."""
        found = await asked(desk.reader, "execution", ListInquiries(limit=limit), InquiryList)
        return [quotes_json(each) for each in found.inquiries]

    @routes.get("/api/quote-requests", response_model=list[shapes.QuoteRequestShape])
    async def quote_requests(
        trade: Annotated[str, Query(max_length=100)] = "", limit: Limit = 20
    ) -> list[dict[str, Any]]:
        """Requests for quote with what makers have quoted so far, newest first; of one trade where it is given."""
        wanted = ListQuoteRequests(trade_id=trade, limit=limit)
        found = await asked(desk.reader, "execution", wanted, QuoteRequestList, max_age_s=LIVE_S)
        return [quote_request_json(each) for each in found.requests]

    @routes.get("/api/quality", response_model=list[shapes.CostShape])
    async def quality(by: Literal["strategy", "mode", "hour"] = "strategy", days: Days = 7) -> list[dict[str, Any]]:
        """What execution costs, summed up."""
        found = await asked(desk.reader, "execution", _since(desk, days), QualityList)
        return [cost_row_json(row) for row in summarise(found.phases, by)]

    @routes.get("/api/executions", response_model=list[shapes.ExecutionShape])
    async def executions(days: Days = 7, limit: Limit = 50) -> list[dict[str, Any]]:
        """What the opening or the close of each trade cost, newest first."""
        found = await asked(desk.reader, "execution", _since(desk, days), QualityList)
        return [{"trade_id": each.trade_id, **quality_json(each)} for each in found.phases[: -limit - 1 : -1]]


def _since(desk: WebDesk, days: int) -> ListQuality:
    """The same question for a minute, so that it is asked once for all who look."""
    since_ns = desk.now_ns() - days * _DAY_NS
    return ListQuality(since_ns=since_ns - since_ns % 60_000_000_000)

"""The status page: one read-only page, the same as JSON, and a health check. On the loopback address only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from services.monitor.core import ServiceView, Status
from shared.messages.system import Mode

_TEMPLATES = Path(__file__).parent / "templates"


class PageHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What every page says of the desk."""

    desk: str
    mode: Mode
    venue: str
    account_id: str
    refresh_s: int


def make_app(header: PageHeader, status: Callable[[], Status]) -> FastAPI:
    """The web application; `status` is asked on each request.

    /          the page
    /api/status  the same as JSON: times in ns, decimals as text
    /healthz   200 "ok", or 503 with the names of services that are down
    """
    app = FastAPI(title="voldesk", docs_url=None, redoc_url=None, openapi_url=None)
    templates = Jinja2Templates(directory=_TEMPLATES)
    templates.env.filters.update(
        utc=utc_text, age=age_text, plain=plain_text, figure=figure_text, state=service_state
    )

    @app.get("/", response_class=HTMLResponse)
    async def page(request: Request) -> Response:
        now = status()
        context = {"header": header, "status": now, "mode_class": header.mode.lower()}
        return templates.TemplateResponse(request, "status.html", context)

    @app.get("/api/status")
    async def api_status() -> Response:
        body = {"desk": header.desk, "mode": header.mode, "venue": header.venue, "status": status()}
        return Response(msgspec.json.encode(body), media_type="application/json")

    @app.get("/healthz")
    async def healthz() -> Response:
        down = [view.name for view in status().services if view.is_down]
        if down:
            return Response(f"down: {', '.join(down)}\n", status_code=503, media_type="text/plain")
        return Response("ok\n", media_type="text/plain")

    return app


def service_state(view: ServiceView) -> str:
    """One word for the table of services."""
    if view.is_down:
        return "down"
    if view.heartbeat is None:
        return "unheard"
    return "ready" if view.heartbeat.ready else "not ready"


def utc_text(at_ns: int | None) -> str:
    """2026-03-27 08:00:00, "–" for none."""
    if at_ns is None:
        return "–"
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def age_text(at_ns: int | None, now_ns: int) -> str:
    """How long ago, in the largest unit that says enough: 0.4 s, 12 min, 3.1 h, 5.0 d."""
    if at_ns is None:
        return "–"
    seconds = max(now_ns - at_ns, 0) / 1e9
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def plain_text(value: Decimal | None) -> str:
    """An exact figure as it is, thousands separated, "–" for none."""
    return "–" if value is None else f"{value:,f}"


def figure_text(value: float | Decimal | None, decimals: int = 2) -> str:
    """A rounded figure, "–" where it is unknown."""
    return "–" if value is None or value != value else f"{value:,.{decimals}f}"

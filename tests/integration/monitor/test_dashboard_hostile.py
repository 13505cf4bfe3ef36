"""Hostile requests to every route of the dashboard, from somebody with a token for everything: each is answered,
and what moves money reaches no service by accident."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.messages.base import Message
from shared.messages.trades import Refusal
from tests.hostile_http import HttpForger, exchange
from tests.integration.monitor.dashboard import Dashboard

ANSWERED = {200, 303, 400, 401, 403, 404, 405, 409, 410, 413, 414, 415, 422, 429, 431, 502, 503}
COUNT = 600


def refuses(_message: Message) -> Message:
    return Refusal(code="no_such_trade", detail="nobody knows it")


def routes_of(dashboard: Dashboard) -> list[tuple[str, str]]:
    """All but the stream of events, which has no end."""
    routes = [route for route in dashboard.app.all_routes() if not route.path.startswith("/events")]
    return [(method, route.path) for route in routes for method in sorted(route.methods or ())]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_requests_with_a_token_for_everything_are_answered_and_do_nothing(
    dashboard: Dashboard, seed: int
) -> None:
    dashboard.fill()
    for service in ("execution", "risk", "strategy", "marketdata"):
        await dashboard.serve(service, refuses)
    headers = dashboard.token("read", "halt", "operate")
    statuses: Counter[int] = Counter()
    port = urlsplit(dashboard.url).port
    assert port is not None

    def sign(_method: str, _path: str, _text: str) -> dict[str, str]:
        return headers

    routes = routes_of(dashboard)
    assert {("GET", "/api/trades"), ("POST", "/api/actions/{name}"), ("POST", "/login")} <= set(routes)
    for data in HttpForger(seed, routes, sign).requests(COUNT):
        answer = await exchange(port, data)
        statuses[answer.status] += 1
        assert answer.status in ANSWERED | {0}, (data[:500], answer.status, answer.body[:500])
    assert {200, 404, 405, 422} <= statuses.keys(), statuses
    assert dashboard.errors == []
    changed: list[Any] = [message for _, message in dashboard.asked if "halt" in type(message).__name__.lower()]
    assert changed == []
    async with dashboard.client(headers=headers) as http:
        assert (await http.get("/api/overview")).status_code == 200

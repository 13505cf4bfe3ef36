"""What is measured of the connection to the venue, against a venue on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from shared.messages.venue import NewOrder
from shared.metrics import Metrics
from shared.secrets import ApiKey
from shared.service.venue_metrics import VenueMetrics
from shared.tasks import spawn
from shared.venues.coincall import CoincallEndpoints, CoincallGateway
from shared.venues.coincall import endpoints as table
from shared.venues.ports import VenueError
from tests.unit.shared.test_metrics import scraped
from tests.unit.venues.servers import RestVenue, drop, ok, refuse, rest_venue, socket_venue, until
from tests.unit.venues.test_gateway_streams import PATIENT

KEY = ApiKey(key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", secret="c0ffee" * 10)
ORDER = NewOrder(
    client_order_id=7, symbol="BTCUSD-26JUN26-100000-C", side="buy", quantity=Decimal("0.5"), price=Decimal(5)
)


class Watched:
    def __init__(self, rest: str, sockets: str = "ws://unused") -> None:
        self.metrics = Metrics("risk", "paper", "main")
        venue = VenueMetrics(self.metrics)
        self.gateway = CoincallGateway(
            CoincallEndpoints(rest=rest, ws_options=sockets, ws_futures=sockets),
            KEY,
            on_call=venue.called,
            on_wait=venue.waited,
            on_stream=venue.streamed,
            on_skipped=venue.skipped,
            backoff_s=(),
            liveness=PATIENT,
        )
        venue.watch(self.gateway)

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one name by the values of their own labels, in the order of the labels' names."""
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.metrics, name).items()}


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[RestVenue]:
    async with rest_venue() as running:
        yield running


@pytest_asyncio.fixture
async def watched(venue: RestVenue) -> AsyncIterator[Watched]:
    made = Watched(venue.url)
    yield made
    await made.gateway.close()


async def test_calls_are_counted_by_endpoint_group_and_outcome_and_timed(venue: RestVenue, watched: Watched) -> None:
    venue.then(table.CREATE_ORDER.path, ok(11), refuse(10529), refuse(10000), refuse(10007), drop)
    for _ in range(5):
        await watched.gateway.place(ORDER)
    outcomes = {
        outcome: count
        for (endpoint, group, outcome), count in watched.shown("voldesk_venue_calls_total").items()
        if (endpoint, group) == ("place", "place")
    }
    assert outcomes == {"ok": 1, "rejected": 1, "throttled": 1, "auth": 1, "lost": 1}
    assert watched.shown("voldesk_venue_call_seconds_count")["place",] == 5


async def test_the_wait_for_a_rate_limit_is_measured_by_its_group(venue: RestVenue, watched: Watched) -> None:
    venue.always(table.POSITIONS.path, ok([]))
    assert watched.shown("voldesk_venue_wait_seconds_count") == {}
    await asyncio.gather(*(watched.gateway.positions() for _ in range(6)))
    assert watched.shown("voldesk_venue_wait_seconds_count") == {("position",): 1}
    assert watched.shown("voldesk_venue_wait_seconds_sum")["position",] > 0


async def test_an_open_circuit_breaker_and_the_clock_offset_are_shown(venue: RestVenue, watched: Watched) -> None:
    venue.always(table.POSITIONS.path, ok([]))
    await watched.gateway.positions()
    offset_s = watched.gateway.clock_offset_ns / 1e9
    assert offset_s != 0
    assert watched.shown("voldesk_venue_clock_offset_seconds") == {(): pytest.approx(offset_s)}
    assert watched.shown("voldesk_venue_breaker_open") == {(): 0}
    venue.always(table.PENDING_ORDERS.path, drop)
    for _ in range(5):
        with pytest.raises(VenueError):
            await watched.gateway.open_orders()
    assert watched.shown("voldesk_venue_breaker_open") == {(): 1}


async def test_streams_are_shown_up_or_down_and_their_reconnects_counted() -> None:
    async with socket_venue() as venue:
        watched = Watched("http://127.0.0.1:9", venue.url)
        task = spawn(watched.gateway.stream_account(lambda _item: None), name="stream under test")
        try:
            await until(lambda: watched.shown("voldesk_venue_stream_up") == {("account",): 1})
            assert watched.shown("voldesk_venue_stream_reconnects_total") == {}
            await venue.disconnect()
            await until(lambda: watched.shown("voldesk_venue_stream_reconnects_total") == {("account",): 1})
            assert watched.shown("voldesk_venue_stream_downs_total") == {("account",): 1}
            assert watched.shown("voldesk_venue_stream_up") == {("account",): 1}
            await venue.push("not json")
            await until(lambda: watched.shown("voldesk_venue_skipped_total") == {(): 1})
        finally:
            task.cancel()
            await asyncio.wait([task])
            await watched.gateway.close()

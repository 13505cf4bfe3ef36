"""The venue's countdown through the gateway, at the simulated exchange, over real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from shared.clock import Clock
from shared.messages.venue import CountdownRefused, CountdownSet, OrderAcked, OrderRefused
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallGateway, simulated
from shared.venues.coincall.errors import COUNTDOWN_FIRED
from tests.contract.order_gateway import (
    Tradable,
    VenueUnderTest,
    a_tradable,
    eventually,
    in_state,
    new_order,
    placed,
    position_in,
)
from tests.integration.exchange.harness import MAKER_KEY, OTHER_KEY, RunningExchange, small_config
from tests.unit.shared.samples import MINIMAL, write_desk
from voldesk.direct import Audit, DirectBounds, DirectFlatten

UNDERLYING = "BTCUSD"


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(small_config(), now_ns=time.time_ns) as running:
        yield running


def gateway_of(exchange: RunningExchange, key: str, secret: str) -> CoincallGateway:
    return CoincallGateway(simulated("127.0.0.1", exchange.port), ApiKey(key=key, secret=secret), backoff_s=(0.1,))


def venue_of(gateway: CoincallGateway) -> VenueUnderTest:
    return VenueUnderTest(
        orders=gateway, market=gateway, poor=gateway, maker=gateway, underlying=UNDERLYING, page_size=lambda _: None
    )


async def test_unless_it_is_set_anew_it_ends_what_rests_and_refuses_orders_until_it_is(
    exchange: RunningExchange,
) -> None:
    gateway = gateway_of(exchange, MAKER_KEY.api_key, MAKER_KEY.api_secret)
    option = await a_tradable(venue_of(gateway))
    resting = new_order(option, option.resting_bid)
    await placed(gateway, resting)
    assert await gateway.set_countdown(UNDERLYING, 600_000) == CountdownSet(
        underlying=UNDERLYING, countdown_ms=600_000
    )
    await in_state(gateway, resting, "new")
    assert isinstance(await gateway.set_countdown(UNDERLYING, 500), CountdownSet)
    await in_state(gateway, resting, "cancelled")
    refused = await gateway.place(new_order(option, option.resting_bid))
    assert isinstance(refused, OrderRefused)
    assert (refused.kind, refused.code) == ("rejected", COUNTDOWN_FIRED)
    assert isinstance(await gateway.set_countdown(UNDERLYING, 0), CountdownSet)
    assert isinstance(await gateway.place(new_order(option, option.resting_bid)), OrderAcked)
    await gateway.close()


async def test_an_account_without_the_right_is_told_so_and_an_unknown_underlying_is_another_refusal(
    exchange: RunningExchange,
) -> None:
    without = gateway_of(exchange, OTHER_KEY.api_key, OTHER_KEY.api_secret)
    told = await without.set_countdown(UNDERLYING, 60_000)
    assert isinstance(told, CountdownRefused)
    assert told.lacks_right
    maker = gateway_of(exchange, MAKER_KEY.api_key, MAKER_KEY.api_secret)
    refused = await maker.set_countdown("SOLUSD", 60_000)
    assert isinstance(refused, CountdownRefused)
    assert not refused.lacks_right
    assert "10579" in refused.text
    await without.close()
    await maker.close()


async def test_a_direct_flatten_closes_although_the_countdown_of_a_dead_execution_has_fired(
    exchange: RunningExchange, tmp_path: Path
) -> None:
    gateway = gateway_of(exchange, MAKER_KEY.api_key, MAKER_KEY.api_secret)
    option = await a_tradable(venue_of(gateway))
    bought = new_order(option, option.crossing_bid)
    await placed(gateway, bought)
    await in_state(gateway, bought, "filled")
    assert isinstance(await gateway.set_countdown(UNDERLYING, 1), CountdownSet)
    assert isinstance(await eventually(lambda: refused_by_countdown(gateway, option)), OrderRefused)
    desk = write_desk(tmp_path, f"{MINIMAL}run_dir = '{tmp_path}/d'\n")
    clock = Clock()
    audit = Audit(tmp_path / "audit.jsonl", clock, print)
    bounds = DirectBounds(bound_pct=50.0, patience_s=60.0)
    result = await DirectFlatten(gateway, desk, bounds, audit, clock, print).run()
    audit.close()
    assert result["flat"]
    assert await position_in(gateway, bought.symbol) == 0
    assert "disarm_countdown" in (tmp_path / "audit.jsonl").read_text()
    await gateway.close()


async def refused_by_countdown(gateway: CoincallGateway, option: Tradable) -> OrderRefused | None:
    """The refusal of an order once the countdown has fired; one that comes before is cancelled by it."""
    outcome = await gateway.place(new_order(option, option.resting_bid))
    return outcome if isinstance(outcome, OrderRefused) and outcome.code == COUNTDOWN_FIRED else None

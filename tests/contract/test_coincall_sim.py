"""The Coincall gateway and the simulated exchange meet the contract together, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import ROUND_UP, Decimal
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from services.exchange.config import AccountConfig
from services.exchange.listing import FRIDAY, NS_PER_DAY
from services.exchange.server.app import ExchangeServer
from services.exchange.server.config import ExchangeServiceConfig
from services.exchange.shell import credentials_of
from shared.clock import Clock
from shared.messages.venue import OutcomeUnknown, StreamDown, StreamUp, VenueOrder
from shared.runner import MemoryJournal
from shared.secrets import ApiKey
from shared.tasks import spawn
from shared.venues.coincall import CoincallGateway, KeyCheckFailed, check_key, endpoints, history, simulated
from shared.venues.coincall.liveness import LivenessLimits
from shared.venues.ports import ChainPush, IndexPush, VenueError
from tests.contract.market_on_demand import MarketOnDemandContract
from tests.contract.order_gateway import (
    OrderGatewayContract,
    Tradable,
    VenueUnderTest,
    a_tradable,
    account_stream,
    eventually,
    in_state,
    new_order,
    placed,
    position_in,
    reference,
)
from tests.integration.exchange.harness import (
    MAKER_KEY,
    OTHER_KEY,
    READ_ONLY_KEY,
    TRADING_KEY,
    RunningExchange,
    small_config,
)


def contract_config() -> ExchangeServiceConfig:
    """The small listing of the server's own tests; the other account cannot afford anything."""
    config = small_config()
    main, other, maker = config.accounts
    poor: AccountConfig = msgspec.structs.replace(other, initial_balance_usd=Decimal(1))
    return msgspec.structs.replace(config, accounts=(main, poor, maker))


def gateway_for(exchange: RunningExchange, key: str, secret: str) -> CoincallGateway:
    return CoincallGateway(
        simulated("127.0.0.1", exchange.port), ApiKey(key=key, secret=secret), backoff_s=(0.1, 0.2, 0.4)
    )


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    async with RunningExchange(contract_config(), now_ns=time.time_ns) as running:
        yield running


@pytest_asyncio.fixture
async def venue(exchange: RunningExchange, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VenueUnderTest]:
    main = gateway_for(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
    poor = gateway_for(exchange, OTHER_KEY.api_key, OTHER_KEY.api_secret)
    maker = gateway_for(exchange, MAKER_KEY.api_key, MAKER_KEY.api_secret)
    await main.start()
    yield VenueUnderTest(
        orders=main,
        market=main,
        poor=poor,
        maker=maker,
        underlying="BTCUSD",
        page_size=lambda rows: monkeypatch.setattr(history, "PAGE_SIZE", rows),
    )
    await asyncio.gather(main.close(), poor.close(), maker.close())


async def inject(exchange: RunningExchange, **fault: Any) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
        assert (await control.post("/sim/faults", json=fault)).status_code == 200


async def until(condition: Callable[[], object]) -> None:
    async def holds() -> object:
        return condition()

    await eventually(holds)


class ShiftedClock:
    """A venue's clock that can be moved ahead of ours; it begins at noon of the next such day of the week, UTC."""

    def __init__(self, weekday: int) -> None:
        self._clock = Clock()
        now_ns = self._clock.now_ns()
        today = now_ns // NS_PER_DAY
        # 1970-01-01 was a Thursday
        days = (weekday - today - 3) % 7
        self.ahead_ns = (today + days) * NS_PER_DAY + NS_PER_DAY // 2 - now_ns

    def now_ns(self) -> int:
        return self._clock.now_ns() + self.ahead_ns


class TestCoincallSim(OrderGatewayContract):
    async def test_a_trading_key_passes_and_a_read_only_one_is_refused_where_orders_are_placed(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        assert await check_key(venue.orders, need_trading=True) == ()
        reader = gateway_for(exchange, READ_ONLY_KEY.api_key, READ_ONLY_KEY.api_secret)
        assert await check_key(reader, need_trading=False) == ()
        with pytest.raises(KeyCheckFailed, match="read-only"):
            await check_key(reader, need_trading=True)
        await reader.close()

    @pytest.mark.parametrize(
        ("key", "secret"), [("unknown", "x" * 64), (TRADING_KEY.api_key, "y" * 64)], ids=["unknown key", "bad secret"]
    )
    async def test_a_wrong_key_or_secret_is_told_apart_from_a_venue_that_is_away(
        self, exchange: RunningExchange, key: str, secret: str
    ) -> None:
        stranger = gateway_for(exchange, key, secret)
        with pytest.raises(KeyCheckFailed):
            await check_key(stranger, need_trading=False)
        with pytest.raises(VenueError) as failure:
            await stranger.positions()
        assert failure.value.kind == "auth"
        await stranger.close()

    async def test_an_answer_lost_after_acceptance_is_unknown_and_the_order_is_found_once(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid)
        await inject(exchange, kind="lost_answer", path_prefix=endpoints.CREATE_ORDER.path, count=1)
        assert isinstance(await venue.orders.place(order), OutcomeUnknown)
        found = await in_state(venue.orders, order, "new")
        assert [item.venue_order_id for item in await venue.orders.open_orders()] == [found.venue_order_id]
        await inject(exchange, kind="lost_answer", path_prefix=endpoints.CANCEL_ORDER.path, count=1)
        assert isinstance(await venue.orders.cancel(reference(order)), OutcomeUnknown)
        await in_state(venue.orders, order, "cancelled")

    async def test_an_answer_later_than_three_seconds_is_unknown_and_the_order_is_there(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.resting_bid)
        await inject(exchange, kind="latency", path_prefix=endpoints.CREATE_ORDER.path, count=1, latency_ms=4_000)
        assert isinstance(await venue.orders.place(order), OutcomeUnknown)
        await in_state(venue.orders, order, "new")

    async def test_reads_survive_what_the_venue_recovers_from(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        for kind in ("http_500", "rate_limit", "lost_answer"):
            await inject(exchange, kind=kind, path_prefix=endpoints.POSITIONS.path, count=1)
        assert await venue.orders.positions() == ()

    async def test_the_account_stream_returns_after_a_cut(
        self, exchange: RunningExchange, venue: VenueUnderTest
    ) -> None:
        async with account_stream(venue.orders) as heard:
            heard.clear()
            await inject(exchange, kind="disconnect", path_prefix="/options", count=1)
            await until(lambda: StreamUp("account") in heard)
            assert StreamDown("account: connection lost", "account") in heard
            assert StreamDown("account: handshake refused with HTTP 403", "account") in heard
            option = await a_tradable(venue)
            await placed(venue.orders, new_order(option, option.resting_bid))
            await until(lambda: any(isinstance(item, VenueOrder) for item in heard))

    async def test_an_index_that_froze_on_an_open_socket_is_noticed_and_comes_back(
        self, exchange: RunningExchange
    ) -> None:
        gateway = CoincallGateway(
            simulated("127.0.0.1", exchange.port),
            ApiKey(key=READ_ONLY_KEY.api_key, secret=READ_ONLY_KEY.api_secret),
            liveness=LivenessLimits(silent_after_ns=1_500_000_000),
        )
        heard: list[Any] = []
        task = spawn(gateway.stream_market(["BTCUSD"], lambda _name: [], heard.append), name="market streams")
        try:
            await until(lambda: any(isinstance(item, IndexPush) for item in heard))
            await inject(exchange, kind="silence", path_prefix="/futures")
            await until(lambda: StreamDown("indices: connected, but index BTCUSD is silent", "indices") in heard)
            async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
                assert (await control.delete("/sim/faults")).status_code == 200
            heard.clear()
            await until(lambda: any(isinstance(item, IndexPush) for item in heard))
        finally:
            task.cancel()
            await asyncio.wait([task])
            await gateway.close()


class TestCoincallSimOnDemand(MarketOnDemandContract):
    """Order books, last trades and k-lines of the simulated exchange."""

    async def test_a_traded_option_has_klines_with_its_volume(self, venue: VenueUnderTest) -> None:
        option = await a_tradable(venue)
        order = new_order(option, option.crossing_bid)
        await placed(venue.orders, order)
        await in_state(venue.orders, order, "filled")

        async def traded() -> bool:
            now_ns = time.time_ns()
            klines = await venue.market.klines(order.symbol, "1d", now_ns - 86_400 * 10**9, now_ns)
            return sum(kline.volume for kline in klines) >= float(order.quantity)

        await eventually(traded)


async def test_a_chain_that_expires_at_another_time_than_its_symbols_say_is_streamed_until_then() -> None:
    clock = ShiftedClock(FRIDAY)
    config = contract_config()
    btc = config.bases[0]
    soon = msgspec.structs.replace(btc.listing, extra_expiry_minutes=20)
    config = msgspec.structs.replace(config, bases=(msgspec.structs.replace(btc, listing=soon), *config.bases[1:]))
    exchange = RunningExchange(config, now_ns=time.time_ns)
    exchange.server = ExchangeServer(config, credentials_of(config), MemoryJournal(), clock.now_ns, paper=True)
    heard: list[Any] = []

    async with exchange:
        gateway = gateway_for(exchange, READ_ONLY_KEY.api_key, READ_ONLY_KEY.api_secret)
        await gateway.start()
        options = await gateway.instruments("BTCUSD")
        expiry_ns = min(option.expiry_ns for option in options)
        assert expiry_ns % NS_PER_DAY > 12 * 3_600 * 10**9
        symbols = {option.symbol for option in options if option.expiry_ns == expiry_ns}

        async def pushed() -> bool:
            return any(isinstance(item, ChainPush) for item in heard)

        async def no_longer_listed() -> bool:
            return all(option.expiry_ns != expiry_ns for option in await gateway.instruments("BTCUSD"))

        streaming = gateway.stream_market(["BTCUSD"], lambda _name: [expiry_ns], heard.append)
        task = spawn(streaming, name="market streams")
        try:
            await eventually(pushed)
            # trading in it has ended, it has not
            clock.ahead_ns += 10 * 60 * 10**9
            await eventually(no_longer_listed)
            heard.clear()
            await eventually(pushed)
            (push, *_) = [item for item in heard if isinstance(item, ChainPush)]
            assert push.expiry_ns == expiry_ns
            assert {row.symbol for row in push.rows} == symbols
        finally:
            task.cancel()
            await asyncio.wait([task])
            await gateway.close()


@pytest.mark.parametrize("weekday", [FRIDAY, FRIDAY - 1])
async def test_a_position_held_to_expiry_is_settled_once_with_its_cash_flow_and_fee(weekday: int) -> None:
    clock = ShiftedClock(weekday)
    config = contract_config()
    btc = config.bases[0]
    soon = msgspec.structs.replace(btc.listing, extra_expiry_minutes=20)
    config = msgspec.structs.replace(config, bases=(msgspec.structs.replace(btc, listing=soon), *config.bases[1:]))
    exchange = RunningExchange(config, now_ns=time.time_ns)
    exchange.server = ExchangeServer(config, credentials_of(config), MemoryJournal(), clock.now_ns, paper=True)
    async with exchange:
        gateway = gateway_for(exchange, TRADING_KEY.api_key, TRADING_KEY.api_secret)
        since_ns = clock.now_ns() - 60 * 10**9
        listed = {item.symbol: item for item in await gateway.instruments("BTCUSD")}
        expiry_ns = min(item.expiry_ns for item in listed.values())
        assert expiry_ns - clock.now_ns() <= 21 * 60 * 10**9
        chain = await gateway.chain("BTCUSD", expiry_ns)
        quoted = [row for row in chain.rows if row.ask > 0 and listed[row.symbol].option_type == "C"]
        row = min(quoted, key=lambda row: abs(row.delta - 0.5))
        option = Tradable(listed[row.symbol], row)
        order = new_order(option, option.tick(row.ask * 2, ROUND_UP), lots=2)
        await placed(gateway, order)
        await in_state(gateway, order, "filled")
        async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
            assert (await control.post("/sim/market", json={"base": "BTC", "pct": 10})).status_code == 200
        clock.ahead_ns += expiry_ns - clock.now_ns() + 60 * 10**9

        async def settled() -> bool:
            return await position_in(gateway, order.symbol) == 0

        await eventually(settled)
        (exercise,) = await gateway.exercises(since_ns)
        assert (exercise.symbol, exercise.quantity) == (order.symbol, order.quantity)
        assert exercise.venue_ns >= expiry_ns
        intrinsic = exercise.settlement_price - option.instrument.strike
        assert intrinsic > 0, "the index rose by a tenth"
        assert exercise.settlement_cash_flow_usd == pytest.approx(intrinsic * order.quantity)
        assert exercise.fee_usd <= exercise.settlement_cash_flow_usd * Decimal("0.125")
        assert (exercise.fee_usd > 0) == (weekday == FRIDAY), "dailies pay no delivery fee"
        assert await gateway.exercises(exercise.venue_ns + 10**9) == ()
        await gateway.close()

"""Deposits and withdrawals at the simulated exchange, read over HTTP and judged by the guard."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest_asyncio
import structlog.testing

from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.risk.inputs import AccountPolled, TransferSeen
from services.risk.reader import AccountReader
from services.risk.rows import CapitalMoved
from shared.clock import Clock
from shared.messages.control import RaiseHalt
from shared.messages.steps import Entry, SendRequest
from shared.messages.venue import VenueAccount, VenueTransfer
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallGateway, history, simulated
from tests.integration.exchange.harness import READ_ONLY_KEY, RunningExchange, small_config

TIGHT = RiskConfig(max_drawdown_pct=1, max_daily_loss_pct=1, breach_polls=1)


@pytest_asyncio.fixture
async def exchange() -> AsyncIterator[RunningExchange]:
    config = small_config()
    main = msgspec.structs.replace(config.accounts[0], initial_balance_usd=Decimal(100_000))
    async with RunningExchange(msgspec.structs.replace(config, accounts=(main,)), now_ns=time.time_ns) as running:
        yield running


async def transfer(exchange: RunningExchange, amount_usd: str) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
        answer = await control.post("/sim/transfer", json={"account_id": "main", "amount_usd": amount_usd})
        assert answer.json()["code"] == 0


class MovingMoney(CoincallGateway):
    """A gateway whose account moves money just before or after it is read."""

    def __init__(self, exchange: RunningExchange) -> None:
        key = ApiKey(key=READ_ONLY_KEY.api_key, secret=READ_ONLY_KEY.api_secret)
        super().__init__(simulated("127.0.0.1", exchange.port), key)
        self._exchange = exchange
        self.before: list[str] = []
        self.after: list[str] = []
        self.lists = 0

    async def transfers(self, since_ns: int) -> tuple[VenueTransfer, ...]:
        self.lists += 1
        return await super().transfers(since_ns)

    async def account(self) -> VenueAccount:
        while self.before:
            await transfer(self._exchange, self.before.pop())
        account = await super().account()
        while self.after:
            await transfer(self._exchange, self.after.pop())
        return account


@pytest_asyncio.fixture
async def gateway(exchange: RunningExchange) -> AsyncIterator[MovingMoney]:
    made = MovingMoney(exchange)
    yield made
    await made.close()


class Guard:
    """Reader and core of one run of risk; `rows` is the journal of the runs before it."""

    def __init__(self, gateway: CoincallGateway, rows: list[Entry]) -> None:
        self._clock = Clock()
        self._reader = AccountReader(gateway, self._clock, structlog.get_logger())
        self.core = RiskCore(TIGHT, account_id="main", grant_key=b"k" * 32)
        self.rows = rows
        for row in rows:
            self.core.apply(row)
        self.halts: list[Any] = []

    async def read(self) -> list[Any]:
        inputs = list(await self._reader.read(self.core.journaled_until_ns, self.core.noted_transfers))
        for item in inputs:
            step = self.core.handle(item, self._clock.now_ns())
            self.rows += step.rows
            self.halts += [
                effect
                for effect in step.effects
                if isinstance(effect, SendRequest) and isinstance(effect.message, RaiseHalt)
            ]
        return inputs

    async def read_account(self) -> Decimal:
        """Read until the account is passed on; its equity."""
        while True:
            for item in await self.read():
                if isinstance(item, AccountPolled):
                    return item.account.equity_usd

    @property
    def peak_usd(self) -> Decimal:
        assert self.core.account is not None
        return self.core.account.peak_equity_usd

    def moved(self) -> list[Decimal]:
        return [entry.row.amount_usd for entry in self.rows if isinstance(entry.row, CapitalMoved)]


async def test_a_withdrawal_is_no_loss_and_moves_peak_and_day_start(
    exchange: RunningExchange, gateway: MovingMoney
) -> None:
    guard = Guard(gateway, [])
    assert await guard.read_account() == 100_000
    await transfer(exchange, "-20000")
    first = await guard.read()
    assert [type(item) for item in first if not isinstance(item, TransferSeen)] == []
    assert await guard.read_account() == 80_000
    assert guard.peak_usd == 80_000
    assert guard.halts == []
    await guard.read_account()
    assert guard.moved()[-1] == -20_000
    assert guard.moved().count(Decimal(-20_000)) == 1


async def test_a_loss_is_still_judged_after_a_withdrawal(exchange: RunningExchange, gateway: MovingMoney) -> None:
    guard = Guard(gateway, [])
    await guard.read_account()
    await transfer(exchange, "-20000")
    await guard.read_account()
    poorer = await gateway.account()
    now_ns = Clock().now_ns()
    lost = msgspec.structs.replace(poorer, equity_usd=Decimal(79_000))
    step = guard.core.handle(AccountPolled(asked_ns=now_ns, received_ns=now_ns, account=lost, positions=()), now_ns)
    asked = [effect.message for effect in step.effects if isinstance(effect, SendRequest)]
    assert [message.reason for message in asked if isinstance(message, RaiseHalt)] == [
        "drawdown 1.25 % has reached the limit of 1 %",
        "daily_loss 1.25 % has reached the limit of 1 %",
    ]


async def test_money_that_moves_while_the_account_is_read_is_no_loss_either(gateway: MovingMoney) -> None:
    guard = Guard(gateway, [])
    await guard.read_account()
    gateway.before, gateway.after = ["-10000"], ["-5000"]
    assert await guard.read_account() == 85_000
    gateway.before, gateway.after = ["30000"], ["15000"]
    assert await guard.read_account() == 130_000
    assert (guard.peak_usd, guard.halts) == (Decimal(130_000), [])


async def test_money_that_moved_while_risk_was_down_is_known_before_the_account_is_judged(
    exchange: RunningExchange, gateway: MovingMoney
) -> None:
    before = Guard(gateway, [])
    await before.read_account()
    await transfer(exchange, "-20000")
    after = Guard(gateway, before.rows)
    assert await after.read_account() == 80_000
    assert (after.peak_usd, after.halts) == (Decimal(80_000), [])
    again = Guard(gateway, after.rows)
    await again.read_account()
    assert (again.peak_usd, again.halts) == (Decimal(80_000), [])


async def test_a_guard_that_was_started_again_lists_transfers_once_before_it_knows_the_account(
    exchange: RunningExchange, gateway: MovingMoney
) -> None:
    before = Guard(gateway, [])
    await transfer(exchange, "-20000")
    await before.read_account()
    gateway.lists = 0
    after = Guard(gateway, before.rows)
    (account,) = [item for item in await after.read() if isinstance(item, AccountPolled)]
    assert (account.account.equity_usd, gateway.lists) == (80_000, 1)
    assert (after.peak_usd, after.halts) == (before.peak_usd, [])


async def test_money_that_moves_in_the_first_read_of_a_guard_that_was_started_again_is_no_loss(
    gateway: MovingMoney,
) -> None:
    before = Guard(gateway, [])
    await before.read_account()
    gateway.before, gateway.after = ["-10000"], ["-5000"]
    after = Guard(gateway, before.rows)
    assert not [item for item in await after.read() if isinstance(item, AccountPolled)]
    assert await after.read_account() == 85_000
    assert (after.peak_usd, after.halts) == (Decimal(85_000), [])


async def test_an_account_is_read_but_not_judged_while_transfers_cannot_be_read(
    exchange: RunningExchange, gateway: MovingMoney
) -> None:
    guard = Guard(gateway, [])
    await guard.read_account()
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as control:
        fault = {"kind": "error_code", "path_prefix": "/open/account/historyList", "count": 1, "code": 7001}
        assert (await control.post("/sim/faults", json=fault)).json()["code"] == 0
    await transfer(exchange, "-20000")
    (read,) = await guard.read()
    assert "7001" in read.transfers_problem
    assert read.account.equity_usd == 80_000
    guard.core.handle(read, time.time_ns())
    assert guard.halts == []
    assert await guard.read_account() == 80_000
    assert guard.halts == []


class WithBitcoin(MovingMoney):
    """An account to which bitcoin was sent."""

    async def transfers(self, since_ns: int) -> tuple[VenueTransfer, ...]:
        bitcoin = VenueTransfer(transfer_id="coin-1", coin="BTC", amount=Decimal("0.5"))
        return (bitcoin, *await super().transfers(since_ns))


async def test_a_transfer_in_another_coin_is_warned_of_once_and_moves_no_peak(exchange: RunningExchange) -> None:
    gateway = WithBitcoin(exchange)
    with structlog.testing.capture_logs() as lines:
        guard = Guard(gateway, [])
        for _ in range(2):
            assert await guard.read_account() == 100_000
    await gateway.close()
    assert [(line["transfer_id"], line["coin"], line["amount"]) for line in lines] == [("coin-1", "BTC", "0.5")]
    assert (guard.peak_usd, Decimal("0.5") in guard.moved()) == (Decimal(100_000), False)


async def test_all_pages_of_transfers_are_read_oldest_first(
    exchange: RunningExchange, gateway: MovingMoney, monkeypatch: Any
) -> None:
    monkeypatch.setattr(history, "TRANSFER_PAGE_SIZE", 2)
    for amount in ("1", "-2", "3"):
        await transfer(exchange, amount)
    listed = await gateway.transfers(Clock().now_ns() - 3_600 * 10**9)
    assert [row.amount for row in listed[-3:]] == [1, -2, 3]
    assert {row.coin for row in listed} == {"USDT"}

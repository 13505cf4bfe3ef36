"""The cash rule as a real process beside a real simulated exchange: killed while a sale is on its way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.bus import Bus, NoAnswer
from shared.ids import parse_client_order_id
from shared.messages.cash import CashStatus, GetCash
from shared.messages.reconciliation import DifferenceList, ListDifferences
from shared.messages.venue import VenueFill, VenueOrder
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets, load_api_key
from shared.venues.coincall import CoincallGateway, simulated
from tests.integration.bus.harness import ROOT
from tests.unit.shared.samples import MINIMAL, write_desk

RULE = """
[exchange]
paper_balance_usd = "10000"
paper_assets = { BTC = "1" }

[execution.cash]
mode = "on"
keep = "0.9"
minimum_usdt = "10500"
target_usdt = "11000"
cap_usd = "3000"
interval_s = 6
check_s = 1
rest_s = 5
"""
PATIENCE_S = 120


class Desk:
    """The exchange and execution, and what is asked of both."""

    def __init__(self, directory: Path) -> None:
        self.config = write_desk(directory, MINIMAL + f"run_dir = '{directory}/d'\n" + RULE)
        ensure_paper_secrets(self.config.run_dir)
        ensure_grant_key(self.config.run_dir)
        self.port = resolve_ports(self.config.run_dir, self.config.ports)["exchange"]
        self.log = directory / "log"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.bus = Bus.client(self.config)
        key = load_api_key(self.config, "execution")
        self.venue = CoincallGateway(simulated("127.0.0.1", self.port), key)

    def start(self, service: str) -> None:
        with self.log.open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                cwd=ROOT,
                env={**os.environ, "VOLDESK_CONFIG": str(self.config.path)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, service: str) -> None:
        self.processes[service].send_signal(signal.SIGKILL)
        self.processes[service].wait()

    async def inject(self, **fault: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as control:
                        assert (await control.post("/sim/faults", json=fault)).status_code == 200
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.1)

    async def status_when(self, condition: Callable[[CashStatus], object]) -> CashStatus:
        answer: Any = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        answer = await self.bus.ask("execution", GetCash(), 5_000)
                    except NoAnswer:
                        continue
                    assert isinstance(answer, CashStatus)
                    if condition(answer):
                        return answer
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"it did not happen; last: {answer}; log: {self.log.read_text()[-3_000:]}")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.start("exchange")
    yield desk
    desk.bus.close()
    await desk.venue.close()
    for process in desk.processes.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "fault",
    [{"kind": "lost_answer"}, pytest.param({"kind": "latency", "latency_ms": 3_000}, marks=pytest.mark.long)],
    ids=["accepted and not answered", "answered late"],
)
async def test_a_kill_while_a_sale_is_on_its_way_doubles_nothing_and_the_books_agree(
    desk: Desk, fault: dict[str, Any]
) -> None:
    began_ns = time.time_ns() - 60 * 10**9
    await desk.inject(path_prefix="/open/spot/trade/order/v1", count=1, **fault)
    desk.start("execution")
    await desk.status_when(lambda status: status.sales)
    desk.kill("execution")
    desk.start("execution")
    status = await desk.status_when(lambda status: status.code == "enough")

    orders: tuple[VenueOrder, ...] = await desk.venue.spot.order_history("BTCUSDT", began_ns)
    fills: tuple[VenueFill, ...] = await desk.venue.spot.fills("BTCUSDT", began_ns)
    ours = {sale.client_order_id: sale for sale in status.sales}
    assert len({order.client_order_id for order in orders}) == len(orders)
    for order in orders:
        assert order.client_order_id in ours
        assert parse_client_order_id(order.client_order_id or 0, desk.config.number) is not None
        assert ours[order.client_order_id or 0].filled_quantity == order.filled_quantity
    placed = {order.client_order_id for order in orders}
    assert all(sale.state == "NEVER_PLACED" for number, sale in ours.items() if number not in placed)
    sold = sum((fill.quantity for fill in fills), Decimal(0))
    assert sold == sum((sale.filled_quantity for sale in status.sales), Decimal(0))
    value = sum((fill.quantity * fill.price for fill in fills), Decimal(0))
    fees = sum((sale.fee_usd or Decimal(0) for sale in status.sales), Decimal(0))
    holdings = await desk.venue.holdings()
    assert holdings["BTC"].cash == 1 - sold >= Decimal("0.9")
    assert holdings["USDT"].cash == 10_000 + value - fees >= 10_500
    assert status.used_usd <= status.cap_usd
    found = await desk.bus.ask("execution", ListDifferences(), PATIENCE_S * 1_000)
    assert isinstance(found, DifferenceList)
    assert found.differences == (), "what the rule sells is not foreign"

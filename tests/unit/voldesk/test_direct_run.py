"""What a direct flatten sends, and leaves behind when it cannot reach the venue."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import cast

import pytest

from shared.clock import Clock
from shared.config import load_config
from shared.latch import read_latches
from shared.messages.market import Instrument
from shared.messages.venue import CancelAcked, NewOrder, OrderAcked, VenueOrder, VenuePosition
from shared.ports import resolve_ports
from shared.secrets import ensure_paper_secrets
from shared.venues.ports import ChainPush
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.direct import Audit, DirectBounds, DirectFlatten, DirectGateway


def test_the_halt_is_on_disk_before_the_venue_is_asked_and_stays_when_it_is_away(peers: Peers) -> None:
    desk = load_config()
    ensure_paper_secrets(desk.run_dir, desk.account_id)
    resolve_ports(desk.run_dir, desk.ports)
    ran = Ran("flatten", "--direct", "--yes", "--timeout", "1", "--reason", "host lost")
    assert ran.code in (1, 69)
    (latch,) = read_latches(desk.run_dir)
    assert (latch.raised_by, latch.reason) == ("flatten --direct", "host lost")
    steps = [json.loads(line)["step"] for line in (desk.run_dir / "flatten-direct.jsonl").read_text().splitlines()]
    assert steps[0] == "latched"
    assert "HALT flatten by flatten --direct waits for execution: host lost" in Ran("status").out


SHORT_CALL, LONG_CALL = "BTCUSD-27NOV26-106000-C", "BTCUSD-27NOV26-110000-C"


class _Account:
    """A short call spread at a venue that fills what reduces it, but not the first order of the short call."""

    def __init__(self) -> None:
        self.held = {SHORT_CALL: Decimal("-0.3"), LONG_CALL: Decimal("0.3")}
        self.orders: list[NewOrder] = []
        self.held_then: list[dict[str, Decimal]] = []

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return ()

    async def cancel_all(self, underlying: str) -> CancelAcked:
        return CancelAcked(client_order_id=0)

    async def positions(self) -> tuple[VenuePosition, ...]:
        return tuple(
            VenuePosition(
                symbol=symbol, quantity=quantity, average_price=Decimal(1), mark=100.0, unrealized_pnl_usd=None
            )
            for symbol, quantity in self.held.items()
        )

    async def chain(self, underlying: str, expiry_ns: int) -> ChainPush:
        return ChainPush(underlying=underlying, expiry_ns=expiry_ns, venue_ns=0, rows=())

    async def instruments(self, underlying: str) -> tuple[Instrument, ...]:
        return tuple(
            Instrument(
                symbol=symbol,
                underlying=underlying,
                option_type="C",
                strike=Decimal(symbol.split("-")[2]),
                expiry_ns=2,
                last_trade_ns=1,
                tick_size=Decimal("0.5"),
                lot_size=Decimal("0.1"),
                min_quantity=Decimal("0.1"),
                max_quantity=Decimal(100),
            )
            for symbol in (SHORT_CALL, LONG_CALL)
        )

    async def place(self, order: NewOrder) -> OrderAcked:
        self.orders.append(order)
        self.held_then.append(dict(self.held))
        if len(self.orders) > 1:
            self.held[order.symbol] += order.quantity if order.side == "buy" else -order.quantity
        return OrderAcked(client_order_id=order.client_order_id, venue_order_id=len(self.orders))


def test_every_order_is_reduce_only_and_what_covers_a_short_is_sold_once_that_is_gone(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voldesk.direct._ROUND_PAUSE_S", 0.0)
    desk, account, clock = load_config(), _Account(), Clock()
    audit = Audit(desk.run_dir / "flatten-direct.jsonl", clock, lambda _line: None)
    gateway = cast(DirectGateway, account)
    bounds = DirectBounds(bound_pct=25.0, patience_s=30.0)
    done = asyncio.run(DirectFlatten(gateway, desk, bounds, audit, clock, lambda _line: None).run())
    audit.close()
    assert done["flat"]
    assert [(order.symbol, order.side) for order in account.orders] == [
        (SHORT_CALL, "buy"),
        (SHORT_CALL, "buy"),
        (LONG_CALL, "sell"),
    ]
    assert account.held_then[2][SHORT_CALL] == 0
    assert all(order.reduce_only for order in account.orders)
    assert len({order.client_order_id for order in account.orders}) == 3

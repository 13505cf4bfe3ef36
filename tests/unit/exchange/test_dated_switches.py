"""What the venue leaves open about dated futures: their symbols, which are listed, at what they settle."""

from __future__ import annotations

from typing import Any

import pytest

from services.exchange.core import ExchangeCore
from services.exchange.market import NS_PER_YEAR
from services.exchange.model import Side
from services.exchange.switches import Switches
from shared.options.instruments import base_of, future_expiry_ns, instrument_kind
from tests.unit.exchange.harness import A, D, Venue, small_config
from tests.unit.exchange.test_contracts import dated_of, mark_of, placed, position_of
from tests.unit.exchange.test_properties import through_the_wire

FRIDAY_NS = 1_793_952_000_000_000_000
"""6 November 2026, 08:00 UTC."""
DAY_NS = 86_400 * 1_000_000_000


def venue(started_ns: int | None = None, **switches: Any) -> Venue:
    config = small_config(switches=Switches(**switches))
    return Venue(config) if started_ns is None else Venue(config, started_ns)


def listed(desk: Venue) -> list[str]:
    return [contract.symbol for _, contract in desk.core.futures.contracts() if contract.kind == "future"]


@pytest.mark.parametrize(
    ("form", "symbol"), [("plain", "BTCUSD-6NOV26"), ("padded", "BTCUSD-06NOV26"), ("usdt", "BTCUSDT-6NOV26")]
)
def test_a_dated_future_is_named_as_configured_and_the_name_is_read(form: str, symbol: str) -> None:
    desk = venue(FRIDAY_NS - 2 * DAY_NS, dated_symbol=form, dated_cycle="weeks_and_quarters")
    assert dated_of(desk) == symbol
    assert (instrument_kind(symbol), base_of(symbol)) == ("future", "BTC")
    assert future_expiry_ns(symbol) == FRIDAY_NS
    placed(desk, A, Side.BUY, symbol, "0.5")
    held = position_of(desk, symbol=symbol)
    assert held is not None
    assert held.quantity == D("0.5")
    restored = ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows))
    assert restored.state == desk.core.state


@pytest.mark.parametrize(
    ("cycle", "nearest"), [("months_and_quarters", "BTCUSD-30JAN26"), ("weeks_and_quarters", "BTCUSD-16JAN26")]
)
def test_months_or_weeks_are_listed_beside_the_quarters_as_configured(cycle: str, nearest: str) -> None:
    assert listed(venue(dated_cycle=cycle)) == [nearest, "BTCUSD-27MAR26", "BTCUSD-26JUN26"]


@pytest.mark.parametrize("settlement", ["mean", "last"])
def test_a_dated_future_settles_at_the_configured_index(settlement: str) -> None:
    desk = venue(dated_settlement=settlement, dated_cycle="weeks_and_quarters")
    symbol = dated_of(desk)
    placed(desk, A, Side.BUY, symbol, "0.5")
    expiry_ns = future_expiry_ns(symbol)
    desk.wait(expiry_ns - desk.now_ns)
    (delivery,) = desk.core.futures.deliveries(A, 0, NS_PER_YEAR * 100)
    mean = next(each.price for each in desk.core.delivery_prices("BTC") if each.expiry_ns == expiry_ns)
    last = desk.core.index_price("BTC")
    assert last != mean
    assert delivery.settlement_price == (mean if settlement == "mean" else last)
    assert mark_of(desk, dated_of(desk)) > 0

"""An expiry that is listed while the desk runs: seen, traded for five minutes, settled on the mean of thirty."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.execution.records import Trade
from services.strategy.config import StrategyHostConfig
from shared.strategy import LegSpec, StrategyConfig, max_hold_hours
from tests.simulation.test_world import run_until
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.limits import WIDE
from world.scenario import NOON_NS, small_exchange

pytestmark = [pytest.mark.simulation, pytest.mark.long]
MINUTE = 60 * SECOND
NEAREST = {"type": "spotdistance", "value": 0}


def buyer() -> StrategyConfig:
    """Buys the nearest straddle of the next expiry and holds it."""
    return StrategyConfig(
        name="buyer",
        legs=[LegSpec(kind, "buy", "0.1", NEAREST, {"dte": "next"}) for kind in ("C", "P")],
        exit_conditions=[max_hold_hours(5)],
        execution_mode="limit",
        max_concurrent_trades=1_000,
        max_trades_per_day=0,
        cooldown_seconds=1,
        check_interval_seconds=20,
    )


def trades_in(desk: Desk, symbols: set[str]) -> list[Trade]:
    return [trade for trade in desk.book.trades.values() if {leg.symbol for leg in trade.legs} <= symbols]


@pytest.mark.parametrize(
    "switches",
    [
        {"settlement_delay_ms": 0, "expired_order_state": 10},
        {"settlement_delay_ms": 45_000, "expired_order_state": 3},
    ],
)
def test_an_expiry_listed_in_twenty_minutes_is_traded_for_five_and_settles(switches: dict[str, Any]) -> None:
    exchange = small_exchange(3)
    exchange = msgspec.structs.replace(exchange, switches=msgspec.structs.replace(exchange.switches, **switches))
    desk = Desk(
        Engine(NOON_NS, 3),
        Faults.none(),
        (buyer(),),
        exchange,
        ExecutionConfig(tradable_margin_s=10),
        risk_config=msgspec.structs.replace(WIDE, min_time_to_last_trade_ms=20_000),
        host_config=StrategyHostConfig(no_trade_margin_s=30.0),
    )
    desk.engine.run_until(NOON_NS + 10 * SECOND)
    expiry_ns = NOON_NS + 21 * MINUTE
    listed = desk.venue.exchange.list_expiry("BTC", expiry_ns, desk.engine.now_ns)
    assert listed.rows
    symbols = {option.symbol for option in desk.venue.exchange.instruments("BTC") if option.expiry_ns == expiry_ns}
    run_until(desk, lambda: any(trade.state == "OPEN" for trade in trades_in(desk, symbols)), limit_s=120)
    opened = [trade.trade_id for trade in trades_in(desk, symbols)]
    desk.engine.run_until(expiry_ns - 14 * MINUTE)
    late = len(trades_in(desk, symbols))
    desk.engine.run_until(expiry_ns - 2 * MINUTE)
    assert len(trades_in(desk, symbols)) == late, "nothing opens in an option that no longer trades"

    def settled() -> bool:
        book = desk.book
        mine = [book.trades[trade_id] for trade_id in opened]
        return all(trade.state == "SETTLED" for trade in mine)

    run_until(desk, settled, limit_s=600)
    (delivery,) = desk.venue.exchange.delivery_prices("BTC")
    assert delivery.expiry_ns == expiry_ns
    trade = desk.book.trades[opened[0]]
    assert {leg.symbol for leg in trade.legs} <= symbols
    paid = {leg.symbol: leg.close_price for leg in trade.legs}
    for leg in trade.legs:
        strike = Decimal(leg.symbol.split("-")[2])
        distance = delivery.price - strike if leg.symbol.endswith("C") else strike - delivery.price
        assert paid[leg.symbol] == pytest.approx(max(distance, Decimal(0)))

"""Stop orders of a real desk: one protects while the desk is dead, and a close takes it back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.venue import VenueOrder
from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import Desk, all_running, until
from voldesk.supervision import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GUARDED = """
from decimal import Decimal

from shared.messages.quoting import OrderToPlace
from shared.messages.trades import FINAL_ORDER_STATES, LegOrder
from shared.options.chain import snap_price
from shared.strategy.protocol import OpenStructure, WorkOrders

TICK, SIZE = Decimal("0.1"), Decimal("0.05")


class Guarded:
    name = "guarded"

    def __init__(self):
        self._due_ns = 0
        self._orders = {}

    def on_market(self, underlying, desk, now_ns):
        chain = desk.chains.get("BTCUSD")
        quote = None if chain is None or now_ns < self._due_ns else chain.quote("BTCUSD")
        if quote is None or quote.ask is None or quote.mark is None:
            return ()
        self._due_ns = now_ns + 1_000_000_000
        trade = next(iter(desk.trades), None)
        if trade is None:
            leg = LegOrder(symbol="BTCUSD", side="buy", quantity=SIZE)
            return () if desk.entry_closed is not None else (
                OpenStructure(legs=(leg,), execution_mode="quoting", policy="best_effort", quoting_s=60.0),
            )
        (leg,) = trade.legs
        live = [each for each in self._orders.values() if each.trade_id == trade.trade_id]
        if not leg.filled_quantity and not live:
            price = snap_price(quote.ask * 1.001, TICK, up=True)
            bid = OrderToPlace(symbol="BTCUSD", side="buy", quantity=SIZE, price=price, post_only=False)
            return (WorkOrders(trade_id=trade.trade_id, place=(bid,)),)
        if leg.held_quantity == SIZE and not live:
            trigger = snap_price(quote.mark * 0.97, TICK, up=False)
            stop = OrderToPlace.stop_market("BTCUSD", "sell", SIZE, trigger_price=trigger, label="guard")
            return (WorkOrders(trade_id=trade.trade_id, place=(stop,)),)
        return ()

    def on_order(self, order, desk, now_ns):
        self._orders[order.client_order_id] = order
        if order.state in FINAL_ORDER_STATES:
            del self._orders[order.client_order_id]
        return ()

    def on_trade(self, trade, desk, now_ns):
        return ()

    def on_timer(self, desk, now_ns):
        return ()

    def on_outcome(self, outcome, now_ns):
        return None

    def gates(self):
        return ()

    def next_deadline_ns(self):
        return None


def guarded():
    return Guarded()
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Desk]:
    made = make_desk("guarded", 6, ["guarded"], {"guarded": GUARDED}, futures=True)
    made.config_path.write_text(f"{made.config_path.read_text()}\n[execution.leverage]\nETHUSD = 5\n")
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


def waiting(desk: Desk) -> dict[str, Any] | None:
    """The stop order of the desk that waits."""
    rows = desk.look("orders", "--json").json
    return next((row for row in rows if row["waits"] and row["state"] == "WORKING"), None)


def stop_of(desk: Desk, stop: dict[str, Any], state: str) -> dict[str, Any] | None:
    """The stop order, once it is in this state."""
    rows = desk.look("orders", "--all", "--trade", stop["trade_id"], "--json").json
    return next((row for row in rows if row["order_id"] == stop["order_id"] and row["state"] == state), None)


def futures_held(desk: Desk) -> dict[str, Decimal]:
    rows = desk.at_venue(lambda gateway: gateway.futures.positions())
    return {row.symbol: row.quantity for row in rows if row.quantity}


def futures_orders(desk: Desk) -> dict[str, VenueOrder]:
    """Every order of the account in futures, open or done, by our id."""

    async def ask(gateway: Any) -> list[VenueOrder]:
        return [*await gateway.futures.open_orders(), *await gateway.futures.order_history(desk.started_ns)]

    return {str(order.client_order_id): order for order in desk.at_venue(ask)}


def sold(desk: Desk, trade_id: str) -> Decimal:
    """What the venue sold for a trade, by its orders, every one of which only reduced."""
    numbers = {
        row["order_id"]
        for row in desk.look("orders", "--all", "--trade", trade_id, "--json").json
        if row["side"] == "sell"
    }
    orders = [order for number, order in futures_orders(desk).items() if number in numbers]
    assert all(order.reduce_only for order in orders)
    return sum((order.filled_quantity for order in orders), Decimal(0))


def test_a_stop_protects_a_position_while_the_desk_is_dead_and_after_kills_of_desk_and_exchange(
    guarded: Desk,
) -> None:
    stop = until(guarded, "a stop order waits", lambda: waiting(guarded))
    trade_id = stop["trade_id"]
    assert (stop["reduce_only"], stop["at_market"], stop["purpose"]) == (True, True, "close")
    shown = guarded.look("orders").out
    assert "waits" in shown
    assert "stop" in shown
    for victim in ("exchange", "execution", "strategy"):
        guarded.kill(victim)
    until(guarded, "every service is running again", lambda: all_running(guarded))
    again = until(guarded, "the stop order waits still", lambda: waiting(guarded))
    assert again["order_id"] == stop["order_id"]
    assert futures_orders(guarded)[stop["order_id"]].state == "waiting"

    supervisor = Supervisor(guarded.settings)
    for service in ("execution", "strategy", "risk"):
        os.kill(guarded.pid(service), signal.SIGKILL)
        supervisor.stop_service(service)
    assert futures_held(guarded) == {"BTCUSD": Decimal("0.05")}
    assert guarded.voldesk("exchange", "move", "BTCUSD", "--pct", "-5").code == 0
    until(guarded, "the stop order closed the position", lambda: futures_held(guarded) == {})
    for service in ("risk", "execution", "strategy"):
        supervisor.start_service(service)
    until(guarded, "every service is back", lambda: all_running(guarded))
    taken = until(guarded, "the desk has taken it over", lambda: stop_of(guarded, stop, "FILLED"))
    assert Decimal(taken["filled_qty"]) == Decimal("0.05")
    assert guarded.voldesk("close", trade_id, "--yes").code == 0
    until(guarded, "the trade is closed", lambda: guarded.trade(trade_id)["state"] == "CLOSED")
    assert sold(guarded, trade_id) == Decimal("0.05")
    story = guarded.look("trade", trade_id).out
    assert "stop" in story


def test_a_close_takes_the_stop_back_and_sells_once(guarded: Desk) -> None:
    stop = until(guarded, "a stop order waits", lambda: waiting(guarded), 240)
    trade_id = stop["trade_id"]
    assert guarded.voldesk("close", trade_id, "--yes").code == 0
    until(guarded, "the trade is closed", lambda: guarded.trade(trade_id)["state"] == "CLOSED")
    assert sold(guarded, trade_id) == Decimal("0.05")
    ended = futures_orders(guarded)[stop["order_id"]]
    assert (ended.state, ended.filled_quantity) == ("cancelled", Decimal(0))
    assert guarded.voldesk("flatten", "--yes").code == 0
    assert futures_held(guarded) == {}
    assert [order for order in futures_orders(guarded).values() if order.state in ("waiting", "new")] == []
    alerts = (guarded.run_dir / "alerts.jsonl").read_text()
    assert all(code not in alerts for code in ("foreign_order", "order_vanished", "core_failed", "fill_assumed"))


def test_the_configured_leverage_is_set_at_the_start_and_a_person_changes_another_one(guarded: Desk) -> None:
    def shown() -> list[tuple[str, int, int | None]]:
        rows = guarded.look("leverage", "--json").json
        return [(row["symbol"], row["leverage"], row["configured"]) for row in rows]

    until(guarded, "the configured leverage is at the venue", lambda: shown() == [("ETHUSD", 5, 5)])
    assert guarded.at_venue(lambda gateway: gateway.futures.leverage("ETHUSD")) == 5
    refused = guarded.voldesk("leverage", "ETHUSD", "7", "--yes")
    assert refused.code == 1
    assert "[execution.leverage]" in refused.err
    # halted by the flatten before: nothing is held and nothing rests
    # the venue may refuse it for too many requests of all services together
    until(guarded, "it is set", lambda: guarded.voldesk("leverage", "BTCUSD", "3", "--yes").code == 0)
    assert guarded.at_venue(lambda gateway: gateway.futures.leverage("BTCUSD")) == 3
    assert '"requested_by": "cli' in guarded.log_of("execution", "execution"), "who asked is written down"

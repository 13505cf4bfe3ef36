"""What the exchange remembers is bounded: old finished orders and fills go, open orders never."""

from __future__ import annotations

from services.exchange.core import ExchangeCore
from services.exchange.model import Side
from tests.unit.exchange.harness import A, D, Venue, small_config


def test_old_finished_orders_and_fills_are_forgotten_and_open_orders_never() -> None:
    kept = 1_000
    desk = Venue(small_config(kept_orders=kept, kept_fills=kept))
    symbol = desk.option().symbol
    price = desk.best(symbol)[0] - D(200)
    resting = desk.accepted(A, Side.BUY, symbol, "0.01", price, client_order_id=1)
    first = desk.accepted(A, Side.BUY, symbol, "0.01", price, client_order_id=2)
    desk.cancel(A, order_id=first.order_id)
    for _ in range(kept):
        order = desk.accepted(A, Side.BUY, symbol, "0.01", price, client_order_id=None)
        desk.cancel(A, order_id=order.order_id)
    assert desk.core.order(A, first.order_id) is None
    assert desk.core.order(A, client_order_id=2) is None
    assert desk.core.order(A, client_order_id=1) == resting
    assert [open_order.order_id for open_order in desk.core.open_orders(A)] == [resting.order_id]
    history = desk.core.order_history(A)
    assert len(history) == kept
    assert history[-1].order_id == order.order_id
    assert len(desk.core.state.orders) == kept + 1
    assert ExchangeCore.restore(desk.config, desk.started_ns, desk.rows).state == desk.core.state
    assert desk.accepted(A, Side.BUY, symbol, "0.01", price, client_order_id=2)


def test_trades_of_expired_options_are_forgotten() -> None:
    desk = Venue()
    option = desk.option(expiry=0)
    desk.buy_from_makers(A, option.symbol, "0.02")
    state = desk.core.state
    assert option.symbol in state.trades
    desk.wait(option.expiry_ns - desk.now_ns)
    for kept in (state.trades, state.volumes, state.minutes):
        assert option.symbol not in kept
    assert all(symbol != option.symbol for symbol, _ in state.consumed)
    assert ExchangeCore.restore(desk.config, desk.started_ns, desk.rows).state == state

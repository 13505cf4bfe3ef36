"""What the exchange remembers is bounded: old finished orders and fills go, open orders never."""

from __future__ import annotations

from services.exchange.accounts import KEPT_MINUTES
from services.exchange.core import ExchangeCore
from services.exchange.model import MarketTrade, Side
from services.exchange.rows import TradePrinted
from soak.retained import retained
from tests.unit.exchange.harness import MINUTE_NS, A, D, Venue, small_config


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


def test_an_order_that_ended_is_kept_nowhere_but_in_the_history() -> None:
    desk = Venue(small_config(kept_orders=1_000))
    symbol = desk.option().symbol
    price = desk.best(symbol)[0] - D(200)
    resting = desk.accepted(A, Side.BUY, symbol, "0.01", price)
    kept = []
    for _ in range(2):
        for _ in range(1_200):
            order = desk.accepted(A, Side.BUY, symbol, "0.01", price, client_order_id=None)
            desk.core.account_summary(A)
            desk.cancel(A, order_id=order.order_id)
        kept.append(retained(desk.core).total())
    assert kept[1] < kept[0] + 1_200
    assert desk.core.order_initial_margin(resting) > 0


def test_minutes_of_trading_are_kept_for_a_week_without_a_pause() -> None:
    desk = Venue()
    symbol = desk.option().symbol
    state = desk.core.state
    for minute in range(KEPT_MINUTES + 3):
        trade = MarketTrade(minute + 1, symbol, Side.BUY, D(10), D(1), minute * MINUTE_NS)
        state.apply(TradePrinted(trade=trade, at_ns=trade.at_ns))
    assert len(state.minutes[symbol]) == KEPT_MINUTES
    assert state.minutes[symbol][0].minute == 3

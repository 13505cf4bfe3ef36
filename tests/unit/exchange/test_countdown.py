"""The dead-man switch: armed, kept alive, fired, reset, and the same after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.exchange.core import ExchangeCore
from services.exchange.model import (
    CountdownsChanged,
    OrderEvent,
    OrderState,
    PlaceOrder,
    Rejection,
    SetCountdown,
    Side,
)
from services.exchange.rows import CountdownFired
from tests.unit.exchange.harness import SECOND_NS, A, B, D, Venue, small_config


def venue(**switches: Any) -> Venue:
    """Two indices, so that a countdown of one has another to leave alone."""
    config = small_config()
    btc = config.bases[0]
    eth = msgspec.structs.replace(btc, base="ETH")
    switched = msgspec.structs.replace(config.switches, **switches)
    return Venue(msgspec.structs.replace(config, bases=(btc, eth), switches=switched))


def arm(desk: Venue, countdown_ms: int, account_id: str = A, index: str = "BTCUSD") -> Any:
    outcome = desk.core.set_countdown(account_id, SetCountdown(index, countdown_ms), desk.now_ns)
    desk.keep(outcome.rows, outcome.events)
    return outcome.result


def beat(desk: Venue, *indices: str, account_id: str = A) -> Any:
    outcome = desk.core.restart_countdowns(account_id, indices, desk.now_ns)
    desk.keep(outcome.rows, outcome.events)
    return outcome.result


def option_of(desk: Venue, base: str) -> str:
    """A call near the money that still trades tomorrow."""
    chain = desk.core.chain(f"{base}USD")
    assert chain is not None
    rows = [row for row in range(len(chain.symbols)) if chain.is_call[row] and chain.bid[row] > 10]
    return chain.symbols[min(rows, key=lambda row: abs(chain.delta[row] - 0.5))]


def rests(desk: Venue, account_id: str, base: str = "BTC") -> int:
    """The id of a buy far below the market."""
    symbol = option_of(desk, base)
    book = desk.core.order_book(symbol)
    assert book is not None
    price = max(book.bids[-1].price - D(50), D(1))
    return desk.accepted(account_id, Side.BUY, symbol, "0.01", price).order_id


def order_code(desk: Venue, account_id: str, base: str = "BTC") -> int:
    """0, or the code with which an order is refused now."""
    symbol = option_of(desk, base)
    book = desk.core.order_book(symbol)
    assert book is not None
    result = desk.order(account_id, Side.BUY, symbol, "0.01", max(book.bids[-1].price - D(50), D(1)))
    return result.code if isinstance(result, Rejection) else 0


def test_a_countdown_that_lapses_cancels_the_orders_of_its_index_and_refuses_new_ones() -> None:
    desk = venue()
    mine, other_index, other_account = rests(desk, A), rests(desk, A, "ETH"), rests(desk, B)
    assert arm(desk, 5_000) == CountdownsChanged(("BTCUSD",))
    desk.wait(4 * SECOND_NS)
    assert order_code(desk, A) == 0
    desk.wait(SECOND_NS)
    ended = desk.core.order(A, mine)
    assert ended is not None
    assert ended.state is OrderState.CANCELLED
    assert [event.kind for event in desk.events if isinstance(event, OrderEvent)][-2:] == ["cancelled", "cancelled"]
    assert [order.order_id for order in desk.core.open_orders(A)] == [other_index]
    assert [order.order_id for order in desk.core.open_orders(B)] == [other_account]
    assert (order_code(desk, A), order_code(desk, A, "ETH"), order_code(desk, B)) == (10619, 0, 0)
    assert desk.core.countdowns(A) == []


def test_with_the_scope_of_the_account_all_its_orders_end_and_none_is_taken() -> None:
    desk = venue(countdown_scope="account")
    rests(desk, A), rests(desk, A, "ETH"), rests(desk, B)
    arm(desk, 5_000)
    desk.wait(6 * SECOND_NS)
    assert not desk.core.open_orders(A)
    assert len(desk.core.open_orders(B)) == 1
    assert (order_code(desk, A), order_code(desk, A, "ETH"), order_code(desk, B)) == (10619, 10619, 0)


def test_a_heartbeat_in_time_keeps_the_orders_and_tells_what_it_restarted() -> None:
    desk = venue()
    order_id = rests(desk, A)
    arm(desk, 5_000)
    for _ in range(4):
        desk.wait(4 * SECOND_NS)
        assert beat(desk, "ETHUSD", "BTCUSD") == CountdownsChanged(("BTCUSD",))
    order = desk.core.order(A, order_id)
    assert order is not None
    assert order.state.is_open
    desk.wait(5 * SECOND_NS)
    assert not desk.core.open_orders(A)


@pytest.mark.parametrize(("reset", "after_heartbeat"), [("heartbeat", 0), ("set", 10619)])
def test_after_firing_orders_are_taken_again_as_configured(reset: str, after_heartbeat: int) -> None:
    desk = venue(countdown_reset=reset)
    arm(desk, 1_000)
    desk.wait(2 * SECOND_NS)
    assert order_code(desk, A) == 10619
    beat(desk, "BTCUSD")
    assert order_code(desk, A) == after_heartbeat
    arm(desk, 60_000)
    assert order_code(desk, A) == 0


def test_arming_with_zero_ends_a_running_countdown_and_a_fired_one() -> None:
    desk = venue()
    arm(desk, 1_000)
    arm(desk, 0)
    desk.wait(2 * SECOND_NS)
    assert order_code(desk, A) == 0
    arm(desk, 1_000)
    desk.wait(2 * SECOND_NS)
    assert order_code(desk, A) == 10619
    arm(desk, 0)
    assert order_code(desk, A) == 0


def test_a_fired_countdown_refuses_closing_orders_too_but_no_cancels() -> None:
    desk = venue()
    symbol = option_of(desk, "BTC")
    desk.buy_from_makers(A, symbol, "0.02")
    other = rests(desk, A, "ETH")
    arm(desk, 1_000)
    desk.wait(2 * SECOND_NS)
    book = desk.core.order_book(symbol)
    assert book is not None
    assert desk.refused(A, Side.SELL, symbol, "0.01", book.bids[0].price, reduce_only=True) == 10619
    desk.cancel(A, order_id=other)
    assert not desk.core.open_orders(A)


@pytest.mark.parametrize(("index", "countdown_ms", "code"), [("SOLUSD", 5, 10579), ("BTCUSD", -1, 10573)])
def test_a_wrong_countdown_is_refused(index: str, countdown_ms: int, code: int) -> None:
    result = arm(venue(), countdown_ms, index=index)
    assert isinstance(result, Rejection)
    assert result.code == code
    beaten = beat(venue(), "SOLUSD")
    assert isinstance(beaten, Rejection)
    assert beaten.code == 10579


def test_a_countdown_that_lapses_while_the_exchange_is_away_fires_before_the_market_goes_on() -> None:
    desk = venue()
    order_id = rests(desk, A)
    arm(desk, 5_000)
    again = ExchangeCore.restore(desk.config, desk.started_ns, desk.rows)
    assert again.state == desk.core.state
    assert [index for index, _ in again.countdowns(A)] == ["BTCUSD"]
    moved = again.advance(desk.now_ns + 3_600 * SECOND_NS)
    order = again.order(A, order_id)
    assert order is not None
    assert (order.state, order.filled) == (OrderState.CANCELLED, 0)
    assert order.updated_ns == desk.now_ns + 5 * SECOND_NS
    (fired,) = (row for row in moved.rows if isinstance(row, CountdownFired))
    assert fired.at_ns == order.updated_ns
    third = ExchangeCore.restore(desk.config, desk.started_ns, [*desk.rows, *moved.rows])
    assert third.state == again.state
    refused = third.place(A, _any_order(third), desk.now_ns + 3_700 * SECOND_NS).result
    assert isinstance(refused, Rejection)
    assert refused.code == 10619


def _any_order(core: ExchangeCore) -> PlaceOrder:
    symbol = core.instruments("BTC")[-1].symbol
    return PlaceOrder(symbol=symbol, side=Side.BUY, quantity=D("0.01"), price=D(1))

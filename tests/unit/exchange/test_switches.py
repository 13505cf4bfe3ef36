"""What the venue leaves open, in both positions of each switch that the core knows."""

from __future__ import annotations

from typing import Any

import pytest

from services.exchange.contracts import next_funding_time
from services.exchange.core import ExchangeCore
from services.exchange.model import (
    AccountEvent,
    FuturesPositionEvent,
    InstrumentsEvent,
    MarketTradeEvent,
    OrderEvent,
    OrderState,
    OrderType,
    PositionEvent,
    SelfTradePrevention,
    Side,
    TradeEvent,
)
from services.exchange.switches import Switches
from tests.unit.exchange.harness import SECOND_NS, A, B, D, Venue, small_config
from tests.unit.exchange.test_contracts import PERPETUAL, placed, position_of
from tests.unit.exchange.test_properties import through_the_wire

BUY = Side.BUY


def venue(**switches: Any) -> Venue:
    return Venue(small_config(switches=Switches(**switches)))


def far_below(desk: Venue, symbol: str) -> Any:
    return desk.best(symbol)[0] - D(200)


@pytest.mark.parametrize(("scope", "code"), [("ever", 10577), ("open", 0)])
def test_a_client_id_may_come_back_when_its_order_is_gone_as_configured(scope: str, code: int) -> None:
    desk = venue(client_order_id_scope=scope)
    symbol = desk.option().symbol
    first = desk.accepted(A, BUY, symbol, "0.01", far_below(desk, symbol), client_order_id=5)
    assert desk.refused(A, BUY, symbol, "0.01", far_below(desk, symbol), client_order_id=5) == 10577
    desk.cancel(A, order_id=first.order_id)
    if code:
        assert desk.refused(A, BUY, symbol, "0.01", far_below(desk, symbol), client_order_id=5) == code
    else:
        again = desk.accepted(A, BUY, symbol, "0.01", far_below(desk, symbol), client_order_id=5)
        found = desk.core.order(A, client_order_id=5)
        assert found is not None
        assert found.order_id == again.order_id != first.order_id
    assert desk.accepted(B, BUY, symbol, "0.01", far_below(desk, symbol), client_order_id=5)


@pytest.mark.parametrize("time_in_force", ["IOC", "FOK"])
@pytest.mark.parametrize(
    ("unfilled", "state"), [("cancelled", OrderState.CANCELLED), ("invalid", OrderState.INVALID)]
)
def test_an_order_that_had_to_trade_at_once_and_did_not_ends_as_configured(
    unfilled: str, state: OrderState, time_in_force: str
) -> None:
    desk = venue(unfilled_state=unfilled)
    symbol = desk.option().symbol
    order = desk.accepted(A, BUY, symbol, "0.01", far_below(desk, symbol), time_in_force=time_in_force)
    assert order.state is state


def test_an_ioc_that_filled_in_part_is_cancelled_whatever_is_configured() -> None:
    desk = venue(unfilled_state="invalid")
    symbol = desk.option().symbol
    book = desk.core.order_book(symbol)
    assert book is not None
    best = book.asks[0]
    order = desk.accepted(A, BUY, symbol, best.quantity + D("0.01"), best.price, time_in_force="IOC")
    assert (order.state, order.filled) == (OrderState.CANCELLED, best.quantity)


@pytest.mark.parametrize(
    ("stp", "maker_rests", "taker_rests"), [(1, False, True), (2, True, False), (3, False, False)]
)
def test_two_orders_of_one_account_that_name_no_prevention_end_as_configured(
    stp: int, maker_rests: bool, taker_rests: bool
) -> None:
    desk = venue(default_stp=SelfTradePrevention(stp))
    symbol = desk.option().symbol
    bid, ask = desk.best(symbol)
    between = ((bid + ask) / 2).quantize(D("0.1"))
    maker = desk.accepted(A, BUY, symbol, "0.01", between)
    taker = desk.accepted(A, Side.SELL, symbol, "0.01", between)
    resting = {order.order_id for order in desk.core.open_orders(A)}
    assert (maker.order_id in resting, taker.order_id in resting) == (maker_rests, taker_rests)
    assert desk.position(A, symbol) == 0


@pytest.mark.parametrize(
    ("switch", "kinds"),
    [
        ("order_first", [OrderEvent, OrderEvent, TradeEvent, MarketTradeEvent, PositionEvent]),
        ("trade_first", [OrderEvent, TradeEvent, OrderEvent, MarketTradeEvent, PositionEvent]),
        ("position_first", [PositionEvent, OrderEvent, OrderEvent, TradeEvent, MarketTradeEvent]),
    ],
)
def test_the_frames_of_a_fill_come_in_the_configured_order(switch: str, kinds: list[type]) -> None:
    desk = venue(event_order=switch)
    desk.buy_from_makers(A, desk.option().symbol, "0.01")
    assert [type(event) for event in desk.last_events[:5]] == kinds


@pytest.mark.parametrize("pushes", [True, False])
def test_what_an_expiry_ends_is_told_as_configured_and_done_in_any_case(pushes: bool) -> None:
    desk = venue(expiry_pushes=pushes)
    option = desk.option(expiry=0)
    desk.buy_from_makers(A, option.symbol, "0.02")
    resting = desk.accepted(A, BUY, option.symbol, "0.01", far_below(desk, option.symbol))
    events = desk.wait(option.expiry_ns - desk.now_ns)
    told = [type(event) for event in events if not isinstance(event, InstrumentsEvent)]
    assert (OrderEvent in told, PositionEvent in told, AccountEvent in told) == (pushes, pushes, pushes)
    ended = desk.core.order(A, resting.order_id)
    assert ended is not None
    assert ended.state is OrderState.CANCELLED_BY_EXERCISE
    assert len(desk.core.exercise_history(A)) == 1
    assert desk.position(A, option.symbol) == 0


@pytest.mark.parametrize("start", ["best", "mark"])
def test_the_slippage_of_a_market_order_counts_from_the_configured_price(start: str) -> None:
    desk = venue(market_orders=True, slippage_from=start)
    symbol = desk.option().symbol
    best, detail = desk.best(symbol)[1], desk.core.detail(symbol)
    assert detail is not None
    assert float(best) > detail.mark_price
    order = desk.accepted(A, BUY, symbol, "0.01", None, order_type=OrderType.MARKET, slippage_pct=D(0))
    assert order.state is (OrderState.FILLED if start == "best" else OrderState.CANCELLED)


@pytest.mark.parametrize("state", [10, 3])
def test_orders_that_an_expiry_ends_have_the_configured_state(state: int) -> None:
    desk = venue(expired_order_state=state)
    option = desk.option(expiry=0)
    resting = desk.accepted(A, BUY, option.symbol, "0.01", far_below(desk, option.symbol))
    events = desk.wait(option.expiry_ns - desk.now_ns)
    (told,) = [event.order for event in events if isinstance(event, OrderEvent)]
    assert (told.order_id, int(told.state)) == (resting.order_id, state)
    assert [int(order.state) for order in desk.core.order_history(A)] == [state]


@pytest.mark.parametrize("delay_ms", [0, 30_000])
def test_an_expiry_is_settled_as_late_as_configured_at_the_price_of_its_time(delay_ms: int) -> None:
    desk = venue(settlement_delay_ms=delay_ms)
    option = desk.option(expiry=0)
    desk.buy_from_makers(A, option.symbol, "0.02")
    desk.wait(option.expiry_ns - desk.now_ns - SECOND_NS)
    estimate = desk.core.estimated_expiration_price("BTCUSD", option.expiry_ns)
    desk.wait(2 * SECOND_NS)
    if delay_ms:
        assert desk.position(A, option.symbol) == D("0.02")
        assert desk.core.instrument(option.symbol) is not None
        assert not desk.core.is_tradable(option.symbol)
        assert desk.core.chain("BTCUSD") is not None
        assert desk.core.order_book(option.symbol) is not None
        assert not desk.core.exercise_history(A)
        restored = ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows))
        assert restored.state == desk.core.state
        # A further expiry may be listed meanwhile: what waits for its settlement stays.
        listing = desk.core.list_expiry("BTC", option.expiry_ns + 3_600 * SECOND_NS, desk.now_ns)
        desk.keep(listing.rows, listing.events)
        assert desk.position(A, option.symbol) == D("0.02")
    desk.wait(delay_ms * 1_000_000)
    assert desk.position(A, option.symbol) == 0
    assert desk.core.instrument(option.symbol) is None
    (exercise,) = desk.core.exercise_history(A)
    assert exercise.at_ns == option.expiry_ns
    assert estimate is not None
    assert abs(exercise.settlement_price / estimate - 1) < D("0.0001")
    restored = ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows))
    assert restored.advance(desk.now_ns).rows == []
    assert restored.state == desk.core.state
    assert restored.instruments("BTC") == desk.core.instruments("BTC")
    desk.assert_books_balance()


@pytest.mark.parametrize("pushes", [True, False])
def test_a_funding_is_told_as_configured_and_paid_in_any_case(pushes: bool) -> None:
    desk = venue(funding_pushes=pushes)
    placed(desk, A, BUY, PERPETUAL, "1")
    cash = desk.core.account_summary(A).cash
    events = desk.wait(next_funding_time(desk.now_ns) - desk.now_ns)
    told = [type(event) for event in events]
    assert (FuturesPositionEvent in told, AccountEvent in told) == (pushes, pushes)
    assert desk.core.account_summary(A).cash != cash
    assert position_of(desk) is not None

"""Fees, margin, positions and settlement, with figures worked out by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exchange.accounts import ExchangeState
from services.exchange.config import FeeConfig, MarginConfig
from services.exchange.fees import delivery_fee, trade_fee
from services.exchange.margin import short_margin
from services.exchange.model import Exercise, OrderEvent, OrderState, PositionEvent, Side
from services.exchange.states import CLOSING_CHANGE, TRANSITIONS, OrderChange, next_state
from services.exchange.switches import Switches
from tests.unit.exchange.harness import HOUR_NS, MINUTE_NS, SECOND_NS, T0, A, B, D, Venue, small_config

FEES = FeeConfig()
money = st.decimals(D("0.01"), D(200_000), places=2)


@pytest.mark.parametrize(
    ("quantity", "price", "index", "fee"),
    [
        ("0.3", "2862.7", "100000", "9"),
        ("1", "240", "100000", "30"),
        ("1", "200", "100000", "25"),
        ("0.01", "0.1", "100000", "0.000125"),
    ],
)
def test_a_trade_pays_a_rate_of_the_index_capped_at_an_eighth_of_the_premium(
    quantity: str, price: str, index: str, fee: str
) -> None:
    assert trade_fee(FEES, D(quantity), D(price), D(index), is_taker=True) == D(fee)


def test_makers_and_takers_pay_their_own_rates() -> None:
    fees = FeeConfig(maker=D("0.0001"), taker=D("0.0004"))
    assert trade_fee(fees, D(1), D(5_000), D(100_000), is_taker=False) == 10
    assert trade_fee(fees, D(1), D(5_000), D(100_000), is_taker=True) == 40


@pytest.mark.parametrize(
    ("settlement", "intrinsic", "daily", "fee"),
    [
        ("104000", "4000", False, "15.6"),
        ("100100", "100", False, "12.5"),
        ("99000", "0", False, "0"),
        ("104000", "4000", True, "0"),
    ],
)
def test_delivery_pays_fifteen_thousandths_of_a_percent_capped_and_nothing_for_dailies(
    settlement: str, intrinsic: str, daily: bool, fee: str
) -> None:
    assert delivery_fee(FEES, D(1), D(settlement), D(intrinsic), is_daily=daily) == D(fee)


@given(quantity=money, price=money, index=money)
def test_no_fee_exceeds_its_caps(quantity: Decimal, price: Decimal, index: Decimal) -> None:
    fee = trade_fee(FEES, quantity, price, index, is_taker=True)
    assert 0 < fee <= quantity * price / 8
    assert fee <= quantity * index * FEES.taker


@pytest.mark.parametrize(
    ("strike", "mark", "is_call", "initial", "maintenance"),
    [
        (100_000, 2_000.0, True, "17000", "9500"),
        (103_000, 1_000.0, True, "13000", "8500"),
        (120_000, 50.0, True, "10050", "7550"),
        (80_000, 50.0, False, "10050", "7550"),
        (300_000, 200_000.0, False, "215000", "215000"),
    ],
)
def test_a_short_option_needs_standard_margin(
    strike: int, mark: float, is_call: bool, initial: str, maintenance: str
) -> None:
    unit = short_margin(MarginConfig(), index=100_000.0, strike=strike, mark=mark, is_call=is_call)
    assert (unit.initial, unit.maintenance) == (D(initial), D(maintenance))


def test_summary_adds_up_after_a_short_sale() -> None:
    venue = Venue()
    symbol = venue.option(103_000).symbol
    order = venue.sell_to_makers(A, symbol, "0.50")
    summary = venue.core.account_summary(A)
    detail = venue.core.detail(symbol)
    assert detail is not None
    premium = order.filled_value
    assert summary.cash == D(1_000_000) + premium - order.fee
    unit = short_margin(MarginConfig(), index=100_000.0, strike=103_000, mark=detail.mark_price, is_call=True)
    assert summary.initial_margin == unit.initial / 2
    assert summary.available == summary.cash - unit.initial / 2
    assert float(summary.equity) == pytest.approx(float(summary.cash) - detail.mark_price / 2, abs=1e-5)
    assert summary.initial_margin_ratio == (summary.initial_margin / summary.cash).quantize(D("0.000001"))
    assert summary.delta == pytest.approx(-detail.delta / 2)


def test_a_long_needs_no_margin_and_is_not_collateral() -> None:
    venue = Venue()
    venue.buy_from_makers(A, venue.option().symbol, "0.50")
    summary = venue.core.account_summary(A)
    assert summary.initial_margin == summary.maintenance_margin == 0
    assert summary.available == summary.margin_balance == summary.cash
    assert summary.equity > summary.cash


def test_average_price_and_realised_pnl_through_increase_reduction_and_flip() -> None:
    venue = Venue()
    symbol = venue.option().symbol
    base = venue.best(symbol)[0] + 1
    for side, quantity, price in (
        (Side.BUY, "0.10", base),
        (Side.BUY, "0.30", base + 4),
        (Side.SELL, "0.20", base + 9),
        (Side.SELL, "0.50", base + 1),
    ):
        venue.accepted(B, side.opposite, symbol, quantity, price)
        order = venue.accepted(A, side, symbol, quantity, price)
        assert order.state is OrderState.FILLED
    position = venue.core.positions(A)[0]
    assert (position.side, position.quantity, position.average_price) == (Side.SELL, D("0.30"), base + 1)
    assert position.realised_pnl == D("0.20") * 6 + D("0.20") * -2
    assert order.realised_pnl == D("-0.40")
    assert venue.core.positions(B)[0].realised_pnl == -position.realised_pnl
    assert venue.core.state.makers_cash == 0
    venue.assert_books_balance()


@pytest.mark.parametrize(
    ("switch", "factor"), [("per_unit", 1.0), ("signed_per_unit", -1.0), ("total", 0.5), ("signed_total", -0.5)]
)
def test_greeks_of_a_position_are_scaled_as_switched(switch: str, factor: float) -> None:
    venue = Venue(small_config(switches=Switches(position_greeks=switch)))  # type: ignore[arg-type]
    symbol = venue.option().symbol
    venue.sell_to_makers(A, symbol, "0.50")
    position, detail = venue.core.positions(A)[0], venue.core.detail(symbol)
    assert detail is not None
    assert position.delta == pytest.approx(detail.delta * factor)
    assert position.theta == pytest.approx(detail.theta * factor)


def to_expiry(venue: Venue, expiry_ns: int) -> list[object]:
    return list(venue.wait(expiry_ns - venue.now_ns))


def test_the_settlement_price_is_the_mean_of_the_last_thirty_minutes() -> None:
    venue = Venue()
    option = venue.option(expiry=0)
    venue.wait(option.expiry_ns - 30 * MINUTE_NS - venue.now_ns)
    prices = []
    for _ in range(30 * 60 * 4):
        prices.append(venue.core.index_price("BTC") or D(0))
        venue.wait(250_000_000)
    mean = sum(prices, D(0)) / len(prices)
    delivery = venue.core.delivery_prices("BTC")[0]
    assert delivery.expiry_ns == option.expiry_ns == venue.now_ns
    assert delivery.price == mean.quantize(D("0.01"))


def test_the_estimate_is_the_index_then_the_mean_so_far() -> None:
    venue = Venue()
    option = venue.option(expiry=0)
    assert venue.core.estimated_expiration_price("BTCUSD", option.expiry_ns) == venue.core.index_price("BTC")
    venue.wait(option.expiry_ns - 250_000_000 - venue.now_ns)
    estimate = venue.core.estimated_expiration_price("BTCUSD", option.expiry_ns)
    to_expiry(venue, option.expiry_ns)
    assert estimate is not None
    assert abs(estimate - venue.core.delivery_prices("BTC")[0].price) < D("0.2")
    assert venue.core.estimated_expiration_price("BTCUSD", option.expiry_ns) is None


def test_positions_are_paid_out_and_orders_cancelled_by_exercise() -> None:
    venue = Venue()
    inside, outside = venue.option(95_000, expiry=0), venue.option(105_000, expiry=0)
    bought = venue.buy_from_makers(A, inside.symbol, "0.10")
    sold = venue.sell_to_makers(A, outside.symbol, "0.20")
    resting = venue.accepted(B, Side.BUY, inside.symbol, "0.01", venue.best(inside.symbol)[0])
    cash = venue.core.account_summary(A).cash
    venue.cancel(B, order_id=resting.order_id)
    venue.wait(inside.expiry_ns - HOUR_NS - venue.now_ns)
    resting = venue.accepted(B, Side.SELL, inside.symbol, "0.01", venue.best(inside.symbol)[1] + 200)
    events = to_expiry(venue, inside.expiry_ns)
    price = venue.core.delivery_prices("BTC")[0].price
    first, second = venue.core.exercise_history(A)
    assert (first.symbol, first.side, first.settlement_cash_flow) == (
        inside.symbol,
        Side.BUY,
        (price - 95_000) * D("0.10"),
    )
    assert first.open_cash_flow == -bought.filled_value
    assert (second.symbol, second.settlement_cash_flow) == (outside.symbol, D(0))
    assert second.open_cash_flow == sold.filled_value
    assert first.fee == second.fee == 0
    assert venue.core.account_summary(A).cash == cash + first.settlement_cash_flow
    assert venue.core.positions(A) == []
    assert venue.core.order(B, resting.order_id).state is OrderState.CANCELLED_BY_EXERCISE  # type: ignore[union-attr]
    assert "exercised" in [event.kind for event in events if isinstance(event, OrderEvent)]
    closed = [event.position for event in events if isinstance(event, PositionEvent)]
    assert [(position.symbol, position.quantity, position.side) for position in closed] == [
        (inside.symbol, D(0), Side.BUY),
        (outside.symbol, D(0), Side.SELL),
    ]
    venue.assert_books_balance()


def test_a_weekly_pays_the_delivery_fee() -> None:
    venue = Venue()
    option = venue.option(95_000, expiry=1)
    venue.buy_from_makers(A, option.symbol, "0.10")
    to_expiry(venue, option.expiry_ns)
    exercised = venue.core.exercise_history(A)[0]
    price = venue.core.delivery_prices("BTC")[0].price
    pay_off = max(price - 95_000, D(0))
    assert exercised.settlement_cash_flow == pay_off * D("0.10")
    assert exercised.fee == min(D("0.10") * price * D("0.00015"), D("0.10") * pay_off / 8)
    assert exercised.fee > 0


def test_expiries_within_a_long_gap_are_all_settled_in_order() -> None:
    venue = Venue()
    venue.buy_from_makers(A, venue.option(expiry=0).symbol, "0.10")
    venue.buy_from_makers(A, venue.option(expiry=1).symbol, "0.10")
    venue.wait(10 * 24 * HOUR_NS)
    assert len(venue.core.exercise_history(A)) == 2
    prices = venue.core.delivery_prices("BTC")
    assert len(prices) == 10
    assert [price.expiry_ns for price in prices] == sorted((price.expiry_ns for price in prices), reverse=True)
    one_by_one = Venue()
    for _ in range(10 * 24):
        one_by_one.wait(HOUR_NS)
    assert one_by_one.core.delivery_prices("BTC") == prices


def test_exercises_are_found_by_time() -> None:
    venue = Venue()
    option = venue.option(expiry=0)
    venue.buy_from_makers(A, option.symbol, "0.10")
    venue.wait(2 * 24 * HOUR_NS)
    history = venue.core.exercise_history(A)
    assert isinstance(history[0], Exercise)
    assert history[0].at_ns == option.expiry_ns
    assert venue.core.exercise_history(A, start_ns=option.expiry_ns, end_ns=option.expiry_ns) == history
    assert venue.core.exercise_history(A, start_ns=option.expiry_ns + 1) == []
    assert venue.core.exercise_history(A, end_ns=T0 + SECOND_NS) == []


def test_only_the_transitions_of_the_table_are_possible() -> None:
    for state in OrderState:
        for change in OrderChange:
            if (state, change) in TRANSITIONS:
                assert next_state(state, change) is TRANSITIONS[state, change]
            else:
                with pytest.raises(AssertionError, match="cannot be"):
                    next_state(state, change)


def test_nothing_leaves_a_final_state_and_every_open_state_can_end_in_all_ways() -> None:
    assert {state for state, _ in TRANSITIONS} == {state for state in OrderState if not state.is_final}
    assert all(TRANSITIONS[OrderState.NEW, change] is end for end, change in CLOSING_CHANGE.items())


def test_states_of_different_accounts_are_not_equal() -> None:
    assert ExchangeState(small_config()) == ExchangeState(small_config(seed=1))
    assert Venue().core.state != object()

"""What is refused before it becomes an order, with the venue's code."""

import pytest

from services.exchange.model import OrderType, Side
from services.exchange.switches import Switches
from tests.unit.exchange.harness import DAY_NS, HOUR_NS, MINUTE_NS, A, D, Venue, small_config, with_base

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def symbol(venue: Venue) -> str:
    return venue.option().symbol


@pytest.mark.parametrize(
    ("quantity", "code"),
    [("0.001", 10558), ("0", 10558), ("-1", 10558), ("1000.01", 10534), ("0.015", 10573), ("NaN", 10573)],
)
def test_quantities_outside_their_limits_are_refused(venue: Venue, symbol: str, quantity: str, code: int) -> None:
    assert venue.refused(A, BUY, symbol, quantity, venue.best(symbol)[0]) == code


@pytest.mark.parametrize(
    ("price", "code"), [("0", 10573), ("-5", 10573), ("1500.05", 10573), ("Infinity", 10573), (None, 10530)]
)
def test_prices_off_the_tick_are_refused(venue: Venue, symbol: str, price: str | None, code: int) -> None:
    assert venue.refused(A, BUY, symbol, "0.01", price) == code


def test_prices_outside_the_band_around_mark_are_refused(venue: Venue, symbol: str) -> None:
    detail = venue.core.detail(symbol)
    assert detail is not None
    scale = detail.underlying_price * max(1.0, 4 * abs(detail.delta))
    tick = D("0.1")
    highest = (D(repr(detail.mark_price + 0.05 * scale)) / tick).to_integral_value("ROUND_FLOOR") * tick
    assert venue.refused(A, SELL, symbol, "0.01", highest + tick) == 10531
    venue.accepted(A, SELL, symbol, "0.01", highest)
    deep = venue.option(95_000).symbol
    detail = venue.core.detail(deep)
    assert detail is not None
    scale = detail.underlying_price * max(1.0, 4 * abs(detail.delta))
    lowest = (D(repr(detail.mark_price - 0.01 * scale)) / tick).to_integral_value("ROUND_CEILING") * tick
    assert lowest > 1_000
    assert venue.refused(A, BUY, deep, "0.01", lowest - tick) == 10532
    venue.accepted(A, BUY, deep, "0.01", lowest)


def test_the_lower_limit_is_never_below_a_tick(venue: Venue) -> None:
    cheap = max((o for o in venue.core.instruments("BTC") if o.is_call), key=lambda option: option.strike)
    venue.accepted(A, BUY, cheap.symbol, "0.01", "0.1")


def test_volatility_limits_are_enforced_where_they_are_on() -> None:
    venue = Venue(small_config(switches=Switches(order_iv_min=0.5, order_iv_max=1.5)))
    symbol = venue.option().symbol
    mark = D(round(venue.core.detail(symbol).mark_price))  # type: ignore[union-attr]
    assert venue.refused(A, SELL, symbol, "0.01", mark * 3) == 10538
    assert venue.refused(A, BUY, symbol, "0.01", (mark / 2).quantize(D(1))) == 10539
    venue.accepted(A, BUY, symbol, "0.01", mark)


def test_unknown_symbols_are_refused(venue: Venue) -> None:
    for symbol in ("BTCUSD-13JAN26-100001-C", "ETHUSD-13JAN26-3500-C", "BTCUSD", ""):
        assert venue.refused(A, BUY, symbol, "0.01", "100") == 10574


def test_market_orders_are_refused_by_default(venue: Venue, symbol: str) -> None:
    assert venue.refused(A, BUY, symbol, "0.01", None, order_type=OrderType.MARKET) == 10573


def test_a_post_only_order_must_be_good_till_cancelled(venue: Venue, symbol: str) -> None:
    code = venue.refused(A, BUY, symbol, "0.01", "100", order_type=OrderType.POST_ONLY, time_in_force="IOC")
    assert code == 12012


@pytest.mark.parametrize("code", [10609, 10620])
def test_trading_is_suspended_in_the_last_fifteen_minutes(code: int) -> None:
    venue = Venue(small_config(switches=Switches(suspended_code=code)))  # type: ignore[arg-type]
    option = venue.option(expiry=0)
    venue.wait(option.expiry_ns - 15 * MINUTE_NS - venue.now_ns - 1)
    assert venue.core.is_tradable(option.symbol)
    price = max(venue.core.order_book(option.symbol).bids[0].price, D("0.1"))  # type: ignore[union-attr]
    resting = venue.accepted(A, BUY, option.symbol, "0.01", price)
    venue.wait(1)
    assert not venue.core.is_tradable(option.symbol)
    assert venue.refused(A, BUY, option.symbol, "0.01", price) == code
    assert venue.amend(A, resting.order_id, quantity=D("0.02")).code == code  # type: ignore[union-attr]
    venue.wait(MINUTE_NS)
    venue.jump(-20.0)
    assert venue.fills(A) == []


def test_reduce_only_needs_a_position_on_the_other_side_not_yet_claimed(venue: Venue, symbol: str) -> None:
    assert venue.refused(A, SELL, symbol, "0.01", "1500", reduce_only=True) == 10536
    venue.buy_from_makers(A, symbol, "0.10")
    bid, ask = venue.best(symbol)
    assert venue.refused(A, BUY, symbol, "0.01", bid, reduce_only=True) == 10536
    assert venue.refused(A, SELL, symbol, "0.11", ask, reduce_only=True) == 10536
    venue.accepted(A, SELL, symbol, "0.06", ask, reduce_only=True)
    assert venue.refused(A, SELL, symbol, "0.05", ask, reduce_only=True) == 10536
    venue.accepted(A, SELL, symbol, "0.04", ask, reduce_only=True)


def test_open_orders_are_limited() -> None:
    venue = Venue(with_base(small_config(), max_open_orders=3))
    symbol = venue.option().symbol
    bid = venue.best(symbol)[0]
    orders = [venue.accepted(A, BUY, symbol, "0.01", bid) for _ in range(3)]
    assert venue.refused(A, BUY, symbol, "0.01", bid) == 10535
    venue.cancel(A, order_id=orders[0].order_id)
    venue.accepted(A, BUY, symbol, "0.01", bid)


def test_a_position_cannot_grow_beyond_its_limit() -> None:
    venue = Venue(with_base(small_config(), max_position_quantity=D("0.05")))
    symbol = venue.option().symbol
    bid, ask = venue.best(symbol)
    venue.buy_from_makers(A, symbol, "0.03")
    venue.accepted(A, BUY, symbol, "0.01", bid)
    assert venue.refused(A, BUY, symbol, "0.02", bid) == 10534
    venue.accepted(A, SELL, symbol, "0.08", ask + 10)


def test_a_long_premium_is_paid_in_full_and_must_be_there() -> None:
    venue = Venue()
    symbol = venue.option().symbol
    ask = venue.best(symbol)[1]
    affordable = int(D(1_000_000) / ask)
    assert venue.refused(A, BUY, symbol, str(affordable + 1), ask) == 10529
    available = venue.core.account_summary(A).available
    order = venue.accepted(A, BUY, symbol, "1.00", ask - 20)
    frozen = available - venue.core.account_summary(A).available
    assert frozen == venue.core.order_initial_margin(order)
    assert frozen == order.price + min(D(100_000) * D("0.0003"), order.price * D("0.125"))


def test_opening_is_refused_without_margin_but_closing_is_not(venue: Venue, symbol: str) -> None:
    venue.sell_to_makers(A, symbol, "0.50")
    available = venue.core.account_summary(A).available
    outcome = venue.core.withdraw(A, available.quantize(D("0.01"), rounding="ROUND_FLOOR"), venue.now_ns)
    venue.keep(outcome.rows, outcome.events)
    venue.jump(5.0)
    assert venue.core.account_summary(A).available < 0
    assert venue.refused(A, SELL, symbol, "0.01", venue.best(symbol)[0]) == 10529
    other = venue.option(101_000).symbol
    assert venue.refused(A, BUY, other, "0.01", venue.best(other)[0]) == 10529
    venue.buy_from_makers(A, symbol, "0.50")
    assert venue.position(A, symbol) == 0


def test_withdrawals_are_limited_to_what_is_available(venue: Venue) -> None:
    assert venue.core.withdraw(A, D(1_000_001), venue.now_ns).result.code == 20010  # type: ignore[union-attr]
    assert venue.core.withdraw(A, D(0), venue.now_ns).result.code == 10573  # type: ignore[union-attr]
    assert venue.core.deposit(A, D("NaN"), venue.now_ns).result.code == 10573  # type: ignore[union-attr]
    outcome = venue.core.deposit(A, D("5.5"), venue.now_ns)
    venue.keep(outcome.rows, outcome.events)
    assert venue.core.account_summary(A).cash == D("1000005.5")
    assert [transfer.amount for transfer in venue.core.transfers(A)] == [D("5.5")]
    venue.assert_books_balance()


def test_an_index_is_moved_only_within_reason(venue: Venue) -> None:
    for pct in (-91.0, 901.0, float("nan")):
        assert venue.core.move_index("BTC", pct, venue.now_ns).result.code == 10573  # type: ignore[union-attr]
    assert venue.core.move_index("DOGE", 1.0, venue.now_ns).result.code == 10579  # type: ignore[union-attr]


def test_expired_options_are_unknown(venue: Venue) -> None:
    symbol = venue.option(expiry=0).symbol
    venue.wait(DAY_NS - 2 * HOUR_NS)
    assert venue.refused(A, BUY, symbol, "0.01", "100") == 10574

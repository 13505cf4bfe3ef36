"""What must hold after any run: money, books, reduce-only, and the fold of the rows."""

from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.core import ExchangeCore
from services.exchange.model import Accepted, OrderState, OrderType, SelfTradePrevention, Side, TimeInForce
from services.exchange.rows import ExchangeRow, LiquidityConsumed, OrderFilled
from tests.unit.exchange.harness import HOUR_NS, SECOND_NS, T0, A, B, D, Venue, small_config

Action = Literal["order", "cancel", "amend", "wait", "jump", "mass", "transfer"]


class Step(NamedTuple):
    action: Action
    account: str
    side: Side
    strike: int
    expiry: int
    lots: int
    ticks_through: int
    time_in_force: TimeInForce
    order_type: OrderType
    reduce_only: bool
    stp: SelfTradePrevention
    wait_s: int
    pct: float


steps = st.builds(
    Step,
    st.sampled_from(["order", "order", "order", "order", "cancel", "amend", "wait", "jump", "mass", "transfer"]),
    st.sampled_from([A, B, "carol"]),
    st.sampled_from(Side),
    st.sampled_from([97_000, 100_000, 102_000]),
    st.integers(0, 1),
    st.integers(1, 2_000),
    st.integers(-400, 400),
    st.sampled_from(["GTC", "GTC", "IOC", "FOK"]),
    st.sampled_from([OrderType.LIMIT, OrderType.LIMIT, OrderType.POST_ONLY]),
    st.booleans(),
    st.sampled_from(SelfTradePrevention),
    st.sampled_from([1, 5, 60, 9 * 3_600]),
    st.floats(-4, 4),
)
runs = st.tuples(st.integers(0, 2**31), st.lists(steps, min_size=5, max_size=40))


def do(venue: Venue, step: Step) -> None:
    """Carry out one step of a random run; refusals are fine."""
    option = venue.option(step.strike, expiry=step.expiry) if step.action in ("order", "mass") else None
    orders = venue.core.open_orders(step.account)
    match step.action:
        case "order":
            assert option is not None
            detail = venue.core.detail(option.symbol)
            assert detail is not None
            price = D(round(detail.mark_price * 10) + step.side.sign * step.ticks_through) / 10
            venue.order(
                step.account,
                step.side,
                option.symbol,
                D(step.lots) / 100,
                max(price, D("0.1")),
                time_in_force=step.time_in_force if step.order_type is OrderType.LIMIT else "GTC",
                order_type=step.order_type,
                reduce_only=step.reduce_only,
                stp=step.stp,
            )
        case "cancel" if orders:
            venue.cancel(step.account, order_id=orders[step.lots % len(orders)].order_id)
        case "amend" if orders:
            order = orders[step.lots % len(orders)]
            venue.amend(step.account, order.order_id, quantity=D(step.lots) / 100, price=order.price + step.expiry)
        case "wait":
            venue.wait(step.wait_s * SECOND_NS)
        case "jump":
            venue.jump(step.pct)
        case "mass":
            assert option is not None
            outcome = venue.core.cancel_symbol(step.account, option.symbol, venue.now_ns)
            venue.keep(outcome.rows, outcome.events)
        case "transfer":
            transfer = venue.core.withdraw if step.reduce_only else venue.core.deposit
            moved = transfer(step.account, D(step.lots), venue.now_ns)
            venue.keep(moved.rows, moved.events)


@given(run=runs)
@settings(max_examples=40, deadline=None)
def test_money_is_conserved_books_are_uncrossed_and_the_fold_is_the_state(run: tuple[int, list[Step]]) -> None:
    seed, actions = run
    venue = Venue(small_config(seed))
    for step in actions:
        try:
            do(venue, step)
        except StopIteration:
            continue
        venue.assert_books_balance()
        for symbol in venue.core.state.open_by_symbol:
            book = venue.core.order_book(symbol)
            assert book is not None
            assert not (book.bids and book.asks) or book.bids[0].price < book.asks[0].price
        for order in venue.core.state.orders.values():
            assert 0 <= order.filled <= order.quantity
            assert order.time_in_force == "GTC" or not order.state.is_open
            assert order.time_in_force != "FOK" or order.filled in (0, order.quantity)
    restored = ExchangeCore.restore(venue.config, T0, through_the_wire(venue.rows))
    assert restored.state == venue.core.state
    restored.advance(venue.now_ns)
    assert restored.instruments("BTC") == venue.core.instruments("BTC")
    for account in (A, B, "carol"):
        assert restored.account_summary(account) == venue.core.account_summary(account)
        assert list(restored.positions(account)) == list(venue.core.positions(account))


def through_the_wire(rows: list[ExchangeRow]) -> list[ExchangeRow]:
    """What a database gives back."""
    encoded = [msgspec.msgpack.encode(row) for row in rows]
    return [msgspec.msgpack.decode(data, type=ExchangeRow) for data in encoded]


@given(run=runs)
@settings(max_examples=25, deadline=None)
def test_a_reduce_only_order_never_increases_a_position(run: tuple[int, list[Step]]) -> None:
    seed, actions = run
    venue = Venue(small_config(seed))
    held: dict[tuple[str, str], Decimal] = {}
    for step in actions:
        seen = len(venue.rows)
        try:
            do(venue, step)
        except StopIteration:
            continue
        for row in venue.rows[seen:]:
            if isinstance(row, OrderFilled):
                key = (row.fill.account_id, row.fill.symbol)
                before = held.get(key, D(0))
                held[key] = before + row.fill.side.sign * row.fill.quantity
                if row.fill.reduce_only:
                    assert abs(held[key]) == abs(before) - row.fill.quantity


@given(
    seed=st.integers(0, 2**31),
    drop=st.floats(0.3, 8.0),
    quantities=st.lists(st.integers(1, 3_000), min_size=2, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_resting_orders_never_share_the_makers_liquidity(seed: int, drop: float, quantities: list[int]) -> None:
    venue, untouched = Venue(small_config(seed)), Venue(small_config(seed))
    symbol = venue.option().symbol
    price = venue.best(symbol)[0]
    for number, lots in enumerate(quantities):
        account = (A, B, "carol")[number % 3]
        venue.order(account, Side.BUY, symbol, D(lots) / 100, price)
    for each in (venue, untouched):
        each.jump(-drop)
    book = untouched.core.order_book(symbol)
    assert book is not None
    offered = sum((level.quantity for level in book.asks if level.price <= price), D(0))
    wanted = sum((order.quantity for order in venue.core.state.orders.values()), D(0))
    filled = sum((order.filled for order in venue.core.state.orders.values()), D(0))
    assert filled == min(offered, wanted)
    consumed = [row for row in venue.rows if isinstance(row, LiquidityConsumed)]
    assert sum(D(row.lots) for row in consumed) / 100 == filled
    before = filled
    assert venue.core.advance(venue.now_ns).rows == []
    assert sum((order.filled for order in venue.core.state.orders.values()), D(0)) == before


@given(seed=st.integers(0, 2**31), lots=st.integers(1, 20_000), ticks=st.integers(0, 800))
@settings(max_examples=40, deadline=None)
def test_fok_is_all_or_nothing_and_ioc_takes_exactly_what_fok_could_not(seed: int, lots: int, ticks: int) -> None:
    fok, ioc = Venue(small_config(seed)), Venue(small_config(seed))
    symbol = fok.option().symbol
    price = fok.best(symbol)[1] + D(ticks) / 10
    book = fok.core.order_book(symbol)
    assert book is not None
    there = sum((level.quantity for level in book.asks if level.price <= price), D(0))
    quantity = D(lots) / 100
    for venue, time_in_force in ((fok, "FOK"), (ioc, "IOC")):
        result = venue.order(A, Side.BUY, symbol, quantity, price, time_in_force=time_in_force)
        if not isinstance(result, Accepted):
            return
    (killed,), (taken,) = fok.core.state.orders.values(), ioc.core.state.orders.values()
    assert killed.filled == (quantity if quantity <= there else 0)
    assert taken.filled == min(quantity, there)
    assert OrderState.NEW not in (killed.state, taken.state)


@given(seed=st.integers(0, 2**31), hours=st.integers(0, 60))
@settings(max_examples=15, deadline=None)
def test_the_market_depends_on_time_only_not_on_how_it_came_there(seed: int, hours: int) -> None:
    at_once, in_steps = Venue(small_config(seed)), Venue(small_config(seed))
    at_once.wait(hours * HOUR_NS)
    for _ in range(hours):
        in_steps.wait(HOUR_NS)
    assert at_once.core.instruments("BTC") == in_steps.core.instruments("BTC")
    assert at_once.core.delivery_prices("BTC") == in_steps.core.delivery_prices("BTC")
    for option in at_once.core.instruments("BTC")[::6]:
        assert at_once.core.order_book(option.symbol) == in_steps.core.order_book(option.symbol)


def test_an_exchange_restored_after_days_lists_quotes_and_settles_as_the_one_that_ran_on() -> None:
    venue = Venue(small_config(3))
    venue.jump(9.0)
    venue.wait(23 * HOUR_NS)
    extra = venue.now_ns + HOUR_NS
    listed = venue.core.list_expiry("BTC", extra, venue.now_ns)
    venue.keep(listed.rows, listed.events)
    second = venue.core.list_expiry("BTC", extra + HOUR_NS, venue.now_ns)
    venue.keep(second.rows, second.events)
    held = next(option for option in venue.core.instruments("BTC") if option.expiry_ns == extra and option.is_call)
    venue.buy_from_makers(A, held.symbol, "0.01")
    venue.wait(26 * HOUR_NS)
    paid = venue.core.deposit(A, D(1), venue.now_ns)
    venue.keep(paid.rows, paid.events)
    restored = ExchangeCore.restore(venue.config, T0, venue.rows)
    assert restored.state == venue.core.state
    assert (restored.now_ns, restored.step) == (venue.core.now_ns, venue.core.step)
    for hours in (0, 1, 30, 24 * 7):
        later = venue.now_ns + hours * HOUR_NS
        assert restored.advance(later) == venue.core.advance(later)
        assert restored.instruments("BTC") == venue.core.instruments("BTC")
        for option in restored.instruments("BTC")[::5]:
            assert restored.order_book(option.symbol) == venue.core.order_book(option.symbol)


def test_a_restored_order_does_not_trade_with_the_market_of_before_it_was_placed() -> None:
    venue = Venue()
    venue.jump(-8.0)
    venue.wait(26 * HOUR_NS)
    venue.jump(9.0)
    symbol = venue.option(100_000, expiry=-1).symbol
    order = venue.accepted(A, Side.BUY, symbol, "0.01", venue.best(symbol)[0])
    restored = ExchangeCore.restore(venue.config, T0, venue.rows)
    assert restored.advance(venue.now_ns) == ([], [])
    assert restored.order(A, order.order_id) == order

"""Placing, matching, amending and cancelling."""

import pytest

from services.exchange.model import (
    Accepted,
    AccountEvent,
    MarketTradeEvent,
    OrderEvent,
    OrderState,
    OrderType,
    PositionEvent,
    Rejection,
    SelfTradePrevention,
    Side,
    TradeEvent,
)
from services.exchange.switches import Switches
from tests.unit.exchange.harness import POST_ONLY, SECOND_NS, T0, A, B, D, Venue, small_config

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def symbol(venue: Venue) -> str:
    return venue.option().symbol


def inside(venue: Venue, symbol: str) -> str:
    """A price between best bid and best ask."""
    bid, ask = venue.best(symbol)
    return str(((bid + ask) / 2).quantize(D("0.1")))


def test_a_crossing_buy_walks_the_asks_best_first_and_rests_with_what_is_left(venue: Venue, symbol: str) -> None:
    book = venue.core.order_book(symbol)
    assert book is not None
    first, second = book.asks[:2]
    order = venue.accepted(A, BUY, symbol, first.quantity + second.quantity + D("0.05"), second.price)
    assert [(fill.price, fill.quantity) for fill in venue.fills(A)] == [first, second]
    assert (order.state, order.remaining) == (OrderState.PARTIALLY_FILLED, D("0.05"))
    assert venue.kinds(A) == ["new", "partial", "partial"]
    after = venue.core.order_book(symbol)
    assert after is not None
    assert after.bids[0] == (second.price, D("0.05"))
    assert after.asks[0] == book.asks[2]


def test_a_fill_reports_order_trade_position_and_account(venue: Venue, symbol: str) -> None:
    order = venue.buy_from_makers(A, symbol, "0.01")
    kinds = [type(event) for event in venue.last_events]
    assert kinds == [OrderEvent, OrderEvent, TradeEvent, MarketTradeEvent, PositionEvent, AccountEvent]
    fill = venue.fills(A)[0]
    filled, trade, printed, position, account = venue.last_events[1:]
    assert isinstance(filled, OrderEvent)
    assert (filled.kind, filled.order, filled.fill) == ("filled", order, fill)
    assert trade == TradeEvent(fill, D("0.00"))
    assert isinstance(printed, MarketTradeEvent)
    assert printed.trade.trade_id == fill.trade_id
    assert isinstance(position, PositionEvent)
    assert (position.position.side, position.position.quantity) == (BUY, D("0.01"))
    assert isinstance(account, AccountEvent)
    assert account.summary.cash == D(1_000_000) - fill.price * fill.quantity - fill.fee
    assert fill.is_taker
    assert fill.iv == pytest.approx(0.8, abs=0.2)


def test_ids_have_nineteen_digits_ascend_and_tell_the_time(venue: Venue, symbol: str) -> None:
    first = venue.accepted(A, BUY, symbol, "0.01", inside(venue, symbol))
    venue.wait(SECOND_NS)
    second = venue.accepted(B, BUY, symbol, "0.01", inside(venue, symbol))
    assert first.order_id < second.order_id
    assert len(str(first.order_id)) == 19
    assert (first.order_id >> 22) + 1_288_834_974_657 == T0 // 1_000_000
    assert (second.order_id >> 22) - (first.order_id >> 22) == 1_000


def test_a_better_price_goes_first_then_the_earlier_order(venue: Venue, symbol: str) -> None:
    bid, _ = venue.best(symbol)
    low, high = bid + D("0.1"), bid + D("0.2")
    early = venue.accepted(A, BUY, symbol, "0.10", low)
    late = venue.accepted("carol", BUY, symbol, "0.10", low)
    best = venue.accepted("carol", BUY, symbol, "0.10", high)
    venue.accepted(B, SELL, symbol, "0.15", low)
    assert [(fill.order_id, fill.price, fill.quantity) for fill in (*venue.fills("carol"), *venue.fills(A))] == [
        (best.order_id, high, D("0.10")),
        (early.order_id, low, D("0.05")),
    ]
    assert venue.core.order("carol", late.order_id).state is OrderState.NEW  # type: ignore[union-attr]
    assert not venue.fills(A)[0].is_taker
    assert venue.fills(A)[0].trade_id == venue.fills(B)[1].trade_id
    venue.assert_books_balance()


def test_at_one_price_the_makers_stand_before_a_client(venue: Venue, symbol: str) -> None:
    bid, _ = venue.best(symbol)
    book = venue.core.order_book(symbol)
    assert book is not None
    resting = venue.accepted(A, BUY, symbol, "0.10", bid)
    venue.accepted(B, SELL, symbol, book.bids[0].quantity, bid)
    assert venue.core.order(A, resting.order_id).filled == 0  # type: ignore[union-attr]
    venue.accepted(B, SELL, symbol, "0.10", bid)
    assert venue.core.order(A, resting.order_id).state is OrderState.FILLED  # type: ignore[union-attr]


def test_an_ioc_order_takes_what_is_there_and_never_rests(venue: Venue, symbol: str) -> None:
    book = venue.core.order_book(symbol)
    assert book is not None
    top = book.asks[0]
    order = venue.accepted(A, BUY, symbol, top.quantity + 1, top.price, time_in_force="IOC")
    assert (order.state, order.filled) == (OrderState.CANCELLED, top.quantity)
    assert venue.kinds(A) == ["new", "partial", "cancelled"]
    assert venue.core.open_orders(A) == []


def test_a_fok_order_is_filled_whole_or_not_at_all(venue: Venue, symbol: str) -> None:
    book = venue.core.order_book(symbol)
    assert book is not None
    top = book.asks[0]
    killed = venue.accepted(A, BUY, symbol, top.quantity + D("0.01"), top.price, time_in_force="FOK")
    assert (killed.state, killed.filled) == (OrderState.CANCELLED, D(0))
    assert venue.kinds(A) == ["new", "cancelled"]
    filled = venue.accepted(A, BUY, symbol, top.quantity, top.price, time_in_force="FOK")
    assert filled.state is OrderState.FILLED


@pytest.mark.parametrize(
    ("switch", "state", "kind"),
    [("invalid", OrderState.INVALID, "invalid"), ("cancelled", OrderState.CANCELLED, "cancelled")],
)
def test_a_post_only_order_that_would_trade_ends_as_the_switch_says(
    switch: str, state: OrderState, kind: str
) -> None:
    venue = Venue(small_config(switches=Switches(post_only_cross=switch)))  # type: ignore[arg-type]
    symbol = venue.option().symbol
    _, ask = venue.best(symbol)
    order = venue.accepted(A, BUY, symbol, "0.01", ask, order_type=POST_ONLY)
    assert (order.state, order.filled) == (state, D(0))
    assert venue.kinds(A) == [kind]
    resting = venue.accepted(A, BUY, symbol, "0.01", ask - D("0.1"), order_type=POST_ONLY)
    assert resting.state is OrderState.NEW


@pytest.mark.parametrize(
    ("mode", "maker_state", "taker_state", "taker_filled"),
    [
        (SelfTradePrevention.CANCEL_MAKER, OrderState.CANCELLED, OrderState.FILLED, D("0.10")),
        (SelfTradePrevention.CANCEL_TAKER, OrderState.NEW, OrderState.CANCELLED, 0),
        (SelfTradePrevention.CANCEL_BOTH, OrderState.CANCELLED, OrderState.CANCELLED, 0),
        (SelfTradePrevention.DEFAULT, OrderState.CANCELLED, OrderState.CANCELLED, 0),
    ],
)
def test_an_account_never_trades_with_itself(
    mode: SelfTradePrevention, maker_state: OrderState, taker_state: OrderState, taker_filled: object
) -> None:
    venue = Venue()
    symbol = venue.option().symbol
    bid, _ = venue.best(symbol)
    own = venue.accepted(A, BUY, symbol, "0.10", bid + D("0.2"))
    venue.accepted(B, BUY, symbol, "0.10", bid + D("0.1"))
    taker = venue.accepted(A, SELL, symbol, "0.10", bid + D("0.1"), stp=mode)
    assert venue.core.order(A, own.order_id).state is maker_state  # type: ignore[union-attr]
    assert (taker.state, taker.filled) == (taker_state, taker_filled)
    assert all(fill.order_id != own.order_id for fill in venue.fills(A))


def test_a_fok_order_that_meets_its_own_account_cancels_nothing_else(venue: Venue, symbol: str) -> None:
    bid, _ = venue.best(symbol)
    own = venue.accepted(A, BUY, symbol, "0.10", bid + D("0.2"))
    taker = venue.accepted(A, SELL, symbol, "0.10", bid + D("0.2"), time_in_force="FOK", stp=SelfTradePrevention(1))
    assert taker.state is OrderState.CANCELLED
    assert venue.core.order(A, own.order_id).state is OrderState.NEW  # type: ignore[union-attr]


def test_a_resting_order_is_filled_at_its_own_price_as_maker_when_the_market_comes_to_it(
    venue: Venue, symbol: str
) -> None:
    price = D(inside(venue, symbol))
    order = venue.accepted(A, BUY, symbol, "0.10", price)
    events = venue.jump(-2.0)
    fill = venue.fills(A)[0]
    assert (fill.order_id, fill.price, fill.is_taker) == (order.order_id, price, False)
    assert venue.core.order(A, order.order_id).state is OrderState.FILLED  # type: ignore[union-attr]
    assert [event.kind for event in events if isinstance(event, OrderEvent)] == ["filled"]


def test_advancing_within_a_step_does_nothing(venue: Venue, symbol: str) -> None:
    venue.accepted(A, BUY, symbol, "0.10", inside(venue, symbol))
    venue.core.move_index("BTC", -5.0, venue.now_ns)
    assert venue.core.advance(venue.now_ns + 249_000_000) == ([], [])
    assert venue.core.advance(venue.now_ns + 250_000_000).rows


def test_time_that_runs_backwards_counts_as_the_latest(venue: Venue, symbol: str) -> None:
    venue.wait(10 * SECOND_NS)
    result = venue.core.cancel_symbol(A, symbol, T0)
    assert venue.core.now_ns == T0 + 10 * SECOND_NS
    assert result.result.order_ids == ()


def test_reduce_only_orders_go_when_the_position_does(venue: Venue, symbol: str) -> None:
    venue.buy_from_makers(A, symbol, "0.10")
    bid, ask = venue.best(symbol)
    protected = venue.accepted(A, SELL, symbol, "0.10", ask + 50, reduce_only=True)
    assert venue.core.positions(A)[0].locked == D("0.10")
    venue.accepted(A, SELL, symbol, "0.10", bid)
    assert venue.position(A, symbol) == 0
    assert venue.core.order(A, protected.order_id).state is OrderState.CANCELLED  # type: ignore[union-attr]


def test_a_sweep_takes_no_more_from_a_reduce_only_order_than_its_position(venue: Venue, symbol: str) -> None:
    venue.buy_from_makers(A, symbol, "0.10")
    bid, ask = venue.best(symbol)
    assert ask - bid > 1
    normal = venue.accepted(A, SELL, symbol, "0.06", bid + D("0.2"))
    reducing = venue.accepted(A, SELL, symbol, "0.10", bid + D("0.3"), reduce_only=True)
    taker = venue.accepted(B, BUY, symbol, "0.16", bid + D("0.3"))
    assert venue.position(A, symbol) == 0
    assert venue.core.order(A, normal.order_id).filled == D("0.06")  # type: ignore[union-attr]
    assert venue.core.order(A, reducing.order_id).filled == D("0.04")  # type: ignore[union-attr]
    assert venue.core.order(A, reducing.order_id).state is OrderState.CANCELLED  # type: ignore[union-attr]
    assert taker.remaining == D("0.06")


def test_an_order_without_client_id_reports_its_order_id_unless_switched_off(venue: Venue, symbol: str) -> None:
    order = venue.accepted(A, BUY, symbol, "0.01", inside(venue, symbol))
    assert order.client_order_id == order.order_id
    assert venue.core.order(A, client_order_id=order.order_id) == order
    silent = Venue(small_config(switches=Switches(report_client_order_id="none")))
    assert silent.accepted(A, BUY, symbol, "0.01", inside(silent, symbol)).client_order_id is None


def test_a_client_order_id_is_used_once_per_account_for_ever(venue: Venue, symbol: str) -> None:
    price = inside(venue, symbol)
    order = venue.accepted(A, BUY, symbol, "0.01", price, client_order_id=42)
    assert isinstance(venue.cancel(A, client_order_id=42), Accepted)
    assert venue.refused(A, BUY, symbol, "0.01", price, client_order_id=42) == 10577
    assert venue.accepted(B, BUY, symbol, "0.01", price, client_order_id=42).order_id != order.order_id


def test_cancelling_says_why_it_cannot(venue: Venue, symbol: str) -> None:
    resting = venue.accepted(A, BUY, symbol, "0.01", inside(venue, symbol))
    filled = venue.buy_from_makers(A, symbol, "0.01")
    assert isinstance(venue.cancel(A, order_id=resting.order_id), Accepted)
    codes = []
    for account, ids in (
        (A, {"order_id": resting.order_id}),
        (A, {"order_id": filled.order_id}),
        (A, {"order_id": 1}),
        (A, {"client_order_id": 5}),
        (B, {"order_id": resting.order_id}),
        (A, {}),
    ):
        result = venue.cancel(account, **ids)
        assert isinstance(result, Rejection)
        codes.append(result.code)
    assert codes == [11101, 11102, 10584, 10584, 10584, 10575]


def test_mass_cancels_reach_one_option_or_one_index_of_one_account(venue: Venue, symbol: str) -> None:
    other = venue.option(101_000).symbol
    mine = [venue.accepted(A, BUY, name, "0.01", venue.best(name)[0]).order_id for name in (symbol, symbol, other)]
    theirs = venue.accepted(B, BUY, symbol, "0.01", venue.best(symbol)[0])
    assert venue.core.cancel_index(A, "ETHUSD", venue.now_ns).result.order_ids == ()
    assert venue.core.cancel_symbol(A, symbol, venue.now_ns).result.order_ids == tuple(mine[:2])
    assert venue.core.cancel_index(A, "BTCUSD", venue.now_ns).result.order_ids == (mine[2],)
    assert venue.core.open_orders(A) == []
    assert [order.order_id for order in venue.core.open_orders(B)] == [theirs.order_id]


def test_an_amendment_keeps_its_place_only_when_it_asks_for_no_more(venue: Venue, symbol: str) -> None:
    price = D(inside(venue, symbol))
    first = venue.accepted(A, BUY, symbol, "0.10", price)
    second = venue.accepted("carol", BUY, symbol, "0.10", price)
    venue.amend(A, first.order_id, quantity=D("0.05"))
    venue.accepted(B, SELL, symbol, "0.05", price)
    assert venue.core.order(A, first.order_id).state is OrderState.FILLED  # type: ignore[union-attr]
    third = venue.accepted(A, BUY, symbol, "0.10", price)
    venue.amend("carol", second.order_id, quantity=D("0.20"))
    venue.accepted(B, SELL, symbol, "0.10", price)
    assert venue.core.order(A, third.order_id).state is OrderState.FILLED  # type: ignore[union-attr]
    assert venue.core.order("carol", second.order_id).filled == 0  # type: ignore[union-attr]


def test_amending_the_price_into_the_book_trades(venue: Venue, symbol: str) -> None:
    bid, ask = venue.best(symbol)
    order = venue.accepted(A, BUY, symbol, "0.01", bid)
    assert isinstance(venue.amend(A, order.order_id, price=ask), Accepted)
    assert venue.fills(A)[0].price == ask
    assert venue.fills(A)[0].is_taker


def test_amending_down_to_what_is_filled_makes_the_order_filled(venue: Venue, symbol: str) -> None:
    price = D(inside(venue, symbol))
    order = venue.accepted(A, BUY, symbol, "0.10", price)
    venue.accepted(B, SELL, symbol, "0.04", price)
    assert isinstance(venue.amend(A, order.order_id, quantity=D("0.03")), Accepted)
    after = venue.core.order(A, order.order_id)
    assert after is not None
    assert (after.state, after.quantity, after.filled) == (OrderState.FILLED, D("0.04"), D("0.04"))


def test_a_refused_amendment_leaves_the_order_as_it_was(venue: Venue, symbol: str) -> None:
    order = venue.accepted(A, BUY, symbol, "0.10", inside(venue, symbol), order_type=POST_ONLY)
    codes = []
    for change in (
        {"quantity": D("0.105")},
        {"quantity": D(0)},
        {"price": D("0.05")},
        {"price": venue.best(symbol)[1]},
        {"symbol": venue.option(101_000).symbol},
        {"quantity": D(999)},
    ):
        result = venue.amend(A, order.order_id, **change)
        assert isinstance(result, Rejection)
        codes.append(result.code)
    assert codes == [10573, 10558, 10573, 10552, 10571, 10529]
    assert venue.core.order(A, order.order_id) == order
    venue.cancel(A, order_id=order.order_id)
    assert venue.amend(A, order.order_id, quantity=D("0.2")).code == 10552  # type: ignore[union-attr]


def test_market_orders_take_liquidity_within_their_slippage_when_switched_on() -> None:
    venue = Venue(small_config(switches=Switches(market_orders=True)))
    symbol = venue.option().symbol
    assert venue.refused(A, BUY, symbol, "0.01", "5", order_type=OrderType.MARKET) == 12013
    best = venue.best(symbol)[1]
    order = venue.accepted(A, BUY, symbol, "0.01", None, order_type=OrderType.MARKET, slippage_pct=D(1))
    assert order.state is OrderState.FILLED
    assert order.average_price == best
    assert order.price <= best * D("1.01")


def test_unknown_accounts_are_the_callers_bug_and_change_nothing(venue: Venue, symbol: str) -> None:
    with pytest.raises(KeyError):
        venue.accepted("nobody", BUY, symbol, "0.01", "100")
    assert venue.core.advance(venue.now_ns + SECOND_NS) == ([], [])


def test_order_history_holds_what_ended_within_the_times_asked(venue: Venue, symbol: str) -> None:
    first = venue.buy_from_makers(A, symbol, "0.01")
    venue.wait(10 * SECOND_NS)
    second = venue.buy_from_makers(A, symbol, "0.01")
    still_open = venue.accepted(A, BUY, symbol, "0.01", venue.best(symbol)[0])
    history = venue.core.order_history(A)
    assert [order.order_id for order in history] == [first.order_id, second.order_id]
    assert venue.core.order_history(A, start_ns=T0 + 1) == [second]
    assert venue.core.order_history(A, end_ns=T0) == [first]
    assert [fill.order_id for fill in venue.core.fills(A, start_ns=T0 + 1)] == [second.order_id]
    assert venue.core.open_orders(A) == [still_open]


def test_resting_reduce_only_orders_close_no_more_than_the_position_when_the_market_comes(
    venue: Venue, symbol: str
) -> None:
    venue.buy_from_makers(A, symbol, "0.10")
    ask = venue.best(symbol)[1]
    normal = venue.accepted(A, SELL, symbol, "0.06", ask + 20)
    reducing = venue.accepted(A, SELL, symbol, "0.10", ask + 21, reduce_only=True)
    venue.jump(5.0)
    assert venue.position(A, symbol) == 0
    assert venue.core.order(A, normal.order_id).filled == D("0.06")  # type: ignore[union-attr]
    assert venue.core.order(A, reducing.order_id).filled == D("0.04")  # type: ignore[union-attr]
    assert venue.core.open_orders(A) == []


def test_a_reduce_only_order_with_nothing_left_to_close_is_passed_over(venue: Venue, symbol: str) -> None:
    venue.buy_from_makers(A, symbol, "0.10")
    bid = venue.best(symbol)[0]
    venue.accepted(A, SELL, symbol, "0.10", bid + D("0.2"))
    venue.accepted(A, SELL, symbol, "0.10", bid + D("0.3"), reduce_only=True)
    behind = venue.accepted("carol", SELL, symbol, "0.10", bid + D("0.4"))
    venue.accepted(B, BUY, symbol, "0.20", bid + D("0.4"), time_in_force="FOK")
    assert venue.core.order("carol", behind.order_id).state is OrderState.FILLED  # type: ignore[union-attr]
    assert venue.position(A, symbol) == 0


def test_only_the_newest_uncovered_reduce_only_order_goes(venue: Venue, symbol: str) -> None:
    venue.buy_from_makers(A, symbol, "0.10")
    bid, ask = venue.best(symbol)
    old = venue.accepted(A, SELL, symbol, "0.05", ask + 50, reduce_only=True)
    new = venue.accepted(A, SELL, symbol, "0.05", ask + 50, reduce_only=True)
    venue.accepted(A, SELL, symbol, "0.03", bid)
    assert venue.core.order(A, old.order_id).state is OrderState.NEW  # type: ignore[union-attr]
    assert venue.core.order(A, new.order_id).state is OrderState.CANCELLED  # type: ignore[union-attr]


def test_an_order_that_ended_freezes_nothing_and_an_unknown_one_cannot_be_amended(venue: Venue, symbol: str) -> None:
    order = venue.buy_from_makers(A, symbol, "0.01")
    assert venue.core.order_initial_margin(order) == 0
    assert venue.amend(A, 1, quantity=D(1)).code == 10584  # type: ignore[union-attr]
    assert venue.accepted(A, BUY, symbol, "0.01", venue.best(symbol)[0]).average_price is None


def test_a_client_at_the_makers_price_adds_to_the_size_of_the_chain(venue: Venue, symbol: str) -> None:
    row = venue.chain().symbols.index(symbol)
    before = venue.chain().bid_size[row]
    venue.accepted(A, BUY, symbol, "0.30", venue.best(symbol)[0])
    assert venue.chain().bid_size[row] == float(D(str(before)) + D("0.30"))

"""Perpetuals, dated futures and spot: books, orders, stops, margin, funding, delivery, coins."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.accounts import ExchangeState
from services.exchange.config import AccountConfig
from services.exchange.contract_calls import ContractCalls
from services.exchange.contract_margin import maintenance_margin
from services.exchange.core import ExchangeCore
from services.exchange.model import (
    Accepted,
    AmendOrder,
    CancelOrder,
    FuturesPosition,
    FuturesPositionEvent,
    Order,
    OrderState,
    OrderType,
    PlaceOrder,
    Rejection,
    Side,
    TimeInForce,
)
from services.exchange.switches import Switches
from tests.unit.exchange.harness import HOUR_NS, MINUTE_NS, SECOND_NS, T0, A, B, D, Venue, small_config
from tests.unit.exchange.test_properties import through_the_wire

PERPETUAL, SPOT = "BTCUSD", "BTCUSDT"


def desk_with_coins() -> Venue:
    config = small_config()
    accounts = tuple(
        AccountConfig(account_id=name, initial_balance_usd=D(1_000_000), initial_assets={"BTC": D(2)})
        for name in (A, B, "carol")
    )
    return Venue(msgspec.structs.replace(config, accounts=accounts))


def calls_of(venue: Venue, symbol: str) -> ContractCalls:
    return venue.core.spot if symbol.endswith("USDT") else venue.core.futures


def place(
    venue: Venue,
    account: str,
    side: Side,
    symbol: str,
    quantity: str,
    price: Decimal | str | None = None,
    **fields: object,
) -> Accepted | Rejection:
    command = PlaceOrder(
        symbol=symbol,
        side=side,
        quantity=D(quantity),
        price=None if price is None else D(price),
        **{"order_type": OrderType.MARKET if price is None else OrderType.LIMIT, **fields},  # type: ignore[arg-type]
    )
    outcome = calls_of(venue, symbol).place(account, command, venue.now_ns)
    venue.keep(outcome.rows, outcome.events)
    venue.last_events = outcome.events
    return outcome.result


def placed(
    venue: Venue, account: str, side: Side, symbol: str, quantity: str, *args: object, **fields: object
) -> Order:
    result = place(venue, account, side, symbol, quantity, *args, **fields)  # type: ignore[arg-type]
    assert isinstance(result, Accepted), result
    order = calls_of(venue, symbol).order(account, result.order_id)
    assert order is not None
    return order


def restored(venue: Venue) -> ExchangeState:
    return ExchangeCore.restore(venue.config, T0, through_the_wire(venue.rows)).state


def order_of(venue: Venue, order: Order) -> Order:
    found = calls_of(venue, order.symbol).order(order.account_id, order.order_id)
    assert found is not None
    return found


def mark_of(venue: Venue, symbol: str) -> Decimal:
    found = calls_of(venue, symbol).find(symbol)
    assert found is not None
    return found[0].mark(found[1])


def position_of(venue: Venue, account: str = A, symbol: str = PERPETUAL) -> FuturesPosition | None:
    return next((each for each in venue.core.futures.positions(account) if each.symbol == symbol), None)


def dated_of(venue: Venue) -> str:
    """The dated future that expires first."""
    return next(contract.symbol for _, contract in venue.core.futures.contracts() if contract.kind == "future")


def test_every_contract_has_a_book_around_its_mark_that_looking_at_does_not_change() -> None:
    venue = desk_with_coins()
    symbols = [contract.symbol for _, contract in (*venue.core.futures.contracts(), *venue.core.spot.contracts())]
    assert symbols[0] == PERPETUAL
    assert symbols[-1] == SPOT
    assert symbols[1:-1] == ["BTCUSD-30JAN26", "BTCUSD-27MAR26", "BTCUSD-26JUN26"]
    for symbol in symbols:
        book = calls_of(venue, symbol).order_book(symbol, 20)
        assert book is not None
        assert len(book.bids) == len(book.asks) == 20
        assert book.bids[0].price < mark_of(venue, symbol) < book.asks[0].price
        assert (book.asks[0].price - book.bids[0].price) / mark_of(venue, symbol) < D("0.0005")
        assert calls_of(venue, symbol).order_book(symbol, 20) == book
    assert mark_of(venue, "BTCUSD-26JUN26") > mark_of(venue, "BTCUSD-27MAR26") > D(100_000)


def test_an_option_is_no_future_and_a_future_no_option() -> None:
    venue = desk_with_coins()
    assert venue.refused(A, Side.BUY, PERPETUAL, "0.01", "100") == 10574
    option = venue.option().symbol
    refused = venue.core.futures.place(
        A, PlaceOrder(symbol=option, side=Side.BUY, quantity=D(1), price=D(100)), venue.now_ns
    )
    assert isinstance(refused.result, Rejection)
    assert refused.result.code == 10574
    order = placed(venue, A, Side.BUY, PERPETUAL, "0.01", D(90_000))
    assert venue.core.open_orders(A) == []
    assert venue.core.order(A, order.order_id) is None
    assert venue.core.cancel_index(A, "BTCUSD", venue.now_ns).result.order_ids == ()
    assert venue.core.futures.open_orders(A) == [order]
    assert venue.core.spot.open_orders(A) == []


def test_a_perpetual_moves_no_cash_but_fees_and_what_it_realises() -> None:
    venue = desk_with_coins()
    opened = placed(venue, A, Side.BUY, PERPETUAL, "1")
    assert opened.state is OrderState.FILLED
    entry = opened.average_price
    assert entry is not None
    summary = venue.core.account_summary(A)
    assert summary.cash == D(1_000_000) - opened.fee
    assert opened.fee == entry * D("0.0006")
    assert summary.initial_margin == entry / 10
    assert summary.maintenance_margin == maintenance_margin(entry)
    assert summary.margin_balance == summary.cash + mark_of(venue, PERPETUAL) - entry
    venue.jump(5.0)
    after = venue.core.account_summary(A)
    assert after.cash == summary.cash
    assert after.futures_pnl == mark_of(venue, PERPETUAL) - entry > 4_000
    assert float(after.equity) == pytest.approx(float(after.margin_balance + after.asset_value), abs=1e-5)
    closed = placed(venue, A, Side.SELL, PERPETUAL, "1", None, reduce_only=True)
    assert closed.average_price is not None
    assert venue.core.account_summary(A).cash == after.cash + closed.average_price - entry - closed.fee
    assert position_of(venue) is None
    assert closed.realised_pnl == closed.average_price - entry
    venue.assert_books_balance()


def test_delta_of_the_account_counts_futures_and_coins() -> None:
    venue = desk_with_coins()
    assert venue.core.account_summary(A).delta == pytest.approx(2.0)
    placed(venue, A, Side.SELL, PERPETUAL, "1.5")
    assert venue.core.account_summary(A).delta == pytest.approx(0.5)


def test_reduce_only_refuses_what_would_open() -> None:
    venue = desk_with_coins()
    assert place(venue, A, Side.SELL, PERPETUAL, "1", None, reduce_only=True).code == 10536  # type: ignore[union-attr]
    placed(venue, A, Side.BUY, PERPETUAL, "1")
    resting = placed(venue, A, Side.SELL, PERPETUAL, "1", mark_of(venue, PERPETUAL) + 3_000, reduce_only=True)
    assert place(venue, A, Side.SELL, PERPETUAL, "0.1", None, reduce_only=True).code == 10536  # type: ignore[union-attr]
    placed(venue, A, Side.SELL, PERPETUAL, "1")
    assert order_of(venue, resting).state is OrderState.CANCELLED


@pytest.mark.parametrize("kind", [OrderType.STOP_MARKET, OrderType.STOP_LIMIT])
def test_a_stop_order_waits_freezes_nothing_and_enters_the_book_when_the_mark_reaches_it(kind: OrderType) -> None:
    venue = desk_with_coins()
    placed(venue, A, Side.BUY, PERPETUAL, "1")
    available = venue.core.account_summary(A).available
    price = None if kind is OrderType.STOP_MARKET else mark_of(venue, PERPETUAL) - 4_000
    stop = placed(
        venue, A, Side.SELL, PERPETUAL, "1", price, order_type=kind, trigger_price=D(97_000), reduce_only=True
    )
    assert stop.state is OrderState.WAITING
    assert not stop.triggers_above
    assert venue.core.account_summary(A).available == available
    venue.jump(-1.0)
    assert order_of(venue, stop).state is OrderState.WAITING
    venue.jump(-2.5)
    done = order_of(venue, stop)
    assert done.state is OrderState.FILLED
    assert position_of(venue) is None
    assert done.average_price is not None
    assert done.average_price < D(97_000)


@pytest.mark.parametrize("switch", ["same", "new"])
def test_an_amended_future_keeps_its_id_or_is_known_by_a_new_one_alone_as_configured(switch: str) -> None:
    venue = Venue(small_config(switches=Switches(amended_future_id=switch)))  # type: ignore[arg-type]
    futures = venue.core.futures
    order = placed(venue, A, Side.BUY, PERPETUAL, "1", mark_of(venue, PERPETUAL) * D("0.99") // 1, client_order_id=77)
    amended = futures.amend(A, AmendOrder(order_id=order.order_id, price=order.price - 10), venue.now_ns)
    venue.keep(amended.rows, amended.events)
    assert isinstance(amended.result, Accepted)
    order_id = amended.result.order_id
    assert (order_id == order.order_id) is (switch == "same")
    found = futures.order(A, client_order_id=77)
    assert found is not None
    assert (found.order_id, found.price, found.state) == (order_id, order.price - 10, OrderState.NEW)
    assert [each.order_id for each in futures.open_orders(A)] == [order_id]
    assert restored(venue) == venue.core.state
    by_old_id = futures.cancel(A, CancelOrder(order_id=order.order_id), venue.now_ns)
    venue.keep(by_old_id.rows, by_old_id.events)
    assert isinstance(by_old_id.result, Accepted if switch == "same" else Rejection)
    if switch == "new":
        assert isinstance(futures.cancel(A, CancelOrder(order_id=order_id), venue.now_ns).result, Accepted)
    assert futures.open_orders(A) == []


@pytest.mark.parametrize("switch", ["same", "new"])
def test_a_triggered_stop_order_keeps_its_id_or_has_a_new_one_as_configured(switch: str) -> None:
    venue = Venue(small_config(switches=Switches(triggered_stop_id=switch)))  # type: ignore[arg-type]
    placed(venue, A, Side.BUY, PERPETUAL, "1")
    stop = placed(
        venue,
        A,
        Side.SELL,
        PERPETUAL,
        "1",
        order_type=OrderType.STOP_MARKET,
        trigger_price=D(97_000),
        client_order_id=78,
    )
    venue.jump(-4.0)
    found = venue.core.futures.order(A, client_order_id=78)
    assert found is not None
    assert (found.state, found.order_id == stop.order_id) == (OrderState.FILLED, switch == "same")
    assert (venue.core.futures.order(A, stop.order_id) is None) is (switch == "new")
    assert {each.order_id for each in venue.core.futures.fills(A, None, None)} >= {found.order_id}
    assert restored(venue) == venue.core.state


@pytest.mark.parametrize("switch", ["mark", "index"])
def test_the_configured_price_triggers_a_stop_order(switch: str) -> None:
    """Of a future whose mark is above the index, with a trigger between the two."""
    venue = Venue(small_config(switches=Switches(stop_trigger=switch)))  # type: ignore[arg-type]
    symbol = [each.symbol for _, each in venue.core.futures.contracts()][-1]
    index = venue.core.index_price("BTC")
    assert index is not None
    mark = mark_of(venue, symbol)
    trigger = ((index + mark) / 2).quantize(D(1))
    assert index < trigger < mark
    placed(venue, A, Side.BUY, symbol, "1")
    stop = placed(
        venue, A, Side.SELL, symbol, "1", order_type=OrderType.STOP_MARKET, trigger_price=trigger, reduce_only=True
    )
    assert stop.triggers_above is (switch == "index")
    venue.jump(6.0)
    assert mark_of(venue, symbol) > trigger
    assert order_of(venue, stop).state is (OrderState.FILLED if switch == "index" else OrderState.WAITING)


def test_a_reducing_stop_is_cut_to_the_position_and_invalid_without_one() -> None:
    venue = desk_with_coins()
    placed(venue, A, Side.BUY, PERPETUAL, "1")
    stops = [
        placed(
            venue,
            A,
            Side.SELL,
            PERPETUAL,
            "1",
            None,
            order_type=OrderType.STOP_MARKET,
            trigger_price=D(97_000),
            reduce_only=True,
        )
        for _ in range(2)
    ]
    placed(venue, A, Side.SELL, PERPETUAL, "0.4")
    venue.jump(-4.0)
    first, second = (order_of(venue, stop) for stop in stops)
    assert (first.state, first.quantity) == (OrderState.FILLED, D("0.6"))
    assert second.state is OrderState.INVALID
    assert position_of(venue) is None


def test_a_stop_order_can_be_amended_and_cancelled_while_it_waits() -> None:
    venue = desk_with_coins()
    stop = placed(
        venue, A, Side.BUY, PERPETUAL, "1", D(106_000), order_type=OrderType.STOP_LIMIT, trigger_price=D(105_000)
    )
    assert stop.triggers_above
    amend = AmendOrder(order_id=stop.order_id, quantity=D(2))
    assert isinstance(venue.core.futures.amend(A, amend, venue.now_ns).result, Accepted)
    assert (order_of(venue, stop).quantity, order_of(venue, stop).state) == (D(2), OrderState.WAITING)
    cancel = CancelOrder(order_id=stop.order_id)
    assert isinstance(venue.core.futures.cancel(A, cancel, venue.now_ns).result, Accepted)
    again = venue.core.futures.cancel(A, cancel, venue.now_ns).result
    assert isinstance(again, Rejection)
    assert again.code == 10537
    assert venue.core.futures.open_orders(A) == []


@pytest.mark.parametrize(
    ("quantity", "price", "fields", "code"),
    [
        ("0.0001", "100000", {}, 10558),
        ("2000", "100000", {}, 10534),
        ("0.0015", "100000", {}, 10573),
        ("0.1", "100000.05", {}, 10573),
        ("0.1", "120000", {}, 10531),
        ("0.1", "100000", {"order_type": OrderType.MARKET}, 12013),
        ("0.1", None, {"order_type": OrderType.LIMIT}, 10530),
        ("0.1", None, {"order_type": OrderType.STOP_MARKET}, 10542),
        ("0.1", "100000", {"trigger_price": D(1)}, 10573),
        ("99.5", "100000", {}, 10529),
    ],
)
def test_what_is_wrong_with_an_order_has_the_venues_code_and_leaves_no_trace(
    quantity: str, price: str | None, fields: dict[str, object], code: int
) -> None:
    venue = desk_with_coins()
    revision = venue.core.state.revision
    result = place(venue, A, Side.BUY, PERPETUAL, quantity, price, **fields)
    assert isinstance(result, Rejection)
    assert result.code == code
    assert venue.core.state.revision == revision


def test_leverage_sets_the_margin_and_stands_while_there_is_a_position() -> None:
    venue = desk_with_coins()
    futures = venue.core.futures
    assert futures.leverage(A, PERPETUAL) == 10
    assert not isinstance(futures.set_leverage(A, PERPETUAL, 25, venue.now_ns).result, Rejection)
    order = placed(venue, A, Side.BUY, PERPETUAL, "1")
    assert order.leverage == 25
    position = position_of(venue)
    assert position is not None
    assert position.initial_margin == (position.value / 25).quantize(D("0.000001"))
    refused = futures.set_leverage(A, PERPETUAL, 10, venue.now_ns).result
    assert isinstance(refused, Rejection)
    assert refused.code == 40038


def test_a_high_leverage_has_a_limit_of_value() -> None:
    venue = desk_with_coins()
    venue.core.futures.set_leverage(A, PERPETUAL, 125, venue.now_ns)
    assert place(venue, A, Side.BUY, PERPETUAL, "0.6").code == 10534  # type: ignore[union-attr]
    placed(venue, A, Side.BUY, PERPETUAL, "0.4")


def test_the_liquidation_price_is_where_the_margin_balance_meets_the_maintenance_margin() -> None:
    venue = Venue()
    placed(venue, A, Side.BUY, PERPETUAL, "40")
    position = position_of(venue)
    assert position is not None
    assert position.liquidation_price is not None
    summary = venue.core.account_summary(A)
    fall = position.mark_price - position.liquidation_price
    left = summary.margin_balance - 40 * fall
    assert float(left) == pytest.approx(float(summary.maintenance_margin - 40 * fall * D("0.01")), rel=1e-4)


@pytest.mark.parametrize("side", list(Side))
def test_funding_is_paid_every_eight_hours_by_the_side_that_the_rate_names(side: Side) -> None:
    venue = desk_with_coins()
    placed(venue, A, side, PERPETUAL, "2")
    cash = venue.core.account_summary(A).cash
    # T0 is 10:00 UTC: funding at 16:00, 00:00 and 08:00
    venue.wait(22 * HOUR_NS + MINUTE_NS)
    payments = venue.core.futures.funding(A, T0, venue.now_ns)
    assert [payment.at_ns // HOUR_NS % 24 for payment in payments] == [16, 0, 8]
    for payment in payments:
        assert payment.amount == (-2 * side.sign * payment.mark_price * payment.rate).quantize(D("0.00000001"))
    assert venue.core.account_summary(A).cash == cash + sum(payment.amount for payment in payments)
    assert any(payment.rate for payment in payments)
    venue.assert_books_balance()
    assert restored(venue) == venue.core.state


def test_a_dated_future_stops_before_its_expiry_and_settles_at_the_mean_of_the_last_half_hour() -> None:
    venue = desk_with_coins()
    symbol = dated_of(venue)
    found = venue.core.futures.find(symbol)
    assert found is not None
    expiry_ns = found[1].expiry_ns
    assert expiry_ns is not None
    opened = placed(venue, A, Side.BUY, symbol, "1")
    resting = placed(venue, A, Side.BUY, symbol, "1", D(50_000))
    cash = venue.core.account_summary(A).cash
    venue.wait(expiry_ns - 10 * MINUTE_NS - venue.now_ns)
    assert place(venue, A, Side.BUY, symbol, "1").code == 10620  # type: ignore[union-attr]
    venue.wait(11 * MINUTE_NS)
    (delivery,) = venue.core.futures.deliveries(A, T0, venue.now_ns)
    assert delivery.settlement_price == venue.core.delivery_prices("BTC")[0].price
    assert delivery.pnl == delivery.settlement_price - (opened.average_price or 0)
    assert venue.core.account_summary(A).cash == cash + delivery.pnl - delivery.fee
    assert order_of(venue, resting).state is OrderState.CANCELLED
    assert venue.core.futures.find(symbol) is None
    assert position_of(venue, A, symbol) is None
    venue.assert_books_balance()
    assert restored(venue) == venue.core.state


def test_spot_exchanges_usdt_for_coins_and_takes_its_fee_from_what_is_received() -> None:
    venue = Venue()
    bought = placed(venue, A, Side.BUY, SPOT, "1")
    assert bought.fee == D("0.001")
    summary = venue.core.account_summary(A)
    assert summary.cash == D(1_000_000) - bought.filled_value
    (coin,) = summary.assets
    assert (coin.coin, coin.quantity, coin.free) == ("BTC", D("0.999"), D("0.999"))
    assert summary.equity == (summary.cash + coin.value).quantize(D("0.000001"))
    assert summary.margin_balance == summary.cash
    assert place(venue, A, Side.SELL, SPOT, "1").code == 10529  # type: ignore[union-attr]
    resting = placed(venue, A, Side.SELL, SPOT, "0.5", D(120_000))
    assert venue.core.account_summary(A).assets[0].free == D("0.499")
    assert venue.core.account_summary(A).available == summary.available
    cancelled = venue.core.spot.cancel(A, CancelOrder(order_id=resting.order_id), venue.now_ns)
    venue.keep(cancelled.rows, cancelled.events)
    sold = placed(venue, A, Side.SELL, SPOT, "0.999")
    assert venue.core.account_summary(A).cash == summary.cash + sold.filled_value - sold.fee
    assert sold.fee == sold.filled_value * D("0.001")
    assert venue.core.account_summary(A).assets == ()
    venue.assert_books_balance()


def test_coins_are_bought_with_cash_and_not_with_the_profit_of_open_futures() -> None:
    venue = Venue()
    placed(venue, A, Side.BUY, PERPETUAL, "50")
    venue.jump(9.0)
    summary = venue.core.account_summary(A)
    quantity = ((summary.cash + 1_000) / mark_of(venue, SPOT)).quantize(D("0.001"))
    assert summary.margin_balance > summary.cash + 100_000
    assert place(venue, A, Side.BUY, SPOT, str(quantity)).code == 10529  # type: ignore[union-attr]


def test_two_clients_meet_at_the_price_of_the_one_that_rested() -> None:
    venue = desk_with_coins()
    price = mark_of(venue, PERPETUAL)
    theirs = placed(venue, B, Side.SELL, PERPETUAL, "1", price)
    mine = placed(venue, A, Side.BUY, PERPETUAL, "1", price)
    assert (mine.state, order_of(venue, theirs).state) == (OrderState.FILLED, OrderState.FILLED)
    assert mine.average_price == price
    positions = [event.position for event in venue.last_events if isinstance(event, FuturesPositionEvent)]
    assert {(each.account_id, each.side) for each in positions} == {(A, Side.BUY), (B, Side.SELL)}
    fills = venue.core.futures.fills(B, T0, venue.now_ns)
    assert [fill.fee for fill in fills] == [price * D("0.0002")]
    assert venue.core.fills(A) == []


def test_public_trades_and_bars_are_there_without_anybody_trading() -> None:
    venue = Venue()
    venue.wait(3 * HOUR_NS)
    for symbol in (PERPETUAL, SPOT, dated_of(venue)):
        calls = calls_of(venue, symbol)
        trades = calls.market_trades(symbol, 20)
        assert len(trades) == 20
        assert [trade.at_ns for trade in trades] == sorted((trade.at_ns for trade in trades), reverse=True)
        bars = calls.klines(symbol, "h1", T0, venue.now_ns, 100)
        assert bars is not None
        assert len(bars) == 4
        for bar in bars:
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bars[-1].close == trades[0].price


moves = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "stop", "cancel", "amend", "jump", "wait", "option"]),
        st.sampled_from([A, B, "carol"]),
        st.sampled_from(Side),
        st.sampled_from(["perpetual", "future", "spot"]),
        st.integers(1, 3_000),
        st.integers(-300, 300),
        st.sampled_from(["GTC", "IOC", "FOK"]),
        st.booleans(),
    ),
    min_size=5,
    max_size=30,
)


def act(venue: Venue, move: tuple[str, str, Side, str, int, int, TimeInForce, bool]) -> None:
    action, account, side, kind, lots, ticks, time_in_force, reduce_only = move
    symbol = {"perpetual": PERPETUAL, "spot": SPOT, "future": dated_of(venue)}[kind]
    calls = calls_of(venue, symbol)
    open_orders = calls.open_orders(account)
    quantity, price = str(D(lots) / 1_000), mark_of(venue, symbol).quantize(D(1)) + ticks
    match action:
        case "order":
            place(venue, account, side, symbol, quantity, price, time_in_force=time_in_force, reduce_only=reduce_only)
        case "stop":
            place(
                venue,
                account,
                side,
                symbol,
                quantity,
                None,
                order_type=OrderType.STOP_MARKET,
                trigger_price=price,
                reduce_only=reduce_only,
            )
        case "cancel" if open_orders:
            outcome = calls.cancel(account, CancelOrder(order_id=open_orders[0].order_id), venue.now_ns)
            venue.keep(outcome.rows, outcome.events)
        case "amend" if open_orders:
            command = AmendOrder(order_id=open_orders[0].order_id, quantity=D(quantity))
            amended = calls.amend(account, command, venue.now_ns)
            venue.keep(amended.rows, amended.events)
        case "jump":
            venue.jump(ticks / 150)
        case "wait":
            venue.wait((lots % 5) * HOUR_NS + SECOND_NS)
        case "option":
            option = venue.option().symbol
            detail = venue.core.detail(option)
            assert detail is not None
            venue.order(account, side, option, D(lots) / 1_000 // D("0.01") * D("0.01"), D(round(detail.mark_price)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), run=moves)
def test_whatever_happens_money_and_coins_are_conserved_and_the_rows_fold_to_the_state(
    seed: int, run: list[tuple[str, str, Side, str, int, int, TimeInForce, bool]]
) -> None:
    venue = desk_with_coins()
    venue = Venue(msgspec.structs.replace(venue.config, seed=seed))
    for move in run:
        act(venue, move)
    state = venue.core.state
    venue.assert_books_balance()
    held = sum((account.assets.get("BTC", D(0)) for account in state.accounts.values()), D(0))
    assert held + state.makers_assets.get("BTC", D(0)) + state.fees_in_coin.get("BTC", D(0)) == 6
    assert all(quantity > 0 for account in state.accounts.values() for quantity in account.assets.values())
    for symbol, waiting in state.waiting_by_symbol.items():
        assert {state.orders[order_id].state for order_id in waiting} == {OrderState.WAITING}, symbol
    assert restored(venue) == state

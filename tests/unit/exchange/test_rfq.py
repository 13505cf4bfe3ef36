"""Requests for quote: their lives, the dealers' answers, acceptance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from services.exchange.config import DEALERS, DealerConfig, FeeConfig
from services.exchange.core import ExchangeCore
from services.exchange.model import AccountEvent, OrderState, OrderType, PositionEvent, Rejection, TradeEvent
from services.exchange.rfq_model import (
    BlockTradeEvent,
    QuoteEvent,
    QuoteState,
    RequestEvent,
    RequestState,
    RfqQuote,
)
from tests.unit.exchange.harness import HOUR_NS, MINUTE_NS, SECOND_NS, A, B, D, Venue
from tests.unit.exchange.rfq_harness import BUY, SELL, SURE, RfqVenue
from tests.unit.exchange.test_properties import through_the_wire

CALM = tuple(replace(dealer, pull_move_pct=1_000.0) for dealer in DEALERS)
"""As shipped, but whatever the index does they keep their word."""
ONE_WAY = replace(SURE, two_way_probability=0.0)


def code_of(result: Any) -> int:
    assert isinstance(result, Rejection), result
    return result.code


def test_a_request_lives_an_hour_and_then_expires_with_its_quotes() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.spread())
    assert (request.state, request.expires_ns - request.created_ns) == (RequestState.ACTIVE, HOUR_NS)
    desk.wait(HOUR_NS - 1)
    assert desk.core.rfq.request(request.request_id) == request
    events = desk.wait(1)
    told = [event.request.state for event in events if isinstance(event, RequestEvent)]
    assert told == [RequestState.EXPIRED]
    ended = desk.core.rfq.quotes_on(request.request_id)
    assert {quote.state for quote in ended} == {QuoteState.EXPIRED, QuoteState.CANCELLED}


def test_a_dealer_answers_at_its_time_with_a_quote_per_side_and_the_right_sides_and_sizes() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.spread("0.3"))
    desk.wait(SECOND_NS - 1)
    assert not desk.core.rfq.quotes_on(request.request_id)
    desk.wait(1)
    sell, buy = desk.core.rfq.quotes_on(request.request_id)
    assert (sell.side, buy.side, sell.created_ns) == (SELL, BUY, request.created_ns + SECOND_NS)
    assert [leg.side for leg in sell.legs] == [leg.side.opposite for leg in request.legs]
    assert [leg.side for leg in buy.legs] == [leg.side for leg in request.legs]
    for quote in (sell, buy):
        assert [(leg.symbol, leg.quantity) for leg in quote.legs] == [(leg.symbol, D("0.3")) for leg in request.legs]
        assert quote.expires_ns - quote.created_ns == 300 * SECOND_NS
        assert quote.state is QuoteState.OPEN
    assert sell.strategy_price > buy.strategy_price


def test_dealers_take_back_what_the_index_has_left_behind_and_quote_anew() -> None:
    desk = RfqVenue(dealers=(replace(SURE, pull_move_pct=0.5),))
    request = desk.ask(desk.spread())
    first = desk.dealer_quotes(request, 1.5)[SELL]
    desk.jump(0.4)
    assert desk.core.rfq.quotes_on(request.request_id)[0].state is QuoteState.OPEN
    desk.jump(0.4)
    assert {quote.state for quote in desk.core.rfq.quotes_on(request.request_id)} == {QuoteState.CANCELLED}
    assert code_of(desk.accept(first)) == 50014
    fresh = desk.dealer_quotes(request, 1.5)[SELL]
    assert (fresh.state, fresh.number) == (QuoteState.OPEN, 1)
    assert fresh.strategy_price > first.strategy_price


def test_a_dealer_that_a_new_configuration_adds_answers_what_is_open() -> None:
    desk = RfqVenue(dealers=())
    request = desk.ask(desk.spread())
    desk.wait(60 * SECOND_NS)
    config = replace(desk.config, rfq=replace(desk.config.rfq, dealers=(SURE,)))
    core = ExchangeCore.restore(config, desk.started_ns, through_the_wire(desk.rows))
    core.advance(desk.now_ns)
    assert [quote.side for quote in core.rfq.quotes_on(request.request_id)] == [SELL, BUY]


def test_quotes_expire_after_their_life_and_are_renewed_while_the_request_is_open() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.spread())
    first = desk.dealer_quotes(request)[SELL]
    desk.wait(300 * SECOND_NS)
    quotes = desk.core.rfq.quotes_on(request.request_id)
    assert [quote.state for quote in quotes] == [QuoteState.EXPIRED] * 2 + [QuoteState.OPEN] * 2
    assert quotes[2].created_ns == first.expires_ns + SECOND_NS


@pytest.mark.parametrize("direction", [1, -1])
def test_a_quote_is_as_much_better_than_the_book_as_its_dealer_wants_to_be(direction: int) -> None:
    """The book's cost is 100, the quote's 100 - x; the edge over the mark is switched off here."""
    dealer = replace(SURE, better_min_pct=4.0, better_max_pct=4.0, edge_min_pct=-10_000.0)
    desk = RfqVenue(dealers=(dealer,))
    legs = desk.spread("0.3")
    request = desk.ask(legs)
    desk.wait(SECOND_NS)
    side = SELL if direction > 0 else BUY
    quote = next(each for each in desk.core.rfq.quotes_on(request.request_id) if each.side is side)
    book = desk.book_cost(legs, direction)
    cost = sum((-leg.side.sign * leg.quantity * leg.price for leg in quote.legs), D(0))
    ticks = D("0.1") * sum(leg.quantity for leg in legs)
    assert 0 <= cost - (book - abs(book) * D("0.04")) <= ticks


def test_a_dealer_keeps_its_edge_over_the_mark_however_eager_it_is() -> None:
    desk = RfqVenue(dealers=(replace(SURE, better_min_pct=15.0, better_max_pct=15.0, edge_min_pct=20.0),))
    request = desk.ask(desk.spread())
    desk.wait(SECOND_NS)
    for quote in desk.core.rfq.quotes_on(request.request_id):
        for leg in quote.legs:
            detail = desk.core.detail(leg.symbol)
            assert detail is not None
            assert (float(leg.price) - detail.mark_price) * leg.side.sign < 0


def test_the_shipped_dealers_differ_answer_in_three_to_five_seconds_and_sometimes_do_not() -> None:
    better: dict[str, list[float]] = {dealer.name: [] for dealer in DEALERS}
    asked = 40
    desk = RfqVenue(dealers=DEALERS)
    legs = desk.spread("0.2")
    for _ in range(asked):
        request = desk.ask(legs)
        desk.wait(3 * SECOND_NS - 1)
        assert not desk.core.rfq.quotes_on(request.request_id)
        for quote in desk.dealer_quotes(request, 2.1).values():
            assert request.created_ns + 3 * SECOND_NS <= quote.created_ns <= request.created_ns + 5 * SECOND_NS
        book = desk.book_cost(legs)
        for quote in desk.core.rfq.quotes_on(request.request_id):
            if quote.side is SELL:
                cost = sum((-leg.side.sign * leg.quantity * leg.price for leg in quote.legs), D(0))
                better[quote.dealer].append(float((book - cost) / abs(book)))
        desk.do(desk.core.rfq.cancel(A, request.request_id, desk.now_ns))
    means = {name: sum(values) / len(values) for name, values in better.items()}
    assert means["eager"] > means["keen"] > means["steady"] > means["wary"]
    assert min(better["wary"]) < 0
    assert max(max(values) for values in better.values()) < 0.15
    assert asked * 0.6 < len(better["eager"]) < asked


def test_looking_changes_nothing_and_a_restarted_exchange_answers_as_it_would_have() -> None:
    looked, restarted = RfqVenue(dealers=CALM), RfqVenue(dealers=CALM)
    for desk in (looked, restarted):
        desk.ask(desk.spread())
    for _ in range(100):
        looked.wait(SECOND_NS // 10)
        looked.core.rfq.quotes_received(A)
        looked.core.order_book(looked.spread()[0].symbol)
    core = ExchangeCore.restore(restarted.config, restarted.started_ns, through_the_wire(restarted.rows))
    core.advance(looked.now_ns)
    assert core.rfq.quotes_received(A) == looked.core.rfq.quotes_received(A)
    assert core.state == looked.core.state


def test_half_of_the_dealers_answers_is_not_given_twice_after_a_restart() -> None:
    desk = RfqVenue(dealers=DEALERS)
    request = desk.ask(desk.spread())
    while not desk.core.rfq.quotes_on(request.request_id):
        desk.wait(SECOND_NS // 10)
    core = ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows))
    desk.wait(6 * SECOND_NS)
    core.advance(desk.now_ns)
    assert core.rfq.quotes_received(A) == desk.core.rfq.quotes_received(A)


def test_an_accepted_quote_fills_every_leg_at_its_price_pays_fees_and_ends_all_else() -> None:
    desk = RfqVenue(dealers=(SURE, replace(SURE, name="second")))
    legs = desk.spread("0.5")
    request = desk.ask(legs)
    quote = desk.dealer_quotes(request)[SELL]
    cash = desk.core.account_summary(A).cash
    block = desk.traded(quote)
    bought, sold = quote.legs
    fees = sum((leg.taker.fee for leg in block.legs), D(0))
    assert desk.core.account_summary(A).cash == cash - D("0.5") * (bought.price - sold.price) - fees
    assert [desk.position(A, leg.symbol) for leg in legs] == [D("0.5"), D("-0.5")]
    fills = desk.fills(A)
    assert [(fill.order_type, fill.price, fill.quantity, fill.is_taker) for fill in fills] == [
        (OrderType.BLOCK_TRADE, leg.price, D("0.5"), True) for leg in quote.legs
    ]
    orders = desk.core.order_history(A)
    assert [(order.order_id, order.state) for order in orders] == [
        (leg.taker.order_id, OrderState.FILLED) for leg in block.legs
    ]
    assert [fill.trade_id for fill in fills] == [leg.trade_id for leg in block.legs]
    assert (block.block_id, block.side, block.maker_id) == (quote.quote_id, BUY, None)
    after = desk.core.rfq.request(request.request_id)
    assert after is not None
    assert after.state is RequestState.FILLED
    states = [each.state for each in desk.core.rfq.quotes_on(request.request_id)]
    assert sorted(state.value for state in states) == ["CANCELLED"] * 3 + ["FILLED"]
    assert desk.core.market_trades(legs[0].symbol) == ()
    desk.assert_books_balance()


def test_the_frames_of_a_block_trade_come_in_the_recorded_order() -> None:
    desk = RfqVenue()
    desk.traded(desk.dealer_quotes(desk.ask(desk.spread()))[SELL])
    kinds = [type(event) for event in desk.last_events]
    ends = [event.quote.state for event in desk.last_events if isinstance(event, QuoteEvent)]
    of_rfq = [kind for kind in kinds if kind in (BlockTradeEvent, RequestEvent, QuoteEvent)]
    assert of_rfq == [BlockTradeEvent, RequestEvent, QuoteEvent, QuoteEvent]
    assert ends == [QuoteState.FILLED, QuoteState.CANCELLED]
    assert {TradeEvent, PositionEvent, AccountEvent} <= set(kinds)


def test_a_buy_quote_sells_the_structure_that_was_asked_for() -> None:
    desk = RfqVenue()
    legs = desk.spread()
    block = desk.traded(desk.dealer_quotes(desk.ask(legs))[BUY])
    assert block.side is SELL
    assert [desk.position(A, leg.symbol) for leg in legs] == [D("-0.5"), D("0.5")]


@pytest.mark.parametrize(("rate", "index_bound"), [("0.0003", True), ("0.9", False)])
def test_the_fee_is_capped_by_premium_and_falls_on_the_legs_of_the_structures_side(
    rate: str, index_bound: bool
) -> None:
    desk = RfqVenue()
    desk.config = replace(desk.config, fees=FeeConfig(block_taker=D(rate)))
    desk.core = ExchangeCore(desk.config, desk.started_ns)
    block = desk.traded(desk.dealer_quotes(desk.ask(desk.spread()))[SELL])
    bought, sold = block.legs
    by_index, by_premium = bought.index_price * D(rate) * D("0.5"), bought.price * D("0.5") * D("0.125")
    assert bought.taker.fee == (by_index if index_bound else by_premium)
    assert (by_index < by_premium) is index_bound
    assert sold.taker.fee == 0


def test_with_the_switch_every_leg_pays() -> None:
    desk = RfqVenue(block_fee_legs="all")
    block = desk.traded(desk.dealer_quotes(desk.ask(desk.spread()))[SELL])
    assert all(leg.taker.fee > 0 for leg in block.legs)


def test_closing_by_a_block_trade_books_the_profit_of_each_leg() -> None:
    desk = RfqVenue()
    first = desk.traded(desk.dealer_quotes(desk.ask(desk.spread()))[SELL])
    second = desk.traded(desk.dealer_quotes(desk.ask(desk.spread()))[BUY])
    for opened, closed in zip(first.legs, second.legs, strict=True):
        assert closed.taker.profit == (closed.price - opened.price) * opened.side.sign * D("0.5")
    assert desk.core.positions(A) == []


def test_a_request_of_sells_alone_is_a_structure_that_is_sold() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.legs((SELL, 100_000, "0.1")))
    quotes = desk.dealer_quotes(request)
    assert [leg.side for leg in quotes[SELL].legs] == [BUY]
    assert quotes[SELL].strategy_price == quotes[SELL].legs[0].price
    block = desk.traded(quotes[SELL])
    assert block.side is SELL
    assert block.legs[0].taker.fee > 0
    assert desk.position(A, request.legs[0].symbol) == D("-0.1")


def test_the_price_of_a_butterfly_is_that_of_its_unit() -> None:
    desk = RfqVenue()
    legs = desk.legs((BUY, 99_000, "0.1"), (SELL, 100_000, "0.2"), (BUY, 101_000, "0.1"))
    quote = desk.dealer_quotes(desk.ask(legs))[SELL]
    low, middle, high = (leg.price for leg in quote.legs)
    assert quote.strategy_price == low - 2 * middle + high
    assert desk.traded(quote).strategy_price == quote.strategy_price


def refused_accepts(desk: RfqVenue) -> dict[str, int]:
    request = desk.ask(desk.spread("0.1"))
    other = desk.ask(desk.spread("0.1"))
    quotes = desk.dealer_quotes(request)
    codes = {
        "of another request": code_of(
            desk.do(desk.core.rfq.accept(A, other.request_id, quotes[SELL].quote_id, desk.now_ns))
        ),
        "of somebody else's request": code_of(desk.accept(quotes[SELL], B)),
        "unknown": code_of(desk.do(desk.core.rfq.accept(A, request.request_id, 5, desk.now_ns))),
    }
    desk.wait(300 * SECOND_NS)
    codes["expired"] = code_of(desk.accept(quotes[SELL]))
    renewed = desk.dealer_quotes(request)[SELL]
    desk.traded(renewed)
    codes["twice"] = code_of(desk.accept(renewed))
    return codes


def test_what_cannot_be_accepted_has_its_code_and_changes_nothing() -> None:
    desk = RfqVenue()
    codes = refused_accepts(desk)
    assert codes == {
        "of another request": 50014,
        "of somebody else's request": 10592,
        "unknown": 50014,
        "expired": 50014,
        "twice": 50014,
    }
    assert len(desk.fills(A)) == 2


def test_the_code_of_what_is_gone_is_a_switch() -> None:
    codes = refused_accepts(RfqVenue(gone_quote_code=10552))
    assert (codes["expired"], codes["twice"], codes["unknown"]) == (10552, 10552, 50014)


def test_a_cancelled_request_ends_its_quotes_and_cannot_be_cancelled_again() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.spread())
    quote = desk.dealer_quotes(request)[SELL]
    assert desk.do(desk.core.rfq.cancel(A, request.request_id, desk.now_ns)).state is RequestState.CANCELLED
    assert {each.state for each in desk.core.rfq.quotes_on(request.request_id)} == {QuoteState.CANCELLED}
    assert code_of(desk.do(desk.core.rfq.cancel(A, request.request_id, desk.now_ns))) == 10537
    assert code_of(desk.do(desk.core.rfq.cancel(B, request.request_id, desk.now_ns))) == 10592
    assert code_of(desk.accept(quote)) == 50014
    desk.wait(HOUR_NS)
    assert len(desk.core.rfq.quotes_on(request.request_id)) == 2


def test_quotes_of_an_ended_request_may_be_left_until_they_expire() -> None:
    desk = RfqVenue(open_quotes="left")
    request = desk.ask(desk.spread())
    quote = desk.dealer_quotes(request)[SELL]
    desk.do(desk.core.rfq.cancel(A, request.request_id, desk.now_ns))
    assert {each.state for each in desk.core.rfq.quotes_on(request.request_id)} == {QuoteState.OPEN}
    assert code_of(desk.accept(quote)) == 50014
    desk.wait(300 * SECOND_NS)
    assert {each.state for each in desk.core.rfq.quotes_on(request.request_id)} == {QuoteState.EXPIRED}


def test_the_expiry_of_a_request_is_pushed_as_configured() -> None:
    desk = RfqVenue(expired_request_push=False)
    desk.ask(desk.spread())
    assert not [event for event in desk.wait(2 * HOUR_NS) if isinstance(event, RequestEvent)]
    assert desk.core.rfq.requests(A)[0].state is RequestState.EXPIRED


def wrong_legs(desk: RfqVenue) -> dict[str, int]:
    call, other = desk.spread("0.1")
    cases = {
        "no legs": (),
        "an unknown option": (replace(call, symbol="BTCUSD-1JAN26-1-C"),),
        "one option twice": (call, call),
        "below the minimum": (replace(call, quantity=D("0.001")),),
        "above the maximum": (replace(call, quantity=D(1_001)),),
        "off the lot": (replace(call, quantity=D("0.015")),),
        "no number": (replace(call, quantity=Decimal("NaN")),),
        "two legs": (call, other),
        "a sold leg alone": (replace(call, side=SELL),),
    }
    results = {name: desk.ask_for(legs) for name, legs in cases.items()}
    return {name: result.code for name, result in results.items() if isinstance(result, Rejection)}


def test_what_is_wrong_with_a_request_has_its_code() -> None:
    assert wrong_legs(RfqVenue()) == {
        "no legs": 10570,
        "an unknown option": 10574,
        "one option twice": 10573,
        "below the minimum": 10558,
        "above the maximum": 10534,
        "off the lot": 10573,
        "no number": 10573,
    }


@pytest.mark.parametrize(
    ("switches", "refused"),
    [
        ({"rfq_min_notional_usd": 50_000.0}, {"two legs": 10558, "a sold leg alone": 10558}),
        ({"rfq_min_notional_usd": 10_000.0}, {}),
        ({"rfq_sell_only": "refused"}, {"a sold leg alone": 10573}),
        ({"rfq_legs_max": 1}, {"two legs": 10572}),
        ({"rfq_min_lots": 10}, {}),
        ({"rfq_min_lots": 11}, {"two legs": 10558, "a sold leg alone": 10558}),
    ],
)
def test_limits_that_the_venue_leaves_open_are_switches(switches: dict[str, Any], refused: dict[str, int]) -> None:
    """The two legs of 0.1 have a notional of 20,200 USD, the one of 10,000."""
    found = wrong_legs(RfqVenue(**switches))
    assert {name: code for name, code in found.items() if name in ("two legs", "a sold leg alone")} == refused


def test_no_request_in_the_last_quarter_of_an_hour_and_an_open_one_ends_with_it() -> None:
    desk = RfqVenue()
    option = desk.option(expiry=0)
    desk.wait(option.expiry_ns - desk.now_ns - 20 * MINUTE_NS)
    legs = tuple(replace(leg, symbol=option.symbol) for leg in desk.legs((BUY, 100_000, "0.1")))
    request = desk.ask(legs)
    desk.wait(5 * MINUTE_NS)
    ended = desk.core.rfq.request(request.request_id)
    assert ended is not None
    assert (ended.state, ended.updated_ns) == (RequestState.EXPIRED, option.expiry_ns - 15 * MINUTE_NS)
    assert code_of(desk.ask_for(legs)) == 10620
    desk.wait(HOUR_NS)


def test_who_cannot_pay_cannot_accept() -> None:
    desk = RfqVenue()
    desk.do(desk.core.withdraw(A, D(999_000), desk.now_ns))
    request = desk.ask(desk.legs((BUY, 100_000, "20")))
    quotes = desk.dealer_quotes(request)
    assert code_of(desk.accept(quotes[SELL])) == 10529
    assert code_of(desk.accept(quotes[BUY])) == 10529
    assert desk.core.rfq.request(request.request_id) == request
    small = desk.ask(desk.legs((BUY, 100_000, "0.01")))
    desk.traded(desk.dealer_quotes(small)[SELL])


def test_margin_may_be_looked_at_when_a_request_is_made() -> None:
    desk = RfqVenue(taker_margin_check="create_and_accept")
    desk.do(desk.core.withdraw(A, D(999_000), desk.now_ns))
    assert code_of(desk.ask_for(desk.legs((SELL, 100_000, "20")))) == 10529
    desk.ask(desk.legs((BUY, 100_000, "0.01")))


def test_closing_is_possible_without_any_margin_left() -> None:
    desk = RfqVenue()
    desk.traded(desk.dealer_quotes(desk.ask(desk.legs((SELL, 100_000, "10"))))[SELL])
    desk.do(desk.core.withdraw(A, desk.core.account_summary(A).available, desk.now_ns))
    desk.jump(8.0)
    desk.traded(desk.dealer_quotes(desk.ask(desk.legs((BUY, 100_000, "1"))))[SELL])
    assert desk.core.account_summary(A).available < 0
    assert code_of(desk.accept(desk.dealer_quotes(desk.ask(desk.legs((SELL, 100_000, "0.01"))))[SELL])) == 10529
    desk.traded(desk.dealer_quotes(desk.ask(desk.legs((BUY, 100_000, "9"))))[SELL])
    assert desk.core.positions(A) == []


def test_a_position_cannot_grow_past_the_limit_by_block_trades() -> None:
    desk = RfqVenue()
    desk.do(desk.core.deposit(A, D(1_000_000_000), desk.now_ns))
    legs = desk.legs((BUY, 100_000, "600"))
    desk.traded(desk.dealer_quotes(desk.ask(legs))[SELL])
    quotes = desk.dealer_quotes(desk.ask(legs))
    assert code_of(desk.accept(quotes[SELL])) == 10534
    desk.traded(quotes[BUY])
    assert desk.core.positions(A) == []


def test_reduce_only_orders_shrink_with_what_a_block_trade_closes() -> None:
    desk = RfqVenue()
    symbol = desk.legs((BUY, 100_000, "1"))[0].symbol
    desk.buy_from_makers(A, symbol, "1")
    price = desk.best(symbol)[1] + D(500)
    order = desk.accepted(A, SELL, symbol, "1", price, reduce_only=True)
    desk.traded(desk.dealer_quotes(desk.ask(desk.legs((SELL, 100_000, "0.4"))))[SELL])
    found = desk.core.order(A, order.order_id)
    assert found is not None
    assert found.state is OrderState.CANCELLED


def test_too_many_requests_of_one_account_are_refused() -> None:
    desk = RfqVenue()
    most = desk.config.rfq.active_requests_max
    requests = [desk.ask(desk.legs((BUY, 100_000, "0.1"))) for _ in range(most)]
    assert code_of(desk.ask_for(desk.spread())) == 10552
    desk.ask(desk.spread(), B)
    desk.do(desk.core.rfq.cancel(A, requests[0].request_id, desk.now_ns))
    desk.ask(desk.spread())


def test_faults_make_dealers_silent_or_late_for_one_request() -> None:
    desk = RfqVenue()
    silent = desk.ask(desk.spread(), dealers_silent=True)
    late = desk.ask(desk.spread(), dealers_late_ms=60_000)
    normal = desk.ask(desk.spread())
    desk.wait(30 * SECOND_NS)
    assert [len(desk.core.rfq.quotes_on(each.request_id)) for each in (silent, late, normal)] == [0, 0, 2]
    desk.wait(31 * SECOND_NS)
    assert [len(desk.core.rfq.quotes_on(each.request_id)) for each in (silent, late, normal)] == [0, 2, 2]


def test_a_one_way_dealer_quotes_the_side_that_was_asked_for() -> None:
    desk = RfqVenue(dealers=(ONE_WAY,))
    assert desk.dealer_quotes(desk.ask(desk.spread())).keys() == {SELL}


def test_a_structure_beyond_the_books_depth_is_quoted_worse_than_mark() -> None:
    desk = RfqVenue()
    request = desk.ask(desk.legs((BUY, 100_000, "900"), (SELL, 101_000, "900")))
    for quote in desk.dealer_quotes(request).values():
        for leg in quote.legs:
            detail = desk.core.detail(leg.symbol)
            assert detail is not None
            assert (float(leg.price) - detail.mark_price) * leg.side.sign < 0


def test_ended_requests_are_forgotten_beyond_what_is_kept_and_active_ones_never() -> None:
    desk = RfqVenue()
    desk.config = replace(desk.config, rfq=replace(desk.config.rfq, kept_requests=10))
    desk.core = ExchangeCore(desk.config, desk.started_ns)
    kept = desk.ask(desk.spread())
    for _ in range(15):
        request = desk.ask(desk.spread("0.1"))
        quotes: dict[Any, RfqQuote] = desk.dealer_quotes(request, 1.5)
        if quotes:
            desk.traded(quotes[SELL])
    state = desk.core.state.rfq
    assert len(state.requests) == 11
    assert kept.request_id in state.requests
    assert len(state.blocks) == 10
    assert all(quote.request_id in state.requests for quote in state.quotes.values())
    assert ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows)).state == desk.core.state


def test_a_configuration_whose_bounds_are_swapped_or_names_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match="answer_min_ms of dealer x"):
        DealerConfig(name="x", better_min_pct=0, better_max_pct=1, answer_min_ms=5, answer_max_ms=4)
    with pytest.raises(ValueError, match="dealers name must be unique"):
        RfqVenue(dealers=(SURE, SURE))


def test_without_requests_time_costs_no_rows() -> None:
    desk: Venue = RfqVenue(dealers=DEALERS)
    desk.wait(HOUR_NS)
    assert desk.rows == []


def test_requests_quotes_and_block_trades_are_counted_by_what_became_of_them() -> None:
    venue = RfqVenue()
    first = venue.ask(venue.spread())
    venue.traded(venue.dealer_quotes(first)[SELL])
    second = venue.ask(venue.spread())
    quoted = len(venue.dealer_quotes(second))
    assert venue.core.rfq.live() == {"request": 1, "quote": quoted}
    venue.do(venue.core.rfq.cancel(A, second.request_id, venue.now_ns))
    counts = venue.core.rfq.counts()
    assert {event: count for (what, event), count in counts.items() if what == "request"} == {
        "asked": 2,
        "filled": 1,
        "cancelled": 1,
    }
    assert (counts["block", "traded"], counts["quote", "filled"]) == (1, 1)
    assert counts["quote", "given"] == counts["quote", "filled"] + counts["quote", "cancelled"]
    assert venue.core.rfq.live() == {"request": 0, "quote": 0}

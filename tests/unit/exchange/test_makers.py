"""The maker's side of requests for quote: quotes of accounts with quote access."""

from __future__ import annotations

from typing import Any

import pytest

from services.exchange.model import Rejection, Side
from services.exchange.rfq_model import (
    CreateQuote,
    LegPriced,
    QuoteEvent,
    QuoteState,
    RequestEvent,
    RequestForQuote,
    RfqQuote,
)
from tests.unit.exchange.harness import SECOND_NS, A, D
from tests.unit.exchange.rfq_harness import BUY, MAKER, RIVAL, SELL, SURE, RfqVenue

PRICES = ("2500", "1600")


def quiet(**switches: Any) -> RfqVenue:
    """No dealers: the makers have the requests for themselves."""
    return RfqVenue(dealers=(), **switches)


def code_of(result: Any) -> int:
    assert isinstance(result, Rejection), result
    return result.code


def legs_of(request: RequestForQuote, price: str = "2500", **fields: Any) -> tuple[LegPriced, ...]:
    return tuple(LegPriced(symbol=leg.symbol, price=D(price), **fields) for leg in request.legs)


def quote_code(desk: RfqVenue, request_id: int, legs: tuple[LegPriced, ...], side: Side = SELL) -> int:
    command = CreateQuote(request_id, side, legs)
    return code_of(desk.do(desk.core.rfq.create_quote(MAKER, command, desk.now_ns)))


def test_a_sell_quote_has_the_sides_opposite_to_the_requests_and_a_buy_quote_the_same() -> None:
    desk = quiet()
    request = desk.ask(desk.spread())
    sell, buy = desk.offered(request, PRICES), desk.offered(request, ("2400", "1650"), side=BUY)
    assert [leg.side for leg in sell.legs] == [SELL, BUY]
    assert [leg.side for leg in buy.legs] == [BUY, SELL]
    assert (sell.strategy_price, buy.strategy_price) == (D(900), D(750))
    assert sell.expires_ns - sell.created_ns == 300 * SECOND_NS


def test_a_block_trade_with_an_account_changes_both_and_their_money_sums_up() -> None:
    desk = quiet()
    legs = desk.spread("0.5")
    quote = desk.offered(desk.ask(legs), PRICES)
    cash = {name: desk.core.account_summary(name).cash for name in (A, MAKER)}
    block = desk.traded(quote)
    paid = D("0.5") * (D(2500) - D(1600))
    bought, sold = block.legs
    assert bought.maker is not None
    assert sold.maker is not None
    assert desk.core.account_summary(A).cash == cash[A] - paid - bought.taker.fee
    assert desk.core.account_summary(MAKER).cash == cash[MAKER] + paid - bought.maker.fee
    assert [desk.position(A, leg.symbol) for leg in legs] == [D("0.5"), D("-0.5")]
    assert [desk.position(MAKER, leg.symbol) for leg in legs] == [D("-0.5"), D("0.5")]
    ours, theirs = desk.fills(A), desk.fills(MAKER)
    assert [fill.trade_id for fill in ours] == [fill.trade_id for fill in theirs]
    assert {fill.is_taker for fill in ours} == {True}
    assert {fill.is_taker for fill in theirs} == {False}
    assert len({fill.fill_id for fill in (*ours, *theirs)}) == 4
    assert bought.maker.fee == bought.index_price * desk.config.fees.block_maker * D("0.5")
    assert (sold.taker.fee, sold.maker.fee) == (0, 0)
    assert desk.core.rfq.blocks(MAKER) == desk.core.rfq.blocks(A) == [block]
    assert desk.core.rfq.blocks(RIVAL) == []
    desk.assert_books_balance()


def test_the_price_is_rounded_to_the_tick_and_the_strategy_price_is_not() -> None:
    desk = quiet()
    quote = desk.offered(desk.ask(desk.legs((BUY, 100_000, "0.1"))), ("2500.04",))
    assert (quote.legs[0].price, quote.strategy_price) == (D("2500.0"), D("2500.04"))


@pytest.mark.parametrize(("per", "other_side"), [("side", 0), ("request", 50012)])
def test_a_second_open_quote_is_refused_per_side_or_request(per: str, other_side: int) -> None:
    desk = quiet(one_quote_per=per)
    request = desk.ask(desk.spread())
    first = desk.offered(request, PRICES)
    assert code_of(desk.offer(request, PRICES)) == 50012
    result = desk.offer(request, PRICES, side=BUY)
    assert (result.code if isinstance(result, Rejection) else 0) == other_side
    desk.offered(request, PRICES, account_id=RIVAL)
    desk.do(desk.core.rfq.cancel_quote(MAKER, first.quote_id, desk.now_ns))
    if other_side == 0:
        desk.do(desk.core.rfq.cancel_quotes(MAKER, desk.now_ns))
    desk.offered(request, PRICES)


def test_refreshing_may_have_to_wait_after_a_cancel() -> None:
    desk = quiet(requote_delay_ms=2_000)
    request = desk.ask(desk.spread())
    first = desk.offered(request, PRICES)
    desk.do(desk.core.rfq.cancel_quote(MAKER, first.quote_id, desk.now_ns))
    assert code_of(desk.offer(request, PRICES)) == 50012
    desk.wait(2 * SECOND_NS)
    desk.offered(request, PRICES)


def test_what_does_not_match_the_request_has_its_code() -> None:
    desk = quiet()
    request = desk.ask(desk.spread())
    first, second = legs_of(request)
    refused = {
        "a leg is missing": quote_code(desk, request.request_id, (first,)),
        "a leg stands there twice": quote_code(desk, request.request_id, (first, first)),
        "another option": quote_code(desk, request.request_id, (first, LegPriced(symbol="X", price=D(1)))),
        "another side": quote_code(desk, request.request_id, legs_of(request, side=BUY)),
        "another size": quote_code(desk, request.request_id, legs_of(request, quantity=D("0.1"))),
        "a price of 0": quote_code(desk, request.request_id, legs_of(request, "0")),
        "an unknown request": quote_code(desk, 5, (first, second)),
    }
    assert refused == {
        "a leg is missing": 50014,
        "a leg stands there twice": 50014,
        "another option": 50014,
        "another side": 50014,
        "another size": 50014,
        "a price of 0": 10573,
        "an unknown request": 10592,
    }
    desk.offered(request, PRICES)


def test_sides_and_sizes_that_match_may_be_given() -> None:
    desk = quiet()
    request = desk.ask(desk.spread())
    legs = tuple(
        LegPriced(symbol=leg.symbol, price=D(1_000), side=leg.side.opposite, quantity=D("0.50"))
        for leg in reversed(request.legs)
    )
    quote = desk.do(desk.core.rfq.create_quote(MAKER, CreateQuote(request.request_id, SELL, legs), desk.now_ns))
    assert isinstance(quote, RfqQuote)
    assert [leg.symbol for leg in quote.legs] == [leg.symbol for leg in request.legs]


def test_an_ended_request_and_an_own_one_cannot_be_quoted() -> None:
    desk = quiet()
    ended = desk.ask(desk.spread())
    desk.do(desk.core.rfq.cancel(A, ended.request_id, desk.now_ns))
    assert code_of(desk.offer(ended, PRICES)) == 50014
    own = desk.ask(desk.spread(), MAKER)
    assert code_of(desk.offer(own, PRICES)) == 10592


def test_ones_own_quote_may_be_accepted_if_the_switch_says_so() -> None:
    desk = quiet(block_with_oneself=True)
    own = desk.ask(desk.spread(), MAKER)
    quote = desk.offered(own, PRICES)
    desk.traded(quote, MAKER)
    assert desk.core.positions(MAKER) == []
    desk.assert_books_balance()


def test_a_maker_cancels_its_own_open_quotes_and_nothing_else() -> None:
    desk = quiet()
    request, other = desk.ask(desk.spread()), desk.ask(desk.spread("0.1"))
    mine = [desk.offered(request, PRICES), desk.offered(other, PRICES)]
    rivals = desk.offered(request, PRICES, account_id=RIVAL)
    assert code_of(desk.do(desk.core.rfq.cancel_quote(MAKER, rivals.quote_id, desk.now_ns))) == 10592
    ended = desk.do(desk.core.rfq.cancel_quote(MAKER, mine[0].quote_id, desk.now_ns))
    assert ended.state is QuoteState.CANCELLED
    assert code_of(desk.do(desk.core.rfq.cancel_quote(MAKER, mine[0].quote_id, desk.now_ns))) == 10537
    assert desk.do(desk.core.rfq.cancel_quotes(MAKER, desk.now_ns)).quote_ids == (mine[1].quote_id,)
    assert [quote.state for quote in desk.core.rfq.quotes_given(RIVAL)] == [QuoteState.OPEN]
    assert code_of(desk.accept(mine[1])) == 50014


def test_an_expired_quote_is_told_to_maker_and_taker() -> None:
    desk = quiet()
    quote = desk.offered(desk.ask(desk.spread()), PRICES)
    (event,) = [each for each in desk.wait(300 * SECOND_NS) if isinstance(each, QuoteEvent)]
    assert (event.quote.quote_id, event.quote.state, event.taker_id) == (quote.quote_id, QuoteState.EXPIRED, A)


def test_the_end_of_a_request_names_who_had_quoted_and_who_traded() -> None:
    desk = RfqVenue(dealers=(SURE,))
    request = desk.ask(desk.spread())
    desk.offered(request, PRICES)
    won = desk.offered(request, PRICES, account_id=RIVAL)
    desk.traded(won)
    (event,) = [each for each in desk.last_events if isinstance(each, RequestEvent)]
    assert (event.quoted, event.maker_id) == ((MAKER, RIVAL), RIVAL)


def poor_maker(desk: RfqVenue) -> None:
    desk.do(desk.core.withdraw(MAKER, D(999_000), desk.now_ns))


def test_a_maker_who_cannot_afford_its_quote_makes_it_void_and_nobody_trades() -> None:
    desk = quiet()
    poor_maker(desk)
    request = desk.ask(desk.legs((BUY, 100_000, "20")))
    quote = desk.offered(request, ("2500",))
    assert code_of(desk.accept(quote)) == 50014
    assert desk.core.rfq.request(request.request_id) == request
    assert not desk.fills(A)


def test_margin_may_be_looked_at_when_a_quote_is_made() -> None:
    desk = quiet(maker_margin_check="quote_and_accept")
    poor_maker(desk)
    request = desk.ask(desk.legs((BUY, 100_000, "20")))
    assert code_of(desk.offer(request, ("2500",))) == 10529
    desk.offered(request, ("2500",), account_id=RIVAL)


@pytest.mark.parametrize(("band", "code"), [(0.0, 0), (1.0, 10573)])
def test_prices_may_have_to_be_near_the_mark(band: float, code: int) -> None:
    desk = quiet(quote_price_band_pct=band)
    request = desk.ask(desk.legs((BUY, 100_000, "0.1")))
    result = desk.offer(request, ("9000",))
    assert (result.code if isinstance(result, Rejection) else 0) == code

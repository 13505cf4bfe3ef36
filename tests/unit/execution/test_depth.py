"""Quotes on a structure larger than the top of its books: they are judged by whole books, not by mark alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.execution.rfq_rows import QuotesJudged
from shared.messages.base import Side
from shared.messages.inquiries import QuoteStructure
from shared.messages.on_demand import GetOrderBook, OrderBook, OrderBookAnswer
from shared.messages.steps import ReplyReceived, Request, RequestTimedOut, SendRequest
from shared.messages.trades import Refusal
from shared.options.book import pack_levels
from tests.unit.execution.makers import SPREAD, Makers
from tests.unit.execution.play import CALL, HIGH_CALL, MARKS, MS, Script

D = Decimal
OURS: dict[str, Side] = {CALL: "buy", HIGH_CALL: "sell"}
WORSE_THAN_BOOK = {CALL: "1013", HIGH_CALL: "288"}
"""1450 USD paid, where the whole book takes 1443 and mark is 1400."""


def thin() -> tuple[Script, Makers]:
    """One contract a side at the top, of two that are wanted."""
    script = Script()
    script.chain_options = {"size": 1.0}
    return script.started(), Makers(script)


def books_asked(script: Script) -> list[SendRequest]:
    return [each for each in script.take(SendRequest) if isinstance(each.message, GetOrderBook)]


def answered(
    script: Script, asked: list[SendRequest], age_ms: int = 0, missing: str = "", further: float = 1.0
) -> None:
    """Whole books: one contract at the top, as the chain says, and many `further` behind it."""
    for request in asked:
        message = request.message
        assert isinstance(message, GetOrderBook)
        mark = MARKS[message.symbol]
        book = OrderBook(
            symbol=message.symbol,
            underlying="BTCUSD",
            venue_ns=0,
            received_ns=script.now_ns - age_ms * MS,
            source="poll",
            missing=missing,
            bids=b"" if missing else pack_levels([(mark - 10, 1.0), (mark - 11, 50.0)]),
            asks=b"" if missing else pack_levels([(mark + 10, 1.0), (mark + 11, 50.0)]),
        )
        script.on(ReplyReceived(request.request_id, OrderBookAnswer(age_ms=age_ms, book=book)))


def judged(script: Script) -> QuotesJudged:
    return script.rows(QuotesJudged)[-1]


def test_whole_books_are_asked_for_where_the_top_lacks_the_size_and_once_a_second_at_most() -> None:
    script, makers = thin()
    makers.collecting()
    asked = books_asked(script)
    assert {(each.service, each.message.symbol) for each in asked} == {  # type: ignore[attr-defined]
        ("marketdata", CALL),
        ("marketdata", HIGH_CALL),
    }
    assert len({each.request_id for each in asked}) == 2
    script.wait(3_000)
    again = books_asked(script)
    assert 2 <= len(again) <= 6
    assert not {each.request_id for each in again} & {each.request_id for each in asked}, "an old answer is no answer"


def test_no_book_is_asked_for_where_the_top_holds_the_size() -> None:
    script = Script().started()
    Makers(script).collecting()
    script.wait(3_000)
    assert books_asked(script) == []


def test_a_quote_that_is_worse_than_the_whole_book_is_not_taken() -> None:
    script, makers = thin()
    _, request_id = makers.collecting()
    quote = makers.quote(request_id, WORSE_THAN_BOOK, OURS)
    for _ in range(32):
        answered(script, books_asked(script))
        makers.quotes(request_id, quote)
        script.wait(500)
    assert not makers.accepts()
    assert judged(script).book_cost_usd == pytest.approx(2 * 1010.5 - 2 * 289.5)
    assert judged(script).quotes[0].verdict == "improvement_usd_too_small"
    assert makers.fallbacks() == [("open", "limit", "no_good_quote")]


def test_a_better_one_is_and_says_by_how_much() -> None:
    script, makers = thin()
    _, request_id = makers.collecting()
    best = makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS)
    script.on(best).wait(4_500)
    answered(script, books_asked(script))
    script.wait(500)
    (accept,) = makers.accepts()
    assert accept.quote_id == best.quote_id
    assert judged(script).quotes[0].improvement_usd == pytest.approx(1442.0 - 1412.0)


@pytest.mark.parametrize("trouble", ["unanswered", "refused", "old", "missing", "shallow too"])
def test_without_a_fresh_book_that_holds_the_size_mark_decides_as_before(trouble: str) -> None:
    script, makers = thin()
    _, request_id = makers.collecting()
    quote = makers.quote(request_id, WORSE_THAN_BOOK, OURS)
    script.on(quote)
    asked = books_asked(script)
    if trouble == "unanswered":
        for each in asked:
            script.on(RequestTimedOut(each.request_id))
    elif trouble == "refused":
        for each in asked:
            script.on(ReplyReceived(each.request_id, Refusal(code="busy", detail="16 reads are under way")))
    elif trouble == "old":
        answered(script, asked, age_ms=6_000)
    elif trouble == "missing":
        answered(script, asked, missing="not listed")
    else:
        for each in asked:
            message = each.message
            assert isinstance(message, GetOrderBook)
            packed = pack_levels([(MARKS[message.symbol], 1.5)])
            book = OrderBook(
                symbol=message.symbol,
                underlying="BTCUSD",
                venue_ns=0,
                received_ns=script.now_ns,
                source="poll",
                missing="",
                bids=packed,
                asks=packed,
            )
            script.on(ReplyReceived(each.request_id, OrderBookAnswer(age_ms=0, book=book)))
    script.wait(5_000)
    (accept,) = makers.accepts()
    assert accept.quote_id == quote.quote_id
    assert judged(script).book_cost_usd is None


def test_a_close_is_compared_with_the_other_side_of_the_whole_books() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    makers.executed(quote)
    script.wait(5_000)
    script.snapshot(positions=script.positions())
    script.chain_options = {"size": 1.0}
    script.market()
    script.take(SendRequest)
    script.close(trade_id)
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    script.snapshot(positions=script.positions())
    # we sell the call and buy the high one: 1372 USD received, the books give 2 x 989.5 - 2 x 310.5 = 1358
    good = makers.quote(request_id, {CALL: "990", HIGH_CALL: "304"}, {CALL: "sell", HIGH_CALL: "buy"})
    script.on(good).wait(4_500)
    answered(script, books_asked(script))
    script.snapshot(positions=script.positions())
    script.wait(500)
    assert judged(script).book_cost_usd == pytest.approx(-1358.0)
    assert judged(script).quotes[0].improvement_usd == pytest.approx(14.0)


def test_what_an_operator_asks_for_is_compared_with_whole_books_too() -> None:
    script, makers = thin()
    script.on(Request("i1", QuoteStructure(legs=SPREAD, collect_s=3.0, requested_by="operator"), "c"))
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    script.wait(1_500)
    answered(script, books_asked(script))
    quote = makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS)
    script.on(quote).wait(1_500)
    makers.quotes(request_id, quote)
    answer: Any = script.core.book.inquiries.answered()[0]
    buy, sell = answer.sides
    assert (buy.book_cost_usd, buy.shallow) == (pytest.approx(1442.0), ())
    assert sell.book_cost_usd == pytest.approx(-1358.0)
    assert buy.quotes[0].improvement_usd == pytest.approx(30.0)

"""What a person sees of requests for quote: quotes as they come, against the book, and what became of them."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from shared.messages.base import Side
from shared.messages.inquiries import QuoteStructure
from shared.messages.quote_requests import ListQuoteRequests, QuoteBoard, QuoteRequest, QuoteRequestList
from shared.messages.rfq import RfqCreated
from shared.messages.steps import Publish, Request
from tests.unit.execution.makers import LIFE_NS, SPREAD, Makers
from tests.unit.execution.play import CALL, HIGH_CALL, SECOND, Script

D = Decimal
OURS: dict[str, Side] = {CALL: "buy", HIGH_CALL: "sell"}
THEIRS: dict[str, Side] = {CALL: "sell", HIGH_CALL: "buy"}


def started() -> tuple[Script, Makers]:
    script = Script().started()
    return script, Makers(script)


def boards(script: Script) -> list[QuoteBoard]:
    """What was published since the last look."""
    found = [each.message for each in script.take(Publish) if isinstance(each.message, QuoteBoard)]
    assert all(board.account_id == "a1" for board in found)
    return found


def listed(script: Script, trade_id: str = "") -> tuple[QuoteRequest, ...]:
    answer = script.ask(ListQuoteRequests(trade_id=trade_id))
    assert isinstance(answer, QuoteRequestList)
    return answer.requests


def test_each_quote_is_published_as_it_comes_with_what_it_is_better_than_the_book_and_its_life() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    (asked,) = boards(script)[-1].requests
    assert (asked.trade_id, asked.purpose, asked.state, asked.wanted) == (trade_id, "open", "COLLECTING", "buy")
    assert (asked.quotes, asked.is_collecting) == ((), True)
    assert asked.judged_ns is not None
    assert asked.ends_ns is not None
    assert (asked.judged_ns - script.now_ns, asked.ends_ns - script.now_ns) == (5 * SECOND, 15 * SECOND)
    script.on(makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS))
    (board,) = boards(script)
    (quote,) = board.requests[0].quotes
    assert (quote.cost_usd, quote.improvement_usd, quote.verdict) == (1412.0, 28.0, "good")
    assert quote.improvement_pct == pytest.approx(28 / 1440 * 100)
    assert quote.expiry_ns == script.now_ns + LIFE_NS
    assert quote.prices == (D(1003), D(297))
    (request,) = listed(script, trade_id)
    assert request == board.requests[0], "who asks is told the same"


def test_both_directions_are_shown_each_against_its_own_side_of_the_book() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    script.on(makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS))
    script.on(makers.quote(request_id, {CALL: "995", HIGH_CALL: "304"}, THEIRS))
    (request,) = listed(script)
    costs = {each.direction: (each.book_cost_usd, each.mark_cost_usd) for each in request.costs}
    assert costs == {"buy": (1440.0, 1400.0), "sell": (-1360.0, -1400.0)}
    quotes = {each.direction: each for each in request.quotes}
    assert quotes["sell"].cost_usd == -1382.0
    assert quotes["sell"].improvement_usd == 22.0
    assert (quotes["buy"].verdict, quotes["sell"].verdict) == ("good", None)


def test_the_improvement_follows_the_book_while_quotes_are_collected() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    script.on(makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS))
    boards(script)
    script.chain_options = {"half_spread": 20.0}
    script.wait(2_000)
    told = boards(script)
    assert told[-1].requests[0].quotes[0].improvement_usd == 68.0
    assert len(told) <= 3, "once a second, when no quote comes"


def test_a_quote_that_is_withdrawn_or_for_something_else_is_said_to_be_so() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    quote = makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS)
    script.on(quote)
    script.on(makers.quote(request_id, {CALL: "1"}, OURS))
    boards(script)
    script.on(msgspec.structs.replace(quote, state="cancelled"))
    (board,) = boards(script)
    verdicts = {each.quote_id: (each.direction, each.verdict) for each in board.requests[0].quotes}
    assert verdicts.pop(quote.quote_id) == ("buy", "not_open")
    assert list(verdicts.values()) == [(None, "wrong_legs")]


def test_after_the_decision_the_board_is_empty_and_the_request_is_kept_as_it_was_judged() -> None:
    script, makers = started()
    trade_id, quote = makers.accepting({CALL: "1003", HIGH_CALL: "297"})
    makers.executed(quote)
    assert script.state(trade_id) == "OPEN"
    assert boards(script)[-1].requests == ()
    script.wait(5_000)
    assert boards(script) == [], "nothing is at work"
    (request,) = listed(script)
    assert (request.state, request.chosen, request.is_collecting) == ("FILLED", quote.quote_id, False)
    assert [(each.direction, each.book_cost_usd) for each in request.costs] == [("buy", 1440.0)]
    assert [(each.quote_id, each.improvement_usd, each.verdict) for each in request.quotes] == [
        (quote.quote_id, 28.0, "good")
    ]
    script.restarted()
    assert listed(script, trade_id) == (request,), "the journal keeps it"
    assert listed(script, "t0") == ()


def test_an_inquiry_is_followed_like_the_request_of_a_trade() -> None:
    script, makers = started()
    script.on(Request("i1", QuoteStructure(legs=SPREAD, collect_s=2.0, requested_by="cli:eva"), "cli"))
    script.on(RfqCreated(rfq_id="i1", request_id="v1", created_ns=script.now_ns, expiry_ns=script.now_ns + LIFE_NS))
    boards(script)
    quote = makers.quote("v1", {CALL: "1003", HIGH_CALL: "297"}, OURS)
    script.on(quote)
    (board,) = boards(script)
    (request,) = board.requests
    assert (request.trade_id, request.purpose, request.asked_by, request.wanted) == ("", "inquiry", "cli:eva", None)
    assert [(each.direction, each.improvement_usd, each.verdict) for each in request.quotes] == [("buy", 28.0, None)]
    assert request.ends_ns == script.now_ns + 2 * SECOND
    script.wait(2_000)
    makers.quotes("v1", quote)
    assert boards(script)[-1].requests == ()
    (request,) = listed(script)
    assert (request.is_collecting, request.reason, len(request.quotes)) == (False, "", 1)


def test_only_so_many_are_listed_newest_first() -> None:
    script, makers = started()
    for ordinal in range(4):
        makers.collecting(ordinal=ordinal)
        script.wait(100)
    newest = script.ask(ListQuoteRequests(limit=2)).requests
    assert [each.asked_ns for each in newest] == sorted((each.asked_ns for each in listed(script)), reverse=True)[:2]
    assert script.ask(ListQuoteRequests(limit=-1)).requests == ()

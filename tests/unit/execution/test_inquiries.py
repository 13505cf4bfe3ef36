"""An operator's inquiry: makers are asked once, quotes are shown against the book, nothing is ever accepted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.book import Book
from services.execution.effects import AcceptQuote, CancelRfq, CreateRfq, FetchQuotes, QueryRfqs
from services.execution.inquiry_answer import request_legs
from services.execution.inquiry_rows import InquiryEnded
from shared.messages.base import Side, opposite
from shared.messages.inquiries import InquiryList, ListInquiries, QuoteStructure, StructureQuotes
from shared.messages.market import ChainSnapshot
from shared.messages.rfq import (
    QuoteLeg,
    QuotesFailed,
    QuotesFetched,
    QuoteState,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
    VenueRfqState,
)
from shared.messages.steps import RaiseAlert, Reply, Request
from shared.messages.trades import LegOrder, Refusal
from shared.options.chain import pack_columns
from tests.unit.execution.play import CALL, HIGH_CALL, MARKS, PUT, SECOND, T0, Script, leg

D = Decimal
SPREAD = (leg(CALL, "buy"), leg(HIGH_CALL, "sell"))
HOUR_NS = 3_600 * SECOND


def sized_chain(script: Script, size: float = 5.0) -> ChainSnapshot:
    """Bid and ask 10 around mark, with `size` on each."""
    symbols = [each.symbol for each in script.listing.instruments]
    marks = np.array([MARKS[symbol] for symbol in symbols])
    sizes = np.full(len(symbols), size)
    columns = {"bid": marks - 10, "ask": marks + 10, "mark": marks, "bid_size": sizes, "ask_size": sizes}
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=script.listing.list_id,
        venue_ns=script.now_ns,
        received_ns=script.now_ns,
        index_price=100_000.0,
        index_received_ns=script.now_ns,
        matrix=pack_columns(columns, len(symbols)),
    )


def inquiry(*legs: LegOrder, collect_s: float = 2.0) -> QuoteStructure:
    return QuoteStructure(legs=legs or SPREAD, collect_s=collect_s, requested_by="cli:eva")


def quote(
    quote_id: str,
    side: Side,
    prices: dict[str, str],
    *,
    legs: tuple[LegOrder, ...] = SPREAD,
    state: QuoteState = "open",
    expiry_ns: int = T0 + HOUR_NS,
) -> VenueQuote:
    """A maker's price at which the structure as it was asked for is bought (`side` "buy") or sold by us."""
    return VenueQuote(
        quote_id=quote_id,
        request_id="v1",
        quote_side=opposite(side),
        state=state,
        legs=tuple(
            QuoteLeg(
                symbol=each.symbol,
                side=opposite(each.side) if side == "buy" else each.side,
                quantity=each.quantity,
                price=D(prices[each.symbol]),
            )
            for each in legs
        ),
        created_ns=T0,
        expiry_ns=expiry_ns,
    )


def ask(script: Script, asked: QuoteStructure | None = None, request_id: str = "i1") -> None:
    script.on(Request(request_id, asked or inquiry(), "cli"))


def created(script: Script, request_id: str = "i1", venue_id: str = "v1") -> None:
    script.on(
        RfqCreated(
            rfq_id=request_id, request_id=venue_id, created_ns=script.now_ns, expiry_ns=script.now_ns + HOUR_NS
        )
    )


def listed(script: Script, *quotes: VenueQuote) -> None:
    script.on(QuotesFetched(request_id="v1", asked_ns=script.now_ns, quotes=quotes))


def answers(script: Script) -> list[Any]:
    return [reply.message for reply in script.take(Reply)]


def collected(*quotes: VenueQuote, size: float = 5.0, asked: QuoteStructure | None = None) -> StructureQuotes:
    """The answer to an inquiry on which these quotes were listed at the end."""
    script = Script().started()
    ask(script, asked)
    created(script)
    script.wait(2_000)
    script.inbound(sized_chain(script, size))
    listed(script, *quotes)
    (answer,) = answers(script)
    assert isinstance(answer, StructureQuotes), answer
    return answer


BUY = quote("q1", "buy", {CALL: "1004", HIGH_CALL: "297"})
SELL = quote("q2", "sell", {CALL: "992", HIGH_CALL: "305"})


def test_makers_are_asked_once_and_the_answer_comes_when_the_quotes_are_in() -> None:
    script = Script().started()
    ask(script)
    assert script.take(CreateRfq) == [
        CreateRfq(
            rfq_id="i1",
            legs=(
                RfqLeg(symbol=CALL, side="buy", quantity=D(1)),
                RfqLeg(symbol=HIGH_CALL, side="sell", quantity=D(1)),
            ),
        )
    ]
    created(script)
    script.wait(1_000)
    assert script.take(FetchQuotes) == [FetchQuotes(request_id="v1")]
    script.on(BUY)
    listed(script, BUY)
    assert not answers(script)
    script.wait(1_000)
    assert script.take(FetchQuotes) == [FetchQuotes(request_id="v1")]
    script.inbound(sized_chain(script))
    listed(script, BUY, SELL)
    (answer,) = answers(script)
    assert (answer.request_id, answer.requested_by, answer.reason, answer.quote_count) == ("v1", "cli:eva", "", 2)
    assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]
    script.on(RfqCancelled(request_id="v1")).wait(120_000)
    assert not script.take(CancelRfq)
    assert not script.take(CreateRfq)
    assert not script.take(AcceptQuote)
    before = script.core.book
    assert script.restarted().core.book == before


def test_both_directions_are_compared_with_the_book_on_the_correct_side_of_every_leg() -> None:
    answer = collected(BUY, SELL)
    buy, sell = answer.sides
    # Buying takes the ask of the long leg and the bid of the short one: 1010 - 290. Selling is its mirror: 310 - 990.
    assert (buy.action, buy.book_cost_usd, buy.mark_cost_usd) == ("buy", 720.0, 700.0)
    assert (sell.action, sell.book_cost_usd, sell.mark_cost_usd) == ("sell", -680.0, -700.0)
    (bought,), (sold,) = buy.quotes, sell.quotes
    assert (bought.quote_id, bought.cost_usd, bought.improvement_usd) == ("q1", 707.0, 13.0)
    assert bought.improvement_pct == pytest.approx(13 / 720 * 100)
    assert bought.over_mark_usd == 7.0
    assert bought.prices == (D(1004), D(297))
    assert (sold.quote_id, sold.cost_usd, sold.improvement_usd, sold.over_mark_usd) == ("q2", -687.0, 7.0, 13.0)


def test_the_best_quote_of_a_direction_is_first() -> None:
    dear = quote("q3", "buy", {CALL: "1009", HIGH_CALL: "291"})
    buy, sell = collected(dear, BUY).sides
    assert [each.quote_id for each in buy.quotes] == ["q1", "q3"]
    assert sell.quotes == ()


def test_quotes_that_ended_or_are_for_something_else_are_not_shown() -> None:
    short = SPREAD[:1]
    other = (msgspec.structs.replace(SPREAD[0], quantity=D(2)), SPREAD[1])
    mixed = (msgspec.structs.replace(SPREAD[0], side="sell"), SPREAD[1])
    answer = collected(
        quote("gone", "buy", {CALL: "1", HIGH_CALL: "1"}, state="cancelled"),
        quote("over", "buy", {CALL: "1", HIGH_CALL: "1"}, expiry_ns=T0),
        quote("half", "buy", {CALL: "1"}, legs=short),
        quote("twice", "buy", {CALL: "1", HIGH_CALL: "1"}, legs=other),
        quote("mixed", "buy", {CALL: "1", HIGH_CALL: "1"}, legs=mixed),
        quote("free", "buy", {CALL: "0", HIGH_CALL: "1"}),
        SELL,
    )
    assert (answer.quote_count, answer.unusable) == (1, 4)
    assert answer.sides[1].quotes[0].quote_id == "q2"


def test_a_book_that_lacks_the_size_is_named_and_the_quote_is_judged_by_mark() -> None:
    buy = collected(BUY, size=0.5).sides[0]
    assert (buy.book_cost_usd, buy.shallow) == (None, (CALL, HIGH_CALL))
    (only,) = buy.quotes
    assert (only.basis, only.improvement_usd, only.over_mark_usd) == ("mark", None, 7.0)


def test_no_quote_is_an_answer_too() -> None:
    answer = collected()
    assert answer.quote_count == 0
    assert answer.reason == "no maker quoted within 2 s"
    assert answer.sides[0].book_cost_usd == 720.0


def test_a_structure_that_only_sells_is_asked_for_the_other_way_round_and_shown_as_it_was_asked() -> None:
    legs = (leg(CALL, "sell"), leg(PUT, "sell"))
    assert [each.side for each in request_legs(legs)] == ["buy", "buy"]
    ours = quote("q9", "buy", {CALL: "995", PUT: "896"}, legs=legs)
    assert [each.side for each in ours.legs] == ["buy", "buy"]
    (only,) = collected(ours, asked=inquiry(*legs)).sides[0].quotes
    # We sell both: 995 + 896 received, the book would give 990 + 890.
    assert (only.cost_usd, only.improvement_usd) == (-1891.0, 11.0)


@given(
    sides=st.tuples(st.sampled_from(["buy", "sell"]), st.sampled_from(["buy", "sell"])),
    prices=st.tuples(st.integers(900, 1_100), st.integers(250, 350)),
    action=st.sampled_from(["buy", "sell"]),
)
def test_asking_for_the_opposite_structure_shows_the_mirror_image(
    sides: tuple[Side, Side], prices: tuple[int, int], action: Side
) -> None:
    legs = (leg(CALL, sides[0]), leg(HIGH_CALL, sides[1]))
    turned = tuple(msgspec.structs.replace(each, side=opposite(each.side)) for each in legs)
    made = quote("q", action, {CALL: str(prices[0]), HIGH_CALL: str(prices[1])}, legs=legs)
    straight = collected(made, asked=inquiry(*legs))
    mirrored = collected(made, asked=inquiry(*turned))
    for side in ("buy", "sell"):
        (one,) = [each for each in straight.sides if each.action == side]
        (other,) = [each for each in mirrored.sides if each.action == opposite(side)]
        assert (one.book_cost_usd, one.quotes) == (other.book_cost_usd, other.quotes)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (inquiry(leg("BTCUSD-1JAN20-1-C", "buy")), "unknown_instrument"),
        (inquiry(leg(CALL, "buy", "0.001")), "bad_inquiry"),
        (inquiry(leg(CALL, "buy", "0.015")), "bad_inquiry"),
        (inquiry(leg(CALL, "buy", "NaN")), "bad_inquiry"),
        (inquiry(leg(CALL, "buy", "1e9")), "bad_inquiry"),
        (inquiry(leg(CALL, "buy"), leg(CALL, "sell")), "bad_inquiry"),
        (inquiry(collect_s=0.1), "bad_inquiry"),
        (inquiry(collect_s=float("nan")), "bad_inquiry"),
        (QuoteStructure(legs=(), requested_by="x"), "bad_inquiry"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(asked: QuoteStructure, code: str) -> None:
    script = Script().started()
    answer = script.ask(asked)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert not script.take(CreateRfq)
    assert not script.core.book.inquiries.inquiries


def test_a_second_inquiry_waits_until_the_first_was_answered() -> None:
    script = Script().started()
    ask(script)
    busy = script.ask(inquiry(), "i2")
    assert busy.code == "busy"
    created(script)
    script.wait(2_000)
    listed(script, BUY)
    ask(script, inquiry(), "i3")
    assert [each.rfq_id for each in script.take(CreateRfq)] == ["i1", "i3"]


def test_a_repeated_request_gets_the_first_answer_and_asks_no_maker_again() -> None:
    script = Script().started()
    ask(script)
    ask(script)
    assert len(script.take(CreateRfq)) == 1
    created(script)
    script.wait(2_000)
    listed(script, BUY)
    (first,) = answers(script)
    for again in (script, script.restarted()):
        ask(again)
        assert answers(again) == [first]
        assert not again.take(CreateRfq)


def test_a_refusal_by_the_venue_is_the_answer() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqRefused(rfq_id="i1", kind="rejected", code=10558, text="too small"))
    (answer,) = answers(script)
    assert answer.code == "rfq_refused"
    assert "10558: too small" in answer.detail
    assert script.core.book.inquiries.live == {}


def test_a_refusal_for_the_key_is_told_until_a_request_is_taken() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqRefused(rfq_id="i1", kind="auth", code=10554, text="no permission"))
    ask(script, request_id="i2")
    created(script, "i2")
    told = [(alert.code, alert.subject, alert.resolved) for alert in script.take(RaiseAlert)]
    assert told == [("venue_auth", "a1/rfq", False), ("venue_auth", "a1/rfq", True)]


@pytest.mark.parametrize("how", ["pushed", "listed", "late answer"])
def test_a_lost_request_is_answered_so_and_withdrawn_once_it_is_found(how: str) -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    (answer,) = answers(script)
    assert answer.code == "rfq_unknown"
    assert script.take(QueryRfqs)
    found = VenueRfq(
        request_id="v7",
        state="active",
        legs=request_legs(SPREAD),
        created_ns=script.now_ns,
        expiry_ns=script.now_ns + HOUR_NS,
    )
    if how == "pushed":
        script.on(found)
    elif how == "listed":
        script.on(RfqsFetched(asked_ns=script.now_ns, since_ns=0, rfqs=(found,)))
    else:
        created(script, venue_id="v7")
    assert script.take(CancelRfq) == [CancelRfq(request_id="v7")]
    script.on(RfqCancelled(request_id="v7"))
    assert script.core.book.inquiries.live == {}
    assert len(script.take(CreateRfq)) == 1


def test_a_lost_request_that_no_list_shows_after_its_validity_has_ended() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    script.wait(26_900).on(RfqsFetched(asked_ns=script.now_ns, since_ns=0, rfqs=()))
    assert list(script.core.book.inquiries.live) == ["i1"]
    script.wait(100).on(RfqsFetched(asked_ns=script.now_ns, since_ns=T0 + SECOND, rfqs=()))
    assert list(script.core.book.inquiries.live) == ["i1"]
    script.on(RfqsFetched(asked_ns=script.now_ns, since_ns=T0 - SECOND, rfqs=()))
    assert [row.reason for row in script.rows(InquiryEnded)] == [
        "in no list of the venue after the request's validity"
    ]


def shown(request_id: str, created_ns: int, state: VenueRfqState = "active") -> VenueRfq:
    """The request of `SPREAD` as the venue shows it."""
    legs = request_legs(SPREAD)
    return VenueRfq(
        request_id=request_id, state=state, legs=legs, created_ns=created_ns, expiry_ns=created_ns + HOUR_NS
    )


def test_a_lost_request_that_turns_up_after_it_had_ended_is_withdrawn() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    script.wait(30_000).on(RfqsFetched(asked_ns=script.now_ns, since_ns=0, rfqs=()))
    assert script.core.book.inquiries.live == {}
    script.on(shown("v7", T0 + 4 * SECOND))
    assert script.take(CancelRfq) == [CancelRfq(request_id="v7")]
    assert script.refolded().book == script.core.book
    script.on(RfqCancelled(request_id="v7"))
    assert script.core.book.inquiries.live == {}
    script.on(shown("v7", T0 + 4 * SECOND))
    assert not script.take(CancelRfq)


def test_the_request_of_an_inquiry_asked_again_is_not_taken_for_the_lost_one() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    ask(script.wait(1_000), request_id="i2")
    script.on(shown("v2", script.now_ns))
    created(script, "i2", "v2")
    script.on(shown("v2", script.now_ns))
    assert not script.take(CancelRfq)
    assert script.core.book.inquiries.inquiries["i2"].state == "COLLECTING"
    script.on(shown("v1", T0))
    assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]


def test_the_lost_request_that_was_shown_while_the_same_was_asked_again_is_withdrawn_once_that_is_answered() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    ask(script.wait(1_000), request_id="i2")
    script.on(shown("v1", T0))
    assert not script.take(CancelRfq)
    created(script, "i2", "v2")
    assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]


def test_the_request_of_a_trade_with_the_same_legs_is_not_taken_for_a_lost_inquiry() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    script.take(CreateRfq)
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = script.take(CreateRfq)
    script.on(shown("v2", script.now_ns))
    created(script, asked.rfq_id, "v2")
    script.on(shown("v2", script.now_ns))
    assert not script.take(CancelRfq)


def test_an_account_that_may_not_read_the_list_is_not_asked_for_it_again() -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    assert script.take(QueryRfqs)
    script.on(RfqsFailed(reason="rejected: HTTP 404", unsupported=True))
    script.wait(120_000)
    assert not script.take(QueryRfqs)
    assert list(script.core.book.inquiries.live) == ["i1"]


def test_a_lost_request_that_is_never_found_ends_with_the_life_it_could_have() -> None:
    script = Script().started()
    ask(script)
    script.wait(8_000)
    (answer,) = answers(script)
    assert answer.code == "rfq_unknown"
    script.market_on = script.risk_on = script.host_on = False
    script.wait(3_700_000)
    assert script.core.book.inquiries.live == {}
    assert len(script.take(QueryRfqs)) < 80


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"role": "maker"}, "active"),
        ({"legs": request_legs(SPREAD[:1])}, "active"),
        ({"created_ns": T0 - 60 * SECOND}, "active"),
        ({"created_ns": T0 + 60 * SECOND}, "active"),
    ],
)
def test_somebody_elses_request_is_left_alone(changes: dict[str, Any], state: VenueRfqState) -> None:
    script = Script().started()
    ask(script)
    script.on(RfqUnknown(rfq_id="i1", reason="no answer"))
    base = VenueRfq(request_id="v7", state=state, legs=request_legs(SPREAD), created_ns=T0, expiry_ns=T0 + HOUR_NS)
    script.on(msgspec.structs.replace(base, **changes))
    assert not script.take(CancelRfq)


def test_a_cancel_without_outcome_is_asked_for_again_until_the_venue_has_an_answer() -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.wait(2_000)
    listed(script, BUY)
    for pause_ms in (2_000, 4_000, 8_000):
        assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]
        script.on(RfqCancelUnknown(request_id="v1", reason="no answer"))
        assert not script.take(CancelRfq)
        script.wait(pause_ms)
    script.on(RfqCancelRefused(request_id="v1", code=10537, text="gone"))
    assert [row.reason for row in script.rows(InquiryEnded)] == ["10537: gone"]


def test_quotes_that_cannot_be_read_at_the_end_leave_those_that_were_pushed() -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.on(BUY).wait(2_000)
    script.on(QuotesFailed(request_id="v1", reason="down"))
    (answer,) = answers(script)
    assert answer.quote_count == 1


def test_an_answer_comes_even_if_the_last_look_never_returns() -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.on(BUY).wait(5_000)
    (answer,) = answers(script)
    assert answer.quote_count == 1
    assert "did not list the quotes at the end" in answer.reason


def test_a_request_that_ends_at_the_venue_is_answered_at_once_and_not_cancelled() -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.on(BUY)
    script.on(
        VenueRfq(request_id="v1", state="cancelled", legs=request_legs(SPREAD), created_ns=T0, expiry_ns=T0 + 1)
    )
    (answer,) = answers(script)
    assert answer.reason == "the venue shows the request as cancelled"
    assert not script.take(CancelRfq)


@pytest.mark.parametrize("when", ["asking", "collecting", "answered"])
def test_a_restart_answers_what_was_at_work_and_withdraws_it(when: str) -> None:
    script = Script().started()
    ask(script)
    if when != "asking":
        created(script)
    if when == "answered":
        script.wait(2_000)
        listed(script, BUY)
    script.restarted()
    if when == "asking":
        assert not script.take(CancelRfq)
        assert script.take(QueryRfqs)
    else:
        assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]
    ask(script)
    answer = answers(script)[-1]
    assert isinstance(answer, StructureQuotes) if when == "answered" else answer.code == "interrupted"
    assert not script.take(CreateRfq)


def test_the_history_is_kept_newest_first_over_a_restart_and_refusals_are_not_in_it() -> None:
    script = Script().started()
    for name in ("i1", "i2"):
        ask(script, inquiry(), name)
        created(script, name, "v1")
        script.wait(2_000)
        listed(script, BUY)
        script.on(RfqCancelled(request_id="v1"))
    ask(script, inquiry(), "i3")
    script.on(RfqRefused(rfq_id="i3", kind="rejected", code=1, text="no"))
    for told in (script, script.restarted()):
        told.effects.clear()
        history = told.ask(ListInquiries())
        assert isinstance(history, InquiryList)
        assert [each.inquiry_id for each in history.inquiries] == ["i2", "i1"]
        assert [each.inquiry_id for each in told.ask(ListInquiries(limit=1)).inquiries] == ["i2"]


def test_inquiries_survive_in_a_snapshot_of_the_fold() -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.wait(2_000)
    listed(script, BUY, SELL)
    ask(script, inquiry(), "i2")
    script.on(RfqRefused(rfq_id="i2", kind="rejected", code=1, text="no"))
    ask(script, inquiry(), "i3")
    book = script.core.book
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Book) == book


def test_of_many_inquiries_the_newest_two_hundred_are_kept() -> None:
    script = Script().started()
    for number in range(205):
        ask(script, inquiry(), f"i{number}")
        script.on(RfqRefused(rfq_id=f"i{number}", kind="rejected", code=1, text="no"))
    assert next(iter(script.core.book.inquiries.inquiries)) == "i5"
    assert len(script.core.book.inquiries.inquiries) == 200

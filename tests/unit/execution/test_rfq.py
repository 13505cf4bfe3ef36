"""Opening by request for quote: who is asked what, which quote is taken, and what happens when none is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.execution.auto import rfq_refused
from services.execution.book import Book
from services.execution.effects import PlaceOrder
from services.execution.rfq_rows import QuotesJudged, RfqMoved, RfqRequested
from shared.messages.base import Side
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.rfq import AcceptRefused, RfqLeg, RfqParams, RfqRefused
from shared.messages.steps import RaiseAlert
from shared.messages.trades import ExecutionParams, LimitPhase, TellTrade
from tests.unit.execution.makers import FAIR, SPREAD, Makers
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, SECOND, Script, acked, leg

D = Decimal
OURS: dict[str, Side] = {CALL: "buy", HIGH_CALL: "sell"}


def started() -> tuple[Script, Makers]:
    script = Script().started()
    return script, Makers(script)


def test_the_request_has_the_sides_of_the_legs_and_is_written_before_it_is_sent() -> None:
    script, makers = started()
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = makers.asked()
    assert asked.legs == (
        RfqLeg(symbol=CALL, side="buy", quantity=D(2)),
        RfqLeg(symbol=HIGH_CALL, side="sell", quantity=D(2)),
    )
    (row,) = script.rows(RfqRequested)
    assert (row.rfq_id, row.legs, row.notional_usd) == (asked.rfq_id, asked.legs, 420_000.0)
    assert not script.take(PlaceOrder)


@pytest.mark.parametrize(("rule", "side"), [("own", "sell"), ("buy_if_all_sell", "buy")])
def test_a_structure_of_sales_may_be_asked_for_as_bought_and_the_makers_bid_is_hit(rule: Any, side: Side) -> None:
    script, makers = started()
    legs = (leg(CALL, "sell"), leg(PUT, "sell"))
    trade_id = script.open(*legs, execution_mode="rfq", rfq=RfqParams(request_sides=rule))
    (asked,) = makers.asked()
    assert {each.side for each in asked.legs} == {side}
    request_id = makers.created(asked)
    offer = makers.quote(
        request_id, {CALL: "900", PUT: "800"}, {CALL: "buy", PUT: "buy"}, quantity="1", quote_side="sell"
    )
    bid = makers.quote(
        request_id, {CALL: "995", PUT: "896"}, {CALL: "sell", PUT: "sell"}, quantity="1", quote_side="buy"
    )
    script.on(offer).on(bid).wait(5_000)
    (accept,) = makers.accepts()
    assert accept.quote_id == bid.quote_id
    makers.executed(bid)
    assert script.state(trade_id) == "OPEN"
    assert [each.open_price for each in script.trade(trade_id).legs] == [D(995), D(896)]


def test_the_best_quote_on_our_side_that_beats_the_book_is_taken_when_the_window_is_over() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    dear = makers.quote(request_id, {CALL: "1009", HIGH_CALL: "292"}, OURS)
    best = makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS)
    # The other side of a two-way quote looks cheapest by far when its sides are not looked at.
    other_way = makers.quote(request_id, {CALL: "950", HIGH_CALL: "350"}, {CALL: "sell", HIGH_CALL: "buy"})
    for quote in (dear, best, other_way):
        script.on(quote)
    script.wait(4_900)
    assert not makers.accepts()
    script.wait(100)
    (accept,) = makers.accepts()
    assert (accept.request_id, accept.quote_id) == (request_id, best.quote_id)
    (judged,) = script.rows(QuotesJudged)
    assert (judged.chosen, judged.book_cost_usd, judged.mark_cost_usd) == (best.quote_id, 1440.0, 1400.0)
    verdicts = {each.quote_id: each.verdict for each in judged.quotes}
    assert verdicts == {dear.quote_id: "good", best.quote_id: "good", other_way.quote_id: "wrong_side"}
    assert judged.quotes[0].improvement_usd == pytest.approx(28.0)
    assert judged.quotes[0].improvement_pct == pytest.approx(28.0 / 1440.0 * 100)
    makers.executed(best)
    assert script.state(trade_id) == "OPEN"
    update = script.trade(trade_id)
    assert [each.open_price for each in update.legs] == [D(1003), D(297)]
    assert update.fees_usd == D("0.6")
    assert update.fees_complete
    assert not script.placed()


def test_an_executed_quote_is_whole_at_once_and_its_fills_are_counted_once_whichever_way_they_come() -> None:
    script, makers = started()
    trade_id, quote = makers.accepting()
    block = makers.block(quote, fee=None)
    script.on(block.legs[0]).on(block)
    makers.executed(quote)
    script.on(block.legs[1])
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(2), D(2)]
    assert script.trade(trade_id).fees_usd == D("0.6")
    assert script.refolded().book == script.core.book
    # A snapshot of the fold keeps all of it.
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(script.core.book), type=Book)
    assert kept == script.core.book
    assert kept.rfqs.of_quote(quote.quote_id) is not None


@pytest.mark.parametrize(
    ("prices", "params", "verdict"),
    [
        ({CALL: "1012", HIGH_CALL: "290"}, RfqParams(), "improvement_usd_too_small"),
        ({CALL: "1003", HIGH_CALL: "297"}, RfqParams(min_improvement_usd=28.1), "improvement_usd_too_small"),
        ({CALL: "1003", HIGH_CALL: "297"}, RfqParams(min_improvement_pct=2.0), "improvement_pct_too_small"),
        ({CALL: "1009", HIGH_CALL: "292"}, RfqParams(max_over_mark_pct=1.0), "past_mark"),
        ({CALL: "1201", HIGH_CALL: "500"}, RfqParams(), "outside_grant"),
        ({CALL: "1000"}, RfqParams(), "wrong_legs"),
    ],
)
def test_a_quote_that_is_not_good_enough_is_left_and_the_trade_falls_back_with_the_reason(
    prices: dict[str, str], params: RfqParams, verdict: str
) -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting(rfq=params)
    quote = makers.quote(request_id, prices, OURS)
    script.on(quote)
    for _ in range(14):
        makers.quotes(request_id, quote)
        script.wait(1_000)
    assert not script.placed()
    makers.quotes(request_id, quote)
    script.wait(1_000)
    assert not makers.accepts()
    assert makers.withdrawn() == [request_id]
    assert makers.fallbacks() == [("open", "limit", "no_good_quote")]
    assert script.rows(QuotesJudged)[-1].quotes[0].verdict == verdict
    (order,) = script.placed()
    assert (order.symbol, order.side) == (CALL, "buy")
    assert script.state(trade_id) == "OPENING"


@pytest.mark.parametrize(
    ("floors", "bid", "verdict"),
    [
        ({"min_floor_price_usd": D(996)}, "995", "below_floor"),
        ({"min_floor_price_usd": D(995)}, "995", "good"),
        ({"min_price_pct_of_fair": 99.6}, "995", "below_floor"),
        ({"min_price_pct_of_fair": 99.4}, "995", "good"),
    ],
)
@pytest.mark.parametrize("mode", ["rfq", "auto"])
def test_a_quote_that_sells_a_leg_below_its_floor_is_left_though_the_structure_is_better_than_the_book(
    floors: dict[str, Any], bid: str, verdict: str, mode: Any
) -> None:
    script, makers = started()
    # the put is had so far below its mark that the whole is better than the book whatever the call brings
    legs = (leg(CALL, "sell"), leg(PUT, "buy"))
    params = ExecutionParams(phases=(LimitPhase(),), **floors)
    script.open(*legs, execution_mode=mode, rfq=RfqParams(), execution_params=params)
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    quote = makers.quote(request_id, {CALL: bid, PUT: "890"}, {CALL: "sell", PUT: "buy"}, quantity="1")
    script.on(quote)
    for _ in range(16):
        makers.quotes(request_id, quote)
        script.wait(1_000)
    (judged,) = script.rows(QuotesJudged)[-1].quotes
    assert (judged.verdict, len(makers.accepts())) == (verdict, int(verdict == "good"))
    assert makers.fallbacks() == ([] if verdict == "good" else [("open", "limit", "no_good_quote")])


def keys_told(script: Script) -> list[tuple[str, bool]]:
    return [(alert.subject, alert.resolved) for alert in script.take(RaiseAlert) if alert.code == "venue_auth"]


def test_a_request_refused_for_the_key_is_told_until_one_is_taken_whatever_becomes_of_orders() -> None:
    script, makers = started()
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = makers.asked()
    script.on(RfqRefused(rfq_id=asked.rfq_id, kind="auth", code=10554, text="no permission"))
    assert keys_told(script) == [("a1/rfq", False)]
    (order,) = script.placed()
    script.on(acked(order))
    assert keys_told(script) == []
    makers.collecting(ordinal=1)
    assert keys_told(script) == [("a1/rfq", True)]


@pytest.mark.parametrize(("kind", "told"), [("auth", ["a1/accept"]), ("rejected", [])])
def test_an_accept_refused_for_the_key_is_told_until_one_is_taken(kind: Any, told: list[str]) -> None:
    script, makers = started()
    _, refused = makers.accepting()
    script.on(
        AcceptRefused(request_id=refused.request_id, quote_id=refused.quote_id, kind=kind, code=10554, text="no")
    )
    assert keys_told(script) == [(subject, False) for subject in told]
    _, quote = makers.accepting(ordinal=1)
    assert keys_told(script) == []
    makers.executed(quote)
    assert keys_told(script) == [(subject, True) for subject in told]


def test_a_good_quote_after_the_window_is_taken_at_once() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    script.wait(8_000)
    script.on(makers.quote(request_id, FAIR, OURS))
    assert len(makers.accepts()) == 1


def test_a_quote_that_was_not_seen_lately_or_is_about_to_expire_is_not_taken() -> None:
    script, makers = started()
    _, request_id = makers.collecting(rfq=RfqParams(window_s=6.0, timeout_s=7.0))
    silent = makers.quote(request_id, FAIR, OURS)
    dying = makers.quote(request_id, FAIR, OURS, life_ns=8 * SECOND)
    script.on(silent).wait(4_500)
    makers.quotes(request_id, dying)
    script.wait(10_000)
    assert not makers.accepts()
    verdicts = {each.quote_id: each.verdict for each in script.rows(QuotesJudged)[-1].quotes}
    assert verdicts == {silent.quote_id: "stale", dying.quote_id: "expiring"}


def test_a_book_without_the_size_leaves_the_decision_to_mark() -> None:
    script, makers = started()
    script.chain_options = {"size": 1.0}
    _, request_id = makers.collecting(rfq=RfqParams(max_over_mark_pct=2.0, min_improvement_usd=500.0))
    far = makers.quote(request_id, {CALL: "1020", HIGH_CALL: "290"}, OURS)
    near = makers.quote(request_id, {CALL: "1012", HIGH_CALL: "291"}, OURS)
    script.on(far).on(near).wait(5_000)
    (judged,) = script.rows(QuotesJudged)
    assert judged.book_cost_usd is None
    assert [each.verdict for each in judged.quotes] == ["good", "past_mark"]
    assert len(makers.accepts()) == 1


def test_nothing_is_taken_on_a_stale_market() -> None:
    script, makers = started()
    _, request_id = makers.collecting(rfq=RfqParams(window_s=6.0))
    script.market_on = False
    script.wait(4_000).on(makers.quote(request_id, FAIR, OURS)).wait(3_000)
    assert not makers.accepts()
    script.market_on = True
    script.on(makers.quote(request_id, FAIR, OURS)).wait(1_000)
    assert len(makers.accepts()) == 1


def test_below_the_minimum_notional_no_maker_is_asked_and_the_fallback_begins_at_once() -> None:
    script, makers = started()
    script.open(leg(CALL, "buy", "0.4"), execution_mode="rfq")
    assert not makers.asked()
    assert makers.fallbacks() == [("open", "limit", "below_min_notional")]
    assert len(script.placed()) == 1


def test_no_quote_and_no_fallback_fails_the_trade_with_the_reason() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting(rfq=RfqParams(fallback=None))
    script.wait(15_000)
    assert script.state(trade_id) == "FAILED"
    assert "no maker gave a quote" in script.trade(trade_id).reason
    assert script.alerts() == ["rfq_no_quotes"]
    assert makers.withdrawn() == [request_id]


def test_a_refused_request_falls_back() -> None:
    script, makers = started()
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = makers.asked()
    script.on(RfqRefused(rfq_id=asked.rfq_id, kind="rejected", code=50_001, text="no"))
    assert makers.fallbacks() == [("open", "limit", "rfq_refused")]
    assert len(script.placed()) == 1
    script.wait(5_000)
    assert not makers.asked()


def test_a_request_that_was_one_too_many_is_made_again_a_moment_later_and_then_left() -> None:
    script, makers = started()
    script.open(*SPREAD, execution_mode="rfq")
    for _ in range(2):
        (asked,) = makers.asked()
        script.on(RfqRefused(rfq_id=asked.rfq_id, kind="throttled", code=10_000, text="too often"))
        script.wait(900)
        if not makers.fallbacks():
            assert not makers.asked()
            script.wait(200)
    assert makers.fallbacks() == [("open", "limit", "rfq_throttled")]
    assert script.core.book.rfqs.live_rfqs() == []
    assert rfq_refused(script.core.book, script.now_ns) == "", "the next trade may ask"


def test_a_refused_accept_is_not_repeated_the_request_is_withdrawn_and_the_trade_falls_back() -> None:
    script, makers = started()
    _, quote = makers.accepting()
    script.wait(50).on(
        AcceptRefused(
            request_id=quote.request_id, quote_id=quote.quote_id, kind="rejected", code=50_013, text="quote has ended"
        )
    )
    assert makers.withdrawn() == [quote.request_id]
    assert makers.fallbacks() == [("open", "limit", "accept_refused")]
    (order,) = script.placed()
    assert order.quantity == D(2)
    script.wait(5_000)
    assert not makers.accepts()


def test_a_request_that_ends_from_outside_falls_back() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    (row,) = script.rows(RfqRequested)
    script.wait(1_000).on(makers.rfq(request_id, row.legs, "cancelled"))
    assert makers.fallbacks() == [("open", "limit", "gone")]
    assert len(script.placed()) == 1


def test_a_halt_while_quotes_come_in_takes_none_and_withdraws_the_request() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    script.on(makers.quote(request_id, FAIR, OURS))
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator"))
    assert script.state(trade_id) == "FAILED"
    assert makers.withdrawn() == [request_id]
    script.ask(LiftHalts(requested_by="operator"))
    script.wait(10_000)
    assert not makers.accepts()


def test_a_silent_risk_service_voids_the_grant_before_a_quote_is_taken() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    script.on(makers.quote(request_id, FAIR, OURS))
    script.risk_on = False
    script.wait(6_000)
    assert not makers.accepts()
    assert script.state(trade_id) == "FAILED"


def test_a_grant_that_ends_while_quotes_come_in_allows_no_accept() -> None:
    script, makers = started()
    _, request_id = makers.collecting(deadline_ns=script.now_ns + 4 * SECOND)
    script.on(makers.quote(request_id, FAIR, OURS)).wait(20_000)
    assert not makers.accepts()
    assert makers.withdrawn()[0] == request_id


def test_the_operator_cancels_a_request_and_the_opening_ends() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    script.cancel(trade_id=trade_id)
    assert makers.withdrawn() == [request_id]
    script.wait(3_000)
    assert script.state(trade_id) == "FAILED"
    assert not script.placed()


def test_a_close_asked_for_while_quotes_come_in_ends_the_trade_without_any_order() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    script.on(makers.quote(request_id, FAIR, OURS))
    script.close(trade_id)
    assert script.state(trade_id) == "FAILED"
    assert makers.withdrawn() == [request_id]


def test_a_withdrawal_is_repeated_until_the_venue_answers() -> None:
    script, makers = started()
    _, request_id = makers.collecting(rfq=RfqParams(fallback=None))
    script.wait(15_000)
    assert makers.withdrawn() == [request_id]
    script.wait(2_000)
    again = makers.withdrawn()
    assert set(again) == {request_id}
    script.on(makers.rfq(request_id, (), "cancelled"))
    script.wait(60_000)
    assert not makers.withdrawn()
    assert not script.core.book.rfqs.live


def test_quotes_are_read_beside_what_is_pushed_and_only_while_they_are_collected() -> None:
    script, makers = started()
    _, request_id = makers.collecting()
    script.wait(4_500)
    assert makers.polled() == [request_id] * 5
    makers.quotes(request_id, makers.quote(request_id, FAIR, OURS))
    script.wait(600)
    assert len(makers.accepts()) == 1


def test_the_story_says_what_was_asked_what_came_and_why_it_was_taken() -> None:
    script, makers = started()
    trade_id, request_id = makers.collecting()
    quote = makers.quote(request_id, {CALL: "1003", HIGH_CALL: "297"}, OURS)
    script.on(quote).wait(2_000)
    assert "collects quotes, 1 so far" in script.trade(trade_id).reason
    script.wait(3_000)
    makers.executed(quote)
    text = "\n".join(line.text for line in script.ask(TellTrade(trade_id=trade_id)).lines)
    assert f"Makers are asked for quotes, {trade_id}-open-0: buy 2 {CALL}, sell 2 {HIGH_CALL}" in text
    assert "The structure: on the book 1440.00 USD paid, at mark 1400.00 USD paid; 1 quote is in." in text
    assert f"Quote {quote.quote_id}, 1412.00 USD paid, +28.00 USD (+1.94 %) against the book" in text
    assert f"Quote {quote.quote_id} is accepted, once." in text
    assert [row.state for row in script.rows(RfqMoved)] == ["COLLECTING", "FILLED"]

"""Closing by request for quote: only what the venue's position was just seen to hold, and nothing else at work."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.execution.rows import OrderRequested
from shared.messages.base import Side
from shared.messages.control import RaiseHalt
from shared.messages.rfq import AcceptUnknown, RfqCancelled, RfqLeg, RfqParams, VenueQuote
from shared.messages.space import JournalSpace
from shared.messages.trades import ExecutionParams
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import CALL, EXPIRY_NS, HIGH_CALL, MARKS, MS, SECOND, T0, Script, leg, position

D = Decimal
CLOSING: dict[str, Side] = {CALL: "sell", HIGH_CALL: "buy"}
FAIR = {CALL: "998", HIGH_CALL: "302"}


def opened(rfq: RfqParams | None = None, *, expiry_ns: int = EXPIRY_NS, **changes: Any) -> tuple[Script, Makers, str]:
    """A spread that was opened by request for quote, long ago."""
    script = Script(expiry_ns=expiry_ns).started()
    makers = Makers(script)
    trade_id, quote = makers.accepting(rfq=rfq or RfqParams(), **changes)
    makers.executed(quote)
    script.wait(10_000)
    script.snapshot(positions=script.positions())
    script.effects.clear()
    return script, makers, trade_id


def closing(script: Script, makers: Makers, trade_id: str) -> tuple[str, VenueQuote]:
    """The close is asked for and the request collects; its id and a good quote on it."""
    script.close(trade_id)
    (asked,) = makers.asked()
    request_id = makers.created(asked)
    quote = makers.quote(request_id, FAIR, CLOSING)
    script.on(quote)
    return request_id, quote


def test_a_close_asks_for_what_is_held_the_other_way_round_and_takes_a_quote_after_a_look_at_the_position() -> None:
    script, makers, trade_id = opened()
    script.close(trade_id)
    (asked,) = makers.asked()
    assert asked.legs == (
        RfqLeg(symbol=CALL, side="sell", quantity=D(2)),
        RfqLeg(symbol=HIGH_CALL, side="buy", quantity=D(2)),
    )
    request_id = makers.created(asked)
    quote = makers.quote(request_id, FAIR, CLOSING)
    script.on(quote).wait(5_000)
    assert not makers.accepts()
    assert "rfq_close" in script.fetches()
    script.snapshot(positions=script.positions())
    (accept,) = makers.accepts()
    assert accept.quote_id == quote.quote_id
    # What closes goes before what opens where the venue's limits hold things back.
    assert asked.closes
    assert accept.closes
    assert [order.reduce_only for order in script.rows(OrderRequested)] == [False] * 4
    makers.executed(quote)
    assert script.state(trade_id) == "CLOSED"
    update = script.trade(trade_id)
    assert [each.close_price for each in update.legs] == [D(998), D(302)]
    assert update.realized_pnl_usd == D(-8)
    assert not script.placed()
    assert script.refolded().book == script.core.book


def test_a_position_that_holds_less_is_not_closed_by_block_trade_but_up_the_stairs() -> None:
    script, makers, trade_id = opened()
    request_id, _ = closing(script, makers, trade_id)
    for _ in range(16):
        script.wait(1_000).snapshot(positions=[position(CALL, "1", 1000.0), position(HIGH_CALL, "-2", 300.0)])
    assert not makers.accepts()
    assert set(makers.withdrawn()) == {request_id}
    assert all(order.reduce_only for order in script.placed())


def test_no_quote_is_taken_on_a_look_that_shows_less_than_is_held_and_one_that_shows_all_of_it_is_enough() -> None:
    script, makers, trade_id = opened()
    request_id, quote = closing(script, makers, trade_id)
    script.wait(4_900)
    script.snapshot(positions=[position(CALL, "1", 1000.0), position(HIGH_CALL, "-2", 300.0)]).wait(200)
    assert not makers.accepts()
    makers.quotes(request_id, quote)
    script.wait(900).snapshot(positions=script.positions()).wait(200)
    assert [accept.quote_id for accept in makers.accepts()] == [quote.quote_id]


def test_a_position_that_cannot_be_read_falls_back_to_the_stairs() -> None:
    script, makers, trade_id = opened()
    request_id, quote = closing(script, makers, trade_id)
    for _ in range(16):
        makers.quotes(request_id, quote)
        script.wait(1_000)
    assert not makers.accepts()
    assert makers.fallbacks() == [("close", "limit", "position_not_fresh")]
    (order,) = script.placed()
    assert (order.symbol, order.side, order.reduce_only) == (HIGH_CALL, "buy", True)


def test_a_flatten_while_quotes_come_in_withdraws_the_request_and_goes_up_the_stairs_at_once() -> None:
    script, makers, trade_id = opened()
    request_id, _ = closing(script, makers, trade_id)
    script.ask(RaiseHalt(level="flatten", reason="drill", requested_by="operator"))
    assert set(makers.withdrawn()) == {request_id}
    (order,) = script.placed()
    assert (order.symbol, order.reduce_only) == (HIGH_CALL, True)
    script.wait(10_000)
    assert not makers.accepts()


def test_a_flatten_during_a_lost_accept_of_a_close_waits_for_its_outcome() -> None:
    script, makers, trade_id = opened()
    request_id, quote = closing(script, makers, trade_id)
    script.wait(4_900).snapshot(positions=script.positions()).wait(200)
    assert len(makers.accepts()) == 1
    script.on(AcceptUnknown(request_id=request_id, quote_id=quote.quote_id, reason="no answer"))
    script.ask(RaiseHalt(level="flatten", reason="drill", requested_by="operator"))
    script.wait(4_000)
    assert not script.placed()
    script.on(makers.block(quote))
    assert script.state(trade_id) == "CLOSED"
    assert not script.placed()


def test_a_lost_accept_of_a_close_that_never_was_is_closed_up_the_stairs() -> None:
    script, makers, trade_id = opened()
    request_id, quote = closing(script, makers, trade_id)
    script.wait(4_900).snapshot(positions=script.positions()).wait(200)
    assert len(makers.accepts()) == 1
    script.on(AcceptUnknown(request_id=request_id, quote_id=quote.quote_id, reason="no answer"))
    script.wait(8_000).on(RfqCancelled(request_id=request_id)).wait(3_000)
    makers.block_list()
    script.snapshot(positions=script.positions()).wait(1_000)
    assert makers.fallbacks() == [("close", "limit", "accept_lost")]
    (order,) = script.placed()
    assert (order.symbol, order.quantity) == (HIGH_CALL, D(2))
    assert script.held(trade_id) == [D(2), D(2)]


def test_the_operator_cancels_the_request_of_a_close_and_the_close_goes_on_up_the_stairs() -> None:
    script, makers, trade_id = opened()
    request_id, _ = closing(script, makers, trade_id)
    script.cancel(trade_id=trade_id)
    assert set(makers.withdrawn()) == {request_id}
    assert makers.fallbacks() == [("close", "limit", "withdrawn")]
    assert len(script.placed()) == 1


def test_on_a_full_disk_no_quote_is_taken_and_the_close_goes_up_the_stairs_where_orders_reduce_only() -> None:
    script, makers, trade_id = opened()
    request_id, _ = closing(script, makers, trade_id)
    script.wait(4_900).snapshot(positions=script.positions())
    script.on(JournalSpace(level="memory", reason="full")).wait(2_000)
    assert not makers.accepts()
    assert set(makers.withdrawn()) == {request_id}
    assert makers.fallbacks() == [("close", "limit", "journal_full")]
    assert all(order.reduce_only for order in script.placed())


def test_closes_by_request_can_be_switched_off() -> None:
    script, makers, trade_id = opened(RfqParams(closes=False))
    script.close(trade_id)
    assert not makers.asked()
    assert len(script.placed()) == 1


def test_a_restart_while_a_close_collects_goes_on_with_the_same_request() -> None:
    script, makers, trade_id = opened()
    request_id, quote = closing(script, makers, trade_id)
    script.wait(2_000).restarted().snapshot(positions=script.positions())
    script.wait(2_900)
    makers.quotes(request_id, quote)
    script.snapshot(positions=script.positions()).wait(200)
    assert not makers.asked()
    assert len(makers.accepts()) == 1


def test_what_closes_is_said_to_close_so_that_it_is_let_through_where_what_opens_is_held_back() -> None:
    script = Script().started()
    makers = Makers(script)
    script.open(leg(CALL, "buy", "2"), leg(HIGH_CALL, "sell", "2"), execution_mode="rfq", rfq=RfqParams())
    assert [each.closes for each in makers.asked()] == [False]
    script, makers, trade_id = opened()
    script.close(trade_id)
    (asked,) = makers.asked()
    assert asked.closes
    request_id = makers.created(asked)
    quote = makers.quote(request_id, FAIR, CLOSING)
    script.on(quote).wait(4_900)
    makers.quotes(request_id, quote)
    script.snapshot(positions=script.positions()).wait(1_000)
    assert [each.closes for each in makers.accepts()] == [True]


def test_a_floor_of_opening_sales_says_nothing_of_what_a_close_sells() -> None:
    script, makers, trade_id = opened(execution_params=ExecutionParams(min_floor_price_usd=D(300)))
    script.chain_options = {"marks": {**MARKS, CALL: 200.0, HIGH_CALL: 60.0}}
    script.wait(1_000).close(trade_id)
    (asked,) = makers.asked()
    quote = makers.quote(makers.created(asked), {CALL: "199", HIGH_CALL: "61"}, CLOSING)
    script.on(quote).wait(5_000).snapshot(positions=script.positions())
    assert [accept.quote_id for accept in makers.accepts()] == [quote.quote_id]


def near_the_end(before_s: int) -> tuple[Script, Makers, str]:
    """A spread opened by request for quote, so long before its legs stop trading."""
    script, makers, trade_id = opened(expiry_ns=T0 + 3_600 * SECOND)
    last_ns = script.core.book.trades[trade_id].legs[0].instrument.last_trade_ns
    script.wait((last_ns - before_s * SECOND - script.now_ns) // MS)
    script.snapshot(positions=script.positions())
    script.effects.clear()
    return script, makers, trade_id


def test_shortly_before_trading_ends_no_maker_is_asked_and_the_close_goes_up_the_stairs_at_once() -> None:
    script, makers, trade_id = near_the_end(12)
    script.close(trade_id)
    assert not makers.asked()
    assert makers.fallbacks() == [("close", "limit", "trading_ends")]
    (order,) = script.placed()
    assert (order.symbol, order.side, order.quantity, order.reduce_only) == (HIGH_CALL, "buy", D(2), True)


def test_a_request_that_collects_when_trading_is_about_to_end_is_withdrawn_and_the_stairs_have_their_time() -> None:
    script, makers, trade_id = near_the_end(183)
    request_id, _ = closing(script, makers, trade_id)
    script.wait(2_900).snapshot(positions=script.positions())
    assert not script.placed()
    assert not makers.withdrawn()
    script.wait(100)
    assert not makers.accepts()
    assert set(makers.withdrawn()) == {request_id}
    assert makers.fallbacks() == [("close", "limit", "trading_ends")]
    (order,) = script.placed()
    assert (order.symbol, order.quantity) == (HIGH_CALL, D(2))


def test_a_lost_accept_is_waited_for_past_the_handover_as_it_may_have_closed_everything() -> None:
    script, makers, trade_id = near_the_end(186)
    request_id, quote = closing(script, makers, trade_id)
    script.wait(4_900).snapshot(positions=script.positions()).wait(200)
    assert len(makers.accepts()) == 1
    script.on(AcceptUnknown(request_id=request_id, quote_id=quote.quote_id, reason="no answer"))
    script.wait(6_000)
    assert not script.placed()
    script.on(RfqCancelled(request_id=request_id)).wait(3_000)
    makers.block_list()
    script.snapshot(positions=script.positions()).wait(1_000)
    (order,) = script.placed()
    assert (order.symbol, order.quantity) == (HIGH_CALL, D(2))

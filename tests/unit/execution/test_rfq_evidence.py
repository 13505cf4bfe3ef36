"""Requests and accepts whose outcome is not known: nothing is repeated, and only evidence decides."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest

from services.execution.effects import AcceptQuote, CreateRfq
from services.execution.rfq_rows import RfqMoved, RfqSighted
from services.execution.rows import FillAssumed, OrderRequested
from shared.messages.control import RaiseHalt
from shared.messages.rfq import (
    AcceptUnknown,
    BlockTradesFailed,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqParams,
    RfqsFailed,
    RfqsFetched,
    RfqUnknown,
    VenueQuote,
)
from tests.unit.execution.makers import FAIR, SPREAD, Makers
from tests.unit.execution.play import CALL, HIGH_CALL, Script, leg, position

D = Decimal


def lost(**changes: object) -> tuple[Script, Makers, str, VenueQuote]:
    """A trade whose accept got no answer."""
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting(**changes)
    script.wait(3_000).on(
        AcceptUnknown(request_id=quote.request_id, quote_id=quote.quote_id, reason="no answer within 3 s")
    )
    return script, makers, trade_id, quote


def states(script: Script) -> list[str]:
    return [row.state for row in script.rows(RfqMoved)]


def test_a_lost_accept_is_neither_repeated_nor_replaced_and_nothing_falls_back() -> None:
    script, makers, trade_id, quote = lost()
    for _ in range(60):
        script.wait(1_000)
        makers.quotes(quote.request_id, quote)
    assert states(script)[-1] == "ACCEPT_UNKNOWN"
    assert not makers.accepts()
    assert not makers.asked()
    assert not makers.fallbacks()
    assert not script.placed()
    assert "is not known yet" in script.trade(trade_id).reason
    assert script.alerts() == ["accept_unresolved"]
    assert script.core.book.trades[trade_id].state == "OPENING"


def test_the_orders_of_a_lost_accept_count_as_exposure_and_are_not_asked_about_by_an_id_the_venue_never_saw() -> None:
    script, makers, trade_id, _ = lost()
    script.wait(10_000)
    assert [order.state for order in script.core.book.unsettled_of(script.core.book.trades[trade_id])] == [
        "UNKNOWN",
        "UNKNOWN",
    ]
    assert not script.queries()
    assert not script.cancelled()
    assert makers.block_queries()
    assert script.trade(trade_id).grant_open


Evidence = Callable[[Script, Makers, VenueQuote], None]


def _late_answer(script: Script, makers: Makers, quote: VenueQuote) -> None:
    makers.executed(quote)


def _block_trade_pushed(script: Script, makers: Makers, quote: VenueQuote) -> None:
    script.on(makers.block(quote))


def _block_trade_listed(script: Script, makers: Makers, quote: VenueQuote) -> None:
    makers.block_list(makers.block(quote))


def _fills_of_type_14(script: Script, makers: Makers, quote: VenueQuote) -> None:
    for fill in makers.block(quote).legs:
        script.on(fill)


def _fills_read(script: Script, makers: Makers, quote: VenueQuote) -> None:
    script.snapshot(fills=makers.block(quote).legs, positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])


def _fills_pushed_and_then_read(script: Script, makers: Makers, quote: VenueQuote) -> None:
    """The trade channel of the venue tells no type: only the list says that they are of a block trade."""
    for fill in makers.block(quote).legs:
        script.on(msgspec.structs.replace(fill, is_block=False, fee_usd=None))
    assert states(script)[-1] == "ACCEPT_UNKNOWN"
    _fills_read(script, makers, quote)


@pytest.mark.parametrize(
    "evidence",
    [
        _late_answer,
        _block_trade_pushed,
        _block_trade_listed,
        _fills_of_type_14,
        _fills_read,
        _fills_pushed_and_then_read,
    ],
)
def test_evidence_of_execution_opens_the_trade_with_the_fills_of_the_block_trade(evidence: Evidence) -> None:
    script, makers, trade_id, quote = lost()
    script.wait(2_000)
    evidence(script, makers, quote)
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(2), D(2)]
    assert states(script)[-1] == "FILLED"
    assert not script.placed()
    assert script.refolded().book == script.core.book


@pytest.mark.parametrize("what", ["quote", "request"])
def test_a_push_that_it_was_executed_holds_everything_until_the_executions_are_read(what: str) -> None:
    script, makers, trade_id, quote = lost()
    makers.block_queries()
    if what == "quote":
        script.on(msgspec.structs.replace(quote, state="filled"))
    else:
        script.on(makers.rfq(quote.request_id, (), "filled"))
    assert [row.what for row in script.rows(RfqSighted)] == ["executed"]
    script.wait(1_000)
    assert makers.block_queries()
    script.on(RfqCancelled(request_id=quote.request_id))
    makers.block_list()
    script.wait(30_000)
    assert script.state(trade_id) == "OPENING"
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"


def test_executed_for_certain_and_executions_never_told_counts_what_the_quote_said_after_a_minute() -> None:
    script, makers, trade_id, quote = lost()
    script.on(msgspec.structs.replace(quote, state="filled"))
    for _ in range(61):
        script.wait(1_000)
        script.on(BlockTradesFailed(reason="down"))
    assert len(script.rows(FillAssumed)) == 2
    assert script.state(trade_id) == "OPEN"
    assert [each.open_price for each in script.trade(trade_id).legs] == [D(1000), D(300)]
    makers.block_list(makers.block(quote))
    assert script.held(trade_id) == [D(2), D(2)]
    assert script.trade(trade_id).fees_usd == D("0.6")


def test_where_the_maker_took_the_quote_back_the_request_is_withdrawn_all_the_same() -> None:
    script, makers, _, quote = lost()
    script.on(msgspec.structs.replace(quote, state="cancelled"))
    assert [row.what for row in script.rows(RfqSighted)] == ["quote_gone"]
    for _ in range(4):
        script.wait(3_000)
        makers.block_list()
        script.snapshot()
    script.wait(1_000)
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]
    assert set(makers.withdrawn()) == {quote.request_id}
    assert states(script)[-1] == "CANCELLING"
    script.on(RfqCancelled(request_id=quote.request_id))
    assert states(script)[-1] == "CANCELLED"


def test_once_the_accept_cannot_arrive_any_more_the_request_is_withdrawn_so_that_it_never_will() -> None:
    script, makers, trade_id, quote = lost()
    script.wait(1_000)
    assert not makers.withdrawn()
    script.wait(6_000)
    assert set(makers.withdrawn()) == {quote.request_id}
    script.on(RfqCancelled(request_id=quote.request_id))
    # Gone alone is not enough: the executions must be absent from lists that were asked for after it.
    script.wait(1_000)
    makers.block_list()
    script.snapshot()
    assert not makers.fallbacks()
    script.wait(2_000)
    makers.block_list()
    script.snapshot().wait(1_000)
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]
    assert states(script)[-1] == "CANCELLED"
    assert len(script.placed()) == 1
    assert script.state(trade_id) == "OPENING"


def test_a_request_that_cannot_be_withdrawn_any_more_is_looked_up_and_its_state_is_evidence() -> None:
    script, makers, _, quote = lost()
    script.wait(7_000)
    makers.rfq_queries()
    script.on(RfqCancelRefused(request_id=quote.request_id, code=10_537, text="it is CANCELLED"))
    assert makers.rfq_queries()
    assert not script.rows(RfqSighted)
    (legs,) = [rfq.legs for rfq in script.core.book.rfqs.live_rfqs()]
    makers.rfq_list(makers.rfq(quote.request_id, legs, "cancelled"))
    assert [row.what for row in script.rows(RfqSighted)] == ["gone"]
    script.wait(3_000)
    makers.block_list()
    script.snapshot().wait(1_000)
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]


def test_a_list_that_does_not_reach_back_far_enough_says_nothing_of_a_lost_create() -> None:
    script = Script().started()
    makers = Makers(script)
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = makers.asked()
    script.on(RfqUnknown(rfq_id=asked.rfq_id, reason="no answer")).wait(28_000)
    script.on(RfqsFetched(asked_ns=script.now_ns, since_ns=script.now_ns - 1, rfqs=()))
    assert "ABSENT" not in states(script)
    makers.rfq_list()
    assert "ABSENT" in states(script)


def test_without_any_sign_a_lost_accept_counts_as_never_executed_only_thirty_seconds_after_the_quote() -> None:
    script, makers, trade_id, quote = lost()
    expired_ns = quote.expiry_ns + 30 * 1_000_000_000
    while script.now_ns + 1_000_000_000 < expired_ns:
        script.wait(1_000)
        script.on(RfqCancelRefused(request_id=quote.request_id, code=1, text="?"))
        makers.block_list()
        script.snapshot()
    assert not makers.fallbacks()
    for _ in range(4):
        script.wait(1_000)
        makers.block_list()
        script.snapshot()
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]
    assert script.state(trade_id) == "OPENING"


def test_the_venues_positions_have_the_last_word_over_lists_that_show_nothing() -> None:
    script, makers, trade_id, quote = lost()
    script.wait(7_000).on(RfqCancelled(request_id=quote.request_id)).wait(3_000)
    makers.block_list()
    script.snapshot(positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])
    assert not makers.fallbacks()
    assert [row.what for row in script.rows(RfqSighted)] == ["gone", "executed"]
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"


def test_positions_that_hold_a_part_of_it_decide_nothing_until_they_hold_all_or_none() -> None:
    script, makers, trade_id, quote = lost()
    script.wait(7_000).on(RfqCancelled(request_id=quote.request_id)).wait(3_000)
    makers.block_list()
    for _ in range(3):
        script.snapshot(positions=[position(CALL, "2")])
        script.wait(10_000)
        makers.block_list()
    assert not makers.fallbacks()
    script.snapshot(positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])
    assert [row.what for row in script.rows(RfqSighted)] == ["gone", "executed"]
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"


def test_lists_that_cannot_be_read_shorten_nothing_and_decide_nothing_before_the_fills_were_compared() -> None:
    script, makers, _, quote = lost()
    script.wait(7_000).on(RfqCancelled(request_id=quote.request_id))
    expired_ns = quote.expiry_ns + 30 * 1_000_000_000
    while script.now_ns + 1_000_000_000 < expired_ns:
        script.wait(1_000).on(BlockTradesFailed(reason="404"))
        script.snapshot()
    assert not makers.fallbacks()
    script.wait(2_000).on(BlockTradesFailed(reason="404"))
    assert not makers.fallbacks()
    script.snapshot().wait(1_000)
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]


def test_positions_that_cannot_say_as_a_leg_was_just_traded_decide_nothing_and_are_read_again() -> None:
    script = Script().started()
    other_id = script.opened(leg(CALL, "buy"))
    makers = Makers(script)
    trade_id, quote = makers.accepting(ordinal=1)
    script.wait(3_000).on(
        AcceptUnknown(request_id=quote.request_id, quote_id=quote.quote_id, reason="no answer within 3 s")
    )
    script.wait(7_000).on(RfqCancelled(request_id=quote.request_id)).wait(2_500)
    script.close(other_id)
    (closing,) = script.placed()
    assert (closing.symbol, closing.side) == (CALL, "sell")
    script.fills_all(closing, 77).wait(500)
    makers.block_list()
    script.fetches()
    script.snapshot(positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])
    assert not makers.fallbacks()
    assert not script.rows(RfqSighted)[1:]
    script.wait(4_000)
    assert script.fetches()
    script.snapshot(positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])
    assert [row.what for row in script.rows(RfqSighted)] == ["gone", "executed"]
    assert not makers.fallbacks()
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"


def test_an_execution_after_it_was_given_up_is_the_trades_own_and_alarmed() -> None:
    script, makers, trade_id, quote = lost(rfq=RfqParams(fallback=None))
    script.wait(7_000).on(RfqCancelled(request_id=quote.request_id)).wait(3_000)
    makers.block_list()
    script.snapshot().wait(1_000)
    assert "waits for late executions" in script.trade(trade_id).reason
    script.wait(2_000)
    assert script.state(trade_id) == "FAILED"
    script.on(makers.block(quote))
    assert script.held(trade_id) == [D(2), D(2)]
    assert script.state(trade_id) == "BROKEN"
    assert "order_resurrected" in script.alerts()
    assert states(script)[-1] == "FILLED"
    assert script.refolded().book == script.core.book


def test_a_block_trade_told_without_one_of_its_legs_waits_for_the_missing_one() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    makers.executed(quote, legs=1)
    assert script.state(trade_id) == "OPENING"
    assert script.held(trade_id) == [D(2), D(0)]
    script.wait(1_000)
    assert makers.block_queries()
    assert not script.placed()
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"


def test_a_block_trade_on_the_wrong_side_is_alarmed_and_not_counted() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    block = makers.block(quote)
    turned = tuple(msgspec.structs.replace(fill, side="sell" if fill.side == "buy" else "buy") for fill in block.legs)
    script.on(
        QuoteAccepted(
            request_id=quote.request_id,
            quote_id=quote.quote_id,
            trade=msgspec.structs.replace(block, legs=turned),
        )
    )
    assert script.held(trade_id) == [D(0), D(0)]
    assert script.alerts() == ["block_trade_mismatch", "block_trade_mismatch"]
    for _ in range(80):
        script.wait(1_000)
        makers.block_list(msgspec.structs.replace(block, legs=turned))
    assert not script.placed()
    assert not script.rows(FillAssumed)
    assert script.state(trade_id) == "OPENING"


def test_an_accept_by_somebody_else_on_our_request_is_alarmed_and_not_counted() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, request_id = makers.collecting()
    theirs = makers.quote(request_id, FAIR, {CALL: "buy", HIGH_CALL: "sell"})
    script.on(makers.block(theirs))
    assert script.alerts() == ["block_trade_foreign"]
    assert script.held(trade_id) == [D(0), D(0)]


def test_an_accept_by_somebody_else_means_that_a_lost_one_of_ours_was_not_executed() -> None:
    script, makers, trade_id, quote = lost()
    script.on(makers.rfq(quote.request_id, (), "filled"))
    theirs = makers.quote(quote.request_id, FAIR, {CALL: "buy", HIGH_CALL: "sell"})
    makers.block_list(makers.block(theirs))
    assert script.held(trade_id) == [D(0), D(0)]
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]
    assert "block_trade_foreign" in script.alerts()


def test_a_halt_during_a_lost_accept_unwinds_once_it_is_known_to_be_executed() -> None:
    script, makers, trade_id, quote = lost()
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator"))
    script.wait(5_000)
    assert script.state(trade_id) == "UNWINDING"
    assert not script.placed()
    script.on(makers.block(quote)).wait(4_000)
    script.snapshot(positions=[position(CALL, "2"), position(HIGH_CALL, "-2")])
    # The short leg goes first.
    (order,) = script.placed()
    assert (order.symbol, order.side, order.reduce_only) == (HIGH_CALL, "buy", True)


@pytest.mark.parametrize("at_ms", [0, 2_000, 5_000])
def test_a_restart_takes_up_a_request_where_it_was(at_ms: int) -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, request_id = makers.collecting()
    script.wait(min(at_ms, 4_900))
    script.restarted().snapshot()
    assert not makers.asked()
    quote = makers.quote(request_id, FAIR, {CALL: "buy", HIGH_CALL: "sell"})
    script.wait(5_000 - at_ms)
    assert request_id in makers.polled()
    makers.quotes(request_id, quote)
    script.wait(1_000)
    (accept,) = makers.accepts()
    assert accept.quote_id == quote.quote_id
    makers.executed(quote)
    assert script.state(trade_id) == "OPEN"


def test_a_restart_between_the_accept_and_its_answer_asks_and_does_not_accept_again() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    script.restarted()
    assert not script.take(AcceptQuote)
    assert states(script)[-1] == "ACCEPT_UNKNOWN"
    assert makers.block_queries()
    script.snapshot().wait(2_000)
    makers.block_list(makers.block(quote))
    assert script.state(trade_id) == "OPEN"
    assert not makers.accepts()


def test_an_accept_without_any_answer_is_in_doubt_after_the_guard() -> None:
    script = Script().started()
    makers = Makers(script)
    _, _ = makers.accepting()
    script.wait(7_900)
    assert states(script)[-1] == "COLLECTING"
    script.wait(200)
    assert states(script)[-1] == "ACCEPT_UNKNOWN"


def test_a_lost_create_is_replaced_once_and_the_orphan_is_withdrawn_when_it_is_found() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id = script.open(*SPREAD, execution_mode="rfq")
    (first,) = makers.asked()
    script.wait(3_000).on(RfqUnknown(rfq_id=first.rfq_id, reason="no answer"))
    (second,) = makers.asked()
    assert second.legs == first.legs
    assert second.rfq_id != first.rfq_id
    # The push of the second may overtake its answer and is not taken for the lost one.
    script.on(makers.rfq("222", second.legs))
    assert not makers.withdrawn()
    assert makers.created(second, "222") == "222"
    assert not makers.withdrawn()
    script.on(makers.rfq("111", first.legs))
    assert makers.withdrawn() == ["111"]
    script.on(RfqCancelled(request_id="111"))
    quote = makers.quote("222", FAIR, {CALL: "buy", HIGH_CALL: "sell"})
    script.on(quote).wait(5_000)
    makers.executed(quote)
    assert script.state(trade_id) == "OPEN"
    assert len([entry for entry in script.entries if isinstance(entry.row, OrderRequested)]) == 2
    assert not script.core.book.rfqs.live


def test_a_create_lost_twice_falls_back_and_orphans_are_still_looked_for() -> None:
    script = Script().started()
    makers = Makers(script)
    script.open(*SPREAD, execution_mode="rfq")
    for _ in range(2):
        (asked,) = makers.asked()
        script.wait(3_000).on(RfqUnknown(rfq_id=asked.rfq_id, reason="no answer"))
    assert not makers.asked()
    assert makers.fallbacks() == [("open", "limit", "create_lost")]
    assert makers.rfq_queries()
    script.wait(2_000)
    makers.rfq_list(makers.rfq("111", asked.legs, at_ns=script.now_ns - 4_000_000_000))
    assert makers.withdrawn() == ["111"]
    script.wait(30_000).on(RfqCancelled(request_id="111"))
    makers.rfq_list()
    assert not script.core.book.rfqs.live
    assert sorted(states(script)) == ["ABSENT", "CANCELLED", "CANCELLING", "UNKNOWN", "UNKNOWN"]


def test_a_request_made_by_hand_is_left_alone() -> None:
    script = Script().started()
    makers = Makers(script)
    _, request_id = makers.collecting()
    (row,) = [rfq.legs for rfq in script.core.book.rfqs.live_rfqs()]
    script.on(makers.rfq("by hand", row)).wait(3_000)
    makers.rfq_list(makers.rfq("by hand", row))
    script.wait(1_000)
    assert request_id != "by hand"
    assert not makers.withdrawn()


def test_an_account_that_cannot_list_its_requests_is_not_asked_again_and_again() -> None:
    script = Script().started()
    makers = Makers(script)
    script.open(*SPREAD, execution_mode="rfq")
    (asked,) = makers.asked()
    script.on(RfqUnknown(rfq_id=asked.rfq_id, reason="no answer"))
    assert makers.rfq_queries()
    script.on(RfqsFailed(reason="404", unsupported=True)).wait(60_000)
    assert not makers.rfq_queries()


def test_a_restart_before_the_answer_to_a_create_replaces_it() -> None:
    script = Script().started()
    makers = Makers(script)
    script.open(*SPREAD, execution_mode="rfq")
    (first,) = makers.asked()
    script.restarted()
    assert not script.take(CreateRfq)
    script.snapshot()
    (second,) = makers.asked()
    assert second.rfq_id != first.rfq_id

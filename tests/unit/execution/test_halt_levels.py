"""What each level of a halt does beyond the last: openings end at every one, `cancel_all` also takes back every
request for quote and looks at once for orders that nobody knows, `flatten` closes. Closes go on at all of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.execution.effects import CancelRfq
from shared.ids import OrderKey, client_order_id
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.inquiries import StructureQuotes
from shared.messages.quoting import OrdersChanged
from shared.messages.steps import Reply
from shared.messages.trades import HaltLevel, Refusal
from shared.messages.venue import VenueOrder
from tests.unit.execution.play import CALL, Script, acked, leg, seen
from tests.unit.execution.test_inquiries import BUY, answers, ask, created, listed
from tests.unit.execution.test_quoting import change, codes, holding, place, quoting, wish
from tests.unit.execution.test_rfq_close import closing
from tests.unit.execution.test_rfq_close import opened as opened_by_rfq

LEVELS: list[HaltLevel] = ["no_new_trades", "cancel_all", "flatten"]
CANCELLING: list[HaltLevel] = ["cancel_all", "flatten"]


def halt(script: Script, level: HaltLevel) -> None:
    script.ask(RaiseHalt(level=level, reason="venue acts up", requested_by="operator"))


def lift(script: Script) -> None:
    script.ask(LiftHalts(requested_by="operator"))


@pytest.mark.parametrize("level", LEVELS)
def test_at_every_level_quotes_of_both_sides_are_withdrawn_and_none_is_placed_again(level: HaltLevel) -> None:
    script = Script().started()
    trade_id = quoting(script)
    holding(script, trade_id)
    resting = place(script, trade_id, wish("1", "980"), wish("1", "1010", "sell"))
    script.effects.clear()
    halt(script, level)
    assert sorted(script.cancelled()) == sorted(order.client_order_id for order in resting)
    answer = change(script, trade_id, place=(wish("1", "980"), wish("1", "1010", "sell")))
    assert isinstance(answer, OrdersChanged)
    assert not set(codes(answer)) - {"halted", "not_quoting"}
    assert not script.placed()
    for order in resting:
        script.on(seen(order, "cancelled"))
    script.wait(5_000)
    placed = script.placed()
    assert [order.reduce_only for order in placed] == ([True] if level == "flatten" else [])


def test_no_new_trades_lets_an_inquiry_go_on_and_another_be_asked() -> None:
    script = Script().started()
    ask(script)
    created(script)
    halt(script, "no_new_trades")
    assert not script.take(CancelRfq)
    script.take(Reply)
    script.wait(2_000)
    listed(script, BUY)
    (answer,) = answers(script)
    assert isinstance(answer, StructureQuotes)
    assert answer.reason == ""
    ask(script, request_id="i2")
    assert not answers(script), "it collects"


@pytest.mark.parametrize("level", CANCELLING)
def test_from_cancel_all_on_an_inquiry_is_withdrawn_at_once_and_none_is_asked_until_it_is_lifted(
    level: HaltLevel,
) -> None:
    script = Script().started()
    ask(script)
    created(script)
    script.on(BUY)
    script.take(Reply)
    halt(script, level)
    assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]
    (answer,) = [each for each in answers(script) if isinstance(each, StructureQuotes)]
    assert (answer.quote_count, answer.reason) == (
        1,
        f"withdrawn early by halt {level} by operator: venue acts up",
    )
    ask(script, request_id="i2")
    (refused,) = answers(script)
    assert isinstance(refused, Refusal)
    assert refused.code == "halted"
    script.restarted()
    ask(script, request_id="i3")
    assert [each.code for each in answers(script)] == ["halted"]
    lift(script)
    script.take(Reply)
    ask(script, request_id="i4")
    assert not answers(script), "it collects"


def test_an_inquiry_that_the_venue_takes_after_the_halt_is_withdrawn_then() -> None:
    script = Script().started()
    ask(script)
    halt(script, "cancel_all")
    created(script)
    assert script.take(CancelRfq) == [CancelRfq(request_id="v1")]


def test_no_new_trades_leaves_the_request_of_a_close_with_the_makers() -> None:
    script, makers, trade_id = opened_by_rfq()
    _, quote = closing(script, makers, trade_id)
    halt(script, "no_new_trades")
    script.wait(5_000).snapshot(positions=script.positions())
    assert not makers.withdrawn()
    assert [accept.quote_id for accept in makers.accepts()] == [quote.quote_id]


def test_cancel_all_withdraws_the_request_of_a_close_which_goes_on_up_the_stairs_at_once() -> None:
    script, makers, trade_id = opened_by_rfq()
    request_id, _ = closing(script, makers, trade_id)
    halt(script, "cancel_all")
    assert set(makers.withdrawn()) == {request_id}
    assert makers.fallbacks() == [("close", "limit", "withdrawn")]
    (order,) = script.placed()
    assert (order.reduce_only, script.order(order).purpose) == (True, "close")
    script.wait(10_000)
    assert not makers.accepts()
    assert script.refolded().book == script.core.book


def test_a_close_that_is_asked_for_under_cancel_all_asks_no_maker() -> None:
    script, makers, trade_id = opened_by_rfq()
    halt(script, "cancel_all")
    script.close(trade_id)
    assert not makers.asked()
    (order,) = script.placed()
    assert order.reduce_only


@pytest.mark.parametrize("level", ["no_new_trades", "cancel_all"])
def test_below_flatten_a_closing_order_that_rests_stays_and_an_open_trade_is_held(level: HaltLevel) -> None:
    script = Script().started()
    held, leaving = script.opened(leg(CALL, "buy")), script.opened(leg(CALL, "buy"), ordinal=1)
    script.close(leaving)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    halt(script, level)
    script.wait(500)
    assert not script.cancelled()
    assert (script.state(held), script.state(leaving)) == ("OPEN", "CLOSING")


@pytest.mark.parametrize(("level", "looks"), [("no_new_trades", False), ("cancel_all", True), ("flatten", True)])
def test_from_cancel_all_on_orders_of_ours_that_no_row_speaks_of_are_looked_for_at_once_and_withdrawn(
    level: HaltLevel, looks: bool
) -> None:
    script = Script().started()
    script.wait(5_000)
    script.fetches()
    halt(script, level)
    assert ("halt" in script.fetches()) == looks
    if looks:
        lost = order_of_no_trade()
        script.snapshot(orders=[lost])
        assert script.cancelled() == [lost.client_order_id]


def order_of_no_trade() -> VenueOrder:
    """An order that is ours by its id alone."""
    key = OrderKey(desk=7, trade_number=12, leg_index=0, purpose="open", attempt=0)
    return VenueOrder(
        venue_order_id=5,
        client_order_id=client_order_id(key),
        symbol=CALL,
        side="buy",
        quantity=Decimal(1),
        filled_quantity=Decimal(0),
        price=Decimal(10),
        average_price=None,
        state="new",
        reduce_only=False,
        created_ns=0,
        updated_ns=0,
    )

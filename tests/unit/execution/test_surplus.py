"""An order that was believed gone trades after another took its place: the surplus is reduced, or kept, and told."""

from __future__ import annotations

import itertools
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.rows import LegOverfilled
from shared.messages.control import RaiseHalt
from shared.messages.reducing import ReduceTrade, ReductionAccepted
from shared.messages.rfq import AcceptUnknown, RfqCancelled
from shared.messages.steps import RaiseAlert
from shared.messages.trades import ExecutionParams, LimitPhase, TellTrade
from shared.messages.venue import NewOrder, OrderRefused, OutcomeUnknown
from tests.unit.execution.makers import Makers
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    MARKS,
    PUT,
    Script,
    acked,
    fill,
    gone,
    leg,
    position,
    seen,
)

RESTING = ExecutionParams(phases=(LimitPhase(pricing="mid", duration_s=900.0, reprice_interval_s=900.0),))


def _given_up(script: Script, order: NewOrder) -> None:
    """Nobody knows whether the order arrived, and no list of the venue's shows it for as long as it is valid."""
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    for _ in range(30):
        for number in script.queries():
            if number == order.client_order_id:
                script.queried(order, None)
        if script.core.book.orders[order.client_order_id].state == "NEVER_PLACED":
            return
        script.wait(1_000)
    raise AssertionError("the order was not given up")


def overfilled(script: Script, side: Any = "buy", late: str = "0.4", **changes: Any) -> tuple[str, NewOrder]:
    """A trade of one leg that is open at 1, and then the order that had been given up trades."""
    trade_id = script.open(leg(CALL, side), **changes)
    (lost,) = script.placed()
    _given_up(script, lost)
    script.wait(3_000)
    (second,) = script.placed()
    script.fills_all(second, 2)
    assert script.state(trade_id) == "OPEN"
    script.effects.clear()
    script.on(fill(lost, 1, late)).on(gone(script, lost.client_order_id))
    return trade_id, lost


def _confirmed(script: Script) -> None:
    """The venue's positions are looked at, late enough to hold all that was traded."""
    script.wait(6_000)
    assert "surplus" in script.fetches()
    script.snapshot(positions=script.positions())


def test_what_is_too_much_is_reduced_once_the_venue_shows_that_it_holds_it() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    assert [(row.leg_index, row.quantity, row.done) for row in script.rows(LegOverfilled)] == [
        (0, D("0.4"), "reducing")
    ]
    assert "trade_overfilled" in script.alerts()
    script.wait(4_000)
    assert script.placed() == []
    _confirmed(script)
    (back,) = script.placed()
    assert (back.symbol, back.side, back.quantity, back.reduce_only) == (CALL, "sell", D("0.4"), True)
    script.fills_all(back, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])
    script.wait(60_000)
    assert script.placed() == []
    assert (script.state(trade_id), script.core.book) == ("OPEN", script.refolded().book)


def test_a_trade_whose_surplus_was_reduced_is_closed_for_what_it_holds() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    _confirmed(script)
    (back,) = script.placed()
    script.fills_all(back, 3)
    script.wait(6_000).snapshot(positions=script.positions())
    script.close(trade_id)
    script.wait(1_000)
    (close,) = script.placed()
    assert close.quantity == D(1)
    script.fills_all(close, 4)
    told = script.trade(trade_id)
    assert (told.state, told.legs[0].closed_quantity) == ("CLOSED", D("1.4"))
    assert told.close_cost_usd == -close.price * D(1), "what was reduced before is no part of the close"
    assert script.refolded().book == script.core.book


def test_best_effort_keeps_what_is_too_much_and_says_so() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script, policy="best_effort")
    assert [row.done for row in script.rows(LegOverfilled)] == ["kept"]
    assert "trade_overfilled" in script.alerts()
    script.wait(10_000)
    script.snapshot(positions=script.positions()).wait(300_000)
    assert script.placed() == []
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D("1.4")])
    lines = [line.text for line in script.ask(TellTrade(trade_id=trade_id)).lines]
    assert "0.4 more of leg 0 was filled than the trade was to hold: it is kept, as best effort says." in lines


def test_an_execution_that_the_venues_position_does_not_show_is_not_made_good_with_what_is_to_be_kept() -> None:
    script = Script().started()
    overfilled(script)
    for _ in range(3):
        script.wait(7_000).snapshot(positions=[position(CALL, "1", 1000.0)])
    assert script.placed() == []


def _with_another_order(script: Script) -> tuple[str, NewOrder]:
    """The surplus, and a trade of somebody else whose order rests in the same option."""
    trade_id, _ = overfilled(script)
    script.open(leg(CALL, "buy", "0.4"), ordinal=1, execution_params=RESTING)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    script.effects.clear()
    return trade_id, order


def test_orders_of_another_trade_in_the_symbol_do_not_keep_the_surplus_from_being_reduced() -> None:
    script = Script().started()
    trade_id, other = _with_another_order(script)
    script.wait(6_000).snapshot(orders=[seen(other, "new")], positions=script.positions())
    (back,) = script.placed()
    assert (back.side, back.quantity, back.reduce_only) == ("sell", D("0.4"), True)
    script.fills_all(back, 3)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])


@pytest.mark.parametrize("shown", ["1", "1.8"])
def test_beside_orders_of_another_trade_a_position_that_is_not_all_that_trades_hold_confirms_nothing(
    shown: str,
) -> None:
    script = Script().started()
    _, other = _with_another_order(script)
    for _ in range(5):
        script.wait(11_000).snapshot(orders=[seen(other, "new")], positions=[position(CALL, shown, 1000.0)])
    assert script.placed() == []


def test_what_was_seen_once_stays_confirmed_whatever_other_trades_do_in_the_symbol_then() -> None:
    script = Script().started()
    overfilled(script)
    _confirmed(script)
    (back,) = script.placed()
    script.open(leg(CALL, "buy", "0.4"), ordinal=1, execution_params=RESTING)
    (other,) = script.placed()
    script.on(acked(other)).on(fill(other, 7, "0.1")).on(seen(other, "partial", "0.1"))
    script.on(OrderRefused(client_order_id=back.client_order_id, kind="rejected", code=10531, text="no"))
    script.wait(3_000)
    (again,) = script.placed()
    assert (again.side, again.quantity) == ("sell", D("0.4"))


def test_the_alert_says_what_keeps_the_surplus_from_being_reduced() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script, execution_params=ExecutionParams(max_unwind_s=20.0))
    script.open(leg(CALL, "buy", "0.4"), ordinal=1, execution_params=RESTING)
    (other,) = script.placed()
    script.on(acked(other)).on(seen(other, "new"))
    for _ in range(3):
        script.wait(8_000).snapshot(orders=[seen(other, "new")], positions=[position(CALL, "1", 1000.0)])
    told = [each.text for each in script.take(RaiseAlert) if each.code == "surplus_not_reduced"]
    assert told == [
        f"{trade_id}: what is too much is not reduced within 20 s: the venue is to show that it holds 1.4 {CALL}, "
        "in which orders of other trades are live"
    ]


def test_a_restart_before_and_after_the_order_goes_on_with_it_and_sends_no_second_one() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    script.restarted().snapshot(positions=script.positions())
    _confirmed(script)
    (back,) = script.placed()
    assert back.quantity == D("0.4")
    script.on(acked(back)).on(seen(back, "new"))
    script.restarted().snapshot(orders=[seen(back, "new")], positions=script.positions())
    script.wait(1_000)
    assert script.placed() == []
    script.on(fill(back, 3)).on(seen(back, "filled", "0.4"))
    script.wait(30_000)
    assert script.placed() == []
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])
    assert len(script.rows(LegOverfilled)) == 1


def test_the_price_goes_up_the_stairs_of_a_close() -> None:
    script = Script().started()
    script.chain_options = {"half_spread": 30.0}
    overfilled(script)
    _confirmed(script)
    prices = []
    for _ in range(3):
        (back,) = script.placed()
        prices.append(back.price)
        script.on(acked(back)).on(seen(back, "new"))
        script.chain_options = {"half_spread": 30.0, "marks": {**MARKS, CALL: 1000.0 - 10 * len(prices)}}
        script.wait(5_000)
        for number in script.cancelled():
            script.on(gone(script, number))
        script.wait(1_500)
        script.wait(6_000).snapshot(positions=script.positions())
    assert prices[0] > prices[1] > prices[2]


def _too_dear_to_undo() -> tuple[Script, str]:
    """What an opening sold too much of waits, as to buy it back would cost more than 20 USD."""
    script = Script().started()
    trade_id, _ = overfilled(script, "sell", execution_params=ExecutionParams(max_unwind_cost_usd=20.0))
    script.chain_options = {"marks": {**MARKS, CALL: 1100.0}}
    script.market()
    _confirmed(script)
    script.wait(10_000)
    assert script.placed() == []
    return script, trade_id


def test_past_what_its_undoing_may_cost_it_waits_and_is_alarmed_and_comes_back_when_it_costs_less() -> None:
    script, trade_id = _too_dear_to_undo()
    assert "surplus_not_reduced" in script.alerts()
    assert "more than the 20 allowed" in script.trade(trade_id).reason
    assert script.state(trade_id) == "OPEN"
    script.chain_options = {}
    script.wait(2_000).snapshot(positions=script.positions())
    (back,) = script.placed()
    assert (back.side, back.quantity) == ("buy", D("0.4"))


def test_what_was_too_much_is_closed_whatever_it_costs_once_less_is_to_be_held() -> None:
    script, trade_id = _too_dear_to_undo()
    order = ReduceTrade(trade_id=trade_id, keep=D("0.5"), reason="delta", requested_by="strategy demo")
    assert script.ask(order) == ReductionAccepted(trade_id=trade_id, keep=D("0.5"))
    (back,) = script.placed()
    assert (back.side, back.quantity) == ("buy", D("0.9"))
    script.fills_all(back, 3)
    assert script.held(trade_id) == [D("0.5")]
    assert [alert.code for alert in script.take(RaiseAlert) if alert.resolved] == [
        "trade_overfilled",
        "surplus_not_reduced",
    ]


def test_past_its_time_it_is_alarmed_and_tried_ever_more_slowly() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script, execution_params=ExecutionParams(max_unwind_s=10.0))
    _confirmed(script)
    sent_ns: list[int] = []
    for _ in range(400):
        for order in script.placed():
            sent_ns.append(script.now_ns)
            script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10531, text="no"))
        script.wait(5_000)
        if script.fetches():
            script.snapshot(positions=script.positions())
    assert "surplus_not_reduced" in script.alerts()
    pauses = [later - earlier for earlier, later in itertools.pairwise(sent_ns)]
    assert pauses[-1] > pauses[0]
    assert len(sent_ns) < 60
    assert script.state(trade_id) == "OPEN"


@pytest.mark.parametrize("asked", ["close", "flatten"])
def test_a_close_withdraws_what_reduces_the_surplus_and_closes_all(asked: str) -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    _confirmed(script)
    (back,) = script.placed()
    script.on(acked(back)).on(seen(back, "new"))
    script.effects.clear()
    if asked == "close":
        script.close(trade_id)
    else:
        script.ask(RaiseHalt(level="flatten", reason="out", requested_by="op"))
    assert script.cancelled() == [back.client_order_id]
    assert script.placed() == []
    script.on(fill(back, 3, "0.1")).on(seen(back, "cancelled", "0.1"))
    script.wait(6_000).snapshot(positions=script.positions())
    script.wait(1_000)
    (close,) = script.placed()
    assert close.quantity == D("1.3")
    script.fills_all(close, 4)
    assert script.state(trade_id) == "CLOSED"


def test_a_position_closed_by_hand_breaks_the_trade_as_before() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    for _ in range(4):
        script.wait(6_000).taken([position(CALL, "1", 1000.0)])
    assert script.state(trade_id) == "BROKEN"


def test_what_reduces_twice_as_much_breaks_the_trade() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    _confirmed(script)
    (lost,) = script.placed()
    _given_up(script, lost)
    script.wait(6_000).snapshot(positions=script.positions())
    script.wait(2_000)
    (second,) = script.placed()
    script.fills_all(second, 3)
    assert script.held(trade_id) == [D(1)]
    script.on(fill(lost, 4))
    assert (script.state(trade_id), script.held(trade_id)) == ("BROKEN", [D("0.6")])


def test_a_short_surplus_is_bought_back_before_the_long_one_that_covers_it_is_sold() -> None:
    script = Script().started()
    trade_id = script.open(leg(HIGH_CALL, "buy"), leg(CALL, "sell"))
    lost: list[NewOrder] = []
    for number in (11, 12):
        (order,) = script.placed()
        _given_up(script, order)
        lost.append(order)
        script.wait(3_000)
        (again,) = script.placed()
        script.fills_all(again, number)
    assert script.state(trade_id) == "OPEN"
    for number, order in enumerate(lost, 21):
        script.on(fill(order, number, "0.5")).on(gone(script, order.client_order_id))
    script.effects.clear()
    _confirmed(script)
    (back,) = script.placed()
    assert (back.symbol, back.side, back.quantity) == (CALL, "buy", D("0.5"))
    script.fills_all(back, 31)
    script.wait(2_000)
    (sold,) = script.placed()
    assert (sold.symbol, sold.side, sold.quantity) == (HIGH_CALL, "sell", D("0.5"))
    script.fills_all(sold, 32)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1), D(1)])


def test_a_block_trade_that_comes_after_the_fallback_is_taken_back_leg_by_leg() -> None:
    script = Script().started()
    makers = Makers(script)
    trade_id, quote = makers.accepting()
    lost = AcceptUnknown(request_id=quote.request_id, quote_id=quote.quote_id, reason="no answer within 3 s")
    script.wait(3_000).on(lost).wait(7_000).on(RfqCancelled(request_id=quote.request_id)).wait(3_000)
    makers.block_list()
    script.snapshot().wait(1_000)
    assert makers.fallbacks() == [("open", "limit", "accept_lost")]
    for number in (51, 52):
        (order,) = script.placed()
        script.fills_all(order, number)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(2), D(2)])
    makers.executed(quote)
    assert script.held(trade_id) == [D(4), D(4)]
    script.effects.clear()
    script.wait(6_000).snapshot(positions=script.positions())
    (bought,) = script.placed()
    assert (bought.symbol, bought.side, bought.quantity, bought.reduce_only) == (HIGH_CALL, "buy", D(2), True)
    script.fills_all(bought, 61)
    (sold,) = script.placed()
    assert (sold.symbol, sold.side, sold.quantity, sold.reduce_only) == (CALL, "sell", D(2), True)
    script.fills_all(sold, 62)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(2), D(2)])
    assert [row.quantity for row in script.rows(LegOverfilled)] == [D(2), D(2)]


def test_an_opening_that_failed_is_undone_whole_with_what_was_too_much() -> None:
    script = Script().started()
    params = msgspec.structs.replace(ExecutionParams(), max_requote_rounds=2)
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"), execution_params=params)
    first, other = script.placed()
    _given_up(script, first)
    script.on(acked(other))
    script.wait(3_000)
    again = next(order for order in script.placed() if order.symbol == CALL)
    script.fills_all(again, 2)
    script.on(fill(first, 1, "0.4")).on(gone(script, first.client_order_id))
    for number in script.cancelled():
        script.on(gone(script, number))
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="op"))
    script.wait(3_000)
    for number in script.cancelled():
        script.on(gone(script, number))
    script.wait(6_000).snapshot(positions=script.positions())
    script.wait(2_000)
    assert script.state(trade_id) == "UNWINDING"
    (back,) = [order for order in script.placed() if order.symbol == CALL]
    assert back.quantity == D("1.4")
    assert script.rows(LegOverfilled) == []


def test_a_lost_order_that_reduces_what_is_too_much_is_not_left_beside_its_replacement() -> None:
    script = Script().started()
    trade_id, _ = overfilled(script)
    _confirmed(script)
    (lost,) = script.placed()
    _given_up(script, lost)
    for _ in range(20):
        script.wait(1_000)
        placed = script.placed()
        if placed:
            break
    (second,) = placed
    script.on(acked(second))
    script.cancelled()
    script.on(seen(lost, "new"))
    assert sorted(script.cancelled()) == sorted((lost.client_order_id, second.client_order_id))
    script.cancels_all(lost)
    script.cancels_all(second)
    script.wait(3_000)
    (third,) = script.placed()
    script.fills_all(third, 9)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])

"""What a comparison found is typed, told once, remembered, and over when it is over."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any, TypeVar

import pytest

from services.execution.config import ExecutionConfig
from services.execution.differences import DIFFERENCES_KEPT, fold_difference
from services.execution.rows import DifferenceFound, DifferencesEnded, LegClosedOutside
from shared.messages.reconciliation import (
    BrokenStructure,
    DifferenceList,
    ForeignOrder,
    ForeignPosition,
    FoundDifference,
    ListDifferences,
    LostOrder,
    MissedFill,
    QuantityMismatch,
    ReconciliationReport,
    StateMismatch,
    VanishedOrder,
)
from shared.messages.trades import IfBroken
from shared.messages.venue import VenueOrder
from tests.unit.execution.play import CALL, PUT, Script, acked, fill, leg, position, seen

KindT = TypeVar("KindT")


def the(script: Script, kind: type[KindT]) -> KindT:
    """The one difference of this kind in the newest report."""
    report = script.published(ReconciliationReport)[-1]
    (found,) = [difference for difference in report.differences if isinstance(difference, kind)]
    return found


def listed(script: Script) -> list[FoundDifference]:
    answer = script.ask(ListDifferences())
    assert isinstance(answer, DifferenceList)
    return list(answer.differences)


def stranger(venue_order_id: int = 99) -> VenueOrder:
    return VenueOrder(
        venue_order_id=venue_order_id,
        client_order_id=None,
        symbol=PUT,
        side="sell",
        quantity=D(2),
        filled_quantity=D(0),
        price=D(950),
        average_price=None,
        state="new",
        reduce_only=False,
        created_ns=0,
        updated_ns=0,
    )


def looks(script: Script, *positions: Any) -> None:
    """Two comparisons, far enough apart that the second one decides."""
    script.wait(4_000)
    script.taken(positions)
    script.wait(2_100)
    script.taken(positions)


def test_a_missed_fill_names_order_trade_quantity_and_price_and_is_in_the_trades_story() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    at_ns = script.now_ns
    script.wait(9_000)
    script.snapshot(orders=[seen(order, "filled", "1")], fills=[fill(order, 77, at_ns=at_ns)])
    found = the(script, MissedFill)
    assert (found.trade_id, found.client_order_id, found.venue_trade_id) == (trade_id, order.client_order_id, 77)
    assert (found.quantity, found.price, found.done) == (D(1), order.price, "taken_over")
    assert any("missed fill" in line.text for line in script.core.book.trades[trade_id].story)


def test_a_foreign_order_is_shown_while_it_stands_touched_never_and_journalled_once() -> None:
    script = Script().started()
    for _ in range(3):
        script.snapshot(orders=[stranger()])
        script.wait(1_500)
    found = the(script, ForeignOrder)
    assert (found.venue_order_id, found.side, found.quantity, found.price) == (99, "sell", D(2), D(950))
    assert found.done == "left_alone"
    assert script.cancelled() == []
    assert len(script.rows(DifferenceFound)) == 1
    (standing,) = listed(script)
    assert standing.stands
    script.snapshot()
    (over,) = listed(script)
    assert (over.stands, over.ended_ns) == (False, script.now_ns)


def test_what_stands_is_not_found_again_by_a_restart_and_ends_after_it() -> None:
    script = Script().started()
    looks(script, position(PUT, "3"))
    script.snapshot(orders=[stranger()], positions=[position(PUT, "3")])
    before = listed(script)
    assert [each.difference.kind for each in before] == ["foreign_order", "foreign_position"]
    script.restarted()
    script.wait(1_500)
    script.snapshot(orders=[stranger()], positions=[position(PUT, "3")])
    assert listed(script) == before
    script.wait(2_100)
    script.snapshot(orders=[stranger()], positions=[position(PUT, "3")])
    assert listed(script) == before
    script.snapshot()
    assert not any(each.stands for each in listed(script))


def test_a_foreign_position_beside_our_own_is_what_the_venue_holds_beyond_our_trades() -> None:
    script = Script().started()
    script.opened(leg(CALL, "buy"))
    looks(script, position(CALL, "3"))
    found = the(script, ForeignPosition)
    assert (found.quantity, found.held_quantity, found.done) == (D(2), D(1), "left_alone")


def test_a_foreign_position_stays_the_same_finding_while_our_own_trades_in_it_come_and_go() -> None:
    script = Script().started()
    looks(script, position(CALL, "2"))
    (before,) = listed(script)
    trade_id = script.open(leg(CALL, "buy"))
    for number, order in enumerate(script.placed()):
        script.fills_all(order, 600 + number)
    looks(script, position(CALL, "3"))
    assert the(script, ForeignPosition).held_quantity == 1
    assert (script.state(trade_id), listed(script)) == ("OPEN", [before])


def test_a_position_turned_to_the_other_side_is_a_lost_leg_and_a_foreign_position() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    looks(script, position(CALL, "-2"))
    lost, foreign = the(script, QuantityMismatch), the(script, ForeignPosition)
    assert (lost.trade_id, lost.quantity, lost.held_quantity, lost.venue_quantity) == (trade_id, D(1), D(1), D(-2))
    assert (foreign.quantity, foreign.held_quantity) == (D(-2), D(0))


def test_a_foreign_position_that_changed_is_told_anew_with_its_new_quantity() -> None:
    script = Script().started()
    looks(script, position(PUT, "3"))
    looks(script, position(PUT, "5"))
    (only,) = listed(script)
    assert isinstance(only.difference, ForeignPosition)
    assert only.difference.quantity == 5
    assert only.stands
    assert len(script.rows(DifferenceFound)) == 2
    assert script.rows(DifferencesEnded) == []


@pytest.mark.parametrize(("if_broken", "done"), [("close", "closing"), ("hold", "waiting")])
def test_a_structure_that_lost_a_leg_says_what_was_booked_and_what_is_done(if_broken: IfBroken, done: str) -> None:
    script = Script(ExecutionConfig(if_broken=if_broken)).started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    looks(script, position(PUT, "-1"))
    lost, broken = the(script, QuantityMismatch), the(script, BrokenStructure)
    (booked,) = script.rows(LegClosedOutside)
    assert (lost.symbol, lost.quantity, lost.price, lost.done) == (CALL, D(1), booked.price, "booked")
    assert (broken.trade_id, broken.symbol, broken.done) == (trade_id, CALL, done)
    assert PUT in broken.detail
    assert bool(script.placed()) == (if_broken == "close")


def test_a_trade_of_one_leg_that_is_gone_is_no_broken_structure() -> None:
    script = Script().started()
    script.opened(leg(CALL, "buy"))
    looks(script)
    assert [difference.kind for difference in script.published(ReconciliationReport)[-1].differences] == [
        "quantity_mismatch"
    ]


def test_an_order_in_no_list_of_the_venue_is_queried_and_one_that_came_back_is_cancelled_again() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.wait(6_000)
    script.snapshot()
    vanished = the(script, VanishedOrder)
    assert (vanished.trade_id, vanished.state, vanished.done) == (trade_id, "WORKING", "queried")
    assert order.client_order_id in script.queries()
    script.close(trade_id)
    script.cancels_all(order)
    script.wait(5_000)
    script.snapshot(orders=[seen(order, "new")])
    back = the(script, StateMismatch)
    assert (back.trade_id, back.state, back.done) == (trade_id, "CANCELLED", "cancelled")


def test_an_order_that_is_ours_by_its_id_alone_is_no_foreign_order() -> None:
    script = Script().started()
    ours = 0b1101 << 59 | 7 << 51 | 12 << 21
    lost = VenueOrder(
        venue_order_id=5,
        client_order_id=ours,
        symbol=CALL,
        side="buy",
        quantity=D(1),
        filled_quantity=D(0),
        price=D(10),
        average_price=None,
        state="new",
        reduce_only=False,
        created_ns=0,
        updated_ns=0,
    )
    script.snapshot(orders=[lost])
    found = the(script, LostOrder)
    assert (found.client_order_id, found.trade_id, found.done) == (ours, None, "cancelled")
    assert script.cancelled() == [ours]


def test_a_comparison_is_made_when_asked_for_and_its_time_is_told() -> None:
    script = Script().started()
    script.wait(5_000)
    script.fetches()
    before = script.ask(ListDifferences(compare=True))
    assert script.fetches() == ["operator"]
    script.wait(300)
    script.taken([position(PUT, "1")])
    after = script.ask(ListDifferences())
    assert before.compared_ns < after.compared_ns == script.now_ns
    assert after.unconfirmed == (PUT,)
    assert after.differences == ()


def test_what_was_found_survives_the_journal_and_its_memory_is_bounded_with_what_stands_kept_longest() -> None:
    script = Script().started()
    looks(script, position(PUT, "3"))
    assert script.refolded().book == script.core.book
    found: dict[str, FoundDifference] = {}
    foreign = the(script, ForeignPosition)
    fold_difference(found, DifferenceFound(difference=foreign, trigger="t"), 0)
    for number in range(DIFFERENCES_KEPT + 50):
        missed = MissedFill(
            symbol=CALL,
            done="taken_over",
            detail="",
            trade_id="t1",
            client_order_id=1,
            venue_trade_id=number,
            quantity=D(1),
            price=D(1),
        )
        fold_difference(found, DifferenceFound(difference=missed, trigger="t"), number)
    assert len(found) == DIFFERENCES_KEPT
    assert foreign.name in found

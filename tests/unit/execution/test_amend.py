"""Requotes by amendment: journalled, sent once, believed when seen, never outside the grant."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal as D

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.effects import AmendOrder, CancelOrder
from services.execution.rows import AmendFailed, AmendRequested, EndedForgotten, OrderRepriced, OrderRequested
from shared.messages.base import Side
from shared.messages.control import RaiseHalt
from shared.messages.quality import ListQuality
from shared.messages.steps import Entry
from shared.messages.trades import CancelOrders, ExecutionParams, LimitPhase
from shared.messages.venue import AmendAcked, Amendment, AmendRefused, AmendUnknown, NewOrder, VenueOrder
from tests.unit.execution.play import CALL, MARKS, Script, acked, fill, leg, seen, venue_id

AMEND = ExecutionParams(
    phases=(LimitPhase(pricing="mid", duration_s=600.0, reprice_interval_s=5.0),),
    requote_by="amend",
    max_requote_rounds=20,
    fill_timeout_s=60.0,
)


def _amended(script: Script) -> list[Amendment]:
    return [effect.change for effect in script.take(AmendOrder)]


def _mark(script: Script, price: float) -> None:
    script.chain_options = {"marks": {**MARKS, CALL: price}}


def _seen_at(order: NewOrder, price: str, filled: str = "0") -> VenueOrder:
    state = "partial" if D(filled) else "new"
    return msgspec.structs.replace(seen(order, state, filled), price=D(price))  # type: ignore[arg-type]


def _resting(script: Script, side: Side = "buy", params: ExecutionParams = AMEND) -> tuple[str, NewOrder]:
    """A trade whose only order rests at mid 1000."""
    trade_id = script.open(leg(CALL, side), execution_params=params)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    return trade_id, order


def _moving(script: Script, price: float = 1010.0) -> tuple[str, NewOrder, Amendment]:
    """The same with its amendment to `price` on its way."""
    trade_id, order = _resting(script)
    _mark(script, price)
    script.wait(6_000)
    (change,) = _amended(script)
    return trade_id, order, change


def test_an_order_is_moved_where_it_is_and_nothing_is_cancelled_or_sent_anew() -> None:
    script = Script().started()
    _, order, change = _moving(script)
    assert (change.order.client_order_id, change.price, change.quantity) == (order.client_order_id, D(1010), None)
    script.on(AmendAcked(client_order_id=order.client_order_id, venue_order_id=venue_id(order)))
    assert script.core.book.orders[order.client_order_id].price == D(1000)
    script.on(_seen_at(order, "1010"))
    assert script.core.book.orders[order.client_order_id].price == D(1010)
    _mark(script, 1020.0)
    script.wait(6_000)
    assert [change.price for change in _amended(script)] == [D(1020)]
    assert (script.placed(), script.cancelled()) == ([], [])
    assert len(script.rows(OrderRequested)) == 1


def test_each_price_that_an_order_was_moved_to_is_a_round_of_its_execution() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.on(_seen_at(order, "1010"))
    _mark(script, 1020.0)
    script.wait(6_000)
    script.on(_seen_at(order, "1020"))
    script.fills_all(order, 1)
    (opening,) = [each for each in script.ask(ListQuality()).phases if each.phase == "open"]
    assert (opening.trade_id, opening.orders) == (trade_id, 3)


def test_an_amendment_is_written_before_it_is_sent_and_shown_with_the_order() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    (row,) = script.rows(AmendRequested)
    assert (row.client_order_id, row.price, row.why) == (order.client_order_id, D(1010), "mid, round 2")
    assert (script.order(order).price, script.order(order).amend_price) == (D(1000), D(1010))
    script.on(_seen_at(order, "1010"))
    assert (script.order(order).price, script.order(order).amend_price, script.order(order).amends) == (1010, None, 1)


def _renamed(order: NewOrder, price: str, new_id: int, filled: str = "0") -> VenueOrder:
    return msgspec.structs.replace(_seen_at(order, price, filled), venue_order_id=new_id)


def test_an_order_that_has_a_new_id_after_its_amendment_is_cancelled_by_that_one() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    new_id = venue_id(order) + 1
    script.on(AmendAcked(client_order_id=order.client_order_id, venue_order_id=new_id))
    assert script.core.book.orders[order.client_order_id].venue_order_id == venue_id(order), "it was not seen yet"
    script.on(_renamed(order, "1010", new_id))
    script.ask(CancelOrders(trade_id=trade_id, requested_by="op"))
    (cancel,) = script.take(CancelOrder)
    assert cancel.order.venue_order_id == new_id
    script.restarted()
    assert script.core.book.orders[order.client_order_id].venue_order_id == new_id


def test_after_a_new_id_fills_count_under_either() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    old, new = venue_id(order), venue_id(order) + 1
    script.on(_renamed(order, "1010", new))
    half = order.quantity / 2
    for number, known_as in ((1, old), (2, new)):
        nameless = msgspec.structs.replace(fill(order, number, half), venue_order_id=known_as, client_order_id=None)
        script.on(nameless)
    assert script.core.book.orders[order.client_order_id].filled_quantity == order.quantity


def test_after_a_new_id_what_is_told_of_the_old_one_neither_ends_nor_renames_it() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    old, new = venue_id(order), venue_id(order) + 1
    script.on(_renamed(order, "1010", new))
    for told in (_seen_at(order, "1000"), msgspec.structs.replace(_renamed(order, "1000", old), state="cancelled")):
        script.on(told)
        kept = script.core.book.orders[order.client_order_id]
        assert (kept.state, kept.venue_order_id) == ("WORKING", new)
    script.on(msgspec.structs.replace(_renamed(order, "1010", new), state="cancelled"))
    assert script.core.book.orders[order.client_order_id].state == "CANCELLED"


def test_all_ids_of_an_order_are_forgotten_with_its_trade() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.on(_renamed(order, "1010", venue_id(order) + 1))
    book = script.core.book
    assert len(book.order_of_venue_id) == 2
    script.ask(CancelOrders(trade_id=trade_id, requested_by="op"))
    script.on(msgspec.structs.replace(_renamed(order, "1010", venue_id(order) + 1), state="cancelled"))
    script.wait(5_000)
    assert book.trades[trade_id].is_final
    forgotten = EndedForgotten(before_ns=script.now_ns + 1, quality_before_ns=0)
    book.apply(Entry(script.now_ns, "", forgotten))
    assert book.order_of_venue_id == {}


def test_while_an_amendment_is_on_its_way_no_other_is_sent() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    _mark(script, 1050.0)
    script.wait(3_000)
    script.queried(order, _seen_at(order, "1000"))
    script.wait(2_000)
    assert _amended(script) == []
    assert script.cancelled() == []


def test_an_unknown_amendment_is_queried_and_never_sent_again() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    script.queries()
    script.on(AmendUnknown(client_order_id=order.client_order_id, reason="time-out"))
    assert script.queries() == [order.client_order_id]
    script.queried(order, _seen_at(order, "1010"))
    assert [row.price for row in script.rows(OrderRepriced)] == [D(1010)]
    assert len(script.rows(AmendRequested)) == 1


def test_the_old_price_counts_only_after_the_amendments_validity_and_then_the_order_is_replaced() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    script.on(_seen_at(order, "1000"))
    script.queried(order, _seen_at(order, "1000"))
    assert script.rows(AmendFailed) == []
    script.wait(8_000)
    assert script.queries()
    script.queried(order, _seen_at(order, "1000"))
    assert len(script.rows(AmendFailed)) == 1
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order)
    script.wait(1_100)
    assert [order.price for order in script.placed()] == [D(1010)]
    assert _amended(script) == []


def test_a_refused_amendment_leaves_the_order_which_is_then_replaced() -> None:
    script = Script().started()
    _, order, _ = _moving(script)
    script.on(AmendRefused(client_order_id=order.client_order_id, kind="rejected", code=10552, text="not open"))
    assert script.queries() == [order.client_order_id]
    script.queried(order, _seen_at(order, "1000"))
    script.wait(6_000)
    assert script.cancelled() == [order.client_order_id]
    assert _amended(script) == []


def test_fills_during_an_amendment_count_once_and_no_more_than_was_asked_for_is_bought() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.on(fill(order, 1, "0.4")).on(_seen_at(order, "1000", "0.4"))
    script.on(AmendAcked(client_order_id=order.client_order_id, venue_order_id=venue_id(order)))
    script.on(fill(order, 1, "0.4")).on(_seen_at(order, "1010", "0.4"))
    assert script.held(trade_id) == [D("0.4")]
    script.on(fill(order, 2, "0.6")).on(fill(order, 2, "0.6")).on(seen(order, "filled", "1"))
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])
    assert script.placed() == []


def test_an_order_that_its_amendment_fills_ends_at_the_new_price() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.on(fill(order, 1))
    script.on(msgspec.structs.replace(seen(order, "filled", "1"), price=D(1010)))
    assert (script.state(trade_id), script.order(order).price) == ("OPEN", D(1010))
    assert script.core.book == script.refolded().book


def test_an_order_that_is_filled_before_its_amendment_arrives_is_done() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.on(AmendRefused(client_order_id=order.client_order_id, kind="rejected", code=10552, text="not open"))
    script.queried(order, seen(order, "filled", "1"), fill(order, 1))
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])


def test_a_restart_sends_no_amendment_again_and_finds_out_what_became_of_it() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.restarted()
    script.wait(2_000)
    assert _amended(script) == []
    assert order.client_order_id in script.queries()
    script.queried(order, _seen_at(order, "1010"))
    assert script.core.book.orders[order.client_order_id].price == D(1010)
    assert script.state(trade_id) == "OPENING"
    assert script.core.book == script.refolded().book


def test_an_order_can_be_cancelled_while_it_is_being_moved() -> None:
    script = Script().started()
    trade_id, order, _ = _moving(script)
    script.ask(RaiseHalt(level="cancel_all", reason="enough", requested_by="operator"))
    assert script.cancelled() == [order.client_order_id]
    script.on(_seen_at(order, "1010"))
    script.cancels_all(order)
    script.wait(3_000)
    assert script.state(trade_id) == "FAILED"
    assert _amended(script) == []


def test_a_price_that_somebody_else_moved_is_taken_over_from_a_read() -> None:
    script = Script().started()
    _, order = _resting(script)
    script.wait(4_000)
    script.on(_seen_at(order, "990"))
    assert script.core.book.orders[order.client_order_id].price == D(1000)
    script.snapshot(orders=[_seen_at(order, "990")])
    assert script.core.book.orders[order.client_order_id].price == D(990)


def test_amendments_use_up_rounds_like_orders() -> None:
    script = Script().started()
    trade_id, order = _resting(
        script, params=msgspec.structs.replace(AMEND, max_requote_rounds=3, fill_timeout_s=10.0)
    )
    moved = 0
    for step in range(1, 60):
        _mark(script, 1000.0 + 5 * step)
        script.wait(1_000)
        for change in _amended(script):
            moved += 1
            script.on(_seen_at(order, str(change.price)))
        for _ in script.cancelled():
            script.cancels_all(order)
    assert moved == 2
    assert "not filled" in script.trade(trade_id).reason


def test_a_close_goes_up_the_staircase_by_amendments_of_one_reduce_only_order() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "sell"), execution_params=AMEND)
    script.close(trade_id)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    prices = [order.price]
    for _ in range(4):
        script.wait(5_100)
        for change in _amended(script):
            assert change.reduce_only
            prices.append(change.price or D(0))
            script.on(_seen_at(order, str(change.price)))
    assert prices == [D(1000), D(1020)]
    script.on(fill(order, 77)).on(seen(order, "filled", "1"))
    assert (script.state(trade_id), script.held(trade_id)) == ("CLOSED", [D(0)])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["aggressive", "mid", "passive", "mark", "fair"]),
    st.lists(st.floats(100.0, 3_000.0), min_size=1, max_size=8),
)
def test_no_amendment_leaves_the_grant_or_changes_a_quantity(
    side: Side, pricing: str, marks: Sequence[float]
) -> None:
    script = Script().started()
    phase = LimitPhase(pricing=pricing, duration_s=600.0, reprice_interval_s=1.0, buffer_pct=30.0)  # type: ignore[arg-type]
    _, order = _resting(script, side, msgspec.structs.replace(AMEND, phases=(phase,)))
    for price in marks:
        _mark(script, price)
        script.wait(2_000)
        for change in _amended(script):
            assert change.quantity is None
            assert change.price is not None
            assert change.price <= D(1200) if side == "buy" else change.price >= D(800)
            script.on(_seen_at(order, str(change.price)))
    assert script.placed() == []

"""A quoting trade may place a hundred thousand orders: what is done costs neither memory nor work, and few rows."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.execution.effects import CancelBatch, CancelOrder, FetchSnapshot, PlaceBatch
from services.execution.rows import (
    DifferenceFound,
    MarketNoted,
    OrderMoved,
    OrderRequested,
    OrderSighted,
    VenueCompared,
)
from shared.messages.control import RaiseHalt
from shared.messages.quoting import OrdersChanged, OrderToAmend
from shared.messages.trades import TradeUpdate
from shared.messages.venue import NewOrder, VenueSnapshot
from tests.unit.execution.play import CALL, PUT, SECOND, Script, acked, fill, gone, leg, seen
from tests.unit.execution.test_quoting import change, codes, holding, place, quoting, wish

KEPT_S = 20


def placed_and_withdrawn(script: Script, trade_id: str, price: str = "980", label: str = "") -> NewOrder:
    (bid,) = place(script, trade_id, wish("1", price, label=label))
    change(script, trade_id, cancel=(bid.client_order_id,))
    script.on(gone(script, bid.client_order_id))
    return bid


def test_orders_that_were_withdrawn_unfilled_are_forgotten_and_those_that_filled_are_not() -> None:
    script = Script(ExecutionConfig(unfilled_orders_kept_s=KEPT_S, close_window_ms=KEPT_S * 1_000)).started()
    trade_id = quoting(script)
    filled = holding(script, trade_id, "1")
    (resting,) = place(script, trade_id, wish("1", "970"))
    for number in range(60):
        placed_and_withdrawn(script, trade_id, label=f"bid {number}")
        script.wait(1_000)
        script.snapshot(positions=script.positions(), orders=[seen(resting, "new")], fills=[fill(filled, 1)])
    book = script.core.book
    trade = book.trades[trade_id]
    assert {filled.client_order_id, resting.client_order_id} < book.orders.keys()
    assert len(book.orders) == len(trade.order_ids) <= KEPT_S * 9 / 8 + 3
    assert len(trade.wishes) <= len(book.orders)
    assert len(book.order_of_venue_id) == len(book.orders)
    assert list(trade.live) == [resting.client_order_id]
    assert len(script.rows(OrderRequested)) == 62, "the journal has them all"
    assert book.orders_of(trade)[-1].attempt == 61, "no id is used again"
    assert script.refolded().book == book


def test_a_forgotten_order_that_the_venue_shows_filled_after_all_counts_once() -> None:
    script = Script(ExecutionConfig(unfilled_orders_kept_s=10, close_window_ms=10_000)).started()
    trade_id = quoting(script)
    lost = placed_and_withdrawn(script, trade_id)
    script.wait(15_000)
    place(script, trade_id, wish("1", "970"))
    assert lost.client_order_id not in script.core.book.orders
    late = fill(lost, 77, "0.5")
    script.on(late)
    for _ in range(2):
        script.snapshot(orders=[seen(lost, "cancelled", "0.5")], fills=[late])
    assert script.held(trade_id) == [D("0.5")]
    assert "order_unknown_to_journal" in script.alerts()
    assert script.refolded().book == script.core.book


def test_an_order_that_is_placed_and_withdrawn_costs_four_rows_beside_the_answers() -> None:
    script = Script().started()
    trade_id = quoting(script)
    place(script, trade_id, wish("1", "970"))
    before = len(script.entries)
    placed_and_withdrawn(script, trade_id)
    rows = [entry.row for entry in script.entries[before:] if isinstance(entry.row, OrderMoved | OrderRequested)]
    assert len(rows) == 4
    assert len(script.entries) - before == 4 + 2
    assert script.rows(OrderSighted) == []


@pytest.mark.parametrize("first", ["push", "answer"])
def test_the_venues_id_comes_with_the_row_that_says_that_the_order_works(first: str) -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("1", "980"),))
    (bid,) = script.placed()
    before = len(script.entries)
    ways = [seen(bid, "new"), acked(bid)] if first == "push" else [acked(bid), seen(bid, "new")]
    for item in ways:
        script.on(item)
    (row,) = [entry.row for entry in script.entries[before:]]
    assert isinstance(row, OrderMoved)
    assert (row.state, row.venue_order_id) == ("WORKING", acked(bid).venue_order_id)
    assert f"as {row.venue_order_id}" in script.core.book.trades[trade_id].story[-1].text


def test_an_execution_that_overtook_the_first_word_of_its_order_counts_when_that_comes() -> None:
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=(wish("1", "980"),))
    (bid,) = script.placed()
    script.on(msgspec.structs.replace(fill(bid, 5, "1"), client_order_id=None))
    assert script.held(trade_id) == [D(0)]
    script.on(acked(bid))
    assert script.held(trade_id) == [D(1)]
    assert script.core.book.orders[bid.client_order_id].state == "FILLED"


def test_forty_post_only_orders_that_cross_at_once_are_all_tried_again_together() -> None:
    script = Script().started()
    trade_id = quoting(script)
    wishes = tuple(wish("0.1", "1015", label=f"{number}") for number in range(40))
    orders = place(script, trade_id, *wishes)
    for order in orders:
        script.on(gone(script, order.client_order_id))
    script.wait(1_500)
    again = script.placed()
    assert len(again) == 40
    assert {order.price for order in again} == {D(1009)}


def test_each_part_of_an_order_that_was_split_has_its_own_tries() -> None:
    script = Script(ExecutionConfig(post_only_retries=2)).started()
    trade_id = quoting(script, leg(CALL, "buy", "2500"))
    change(script, trade_id, place=(wish("2500", "1015", label="a"),))
    (batch,) = script.take(PlaceBatch)
    parts = list(batch.orders)
    tries = 0
    while parts:
        assert sorted(order.quantity for order in parts) == [D(500), D(1000), D(1000)]
        for order in parts:
            script.on(acked(order)).on(gone(script, order.client_order_id))
        script.wait(1_500)
        parts = script.placed()
        tries += bool(parts)
    assert tries == 2
    script.wait(30_000)
    assert script.placed() == []


def test_what_the_strategy_asked_for_anew_under_the_same_label_takes_the_place_of_another_try() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("1", "1015", label="a"))
    script.wait(100)
    place(script, trade_id, wish("1", "980", label="a"))
    script.on(gone(script, bid.client_order_id))
    script.wait(5_000)
    assert script.placed() == []


def test_a_comparison_does_not_reach_back_to_an_order_that_has_rested_for_hours() -> None:
    script = Script().started()
    trade_id = quoting(script, deadline_ns=script.now_ns + 86_400 * SECOND)
    (bid,) = place(script, trade_id, wish("1", "980"))
    for _ in range(30):
        script.wait(60_000)
        script.snapshot(orders=[seen(bid, "new")])
    script.effects.clear()
    script.wait(61_000)
    (fetch,) = script.take(FetchSnapshot)
    assert script.now_ns - fetch.since_ns < 15 * 60 * SECOND
    # it ended, and no push told of it: the history does not reach so far back, so it is looked for, and no difference
    empty = VenueSnapshot(
        trigger="regular",
        asked_ns=script.now_ns,
        since_ns=fetch.since_ns,
        orders=(),
        fills=(fill(bid, 9, "0.4", at_ns=script.now_ns - 30 * SECOND),),
        positions=(),
        exercises=(),
    )
    script.on(empty)
    assert script.queries() == [bid.client_order_id]
    assert [row.difference.kind for row in script.rows(DifferenceFound)] == ["missed_fill"]
    script.queried(bid, seen(bid, "cancelled", "0.4"))
    assert script.held(trade_id) == [D("0.4")]
    assert script.core.book.trades[trade_id].live == {}


@pytest.mark.parametrize(("away_s", "reaches_back_s"), [(60, 60 + 300), (7_200, 7_200 + 300)])
def test_a_new_process_reads_no_further_back_than_the_one_before_had_looked(away_s: int, reaches_back_s: int) -> None:
    script = Script().started()
    trade_id = quoting(script, deadline_ns=script.now_ns + 86_400 * SECOND)
    (resting,) = place(script, trade_id, wish("1", "970"))
    for _ in range(30):
        script.wait(60_000)
        script.snapshot(orders=[seen(resting, "new")])
    placed_and_withdrawn(script, trade_id)
    assert len(script.rows(VenueCompared)) == 7, "not every comparison is written down"
    script.now_ns += away_s * SECOND
    script.restarted()
    script.wait(2_000)
    (fetch,) = script.take(FetchSnapshot)
    assert 0 <= (script.now_ns - fetch.since_ns) / SECOND - reaches_back_s <= 600 + 5


def test_a_new_process_that_cannot_tell_when_the_last_one_looked_reads_a_day() -> None:
    script = Script().started()
    quoting(script)
    script.wait(60_000)
    script.now_ns -= 3_600 * SECOND
    script.core = script.restarted().core
    script.wait(2_000)
    fetch = script.take(FetchSnapshot)[-1]
    assert script.now_ns - fetch.since_ns >= 86_400 * SECOND


def test_legs_that_are_quoted_each_by_itself_are_never_out_of_proportion() -> None:
    script = Script().started()
    trade_id = quoting(script, leg(CALL, "buy", "5"), leg(PUT, "sell", "5"))
    holding(script, trade_id, "2")
    script.wait(60_000)
    assert [row.moment for row in script.rows(MarketNoted)] == ["open"]
    tally = script.core.book.trades[trade_id].tally
    assert (tally.unbalanced, tally.open.naked_s) == (False, 0.0)


def test_fees_are_complete_when_each_execution_is_told_with_its_fee() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("2", "990"))
    script.on(seen(bid, "partial", "1"))
    assert not script.core.book.trades[trade_id].fees_are_complete, "an execution is still to be told"
    script.on(fill(bid, 1, "1", fee=None))
    assert not script.core.book.trades[trade_id].fees_are_complete, "its fee is"
    script.on(fill(bid, 1, "1"))
    assert script.core.book.trades[trade_id].fees_are_complete
    assert script.published(TradeUpdate)[-1].fees_complete
    answer = change(script, trade_id, place=(wish("2", "985"),))
    assert isinstance(answer, OrdersChanged)
    assert codes(answer) == [""]


@pytest.mark.parametrize("count", [3, 40])
def test_many_quotes_are_withdrawn_by_a_halt_in_one_call_and_a_few_each_by_itself(count: int) -> None:
    """One by one the venue's limits of 30 in 2 s would let hundreds rest on while the desk is halted."""
    script = Script().started()
    trade_id = quoting(script, leg(CALL, "buy", "50"))
    orders = place(script, trade_id, *(wish("0.1", str(980 - number)) for number in range(count)))
    script.take(CancelOrder)
    script.ask(RaiseHalt(level="no_new_trades", reason="test", requested_by="operator"))
    singles, batches = script.take(CancelOrder), script.take(CancelBatch)
    assert (len(singles), len(batches)) == ((3, 0) if count == 3 else (0, 1))
    withdrawn = [each.order for each in singles] + [order for batch in batches for order in batch.orders]
    assert {ref.client_order_id for ref in withdrawn} == {order.client_order_id for order in orders}


def test_a_fill_that_was_shown_and_not_told_is_asked_about_however_often_the_order_is_moved() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("5", "980"))
    script.on(seen(bid, "partial", "1"))
    begun_ns = script.now_ns
    number = bid.client_order_id
    for turn in range(10):
        price = D(981 - turn % 2)
        change(script, trade_id, amend=(OrderToAmend(client_order_id=number, price=price),))
        script.wait(50)
        script.on(msgspec.structs.replace(seen(bid, "partial", "1"), price=price))
        script.wait(150)
    assert number in script.queries()
    script.queried(bid, msgspec.structs.replace(seen(bid, "partial", "1"), price=D(980)), fill(bid, 1, "1"))
    assert script.held(trade_id) == [D(1)]
    assert (script.now_ns - begun_ns) / SECOND <= 2


def test_a_cancel_that_is_not_confirmed_is_alarmed_also_where_the_clock_was_set_back_over_a_restart() -> None:
    script = Script().started()
    trade_id = quoting(script)
    (bid,) = place(script, trade_id, wish("5", "980"))
    change(script, trade_id, cancel=(bid.client_order_id,))
    script.now_ns -= 600 * SECOND
    script.restarted().snapshot(orders=[seen(bid, "new")])
    assert script.order(bid).state == "CANCELLING"
    for _ in range(40):
        script.wait(1_000)
        script.snapshot(orders=[seen(bid, "new")])
    assert "order_unresolved" in script.alerts()

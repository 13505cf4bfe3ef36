"""What memory forgets is in the rows: a journal gives the same trades under whatever setting it is read."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.rows import OrderRequested
from shared.messages.steps import Entry
from shared.messages.venue import NewOrder
from tests.unit.execution.play import ACCOUNT, KEY, Script, fill, gone, seen
from tests.unit.execution.test_quoting import change, holding, place, quoting, wish

HORIZONS_S = (10, 600, 3_600)


def config(kept_s: int) -> ExecutionConfig:
    return ExecutionConfig(unfilled_orders_kept_s=kept_s, close_window_ms=10_000)


def folded(script: Script, kept_s: int, entries: list[Entry] | None = None) -> ExecutionCore:
    """A core with this setting that has read the script's journal."""
    core = ExecutionCore(config(kept_s), account_id=ACCOUNT, desk_number=7, grant_key=KEY)
    for entry in script.entries if entries is None else entries:
        core.apply(entry)
    return core


def withdrawn(script: Script, trade_id: str) -> NewOrder:
    (bid,) = place(script, trade_id, wish("0.1", "980"))
    change(script, trade_id, cancel=(bid.client_order_id,))
    script.on(gone(script, bid.client_order_id))
    return bid


def filled_after_all(script: Script, order: NewOrder, number: int) -> None:
    """The venue shows that an order which ended unfilled had filled, in part."""
    late = fill(order, number, "0.05")
    script.on(late)
    script.snapshot(orders=[seen(order, "cancelled", "0.05")], fills=[late], positions=script.positions())


def without_word_of_forgetting(entries: list[Entry]) -> list[Entry]:
    """The same journal as it was written before the rows said what is forgotten."""
    return [
        msgspec.structs.replace(entry, row=msgspec.structs.replace(entry.row, forgets_before_ns=None))
        if isinstance(entry.row, OrderRequested)
        else entry
        for entry in entries
    ]


def holdings(book: Book) -> dict[str, list[tuple[D, D, D, D]]]:
    return {
        trade.trade_id: [
            (leg.opened_quantity, leg.opened_cash, leg.closed_quantity, leg.closed_cash) for leg in trade.legs
        ]
        for trade in book.trades.values()
    }


@pytest.mark.parametrize("written_s", HORIZONS_S)
@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(("late", "quick", "none")), st.integers(0, 40)), max_size=8))
def test_a_journal_folds_under_any_setting_into_the_same_book(written_s: int, steps: list[tuple[str, int]]) -> None:
    script = Script(config(written_s)).started()
    trade_id = quoting(script)
    holding(script, trade_id, "1")
    for number, (what, pause_s) in enumerate(steps):
        bid = withdrawn(script, trade_id)
        if what == "quick":
            filled_after_all(script, bid, 100 + number)
        script.wait(pause_s * 1_000)
        withdrawn(script, trade_id)
        if what == "late":
            filled_after_all(script, bid, 100 + number)
    for kept_s in HORIZONS_S:
        assert folded(script, kept_s).book == script.core.book
        old = folded(script, kept_s, without_word_of_forgetting(script.entries)).book
        assert holdings(old) == holdings(script.core.book)


def test_an_order_that_was_forgotten_and_taken_over_again_is_no_contradiction_to_who_still_knows_it() -> None:
    script = Script(config(10)).started()
    trade_id = quoting(script)
    lost = withdrawn(script, trade_id)
    script.wait(15_000)
    place(script, trade_id, wish("0.1", "970"))
    assert lost.client_order_id not in script.core.book.orders
    filled_after_all(script, lost, 77)
    assert [row.adopted for row in script.rows(OrderRequested)][-1]
    reader = Book.empty(config(10))
    reader.unfilled_kept_ns = 1 << 62
    for book in (reader, Book.empty(config(3_600))):
        for entry in without_word_of_forgetting(script.entries):
            book.apply(entry)
        assert holdings(book) == holdings(script.core.book)
        assert book.orders[lost.client_order_id].filled_quantity == D("0.05")


@pytest.mark.parametrize(("before_s", "after_s"), [(600, 10), (10, 600), (3_600, 10)])
def test_a_start_under_another_setting_goes_on_with_what_is_held_and_forgets_by_the_new_one(
    before_s: int, after_s: int
) -> None:
    script = Script(config(before_s)).started()
    trade_id = quoting(script)
    filled = holding(script, trade_id, "1")
    first = withdrawn(script, trade_id)
    script.wait(30_000)
    filled_after_all(script, withdrawn(script, trade_id), 50)
    held = script.held(trade_id)
    script.config = config(after_s)
    script.restarted()
    script.snapshot(positions=script.positions(), fills=[fill(filled, 1)])
    assert script.held(trade_id) == held
    script.wait(30_000)
    withdrawn(script, trade_id)
    assert (first.client_order_id in script.core.book.orders) == (after_s == 600 and before_s != 10)
    assert folded(script, 3_600).book == script.core.book


def test_a_setting_that_forgets_orders_that_a_close_still_counts_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"unfilled_orders_kept_s 119 must cover close_window_ms 120000.*at least 120"
    ):
        ExecutionConfig(unfilled_orders_kept_s=119)

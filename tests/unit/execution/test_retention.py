"""What memory lets go of is in the rows: a journal gives the same book under whatever retention it is read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.fold import snapshots_of
from services.execution.rows import EndedForgotten, FeeLearned, FillSeen, Row
from shared.entries import Binding
from shared.messages.steps import Entry
from shared.messages.trades import CancelOrders, TradeUpdate
from shared.messages.venue import NewOrder, StreamUp, VenueFill
from shared.runner import Runner
from shared.store import SqliteJournal
from tests.unit.execution.play import ACCOUNT, CALL, EXPIRY_NS, KEY, PUT, SECOND, Script, acked, fill, intent, leg

HOUR_NS = 3_600 * SECOND
DAY_NS = 24 * HOUR_NS
SETTINGS = (1, 3, 40)
"""Days."""


def config(days: int) -> ExecutionConfig:
    return ExecutionConfig(retention_days=days, quality_days=days * 2)


class Weeks:
    """A desk over days: what is opened and closed, what the venue tells of it late, and what is refused."""

    def __init__(self, days: int) -> None:
        self.script = Script(config(days), expiry_ns=EXPIRY_NS + 400 * DAY_NS).started()
        self.failed: list[NewOrder] = []
        self.feeless: list[VenueFill] = []
        self.number = 0

    def later(self, hours: int) -> None:
        script = self.script
        script.now_ns += hours * HOUR_NS
        script.on(StreamUp())
        script.now_ns += SECOND
        script.market()
        script.beats()
        script.snapshot(positions=script.positions())

    def do(self, what: str) -> None:
        script = self.script
        self.number += 1
        match what:
            case "trade":
                trade_id = script.open(leg(CALL, "buy", "0.1"), ordinal=self.number)
                for turn in range(2):
                    for order in script.placed():
                        told = fill(order, self.number * 10 + turn, fee=None, at_ns=script.now_ns)
                        script.on(acked(order)).on(told)
                        self.feeless.append(told)
                    script.close(trade_id)
                assert script.core.book.trades[trade_id].is_flat
            case "failed":
                trade_id = script.open(leg(PUT, "buy", "0.1"), ordinal=self.number)
                for order in script.placed():
                    script.on(acked(order))
                    script.ask(CancelOrders(trade_id=trade_id, requested_by="op"))
                    script.cancels_all(order)
                    self.failed.append(order)
                script.wait(5_000)
            case "refused":
                script.ask(intent(leg(CALL, "buy"), ordinal=self.number, now_ns=script.now_ns, valid_until_ns=0))
            case "late fill" if self.failed:
                order = self.failed.pop(0)
                script.on(fill(order, 900_000 + self.number, "0.05", at_ns=script.now_ns))
                script.wait(1_000)
                for close in script.placed():
                    script.fills_all(close, 950_000 + self.number)
            case "late fee" if self.feeless:
                told = self.feeless.pop(0)
                script.on(msgspec.structs.replace(told, fee_usd=told.quantity))
            case "restart":
                script.restarted()
        script.effects.clear()


WHAT = ("trade", "failed", "refused", "late fill", "late fee", "restart")
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.sampled_from((0, 1, 20, 30, 80))), max_size=14)


def written(days: int, steps: list[tuple[str, int]]) -> Script:
    weeks = Weeks(days)
    for what, hours in steps:
        weeks.do(what)
        weeks.later(hours)
    return weeks.script


def read(days: int, entries: list[Entry], snapshot_at: int = 0) -> ExecutionCore:
    """A core with this setting that has read the rows, the first of them from a snapshot."""
    core = ExecutionCore(config(days), account_id=ACCOUNT, desk_number=7, grant_key=KEY)
    for number, entry in enumerate(entries):
        if number == snapshot_at:
            core.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(core.book), type=Book))
        core.apply(entry)
    return core


def without_word_of_forgetting(entries: list[Entry]) -> list[Entry]:
    """The same journal as it was written before a row said what is forgotten."""
    return [entry for entry in entries if not isinstance(entry.row, EndedForgotten)]


@pytest.mark.parametrize("written_days", SETTINGS)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS, share=st.floats(0, 1))
def test_a_journal_folds_under_any_retention_into_the_same_book(
    written_days: int, steps: list[tuple[str, int]], share: float
) -> None:
    script = written(written_days, [*steps, ("failed", 80), ("trade", 20), ("late fill", 0), ("late fee", 0)])
    for days in SETTINGS:
        folded = read(days, script.entries, int(len(script.entries) * share)).book
        assert msgspec.msgpack.encode(folded) == msgspec.msgpack.encode(script.core.book)


@pytest.mark.parametrize("written_days", SETTINGS)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_a_journal_without_word_of_forgetting_is_remembered_whole_and_agrees_on_all_that_its_writer_knew(
    written_days: int, steps: list[tuple[str, int]]
) -> None:
    script = written(written_days, [*steps, ("failed", 80), ("trade", 20), ("late fill", 0), ("late fee", 0)])
    written_book = script.core.book
    for days in SETTINGS:
        core = read(days, without_word_of_forgetting(script.entries))
        assert written_book.trades.items() <= core.book.trades.items()
        assert written_book.orders.items() <= core.book.orders.items()
        assert written_book.fills.items() <= core.book.fills.items()
        assert (core.book.active, core.book.unsettled) == (written_book.active, written_book.unsettled)
        core.start(script.now_ns)


def test_a_fill_that_comes_after_another_setting_would_have_forgotten_its_trade_is_held_after_a_start() -> None:
    script = written(40, [("failed", 80), ("trade", 1)])
    (failed,) = [trade for trade in script.core.book.trades.values() if trade.state == "FAILED"]
    (number,) = failed.order_ids
    order = script.core.book.orders[number]
    sent = NewOrder(
        client_order_id=number, symbol=order.symbol, side=order.side, quantity=order.quantity, price=order.price
    )
    script.on(fill(sent, 77, "0.05", at_ns=script.now_ns))
    assert script.rows(FillSeen)[-1].client_order_id == number
    script.config = config(1)
    script.restarted()
    assert script.held(failed.trade_id)[0] > 0
    assert not script.core.book.trades[failed.trade_id].is_final


def test_a_shorter_retention_counts_from_the_first_intent_after_the_start() -> None:
    script = written(40, [("trade", 80)])
    (old,) = script.core.book.trades
    script.config = config(1)
    script.restarted()
    assert old in script.core.book.trades
    script.snapshot(positions=script.positions())
    script.ask(intent(leg(CALL, "buy"), ordinal=50, now_ns=script.now_ns, valid_until_ns=0))
    assert old not in script.core.book.trades
    assert read(40, script.entries).book == script.core.book


def test_what_ended_is_let_go_of_at_most_once_an_hour() -> None:
    script = written(1, [("refused", 0), ("refused", 0), ("refused", 1), ("refused", 0)])
    assert len(script.rows(EndedForgotten)) == 2


def test_a_snapshot_made_under_one_retention_is_used_under_another_and_the_journal_holds(tmp_path: Path) -> None:
    path, binding = tmp_path / "execution.sqlite3", Binding(venue="coincall", environment="sim", account_id=ACCOUNT)
    script = written(40, [("failed", 80), ("trade", 1), ("late fill", 1), ("late fee", 30), ("refused", 1)])
    assert script.rows(FillSeen)
    assert script.rows(FeeLearned)
    journal = SqliteJournal(path, binding, Row)
    half = len(script.entries) // 2
    journal.append(script.entries[:half])
    snapshots_of(path, binding, config(40)).write(journal.tail, read(40, script.entries[:half]).book)
    journal.append(script.entries[half:])
    journal.close()

    def make_core() -> ExecutionCore:
        return ExecutionCore(config(1), account_id=ACCOUNT, desk_number=7, grant_key=KEY)

    def must_not_fail(failure: object) -> None:
        raise AssertionError(failure)

    snapshots = snapshots_of(path, binding, config(1))
    reopened = SqliteJournal(path, binding, Row, snapshots=snapshots)
    runner = Runner(make_core, reopened, lambda *_: None, must_not_fail)
    assert snapshots.used is not None
    assert snapshots.used.sequence == half
    assert runner.core.book == script.core.book
    reopened.close()


def test_a_process_that_starts_tells_of_open_trades_last() -> None:
    """The bus keeps so many of them: an open one that was being worked must not be the first to go."""
    script = Script().started()
    ended = script.opened(leg(CALL, "buy"))
    working = script.open(leg(PUT, "buy"), ordinal=1)
    (order,) = script.placed()
    script.close(ended)
    script.fills_all(script.placed()[0], 77)
    assert script.state(ended) == "CLOSED"
    assert script.core.book.orders[order.client_order_id].state == "SENDING"
    script.restarted()
    told = [update.trade_id for update in script.published(TradeUpdate)]
    assert told.index(ended) < told.index(working)

"""The state is the fold of the journal: over restarts, in any run, and bounded over weeks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.config import ExecutionConfig
from services.execution.effects import PlaceOrder
from services.execution.rows import OrderRequested
from shared.messages.control import HaltState, LiftHalts, RaiseHalt
from shared.messages.smart import SmartParams
from shared.messages.steps import LoopStalled, Publish, Reply
from shared.messages.trades import OrderUpdate, TellTrade, TradeAccepted, TradeUpdate
from shared.messages.venue import (
    CancelRefused,
    NewOrder,
    OrderQueryFailed,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueSnapshotFailed,
)
from tests.unit.execution.play import (
    CALL,
    EXPIRY_NS,
    HIGH_CALL,
    MS,
    PUT,
    Script,
    acked,
    fill,
    gone,
    intent,
    leg,
    seen,
)


def test_a_start_publishes_open_trades_recent_ends_live_orders_and_halts() -> None:
    script = Script(msgspec.structs.replace(ExecutionConfig(), republish_days=1)).started()
    old = script.opened(leg(CALL, "buy"))
    script.close(old)
    for order in script.placed():
        script.fills_all(order, 900)
    script.now_ns += 30 * 3_600_000 * MS
    script.market()
    script.beats()
    script.snapshot()
    recent = script.opened(leg(PUT, "buy"), ordinal=1)
    script.close(recent)
    for order in script.placed():
        script.fills_all(order, 901)
    current = script.open(leg(HIGH_CALL, "buy"), ordinal=2)
    (order,) = script.placed()
    script.on(acked(order))
    script.restarted()
    assert [u.trade_id for u in script.published(TradeUpdate)] == [recent, current]
    assert [u.client_order_id for u in script.published(OrderUpdate)] == [order.client_order_id]
    assert len(script.published(HaltState)) == 1
    assert script.fetches() == ["stream_up"]


def test_topics_carry_the_account() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    topics = {e.topic for e in script.effects if isinstance(e, Publish)}
    assert topics == {"exec.a1.trade", "exec.a1.order"}


def test_the_row_of_an_order_is_in_the_step_that_sends_it() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"), leg(PUT, "buy"))
    sent = [effect.order.client_order_id for effect in script.effects if isinstance(effect, PlaceOrder)]
    assert [row.client_order_id for row in script.rows(OrderRequested)] == sent
    assert len(set(sent)) == 2


def test_memory_is_bounded_over_weeks_and_an_old_intent_never_opens_again() -> None:
    config = msgspec.structs.replace(ExecutionConfig(), retention_days=1, answers_kept=20, story_lines_max=20)
    script = Script(config, expiry_ns=EXPIRY_NS + 30 * 86_400_000 * MS).started()
    number = 10_000
    for ordinal in range(40):
        trade_id = script.open(leg(CALL, "buy"), ordinal=ordinal)
        for _ in range(2):
            for order in script.placed():
                number += 1
                script.fills_all(order, number)
            script.close(trade_id)
        script.now_ns += 6 * 3_600_000 * MS
        script.on(StreamUp())
        script.now_ns += MS
        script.market()
        script.beats()
        script.snapshot()
        script.effects.clear()
    book = script.core.book
    assert len(book.trades) <= 6
    assert len(book.orders) == len(book.order_of_venue_id) <= 12
    assert len(book.fills) <= 12
    assert len(book.intents) <= 6
    assert len(book.answers) <= 20
    assert all(len(trade.story) <= 20 for trade in book.trades.values())
    assert script.ask(intent(leg(CALL, "buy"), ordinal=0, now_ns=script.now_ns)).code == "intent_known"
    assert script.refolded().book == book


def test_a_story_too_long_keeps_its_beginning_and_its_end() -> None:
    script = Script(msgspec.structs.replace(ExecutionConfig(), story_lines_max=12)).started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    for number in range(1, 40):
        script.on(fill(order, number, "0.01"))
    lines = script.ask(TellTrade(trade_id=trade_id)).lines
    assert len(lines) == 12
    assert lines[0].kind == "trade_requested"
    assert lines[-1].kind == "fill_seen"


def test_unknown_inputs_are_ignored() -> None:
    script = Script().started()
    entries, effects = len(script.entries), len(script.effects)
    script.on("what is this").on(None)
    ghost = NewOrder(
        client_order_id=5,
        symbol=CALL,
        side="buy",
        quantity=script.listing.instruments[0].lot_size,
        price=script.listing.instruments[0].tick_size,
    )
    script.on(acked(ghost)).on(seen(ghost, "new")).queried(ghost, None)
    script.on(OrderQueryFailed(client_order_id=5, reason="x"))
    assert (len(script.entries), len(script.effects)) == (entries, effects)


def test_time_never_runs_backwards_in_the_core() -> None:
    script = Script().started()
    script.now_ns -= 10_000 * MS
    trade_id = script.open(leg(CALL, "buy"), now_ns=script.now_ns)
    assert script.core.book.trades[trade_id].created_ns > script.now_ns
    assert [entry.at_ns for entry in script.entries] == sorted(entry.at_ns for entry in script.entries)


class _Chaos:
    """A venue and an operator that do anything, drawn by hypothesis.

    An `honest` venue does not trade an order that it refused or reported as ended.
    """

    def __init__(self, data: st.DataObject, *, honest: bool) -> None:
        self.data = data
        self.honest = honest
        self.script = Script().started()
        self.orders: list[NewOrder] = []
        self.number = 0
        self.ordinal = 0

    def pick(self) -> NewOrder | None:
        self.orders += self.script.placed()
        return self.data.draw(st.sampled_from(self.orders)) if self.orders else None

    def do(self, what: str) -> None:
        script = self.script
        order = self.pick()
        if what == "open":
            legs = self.data.draw(
                st.sampled_from(
                    [(leg(CALL, "sell"), leg(HIGH_CALL, "buy")), (leg(PUT, "sell"),), (leg(CALL, "buy"),)]
                )
            )
            policy = self.data.draw(st.sampled_from(["atomic", "best_effort"]))
            mode = self.data.draw(st.sampled_from(["limit", "smart"]))
            answer = script.ask(
                intent(
                    *legs,
                    ordinal=self.ordinal,
                    now_ns=script.now_ns,
                    halt_epoch=script.core.book.halt_epoch,
                    policy=policy,
                    execution_mode=mode,
                    smart=SmartParams(chunk_count=3, time_per_chunk_s=2.0, aggressive_attempts=2),
                    max_loss_usd=50.0,
                )
            )
            self.ordinal += not isinstance(answer, TradeAccepted) or 1
        elif what == "close" and script.core.book.trades:
            script.close(self.data.draw(st.sampled_from(sorted(script.core.book.trades))))
        elif what == "halt":
            level = self.data.draw(st.sampled_from(["no_new_trades", "cancel_all", "flatten"]))
            script.ask(RaiseHalt(level=level, reason=str(script.now_ns), requested_by="op"))
        elif what == "lift":
            script.ask(LiftHalts(requested_by="op"))
        elif what == "restart":
            script.restarted()
        elif what == "wait":
            script.wait(self.data.draw(st.sampled_from([100, 1_000, 5_000, 12_000])))
        elif what == "snapshot":
            script.snapshot(positions=script.positions())
        elif what == "empty snapshot":
            script.snapshot()
        elif what == "stream":
            script.on(self.data.draw(st.sampled_from([StreamUp(), StreamDown(reason="x"), LoopStalled(gap_ns=3)])))
        elif what == "failed reads":
            script.on(VenueSnapshotFailed(trigger="x", reason="x"))
        elif order is not None:
            self.venue(what, order)

    def venue(self, what: str, order: NewOrder) -> None:
        script = self.script
        number = order.client_order_id
        known = script.core.book.orders[number]
        if self.honest and known.is_final and what in ("ack", "fill", "open at venue"):
            return
        if what == "ack":
            script.on(acked(order))
        elif what == "unknown":
            script.on(OutcomeUnknown(client_order_id=number, reason="x"))
        elif what == "refuse" and known.venue_order_id is None:
            code = self.data.draw(st.sampled_from([10536, 10531, 10529, 10000]))
            script.on(OrderRefused(client_order_id=number, kind="rejected", code=code, text="x"))
        elif what == "cancel refused":
            script.on(CancelRefused(client_order_id=number, code=10537, text="x"))
        elif what == "fill" and known.fills_quantity < order.quantity:
            self.number += 1
            part = self.data.draw(
                st.sampled_from([known.quantity - known.fills_quantity, script.listing.instruments[0].lot_size])
            )
            script.on(fill(order, self.number, part))
        elif what == "gone" and known.venue_order_id is not None:
            script.on(gone(script, number))
        elif what == "open at venue":
            script.queried(order, seen(order, "partial", str(known.filled_quantity)))
        elif what == "absent":
            script.queried(order, None)


ACTS = (
    "open", "close", "halt", "lift", "restart", "wait", "snapshot", "empty snapshot", "stream", "failed reads",
    "ack", "ack", "unknown", "refuse", "cancel refused", "fill", "fill", "gone", "open at venue", "absent",
)  # fmt: skip


@pytest.mark.parametrize("honest", [True, False])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_happens_the_fold_is_the_live_state_and_no_order_is_sent_twice(
    data: st.DataObject, honest: bool
) -> None:
    chaos = _Chaos(data, honest=honest)
    sent: list[int] = []
    for what in ["open", *data.draw(st.lists(st.sampled_from(ACTS), max_size=40))]:
        chaos.do(what)
        sent += [effect.order.client_order_id for effect in chaos.script.effects if isinstance(effect, PlaceOrder)]
        chaos.orders += chaos.script.placed()
        chaos.script.take(Reply)
        deadline_ns = chaos.script.core.next_deadline_ns()
        assert deadline_ns is None or deadline_ns > chaos.script.now_ns - 1
    script = chaos.script
    assert script.refolded().book == script.core.book
    assert len(sent) == len(set(sent))
    _check_book(script, honest=honest)


def _check_book(script: Script, *, honest: bool) -> None:
    book: Any = script.core.book
    for trade in book.trades.values():
        if trade.is_final:
            assert trade.is_flat, trade
            assert not book.unsettled_of(trade)
        assert (trade.trade_id in book.active) == (not trade.is_final)
        for index, each in enumerate(trade.legs):
            orders = [o for o in book.orders_of(trade) if o.leg_index == index]
            opened = sum(o.filled_quantity for o in orders if o.purpose == "open")
            assert each.opened_quantity == opened
            if honest:
                # Against a venue that trades what it refused, nothing bounds the exposure.
                assert each.opened_quantity <= each.quantity
                live = book.unsettled_of(trade, index)
                assert len([o for o in live if o.purpose == "open"]) <= 1
            assert all(o.reduce_only for o in orders if o.purpose != "open")

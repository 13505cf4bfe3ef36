"""What execution does on a full disk: nothing opens, everything that reduces goes on, a lost row halts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.execution.effects import AmendOrder, CancelOrder, PlaceOrder, QueryOrder, may_go_unwritten
from services.execution.rows import HaltRaised, IntentRefused, TradeRequested
from shared.messages.control import HaltState, LiftHalts, RaiseHalt
from shared.messages.space import ON_DISK, JournalSpace, SpaceLevel
from shared.messages.steps import RaiseAlert
from shared.messages.trades import RETRYABLE_REFUSALS, Refusal, TradeAccepted
from shared.messages.venue import Amendment, NewOrder, OrderRef
from tests.unit.execution.play import CALL, PUT, Script, acked, intent, leg

FULL = JournalSpace(level="reserve", reason="/run/j cannot be written (full): free space on its disk")
IN_MEMORY = JournalSpace(level="memory", reason="/run/j cannot be written (full): free space on its disk")
MISSING = "the disk was full: what was decided from OrderRequested at 7 ns on was never written"


def _alerts(script: Script) -> list[tuple[str, str, bool]]:
    return [(alert.code, alert.severity, alert.resolved) for alert in script.take(RaiseAlert)]


@pytest.mark.parametrize("level", ["reserve", "memory"])
def test_on_a_full_disk_an_intent_is_refused_for_now_and_opens_once_there_is_space(level: SpaceLevel) -> None:
    script = Script().started()
    script.on(JournalSpace(level=level, reason=FULL.reason))
    wanted = intent(leg(CALL, "buy"))
    answer = script.ask(wanted)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.remedy) == ("disk_full", "free space; opening is allowed again by itself")
    assert FULL.reason in answer.detail
    assert answer.code in RETRYABLE_REFUSALS
    assert script.rows(IntentRefused) == script.rows(TradeRequested) == []
    script.on(ON_DISK)
    assert isinstance(script.ask(wanted), TradeAccepted)


def test_a_half_open_trade_unwinds_when_the_disk_is_full() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(PUT, "sell"))
    first, second = script.placed()
    script.fills_all(first, 1)
    script.on(acked(second))
    script.on(FULL)
    assert script.cancelled() == [second.client_order_id]
    assert script.trade(trade_id).state == "UNWINDING"
    (back,) = script.placed()
    assert (back.symbol, back.reduce_only) == (CALL, True)
    script.cancels_all(second).fills_all(back, 2)
    assert script.state(trade_id) == "FAILED"


@pytest.mark.parametrize("space", [FULL, IN_MEMORY], ids=["reserve", "memory"])
def test_an_open_trade_is_closed_and_halts_are_taken_on_a_full_disk(space: JournalSpace) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.on(space)
    assert script.state(trade_id) == "OPEN"
    assert script.close(trade_id).state == "PENDING_CLOSE"
    (order,) = script.placed()
    assert order.reduce_only
    script.fills_all(order, 99)
    assert script.state(trade_id) == "CLOSED"
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="operator"))
    assert script.published(HaltState)[-1].halt_epoch == 1


def test_a_full_disk_is_alarmed_once_and_its_end_told() -> None:
    script = Script().started()
    script.on(FULL).on(FULL)
    assert _alerts(script) == [("disk_full", "critical", False)]
    script.on(IN_MEMORY)
    assert _alerts(script) == [("journal_in_memory", "critical", False)]
    script.on(FULL)
    assert _alerts(script) == [("journal_in_memory", "info", True)]
    script.on(ON_DISK)
    assert _alerts(script) == [("disk_full", "info", True)]


def test_a_journal_in_which_rows_are_missing_halts_until_the_operator_resumes() -> None:
    script = Script().started()
    script.on(JournalSpace(level="disk", unwritten=MISSING))
    (halt,) = script.rows(HaltRaised)
    assert (halt.level, halt.raised_by) == ("no_new_trades", "journal")
    assert halt.reason == f"{MISSING}; compare positions and orders with the venue, then `voldesk resume`"
    assert ("journal_incomplete", "critical", False) in _alerts(script)
    refused = script.ask(intent(leg(CALL, "buy")))
    assert (refused.code, refused.remedy) == ("halted", "the operator lifts it: voldesk resume")
    script.restarted().snapshot()
    assert script.ask(intent(leg(CALL, "buy"), ordinal=2, now_ns=script.now_ns)).code == "halted"
    script.take(RaiseAlert)
    script.ask(LiftHalts(requested_by="operator"))
    assert _alerts(script) == [("journal_incomplete", "info", True)]
    epoch = script.core.book.halt_epoch
    wanted = intent(leg(CALL, "buy"), ordinal=3, now_ns=script.now_ns, halt_epoch=epoch)
    assert isinstance(script.ask(wanted), TradeAccepted)


@pytest.mark.parametrize("halts_before", [0, 1, 2, 50])
def test_no_grant_of_before_the_journal_was_lost_is_valid_again_however_many_halts_there_were(
    halts_before: int,
) -> None:
    old = Script().started()
    for number in range(halts_before):
        old.ask(RaiseHalt(level="no_new_trades", reason=f"number {number}", requested_by="operator"))
    old.ask(LiftHalts(requested_by="operator"))
    wanted = intent(leg(CALL, "buy"), now_ns=old.now_ns, halt_epoch=old.core.book.halt_epoch)
    assert isinstance(old.ask(wanted), TradeAccepted)
    new = Script().started()
    new.on(JournalSpace(level="disk", unwritten=MISSING, lost_processes=1))
    new.ask(LiftHalts(requested_by="operator"))
    new.wait(20_000).snapshot()
    assert new.ask(wanted).code == "grant_void"


def test_the_halt_epoch_leaps_ahead_where_rows_are_missing_is_told_and_kept_and_leaps_again_the_next_time() -> None:
    script = Script().started()
    script.on(JournalSpace(level="disk", unwritten=MISSING, lost_processes=1))
    first = script.published(HaltState)[-1]
    assert [halt.raised_by for halt in first.halts] == ["journal"]
    assert first.halt_epoch == script.restarted().core.book.halt_epoch > script.now_ns // 1_000_000
    script.on(JournalSpace(level="disk", unwritten=MISSING, lost_processes=2))
    # the same halt is in force and not raised again, and yet all hear of the epoch
    second = script.published(HaltState)[-1]
    assert second.halts == first.halts
    assert second.halt_epoch > first.halt_epoch


def test_after_lost_rows_no_id_of_a_closing_order_is_used_again_and_late_orders_have_time_to_be_seen() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    written = list(script.entries)
    script.on(IN_MEMORY)
    script.close(trade_id)
    (unwritten,) = script.placed()
    script.entries = written
    script.restarted().on(JournalSpace(level="disk", unwritten=MISSING))
    script.close(trade_id)
    script.snapshot(positions=script.positions())
    assert script.placed() == [], "the order may still arrive at the venue"
    script.wait(6_900)
    script.snapshot(positions=script.positions())
    assert script.placed() == []
    script.wait(200)
    script.snapshot(positions=script.positions())
    (order,) = script.placed()
    assert order.client_order_id != unwritten.client_order_id
    assert script.core.book == script.refolded().book


def test_a_process_that_dies_on_a_full_disk_like_the_one_before_it_leaves_no_id_to_use_again() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    written = list(script.entries)
    sent = []
    for lost in range(3):
        missing = JournalSpace(level="memory", reason=IN_MEMORY.reason, unwritten=MISSING, lost_processes=lost)
        script.entries = list(written)
        script.restarted().on(missing if lost else IN_MEMORY)
        script.wait(7_100)
        script.snapshot(positions=script.positions())
        script.close(trade_id)
        (order,) = script.placed()
        sent.append(order.client_order_id)
    assert len(set(sent)) == 3


def test_told_again_before_it_could_be_forgotten_it_is_one_halt() -> None:
    script = Script().started()
    for _ in range(2):
        script.on(JournalSpace(level="disk", unwritten=MISSING))
    assert len(script.rows(HaltRaised)) == 1


def test_only_what_does_not_open_may_go_out_before_its_row_is_written() -> None:
    def order(reduce_only: bool) -> PlaceOrder:
        return PlaceOrder(
            NewOrder(
                client_order_id=1,
                symbol=CALL,
                side="buy",
                quantity=Decimal(1),
                price=Decimal(1),
                reduce_only=reduce_only,
            )
        )

    ref = OrderRef(client_order_id=1, venue_order_id=None, symbol=CALL)

    def amendment(reduce_only: bool) -> AmendOrder:
        return AmendOrder(Amendment(order=ref, price=Decimal(2), reduce_only=reduce_only))

    cancel = CancelOrder(ref)
    query = QueryOrder(client_order_id=1, venue_order_id=None, symbol=CALL, since_ns=0)
    assert all(may_go_unwritten(each) for each in (order(True), amendment(True), cancel, query))
    assert not any(may_go_unwritten(each) for each in (order(False), amendment(False)))

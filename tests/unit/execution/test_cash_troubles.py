"""The cash rule beside a venue that lags, answers late or not at all: it sells nothing twice and says so."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.cash_book import DAY_NS, CashBook
from services.execution.cash_effects import (
    CashRead,
    FindSale,
    FindStrays,
    ReadCash,
    SaleFound,
    SaleNotAnswered,
    StraysNotFound,
    WithdrawSale,
)
from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from services.execution.cash_rule import CashSeen, Holding
from shared.messages.control import RaiseHalt
from shared.messages.steps import LoopStalled
from shared.messages.venue import CancelRefused, OrderRefused, OutcomeUnknown
from tests.unit.execution.test_cash_desk import BID, RULE, Desk, selling

SECOND = 10**9
PART = D("0.006")


def instead(desk: Desk, kind: type[Any], answer: Callable[[Any], Any]) -> None:
    """Let the venue answer one kind of call like this; what is true says that it did."""
    usual = desk.answer
    desk.answer = lambda effect: bool(answer(effect)) if isinstance(effect, kind) else usual(effect)  # type: ignore[method-assign]


def unanswered(desk: Desk) -> int:
    """The newest sale got no answer within the deadline of the call; returns its number."""
    number = desk.sells[-1].client_order_id
    desk.on(OutcomeUnknown(client_order_id=number, reason="no answer within 5 s"))
    desk.work()
    return number


def test_a_sale_that_waited_here_before_it_was_signed_may_arrive_as_long_after_that() -> None:
    desk = selling()
    desk.pass_time(5)
    number = unanswered(desk)
    desk.pass_time(4.5)
    assert desk.status().sales[0].state == "UNKNOWN", "signed at 4.9 s it is valid until 9.9 s"
    desk.venue.take(desk.sells[0], desk.now_ns)
    desk.venue.fill(number, PART, desk.now_ns)
    desk.pass_time(15)
    (sale,) = desk.status().sales
    assert (sale.state, sale.filled_quantity) == ("CANCELLED", PART)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_given_up_and_appears_after_all_is_withdrawn_counted_and_told(restarted: bool) -> None:
    desk = selling()
    number = unanswered(desk)
    desk.pass_time(10)
    assert desk.status().sales[0].state == "NEVER_PLACED"
    assert desk.status().used_usd == 0
    desk.venue.usdt = D(5_000)
    desk.venue.take(desk.sells[0], desk.now_ns)
    desk.venue.fill(number, PART, desk.now_ns)
    if restarted:
        desk.reborn()
    desk.pass_time(40)
    (sale,) = desk.status().sales
    assert (sale.state, sale.filled_quantity) == ("CANCELLED", PART)
    assert desk.status().used_usd == PART * BID
    assert desk.venue.orders[number].state == "cancelled"
    assert any("after all" in text for text in desk.told("order_unresolved"))
    assert len(desk.sells) == 1


def test_a_query_that_is_never_answered_is_told_with_its_reason() -> None:
    desk = selling()
    desk.accept()
    row = "unknown: price of row 3"
    instead(desk, FindSale, lambda ask: bool(desk.on(SaleNotAnswered(ask.client_order_id, row))) or True)
    desk.pass_time(60)
    (text,) = desk.told("order_unresolved")
    assert row in text
    assert row in desk.status().detail
    assert any("CANCELLING" in text for text in desk.told("cash_low"))
    assert len(desk.sells) == 1


def test_a_cancel_that_is_always_refused_is_told_with_its_reason() -> None:
    desk = selling()
    number = desk.accept()
    refusal = CancelRefused(client_order_id=number, code=1, text="not now")
    instead(desk, WithdrawSale, lambda _: bool(desk.on(refusal)) or True)
    desk.pass_time(60)
    (text,) = desk.told("order_unresolved")
    assert "not now" in text
    desk.venue.cancel(number)
    desk.pass_time(10)
    assert [alert.resolved for alert in desk.alerts if alert.code == "order_unresolved"] == [False, True]


@pytest.mark.parametrize("halted", [True, False])
def test_an_unknown_sale_is_withdrawn_too_on_a_halt_or_when_its_time_is_over(halted: bool) -> None:
    desk = selling()
    withdrawn: list[int] = []
    instead(desk, WithdrawSale, lambda effect: withdrawn.append(effect.order.client_order_id))
    instead(desk, FindSale, lambda ask: bool(desk.on(SaleNotAnswered(ask.client_order_id, "down"))) or True)
    number = unanswered(desk)
    if halted:
        desk.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="eva"))
        desk.work()
    else:
        assert not withdrawn
        desk.pass_time(6)
    assert withdrawn
    assert set(withdrawn) == {number}


@pytest.mark.parametrize("lag_s", [1.4, 2.9])
def test_a_balance_that_does_not_show_the_last_sale_yet_sells_nothing(lag_s: float) -> None:
    rule = msgspec.structs.replace(RULE, rest_s=9, interval_s=10)
    desk = Desk(rule).pass_time(2)
    number = desk.accept()
    before = desk.venue.seen()

    def lagging(_: Any) -> bool:
        sale = desk.status().sales[0]
        is_old = sale.state != "FILLED" or desk.now_ns < sale.updated_ns + lag_s * SECOND
        old = msgspec.structs.replace(before, asset=Holding(D(1), D(1)), claimed=D(0))
        desk.on(CashRead(desk.now_ns, old if is_old else desk.venue.seen(), tuple(desk.venue.resting)))
        return True

    instead(desk, ReadCash, lagging)
    desk.pass_time(8)
    desk.venue.fill(number, desk.sells[0].quantity, desk.now_ns)
    desk.pass_time(30)
    assert desk.status().code == "enough"
    assert len(desk.sells) == 1


def test_a_reading_from_before_the_end_of_a_sale_has_settled_does_not_count() -> None:
    desk = Desk(msgspec.structs.replace(RULE, interval_s=6)).pass_time(2)
    desk.venue.fill(desk.accept(), PART, desk.now_ns)
    while desk.status().sales[0].state != "CANCELLED":
        desk.pass_time(0.5)
    ended_ns = desk.status().sales[0].updated_ns
    instead(desk, ReadCash, lambda _: False)
    desk.venue.usdt = D(100)
    desk.pass_time(7)
    for after_s, sales in ((-1, 1), (2.9, 1), (3.1, 2)):
        for _ in range(2):
            desk.on(CashRead(ended_ns + round(after_s * SECOND), desk.venue.seen()))
            desk.work()
        assert len(desk.sells) == sales


def test_a_venue_that_cannot_be_read_is_told_with_its_reason_until_it_can() -> None:
    desk = Desk()
    desk.answers = False
    desk.pass_time(30)
    assert not desk.told("cash_low")
    assert desk.status().code == "not_read"
    assert "down" in desk.status().detail
    desk.pass_time(60)
    (text,) = desk.told("cash_low")
    assert "cannot be read since" in text
    assert "down" in text
    desk.answers = True
    desk.venue.usdt = D(5_000)
    desk.pass_time(20)
    assert [alert.resolved for alert in desk.alerts if alert.subject == "account"] == [False, True]


def refused(kind: Any, hours: float) -> Desk:
    """A venue that refuses every sale at once, for so long."""
    desk = Desk()
    end_ns = desk.now_ns + round(hours * 3_600) * SECOND
    while desk.now_ns < end_ns:
        seen = len(desk.sells)
        desk.pass_time(60, until_sold=True)
        for order in desk.sells[seen:]:
            desk.on(OrderRefused(client_order_id=order.client_order_id, kind=kind, code=4_002, text="no right"))
        desk.work()
    return desk


def test_what_the_venue_refuses_is_tried_ever_more_rarely() -> None:
    desk = refused("rejected", 0.3)
    assert 4 <= len(desk.sells) <= 5
    assert "refusals" in desk.status().detail


def test_a_key_that_is_refused_is_tried_again_after_a_restart_only() -> None:
    desk = refused("auth", 0.05)
    assert len(desk.sells) == 1
    assert desk.status().code == "refused"
    assert "no right" in desk.status().detail
    desk.reborn().pass_time(30)
    assert len(desk.sells) == 2


def test_an_order_row_that_lags_behind_its_fills_does_not_hide_them() -> None:
    desk = selling()
    number = desk.accept()
    desk.venue.fill(number, PART, desk.now_ns)
    order = msgspec.structs.replace(
        desk.venue.orders[number], state="cancelled", filled_quantity=D(0), average_price=None
    )
    late_ns = desk.now_ns + SECOND

    def lagging(_: Any) -> bool:
        fills = tuple(desk.venue.fills) if desk.now_ns > late_ns else ()
        desk.on(SaleFound(client_order_id=number, asked_ns=desk.now_ns, order=order, fills=fills))
        return True

    instead(desk, FindSale, lagging)
    desk.pass_time(10)
    (sale,) = desk.status().sales
    assert (sale.state, sale.filled_quantity, sale.average_price) == ("CANCELLED", PART, BID)
    assert desk.status().used_usd == PART * BID


def test_the_day_of_the_cap_begins_with_the_end_of_a_sale() -> None:
    book = CashBook()
    asked = CashSaleRequested(
        client_order_id=1, trade_number=1, symbol="BTCUSDT", quantity=D(1), price=D(1), reserved_usd=D(100), why=""
    )
    book.apply(asked, 0)
    book.apply(CashSaleMoved(client_order_id=1, state="UNKNOWN", reason=""), 1)
    end_ns = DAY_NS + 1
    assert book.used_usd(end_ns) == 100
    filled = CashSaleMoved(client_order_id=1, state="FILLED", reason="", filled_quantity=D(1), average_price=D(99))
    book.apply(filled, end_ns)
    assert book.used_usd(end_ns + 1) == 99
    assert book.used_usd(end_ns + DAY_NS) == 0


def test_a_stall_begins_the_two_readings_anew_and_drops_the_one_under_way() -> None:
    desk = Desk()
    assert desk.status().code == "confirming"
    held: list[tuple[int, CashSeen]] = []
    instead(desk, ReadCash, lambda _: held.append((desk.now_ns, desk.venue.seen())))
    desk.pass_time(1.5)
    assert len(held) == 1, "the second reading is under way"
    desk.on(LoopStalled(gap_ns=3 * SECOND))
    desk.work()
    desk.wait(500)
    desk.on(CashRead(*held[0]))
    desk.snapshot()
    desk.work()
    assert not desk.sells
    desk.on(CashRead(desk.now_ns, held[0][1]))
    desk.work()
    assert not desk.sells
    assert desk.status().code == "confirming"


def test_a_stall_or_a_restart_gives_what_was_sent_before_its_time_to_arrive() -> None:
    desk = selling()
    unanswered(desk)
    desk.pass_time(5.5)
    desk.on(LoopStalled(gap_ns=3 * SECOND))
    desk.work()
    desk.pass_time(5)
    assert desk.status().sales[0].state == "UNKNOWN"
    desk.reborn().pass_time(5.5)
    assert desk.status().sales[0].state == "UNKNOWN"
    desk.pass_time(10)
    assert desk.status().sales[0].state == "NEVER_PLACED"


def lost_journal(desk: Desk, *, cancels_arrive: bool = True) -> Desk:
    """Execution after its journal was lost, beside the same venue."""
    lost = Desk()
    lost.venue, lost.now_ns = desk.venue, desk.now_ns
    if not cancels_arrive:
        instead(lost, WithdrawSale, lambda _: False)
    return lost.reborn()


def test_nothing_is_sold_beside_an_order_that_the_journal_lost() -> None:
    desk = selling()
    number = desk.accept()
    lost = lost_journal(desk, cancels_arrive=False).pass_time(60)
    assert not lost.sells
    assert str(number) in lost.status().detail
    assert lost.status().used_usd >= desk.sells[0].quantity * (desk.sells[0].price or 0)
    assert [alert.subject for alert in lost.alerts if alert.code == "order_unknown_to_journal"] == [str(number)]
    desk.venue.cancel(number)
    lost.pass_time(60)
    assert len(lost.sells) == 1


def test_what_a_lost_journal_sold_within_the_day_counts_against_the_cap() -> None:
    desk = selling()
    number = desk.accept()
    desk.venue.fill(number, PART, desk.now_ns)
    desk.venue.cancel(number)
    desk.venue.usdt = D(5_000)
    lost = lost_journal(desk).pass_time(10)
    assert lost.status().used_usd == PART * BID
    lost.now_ns += DAY_NS
    assert lost.status().used_usd == 0


def test_while_what_was_sold_before_cannot_be_told_nothing_is_sold_and_a_person_knows() -> None:
    desk = Desk()
    instead(desk, FindStrays, lambda _: bool(desk.on(StraysNotFound("auth: no right"))) or True)
    desk.reborn().pass_time(90)
    assert not desk.sells
    assert any("auth: no right" in text for text in desk.told("cash_low"))

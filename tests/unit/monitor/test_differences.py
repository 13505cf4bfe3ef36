"""What comparisons with the venue found: each foreign order is told and ends by itself, the rest by kind."""

from __future__ import annotations

from decimal import Decimal

from services.monitor.effects import AlertRecord
from shared.messages.base import Side
from shared.messages.reconciliation import ForeignOrder, MissedFill
from tests.unit.monitor.desk import SYMBOL, Script, compared, foreign_position, summary

CODE = "reconciliation_differences"
HOUR = 3_600


def order(number: int, symbol: str = "X", side: Side = "buy", quantity: str = "0.2") -> ForeignOrder:
    return ForeignOrder(
        symbol=symbol,
        done="left_alone",
        detail=f"order {number} is open at the venue and not the desk's",
        venue_order_id=number,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(410),
    )


def missed(number: int) -> MissedFill:
    return MissedFill(
        symbol="X",
        done="taken_over",
        detail=f"fill {number}",
        trade_id="t1",
        client_order_id=1,
        venue_trade_id=number,
        quantity=Decimal("0.1"),
        price=Decimal(3),
    )


def begun(records: list[AlertRecord]) -> list[str]:
    return [record.subject for record in records if record.code == CODE and not record.resolved]


def over(records: list[AlertRecord]) -> list[str]:
    return [record.subject for record in records if record.code == CODE and record.resolved]


def test_a_foreign_order_is_told_while_an_older_one_stands_and_each_ends_by_itself() -> None:
    script = Script()
    small, large = order(77), order(78, "Y", "sell", "50")
    (first,) = script.hear(compared(small), 1)
    assert (first.subject, first.severity) == ("foreign_order/X/77", "warning")
    assert "X: order 77 is open at the venue and not the desk's, to buy 0.2 at 410" in first.text
    assert script.hear(compared(small), 60) == [], "it stands, and is told"
    (second,) = script.hear(compared(small, large), HOUR)
    assert second.subject == "foreign_order/Y/78"
    assert second.text.endswith("to sell 50 at 410")
    (ended,) = script.hear(compared(large), HOUR + 60)
    assert (ended.subject, ended.resolved) == ("foreign_order/X/77", True)
    assert ended.text == "the newest comparison with the venue finds no foreign order X 77"
    assert summary(script.hear(compared(), HOUR + 120)) == [(CODE, "foreign_order/Y/78", True)]


def test_orders_of_two_products_that_have_the_same_number_are_two() -> None:
    records = Script().hear(compared(order(7, "X"), order(7, "Y")), 1)
    assert begun(records) == ["foreign_order/X/7", "foreign_order/Y/7"]


def test_a_foreign_position_is_told_by_its_symbol() -> None:
    script = Script()
    assert begun(script.hear(compared(foreign_position()), 1)) == [f"foreign_position/{SYMBOL}"]
    assert over(script.hear(compared(), 60)) == [f"foreign_position/{SYMBOL}"]


def test_what_does_not_stand_is_told_by_its_kind_until_a_comparison_finds_none_of_it() -> None:
    script = Script()
    script.hear(compared(order(9)), 1)
    (record,) = script.hear(compared(order(9), missed(1), missed(2)), 2)
    assert record.subject == "missed_fill"
    assert record.text == "the comparison with the venue (minute) found missed fill: X: fill 1; X: fill 2"
    assert script.hear(compared(order(9), missed(3)), 3) == []
    (ended,) = script.hear(compared(order(9)), 4)
    assert (ended.subject, ended.resolved) == ("missed_fill", True)
    assert ended.text == "the newest comparison with the venue finds no missed fill"


def test_what_stands_since_before_a_restart_is_not_told_again_and_what_came_since_is() -> None:
    before = Script().hear(compared(order(77), order(78)), -60)
    script = Script(before=before)
    records = script.hear(compared(order(78), order(79)), 1)
    assert begun(records) == ["foreign_order/X/79"]
    assert over(records) == ["foreign_order/X/77"]


def test_of_very_many_at_once_the_first_ten_are_told_by_themselves_and_the_others_together() -> None:
    script = Script()
    crowd = [order(number) for number in range(100, 130)]
    records = script.hear(compared(*crowd), 1)
    assert begun(records) == [*(f"foreign_order/X/{number}" for number in range(100, 110)), "foreign_order"]
    assert "order 110 is open" in records[-1].text
    assert records[-1].text.endswith("; and 10 more, see: voldesk reconcile")
    assert script.hear(compared(*crowd), 60) == []
    assert script.hear(compared(*crowd), 2 * HOUR) == [], "it was told of them"
    (new,) = script.hear(compared(*crowd, order(500, "Y", "sell", "50")), 2 * HOUR + 60)
    assert new.subject == "foreign_order/Y/500", "and was not of this one"
    (ended,) = script.hear(compared(*crowd[:10], order(500, "Y", "sell", "50")), 2 * HOUR + 120)
    assert (ended.subject, ended.resolved) == ("foreign_order", True)
    assert ended.text == "the newest comparison with the venue finds no foreign order, but what is told by itself"


def test_another_desk_on_the_account_that_replaces_its_orders_all_the_time_is_told_of_a_few_times_an_hour() -> None:
    script = Script()
    told, ends, number = [], [], 0
    for minute in range(3 * 60):
        number += 4
        records = script.hear(compared(*(order(number + each) for each in range(4))), 60 * minute)
        told += begun(records)
        ends += over(records)
    by_itself = [subject for subject in told if subject != "foreign_order"]
    assert 10 <= len(by_itself) <= 30, "ten an hour"
    assert told.count("foreign_order") <= 4, "it is open all the while"
    assert len(ends) <= len(told)
    closing = script.hear(compared(), 3 * HOUR)
    assert len(ends) + len(over(closing)) == len(told), "nothing is left open"

"""Each row of a trade's journal as a sentence that a trader reads."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from services.execution import rows
from services.execution.story import line_of
from shared.messages.steps import Entry
from shared.messages.trades import OrderState, TellTrade
from shared.messages.venue import VenueFill
from tests.unit.execution.play import CALL, Script, leg

D = Decimal


def told(row: rows.Row) -> str:
    return line_of(Entry(at_ns=7, cause_id="c1", row=row)).text


def test_an_opening_is_told_with_its_gates_and_its_grant() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    (asked,) = (entry.row for entry in script.entries if isinstance(entry.row, rows.TradeRequested))
    request = msgspec.structs.replace(
        asked.request, entry_reasons=("time_window: it is 13:05 UTC", "account: 1 s old")
    )
    text = told(msgspec.structs.replace(asked, request=request))
    assert text.startswith(f"Intent {request.intent_id} of {request.strategy} is accepted: buy ")
    assert "Its gates were open: time_window: it is 13:05 UTC; account: 1 s old." in text
    assert f"Risk granted {request.grant.margin_usd:.2f} USD of margin" in text
    assert f"{CALL} {request.grant.legs[0].worst_price}" in text
    assert "Its gates" not in told(asked), "an intent of an older host names none"
    assert script.ask(TellTrade(trade_id=trade_id)).lines[0].text == told(asked)


@pytest.mark.parametrize("state", get_args(OrderState))
def test_every_state_of_an_order_is_a_sentence_with_its_reason(state: OrderState) -> None:
    text = told(rows.OrderMoved(client_order_id=42, state=state, reason="because"))
    assert "order 42" in text.lower()
    assert "because." in text


def test_an_unknown_outcome_says_that_nothing_is_sent_again() -> None:
    text = told(rows.OrderMoved(client_order_id=42, state="UNKNOWN", reason="no outcome within 6000 ms"))
    assert text == (
        "Order 42 has an unknown outcome: no outcome within 6000 ms. It is looked for and not sent again."
    )


def test_a_second_attempt_is_told_as_one_and_a_close_as_reduce_only() -> None:
    row = rows.OrderRequested(
        client_order_id=42,
        trade_id="t1",
        leg_index=1,
        purpose="close",
        attempt=1,
        symbol=CALL,
        side="sell",
        quantity=D("0.1"),
        price=D("98.5"),
        reduce_only=True,
        why="mid",
    )
    assert told(row) == f"Order 42 as attempt 2: sell 0.1 {CALL} at 98.5 to close leg 1, reduce-only (mid)."
    first = msgspec.structs.replace(row, attempt=0, adopted=True, reduce_only=False)
    assert told(first) == f"Found at the venue, order 42: sell 0.1 {CALL} at 98.5 to close leg 1 (mid)."


def test_money_is_told_with_its_direction() -> None:
    fill = VenueFill(
        venue_trade_id=9,
        venue_order_id=8,
        client_order_id=42,
        symbol=CALL,
        side="buy",
        quantity=D("0.1"),
        price=D("99"),
        fee_usd=None,
        is_taker=False,
        venue_ns=1,
    )
    assert told(rows.FillSeen(client_order_id=42, fill=fill)) == (
        "Order 42 trades 0.1 at 99 as maker, fee not told yet, venue's trade 9."
    )
    taken = msgspec.structs.replace(fill, fee_usd=D("0.3"), is_taker=True)
    assert "as taker, fee 0.3 USD" in told(rows.FillSeen(client_order_id=42, fill=taken))
    settled = rows.LegSettled(
        trade_id="t1",
        leg_index=0,
        quantity=D("0.1"),
        settlement_price=D(100),
        cash_flow_usd=D("-5.5"),
        fee_usd=D("0.1"),
        venue_ns=1,
    )
    assert told(settled) == "The venue settles 0.1 of leg 0 at 100: paid 5.5 USD, delivery fee 0.1 USD."
    assert "received 5.5 USD" in told(msgspec.structs.replace(settled, cash_flow_usd=D("5.5")))


def test_what_happened_outside_names_its_price_or_that_there_is_none() -> None:
    outside = rows.LegClosedOutside(trade_id="t1", leg_index=0, quantity=D(1), price=None, reason="not at the venue")
    assert told(outside) == "1 of leg 0 is gone by no order of ours (no mark is known): not at the venue."
    assert "booked at mark 5" in told(msgspec.structs.replace(outside, price=D(5)))
    assert told(msgspec.structs.replace(outside, price=D(5), venue_trade_id=3)).startswith(
        "A direct flatten closes 1"
    )


def test_the_rest_of_a_trade_s_rows_are_sentences_too() -> None:
    assert told(rows.TradeMoved(trade_id="t1", state="OPEN", reason="all filled")) == "The trade is OPEN: all filled."
    stopped = rows.OpeningStopped(trade_id="t1", reason="a halt", void=True)
    assert told(stopped) == "Nothing more is opened: a halt. What was filled is unwound."
    close = rows.CloseRequested(trade_id="t1", reason="P&L 5", requested_by="strategy s", purpose="close")
    assert told(close) == "strategy s asks to close it: P&L 5."
    assert told(rows.FeeLearned(venue_trade_id=9, fee_usd=D("0.3"))).endswith("trade 9: 0.3 USD.")
    assumed = rows.FillAssumed(client_order_id=42, filled_quantity=D(1), average_price=D(2))
    assert "counts as filled at 2" in told(assumed)
    sighted = rows.OrderSighted(client_order_id=42, venue_order_id=7, filled_quantity=D(0))
    assert told(sighted) == "Order 42 is 7 at the venue, 0 filled."

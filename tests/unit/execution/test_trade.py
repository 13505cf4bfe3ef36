"""The life of a trade when nothing goes wrong, and how it is told."""

from __future__ import annotations

from decimal import Decimal as D

from shared.messages.trades import OrderFilled, TellTrade, TradeUpdate
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, SECOND, Script, acked, fill, leg, seen


def test_a_strangle_opens_concurrently_and_closes_flat() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell", "0.1"), leg(PUT, "sell", "0.1"))
    orders = script.placed()
    assert [(o.symbol, o.side, o.quantity, o.reduce_only) for o in orders] == [
        (CALL, "sell", D("0.1"), False),
        (PUT, "sell", D("0.1"), False),
    ]
    assert [o.price for o in orders] == [D(980), D(882)]  # mid less 2 %
    assert script.trade(trade_id).state == "OPENING"
    for number, order in enumerate(orders, 1):
        script.fills_all(order, number)
    opened = script.trade(trade_id)
    assert opened.state == "OPEN"
    assert opened.entry_premium_usd == D("-186.2")
    assert not opened.grant_open
    script.wait(5_000)
    script.snapshot(positions=script.positions())

    assert script.close(trade_id).state == "PENDING_CLOSE"
    closing = script.placed()
    assert [(o.symbol, o.side, o.quantity, o.reduce_only, o.price) for o in closing] == [
        (CALL, "buy", D("0.1"), True, D(1000)),
        (PUT, "buy", D("0.1"), True, D(900)),
    ]
    for number, order in enumerate(closing, 11):
        script.fills_all(order, number)
    closed = script.trade(trade_id)
    assert closed.state == "CLOSED"
    assert closed.realized_pnl_usd == D("-3.8")
    assert closed.fees_usd == D(2)
    assert [each.held_quantity for each in closed.legs] == [0, 0]
    assert len({f.venue_trade_id for f in script.published(OrderFilled)}) == 4


def test_long_legs_open_before_short_ones_and_close_after_them() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell"), leg(HIGH_CALL, "buy"))
    (long_order,) = script.placed()
    assert (long_order.symbol, long_order.side) == (HIGH_CALL, "buy")
    script.fills_all(long_order, 1)
    (short_order,) = script.placed()
    assert (short_order.symbol, short_order.side) == (CALL, "sell")
    script.fills_all(short_order, 2)
    script.close(trade_id)
    (first,) = script.placed()
    assert (first.symbol, first.side) == (CALL, "buy")
    script.fills_all(first, 3)
    (second,) = script.placed()
    assert (second.symbol, second.side) == (HIGH_CALL, "sell")
    script.fills_all(second, 4)
    assert script.state(trade_id) == "CLOSED"


def test_the_story_tells_what_was_decided_and_what_happened_in_order() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    story = script.ask(TellTrade(trade_id=trade_id))
    kinds = [line.kind for line in story.lines]
    assert kinds[:4] == ["trade_requested", "market_noted", "trade_moved", "order_requested"]
    assert kinds.index("fill_seen") < kinds.index("trade_moved", 3)
    assert all(line.text for line in story.lines)
    assert story.lines[0].cause_id == "r1"
    assert [order.state for order in story.orders] == ["FILLED"]


def test_a_partial_fill_is_repriced_for_the_rest_only_after_the_cancel_is_confirmed() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (first,) = script.placed()
    script.on(acked(first)).on(seen(first, "partial", "0.4")).on(fill(first, 1, "0.4"))
    script.chain_options = {"marks": {CALL: 1050.0, HIGH_CALL: 300.0, PUT: 900.0, "BTCUSD-28SEP26-80000-P": 250.0}}
    script.wait(11_000)
    assert script.cancelled() == [first.client_order_id]
    assert script.placed() == []
    script.on(fill(first, 2, "0.1"))
    script.cancels_all(first, "0.5")
    (second,) = script.placed()
    assert second.quantity == D("0.5")
    assert second.price == D(1071)
    script.fills_all(second, 3)
    assert script.trade(trade_id).state == "OPEN"
    assert script.held(trade_id) == [D(1)]


def test_every_trade_update_of_a_trade_is_a_change() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    before = len(script.published(TradeUpdate))
    script.on(seen(order, "filled", "1")).on(fill(order, 1)).on(acked(order))
    assert len(script.published(TradeUpdate)) == before
    assert script.state(trade_id) == "OPEN"


def test_no_update_is_older_than_the_one_before_though_the_clock_was_set_back_over_a_restart() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    told_ns = script.trade(trade_id).updated_ns
    script.now_ns = told_ns - 3 * SECOND
    script.restarted()
    script.snapshot(positions=script.positions())
    script.close(trade_id)
    assert script.state(trade_id) == "CLOSING"
    assert [each.updated_ns for each in script.published(TradeUpdate)] == sorted(
        each.updated_ns for each in script.published(TradeUpdate)
    )
    assert script.trade(trade_id).updated_ns >= told_ns

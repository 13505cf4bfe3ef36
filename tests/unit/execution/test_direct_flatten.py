"""What the record says of trades that `voldesk flatten --direct` closed while execution was dead."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from services.execution.rows import CloseRequested, DirectFlattenFound, LegClosedOutside
from services.execution.views import trade_update
from shared.ids import OrderKey, client_order_id, next_trade_number
from shared.messages.base import Side
from shared.messages.control import DirectFlattenRecord, DirectOrder, FlattenLatch
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.steps import RaiseAlert
from shared.messages.trades import TradeUpdate
from shared.messages.venue import NewOrder, VenueFill, VenueOrder
from tests.unit.execution.play import ACCOUNT, CALL, PUT, SECOND, Script, fill, leg, position, seen, venue_id
from tests.unit.execution.test_surplus import overfilled

D = Decimal


def _direct(script: Script, symbol: str, side: Side, quantity: str, price: str, place: int = 0) -> NewOrder:
    """An order of the direct flatten: ours by its id, of a trade number that is nobody's."""
    key = OrderKey(
        desk=7,
        trade_number=next_trade_number(None, script.now_ns),
        leg_index=place,
        purpose="flatten",
        attempt=0,
    )
    return NewOrder(
        client_order_id=client_order_id(key),
        symbol=symbol,
        side=side,
        quantity=D(quantity),
        price=D(price),
        time_in_force="IOC",
        reduce_only=True,
    )


def _told(script: Script, trade_id: str) -> TradeUpdate:
    """The trade as it would be published now."""
    book = script.core.book
    return trade_update(book.trades[trade_id], book, ACCOUNT)


def _look_twice(script: Script, orders: list[VenueOrder], fills: list[VenueFill]) -> None:
    """The history window of the second look begins later: the fills are in the first one only."""
    script.snapshot(orders=orders, fills=fills)
    script.wait(2_100)
    script.snapshot()


@pytest.mark.parametrize("latched", [True, False])
def test_a_direct_flatten_is_booked_with_its_prices_and_fees_and_nothing_is_alarmed(latched: bool) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "sell"))
    opened = _told(script, trade_id)
    script.wait(10_000)
    script.alerts()
    call = _direct(script, CALL, "sell", "1", "950", 0)
    put = _direct(script, PUT, "buy", "1", "940", 1)
    fills = [fill(call, 901, fee="1.25", at_ns=script.now_ns), fill(put, 902, fee="2.5", at_ns=script.now_ns)]
    # The venue's trade history does not carry our ids.
    fills = [msgspec.structs.replace(each, client_order_id=None) for each in fills]
    script.wait(5_000)
    script.restarted()
    if latched:
        script.on(FlattenLatch(latch_id="x", raised_by="flatten --direct", reason="host lost"))
    _look_twice(script, [seen(call, "filled", "1"), seen(put, "filled", "1")], fills)

    assert script.state(trade_id) == "CLOSED"
    assert script.alerts() == []
    assert script.placed() == []
    done = _told(script, trade_id)
    assert [each.close_price for each in done.legs] == [D(950), D(940)]
    assert done.fees_usd == opened.fees_usd + D("3.75")
    assert done.realized_pnl_usd == D(950) - D(940) - opened.entry_premium_usd
    story = [line.text for line in script.core.book.trades[trade_id].story if "direct flatten" in line.text]
    assert any("at 950" in text for text in story)


def test_one_execution_closes_two_trades_and_its_fee_is_shared_to_the_last_digit() -> None:
    script = Script().started()
    first = script.opened(leg(CALL, "buy"))
    script.wait(5_000)
    second = script.opened(leg(CALL, "buy", "2"), ordinal=1)
    fees = {name: _told(script, name).fees_usd for name in (first, second)}
    script.wait(10_000)
    order = _direct(script, CALL, "sell", "3", "950")
    execution = fill(order, 901, fee="0.0000001", at_ns=script.now_ns)
    script.wait(5_000)
    script.restarted()
    _look_twice(script, [seen(order, "filled", "3")], [execution])
    assert [script.state(name) for name in (first, second)] == ["CLOSED", "CLOSED"]
    paid = [_told(script, name).fees_usd - fees[name] for name in (first, second)]
    assert sum(paid, D(0)) == D("0.0000001")
    assert [row.quantity for row in script.rows(LegClosedOutside)] == [D(2), D(1)]


def test_an_execution_is_booked_once_and_never_to_a_trade_that_was_opened_after_it() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.wait(10_000)
    order = _direct(script, CALL, "sell", "2", "950")
    execution = fill(order, 901, "2", at_ns=script.now_ns)
    orders, fills = [seen(order, "filled", "2")], [execution]
    script.wait(5_000)
    script.restarted()
    _look_twice(script, orders, fills)
    assert script.state(trade_id) == "CLOSED"
    script.wait(5_000)
    later = script.opened(leg(CALL, "buy"), ordinal=1)
    script.alerts()
    script.wait(5_000)
    for _ in range(2):
        # nothing explains that this one is gone
        _look_twice(script, orders, fills)
        script.wait(30_000)
    _look_twice(script, orders, fills)
    assert [row.venue_trade_id for row in script.rows(LegClosedOutside)] == [901, None]
    assert "leg_closed_outside" in script.alerts()
    assert script.core.book.trades[later].legs[0].close_price != D(950)


def test_what_a_direct_flatten_left_over_is_alarmed_as_before() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy", "3"))
    script.wait(10_000)
    script.alerts()
    order = _direct(script, CALL, "sell", "2", "950")
    execution = fill(order, 901, at_ns=script.now_ns - SECOND)
    script.snapshot(orders=[seen(order, "filled", "2")], fills=[execution], positions=[position(CALL, "1")])
    script.wait(2_100)
    script.taken([position(CALL, "1")])
    assert script.state(trade_id) == "BROKEN"
    assert "trade_broken" in script.alerts()
    (rest,) = script.placed()
    assert (rest.symbol, rest.quantity, rest.reduce_only) == (CALL, D(1), True)


def _record(*orders: NewOrder, reason: str = "host lost", named: bool = False) -> DirectFlattenRecord:
    """What the flatten wrote down; `named`: with the venue's ids of its orders."""
    return DirectFlattenRecord(
        run_id="run-1",
        raised_by="flatten --direct",
        reason=reason,
        orders=tuple(
            DirectOrder(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                at_ns=0,
                venue_order_id=venue_id(order) if named else None,
            )
            for order in orders
        ),
    )


@pytest.mark.parametrize("latched", [True, False])
def test_by_its_record_a_trade_is_closed_by_the_flatten_and_by_nobody_else(latched: bool) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "sell"))
    script.wait(10_000)
    script.alerts()
    call, put = _direct(script, CALL, "sell", "1", "950", 0), _direct(script, PUT, "buy", "1", "940", 1)
    fills = [fill(order, 901 + index, at_ns=script.now_ns) for index, order in enumerate((call, put))]
    script.wait(5_000)
    script.restarted()
    if latched:
        script.on(FlattenLatch(latch_id="x", raised_by="flatten --direct", reason="host lost"))
    script.on(_record(call, put))
    _look_twice(script, [seen(call, "filled", "1"), seen(put, "filled", "1")], fills)

    trade = script.core.book.trades[trade_id]
    assert (trade.state, trade.reason) == ("CLOSED", "flatten: host lost")
    assert trade.close is not None
    assert (trade.close.requested_by, trade.close.purpose) == ("flatten --direct", "flatten")
    assert len(script.rows(CloseRequested)) == 1
    assert script.placed() == []
    assert script.alerts() == []
    script.wait(60_000)
    script.snapshot()
    assert script.published(ReconciliationReport)[-1].differences == ()
    assert script.core.book.trades[trade_id].state == "CLOSED"


@pytest.mark.parametrize(
    ("policy", "codes"),
    [("best_effort", {"trade_overfilled"}), ("atomic", {"trade_overfilled", "surplus_not_reduced"})],
)
def test_what_was_told_of_too_much_is_over_when_the_flatten_leaves_nothing_to_close(
    policy: str, codes: set[str]
) -> None:
    script = Script().started()
    trade_id, _ = overfilled(script, policy=policy)
    script.wait(200_000)
    alerts = script.take(RaiseAlert)
    assert codes <= {each.code for each in alerts if not each.resolved and each.subject == trade_id}
    assert script.placed() == []
    order = _direct(script, CALL, "sell", "1.4", "950")
    execution = fill(order, 901, at_ns=script.now_ns)
    script.on(_record(order))
    _look_twice(script, [seen(order, "filled", "1.4")], [execution])
    assert script.state(trade_id) == "CLOSED"
    assert {each.code for each in script.take(RaiseAlert) if each.resolved and each.subject == trade_id} == codes


def test_an_order_that_no_list_of_the_venue_names_is_known_by_what_the_record_calls_it() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.wait(10_000)
    order = _direct(script, CALL, "sell", "1", "950")
    nameless = msgspec.structs.replace(fill(order, 901, at_ns=script.now_ns), client_order_id=None)
    script.wait(5_000)
    script.restarted()
    script.on(_record(order, named=True))
    _look_twice(script, [], [nameless])
    assert script.core.book.trades[trade_id].reason == "flatten: host lost"
    assert [row.price for row in script.rows(LegClosedOutside)] == [D(950)]


def test_what_a_recorded_flatten_left_over_is_flattened_and_nothing_is_called_broken() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy", "3"))
    script.wait(10_000)
    script.alerts()
    order = _direct(script, CALL, "sell", "2", "950")
    execution = fill(order, 901, at_ns=script.now_ns - SECOND)
    script.on(_record(order))
    script.snapshot(orders=[seen(order, "filled", "2")], fills=[execution], positions=[position(CALL, "1")])
    script.wait(2_100)
    script.taken([position(CALL, "1")])
    assert script.state(trade_id) == "CLOSING"
    assert script.alerts() == []
    (rest,) = script.placed()
    assert (script.order(rest).purpose, rest.quantity, rest.reduce_only) == ("flatten", D(1), True)
    kinds = [each.kind for report in script.published(ReconciliationReport) for each in report.differences]
    assert set(kinds) == {"quantity_mismatch"}


def test_a_record_is_journalled_once_over_restarts_and_only_what_is_new_of_it() -> None:
    script = Script().started()
    one, two = (_direct(script, CALL, "sell", "1", "950", place) for place in (0, 1))
    script.on(_record(one)).on(_record(one))
    script.restarted()
    script.on(_record(one, two))
    assert [len(row.orders) for row in script.rows(DirectFlattenFound)] == [1, 1]
    assert script.core.book.direct_orders.keys() == {one.client_order_id, two.client_order_id}
    assert script.refolded().book == script.core.book


def test_a_record_says_nothing_of_what_somebody_else_closed() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "buy"))
    script.wait(10_000)
    order = _direct(script, CALL, "sell", "1", "950")
    script.alerts()
    script.on(_record(order))
    for _ in range(2):
        script.wait(4_000)
        script.taken([position(PUT, "1")])
    assert script.state(trade_id) == "BROKEN"
    assert {"leg_closed_outside", "trade_broken"} <= set(script.alerts())

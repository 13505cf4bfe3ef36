"""Many orders in doubt at once: looked for together, never believed absent on less than one alone, others not kept
waiting."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.execution.effects import PlaceBatch, QueryOrder, QueryOrders
from services.execution.rows import OrderRequested
from shared.messages.quoting import ORDERS_PER_CHANGE
from shared.messages.steps import LoopStalled, Together
from shared.messages.venue import (
    NewOrder,
    OrderQueried,
    OrderQueryFailed,
    OrdersListed,
    OrdersListFailed,
    OutcomeUnknown,
    VenueFill,
    VenueOrder,
)
from tests.unit.execution.play import CALL, SECOND, Script, fill, leg, seen
from tests.unit.execution.test_quoting import change, quoting, wish

MANY = 40
AT_ONCE = 4
COUNTS_MS = 7_000
"""After so long the absence of an order counts: its request's validity and the margin."""


def sent(script: Script, trade_id: str, count: int, price: str) -> list[NewOrder]:
    """So many orders of a quoting trade, on their way."""
    for part in range(0, count, ORDERS_PER_CHANGE):
        these = min(ORDERS_PER_CHANGE, count - part)
        change(script, trade_id, place=tuple(wish("0.01", price) for _ in range(these)))
    orders = [order for batch in script.take(PlaceBatch) for order in batch.orders]
    assert len(orders) == count
    script.effects.clear()
    return orders


def lost(count: int = MANY) -> tuple[Script, list[NewOrder]]:
    """A batch of which nobody knows what became of it."""
    script = Script().started()
    trade_id = quoting(script)
    orders = sent(script, trade_id, count, "980")
    unknown = [OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out") for order in orders]
    script.on(Together(tuple(unknown)))
    return script, orders


def numbers(orders: Sequence[NewOrder]) -> set[int]:
    return {order.client_order_id for order in orders}


def listings(script: Script) -> list[QueryOrders]:
    return script.take(QueryOrders)


def asked(script: Script) -> list[QueryOrder]:
    return script.take(QueryOrder)


def listed(
    script: Script, query: QueryOrders, found: Sequence[VenueOrder] = (), fills: Sequence[VenueFill] = ()
) -> None:
    """The answer of now: these are found, the others are missing."""
    by_number = {order.client_order_id: order for order in found}
    script.on(
        OrdersListed(
            asked_ns=script.now_ns,
            found=tuple(
                OrderQueried(
                    client_order_id=number,
                    asked_ns=script.now_ns,
                    order=order,
                    fills=tuple(each for each in fills if each.client_order_id == number),
                )
                for number, order in by_number.items()
                if number is not None
            ),
            missing=tuple(ref.client_order_id for ref in query.orders if ref.client_order_id not in by_number),
            fills=(),
        )
    )


def absent(script: Script, query: QueryOrder) -> None:
    """It is not found now, as it was asked."""
    script.on(
        OrderQueried(
            client_order_id=query.client_order_id, asked_ns=script.now_ns, order=None, fills=(), alone=query.alone
        )
    )


def states(script: Script, orders: Sequence[NewOrder]) -> set[str]:
    return {script.core.book.orders[order.client_order_id].state for order in orders}


def test_orders_of_a_lost_batch_are_looked_for_by_one_reading_of_the_lists_and_all_found_go_on() -> None:
    script, orders = lost()
    (query,) = listings(script)
    assert {ref.client_order_id for ref in query.orders} == numbers(orders)
    assert asked(script) == []
    assert query.since_ns < min(script.core.book.orders[number].created_ns for number in numbers(orders))
    partly = orders[0]
    shown = [seen(partly, "partial", "0.005"), *(seen(order, "new") for order in orders[1:])]
    listed(script, query, shown, [fill(partly, 1, "0.005")])
    assert states(script, orders) == {"WORKING"}
    assert script.core.book.orders[partly.client_order_id].filled_quantity == fill(partly, 1, "0.005").quantity
    script.wait(10_000)
    assert listings(script) == asked(script) == []


def test_a_few_orders_are_asked_for_one_by_one() -> None:
    script, orders = lost(AT_ONCE)
    assert listings(script) == []
    queries = asked(script)
    assert {query.client_order_id for query in queries} == numbers(orders)
    assert not any(query.alone for query in queries)


def test_what_the_lists_lack_is_never_placed_only_once_a_query_of_its_own_lacks_it_too() -> None:
    script, orders = lost()
    (query,) = listings(script)
    listed(script, query)
    assert asked(script) == [], "before its request can have expired absence says nothing"
    for _ in range(COUNTS_MS // 100):
        script.wait(100)
        for query in listings(script):
            listed(script, query)
            if script.now_ns < script.core.book.orders[orders[0].client_order_id].unknown_ns + COUNTS_MS * 1_000_000:
                assert asked(script) == []
    assert states(script, orders) == {"UNKNOWN"}
    queries, done = asked(script), 0
    assert len(queries) == AT_ONCE
    while queries:
        assert len(queries) <= AT_ONCE
        assert all(query.alone for query in queries)
        for query in queries:
            absent(script, query)
            done += 1
            assert script.core.book.orders[query.client_order_id].state == "NEVER_PLACED"
        queries = asked(script)
    assert done == len(orders)
    assert states(script, orders) == {"NEVER_PLACED"}
    assert len(script.rows(OrderRequested)) == len(orders), "nothing was sent again"


def test_an_order_that_the_lists_lack_and_its_query_shows_is_working() -> None:
    script, orders = lost()
    for _ in range(COUNTS_MS // 100):
        script.wait(100)
        for query in listings(script):
            listed(script, query)
    hidden = {order.client_order_id: order for order in orders}
    while queries := asked(script):
        for query in queries:
            script.queried(hidden[query.client_order_id], seen(hidden[query.client_order_id], "new"))
    assert states(script, orders) == {"WORKING"}


def test_a_list_of_before_a_clock_leap_does_not_count_with_a_query_of_after_it() -> None:
    script, orders = lost(AT_ONCE + 1)
    for _ in range(COUNTS_MS // 100):
        script.wait(100)
        for query in listings(script):
            listed(script, query)
    queries = asked(script)
    assert len(queries) == AT_ONCE
    script.now_ns += 10 * SECOND
    script.on(LoopStalled(10 * SECOND))
    script.wait(COUNTS_MS - 100)
    for query in queries:
        absent(script, query)
    assert "NEVER_PLACED" not in states(script, orders)


def test_where_the_lists_cannot_be_read_each_is_looked_for_in_full_a_few_at_a_time() -> None:
    script, orders = lost()
    (query,) = listings(script)
    script.on(OrdersListFailed(client_order_ids=tuple(ref.client_order_id for ref in query.orders), reason="down"))
    assert asked(script) == [], "not at once"
    script.wait(600)
    queries = asked(script)
    assert len(queries) == AT_ONCE
    assert not any(query.alone for query in queries)
    assert listings(script) == []
    script.queried(orders[0], seen(orders[0], "new"))
    assert len(asked(script)) == (1 if orders[0].client_order_id in {q.client_order_id for q in queries} else 0)


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_twenty_seconds() -> None:
    script, orders = lost()
    assert len(listings(script)) == 1
    script.wait(19_000)
    assert listings(script) == asked(script) == []
    script.wait(2_000)
    queries = asked(script)
    assert len(queries) == AT_ONCE
    for query in queries:
        absent(script, query)
    assert len(asked(script)) == AT_ONCE
    assert len(orders) == MANY


def test_a_query_that_fails_makes_room_for_the_next() -> None:
    script, _ = lost()
    (query,) = listings(script)
    script.on(OrdersListFailed(client_order_ids=tuple(ref.client_order_id for ref in query.orders), reason="down"))
    script.wait(600)
    first = asked(script)
    for query in first:
        script.on(OrderQueryFailed(client_order_id=query.client_order_id, reason="down"))
    assert len(asked(script)) == AT_ONCE


def test_orders_that_fall_in_doubt_while_the_lists_are_read_are_in_the_next_reading() -> None:
    script, orders = lost()
    (query,) = listings(script)
    others = sent(script, next(iter(script.core.book.active)), 10, "970")
    script.on(
        Together(tuple(OutcomeUnknown(client_order_id=each.client_order_id, reason="time-out") for each in others))
    )
    assert listings(script) == asked(script) == []
    listed(script, query, [seen(order, "new") for order in orders])
    (after,) = listings(script)
    assert {ref.client_order_id for ref in after.orders} == numbers(others)


@pytest.mark.parametrize("count", [5, 100])
def test_of_many_that_were_lost_none_is_asked_for_twice_at_the_same_time(count: int) -> None:
    script, _ = lost(count)
    out: set[int] = set()
    for _ in range(60):
        for query in listings(script):
            listed(script, query)
        for query in asked(script):
            assert query.client_order_id not in out
            out.add(query.client_order_id)
        assert len(out) <= AT_ONCE
        for number in tuple(out):
            script.on(OrderQueried(client_order_id=number, asked_ns=script.now_ns, order=None, fills=(), alone=True))
            out.discard(number)
            for query in asked(script):
                assert query.client_order_id not in out
                out.add(query.client_order_id)
        script.wait(500)
    assert {each.state for each in script.core.book.orders.values()} == {"NEVER_PLACED"}


def test_one_leg_of_an_ordinary_trade_is_asked_for_as_ever() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"))
    (query,) = asked(script)
    assert (query.client_order_id, query.alone) == (order.client_order_id, False)

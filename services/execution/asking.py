"""How the venue is asked about orders that are in doubt: one by one, or, when they are many, by its lists first.

The venue takes five single queries a second, and no other read of open orders beside them. So many orders are looked
for together, by open orders, history and fills; only those that are in no list are queried by themselves, a few at a
time, those that reduce what is held before those that open.
"""

from __future__ import annotations

import msgspec

from services.execution.effects import QueryOrder, QueryOrders
from services.execution.records import Order
from services.execution.workspace import SECOND, Workspace

QUERY_TIMEOUT_NS = 20 * SECOND
_AT_ONCE = 4
"""So many single queries are out at the same time, and from one more on orders are many."""

_HISTORY_MARGIN_NS = 60 * SECOND
_LISTED_MARGIN_NS = 20 * SECOND
_LISTED_AGE_NS = 300 * SECOND
"""Older orders are queried by themselves: for one the history of hours would have to be read."""


class Query(msgspec.Struct):
    """The questions asked about one order since `first_ns`, while its state was that of `state_ns`.

    by_list: it was asked last with others. unlisted_ns: when the lists were asked that lacked it, if it is to be
    queried alone now. lists_fail: they could not be read, it is looked for by itself.
    """

    first_ns: int
    state_ns: int
    next_ns: int
    asked_ns: int | None = None
    asked: int = 0
    answers: int = 0
    absent_since_ns: int | None = None
    by_list: bool = False
    unlisted_ns: int | None = None
    lists_fail: bool = False


class Asking:
    """The orders whose turn to be asked about has come."""

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._due: dict[int, None] = {}

    def want(self, number: int) -> None:
        """Ask about the order as soon as there is room."""
        self._due[number] = None

    def drop(self, number: int) -> None:
        """There is nothing to ask, or not yet."""
        self._due.pop(number, None)

    def ask(self, queries: dict[int, Query]) -> list[int]:
        """Ask about what is due, as far as there is room; returns the numbers of those that were asked about."""
        if not self._due:
            return []
        book = self._work.book
        out = sum(each.asked_ns is not None and not each.by_list for each in queries.values())
        listing = any(each.asked_ns is not None and each.by_list for each in queries.values())
        are_many = out + len(self._due) > _AT_ONCE
        asked: list[int] = []
        listed: list[Order] = []
        for number in sorted(self._due, key=lambda number: book.orders[number].purpose == "open"):
            order, query = book.orders[number], queries[number]
            if are_many and self._goes_by_list(order, query):
                if not listing:
                    listed.append(order)
            elif out < _AT_ONCE:
                out += 1
                asked.append(number)
                self._query(order, query)
        if listed:
            self._list(listed, queries)
        asked += [order.client_order_id for order in listed]
        for number in asked:
            del self._due[number]
        return asked

    def _goes_by_list(self, order: Order, query: Query) -> bool:
        is_recent = order.created_ns > self._work.now_ns - _LISTED_AGE_NS
        return is_recent and query.unlisted_ns is None and not query.lists_fail

    def _query(self, order: Order, query: Query) -> None:
        self._asked(query, by_list=False)
        self._work.send(
            QueryOrder(
                client_order_id=order.client_order_id,
                venue_order_id=order.venue_order_id,
                symbol=order.symbol,
                since_ns=order.created_ns - _HISTORY_MARGIN_NS,
                alone=query.unlisted_ns is not None,
            )
        )

    def _list(self, orders: list[Order], queries: dict[int, Query]) -> None:
        for order in orders:
            self._asked(queries[order.client_order_id], by_list=True)
        since_ns = min(order.created_ns for order in orders) - _LISTED_MARGIN_NS
        self._work.send(QueryOrders(orders=tuple(map(self._work.ref, orders)), since_ns=since_ns))

    def _asked(self, query: Query, *, by_list: bool) -> None:
        query.asked_ns = self._work.now_ns
        query.asked += 1
        query.by_list = by_list

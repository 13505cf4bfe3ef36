"""The orders of direct flattens, as their records told of them: the part of the book that remembers them."""

from __future__ import annotations

import msgspec

from services.execution import rows

_ORDERS_KEPT = 4_000
"""More than a record that is read has, so that reading it again finds nothing new."""


class NotedOrder(msgspec.Struct, frozen=True):
    """Whose order it was, and why it was sent."""

    raised_by: str
    reason: str
    venue_order_id: int | None = None


def fold_direct(noted: dict[int, NotedOrder], row: rows.DirectFlattenFound) -> None:
    """Remember the orders of a record by their client order id; past `_ORDERS_KEPT` the oldest go."""
    for order in row.orders:
        noted[order.client_order_id] = NotedOrder(row.raised_by, row.reason, order.venue_order_id)
    while len(noted) > _ORDERS_KEPT:
        del noted[next(iter(noted))]

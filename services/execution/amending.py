"""Amendments: a working order's price moved at the venue, sent once, and true only when the venue shows it.

The order exists whatever becomes of the change, so it stays what it is and is only `is_amending`: it may be cancelled
at any moment, fills count as ever, and nothing else is asked of it before the venue was seen to rest at one price or
the other. An amendment never changes the quantity: what an order may trade in all is what was granted for it.
"""

from __future__ import annotations

from services.execution import rows
from services.execution.records import Order
from services.execution.workspace import MS, Workspace
from shared.messages.venue import VenueOrder


def amendment_counts_ns(order: Order, work: Workspace) -> int:
    """From when on the old price, seen at the venue, says that the amendment will not come any more."""
    return order.amend_ns + (work.config.order_validity_ms + work.config.evidence_margin_ms) * MS


def amendment_refused(order: Order, reason: str, work: Workspace) -> None:
    """The venue certainly did not change the order."""
    if order.is_amending:
        work.record(rows.AmendFailed(client_order_id=order.client_order_id, reason=reason))


def seen_at_its_new_price(order: Order, seen: VenueOrder, work: Workspace) -> None:
    """The venue shows the order, open or done, at the price that an amendment was to move it to."""
    if order.amend_price is not None and seen.price == order.amend_price:
        work.record(
            rows.OrderRepriced(client_order_id=order.client_order_id, price=seen.price, reason="seen at the venue")
        )


def seen_open(order: Order, seen: VenueOrder, asked_ns: int | None, work: Workspace) -> None:
    """The venue shows the order open at another price; `asked_ns` None for a push, which may be an old one."""
    number = order.client_order_id
    if order.is_amending:
        if asked_ns is not None and asked_ns >= amendment_counts_ns(order, work):
            work.record(
                rows.AmendFailed(client_order_id=number, reason="at the old price after the request's validity")
            )
    elif (
        asked_ns is not None
        and not order.at_market
        and seen.price != order.price
        and asked_ns > max(order.priced_ns, order.amend_ns) + work.config.settled_view_ms * MS
    ):
        work.record(rows.OrderRepriced(client_order_id=number, price=seen.price, reason="the venue shows this price"))

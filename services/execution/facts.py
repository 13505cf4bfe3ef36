"""What the venue says of our orders, taken in whatever order, how often and by whichever way it comes."""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.amending import seen_at_its_new_price, seen_open
from services.execution.records import Order
from services.execution.states import order_may_move
from services.execution.workspace import MS, Workspace
from shared.messages.trades import OrderState
from shared.messages.venue import OPEN_VENUE_STATES, VenueFill, VenueOrder

_UNCLAIMED_KEPT = 1_000
_LOST: tuple[OrderState, ...] = ("SENDING", "UNKNOWN", "NEVER_PLACED", "REFUSED")
"""States of which the venue's showing the order is the end."""

_FINAL_OF: dict[str, OrderState] = {
    "filled": "FILLED",
    "cancelled": "CANCELLED",
    "invalid": "CANCELLED",
    "exercised": "EXPIRED",
}


class Facts:
    """Applies sightings and fills to the book.

    A fill whose order cannot be named yet (a report without our id that overtook the acknowledgement) is kept
    until the order's venue id is known.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._work = workspace
        self._unclaimed: dict[int, VenueFill] = {}

    def order_of(self, client_order_id: int | None, venue_order_id: int | None) -> Order | None:
        """Our order by either id."""
        book = self._work.book
        if client_order_id is not None and client_order_id in book.orders:
            return book.orders[client_order_id]
        number = None if venue_order_id is None else book.order_of_venue_id.get(venue_order_id)
        return None if number is None else book.orders.get(number)

    def name(self, order: Order, venue_order_id: int) -> None:
        """Learn the venue's id of an order, and with it the fills that waited for it."""
        if order.venue_order_id is None:
            self._sighted(order, venue_order_id, order.sighted_quantity)

    def _works(self, order: Order, venue_order_id: int, reason: str) -> None:
        """It rests: state and id are one row."""
        is_new = order.venue_order_id is None
        self.move(order, "WORKING", reason, venue_order_id if is_new else None)
        if is_new:
            self._claim_waiting(venue_order_id)

    def _sighted(self, order: Order, venue_order_id: int, filled_quantity: Decimal) -> None:
        self._work.record(
            rows.OrderSighted(
                client_order_id=order.client_order_id,
                venue_order_id=venue_order_id,
                filled_quantity=max(order.sighted_quantity, filled_quantity),
            )
        )
        self._claim_waiting(venue_order_id)

    def _claim_waiting(self, venue_order_id: int) -> None:
        waiting = [fill for fill in self._unclaimed.values() if fill.venue_order_id == venue_order_id]
        for fill in waiting:
            del self._unclaimed[fill.venue_trade_id]
            self.fill(fill)

    def acked(self, order: Order, venue_order_id: int) -> None:
        """The venue took the order. What the stream said of it before stays."""
        if order.state in ("SENDING", "UNKNOWN", "NEVER_PLACED"):
            self._works(order, venue_order_id, "acknowledged")
        else:
            self.name(order, venue_order_id)

    def sighting(self, seen: VenueOrder, asked_ns: int | None) -> None:
        """The order's state as the venue reports it; `asked_ns` None for a push."""
        order = self.order_of(seen.client_order_id, seen.venue_order_id)
        if order is None:
            return
        if self._is_other(order, seen):
            return
        if seen.state == "invalid" and order.state == "REFUSED":
            return
        opens = seen.state in OPEN_VENUE_STATES and order.state in _LOST
        is_unnamed = order.venue_order_id is None and not opens
        if seen.filled_quantity > order.sighted_quantity or is_unnamed or _is_renamed(order, seen):
            self._sighted(order, seen.venue_order_id, seen.filled_quantity)
        if order.is_waiting and seen.state in ("new", "partial"):
            self._work.record(rows.StopTriggered(client_order_id=order.client_order_id))
        seen_at_its_new_price(order, seen, self._work)
        if seen.state in OPEN_VENUE_STATES:
            self._seen_open(order, seen.venue_order_id, asked_ns)
            seen_open(order, seen, asked_ns, self._work)
        elif _is_outlived(order, seen):
            return
        elif not order.is_final or order.state in ("NEVER_PLACED", "REFUSED"):
            self.move(order, _final_state(order, seen), f"{seen.state} at the venue, {seen.filled_quantity} filled")

    def _seen_open(self, order: Order, venue_order_id: int, asked_ns: int | None) -> None:
        confirmed_ns = order.state_ns + self._work.config.cancel_confirm_ms * MS
        if order.state in _LOST:
            self._works(order, venue_order_id, "seen open at the venue")
        elif order.state == "CANCELLING" and asked_ns is not None and asked_ns >= confirmed_ns:
            self.move(order, "WORKING", "still open at the venue after the cancel")

    def fill(self, fill: VenueFill, client_order_id: int | None = None) -> bool:
        """Count an execution if it is ours and new; True if it was. A fee that was missing is completed."""
        book = self._work.book
        known = book.fills.get(fill.venue_trade_id)
        if known is not None:
            if known.fee_usd is None and fill.fee_usd is not None:
                self._work.record(
                    rows.FeeLearned(
                        venue_trade_id=fill.venue_trade_id, fee_usd=fill.fee_usd, fee_coins=fill.fee_coins
                    )
                )
                self._work.publish_fill(book.orders[known.client_order_id], fill)
            return False
        order = self.order_of(fill.client_order_id or client_order_id, fill.venue_order_id)
        if order is None:
            self._unclaimed[fill.venue_trade_id] = fill
            if len(self._unclaimed) > _UNCLAIMED_KEPT:
                del self._unclaimed[next(iter(self._unclaimed))]
            return False
        if self._is_other(order, fill):
            return False
        self._work.record(rows.FillSeen(client_order_id=order.client_order_id, fill=fill))
        self.name(order, fill.venue_order_id)
        if order.fills_quantity >= order.quantity and order_may_move(order.state, "FILLED"):
            self.move(order, "FILLED", "all of it traded")
        elif order.state in ("NEVER_PLACED", "REFUSED"):
            self.move(order, "WORKING", "an execution of it was reported")
        return True

    def _is_other(self, order: Order, told: VenueOrder | VenueFill) -> bool:
        """Whether what is told under the id of our order is of something else: alarmed, and not counted."""
        if (order.symbol, order.side) == (told.symbol, told.side):
            return False
        self._work.alert(
            "order_mismatch",
            "critical",
            str(order.client_order_id),
            f"the venue shows order {order.client_order_id} as {told.side} {told.symbol}, "
            f"we sent {order.side} {order.symbol}: look at the venue's order list",
        )
        return True

    def unnamed(self) -> list[VenueFill]:
        """Executions on this account whose order nobody named: foreign ones, and those of block trades at first."""
        return list(self._unclaimed.values())

    def claim(self, fill: VenueFill, client_order_id: int) -> None:
        """Such an execution is of this order after all."""
        self._unclaimed.pop(fill.venue_trade_id, None)
        self.fill(fill, client_order_id)

    def move(self, order: Order, state: OrderState, reason: str, venue_order_id: int | None = None) -> None:
        """Change the state; what was thought never placed and was placed after all is alarmed."""
        if order.state in ("NEVER_PLACED", "REFUSED"):
            self._work.alert(
                "order_resurrected",
                "critical",
                str(order.client_order_id),
                f"order {order.client_order_id} was {order.state} and is {state} at the venue",
            )
        self._work.record(
            rows.OrderMoved(
                client_order_id=order.client_order_id, state=state, reason=reason, venue_order_id=venue_order_id
            )
        )


def _final_state(order: Order, seen: VenueOrder) -> OrderState:
    """A reducing stop order may be cut to the position when it is triggered: the rest of it never trades."""
    is_cut = order.trigger_price is not None and seen.quantity < order.quantity
    return "CANCELLED" if is_cut and seen.state == "filled" else _FINAL_OF[seen.state]


def _is_renamed(order: Order, seen: VenueOrder) -> bool:
    """Whether the venue shows it open under another id than we know: it may give a new one with an amendment, or when
    a stop order is triggered, and takes a cancel by that one alone. The answer to an amendment proves none."""
    is_ours = seen.client_order_id == order.client_order_id and seen.state in OPEN_VENUE_STATES
    return is_ours and order.venue_order_id not in (None, seen.venue_order_id) and not _is_outlived(order, seen)


def _is_outlived(order: Order, seen: VenueOrder) -> bool:
    """Whether it is told of under an id from before it was given a new one, under which alone it goes on or ends."""
    return seen.venue_order_id != order.venue_order_id and seen.venue_order_id in order.earlier_venue_ids

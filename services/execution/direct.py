"""What `voldesk flatten --direct` did at the venue while nobody wrote a journal: its orders and their executions.

Its record, which it wrote before each step, names its orders; an order that is a flattening one by its id and was
never sent from here is taken for one of them where the record could not be written.
"""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.records import ZERO, Trade
from services.execution.workspace import Workspace
from shared.ids import parse_client_order_id
from shared.messages.base import opposite
from shared.messages.control import FLATTEN_DIRECT, DirectFlattenRecord
from shared.messages.venue import VenueFill, VenueSnapshot

_FILLS_KEPT = 1_000


class DirectFlattens:
    """Which executions are a direct flatten's, and which trade each closed.

    Durable: the orders of records that were read, and what of their executions is booked. Volatile: executions that
    snapshots showed, until the second look at positions says whose they were.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._fills: dict[int, tuple[int | None, VenueFill]] = {}
        """By the venue's trade id: the order that it is of, None where only the venue knows it."""

    def take(self, record: DirectFlattenRecord) -> None:
        """Journal the orders of a record that are new."""
        known = self._work.book.direct_orders
        new = tuple(order for order in record.orders if order.client_order_id not in known)
        if new:
            self._work.record(
                rows.DirectFlattenFound(
                    run_id=record.run_id, raised_by=record.raised_by, reason=record.reason, orders=new
                )
            )

    def keep_fills(self, snapshot: VenueSnapshot) -> None:
        """Remember the executions of its orders: a later snapshot may begin after them."""
        noted = self._work.book.direct_orders.items()
        orders: dict[int, int | None] = {
            each.venue_order_id: number for number, each in noted if each.venue_order_id is not None
        }
        orders |= {
            order.venue_order_id: order.client_order_id
            for order in snapshot.orders
            if self._is_direct(order.client_order_id)
        }
        for fill in snapshot.fills:
            if fill.venue_order_id in orders:
                self._fills[fill.venue_trade_id] = orders[fill.venue_order_id], fill
            elif self._is_direct(fill.client_order_id):
                self._fills[fill.venue_trade_id] = fill.client_order_id, fill
        while len(self._fills) > _FILLS_KEPT:
            del self._fills[next(iter(self._fills))]

    def close(self, trade: Trade, index: int, lost: Decimal) -> Decimal:
        """Book its executions against the leg, at most `lost`; returns how much that is. A trade that its record
        explains is closed by it: what is left of the trade is flattened."""
        leg = trade.legs[index]
        total = ZERO
        for number, fill in self._fills.values():
            if fill.symbol != leg.symbol or fill.side != opposite(leg.side) or fill.venue_ns < trade.created_ns:
                continue
            quantity = self._book(trade, index, number, fill, lost - total)
            total += quantity
        return total

    def _book(self, trade: Trade, index: int, number: int | None, fill: VenueFill, most: Decimal) -> Decimal:
        work = self._work
        booked = work.book.direct_fills.get(fill.venue_trade_id)
        free = fill.quantity if booked is None else fill.quantity - booked.quantity
        quantity = min(free, most)
        if quantity <= 0:
            return ZERO
        fee_usd = fill.fee_usd or ZERO
        paid_usd = ZERO if booked is None else booked.fee_usd
        share_usd = fee_usd - paid_usd if quantity == free else to_millionths(fee_usd * quantity / fill.quantity)
        noted = work.book.direct_orders.get(number or 0)
        if noted is not None and (trade.close is None or trade.close.purpose != "flatten"):
            reason = f"flatten: {noted.reason}" if noted.reason else f"flatten: {FLATTEN_DIRECT}"
            work.record(
                rows.CloseRequested(
                    trade_id=trade.trade_id, reason=reason, requested_by=noted.raised_by, purpose="flatten"
                )
            )
        of_order = "" if noted is None else f", by its record order {number}"
        work.record(
            rows.LegClosedOutside(
                trade_id=trade.trade_id,
                leg_index=index,
                quantity=quantity,
                price=fill.price,
                reason=f"closed at the venue by a direct flatten{of_order}",
                fee_usd=share_usd,
                venue_trade_id=fill.venue_trade_id,
            )
        )
        return quantity

    def _is_direct(self, client_order_id: int | None) -> bool:
        work = self._work
        if client_order_id is None or client_order_id in work.book.orders:
            return False
        if client_order_id in work.book.direct_orders:
            return True
        key = parse_client_order_id(client_order_id, work.desk_number)
        return key is not None and key.purpose == "flatten"


def to_millionths(amount: Decimal) -> Decimal:
    """A share of an amount of money to a millionth, in plain notation."""
    return Decimal(format(amount.quantize(Decimal("0.000001")).normalize(), "f"))

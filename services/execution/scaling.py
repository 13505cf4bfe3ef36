"""A smaller structure instead of a failed one: the legs scaled to the ratio in which one of them was filled."""

from __future__ import annotations

import math
from decimal import Decimal

from services.execution import rows
from services.execution.plan import Advice, Record
from services.execution.records import Trade
from services.execution.workspace import SECOND, Workspace
from shared.options.chain import snap_quantity


def scaled_quantities(trade: Trade, index: int) -> tuple[Decimal, ...] | None:
    """Each leg's quantity times the filled ratio of leg `index`, rounded down to the lot.

    None when a leg would come below its minimum order, or has already more than that: it cannot be scaled.
    """
    leg = trade.legs[index]
    quantities = []
    for number, other in enumerate(trade.legs):
        quantity = leg.opened_quantity
        if number != index:
            share = other.quantity * leg.opened_quantity / leg.quantity
            quantity = snap_quantity(share, other.instrument.lot_size)
        if quantity < other.instrument.min_quantity or quantity < other.opened_quantity:
            return None
        quantities.append(quantity)
    return tuple(quantities)


def scale_to_filled(trade: Trade, ended: dict[int, str], work: Workspace, advice: Advice) -> int | None:
    """The leg that ended with a part of it filled, to whose ratio the trade is being scaled; None when there is none.

    Once its last order is gone, and no late fill has come for a while, `advice` holds the scaling.
    """
    params = trade.request.execution_params
    if not params.scale_to_filled or trade.stop is not None or work.now_ns >= trade.request.grant.deadline_ns:
        return None
    partly = [
        index
        for index, leg in enumerate(trade.legs)
        if ended[index] and 0 < leg.opened_quantity < leg.quantity and scaled_quantities(trade, index) is not None
    ]
    if not partly:
        return None
    index = min(partly, key=lambda number: trade.legs[number].opened_quantity / trade.legs[number].quantity)
    quantities = scaled_quantities(trade, index)
    if work.book.unsettled_of(trade, index) or quantities is None:
        return index
    orders = [order.state_ns for order in work.book.orders_of(trade) if order.leg_index == index]
    look_ns = max(orders, default=0) + math.ceil(params.final_look_s * SECOND)
    if work.now_ns < look_ns:
        advice.wait("a final look for late fills before the trade is scaled", look_ns)
        return index
    advice.actions.append(
        Record(rows.OpeningScaled(trade_id=trade.trade_id, quantities=quantities, reason=ended[index]))
    )
    return index

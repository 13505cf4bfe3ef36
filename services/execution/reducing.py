"""Orders to take back a part of an open trade: what is asked for, and what stands against it.

What is beyond the part to keep is worked as what an opening filled too much, see surplus.py.
"""

from __future__ import annotations

from services.execution import rows
from services.execution.modes import manner_of
from services.execution.records import Trade
from services.execution.states import HOLDING_STATES
from services.execution.workspace import Workspace
from shared.messages.reducing import ReduceTrade, ReductionAccepted
from shared.messages.trades import Refusal
from shared.options.chain import snap_quantity

_TEXT_MAX = 500


def reduce_trade(order: ReduceTrade, work: Workspace) -> ReductionAccepted | Refusal:
    """Write down what the trade is to hold from now on, if that is less than before."""
    trade = work.book.trades.get(order.trade_id)
    if trade is None:
        detail = f"trade {order.trade_id[:_TEXT_MAX]} is not known"
        return Refusal(code="no_such_trade", detail=detail, remedy="see them: voldesk trades")
    refusal = _refusal(order, trade)
    if refusal is not None:
        return refusal
    (leg,) = trade.legs
    if order.keep < min(leg.target_quantity, leg.held_quantity):
        work.record(
            rows.ReductionWanted(
                trade_id=trade.trade_id,
                keep=order.keep,
                reason=order.reason[:_TEXT_MAX],
                requested_by=order.requested_by[:_TEXT_MAX],
            )
        )
    return ReductionAccepted(trade_id=trade.trade_id, keep=min(leg.target_quantity, leg.held_quantity))


def _refusal(order: ReduceTrade, trade: Trade) -> Refusal | None:
    name = trade.trade_id
    if len(trade.legs) != 1 or manner_of(trade).reduces:
        what = "works its own orders" if len(trade.legs) == 1 else f"has {len(trade.legs)} legs"
        return Refusal(code="not_reducible", detail=f"trade {name} {what}", remedy=f"close it: voldesk close {name}")
    if trade.close is not None or trade.state not in HOLDING_STATES:
        state = "being closed" if trade.close is not None and not trade.is_final else trade.state
        return Refusal(code="not_open", detail=f"trade {name} is {state}", remedy="only what is open is reduced")
    instrument = trade.legs[0].instrument
    fits = order.keep.is_finite() and snap_quantity(order.keep, instrument.lot_size) == order.keep
    if not fits or order.keep < instrument.min_quantity:
        return Refusal(
            code="bad_quantity",
            detail=f"keep {order.keep} of {instrument.symbol} must be {instrument.min_quantity} or more, in lots of "
            f"{instrument.lot_size}",
            remedy=f"to keep nothing, close it: voldesk close {name}",
        )
    return None

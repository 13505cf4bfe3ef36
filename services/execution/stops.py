"""Stop orders of a quoting trade: they wait at the venue until its price reaches their trigger.

One that opens is an order like any other of the quoting: it takes the grant's room as if it had been triggered, and
is withdrawn with it. One that reduces protects what is held: it rests on when the quoting has ended, its host or risk
is silent, or the desk is gone, and is withdrawn before anything else closes the trade, so that never both do.
"""

from __future__ import annotations

from decimal import Decimal

from services.execution.halted import cancelling_halt, halt_text
from services.execution.pricing import closing_bound
from services.execution.records import ZERO, Leg, Order, Trade
from services.execution.workspace import Workspace, earliest
from shared.messages.base import Side
from shared.messages.quoting import OrderToPlace

Problem = tuple[str, str]
"""A code and a detail."""

UNWANTED = "its cancel was asked for"
"""Why an order may not rest that arrived after its cancel was asked for, or that a cancel did not end."""


def stop_problem(trade: Trade, leg: Leg, wish: OrderToPlace, work: Workspace) -> Problem | None:
    """Why no such stop order may wait now, apart from its quantity; None when it may."""
    trigger = wish.trigger_price
    assert trigger is not None, "only of a stop order"
    if leg.instrument.is_option:
        detail = f"the venue takes stop orders of perpetuals and dated futures alone, {leg.symbol} is an option"
        return "no_stops", f"{detail}: let an exit condition close it"
    if wish.at_market and wish.side == leg.side:
        return "needs_limit", f"a stop order that opens {leg.symbol} needs a limit, as its grant has a worst price"
    tick = leg.instrument.tick_size
    if trigger <= 0 or trigger % tick:
        return "bad_trigger", f"trigger {trigger} of {leg.symbol} is not a multiple above 0 of the tick {tick}"
    quote = work.market.quote(leg.instrument, work.now_ns)
    if quote is None or quote.mark is None:
        return "market_stale", f"no fresh mark for {leg.symbol}"
    if trigger <= quote.mark if wish.side == "buy" else trigger >= quote.mark:
        where = "above" if wish.side == "buy" else "below"
        detail = f"a stop order to {wish.side} {leg.symbol} has its trigger {where} the mark {quote.mark:g}"
        return "wrong_side", f"{detail}, not at {trigger}: on the other side a limit order does it"
    return None if wish.at_market else limit_problem(trade, leg, wish.side, wish.price, trigger, work)


def limit_problem(
    trade: Trade, leg: Leg, side: Side, price: Decimal, trigger: Decimal, work: Workspace
) -> Problem | None:
    """Why a stop order may not have this limit. One that opens may go no further past its trigger than another order
    past mark, and never past its grant; one that reduces may go as far as it likes."""
    tick = leg.instrument.tick_size
    if price <= 0 or price % tick:
        return "bad_price", f"price {price} of {leg.symbol} is not a multiple above 0 of the tick {tick}"
    if work.now_ns >= leg.instrument.last_trade_ns:
        return "expiring", f"{leg.symbol} no longer trades"
    if side != leg.side:
        return None
    most_pct = trade.request.execution_params.max_close_premium_pct
    bound = closing_bound(float(trigger), side, most_pct, leg.instrument)
    if price > bound if side == "buy" else price < bound:
        return "beyond_bound", f"{side} {leg.symbol} at {price} is past {bound}, too far from its trigger {trigger}"
    worst = trade.granted(leg).worst_price
    if price > worst if side == "buy" else price < worst:
        return "outside_grant", f"{side} at {price} is past the granted {worst} of {leg.symbol}"
    return None


def unfit_stop(trade: Trade, order: Order, work: Workspace) -> str:
    """Why a stop order that protects may not rest any more; "" while it may: whatever else has ended, and whether the
    market is known or not."""
    if order.cancel_asked:
        return UNWANTED
    leg = trade.legs[order.leg_index]
    halt = cancelling_halt(work.book)
    if halt is not None:
        return halt_text(halt)
    if work.now_ns >= leg.instrument.last_trade_ns:
        return f"{leg.symbol} no longer trades"
    before = (
        other.open_quantity
        for other in work.book.unsettled_of(trade, order.leg_index)
        if other.purpose != "open" and _age(other) <= _age(order)
    )
    if sum(before, ZERO) > leg.held_quantity:
        return f"only {leg.held_quantity} of {leg.symbol} is held"
    return ""


def stops_wake_ns(trade: Trade, work: Workspace) -> int | None:
    """When the first stop order that protects the trade cannot wait any longer; None where that is never."""
    legs = (trade.legs[order.leg_index] for order in work.book.unsettled_of(trade) if order.is_protective)
    return earliest(*(each for leg in legs if (each := leg.instrument.last_trade_ns) > work.now_ns))


def _age(order: Order) -> tuple[int, int]:
    return order.created_ns, order.attempt

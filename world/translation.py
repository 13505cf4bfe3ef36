"""The exchange's words for orders and fills in those of the desk's ports, and back."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.exchange import model as ex
from shared.messages.venue import NewOrder, VenueFill, VenueOrder, VenueOrderState
from shared.options.instruments import instrument_kind

_STATES: dict[ex.OrderState, VenueOrderState] = {
    ex.OrderState.WAITING: "waiting",
    ex.OrderState.NEW: "new",
    ex.OrderState.PARTIALLY_FILLED: "partial",
    ex.OrderState.FILLED: "filled",
    ex.OrderState.CANCELLED: "cancelled",
    ex.OrderState.INVALID: "invalid",
    ex.OrderState.CANCELLED_BY_EXERCISE: "exercised",
}


def placed(order: NewOrder) -> ex.PlaceOrder:
    return ex.PlaceOrder(
        symbol=order.symbol,
        side=ex.Side.BUY if order.side == "buy" else ex.Side.SELL,
        quantity=order.quantity,
        price=None if order.at_market else order.price,
        order_type=_type_of(order),
        time_in_force=order.time_in_force,
        client_order_id=order.client_order_id,
        reduce_only=order.reduce_only,
        trigger_price=order.trigger_price,
    )


def _type_of(order: NewOrder) -> ex.OrderType:
    if order.trigger_price is not None:
        return ex.OrderType.STOP_MARKET if order.at_market else ex.OrderType.STOP_LIMIT
    return ex.OrderType.POST_ONLY if order.post_only else ex.OrderType.LIMIT


def shown_order(order: ex.Order) -> VenueOrder:
    return VenueOrder(
        venue_order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side="buy" if order.side is ex.Side.BUY else "sell",
        quantity=order.quantity,
        filled_quantity=order.filled,
        price=order.price,
        average_price=order.average_price,
        state=_STATES[order.state],
        reduce_only=order.reduce_only,
        created_ns=order.created_ns,
        updated_ns=order.updated_ns,
        trigger_price=order.trigger_price,
        at_market=order.order_type is ex.OrderType.STOP_MARKET,
    )


def fee_usd_of(fill: ex.Fill) -> Decimal:
    """What was paid for an execution in USD; coins that were kept count at its price."""
    return fill.fee if fill.fee_coin == "USDT" else fill.fee * fill.price


def pushed_fill(fill: ex.Fill) -> VenueFill:
    """As the trade channels tell it: without what was paid, and without the type of the trade."""
    shown = listed_fill(fill)
    return msgspec.structs.replace(
        shown, client_order_id=fill.client_order_id, fee_usd=None, fee_coins=Decimal(0), is_block=False
    )


def listed_fill(fill: ex.Fill) -> VenueFill:
    """As the list of fills tells it: of options and futures by the venue's order id alone."""
    return VenueFill(
        venue_trade_id=fill.trade_id,
        venue_order_id=fill.order_id,
        client_order_id=fill.client_order_id if instrument_kind(fill.symbol) == "spot" else None,
        symbol=fill.symbol,
        side="buy" if fill.side is ex.Side.BUY else "sell",
        quantity=fill.quantity,
        price=fill.price,
        fee_usd=fee_usd_of(fill),
        is_taker=fill.is_taker,
        venue_ns=fill.at_ns,
        is_block=fill.order_type is ex.OrderType.BLOCK_TRADE,
        fee_coins=Decimal(0) if fill.fee_coin == "USDT" else fill.fee,
    )

"""Our requests to Coincall's parameters. Pure. Prices and quantities stay exact decimals down to the signed bytes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.messages.contracts import ContractOrder
from shared.messages.rfq import RfqLeg
from shared.messages.venue import Amendment, NewOrder, OrderRef
from shared.venues.coincall.sign import Value

_LIMIT, _POST_ONLY = 1, 3
_OPTIONS = 1


def new_order(order: NewOrder) -> dict[str, Value]:
    """Of options, which have no stop orders: sent without its trigger one would trade at once."""
    assert order.trigger_price is None, f"{order.symbol}: options have no stop orders"
    return {
        "symbol": order.symbol,
        "tradeSide": 1 if order.side == "buy" else 2,
        "tradeType": _POST_ONLY if order.post_only else _LIMIT,
        "qty": order.quantity,
        "price": order.price,
        "clientOrderId": order.client_order_id,
        "timeInForce": order.time_in_force,
        "reduceOnly": 1 if order.reduce_only else 0,
    }


_TYPES = {"limit": 1, "market": 2, "post_only": 3, "stop_limit": 4, "stop_market": 5}


def contract_order(order: ContractOrder) -> dict[str, Value]:
    """Of futures. A market order must carry neither price nor time in force."""
    params: dict[str, Value] = {
        "symbol": order.symbol,
        "tradeSide": 1 if order.side == "buy" else 2,
        "tradeType": _TYPES[order.order_type],
        "qty": order.quantity,
        "clientOrderId": order.client_order_id,
        "reduceOnly": 1 if order.reduce_only else 0,
    }
    if order.price is not None:
        params |= {"price": order.price, "timeInForce": order.time_in_force}
    if order.trigger_price is not None:
        params["triggerPrice"] = order.trigger_price
    return params


def spot_order(order: ContractOrder) -> dict[str, Value]:
    """Of spot: every value is a text."""
    params: dict[str, Value] = {
        "symbol": order.symbol,
        "tradeSide": "1" if order.side == "buy" else "2",
        "tradeType": str(_TYPES[order.order_type]),
        "qty": format(order.quantity, "f"),
        "clientOrderId": str(order.client_order_id),
    }
    if order.price is not None:
        params["price"] = format(order.price, "f")
    return params


def order_reference(order: OrderRef) -> dict[str, Value]:
    """By the venue's id where it is known, else by ours."""
    if order.venue_order_id is not None:
        return {"orderId": order.venue_order_id}
    return {"clientOrderId": order.client_order_id}


def amendment(change: Amendment) -> dict[str, Value]:
    """What is None stays as it is at the venue."""
    return {
        **order_reference(change.order),
        "symbol": change.order.symbol,
        "qty": change.quantity,
        "price": change.price,
    }


def countdown(underlying: str, countdown_ms: int) -> dict[str, Value]:
    """Of the options of an index."""
    return {"symbol": underlying, "type": _OPTIONS, "countdownTime": countdown_ms}


def rfq(legs: Sequence[RfqLeg]) -> dict[str, Value]:
    """A request for quote. Amounts are texts: the venue refuses numbers here."""
    return {
        "legs": [
            {"instrumentName": leg.symbol, "side": leg.side.upper(), "qty": format(leg.quantity, "f")} for leg in legs
        ]
    }


def subscribe(data_type: str, payload: dict[str, Value] | None = None, *, undo: bool = False) -> str:
    frame: dict[str, Value] = {"action": "unSubscribe" if undo else "subscribe", "dataType": data_type}
    if payload is not None:
        frame["payload"] = payload
    return msgspec.json.encode(frame).decode()


HEARTBEAT = '{"action":"heartbeat"}'

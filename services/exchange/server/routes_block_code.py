"""Block trades that two accounts negotiate between themselves: one makes a code, the other accepts it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from services.exchange.model import Side
from services.exchange.rfq_model import BlockOffer, OfferLeg, Role
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import PARAMETER_EMPTY, PARAMETER_WRONG, ApiError
from services.exchange.server.wire import Fields, encode, number_text, parse_json_object

ROLES: dict[int, Role] = {1: "TAKER", 0: "MAKER"}


def _role(call: Call) -> Role:
    role = ROLES.get(call.fields.need_integer("role"))
    if role is None:
        raise ApiError(PARAMETER_WRONG, "role")
    return role


def create(call: Call) -> Any:
    """The code is opaque: what it says for people is in it, what counts is the offer that it names."""
    role, symbol = _role(call), call.fields.need_text("symbol")
    legs = tuple(_leg(each, symbol) for each in _orders(call))
    offer = call.venue.execute(lambda core, now_ns: core.rfq.offer_block(call.account_id, role, legs, now_ns))
    return _code(call, offer)


def _orders(call: Call) -> list[Fields]:
    """`orderList`: the text of a JSON array, or the array itself."""
    orders = call.fields.values.get("orderList")
    if isinstance(orders, str):
        orders = parse_json_object(f'{{"orderList":{orders}}}'.encode()).get("orderList")
    if not orders:
        raise ApiError(PARAMETER_EMPTY, "orderList")
    if not isinstance(orders, list) or not all(isinstance(each, dict) for each in orders):
        raise ApiError(PARAMETER_WRONG, "orderList")
    return [Fields(each) for each in orders]


def _leg(order: Fields, symbol: str) -> OfferLeg:
    option, price, amount = order.need_text("optionName"), order.decimal("price"), order.decimal("amount")
    for name, value in (("price", price), ("amount", amount)):
        if value is None:
            raise ApiError(PARAMETER_EMPTY, name)
    assert price is not None
    assert amount is not None
    if option.partition("-")[0] != symbol:
        raise ApiError(PARAMETER_WRONG, "symbol")
    try:
        side = Side(order.need_integer("tradeSide"))
    except ValueError as error:
        raise ApiError(PARAMETER_WRONG, "tradeSide") from error
    return OfferLeg(option, side, amount, price)


def _code(call: Call, offer: BlockOffer) -> str:
    (user_id,) = [each.user_id for each in call.venue.config.accounts if each.account_id == offer.account_id]
    trades = [
        {
            "optionName": leg.symbol,
            "tradeSide": int(leg.side),
            "price": number_text(leg.price),
            "amount": number_text(leg.quantity),
        }
        for leg in offer.legs
    ]
    content = {
        "role": 1 if offer.role == "TAKER" else 0,
        "signature": json.dumps({"id": offer.offer_id, "orders": trades}, separators=(",", ":")),
        "symbol": offer.legs[0].symbol.partition("-")[0],
        "timestamp": offer.created_ns // 1_000_000,
        "trades": trades,
        "userId": user_id,
    }
    return base64.b64encode(encode(content)).decode()


def accept(call: Call) -> Any:
    """A code that is not word for word the one that was made is refused: it could promise another price."""
    role, key = _role(call), call.fields.need_text("key")
    offer_id = _offer_id(key)
    offer = call.core.rfq.offer(offer_id)
    if offer is not None and _code(call, offer) != key:
        raise ApiError(PARAMETER_WRONG, "key")
    call.venue.execute(lambda core, now_ns: core.rfq.accept_offer(call.account_id, role, offer_id, now_ns))
    return "success"


def _offer_id(key: str) -> int:
    try:
        content = parse_json_object(base64.b64decode(key, validate=True))
        return Fields(parse_json_object(Fields(content).need_text("signature").encode())).need_integer("id")
    except (ApiError, binascii.Error, ValueError) as error:
        raise ApiError(PARAMETER_WRONG, "key") from error


def block_code_endpoints() -> list[Endpoint]:
    root = "/open/option/blockTrade"
    return [
        Endpoint("POST", f"{root}/create/v1", "trade", "rfq", create, "form"),
        Endpoint("POST", f"{root}/accept/v1", "trade", "rfq", accept),
    ]

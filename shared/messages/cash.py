"""The cash rule: USDT that is kept at a minimum by selling a coin of spot, and what was sold by it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message

CashMode = Literal["off", "dry_run", "on"]
CashSaleState = Literal[
    "SENDING", "UNKNOWN", "WORKING", "CANCELLING", "FILLED", "CANCELLED", "REFUSED", "NEVER_PLACED"
]
CashCode = Literal[
    "off",
    "not_read",
    "enough",
    "selling",
    "halted",
    "stopping",
    "disk_full",
    "not_compared",
    "interval",
    "refused",
    "confirming",
    "no_pair",
    "no_price",
    "price_too_low",
    "nothing_free",
    "cap_reached",
    "book_thin",
    "too_small",
    "would_sell",
]


class CashSale(msgspec.Struct, frozen=True, kw_only=True):
    """One sale of a coin against USDT. quantity in coins, prices in USDT per coin; price: the lowest it was allowed
    to trade at. reserved_usd: what it counted against the day's cap before its outcome was known. fee_usd: None while
    it is not known. why: what was seen when it was decided."""

    client_order_id: int
    symbol: str
    quantity: Decimal
    price: Decimal
    reserved_usd: Decimal
    why: str
    state: CashSaleState
    reason: str
    filled_quantity: Decimal
    average_price: Decimal | None
    fee_usd: Decimal | None
    requested_ns: int
    updated_ns: int


class GetCash(Message, frozen=True, tag="get_cash.1"):
    """Ask execution what the cash rule would do now, and why it does or does not act."""


class CashStatus(Message, frozen=True, kw_only=True, tag="cash_status.1"):
    """What the rule is set to, what it saw last and what follows from it.

    usdt, held, free: of the last read, in units of the asset, None before the first one; read_ns: when that was, 0
    for never. used_usd: sold within the last 24 hours, live sales by what they reserve; cap_usd: what may be.
    code and detail: why nothing is sold, or `would_sell` with the quantity and the lowest price. sales: newest first.
    """

    account_id: str
    mode: CashMode
    asset: str
    symbol: str
    minimum_usdt: Decimal
    target_usdt: Decimal
    keep: Decimal
    cap_usd: Decimal
    used_usd: Decimal
    usdt: Decimal | None
    held: Decimal | None
    free: Decimal | None
    read_ns: int
    code: CashCode
    detail: str
    quantity: Decimal
    price: Decimal
    sales: tuple[CashSale, ...]

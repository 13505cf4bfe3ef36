"""What the cash rule writes to execution's journal: each sale before it is sent, and what became of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.cash import CashSaleState


class CashSaleRequested(msgspec.Struct, frozen=True, kw_only=True, tag="cash_sale_requested"):
    """This sale is sent, once. `trade_number` is in its id, and no trade has it."""

    client_order_id: int
    trade_number: int
    symbol: str
    quantity: Decimal
    price: Decimal
    reserved_usd: Decimal
    why: str


class CashSaleMoved(msgspec.Struct, frozen=True, kw_only=True, tag="cash_sale_moved"):
    """What is known of the sale. filled_quantity and average_price: so far, None where nothing new was seen."""

    client_order_id: int
    state: CashSaleState
    reason: str
    venue_order_id: int | None = None
    filled_quantity: Decimal | None = None
    average_price: Decimal | None = None
    fee_usd: Decimal | None = None


CashRow = CashSaleRequested | CashSaleMoved

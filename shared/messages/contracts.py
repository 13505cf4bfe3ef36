"""Futures and spot at the venue in our words: what a gateway is asked and what it answers beside `venue.py`."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Side
from shared.messages.venue import RefusalKind, TimeInForce

ContractOrderType = Literal["limit", "post_only", "market", "stop_limit", "stop_market"]
FuturesKind = Literal["perpetual", "future"]


class ContractOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of futures or spot, already snapped to tick and lot; spot takes the first three types.

    price: of "limit", "post_only" and "stop_limit". trigger_price: of the stop types; the venue triggers them when
    its price is there, on the side that it is not on now. reduce_only: what closes says so; spot cannot.
    """

    client_order_id: int
    symbol: str
    side: Side
    quantity: Decimal
    order_type: ContractOrderType = "limit"
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = "GTC"
    reduce_only: bool = False

    def __post_init__(self) -> None:
        if (self.price is None) != (self.order_type in ("market", "stop_market")):
            raise ValueError(f"price {self.price} does not go with a {self.order_type} order")
        if (self.trigger_price is None) == self.order_type.startswith("stop"):
            raise ValueError(f"trigger_price {self.trigger_price} does not go with a {self.order_type} order")
        if self.time_in_force != "GTC" and self.order_type != "limit":
            raise ValueError(f"time_in_force {self.time_in_force} does not go with a {self.order_type} order")


class FuturesSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Of the futures of one underlying: step of prices in USD, step and bounds of quantities in coins, and how many
    stop orders may wait."""

    underlying: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_stop_orders: int


class SpotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of a coin against USDT: step of prices in USDT, step and bounds of quantities in coins."""

    symbol: str
    coin: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal


class SpotTicker(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of a pair in USDT per coin; None where the venue has none."""

    symbol: str
    last: float | None
    index: float | None


class FuturesTicker(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of a perpetual or dated future in USD per coin; `expiry_ns` of a dated one. A missing mark is None."""

    symbol: str
    underlying: str
    kind: FuturesKind
    expiry_ns: int | None
    last: float | None
    mark: float | None
    index: float


class FundingRate(msgspec.Struct, frozen=True, kw_only=True):
    """Of the next funding of a perpetual: a fraction of quantity * mark, paid by longs when it is positive."""

    symbol: str
    rate: Decimal
    next_funding_ns: int
    venue_ns: int


class FuturesPosition(msgspec.Struct, frozen=True, kw_only=True):
    """One net position; `quantity` is signed, in coins (short < 0). Figures in USD; P&L by mark.

    liquidation_price: None where the venue names none.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal
    mark: float | None
    unrealized_pnl_usd: float | None
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    leverage: int
    liquidation_price: Decimal | None


class FuturesDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A dated future that was settled; `quantity` signed, `pnl_usd` before `fee_usd` (> 0 paid)."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    settlement_price: Decimal
    pnl_usd: Decimal
    fee_usd: Decimal
    venue_ns: int


class LeverageSet(msgspec.Struct, frozen=True, kw_only=True):
    """The contract has this leverage now."""

    symbol: str
    leverage: int


class LeverageRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue certainly did not change it; with a position or orders in the contract it never does. `kind` is ours,
    `code` the venue's."""

    symbol: str
    code: int
    text: str
    kind: RefusalKind = "rejected"


class LeverageUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """It may or may not have changed: read it."""

    symbol: str
    reason: str


class LeverageRead(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says of a contract. `asked_ns` is when it was asked."""

    symbol: str
    leverage: int
    asked_ns: int


class LeverageReadFailed(msgspec.Struct, frozen=True, kw_only=True):
    symbol: str
    reason: str

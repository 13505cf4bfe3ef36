"""The venue in our words: what a gateway is asked and what it answers. Inputs and effects of cores."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Side

TimeInForce = Literal["GTC", "IOC", "FOK"]
VenueOrderState = Literal["waiting", "new", "partial", "filled", "cancelled", "invalid", "exercised"]
"""waiting: a stop order whose trigger was not reached."""

OPEN_VENUE_STATES: frozenset[str] = frozenset({"waiting", "new", "partial"})
RefusalKind = Literal["rejected", "throttled", "auth"]


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A limit order, already snapped to tick and lot.

    trigger_price: of a stop order, which waits until the venue's price is there. at_market: such an order has no
    limit once it is triggered; `price` is then its trigger price, and is not sent.
    """

    client_order_id: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    time_in_force: TimeInForce = "GTC"
    reduce_only: bool = False
    post_only: bool = False
    trigger_price: Decimal | None = None
    at_market: bool = False


class OrderRef(msgspec.Struct, frozen=True, kw_only=True):
    """Names one order at the venue."""

    client_order_id: int
    venue_order_id: int | None
    symbol: str


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one resting order; what is None stays as it is at the venue.

    quantity: the order's new quantity in all, what is filled of it included. reduce_only: as the order was placed;
    an amendment cannot change it, and what reduces is let through where what opens is held back.
    """

    order: OrderRef
    quantity: Decimal | None = None
    price: Decimal | None = None
    reduce_only: bool = False


class OrderAcked(msgspec.Struct, frozen=True, kw_only=True):
    """The venue took the order under `venue_order_id`; its state comes over the stream or a query."""

    client_order_id: int
    venue_order_id: int


class OrderRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue certainly did not take the order. `code` is the venue's, `kind` ours."""

    client_order_id: int
    kind: RefusalKind
    code: int
    text: str


class OutcomeUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """The request may or may not have taken effect (time-out, lost connection, unlisted code)."""

    client_order_id: int
    reason: str


class AmendAcked(msgspec.Struct, frozen=True, kw_only=True):
    """The venue took the amendment; that the order has changed must still be seen."""

    client_order_id: int
    venue_order_id: int


class AmendRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue certainly did not change the order: it rests as it was, or it is already done (query it)."""

    client_order_id: int
    kind: RefusalKind
    code: int
    text: str


class AmendUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """The amendment may or may not have taken effect; the order exists either way. Never send it again unseen."""

    client_order_id: int
    reason: str


class CancelAcked(msgspec.Struct, frozen=True, kw_only=True):
    """The venue took the cancel; that the order is gone must still be seen."""

    client_order_id: int


class CancelRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue says that the order cannot be cancelled, as a rule because it is already done: query it."""

    client_order_id: int
    code: int
    text: str


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the venue reports it. `client_order_id` is None when it carries none that is a number.

    trigger_price: of a stop order, where the report has it. at_market: a stop order without a limit, whose `price`
    says nothing.
    """

    venue_order_id: int
    client_order_id: int | None
    symbol: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    price: Decimal
    average_price: Decimal | None
    state: VenueOrderState
    reduce_only: bool
    created_ns: int
    updated_ns: int
    trigger_price: Decimal | None = None
    at_market: bool = False


class VenueFill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `venue_trade_id` is unique; `fee_usd` > 0 is paid, None when the report has none (stream).

    is_block: of a block trade, where the report says so (trade type 14); its order has no client order id of ours.
    fee_coins: what of `quantity` the venue kept as its fee, as of coins that are bought; `fee_usd` is its worth.
    """

    venue_trade_id: int
    venue_order_id: int
    client_order_id: int | None
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee_usd: Decimal | None
    is_taker: bool
    venue_ns: int
    is_block: bool = False
    fee_coins: Decimal = Decimal(0)


class VenuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """One net position; `quantity` is signed (short < 0)."""

    symbol: str
    quantity: Decimal
    average_price: Decimal
    mark: float | None
    unrealized_pnl_usd: float | None
    delta: float | None = None


class VenueAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Account-level figures in USDT, taken as USD. `balances`: cash per asset, in units of it; none that are 0."""

    equity_usd: Decimal
    available_margin_usd: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    unrealized_pnl_usd: Decimal
    balances: dict[str, Decimal] = {}


class VenueHolding(msgspec.Struct, frozen=True, kw_only=True):
    """Of one asset, in units of it: its cash, and the part of it that nothing claims."""

    cash: Decimal
    free: Decimal


class VenueExercise(msgspec.Struct, frozen=True, kw_only=True):
    """Settlement of one expired position. Cash flows in USD: received > 0. `quantity` signed (short < 0). Of a future
    the cash flow is quantity × settlement price, as what was traded of it counts at its price."""

    symbol: str
    quantity: Decimal
    settlement_price: Decimal
    settlement_cash_flow_usd: Decimal
    fee_usd: Decimal
    venue_ns: int


class VenueTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A completed deposit (amount > 0) or withdrawal (< 0), in units of `coin`."""

    transfer_id: str
    coin: str
    amount: Decimal


class OrderQueried(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query of one order: `order` None means that query, open orders and history all lack it, or, if
    it was asked `alone`, the query.

    `asked_ns` is when the first of these was asked.
    """

    client_order_id: int
    asked_ns: int
    order: VenueOrder | None
    fills: tuple[VenueFill, ...]
    alone: bool = False


class OrderQueryFailed(msgspec.Struct, frozen=True, kw_only=True):
    client_order_id: int
    reason: str


class OrdersListed(msgspec.Struct, frozen=True, kw_only=True):
    """What the lists show of many orders: of those that are in one of them each by itself; `missing` are in neither
    open orders nor history. `fills`: of these. `asked_ns` is when the first list was asked."""

    asked_ns: int
    found: tuple[OrderQueried, ...]
    missing: tuple[int, ...]
    fills: tuple[VenueFill, ...]


class OrdersListFailed(msgspec.Struct, frozen=True, kw_only=True):
    client_order_ids: tuple[int, ...]
    reason: str


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """Funding of one position: `amount_usd` received > 0, paid < 0; `quantity` signed (short < 0)."""

    payment_id: int
    symbol: str
    quantity: Decimal
    rate: Decimal
    amount_usd: Decimal
    venue_ns: int


class VenueSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that reconciliation compares. `asked_ns` is when the first part was asked.

    `orders`: open ones, and those of the history since `since_ns`. `fills`, `exercises`, `funding`: since `since_ns`.
    `coins`: of pairs of spot that were asked for, what the account holds.
    """

    trigger: str
    asked_ns: int
    since_ns: int
    orders: tuple[VenueOrder, ...]
    fills: tuple[VenueFill, ...]
    positions: tuple[VenuePosition, ...]
    exercises: tuple[VenueExercise, ...]
    funding: tuple[FundingPayment, ...] = ()
    coins: dict[str, Decimal] = {}


class VenueSnapshotFailed(msgspec.Struct, frozen=True, kw_only=True):
    trigger: str
    reason: str


class CountdownSet(msgspec.Struct, frozen=True, kw_only=True):
    """The venue cancels every order of the underlying after so long, unless it is set anew before; 0: never."""

    underlying: str
    countdown_ms: int


class CountdownRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The venue did not change the countdown. `lacks_right`: it grants this account none."""

    underlying: str
    lacks_right: bool
    text: str


class CountdownUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """The countdown may or may not have been set."""

    underlying: str
    reason: str


class StreamUp(msgspec.Struct, frozen=True):
    """A stream is subscribed; what happened before may have been missed. `stream`: which, where there are several."""

    stream: str = ""


class StreamDown(msgspec.Struct, frozen=True):
    reason: str
    stream: str = ""

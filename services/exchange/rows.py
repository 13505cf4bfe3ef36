"""What the exchange journals: facts in the past tense, whose fold is its state; and what a command hands back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

import msgspec

from services.exchange.events import ExchangeEvent
from services.exchange.model import (
    Delivery,
    DeliveryPrice,
    Exercise,
    Fill,
    FundingPayment,
    MarketTrade,
    Order,
    OrderState,
    Side,
    Transfer,
)
from services.exchange.rfq_model import BlockOffer, BlockTrade, QuoteState, RequestForQuote, RequestState, RfqQuote


class Row(msgspec.Struct, frozen=True, kw_only=True, tag_field="row"):
    """Base of all rows. `at_ns` is the exchange's time of the fact."""

    at_ns: int


class OrderPlaced(Row, frozen=True, tag="order_placed"):
    order: Order


class OrderAmended(Row, frozen=True, tag="order_amended"):
    """`priority` differs from the order's when it lost its place in the queue. new_order_id: what it is called from
    here on, None where it keeps its id."""

    order_id: int
    quantity: Decimal
    price: Decimal
    priority: int
    new_order_id: int | None = None


class OrderFilled(Row, frozen=True, tag="order_filled"):
    """Changes order, position and cash of the fill's account. `against_client` is False for market makers."""

    fill: Fill
    against_client: bool


class OrderClosed(Row, frozen=True, tag="order_closed"):
    """An order ended without being filled further (or was amended down to what it had filled)."""

    order_id: int
    state: OrderState


class TradePrinted(Row, frozen=True, tag="trade_printed"):
    trade: MarketTrade


class LiquidityConsumed(Row, frozen=True, tag="liquidity_consumed"):
    """`lots` of one side of the makers' ladder are missing from its top at `step`; they come back over steps."""

    symbol: str
    side: Side
    lots: int
    step: int


class ExpirySettled(Row, frozen=True, tag="expiry_settled"):
    """Written once per base and expiry, after the exercises of all positions in it."""

    delivery: DeliveryPrice


class PositionExercised(Row, frozen=True, tag="position_exercised"):
    exercise: Exercise


class StopTriggered(Row, frozen=True, tag="stop_triggered"):
    """The mark reached a stop order's trigger: it is an order of the book from here on. new_order_id: as of an
    amendment."""

    order_id: int
    quantity: Decimal
    price: Decimal
    priority: int
    new_order_id: int | None = None


class LeverageSet(Row, frozen=True, tag="leverage_set"):
    account_id: str
    symbol: str
    leverage: int


class FundingPaid(Row, frozen=True, tag="funding_paid"):
    payment: FundingPayment


class FutureDelivered(Row, frozen=True, tag="future_delivered"):
    delivery: Delivery


class CashTransferred(Row, frozen=True, tag="cash_transferred"):
    transfer: Transfer


class IndexMoved(Row, frozen=True, tag="index_moved"):
    """An operator's jump: from `step` on the path is multiplied by `factor`."""

    base: str
    step: int
    factor: float


class VolMoved(Row, frozen=True, tag="vol_moved"):
    """An operator's jump: from `step` on the level of volatility is multiplied by `factor`."""

    base: str
    step: int
    factor: float


class ExpiryListed(Row, frozen=True, tag="expiry_listed"):
    """An operator listed an extra expiry."""

    base: str
    expiry_ns: int


class CountdownSet(Row, frozen=True, tag="countdown_set"):
    """`countdown_ms` of 0 ends the countdown, and the block if it had fired."""

    account_id: str
    index: str
    countdown_ms: int


class CountdownRestarted(Row, frozen=True, tag="countdown_restarted"):
    account_id: str
    index: str


class CountdownFired(Row, frozen=True, tag="countdown_fired"):
    """Written after the cancellations that it causes."""

    account_id: str
    index: str


class MmpSet(Row, frozen=True, tag="mmp_set"):
    """`interval_ms` of 0 removes the protection."""

    account_id: str
    index: str
    protection_id: int
    interval_ms: int
    frozen_ms: int
    quantity_limit: Decimal | None
    delta_limit: Decimal | None


class MmpCounted(Row, frozen=True, tag="mmp_counted"):
    """A fill that counts: its amount in the unit of the limit, its signed delta in base coin. `anew`: a new interval
    begins with it."""

    account_id: str
    index: str
    amount: Decimal
    delta: float
    anew: bool = False


class MmpFired(Row, frozen=True, tag="mmp_fired"):
    """Written after the cancellations that it causes. `until_ns` None: until a reset."""

    account_id: str
    index: str
    until_ns: int | None


class MmpReset(Row, frozen=True, tag="mmp_reset"):
    account_id: str
    index: str


class RequestCreated(Row, frozen=True, tag="request_created"):
    request: RequestForQuote


class RequestEnded(Row, frozen=True, tag="request_ended"):
    request_id: int
    state: RequestState


class QuoteCreated(Row, frozen=True, tag="quote_created"):
    quote: RfqQuote


class QuoteEnded(Row, frozen=True, tag="quote_ended"):
    quote_id: int
    state: QuoteState


class BlockOffered(Row, frozen=True, tag="block_offered"):
    offer: BlockOffer


class BlockTraded(Row, frozen=True, tag="block_traded"):
    """Written after the orders and fills of its legs, which change cash and positions."""

    block: BlockTrade


ExchangeRow = (
    OrderPlaced
    | OrderAmended
    | OrderFilled
    | OrderClosed
    | TradePrinted
    | LiquidityConsumed
    | ExpirySettled
    | PositionExercised
    | StopTriggered
    | LeverageSet
    | FundingPaid
    | FutureDelivered
    | CashTransferred
    | IndexMoved
    | VolMoved
    | ExpiryListed
    | CountdownSet
    | CountdownRestarted
    | CountdownFired
    | MmpSet
    | MmpCounted
    | MmpFired
    | MmpReset
    | RequestCreated
    | RequestEnded
    | QuoteCreated
    | QuoteEnded
    | BlockOffered
    | BlockTraded
)

ResultT = TypeVar("ResultT")


class Outcome(NamedTuple, Generic[ResultT]):
    """What a command did: `result`, the rows to commit before answering, the events to push after."""

    result: ResultT
    rows: Sequence[ExchangeRow]
    events: Sequence[ExchangeEvent]


class Advance(NamedTuple):
    """What the passing of time did."""

    rows: Sequence[ExchangeRow]
    events: Sequence[ExchangeEvent]

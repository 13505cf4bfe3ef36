"""Everything that goes into and comes out of the simulated exchange's core.

Commands are in the imperative, events (what is pushed) in the past tense; rows are in `rows.py`. Prices are
USD per unit of the base coin, quantities base coins, both exact `Decimal`s in plain notation; marks, Greeks and
volatilities are floats. Enumerations have the numbers of the venue's wire format.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.options import OptionType

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

TimeInForce = Literal["GTC", "IOC", "FOK"]


class Side(IntEnum):
    BUY = 1
    SELL = 2

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(IntEnum):
    LIMIT = 1
    MARKET = 2
    POST_ONLY = 3
    STOP_LIMIT = 4
    STOP_MARKET = 5
    BLOCK_TRADE = 14

    @property
    def is_stop(self) -> bool:
        return self in (OrderType.STOP_LIMIT, OrderType.STOP_MARKET)

    @property
    def is_market(self) -> bool:
        """Without a limit of the client's own."""
        return self in (OrderType.MARKET, OrderType.STOP_MARKET)


class SelfTradePrevention(IntEnum):
    """What is cancelled when an order meets another one of its own account. DEFAULT is set in the configuration."""

    DEFAULT = 0
    CANCEL_MAKER = 1
    CANCEL_TAKER = 2
    CANCEL_BOTH = 3


class OrderState(IntEnum):
    WAITING = -2
    """A stop order whose trigger has not been reached: it is in no book and freezes nothing."""
    NEW = 0
    FILLED = 1
    PARTIALLY_FILLED = 2
    CANCELLED = 3
    INVALID = 6
    CANCELLED_BY_EXERCISE = 10

    @property
    def is_open(self) -> bool:
        """In the book."""
        return self in (OrderState.NEW, OrderState.PARTIALLY_FILLED)

    @property
    def is_final(self) -> bool:
        return not self.is_open and self is not OrderState.WAITING


class PlaceOrder(msgspec.Struct, frozen=True, kw_only=True):
    """`price` is required except for market orders, `trigger_price` for stop orders (futures only).
    `client_order_id` is unique among all orders of the account."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = "GTC"
    client_order_id: int | None = None
    reduce_only: bool = False
    stp: SelfTradePrevention = SelfTradePrevention.DEFAULT
    mmp: bool = False
    slippage_pct: Decimal = Decimal(5)
    trigger_price: Decimal | None = None


class AmendOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two ids is required; what is None stays as it is. `symbol`, when given, must be the order's."""

    symbol: str | None = None
    order_id: int | None = None
    client_order_id: int | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two ids is required; `order_id` wins."""

    order_id: int | None = None
    client_order_id: int | None = None


class SetCountdown(msgspec.Struct, frozen=True):
    """Arm, or with 0 ms disarm, the countdown of an index such as BTCUSD."""

    index: str
    countdown_ms: int


class Rejection(msgspec.Struct, frozen=True):
    """The command changed nothing. `code` is the venue's; `message` names the field and the remedy."""

    code: int
    message: str


class Accepted(msgspec.Struct, frozen=True):
    """The order exists; whether it traded, rests or was cancelled at once is in the events."""

    order_id: int
    client_order_id: int | None


class CancelledOrders(msgspec.Struct, frozen=True):
    """The orders a mass cancel ended, oldest first; empty when none was open."""

    order_ids: tuple[int, ...]


class Transferred(msgspec.Struct, frozen=True):
    """A deposit or withdrawal was booked."""

    transfer_id: int
    cash: Decimal


class MarketChanged(msgspec.Struct, frozen=True):
    """An operator's change of the market (index moved, expiry listed) took effect."""

    detail: str


class LeverageChanged(msgspec.Struct, frozen=True):
    """New orders and the position of this contract need value / leverage as initial margin."""

    symbol: str
    leverage: int


class CountdownsChanged(msgspec.Struct, frozen=True):
    """The indices whose countdowns were armed, restarted or ended."""

    indices: tuple[str, ...]


PlaceResult = Accepted | Rejection
AmendResult = Accepted | Rejection
CancelResult = Accepted | Rejection
TransferResult = Transferred | Rejection
MarketResult = MarketChanged | Rejection
CountdownResult = CountdownsChanged | Rejection
LeverageResult = LeverageChanged | Rejection


class Instrument(msgspec.Struct, frozen=True):
    """One listed option. Quantity step and minimum are `min_quantity`."""

    option_id: int
    symbol: str
    base: str
    index: str
    strike: Decimal
    option_type: OptionType
    expiry_ns: int
    listed_ns: int
    tick_size: Decimal
    min_quantity: Decimal

    @property
    def is_call(self) -> bool:
        return self.option_type == "C"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it stands. `fee` and `realised_pnl` add up over its fills; `fee` is positive when paid.

    `priority` orders resting orders of one price: the id of the row that last gave it a place in the queue.
    `price` of a market order is the worst that it may trade at. A stop order waits until the mark is at
    `trigger_price` or above it (`triggers_above`), or at it or below it. `leverage` 0: not of futures.
    """

    order_id: int
    client_order_id: int | None
    account_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    stp: SelfTradePrevention
    mmp: bool
    state: OrderState
    filled: Decimal
    filled_value: Decimal
    fee: Decimal
    realised_pnl: Decimal
    priority: int
    created_ns: int
    updated_ns: int
    trigger_price: Decimal | None = None
    triggers_above: bool = False
    leverage: int = 0

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Mean price of the fills, USD, to 6 decimals; None before the first."""
        if not self.filled:
            return None
        return (self.filled_value / self.filled).quantize(Decimal("0.000001"))


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one order. `fill_id` is the account's record, `trade_id` is shared by both sides.

    `fee` is positive when paid, in USDT or in `fee_coin`. `iv` is the volatility of the price, a fraction; None when
    none implies it or the contract is no option.
    """

    fill_id: int
    trade_id: int
    order_id: int
    client_order_id: int | None
    account_id: str
    option_id: int
    symbol: str
    side: Side
    order_type: OrderType
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_rate: Decimal
    is_taker: bool
    reduce_only: bool
    mmp: bool
    mark_price: float
    index_price: Decimal
    iv: float | None
    at_ns: int
    fee_coin: str = "USDT"
    leverage: int = 0


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """A position settled at expiry. Cash flows in USD as the account sees them; a fee is positive when paid."""

    exercise_id: int
    account_id: str
    symbol: str
    side: Side
    quantity: Decimal
    strike: Decimal
    settlement_price: Decimal
    open_cash_flow: Decimal
    settlement_cash_flow: Decimal
    fee: Decimal
    at_ns: int

    @property
    def net_cash_flow(self) -> Decimal:
        return self.open_cash_flow + self.settlement_cash_flow


class Transfer(msgspec.Struct, frozen=True):
    """A deposit (positive) or withdrawal (negative), USD."""

    transfer_id: int
    account_id: str
    amount: Decimal
    at_ns: int


class MarketTrade(msgspec.Struct, frozen=True):
    """A public trade; `side` is the taker's."""

    trade_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    at_ns: int


class KLine(msgspec.Struct, frozen=True):
    """One bar of trades: prices USD, `volume` base coins. `period` as the venue names it, lower case."""

    symbol: str
    period: str
    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class DeliveryPrice(msgspec.Struct, frozen=True):
    """The index at one expiry: mean of the 30 minutes before it, USD."""

    base: str
    expiry_ns: int
    price: Decimal


class Level(NamedTuple):
    price: Decimal
    quantity: Decimal


class OrderBook(msgspec.Struct, frozen=True):
    """Bids descending, asks ascending, at the current step; never crossed."""

    symbol: str
    strike: Decimal
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    at_ns: int


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """An open position, or one just closed (`quantity` 0). `quantity` is unsigned, `side` says long (BUY) or short.

    `locked` is the part that open orders against it would close. Greeks are per unit of base coin of a long option
    or signed totals, as the configuration says. Margins in USD; longs need none.
    """

    position_id: int
    account_id: str
    symbol: str
    side: Side
    quantity: Decimal
    locked: Decimal
    average_price: Decimal
    mark_price: float
    last_price: Decimal | None
    index_price: Decimal
    unrealised_pnl_mark: Decimal
    unrealised_pnl_last: Decimal
    realised_pnl: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float
    updated_ns: int


class AssetBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A coin of an account: `free` is what no open order would sell; `value` in USD at the index."""

    coin: str
    quantity: Decimal
    free: Decimal
    value: Decimal


class FuturesPosition(msgspec.Struct, frozen=True, kw_only=True):
    """An open position in a perpetual or dated future, or one just closed (`quantity` 0); unsigned with `side`.

    `value` = average_price * quantity, initial_margin = value / leverage, all in USD. `liquidation_price`: the mark
    at which the account's margin balance would be its maintenance margin, all else equal; None where there is none.
    """

    position_id: int
    account_id: str
    symbol: str
    is_perpetual: bool
    side: Side
    quantity: Decimal
    average_price: Decimal
    mark_price: Decimal
    last_price: Decimal
    value: Decimal
    unrealised_pnl_mark: Decimal
    unrealised_pnl_last: Decimal
    realised_pnl: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    leverage: int
    liquidation_price: Decimal | None
    updated_ns: int


class FundingPayment(msgspec.Struct, frozen=True, kw_only=True):
    """Funding of one perpetual position at 00, 08 or 16 UTC: `amount` USD is positive when received."""

    payment_id: int
    account_id: str
    symbol: str
    side: Side
    quantity: Decimal
    mark_price: Decimal
    rate: Decimal
    amount: Decimal
    at_ns: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A dated future settled at its expiry; `pnl` in USD before the fee."""

    delivery_id: int
    account_id: str
    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
    settlement_price: Decimal
    pnl: Decimal
    fee: Decimal
    at_ns: int


class AccountSummary(msgspec.Struct, frozen=True, kw_only=True):
    """USD figures of one account.

    margin_balance = cash + futures_pnl; available = margin_balance - initial_margin - order_freeze;
    equity = margin_balance + option_value + asset_value. `assets` are coins other than USDT; they are not collateral.
    Ratios are fractions of the margin balance; 0 without margin, None when margin is needed but nothing is there.
    """

    account_id: str
    cash: Decimal
    option_value: Decimal
    equity: Decimal
    margin_balance: Decimal
    available: Decimal
    order_freeze: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    initial_margin_ratio: Decimal | None
    maintenance_margin_ratio: Decimal | None
    unrealised_pnl: Decimal
    delta: float
    btc_value: Decimal
    futures_pnl: Decimal = Decimal(0)
    asset_value: Decimal = Decimal(0)
    assets: tuple["AssetBalance", ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Columns of the options of one index at one step, all of shape (n,), in the order of `instruments`.

    Prices and sizes are 0 where a side is empty and their float repr is the exact decimal. `bid_iv` and `ask_iv` are
    NaN where no volatility gives the price. Greeks: conventions of `shared.options.black76.Greeks`.
    `last` is NaN before the first trade; `volume` is traded quantity of the current UTC day; `mark_open` is the mark
    at 00:00 UTC (or at listing). The arrays are read-only and shared between callers.
    """

    index: str
    step: int
    at_ns: int
    index_price: Decimal
    instruments: tuple[Instrument, ...]
    symbols: tuple[str, ...]
    strike: F8
    is_call: NDArray[np.bool_]
    expiry_ns: I8
    underlying: F8
    bid: F8
    ask: F8
    bid_size: F8
    ask_size: F8
    mark: F8
    mark_iv: F8
    bid_iv: F8
    ask_iv: F8
    delta: F8
    gamma: F8
    vega: F8
    theta: F8
    rho: F8
    open_interest: F8
    volume: F8
    last: F8
    mark_open: F8


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One option at the current step; fields as in `Chain`. `last_price` is None before the first trade.

    `high` and `low` are those of this UTC day's trades, of the mark at 00:00 UTC and of the present mark.
    """

    instrument: Instrument
    at_ns: int
    index_price: Decimal
    underlying_price: float
    mark_price: float
    mark_iv: float
    last_price: Decimal | None
    mark_open: float
    high: float
    low: float
    volume: Decimal
    volume_usd: Decimal
    open_interest: Decimal
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


OrderEventKind = Literal["new", "partial", "filled", "cancelled", "invalid", "exercised", "amended"]


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The order as it was right after the event; `fill` on "partial" and "filled" by a trade."""

    kind: OrderEventKind
    order: Order
    fill: Fill | None = None


class TradeEvent(msgspec.Struct, frozen=True):
    """A fill of the account, with what the order still had to fill after it."""

    fill: Fill
    remaining: Decimal


class MarketTradeEvent(msgspec.Struct, frozen=True):
    """A public trade."""

    trade: MarketTrade


class PositionEvent(msgspec.Struct, frozen=True):
    """A position opened, changed or (quantity 0) closed; `expired`: by its expiry."""

    position: Position
    expired: bool = False


class FuturesPositionEvent(msgspec.Struct, frozen=True):
    """A futures position opened, changed or (quantity 0) closed; `expired`: by its expiry."""

    position: FuturesPosition
    expired: bool = False


class AccountEvent(msgspec.Struct, frozen=True):
    """Cash or margin of an account changed; `summary` is its state at the end of the command."""

    summary: AccountSummary


class InstrumentsEvent(msgspec.Struct, frozen=True):
    """The list of options of a base changed: expiries settled, new ones listed."""

    base: str

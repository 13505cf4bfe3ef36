"""The state of the exchange: accounts, orders, fills. Changes only by `apply`, which makes no decisions."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar, assert_never

from msgspec.structs import replace

from services.exchange.bookings import book_futures, book_spot, deliver, pay_funding
from services.exchange.config import ExchangeConfig
from services.exchange.listing import NS_PER_DAY
from services.exchange.mmp_state import MmpState
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
from services.exchange.rfq_state import RfqState
from services.exchange.rows import (
    BlockOffered,
    BlockTraded,
    CashTransferred,
    CountdownFired,
    CountdownRestarted,
    CountdownSet,
    ExchangeRow,
    ExpiryListed,
    ExpirySettled,
    FundingPaid,
    FutureDelivered,
    IndexMoved,
    LeverageSet,
    LiquidityConsumed,
    MmpCounted,
    MmpFired,
    MmpReset,
    MmpSet,
    OrderAmended,
    OrderClosed,
    OrderFilled,
    OrderPlaced,
    PositionExercised,
    QuoteCreated,
    QuoteEnded,
    RequestCreated,
    RequestEnded,
    StopTriggered,
    TradePrinted,
    VolMoved,
)
from services.exchange.states import CLOSING_CHANGE, OrderChange, next_state
from shared.options.instruments import instrument_kind

ZERO = Decimal(0)
# The venue's ids: milliseconds since this instant, shifted, plus a sequence. 19 digits, below 2^62 until 2045.
ID_EPOCH_MS = 1_288_834_974_657
ID_SEQUENCE_BITS = 22
KEPT_TRADES = 100
KEPT_FUNDING = 5_000
KEPT_MINUTES = 10_080
"""Of one instrument: a week without a pause. What was traded before is missing in its k-lines."""
MINUTE_NS = 60_000_000_000
NS_PER_MS = 1_000_000
AVERAGE_PRICE_STEP = Decimal("0.000000000001")


@dataclass(slots=True)
class Holding:
    """A position: `quantity` is signed; `average_price` of what is open, to 12 decimals."""

    position_id: int
    quantity: Decimal
    average_price: Decimal
    realised_pnl: Decimal
    updated_ns: int


@dataclass(slots=True)
class Account:
    """Cash in USDT, coins of spot, positions of options and futures, what the account has done: all orders that are
    open or wait, the newest finished ones and fills; ascending by id, `finished` in the order in which they ended."""

    account_id: str
    cash: Decimal
    holdings: dict[str, Holding] = field(default_factory=dict)
    order_ids: dict[int, None] = field(default_factory=dict)
    finished: deque[int] = field(default_factory=deque)
    open_order_ids: dict[int, None] = field(default_factory=dict)
    order_of_client_id: dict[int, int] = field(default_factory=dict)
    fills: deque[Fill] = field(default_factory=deque)
    exercises: list[Exercise] = field(default_factory=list)
    assets: dict[str, Decimal] = field(default_factory=dict)
    leverage: dict[str, int] = field(default_factory=dict)
    funding: deque[FundingPayment] = field(default_factory=lambda: deque(maxlen=KEPT_FUNDING))
    deliveries: list[Delivery] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)


@dataclass(slots=True)
class Countdown:
    """The dead-man switch of one account and index: fires at `deadline_ns`, then blocks new orders until reset."""

    countdown_ms: int
    deadline_ns: int
    fired: bool = False


@dataclass(slots=True)
class TradedMinute:
    """Clients' trades of one option in one UTC minute (minutes since 1970), what k-lines are made of."""

    minute: int
    first_ns: int
    last_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    quantity: Decimal


@dataclass(slots=True)
class DayVolume:
    """Clients' trades of one option in one UTC day (days since 1970): quantity, premium, extremes."""

    day: int
    quantity: Decimal
    value: Decimal
    high: Decimal
    low: Decimal


class ExchangeState:
    """Everything that must survive a restart. Two states are equal if all their parts are."""

    def __init__(self, config: ExchangeConfig) -> None:
        self.accounts = {
            account.account_id: Account(
                account.account_id,
                account.initial_balance_usd,
                fills=deque(maxlen=config.kept_fills),
                assets={coin: quantity for coin, quantity in account.initial_assets.items() if quantity},
            )
            for account in config.accounts
        }
        self.kept_orders = config.kept_orders
        self.orders: dict[int, Order] = {}
        self.open_by_symbol: dict[str, dict[int, None]] = {}
        self.waiting_by_symbol: dict[str, dict[int, None]] = {}
        self.consumed: dict[tuple[str, Side], tuple[int, int]] = {}
        self.trades: dict[str, deque[MarketTrade]] = {}
        self.volumes: dict[str, DayVolume] = {}
        self.minutes: dict[str, deque[TradedMinute]] = {}
        self.deliveries: dict[str, list[DeliveryPrice]] = {}
        self.settled: set[tuple[str, int]] = set()
        self.shocks: dict[str, list[tuple[int, float]]] = {}
        self.vol_shocks: dict[str, list[tuple[int, float]]] = {}
        self.extra_expiries: dict[str, dict[int, int]] = {}
        self.countdowns: dict[tuple[str, str], Countdown] = {}
        self.mmp = MmpState()
        self.rfq = RfqState(config.rfq.kept_requests)
        self.makers_cash = ZERO
        self.fees_collected = ZERO
        self.makers_assets: dict[str, Decimal] = {}
        self.fees_in_coin: dict[str, Decimal] = {}
        self.last_id = 0
        self.last_ns = 0
        self.revision = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExchangeState) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def next_id(self, at_ns: int) -> int:
        """The id of the next record: above all others, and telling its time."""
        return max(self.last_id + 1, (at_ns // 1_000_000 - ID_EPOCH_MS) << ID_SEQUENCE_BITS)

    def position(self, account_id: str, symbol: str) -> Decimal:
        """Signed quantity, 0 without a position."""
        holding = self.accounts[account_id].holdings.get(symbol)
        return holding.quantity if holding else ZERO

    def open_orders(self, account_id: str, symbol: str | None = None) -> list[Order]:
        """Open orders of an account by id, all or of one option."""
        orders = (self.orders[order_id] for order_id in self.accounts[account_id].open_order_ids)
        return [order for order in orders if symbol is None or order.symbol == symbol]

    def resting(self, symbol: str, side: Side) -> list[Order]:
        """Open orders of one side of an option, best price first, then by time."""
        orders = (self.orders[order_id] for order_id in self.open_by_symbol.get(symbol, ()))
        return sorted(
            (order for order in orders if order.side is side),
            key=lambda order: (-order.price * side.sign, order.priority),
        )

    def apply(self, row: ExchangeRow) -> None:
        """Fold one row in. Raises KeyError for a row of an order or account that is not there."""
        self.revision += 1
        self.last_ns = max(self.last_ns, row.at_ns)
        self.last_id = max(self.last_id, *_ids_of(row), 0)
        match row:
            case OrderPlaced():
                self._place(row.order)
            case OrderAmended():
                self._amend(row)
            case OrderFilled():
                self._fill(row)
            case OrderClosed():
                order = self.orders[row.order_id]
                state = next_state(order.state, CLOSING_CHANGE[row.state])
                self._store(replace(order, state=state, updated_ns=row.at_ns))
            case TradePrinted():
                self._print(row.trade)
            case LiquidityConsumed():
                self.consumed[row.symbol, row.side] = (row.lots, row.step)
            case PositionExercised():
                self._exercise(row.exercise)
            case StopTriggered():
                order = self._renamed(row.order_id, row.new_order_id)
                state = next_state(order.state, OrderChange.TRIGGERED)
                changed = replace(order, state=state, quantity=row.quantity, price=row.price)
                self._store(replace(changed, priority=row.priority, updated_ns=row.at_ns))
            case LeverageSet():
                self.accounts[row.account_id].leverage[row.symbol] = row.leverage
            case FundingPaid():
                pay_funding(self, row.payment)
            case FutureDelivered():
                deliver(self, row.delivery)
            case ExpirySettled():
                self.settled.add((row.delivery.base, row.delivery.expiry_ns))
                self.deliveries.setdefault(row.delivery.base, []).append(row.delivery)
            case CashTransferred():
                account = self.accounts[row.transfer.account_id]
                account.cash += row.transfer.amount
                account.transfers.append(row.transfer)
            case IndexMoved():
                self.shocks.setdefault(row.base, []).append((row.step, row.factor))
            case VolMoved():
                self.vol_shocks.setdefault(row.base, []).append((row.step, row.factor))
            case ExpiryListed():
                self.extra_expiries.setdefault(row.base, {})[row.expiry_ns] = row.at_ns
            case CountdownSet():
                self.countdowns.pop((row.account_id, row.index), None)
                if row.countdown_ms:
                    deadline_ns = row.at_ns + row.countdown_ms * NS_PER_MS
                    self.countdowns[row.account_id, row.index] = Countdown(row.countdown_ms, deadline_ns)
            case CountdownRestarted():
                countdown = self.countdowns[row.account_id, row.index]
                countdown.deadline_ns = row.at_ns + countdown.countdown_ms * NS_PER_MS
                countdown.fired = False
            case CountdownFired():
                self.countdowns[row.account_id, row.index].fired = True
            case MmpSet() | MmpCounted() | MmpFired() | MmpReset():
                self.mmp.apply(row)
            case RequestCreated() | RequestEnded() | QuoteCreated() | QuoteEnded() | BlockOffered() | BlockTraded():
                self.rfq.apply(row)
            case _ as unreachable:
                assert_never(unreachable)

    def _place(self, order: Order) -> None:
        account = self.accounts[order.account_id]
        account.order_ids[order.order_id] = None
        if order.client_order_id is not None:
            account.order_of_client_id[order.client_order_id] = order.order_id
        self._store(order)

    def _renamed(self, order_id: int, new_order_id: int | None) -> Order:
        """The order, known by its new id alone from here on where it has one; its fills keep the old one."""
        if new_order_id is None:
            return self.orders[order_id]
        order = self.orders.pop(order_id)
        account = self.accounts[order.account_id]
        del account.order_ids[order_id]
        account.order_ids[new_order_id] = None
        account.open_order_ids.pop(order_id, None)
        if order.client_order_id is not None and account.order_of_client_id.get(order.client_order_id) == order_id:
            account.order_of_client_id[order.client_order_id] = new_order_id
        for by_symbol in (self.open_by_symbol, self.waiting_by_symbol):
            _discard(by_symbol, order)
        return replace(order, order_id=new_order_id)

    def _amend(self, row: OrderAmended) -> None:
        order = self._renamed(row.order_id, row.new_order_id)
        self._store(
            replace(
                order,
                quantity=row.quantity,
                price=row.price,
                priority=row.priority,
                state=next_state(order.state, OrderChange.AMENDED),
                updated_ns=row.at_ns,
            )
        )

    def _fill(self, row: OrderFilled) -> None:
        fill = row.fill
        account = self.accounts[fill.account_id]
        signed = fill.side.sign * fill.quantity
        kind = instrument_kind(fill.symbol)
        if kind == "spot":
            realised = book_spot(self, account, fill, against_client=row.against_client)
        elif kind != "option":
            realised = self._change_holding(account, fill, signed)
            book_futures(self, account, fill, realised)
        else:
            paid = signed * fill.price
            account.cash -= paid + fill.fee
            self.fees_collected += fill.fee
            if not row.against_client:
                self.makers_cash += paid
            realised = self._change_holding(account, fill, signed)
        account.fills.append(fill)
        order = self.orders[fill.order_id]
        filled = order.filled + fill.quantity
        change = OrderChange.FILLED if filled == order.quantity else OrderChange.PARTLY_FILLED
        self._store(
            replace(
                order,
                state=next_state(order.state, change),
                filled=filled,
                filled_value=order.filled_value + fill.quantity * fill.price,
                fee=order.fee + fill.fee,
                realised_pnl=order.realised_pnl + realised,
                updated_ns=row.at_ns,
            )
        )

    def _change_holding(self, account: Account, fill: Fill, signed: Decimal) -> Decimal:
        """Book a signed quantity into the position; returns the P&L that it realised, fees not included."""
        holding = account.holdings.get(fill.symbol)
        if holding is None:
            account.holdings[fill.symbol] = Holding(fill.fill_id, signed, fill.price, ZERO, fill.at_ns)
            return ZERO
        before = holding.quantity
        after = before + signed
        realised = ZERO
        if before * signed > 0:
            value = holding.average_price * before + fill.price * signed
            holding.average_price = (value / after).quantize(AVERAGE_PRICE_STEP)
        else:
            closed = min(abs(signed), abs(before))
            realised = (fill.price - holding.average_price) * (closed if before > 0 else -closed)
            if before * after < 0:
                holding.average_price = fill.price
        holding.quantity = after
        holding.realised_pnl += realised
        holding.updated_ns = fill.at_ns
        if not after:
            del account.holdings[fill.symbol]
        return realised

    def _print(self, trade: MarketTrade) -> None:
        self.trades.setdefault(trade.symbol, deque(maxlen=KEPT_TRADES)).append(trade)
        day = trade.at_ns // NS_PER_DAY
        volume = self.volumes.get(trade.symbol)
        price = trade.price
        if volume is None or volume.day != day:
            volume = self.volumes[trade.symbol] = DayVolume(day, ZERO, ZERO, price, price)
        volume.quantity += trade.quantity
        volume.value += trade.quantity * price
        volume.high, volume.low = max(volume.high, price), min(volume.low, price)
        minutes = self.minutes.setdefault(trade.symbol, deque(maxlen=KEPT_MINUTES))
        minute = trade.at_ns // MINUTE_NS
        if not minutes or minutes[-1].minute != minute:
            minutes.append(TradedMinute(minute, trade.at_ns, trade.at_ns, price, price, price, price, ZERO))
        last = minutes[-1]
        last.last_ns, last.close = trade.at_ns, price
        last.high, last.low = max(last.high, price), min(last.low, price)
        last.quantity += trade.quantity

    def forget_trades(self, symbols: Iterable[str]) -> None:
        """Drop the public trades of options that are no longer listed: nobody can ask for them any more."""
        for symbol in symbols:
            self.trades.pop(symbol, None)
            self.volumes.pop(symbol, None)
            self.minutes.pop(symbol, None)
            for side in Side:
                self.consumed.pop((symbol, side), None)

    def _exercise(self, exercise: Exercise) -> None:
        account = self.accounts[exercise.account_id]
        account.cash += exercise.settlement_cash_flow - exercise.fee
        self.makers_cash -= exercise.settlement_cash_flow
        self.fees_collected += exercise.fee
        account.exercises.append(exercise)
        holding = account.holdings.pop(exercise.symbol)
        holding.quantity = ZERO
        holding.realised_pnl += exercise.net_cash_flow
        holding.updated_ns = exercise.at_ns

    def _store(self, order: Order) -> None:
        """Keep the order and the indices of open orders."""
        self.orders[order.order_id] = order
        open_of_account = self.accounts[order.account_id].open_order_ids
        if order.state is OrderState.WAITING:
            open_of_account[order.order_id] = None
            self.waiting_by_symbol.setdefault(order.symbol, {})[order.order_id] = None
            return
        if order.trigger_price is not None:
            _discard(self.waiting_by_symbol, order)
        if order.state.is_open:
            open_of_account[order.order_id] = None
            self.open_by_symbol.setdefault(order.symbol, {})[order.order_id] = None
            return
        open_of_account.pop(order.order_id, None)
        _discard(self.open_by_symbol, order)
        account = self.accounts[order.account_id]
        account.finished.append(order.order_id)
        if len(account.finished) > self.kept_orders:
            self._forget_order(account, account.finished.popleft())

    def _forget_order(self, account: Account, order_id: int) -> None:
        client_order_id = self.orders.pop(order_id).client_order_id
        del account.order_ids[order_id]
        if client_order_id is not None and account.order_of_client_id.get(client_order_id) == order_id:
            del account.order_of_client_id[client_order_id]


def _discard(by_symbol: dict[str, dict[int, None]], order: Order) -> None:
    of_symbol = by_symbol.get(order.symbol, {})
    of_symbol.pop(order.order_id, None)
    if not of_symbol:
        by_symbol.pop(order.symbol, None)


Timed = TypeVar("Timed", Fill, Exercise, FundingPayment, Delivery)


def within(records: Iterable[Timed], start_ns: int | None, end_ns: int | None) -> list[Timed]:
    """Those whose time is in [start_ns, end_ns]; None is no limit."""
    return [
        record
        for record in records
        if (start_ns is None or record.at_ns >= start_ns) and (end_ns is None or record.at_ns <= end_ns)
    ]


def _ids_of(row: ExchangeRow) -> tuple[int, ...]:
    match row:
        case OrderPlaced():
            return (row.order.order_id,)
        case OrderAmended() | StopTriggered():
            return (row.priority, row.new_order_id or 0)
        case OrderFilled():
            return (row.fill.fill_id, row.fill.trade_id)
        case TradePrinted():
            return (row.trade.trade_id,)
        case PositionExercised():
            return (row.exercise.exercise_id,)
        case FundingPaid():
            return (row.payment.payment_id,)
        case FutureDelivered():
            return (row.delivery.delivery_id,)
        case CashTransferred():
            return (row.transfer.transfer_id,)
        case RequestCreated():
            return (row.request.request_id,)
        case QuoteCreated():
            return (row.quote.quote_id,)
        case BlockOffered():
            return (row.offer.offer_id,)
        case _:
            return ()

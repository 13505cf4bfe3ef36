"""The simulated exchange: commands and time in; results, rows to commit and events to push out.

The market (indices, surface, makers' ladders) is a pure function of configuration, start time and step; accounts,
orders and fills are a fold of rows. See `services/exchange/model.py` for every type.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from services.exchange.config import ExchangeConfig
from services.exchange.model import (
    AccountSummary,
    Advance,
    AmendOrder,
    AmendResult,
    CancelledOrders,
    CancelOrder,
    CancelResult,
    Chain,
    DeliveryPrice,
    Detail,
    ExchangeRow,
    Exercise,
    Fill,
    Instrument,
    MarketResult,
    MarketTrade,
    Order,
    OrderBook,
    Outcome,
    PlaceOrder,
    PlaceResult,
    Position,
    Transfer,
    TransferResult,
)


class ExchangeCore:
    """One exchange. Every command first advances the market to its `now_ns`, whose rows and events it returns too.

    `now_ns` (UTC nanoseconds) may not decrease; an earlier one counts as the latest seen. Queries answer for the
    step of the last command or `advance` and change nothing. Unknown accounts raise KeyError: the caller has
    authenticated them. Unknown symbols, indices and orders give None or an empty sequence.
    """

    def __init__(self, config: ExchangeConfig, started_ns: int) -> None:
        """`started_ns` anchors the market's path: a restarted exchange passes the first start's value."""
        raise NotImplementedError

    @classmethod
    def restore(cls, config: ExchangeConfig, started_ns: int, rows: Iterable[ExchangeRow]) -> "ExchangeCore":
        """The exchange that wrote these rows, as it was after the last one."""
        raise NotImplementedError

    def apply(self, row: ExchangeRow) -> None:
        """Fold one row into the state. The only way in which accounts, orders and fills change."""
        raise NotImplementedError

    # Commands.

    def place(self, account_id: str, command: PlaceOrder, now_ns: int) -> Outcome[PlaceResult]:
        """Accept, match and perhaps rest an order. A rejected one leaves no trace."""
        raise NotImplementedError

    def amend(self, account_id: str, command: AmendOrder, now_ns: int) -> Outcome[AmendResult]:
        """Change quantity or price of an open order. A new price or more quantity loses the place in the queue."""
        raise NotImplementedError

    def cancel(self, account_id: str, command: CancelOrder, now_ns: int) -> Outcome[CancelResult]:
        """Cancel an open order. 10584 unknown, 11101 already cancelled, 11102 already filled."""
        raise NotImplementedError

    def cancel_symbol(self, account_id: str, symbol: str, now_ns: int) -> Outcome[CancelledOrders]:
        """Cancel all open orders of the account in one option."""
        raise NotImplementedError

    def cancel_index(self, account_id: str, index: str, now_ns: int) -> Outcome[CancelledOrders]:
        """Cancel all open orders of the account in the options of one index such as BTCUSD."""
        raise NotImplementedError

    def deposit(self, account_id: str, amount: Decimal, now_ns: int) -> Outcome[TransferResult]:
        """Book cash into the account, USD."""
        raise NotImplementedError

    def withdraw(self, account_id: str, amount: Decimal, now_ns: int) -> Outcome[TransferResult]:
        """Book cash out of the account, at most what is available (20010)."""
        raise NotImplementedError

    def move_index(self, base: str, pct: float, now_ns: int) -> Outcome[MarketResult]:
        """Multiply the index by (1 + pct / 100) from the next step on. Rejected outside -90..+900 %."""
        raise NotImplementedError

    def list_expiry(self, base: str, expiry_ns: int, now_ns: int) -> Outcome[MarketResult]:
        """List an extra expiry at a whole step in the future; its symbols bear the date of the instant."""
        raise NotImplementedError

    def advance(self, now_ns: int) -> Advance:
        """Move the market to the step of `now_ns`, settling what expired on the way. Nothing within one step."""
        raise NotImplementedError

    # Queries about the market.

    @property
    def now_ns(self) -> int:
        """The time of the current step, UTC nanoseconds."""
        raise NotImplementedError

    @property
    def step(self) -> int:
        """The current step, counted from `started_ns`."""
        raise NotImplementedError

    def instruments(self, base: str) -> tuple[Instrument, ...]:
        """Listed options by expiry, strike, call before put. The same tuple object until the list changes."""
        raise NotImplementedError

    def instrument(self, symbol: str) -> Instrument | None:
        """A listed option."""
        raise NotImplementedError

    def is_tradable(self, symbol: str) -> bool:
        """False for unknown options and in the 15 minutes before expiry."""
        raise NotImplementedError

    def chain(self, index: str, expiry_ns: int | None = None) -> Chain | None:
        """All options of an index or of one expiry at the current step; computed once per step."""
        raise NotImplementedError

    def detail(self, symbol: str) -> Detail | None:
        """One option at the current step."""
        raise NotImplementedError

    def order_book(self, symbol: str, depth: int = 100) -> OrderBook | None:
        """Makers' and clients' orders, at most `depth` (1..100) levels a side."""
        raise NotImplementedError

    def index_price(self, base: str) -> Decimal | None:
        """The published index at the current step, USD."""
        raise NotImplementedError

    def delivery_prices(self, base: str) -> Sequence[DeliveryPrice]:
        """Settlement prices, newest first."""
        raise NotImplementedError

    def estimated_expiration_price(self, index: str, expiry_ns: int) -> Decimal | None:
        """Mean of the settlement window so far, or the index before it opens. None for an unlisted expiry."""
        raise NotImplementedError

    def market_trades(self, symbol: str, limit: int = 100) -> Sequence[MarketTrade]:
        """The last public trades, newest first."""
        raise NotImplementedError

    # Queries about an account.

    def account_summary(self, account_id: str) -> AccountSummary:
        """Cash, margin and equity at the current marks."""
        raise NotImplementedError

    def positions(self, account_id: str) -> Sequence[Position]:
        """Open positions by symbol."""
        raise NotImplementedError

    def open_orders(self, account_id: str) -> Sequence[Order]:
        """Open orders by id."""
        raise NotImplementedError

    def order(self, account_id: str, order_id: int | None = None, client_order_id: int | None = None) -> Order | None:
        """An order, open or not; `order_id` wins."""
        raise NotImplementedError

    def order_initial_margin(self, order: Order) -> Decimal:
        """What the rest of an open order freezes now, USD."""
        raise NotImplementedError

    def order_history(
        self, account_id: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Sequence[Order]:
        """Orders that are no longer open, by id, created in [start_ns, end_ns]."""
        raise NotImplementedError

    def fills(self, account_id: str, start_ns: int | None = None, end_ns: int | None = None) -> Sequence[Fill]:
        """Fills by trade id, executed in [start_ns, end_ns]."""
        raise NotImplementedError

    def exercise_history(
        self, account_id: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Sequence[Exercise]:
        """Settled positions by id, within [start_ns, end_ns]."""
        raise NotImplementedError

    def transfers(self, account_id: str) -> Sequence[Transfer]:
        """Deposits and withdrawals by id."""
        raise NotImplementedError

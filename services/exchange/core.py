"""The simulated exchange: commands and time in; results, rows to commit and events to push out.

The market (indices, surface, makers' ladders) is a pure function of configuration, start time and step; accounts,
orders and fills are a fold of rows. See `services/exchange/model.py` for every type.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from services.exchange.accounts import Countdown, ExchangeState, within
from services.exchange.blocks import Blocks
from services.exchange.calendar import Calendar
from services.exchange.codes import BlockCodes
from services.exchange.config import ExchangeConfig
from services.exchange.contract_calls import ContractCalls
from services.exchange.contract_trading import ContractTrading
from services.exchange.contracts import ContractMarket, Contracts, next_funding_time
from services.exchange.countdown import Countdowns
from services.exchange.funding import Funding
from services.exchange.klines import BARS_MAX, Period
from services.exchange.listing import Listing
from services.exchange.makers import Makers
from services.exchange.market import IndexPath
from services.exchange.mmp import Mmp
from services.exchange.model import (
    AccountSummary,
    AmendOrder,
    AmendResult,
    CancelledOrders,
    CancelOrder,
    CancelResult,
    Chain,
    CountdownResult,
    DeliveryPrice,
    Detail,
    Exercise,
    Fill,
    Instrument,
    KLine,
    MarketChanged,
    MarketResult,
    MarketTrade,
    Order,
    OrderBook,
    PlaceOrder,
    PlaceResult,
    Position,
    Rejection,
    SetCountdown,
    Side,
    Transfer,
    Transferred,
    TransferResult,
)
from services.exchange.moves import factor_of, index_move, vol_move
from services.exchange.prints import PublicTrades
from services.exchange.quotes import BaseMarket
from services.exchange.rfq import Rfq
from services.exchange.rfq_calls import RfqCalls
from services.exchange.rows import (
    Advance,
    CashTransferred,
    ExchangeRow,
    ExpiryListed,
    IndexMoved,
    Outcome,
    ResultT,
    VolMoved,
)
from services.exchange.settlement import WINDOW_NS
from services.exchange.settling import Settling
from services.exchange.trading import Trading
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation
from services.exchange.views import Views
from shared.options.instruments import InstrumentKind, instrument_kind
from shared.weakly import weakly


class ExchangeCore:
    """One exchange. Every command first advances the market to its `now_ns`, whose rows and events it returns too.

    `now_ns` (UTC nanoseconds) may not decrease; an earlier one counts as the latest seen. Queries answer for the
    step of the last command or `advance` and change nothing. Unknown accounts raise KeyError: the caller has
    authenticated them. Unknown symbols, indices and orders give None or an empty sequence.
    """

    def __init__(self, config: ExchangeConfig, started_ns: int) -> None:
        """`started_ns` anchors the market's path: a restarted exchange passes the first start's value."""
        self._config = config
        self._state = ExchangeState(config)
        self._step_ns = config.step_ms * 1_000_000
        self._origin_ns = started_ns // self._step_ns * self._step_ns
        self._clock_ns = started_ns
        self._markets: dict[str, BaseMarket] = {}
        for base in config.bases:
            path = IndexPath(base, config.seed, self._step_ns, self._state.shocks, self._state.vol_shocks)
            self._markets[base.base] = BaseMarket(
                base, path, Listing(base, config.seed), self._origin_ns, self._step_ns
            )
        contracts = Contracts(
            {
                base: ContractMarket(market, config.seed, self._origin_ns, self._step_ns, config.switches)
                for base, market in self._markets.items()
            }
        )
        self._valuation = Valuation(config, self._state, self._markets, contracts)
        self._trading = Trading(config, self._state, self._valuation)
        self._contract_trading = ContractTrading(config, self._state, self._valuation, self._trading)
        markets = self._markets
        self._funding = Funding(
            config, self._state, contracts, self._contract_trading, lambda base: markets[base].path
        )
        begin, end = weakly(self._begin), weakly(self._end)
        self.futures = self._calls_about("perpetual", "future")
        """Commands and queries about perpetuals and dated futures."""
        self.spot = self._calls_about("spot")
        """Commands and queries about spot."""
        self._countdowns = Countdowns(config, self._state, self._trading)
        self._settling = Settling(config, self._state, self._markets)
        blocks = Blocks(config, self._state, self._valuation)
        self._rfq = Rfq(config, self._state, self._valuation, blocks)
        self.mmp = Mmp(config, self._state, self._valuation, self._rfq, begin, end)
        """Commands and queries about market-maker protection."""
        makers = Makers(config, self._state, self._valuation, self._rfq, blocks, self.mmp.quote_refusal)
        codes = BlockCodes(config, self._state, self._valuation, blocks)
        self.rfq = RfqCalls(self._state, self._rfq, makers, codes, begin, end)
        """Commands and queries about requests for quote and block trades."""
        self._public = PublicTrades(self._state, self._valuation, self._origin_ns, self._step_ns)
        self._views = Views(self._state, self._valuation, self._origin_ns, self._step_ns)
        self._step = 0
        self._go_to_step(0)
        self._calendar = Calendar(config, self._state, self._markets, contracts, self._origin_ns)
        self._funded_ns = self._origin_ns

    def _calls_about(self, *kinds: InstrumentKind) -> ContractCalls:
        valuation, trading, contracts = self._valuation, self._trading, self._contract_trading
        return ContractCalls(
            kinds, self._state, valuation, trading, contracts, weakly(self._begin), weakly(self._end)
        )

    @classmethod
    def restore(cls, config: ExchangeConfig, started_ns: int, rows: Iterable[ExchangeRow]) -> "ExchangeCore":
        """The exchange that wrote these rows, as it was after the last one."""
        core = cls(config, started_ns)
        for row in rows:
            core.apply(row)
        return core

    @property
    def state(self) -> ExchangeState:
        """Everything that rows have made, for comparison; callers must not change it."""
        return self._state

    def apply(self, row: ExchangeRow) -> None:
        """Fold one row that this exchange once returned and go to its time, deciding nothing on the way.

        What expired until then is in the rows already, and what rested has met every market until then.
        """
        self._state.apply(row)
        self._clock_ns = max(self._clock_ns, row.at_ns)
        step = self._step_of(self._clock_ns)
        while (event_ns := self._next_event_ns()) <= self._time_of(step):
            if event_ns == self._calendar.next_ns():
                self._calendar.roll(event_ns)
            self._funded_ns = max(self._funded_ns, event_ns)
        if isinstance(row, ExpiryListed):
            self._calendar.roll(row.at_ns)
        if step > self._step:
            self._go_to_step(step)

    # Commands.

    def place(self, account_id: str, command: PlaceOrder, now_ns: int) -> Outcome[PlaceResult]:
        """Accept, match and perhaps rest an order. A rejected one leaves no trace."""
        transaction = self._begin(now_ns, account_id)
        refusal = self._countdowns.refusal(account_id, command.symbol)
        refusal = refusal or self.mmp.refusal(account_id, command, transaction.now_ns)
        result = refusal or self._trading.place(account_id, command, transaction)
        return self._end(result, transaction)

    def amend(self, account_id: str, command: AmendOrder, now_ns: int) -> Outcome[AmendResult]:
        """Change quantity or price of an open order. A new price or more quantity loses the place in the queue."""
        transaction = self._begin(now_ns, account_id)
        result = self._trading.amend(account_id, command, transaction)
        return self._end(result, transaction)

    def cancel(self, account_id: str, command: CancelOrder, now_ns: int) -> Outcome[CancelResult]:
        """Cancel an open order. 10584 unknown, 11101 already cancelled, 11102 already filled."""
        transaction = self._begin(now_ns, account_id)
        result = self._trading.cancel(account_id, command, transaction)
        return self._end(result, transaction)

    def cancel_symbol(self, account_id: str, symbol: str, now_ns: int) -> Outcome[CancelledOrders]:
        """Cancel all open orders of the account in one option."""
        transaction = self._begin(now_ns, account_id)
        cancelled = self._trading.cancel_all(account_id, symbol, transaction)
        return self._end(CancelledOrders(cancelled), transaction)

    def cancel_index(self, account_id: str, index: str, now_ns: int) -> Outcome[CancelledOrders]:
        """Cancel all open orders of the account in the options of one index such as BTCUSD."""
        return self.cancel_symbol(account_id, index, now_ns)

    def set_countdown(self, account_id: str, command: SetCountdown, now_ns: int) -> Outcome[CountdownResult]:
        """Arm, arm anew or (0 ms) disarm the dead-man switch of one index."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._countdowns.set(account_id, command, transaction), transaction)

    def restart_countdowns(self, account_id: str, indices: Sequence[str], now_ns: int) -> Outcome[CountdownResult]:
        """The heartbeat: let the countdowns of these indices run anew."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._countdowns.restart(account_id, indices, transaction), transaction)

    def deposit(self, account_id: str, amount: Decimal, now_ns: int) -> Outcome[TransferResult]:
        """Book cash into the account, USD."""
        return self._transfer(account_id, amount, 1, now_ns)

    def withdraw(self, account_id: str, amount: Decimal, now_ns: int) -> Outcome[TransferResult]:
        """Book cash out of the account, at most what is available (20010)."""
        return self._transfer(account_id, amount, -1, now_ns)

    def move_index(self, base: str, pct: float, now_ns: int) -> Outcome[MarketResult]:
        """Multiply the index by (1 + pct / 100) from the next step on. Rejected outside -90..+900 %."""
        transaction = self._begin(now_ns)
        row = index_move(self._markets, base, pct, self._step + 1, transaction.now_ns)
        return self._moved("index", row, transaction)

    def move_vol(self, base: str, pct: float, now_ns: int) -> Outcome[MarketResult]:
        """Multiply the level of volatility by (1 + pct / 100) from the next step on.

        Rejected outside -90..+900 %, and where all moves together would be below a hundredth or above a hundredfold.
        """
        transaction = self._begin(now_ns)
        row = vol_move(self._markets, base, pct, self.vol_factor(base), self._step + 1, transaction.now_ns)
        return self._moved("volatilities", row, transaction)

    def _moved(
        self, what: str, row: IndexMoved | VolMoved | Rejection, transaction: Transaction
    ) -> Outcome[MarketResult]:
        if isinstance(row, Rejection):
            return self._end(row, transaction)
        transaction.commit(row)
        return self._end(MarketChanged(f"{what} of {row.base} times {row.factor} from step {row.step}"), transaction)

    def list_expiry(self, base: str, expiry_ns: int, now_ns: int) -> Outcome[MarketResult]:
        """List an extra expiry at a whole step in the future; its symbols bear the date of the instant."""
        transaction = self._begin(now_ns)
        row = self._calendar.extra_expiry(base, expiry_ns, transaction.now_ns, self.now_ns)
        if isinstance(row, Rejection):
            return self._end(row, transaction)
        transaction.commit(row)
        transaction.events.extend(self._calendar.roll(self.now_ns))
        return self._end(MarketChanged(f"{base} options that expire at {expiry_ns} are listed"), transaction)

    def advance(self, now_ns: int) -> Advance:
        """Move the market to the step of `now_ns`, settling what expired on the way. Nothing within one step."""
        _, rows, events = self._end(None, self._begin(now_ns))
        return Advance(rows, events)

    # Queries about the market.

    @property
    def now_ns(self) -> int:
        """The time of the current step, UTC nanoseconds."""
        return self._time_of(self._step)

    @property
    def step(self) -> int:
        """The current step, counted from `started_ns`."""
        return self._step

    def instruments(self, base: str) -> tuple[Instrument, ...]:
        """Listed options by expiry, strike, call before put. The same tuple object until the list changes."""
        market = self._markets.get(base)
        return () if market is None else market.listing.instruments

    def instrument(self, symbol: str) -> Instrument | None:
        """A listed option."""
        market = self._valuation.market_of(symbol)
        row = None if market is None else market.listing.row(symbol)
        return None if market is None or row is None else market.listing.instruments[row]

    def is_tradable(self, symbol: str) -> bool:
        """False for unknown options and in the 15 minutes before expiry."""
        option = self.instrument(symbol)
        return option is not None and not self._trading.is_suspended(option, self._clock_ns)

    def chain(self, index: str, expiry_ns: int | None = None) -> Chain | None:
        """All options of an index or of one expiry at the current step; computed once per step."""
        market = self._markets.get(index.removesuffix("USD"))
        if market is None or not index.endswith("USD"):
            return None
        return self._views.chain(market, expiry_ns)

    def detail(self, symbol: str) -> Detail | None:
        """One option at the current step."""
        return self._views.detail(symbol)

    def order_book(self, symbol: str, depth: int = 100) -> OrderBook | None:
        """Makers' and clients' orders, at most `depth` (1..100) levels a side."""
        return self._views.order_book(symbol, depth)

    def vol_factor(self, base: str) -> float:
        """What operators' moves have multiplied the volatilities of a base by, the last one included."""
        return factor_of(self._state.vol_shocks.get(base, ()))

    def index_price(self, base: str) -> Decimal | None:
        """The published index at the current step, USD."""
        market = self._markets.get(base)
        return None if market is None else market.index_price

    def delivery_prices(self, base: str) -> Sequence[DeliveryPrice]:
        """Settlement prices, newest first."""
        return tuple(reversed(self._state.deliveries.get(base, ())))

    def estimated_expiration_price(self, index: str, expiry_ns: int) -> Decimal | None:
        """Mean of the settlement window so far, or the index before it opens. None for an unlisted expiry."""
        market = self._markets.get(index.removesuffix("USD"))
        if market is None or expiry_ns not in market.listing.expiries():
            return None
        opens = self._step_of(expiry_ns - WINDOW_NS)
        return market.index_price if self._step <= opens else market.path.mean_price(opens, self._step)

    def market_trades(self, symbol: str, limit: int = 100) -> Sequence[MarketTrade]:
        """The last public trades of today and the day before, newest first: the tape's and the clients'."""
        return self._public.newest(symbol, limit)

    def tape(self, symbols: Iterable[str], after_step: int) -> Sequence[MarketTrade]:
        """What the tape printed in some options after a step until the current one, by time."""
        by_market: dict[BaseMarket, list[str]] = {}
        for symbol in symbols:
            market = self._valuation.market_of(symbol)
            if market is not None:
                by_market.setdefault(market, []).append(symbol)
        return [
            trade
            for market, of_base in by_market.items()
            for trade in self._public.printed(market, of_base, after_step)
        ]

    def klines(
        self, symbol: str, period: Period, first_ns: int, end_ns: int, limit: int = BARS_MAX
    ) -> Sequence[KLine] | None:
        """Bars that start within [first_ns, end_ns], the newest `limit`, oldest first; the last may still grow."""
        fill = self._config.switches.empty_klines == "previous_close"
        return self._public.klines(symbol, period, first_ns, end_ns, min(limit, BARS_MAX), fill=fill)

    # Queries about an account.

    def account_summary(self, account_id: str) -> AccountSummary:
        """Cash, margin and equity at the current marks."""
        return self._valuation.summary(account_id)

    def positions(self, account_id: str) -> Sequence[Position]:
        """Open positions by symbol."""
        self._valuation.prepare(account_id)
        holdings = self._state.accounts[account_id].holdings
        return [
            self._valuation.position(account_id, symbol, holding, Side.BUY if holding.quantity > 0 else Side.SELL)
            for symbol, holding in sorted(holdings.items())
            if instrument_kind(symbol) == "option"
        ]

    def open_orders(self, account_id: str) -> Sequence[Order]:
        """Open orders by id."""
        return [each for each in self._state.open_orders(account_id) if instrument_kind(each.symbol) == "option"]

    def order(self, account_id: str, order_id: int | None = None, client_order_id: int | None = None) -> Order | None:
        """An order, open or not; `order_id` wins."""
        found = self._trading.find(account_id, order_id, client_order_id)
        return found if isinstance(found, Order) else None

    def order_initial_margin(self, order: Order) -> Decimal:
        """What the rest of an open order freezes now, USD."""
        if not order.state.is_open:
            return Decimal(0)
        orders = self._state.open_orders(order.account_id, order.symbol)
        return self._valuation.frozen(order.account_id, order.symbol, orders)[order.order_id]

    def order_history(
        self, account_id: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Sequence[Order]:
        """Orders that are no longer open, by id, created in [start_ns, end_ns]."""
        orders = (self._state.orders[order_id] for order_id in self._state.accounts[account_id].order_ids)
        return [
            order
            for order in orders
            if not order.state.is_open
            and instrument_kind(order.symbol) == "option"
            and (start_ns is None or order.created_ns >= start_ns)
            and (end_ns is None or order.created_ns <= end_ns)
        ]

    def fills(self, account_id: str, start_ns: int | None = None, end_ns: int | None = None) -> Sequence[Fill]:
        """Fills by trade id, executed in [start_ns, end_ns]."""
        fills = within(self._state.accounts[account_id].fills, start_ns, end_ns)
        return [fill for fill in fills if instrument_kind(fill.symbol) == "option"]

    def exercise_history(
        self, account_id: str, start_ns: int | None = None, end_ns: int | None = None
    ) -> Sequence[Exercise]:
        """Settled positions by id, within [start_ns, end_ns]."""
        return within(self._state.accounts[account_id].exercises, start_ns, end_ns)

    def countdowns(self, account_id: str) -> Sequence[tuple[str, Countdown]]:
        """The running countdowns by index."""
        return self._countdowns.active(account_id)

    def transfers(self, account_id: str) -> Sequence[Transfer]:
        """Deposits and withdrawals by id."""
        return tuple(self._state.accounts[account_id].transfers)

    def _begin(self, now_ns: int, account_id: str | None = None) -> Transaction:
        """Advance to `now_ns` within a new transaction. Raises KeyError for an unknown account, before anything."""
        if account_id is not None and account_id not in self._state.accounts:
            raise KeyError(account_id)
        self._clock_ns = max(self._clock_ns, now_ns)
        transaction = Transaction(self._config, self._state, self._valuation, self._clock_ns)
        before, target = self._step, self._step_of(self._clock_ns)
        while (event_ns := self._next_event_ns()) <= self._time_of(target):
            self._act_on_requests(event_ns, transaction)
            transaction.now_ns = event_ns
            self._go_to_step(self._step_of(event_ns))
            if event_ns == next_funding_time(self._funded_ns):
                self._funding.charge(event_ns, transaction)
            self._funded_ns = event_ns
            if event_ns == self._calendar.next_ns():
                expired_ns = event_ns - self._calendar.delay_ns
                self._countdowns.fire(event_ns, transaction)
                self._match_resting(transaction)
                self._settling.settle(expired_ns, self._step_of, transaction)
                self._funding.deliver(expired_ns, self._step_of, transaction)
                transaction.events.extend(self._calendar.roll(event_ns))
        self._act_on_requests(self._clock_ns, transaction)
        moved = target > before
        if target > self._step:
            self._go_to_step(target)
        self._countdowns.fire(self._clock_ns, transaction)
        if moved:
            self._match_resting(transaction)
            self._rfq.pull(transaction)
        return transaction

    def _match_resting(self, transaction: Transaction) -> None:
        """Let what rests and what waits meet the market of the current step."""
        self._trading.match_resting(transaction)
        self._contract_trading.match_resting(transaction)
        self.mmp.watch(transaction)

    def _act_on_requests(self, until_ns: int, transaction: Transaction) -> None:
        """Let dealers answer and quotes and requests expire, each at its own instant and in its market."""
        while (due_ns := self._rfq.next_ns(until_ns)) is not None:
            transaction.now_ns = due_ns
            self._go_to_step(self._step_of(due_ns))
            self._rfq.act(due_ns, transaction)
        transaction.now_ns = until_ns

    def _end(self, result: ResultT, transaction: Transaction) -> Outcome[ResultT]:
        self.mmp.watch(transaction)
        transaction.finish()
        return Outcome(result, transaction.rows, transaction.events)

    def _transfer(self, account_id: str, amount: Decimal, sign: int, now_ns: int) -> Outcome[TransferResult]:
        transaction = self._begin(now_ns, account_id)
        result: TransferResult
        if not (amount.is_finite() and amount > 0):
            result = Rejection(10573, f"amount {amount} error: it must be above 0")
        elif sign < 0 and amount > self._valuation.summary(account_id).available:
            result = Rejection(20010, f"insufficient withdrawable balance for {amount}")
        else:
            transfer = Transfer(transaction.next_id(), account_id, sign * amount, transaction.now_ns)
            transaction.commit(CashTransferred(transfer=transfer, at_ns=transaction.now_ns))
            transaction.touch(account_id)
            result = Transferred(transfer.transfer_id, self._state.accounts[account_id].cash)
        return self._end(result, transaction)

    def _next_event_ns(self) -> int:
        """The next instant after the last one at which a list changes or funding is due."""
        return min(self._calendar.next_ns(), next_funding_time(self._funded_ns))

    def _go_to_step(self, step: int) -> None:
        self._step = step
        for market in self._markets.values():
            market.move_to(step, self._time_of(step))

    def _step_of(self, at_ns: int) -> int:
        return max(at_ns - self._origin_ns, 0) // self._step_ns

    def _time_of(self, step: int) -> int:
        return self._origin_ns + step * self._step_ns

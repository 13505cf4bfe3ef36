"""Commands and queries of one family of contracts, as clients give them: futures (perpetual and dated), or spot."""

from collections.abc import Sequence
from decimal import Decimal

from services.exchange.accounts import ExchangeState, within
from services.exchange.contract_trading import ContractTrading
from services.exchange.contracts import Contract, ContractMarket, next_funding_time
from services.exchange.klines import BARS_MAX, Period
from services.exchange.model import (
    AmendOrder,
    AmendResult,
    CancelledOrders,
    CancelOrder,
    CancelResult,
    Delivery,
    Fill,
    FundingPayment,
    FuturesPosition,
    KLine,
    Level,
    LeverageResult,
    MarketTrade,
    Order,
    OrderBook,
    PlaceOrder,
    PlaceResult,
    Side,
)
from services.exchange.rfq_calls import Begin, End
from services.exchange.rows import Outcome
from services.exchange.trading import Trading
from services.exchange.valuation import Valuation
from shared.options.instruments import InstrumentKind, instrument_kind

ZERO = Decimal(0)


class ContractCalls:
    """As `ExchangeCore` for options: commands advance the market first, queries answer for the last step."""

    def __init__(
        self,
        kinds: tuple[InstrumentKind, ...],
        state: ExchangeState,
        valuation: Valuation,
        trading: Trading,
        contracts: ContractTrading,
        begin: Begin,
        end: End,
    ) -> None:
        self._kinds = kinds
        self._state = state
        self._valuation = valuation
        self._find = trading.find
        self._contracts = contracts
        self._begin = begin
        self._end = end

    def place(self, account_id: str, command: PlaceOrder, now_ns: int) -> Outcome[PlaceResult]:
        """Accept, match and perhaps rest an order, or let a stop order wait. A rejected one leaves no trace."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._contracts.place(account_id, command, self._kinds, transaction), transaction)

    def amend(self, account_id: str, command: AmendOrder, now_ns: int) -> Outcome[AmendResult]:
        """Change quantity or price of an order that is open or waits."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._contracts.amend(account_id, command, self._kinds, transaction), transaction)

    def cancel(self, account_id: str, command: CancelOrder, now_ns: int) -> Outcome[CancelResult]:
        """End an order. 10584 unknown, 10537 ended already."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._contracts.cancel(account_id, command, self._kinds, transaction), transaction)

    def cancel_symbol(self, account_id: str, symbol: str, now_ns: int) -> Outcome[CancelledOrders]:
        """End all orders of the account in one contract, those that wait too."""
        transaction = self._begin(now_ns, account_id)
        cancelled: tuple[int, ...] = ()
        if instrument_kind(symbol) in self._kinds:
            cancelled = self._contracts.cancel_symbol(account_id, symbol, transaction)
        return self._end(CancelledOrders(cancelled), transaction)

    def set_leverage(self, account_id: str, symbol: str, leverage: int, now_ns: int) -> Outcome[LeverageResult]:
        """Set the leverage of a contract without position and orders (40038)."""
        transaction = self._begin(now_ns, account_id)
        return self._end(self._contracts.set_leverage(account_id, symbol, leverage, transaction), transaction)

    def contracts(self) -> Sequence[tuple[ContractMarket, Contract]]:
        """All listed ones, kind by kind."""
        return [found for kind in self._kinds for found in self._valuation.contracts.of_kind(kind)]

    def find(self, symbol: str) -> tuple[ContractMarket, Contract] | None:
        """A listed one with its market."""
        found = self._valuation.contracts.find(symbol)
        return None if found is None or found[1].kind not in self._kinds else found

    def funding_rate(self, symbol: str, at_ns: int) -> Decimal:
        """Of a perpetual: the rate of the next funding after an instant, from the premium as it will have been."""
        return self._valuation.contracts.need(symbol)[0].funding_rate(next_funding_time(at_ns))

    def order_book(self, symbol: str, depth: int) -> OrderBook | None:
        """Makers' and clients' orders added up per price; None for a contract that is not listed."""
        found = self.find(symbol)
        if found is None:
            return None
        at_ns = self._valuation.market_at_ns(found[1].base)
        bids, asks = (self._side(found[0], symbol, side)[:depth] for side in Side)
        return OrderBook(symbol, ZERO, bids, asks, at_ns)

    def _side(self, market: ContractMarket, symbol: str, side: Side) -> tuple[Level, ...]:
        sizes: dict[Decimal, Decimal] = dict(market.makers(symbol, side, self._state.consumed))
        for order in self._state.resting(symbol, side):
            sizes[order.price] = sizes.get(order.price, ZERO) + order.remaining
        return tuple(Level(*item) for item in sorted(sizes.items(), reverse=side is Side.BUY))

    def market_trades(self, symbol: str, limit: int) -> Sequence[MarketTrade]:
        """The last public trades, newest first: the tape's and the clients'."""
        found = self.find(symbol)
        if found is None:
            return ()
        trades = [*found[0].newest_prints(found[1], limit), *self._state.trades.get(symbol, ())]
        trades.sort(key=lambda trade: (trade.at_ns, trade.trade_id))
        return tuple(trades[: -limit - 1 : -1])

    def printed(self, symbol: str, after_step: int) -> Sequence[MarketTrade]:
        """What the tape printed after a step until the current one."""
        found = self.find(symbol)
        return () if found is None else found[0].prints(found[1], after_step + 1, found[0].step + 1)

    def klines(self, symbol: str, period: Period, first_ns: int, end_ns: int, limit: int) -> Sequence[KLine] | None:
        """Bars of the tape, oldest first; None for a contract that is not listed."""
        found = self.find(symbol)
        return None if found is None else found[0].klines(found[1], period, first_ns, end_ns, min(limit, BARS_MAX))

    def last_price(self, symbol: str) -> Decimal:
        return self._valuation.of_contracts.last_price(*self._valuation.contracts.need(symbol))

    def leverage(self, account_id: str, symbol: str) -> int:
        return self._valuation.of_contracts.leverage(account_id, symbol)

    def positions(self, account_id: str) -> Sequence[FuturesPosition]:
        """Open positions by symbol."""
        holdings = self._state.accounts[account_id].holdings
        return [
            self._valuation.futures_position(
                account_id, symbol, holding, Side.BUY if holding.quantity > 0 else Side.SELL
            )
            for symbol, holding in sorted(holdings.items())
            if instrument_kind(symbol) in self._kinds
        ]

    def open_orders(self, account_id: str) -> Sequence[Order]:
        """Orders that are open or wait, by id."""
        return [
            order for order in self._state.open_orders(account_id) if instrument_kind(order.symbol) in self._kinds
        ]

    def order(self, account_id: str, order_id: int | None = None, client_order_id: int | None = None) -> Order | None:
        """An order in whatever state; `order_id` wins."""
        found = self._find(account_id, order_id, client_order_id, self._kinds)
        return found if isinstance(found, Order) else None

    def initial_margin(self, order: Order) -> Decimal:
        """What the rest of an order freezes now, USD."""
        orders = self._state.open_orders(order.account_id, order.symbol)
        return self._valuation.frozen(order.account_id, order.symbol, orders).get(order.order_id, ZERO)

    def orders(self, account_id: str, start_ns: int, end_ns: int, *, finished: bool = True) -> Sequence[Order]:
        """Orders created in [start_ns, end_ns] by id: those that have ended, or all."""
        known = (self._state.orders[order_id] for order_id in self._state.accounts[account_id].order_ids)
        return [
            order
            for order in known
            if start_ns <= order.created_ns <= end_ns
            and (order.state.is_final or not finished)
            and instrument_kind(order.symbol) in self._kinds
        ]

    def fills(self, account_id: str, start_ns: int, end_ns: int) -> Sequence[Fill]:
        """Fills by trade id, executed in [start_ns, end_ns]."""
        fills = within(self._state.accounts[account_id].fills, start_ns, end_ns)
        return [fill for fill in fills if instrument_kind(fill.symbol) in self._kinds]

    def funding(self, account_id: str, start_ns: int, end_ns: int) -> Sequence[FundingPayment]:
        """Funding by id, within [start_ns, end_ns]."""
        return within(self._state.accounts[account_id].funding, start_ns, end_ns)

    def deliveries(self, account_id: str, start_ns: int, end_ns: int) -> Sequence[Delivery]:
        """Settled dated futures by id, within [start_ns, end_ns]."""
        return within(self._state.accounts[account_id].deliveries, start_ns, end_ns)

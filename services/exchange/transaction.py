"""One command or one advance: applies rows as they arise and collects them with the events they cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.exchange.accounts import ExchangeState, Holding
from services.exchange.config import ExchangeConfig
from services.exchange.events import ExchangeEvent
from services.exchange.fees import trade_fee
from services.exchange.matching import closable
from services.exchange.model import (
    AccountEvent,
    Exercise,
    Fill,
    MarketTrade,
    MarketTradeEvent,
    Order,
    OrderEvent,
    OrderEventKind,
    OrderState,
    PositionEvent,
    Side,
    TradeEvent,
)
from services.exchange.rows import (
    ExchangeRow,
    LiquidityConsumed,
    OrderClosed,
    OrderFilled,
    OrderPlaced,
    PositionExercised,
    TradePrinted,
)
from services.exchange.valuation import Valuation

_KIND_OF_END: dict[OrderState, OrderEventKind] = {
    OrderState.FILLED: "filled",
    OrderState.CANCELLED: "cancelled",
    OrderState.INVALID: "invalid",
    OrderState.CANCELLED_BY_EXERCISE: "exercised",
}


class LegFee(NamedTuple):
    """What one fill costs, USD, and the rate it was reckoned at."""

    amount: Decimal
    rate: Decimal


@dataclass(slots=True)
class _Touched:
    """A position that changed: its holding (quantity 0 once closed) and its last open side."""

    holding: Holding
    side: Side


class Transaction:
    """`rows` are already applied to the state; `events` are complete after `finish`."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, now_ns: int) -> None:
        self.rows: list[ExchangeRow] = []
        self.events: list[ExchangeEvent] = []
        self.now_ns = now_ns
        self._config = config
        self._state = state
        self._valuation = valuation
        self._looked = 0
        self._accounts: dict[str, None] = {}
        self._positions: dict[tuple[str, str], _Touched] = {}

    def commit(self, row: ExchangeRow) -> None:
        """Apply a row and keep it."""
        self._state.apply(row)
        self.rows.append(row)

    def new_rows(self) -> Sequence[ExchangeRow]:
        """The rows since this was asked the last time."""
        new = self.rows[self._looked :]
        self._looked = len(self.rows)
        return new

    def next_id(self) -> int:
        """Id of the record that is committed next."""
        return self._state.next_id(self.now_ns)

    def report(self, kind: OrderEventKind, order_id: int, fill: Fill | None = None) -> None:
        """An event with the order as it is now."""
        order = self._state.orders[order_id]
        self.events.append(OrderEvent(kind=kind, order=order, fill=fill))
        self._accounts[order.account_id] = None

    def touch(self, account_id: str) -> None:
        """The account's figures changed."""
        self._accounts[account_id] = None

    def close(self, order_id: int, state: OrderState) -> None:
        """End an open order."""
        self.commit(OrderClosed(order_id=order_id, state=state, at_ns=self.now_ns))
        self.report(_KIND_OF_END[state], order_id)

    def trade(self, symbol: str, taker: Order | None, maker: Order | None, price: Decimal, quantity: Decimal) -> None:
        """One execution; None stands for a market maker's quote. At least one side is a client's order."""
        first = taker or maker
        assert first is not None
        side = first.side if taker is not None else first.side.opposite
        trade = MarketTrade(self.next_id(), symbol, side, price, quantity, self.now_ns)
        self.commit(TradePrinted(trade=trade, at_ns=self.now_ns))
        against_client = taker is not None and maker is not None
        for order in (maker, taker):
            if order is not None:
                is_taker = order is taker
                fees = self._config.fees
                fee = LegFee(
                    trade_fee(fees, trade.quantity, trade.price, self._index_of(symbol), is_taker=is_taker),
                    fees.taker if is_taker else fees.maker,
                )
                self._fill(order, trade, fee, is_taker=is_taker, against_client=against_client)
        self.events.append(MarketTradeEvent(trade))

    def trade_block(
        self, orders: Sequence[Order], trade: MarketTrade, fees: Sequence[LegFee]
    ) -> list[tuple[Fill, Decimal]]:
        """Fill one leg's orders (the taker's, then the maker's if it is a client) outside the order book; per order
        the fill and the profit that it realised."""
        booked = []
        for order in orders:
            self.commit(OrderPlaced(order=order, at_ns=self.now_ns))
        for order, fee in zip(orders, fees, strict=True):
            fill = self._fill(order, trade, fee, is_taker=order is orders[0], against_client=len(orders) > 1)
            booked.append((fill, self._state.orders[order.order_id].realised_pnl))
        return booked

    def consume(self, symbol: str, side: Side, quantity: Decimal) -> None:
        """Take `quantity` off the top of one side of the makers' ladder."""
        market = self._valuation.market_of(symbol)
        assert market is not None, symbol
        if quantity:
            taken = int(quantity / market.config.min_quantity)
            lots = market.missing_lots(symbol, side, self._state.consumed) + taken
            self.commit(LiquidityConsumed(symbol=symbol, side=side, lots=lots, step=market.step, at_ns=self.now_ns))

    def exercise(self, exercise: Exercise) -> None:
        """Settle a position."""
        key = (exercise.account_id, exercise.symbol)
        holding = self._state.accounts[exercise.account_id].holdings[exercise.symbol]
        self.commit(PositionExercised(exercise=exercise, at_ns=exercise.at_ns))
        self._positions[key] = _Touched(holding, exercise.side)
        self._accounts[exercise.account_id] = None

    def prune_reduce_only(self) -> None:
        """Cancel reduce-only orders that the positions which changed no longer cover, the newest first to go."""
        for account_id, symbol in tuple(self._positions):
            position = self._state.position(account_id, symbol)
            left = {side: closable(position, side) for side in Side}
            for order in self._state.open_orders(account_id, symbol):
                if not order.reduce_only:
                    continue
                if order.remaining > left[order.side]:
                    self.close(order.order_id, OrderState.CANCELLED)
                else:
                    left[order.side] -= order.remaining

    def finish(self) -> None:
        """Add the events of positions and accounts that changed; figures are those of the end."""
        for (account_id, symbol), touched in self._positions.items():
            position = self._valuation.position(account_id, symbol, touched.holding, touched.side)
            self.events.append(PositionEvent(position))
        self.events.extend(AccountEvent(self._valuation.summary(account_id)) for account_id in self._accounts)
        self._positions.clear()
        self._accounts.clear()

    def _index_of(self, symbol: str) -> Decimal:
        market = self._valuation.market_of(symbol)
        assert market is not None, symbol
        return market.index_price

    def _fill(self, order: Order, trade: MarketTrade, fee: LegFee, *, is_taker: bool, against_client: bool) -> Fill:
        found = self._valuation.option(order.symbol)
        assert found is not None, order.symbol
        market, option, quote = found
        fill = Fill(
            fill_id=max(self.next_id(), trade.trade_id + 1),
            trade_id=trade.trade_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            account_id=order.account_id,
            option_id=option.option_id,
            symbol=order.symbol,
            side=order.side,
            order_type=order.order_type,
            price=trade.price,
            quantity=trade.quantity,
            fee=fee.amount,
            fee_rate=fee.rate,
            is_taker=is_taker,
            reduce_only=order.reduce_only,
            mmp=order.mmp,
            mark_price=quote.mark,
            index_price=quote.index_price,
            iv=market.implied_of(order.symbol, trade.price),
            at_ns=self.now_ns,
        )
        holdings = self._state.accounts[order.account_id].holdings
        before = holdings.get(order.symbol)
        side = order.side if before is None or before.quantity * order.side.sign > 0 else order.side.opposite
        self.commit(OrderFilled(fill=fill, against_client=against_client, at_ns=self.now_ns))
        holding = holdings.get(order.symbol, before)
        assert holding is not None
        if holding.quantity:
            side = Side.BUY if holding.quantity > 0 else Side.SELL
        self._positions[order.account_id, order.symbol] = _Touched(holding, side)
        after = self._state.orders[order.order_id]
        told = TradeEvent(fill, after.remaining)
        trade_first = self._config.switches.event_order == "trade_first"
        if trade_first:
            self.events.append(told)
        self.report("partial" if after.state.is_open else "filled", order.order_id, fill)
        if not trade_first:
            self.events.append(told)
        return fill

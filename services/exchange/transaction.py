"""One command or one advance: applies rows as they arise and collects them with the events they cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.exchange.accounts import ExchangeState, Holding
from services.exchange.config import ExchangeConfig
from services.exchange.events import ExchangeEvent
from services.exchange.fees import contract_rate, trade_fee
from services.exchange.matching import closable
from services.exchange.model import (
    AccountEvent,
    Delivery,
    Exercise,
    Fill,
    FundingPayment,
    FuturesPositionEvent,
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
    FundingPaid,
    FutureDelivered,
    LiquidityConsumed,
    OrderClosed,
    OrderFilled,
    OrderPlaced,
    PositionExercised,
    TradePrinted,
)
from services.exchange.valuation import Valuation
from shared.options.instruments import base_of, instrument_kind

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


class _Traded(NamedTuple):
    """What a fill tells about its instrument."""

    instrument_id: int
    mark: float
    index_price: Decimal
    iv: float | None


@dataclass(slots=True)
class _Touched:
    """A position that changed: its holding (quantity 0 once closed) and its last open side."""

    holding: Holding
    side: Side
    expired: bool = False


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
        self._finished = 0
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
                fee = self._fee_of(order, trade, is_taker=is_taker)
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
        if quantity:
            market = self._valuation.makers_of(symbol)
            taken = int(quantity / market.lot_of(symbol))
            lots = market.missing_lots(symbol, side, self._state.consumed) + taken
            self.commit(LiquidityConsumed(symbol=symbol, side=side, lots=lots, step=market.step, at_ns=self.now_ns))

    def exercise(self, exercise: Exercise) -> None:
        """Settle a position."""
        key = (exercise.account_id, exercise.symbol)
        holding = self._state.accounts[exercise.account_id].holdings[exercise.symbol]
        self.commit(PositionExercised(exercise=exercise, at_ns=exercise.at_ns))
        self._positions[key] = _Touched(holding, exercise.side, expired=True)
        self._accounts[exercise.account_id] = None

    def pay_funding(self, payment: FundingPayment) -> None:
        """Move the funding of one position."""
        self.commit(FundingPaid(payment=payment, at_ns=self.now_ns))
        holding = self._state.accounts[payment.account_id].holdings[payment.symbol]
        self._positions[payment.account_id, payment.symbol] = _Touched(holding, payment.side)
        self._accounts[payment.account_id] = None

    def deliver(self, delivery: Delivery) -> None:
        """Settle a position in a dated future."""
        holding = self._state.accounts[delivery.account_id].holdings[delivery.symbol]
        self.commit(FutureDelivered(delivery=delivery, at_ns=delivery.at_ns))
        self._positions[delivery.account_id, delivery.symbol] = _Touched(holding, delivery.side, expired=True)
        self._accounts[delivery.account_id] = None

    def prune_reduce_only(self) -> None:
        """Cancel reduce-only orders that the positions which changed no longer cover, the newest first to go."""
        for account_id, symbol in tuple(self._positions):
            position = self._state.position(account_id, symbol)
            left = {side: closable(position, side) for side in Side}
            for order in self._state.open_orders(account_id, symbol):
                if not order.reduce_only or not order.state.is_open:
                    continue
                if order.remaining > left[order.side]:
                    self.close(order.order_id, OrderState.CANCELLED)
                else:
                    left[order.side] -= order.remaining

    def finish(self) -> None:
        """Add the events of positions and accounts that changed; figures are those of the end."""
        positions: list[ExchangeEvent] = []
        for (account_id, symbol), touched in self._positions.items():
            if instrument_kind(symbol) == "option":
                position = self._valuation.position(account_id, symbol, touched.holding, touched.side)
                positions.append(PositionEvent(position, touched.expired))
            else:
                futures = self._valuation.futures_position(account_id, symbol, touched.holding, touched.side)
                positions.append(FuturesPositionEvent(futures, touched.expired))
        position_first = self._config.switches.event_order == "position_first"
        at = self._finished if position_first else len(self.events)
        self.events[at:at] = positions
        self.events.extend(AccountEvent(self._valuation.summary(account_id)) for account_id in self._accounts)
        self._positions.clear()
        self._accounts.clear()
        self._finished = len(self.events)

    def _fee_of(self, order: Order, trade: MarketTrade, *, is_taker: bool) -> LegFee:
        fees, kind = self._config.fees, instrument_kind(order.symbol)
        if kind != "option":
            rate = contract_rate(fees, is_spot=kind == "spot", is_taker=is_taker)
            in_coin = kind == "spot" and order.side is Side.BUY
            return LegFee(trade.quantity * rate * (1 if in_coin else trade.price), rate)
        market = self._valuation.market_of(order.symbol)
        assert market is not None, order.symbol
        amount = trade_fee(fees, trade.quantity, trade.price, market.index_price, is_taker=is_taker)
        return LegFee(amount, fees.taker if is_taker else fees.maker)

    def _fill(self, order: Order, trade: MarketTrade, fee: LegFee, *, is_taker: bool, against_client: bool) -> Fill:
        is_spot = instrument_kind(order.symbol) == "spot"
        traded = self._instrument(order.symbol, trade.price)
        fill = Fill(
            fill_id=max(self.next_id(), trade.trade_id + 1),
            trade_id=trade.trade_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            account_id=order.account_id,
            option_id=traded.instrument_id,
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
            mark_price=traded.mark,
            index_price=traded.index_price,
            iv=traded.iv,
            at_ns=self.now_ns,
            fee_coin=base_of(order.symbol) if is_spot and order.side is Side.BUY else "USDT",
            leverage=order.leverage,
        )
        holdings = self._state.accounts[order.account_id].holdings
        before = holdings.get(order.symbol)
        side = order.side if before is None or before.quantity * order.side.sign > 0 else order.side.opposite
        self.commit(OrderFilled(fill=fill, against_client=against_client, at_ns=self.now_ns))
        holding = holdings.get(order.symbol, before)
        if not is_spot:
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

    def _instrument(self, symbol: str, price: Decimal) -> _Traded:
        if instrument_kind(symbol) != "option":
            market, contract = self._valuation.contracts.need(symbol)
            return _Traded(contract.contract_id, float(market.mark(contract)), market.index_price, None)
        found = self._valuation.option(symbol)
        assert found is not None, symbol
        base, option, quote = found
        return _Traded(option.option_id, quote.mark, quote.index_price, base.implied_of(symbol, price))

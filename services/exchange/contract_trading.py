"""Orders of futures and spot: placing, amending, stop orders, and matching what rests when the market moves."""

from decimal import Decimal

from msgspec.structs import replace

from services.exchange.accounts import ZERO, ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.contract_checks import ContractCandidate, refusal
from services.exchange.contracts import Contract, ContractMarket
from services.exchange.matching import closable, plan_resting
from services.exchange.model import (
    Accepted,
    AmendOrder,
    AmendResult,
    CancelOrder,
    CancelResult,
    LeverageChanged,
    LeverageResult,
    Order,
    OrderState,
    OrderType,
    PlaceOrder,
    PlaceResult,
    Rejection,
    Side,
)
from services.exchange.rows import LeverageSet, OrderPlaced, StopTriggered
from services.exchange.settlement import SUSPENDED_BEFORE_EXPIRY_NS
from services.exchange.trading import Trading, plain
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation
from shared.options.instruments import InstrumentKind, instrument_kind

Found = tuple[ContractMarket, Contract]


class ContractTrading:
    """Decides; every change goes through the transaction that is passed in. Matching is that of `Trading`."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation, trading: Trading) -> None:
        self._config = config
        self._state = state
        self._valuation = valuation
        self._trading = trading

    def place(
        self, account_id: str, command: PlaceOrder, kinds: tuple[InstrumentKind, ...], transaction: Transaction
    ) -> PlaceResult:
        """Check, accept, match; what is left rests unless it may not. A stop order waits."""
        found = self._valuation.contracts.find(command.symbol)
        if found is None or found[1].kind not in kinds:
            return Rejection(10574, f"instrument {command.symbol} does not exist: use a listed symbol")
        wrong = self._wrong_form(command, found, transaction.now_ns)
        if wrong is not None:
            return wrong
        order = self._new_order(account_id, command, found, transaction)
        rejection = refusal(self._candidate(order, None, found))
        if rejection is not None:
            return rejection
        accepted = Accepted(order.order_id, order.client_order_id)
        if order.state is OrderState.WAITING:
            transaction.commit(OrderPlaced(order=order, at_ns=transaction.now_ns))
            transaction.report("new", order.order_id)
            return accepted
        self._trading.enter(order, found[0], transaction)
        return accepted

    def amend(
        self, account_id: str, command: AmendOrder, kinds: tuple[InstrumentKind, ...], transaction: Transaction
    ) -> AmendResult:
        """Change an order that is open or waits; when anything is wrong it stays as it was."""
        order = self._trading.find(account_id, command.order_id, command.client_order_id, kinds)
        if isinstance(order, Rejection):
            return order
        if order.state.is_final:
            return Rejection(10552, f"order {order.order_id} is no longer open: place a new one")
        if command.symbol not in (None, order.symbol):
            return Rejection(10571, f"symbol {command.symbol} does not match order {order.order_id}: {order.symbol}")
        if command.price is not None and order.order_type.is_market:
            return Rejection(12013, "a market order must not carry price")
        found = self._valuation.contracts.need(order.symbol)
        if self._is_suspended(found[1], transaction.now_ns):
            return self._suspended(found[1])
        quantity = order.quantity if command.quantity is None else plain(command.quantity)
        price = order.price if command.price is None else plain(command.price)
        amended = replace(order, quantity=quantity, price=price)
        covered = quantity.is_finite() and ZERO < quantity <= order.filled
        rejection = None if covered else refusal(self._candidate(amended, order, found))
        renames = found[1].kind != "spot" and self._config.switches.amended_future_id == "new"
        return rejection or self._trading.store_amended(order, amended, found[0], transaction, renames=renames)

    def cancel(
        self, account_id: str, command: CancelOrder, kinds: tuple[InstrumentKind, ...], transaction: Transaction
    ) -> CancelResult:
        """End an order that is open or waits; 10537 when it has ended already."""
        order = self._trading.find(account_id, command.order_id, command.client_order_id, kinds)
        if isinstance(order, Rejection):
            return order
        if order.state.is_final:
            return Rejection(10537, f"cancellation failed: order {order.order_id} has ended")
        transaction.close(order.order_id, OrderState.CANCELLED)
        return Accepted(order.order_id, order.client_order_id)

    def cancel_symbol(self, account_id: str, symbol: str, transaction: Transaction) -> tuple[int, ...]:
        """End all orders of the account in one contract, those that wait too."""
        orders = [order.order_id for order in self._state.open_orders(account_id, symbol)]
        for order_id in orders:
            transaction.close(order_id, OrderState.CANCELLED)
        return tuple(orders)

    def set_leverage(self, account_id: str, symbol: str, leverage: int, transaction: Transaction) -> LeverageResult:
        """40038 with a position or orders in the contract."""
        found = self._valuation.contracts.find(symbol)
        if found is None or found[1].kind == "spot":
            return Rejection(10574, f"instrument {symbol} does not exist: use a listed symbol")
        if not 1 <= leverage <= found[1].futures.max_leverage:
            return Rejection(10573, f"leverage {leverage} error: from 1 to {found[1].futures.max_leverage}")
        if self._state.position(account_id, symbol) or self._state.open_orders(account_id, symbol):
            return Rejection(40038, f"leverage of {symbol} cannot change with a position or open orders in it")
        transaction.commit(
            LeverageSet(account_id=account_id, symbol=symbol, leverage=leverage, at_ns=transaction.now_ns)
        )
        return LeverageChanged(symbol, leverage)

    def match_resting(self, transaction: Transaction) -> None:
        """Trigger the stop orders that the mark has reached, then let the makers' quotes of the current step trade
        with resting orders."""
        for symbol in sorted(self._state.waiting_by_symbol):
            self._trigger(symbol, transaction)
        for symbol in sorted(self._state.open_by_symbol):
            if instrument_kind(symbol) != "option":
                for side in Side:
                    self._match_side(symbol, side, transaction)
        transaction.prune_reduce_only()

    def end_all(self, symbol: str, transaction: Transaction) -> None:
        """End every order in a contract that expires."""
        waiting = tuple(self._state.waiting_by_symbol.get(symbol, ()))
        for order_id in (*self._state.open_by_symbol.get(symbol, ()), *waiting):
            transaction.close(order_id, OrderState.CANCELLED)

    def _match_side(self, symbol: str, side: Side, transaction: Transaction) -> None:
        market, contract = self._valuation.contracts.need(symbol)
        orders = self._state.resting(symbol, side)
        top = market.top_price(symbol, side.opposite)
        if not orders or top is None or (top - orders[0].price) * side.sign > 0:
            return
        if self._is_suspended(contract, transaction.now_ns):
            return
        makers = market.makers(symbol, side.opposite, self._state.consumed)
        taken = ZERO
        for order, quantity in plan_resting(orders, makers, lambda account: self._state.position(account, symbol)):
            transaction.trade(symbol, None, order, order.price, quantity)
            taken += quantity
        transaction.consume(symbol, side.opposite, taken)

    def _trigger(self, symbol: str, transaction: Transaction) -> None:
        market, contract = found = self._valuation.contracts.need(symbol)
        if self._is_suspended(contract, transaction.now_ns):
            return
        price = self._reference(found)
        for order_id in tuple(self._state.waiting_by_symbol.get(symbol, ())):
            order = self._state.orders[order_id]
            assert order.trigger_price is not None
            reached = price >= order.trigger_price if order.triggers_above else price <= order.trigger_price
            if reached:
                self._enter_triggered(order, market, contract, transaction)

    def _enter_triggered(
        self, order: Order, market: ContractMarket, contract: Contract, transaction: Transaction
    ) -> None:
        """Put a triggered stop order into the book, cut to the position if it only reduces; else INVALID."""
        quantity = order.quantity
        if order.reduce_only:
            claimed = sum(
                (
                    other.remaining
                    for other in self._state.open_orders(order.account_id, order.symbol)
                    if other.reduce_only and other.side is order.side and other.state.is_open
                ),
                ZERO,
            )
            position = self._state.position(order.account_id, order.symbol)
            quantity = min(quantity, max(closable(position, order.side) - claimed, ZERO))
        price = order.price
        if order.order_type.is_market:
            price = self._worst_price(order.side, market, contract)
        triggered = replace(order, state=OrderState.NEW, quantity=quantity, price=price)
        candidate = self._candidate(triggered, order, (market, contract))
        if not quantity or refusal(candidate) is not None:
            transaction.close(order.order_id, OrderState.INVALID)
            return
        priority = transaction.next_id()
        new_order_id = priority if self._config.switches.triggered_stop_id == "new" else None
        transaction.commit(
            StopTriggered(
                order_id=order.order_id,
                quantity=quantity,
                price=price,
                priority=priority,
                new_order_id=new_order_id,
                at_ns=transaction.now_ns,
            )
        )
        order_id = new_order_id or order.order_id
        transaction.report("new", order_id)
        self._trading.match(self._state.orders[order_id], market, transaction)

    def _reference(self, found: Found) -> Decimal:
        """The price that triggers stop orders."""
        market, contract = found
        return market.index_price if self._config.switches.stop_trigger == "index" else market.mark(contract)

    def _wrong_form(self, command: PlaceOrder, found: Found, now_ns: int) -> Rejection | None:
        """What is missing or too much in a command, and contracts that cannot be traded now."""
        _, contract = found
        kind = command.order_type
        if self._is_suspended(contract, now_ns):
            return self._suspended(contract)
        if contract.kind == "spot" and (kind.is_stop or command.reduce_only):
            return Rejection(
                10573, "spot takes the types 1 (limit), 2 (market) and 3 (post-only), without reduceOnly"
            )
        if kind.is_market and command.price is not None:
            return Rejection(12013, "a market order must not carry price")
        if not kind.is_market and command.price is None:
            return Rejection(10530, "price is missing: limit, post-only and stop-limit orders need one")
        if kind is OrderType.POST_ONLY and command.time_in_force != "GTC":
            return Rejection(12012, "invalid timeInForce: a post-only order can only be GTC")
        if kind.is_stop and command.trigger_price is None:
            return Rejection(10542, "triggerPrice is missing: stop orders need one")
        if not kind.is_stop and command.trigger_price is not None:
            return Rejection(10573, "triggerPrice error: only stop orders have one")
        return None

    def _new_order(self, account_id: str, command: PlaceOrder, found: Found, transaction: Transaction) -> Order:
        market, contract = found
        price = command.price
        if price is None:
            price = self._worst_price(command.side, market, contract)
        order = self._trading.new_order(account_id, command, plain(price), transaction)
        leverage = 0
        if contract.kind != "spot":
            leverage = self._valuation.of_contracts.leverage(account_id, contract.symbol)
        trigger = command.trigger_price
        if trigger is None:
            return replace(order, leverage=leverage)
        return replace(
            order,
            leverage=leverage,
            state=OrderState.WAITING,
            trigger_price=plain(trigger),
            triggers_above=trigger >= self._reference(found),
        )

    def _worst_price(self, side: Side, market: ContractMarket, contract: Contract) -> Decimal:
        """The limit of a market order: the band around the mark, on the tick inside."""
        band = Decimal(repr(contract.config.price_band_pct)) / 100
        limit = market.mark(contract) * (1 + side.sign * band)
        tick = contract.tick_size
        ticks = (limit / tick).to_integral_value("ROUND_FLOOR" if side is Side.BUY else "ROUND_CEILING")
        return max(ticks, Decimal(1)) * tick

    def _candidate(self, order: Order, previous: Order | None, found: Found) -> ContractCandidate:
        return ContractCandidate(
            order=order,
            previous=previous,
            market=found[0],
            contract=found[1],
            config=self._config,
            state=self._state,
            valuation=self._valuation,
        )

    def _is_suspended(self, contract: Contract, now_ns: int) -> bool:
        return contract.expiry_ns is not None and now_ns >= contract.expiry_ns - SUSPENDED_BEFORE_EXPIRY_NS

    def _suspended(self, contract: Contract) -> Rejection:
        code = self._config.switches.suspended_code
        return Rejection(code, f"trading in {contract.symbol} is suspended in the 15 minutes before its expiry")

"""Orders: placing, amending, cancelling, and matching what rests when the market moves."""

from decimal import Decimal

from msgspec.structs import replace

from services.exchange.accounts import ZERO, ExchangeState
from services.exchange.checks import Candidate, refusal
from services.exchange.config import ExchangeConfig
from services.exchange.contracts import ContractMarket
from services.exchange.matching import Match, Plan, PositionOf, plan_resting, plan_taker
from services.exchange.model import (
    Accepted,
    AmendOrder,
    AmendResult,
    CancelOrder,
    CancelResult,
    Instrument,
    Order,
    OrderState,
    OrderType,
    PlaceOrder,
    PlaceResult,
    Rejection,
    SelfTradePrevention,
    Side,
)
from services.exchange.quotes import BaseMarket, Quote
from services.exchange.rows import OrderAmended, OrderPlaced
from services.exchange.settlement import SUSPENDED_BEFORE_EXPIRY_NS
from services.exchange.transaction import Transaction
from services.exchange.valuation import Valuation
from shared.options.instruments import InstrumentKind, instrument_kind

Makers = BaseMarket | ContractMarket
_CANCELLED_STATES = (OrderState.CANCELLED, OrderState.INVALID, OrderState.CANCELLED_BY_EXERCISE)


class Trading:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, valuation: Valuation) -> None:
        self._config = config
        self._state = state
        self._valuation = valuation

    def is_suspended(self, option: Instrument, now_ns: int) -> bool:
        """True in the 15 minutes before expiry."""
        return now_ns >= option.expiry_ns - SUSPENDED_BEFORE_EXPIRY_NS

    def place(self, account_id: str, command: PlaceOrder, transaction: Transaction) -> PlaceResult:
        """Check, accept, match; what is left rests unless it may not."""
        found = self._valuation.option(command.symbol)
        if found is None:
            return Rejection(10574, f"instrument {command.symbol} does not exist: use a listed symbolName")
        market, option, quote = found
        if self.is_suspended(option, transaction.now_ns):
            return self._suspended(option)
        price = self._limit_price(command, market, quote)
        if isinstance(price, Rejection):
            return price
        order = self.new_order(account_id, command, price, transaction)
        rejection = self._refusal(order, None, found)
        if rejection is not None:
            return rejection
        self.enter(order, market, transaction)
        return Accepted(order.order_id, order.client_order_id)

    def enter(self, order: Order, market: Makers, transaction: Transaction) -> None:
        """Put a checked order into the book: what may trade trades, what may not rest ends."""
        plan = self._plan(order, market)
        transaction.commit(OrderPlaced(order=order, at_ns=transaction.now_ns))
        if order.order_type is OrderType.POST_ONLY and self._crosses(order, market):
            state = {"invalid": OrderState.INVALID, "cancelled": OrderState.CANCELLED}
            transaction.close(order.order_id, state[self._config.switches.post_only_cross])
            return
        transaction.report("new", order.order_id)
        self.match(order, market, transaction, plan)

    def match(self, order: Order, market: Makers, transaction: Transaction, plan: Plan | None = None) -> None:
        """Let an order of the book trade with the other side; `plan` if it is known already."""
        plan = self._plan(order, market) if plan is None else plan
        if order.time_in_force == "FOK" and plan.filled < order.quantity:
            transaction.close(order.order_id, self._unfilled_state())
        else:
            self._execute(order, plan, transaction)

    def amend(self, account_id: str, command: AmendOrder, transaction: Transaction) -> AmendResult:
        """Change an open order; when anything is wrong it stays as it was."""
        order = self.find(account_id, command.order_id, command.client_order_id)
        if isinstance(order, Rejection):
            return order
        if not order.state.is_open:
            return Rejection(10552, f"order {order.order_id} is no longer open: place a new one")
        if command.symbol not in (None, order.symbol):
            return Rejection(10571, f"symbol {command.symbol} does not match order {order.order_id}: {order.symbol}")
        found = self._valuation.option(order.symbol)
        assert found is not None, order.symbol
        market, option, _ = found
        if self.is_suspended(option, transaction.now_ns):
            return self._suspended(option)
        quantity = order.quantity if command.quantity is None else plain(command.quantity)
        price = order.price if command.price is None else plain(command.price)
        amended = replace(order, quantity=quantity, price=price)
        covered = quantity.is_finite() and ZERO < quantity <= order.filled
        rejection = None if covered else self._refusal(amended, order, found)
        return rejection or self.store_amended(order, amended, market, transaction)

    def store_amended(
        self, order: Order, amended: Order, market: Makers, transaction: Transaction, *, renames: bool = False
    ) -> AmendResult:
        """Change an order to a checked one; a quantity that is filled already ends it. renames: what stays open has
        a new id from here on."""
        quantity, price = amended.quantity, amended.price
        if ZERO < quantity <= order.filled:
            self._store_amendment(order, order.filled, order.price, order.priority, transaction)
            transaction.close(order.order_id, OrderState.FILLED)
            return Accepted(order.order_id, order.client_order_id)
        if order.order_type is OrderType.POST_ONLY and self._crosses(amended, market):
            return Rejection(10552, f"price {price} would trade at once: a post-only order may not")
        keeps_place = price == order.price and quantity <= order.quantity
        priority = order.priority if keeps_place else transaction.next_id()
        new_order_id = transaction.next_id() if renames else None
        self._store_amendment(order, quantity, price, priority, transaction, new_order_id)
        order_id = new_order_id or order.order_id
        transaction.report("amended", order_id)
        if price != order.price and order.state.is_open:
            amended = self._state.orders[order_id]
            self._execute(amended, self._plan(amended, market), transaction)
        return Accepted(order_id, order.client_order_id)

    def cancel(self, account_id: str, command: CancelOrder, transaction: Transaction) -> CancelResult:
        """End an open order."""
        order = self.find(account_id, command.order_id, command.client_order_id)
        if isinstance(order, Rejection):
            return order
        if order.state is OrderState.FILLED:
            return Rejection(11102, f"cancel failed: order {order.order_id} is already filled")
        if order.state in _CANCELLED_STATES:
            return Rejection(11101, f"cancel failed: order {order.order_id} is already cancelled")
        transaction.close(order.order_id, OrderState.CANCELLED)
        return Accepted(order.order_id, order.client_order_id)

    def cancel_all(self, account_id: str, prefix: str, transaction: Transaction) -> tuple[int, ...]:
        """End all open orders of the account in options whose symbol is `prefix` or goes on with "-" after it."""
        orders = [
            order.order_id
            for order in self._state.open_orders(account_id)
            if (order.symbol == prefix or order.symbol.startswith(f"{prefix}-"))
            and instrument_kind(order.symbol) == "option"
        ]
        for order_id in orders:
            transaction.close(order_id, OrderState.CANCELLED)
        return tuple(orders)

    def find(
        self,
        account_id: str,
        order_id: int | None,
        client_order_id: int | None,
        kinds: tuple[InstrumentKind, ...] = ("option",),
    ) -> Order | Rejection:
        """An order of the account in instruments of these kinds by one of its ids; `order_id` wins."""
        if order_id is None and client_order_id is None:
            return Rejection(10575, "need client order id or order id: give orderId or clientOrderId")
        if order_id is None and client_order_id is not None:
            order_id = self._state.accounts[account_id].order_of_client_id.get(client_order_id)
        order = None if order_id is None else self._state.orders.get(order_id)
        if order is None or order.account_id != account_id or instrument_kind(order.symbol) not in kinds:
            name = f"orderId {order_id}" if order_id is not None else f"clientOrderId {client_order_id}"
            return Rejection(10584, f"order does not exist: the account has none with {name}")
        return order

    def match_resting(self, transaction: Transaction) -> None:
        """Let the makers' quotes of the current step trade with resting orders that they have reached."""
        by_market: dict[BaseMarket, list[str]] = {}
        for symbol in sorted(self._state.open_by_symbol):
            if instrument_kind(symbol) != "option":
                continue
            market = self._valuation.market_of(symbol)
            assert market is not None, symbol
            by_market.setdefault(market, []).append(symbol)
        for market, symbols in by_market.items():
            market.prepare(symbols)
            for symbol in symbols:
                for side in Side:
                    self._match_side(market, symbol, side, transaction)
        transaction.prune_reduce_only()

    def _match_side(self, market: BaseMarket, symbol: str, side: Side, transaction: Transaction) -> None:
        orders = self._state.resting(symbol, side)
        top = market.top_price(symbol, side.opposite)
        if not orders or top is None or (top - orders[0].price) * side.sign > 0:
            return
        row = market.listing.row(symbol)
        if row is None or self.is_suspended(market.listing.instruments[row], transaction.now_ns):
            return
        makers = market.makers(symbol, side.opposite, self._state.consumed)
        taken = ZERO
        for order, quantity in plan_resting(orders, makers, self._position_of(symbol)):
            transaction.trade(symbol, None, order, order.price, quantity)
            taken += quantity
        transaction.consume(symbol, side.opposite, taken)

    def _execute(self, order: Order, plan: Plan, transaction: Transaction) -> None:
        """Carry out a plan and end what may not rest."""
        consumed = ZERO
        for step in plan.steps:
            if isinstance(step, Match):
                maker = None if step.maker is None else self._state.orders[step.maker.order_id]
                taker = self._state.orders[order.order_id]
                transaction.trade(order.symbol, taker, maker, step.price, step.quantity)
                consumed += step.quantity if maker is None else ZERO
            else:
                transaction.close(step.order_id, OrderState.CANCELLED)
        transaction.consume(order.symbol, order.side.opposite, consumed)
        may_rest = order.time_in_force == "GTC" and not plan.stop
        after = self._state.orders[order.order_id]
        if after.state.is_open and not may_rest:
            untouched = after.state is OrderState.NEW and not plan.stop
            transaction.close(order.order_id, self._unfilled_state() if untouched else OrderState.CANCELLED)
        transaction.prune_reduce_only()

    def _unfilled_state(self) -> OrderState:
        """How an order ends that had to trade at once and found nothing."""
        invalid = self._config.switches.unfilled_state == "invalid"
        return OrderState.INVALID if invalid else OrderState.CANCELLED

    def _plan(self, order: Order, market: Makers) -> Plan:
        side = order.side.opposite
        makers = market.makers(order.symbol, side, self._state.consumed)
        clients = self._state.resting(order.symbol, side)
        stp = self._config.switches.default_stp if order.stp is SelfTradePrevention.DEFAULT else order.stp
        return plan_taker(order, makers, clients, stp, self._position_of(order.symbol))

    def _crosses(self, order: Order, market: Makers) -> bool:
        """Whether anything on the other side is at the order's price or better."""
        side = order.side.opposite
        best = [level.price for level in market.makers(order.symbol, side, self._state.consumed)[:1]]
        best += [client.price for client in self._state.resting(order.symbol, side)[:1]]
        return any((price - order.price) * order.side.sign <= 0 for price in best)

    def _position_of(self, symbol: str) -> PositionOf:
        return lambda account_id: self._state.position(account_id, symbol)

    def _limit_price(self, command: PlaceOrder, market: BaseMarket, quote: Quote) -> Decimal | Rejection:
        """The order's limit; that of a market order is so much past the best price or mark, on the tick inside."""
        if command.order_type in (OrderType.LIMIT, OrderType.POST_ONLY):
            if command.price is None:
                return Rejection(10530, "price is missing: limit and post-only orders need one")
            if command.order_type is OrderType.POST_ONLY and command.time_in_force != "GTC":
                return Rejection(12012, "invalid timeInForce: a post-only order can only be GTC")
            return plain(command.price)
        if command.order_type.is_stop or not self._config.switches.market_orders:
            return Rejection(10573, "tradeType 2 error: options take 1 (limit) and 3 (post-only)")
        if command.price is not None:
            return Rejection(12013, "a market order must not carry price")
        makers = market.makers(command.symbol, command.side.opposite, self._state.consumed)
        from_best = bool(makers) and self._config.switches.slippage_from == "best"
        reference = makers[0].price if from_best else Decimal(format(quote.mark, ".8f"))
        limit = reference * (1 + command.side.sign * command.slippage_pct / 100)
        tick = market.config.tick_size
        ticks = (limit / tick).to_integral_value("ROUND_FLOOR" if command.side is Side.BUY else "ROUND_CEILING")
        return plain(max(ticks, Decimal(1)) * tick)

    def new_order(self, account_id: str, command: PlaceOrder, price: Decimal, transaction: Transaction) -> Order:
        order_id = transaction.next_id()
        client_order_id = command.client_order_id
        if client_order_id is None and self._config.switches.report_client_order_id == "order_id":
            client_order_id = order_id
        is_market = command.order_type.is_market
        return Order(
            order_id=order_id,
            client_order_id=client_order_id,
            account_id=account_id,
            symbol=command.symbol,
            side=command.side,
            order_type=command.order_type,
            time_in_force="IOC" if is_market and command.time_in_force == "GTC" else command.time_in_force,
            quantity=plain(command.quantity),
            price=price,
            reduce_only=command.reduce_only,
            stp=command.stp,
            mmp=command.mmp,
            state=OrderState.NEW,
            filled=ZERO,
            filled_value=ZERO,
            fee=ZERO,
            realised_pnl=ZERO,
            priority=order_id,
            created_ns=transaction.now_ns,
            updated_ns=transaction.now_ns,
        )

    def _refusal(
        self, order: Order, previous: Order | None, found: tuple[BaseMarket, Instrument, Quote]
    ) -> Rejection | None:
        market, option, quote = found
        candidate = Candidate(
            order=order,
            previous=previous,
            option=option,
            quote=quote,
            market=market,
            config=self._config,
            state=self._state,
            valuation=self._valuation,
        )
        return refusal(candidate)

    def _store_amendment(
        self,
        order: Order,
        quantity: Decimal,
        price: Decimal,
        priority: int,
        transaction: Transaction,
        new_order_id: int | None = None,
    ) -> None:
        transaction.commit(
            OrderAmended(
                order_id=order.order_id,
                quantity=quantity,
                price=price,
                priority=priority,
                new_order_id=new_order_id,
                at_ns=transaction.now_ns,
            )
        )

    def _suspended(self, option: Instrument) -> Rejection:
        code = self._config.switches.suspended_code
        return Rejection(code, f"trading in {option.symbol} is suspended in the 15 minutes before its expiry")


def plain(number: Decimal) -> Decimal:
    """The same number without an exponent; not a number stays what it is, for the checks to refuse."""
    return Decimal(format(number, "f")) if number.is_finite() else number

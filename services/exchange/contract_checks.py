"""What an order of futures or spot must satisfy before it exists or is changed; as `checks.py` for options."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from services.exchange.accounts import ExchangeState
from services.exchange.checks import price_refusal, quantity_refusal
from services.exchange.config import ExchangeConfig
from services.exchange.contract_margin import ZERO, tier_of
from services.exchange.contracts import Contract, ContractMarket
from services.exchange.matching import closable
from services.exchange.model import Order, Rejection, Side
from services.exchange.valuation import Valuation


@dataclass(frozen=True, slots=True)
class ContractCandidate:
    """An order as it would be, and what it is judged against; `previous` is the order that it amends."""

    order: Order
    previous: Order | None
    market: ContractMarket
    contract: Contract
    config: ExchangeConfig
    state: ExchangeState
    valuation: Valuation

    def others(self) -> list[Order]:
        """The account's other orders in the contract, those that wait too."""
        orders = self.state.open_orders(self.order.account_id, self.order.symbol)
        return [order for order in orders if order.order_id != self.order.order_id]

    @property
    def position(self) -> Decimal:
        return self.state.position(self.order.account_id, self.order.symbol)


def refusal(candidate: ContractCandidate) -> Rejection | None:
    """The first check that fails; a stop order that waits is checked for what it needs only when it is triggered."""
    checks = WAITING_CHECKS if not candidate.order.state.is_open else CHECKS
    return next((found for check in checks if (found := check(candidate))), None)


def _quantity(candidate: ContractCandidate) -> Rejection | None:
    contract = candidate.contract
    return quantity_refusal(contract, candidate.order.quantity, contract.config.max_order_quantity)


def _price_grid(candidate: ContractCandidate) -> Rejection | None:
    return price_refusal(candidate.contract, candidate.order.price)


def _trigger(candidate: ContractCandidate) -> Rejection | None:
    trigger = candidate.order.trigger_price
    return None if trigger is None else price_refusal(candidate.contract, trigger)


def _client_order_id(candidate: ContractCandidate) -> Rejection | None:
    client_order_id = candidate.order.client_order_id
    known = candidate.state.accounts[candidate.order.account_id].order_of_client_id
    if candidate.previous is not None or client_order_id is None or client_order_id not in known:
        return None
    ever = candidate.config.switches.client_order_id_scope == "ever"
    if ever or not candidate.state.orders[known[client_order_id]].state.is_final:
        return Rejection(10577, f"clientOrderId {client_order_id} is in use: choose one that was never used")
    return None


def _reduce_only(candidate: ContractCandidate) -> Rejection | None:
    order = candidate.order
    if not order.reduce_only:
        return None
    claimed = sum(
        (
            other.remaining
            for other in candidate.others()
            if other.reduce_only and other.side is order.side and other.state.is_open
        ),
        ZERO,
    )
    free = max(closable(candidate.position, order.side) - claimed, ZERO)
    if order.remaining > free:
        return Rejection(10536, f"insufficient open position: reduce-only qty {order.remaining} exceeds {free}")
    return None


def _open_orders(candidate: ContractCandidate) -> Rejection | None:
    most = candidate.contract.config.max_open_orders
    if candidate.previous is None and sum(other.state.is_open for other in candidate.others()) >= most:
        return Rejection(10535, f"too many open orders: at most {most} in {candidate.contract.symbol}")
    return None


def _stop_orders(candidate: ContractCandidate) -> Rejection | None:
    most = candidate.contract.futures.max_stop_orders
    if candidate.previous is None and sum(not other.state.is_open for other in candidate.others()) >= most:
        return Rejection(10541, f"too many stop orders: at most {most} in {candidate.contract.symbol}")
    return None


def _price_limits(candidate: ContractCandidate) -> Rejection | None:
    band = Decimal(repr(candidate.contract.config.price_band_pct)) / 100
    mark, price = candidate.market.mark(candidate.contract), candidate.order.price
    # A buy far below and a sell far above the market may wait; what could trade must be near the mark.
    if candidate.order.side is Side.BUY and price > mark * (1 + band):
        return Rejection(10531, f"price {price} is above the maximum limit {mark * (1 + band):f}")
    if candidate.order.side is Side.SELL and price < mark * (1 - band):
        return Rejection(10532, f"price {price} is below the minimum limit {mark * (1 - band):f}")
    return None


def _position_limit(candidate: ContractCandidate) -> Rejection | None:
    order = candidate.order
    if candidate.contract.kind == "spot" or order.reduce_only:
        return None
    most = candidate.contract.futures.max_position_quantity
    same_side = sum(
        (other.remaining for other in candidate.others() if other.side is order.side and other.state.is_open), ZERO
    )
    after = candidate.position * order.side.sign + same_side + order.remaining
    if after > most:
        return Rejection(10534, f"qty {order.quantity} could lead to a position above the maximum of {most}")
    leverage = candidate.valuation.of_contracts.leverage(order.account_id, order.symbol)
    tier = tier_of(after * order.price)
    if leverage > tier.max_leverage:
        return Rejection(10534, f"a value above the tier of leverage {leverage}: at most {tier.max_leverage} there")
    return None


def _margin(candidate: ContractCandidate) -> Rejection | None:
    order, valuation = candidate.order, candidate.valuation
    if candidate.contract.kind == "spot" and order.side is Side.SELL:
        coin = candidate.contract.base
        free = valuation.of_contracts.free_coins(order.account_id, coin, without=order.order_id)
        if order.remaining > free:
            return Rejection(10529, f"insufficient available balance: {order.remaining} {coin}, available {free}")
        return None
    before = [each for each in candidate.state.open_orders(order.account_id, order.symbol) if each.state.is_open]
    after = [order if other.order_id == order.order_id else other for other in before]
    if order not in after:
        after.append(order)
    frozen = sum(valuation.frozen(order.account_id, order.symbol, before).values(), ZERO)
    needed = sum(valuation.frozen(order.account_id, order.symbol, after).values(), ZERO) - frozen
    if needed <= 0:
        return None
    summary = valuation.summary(order.account_id)
    available = summary.available
    if candidate.contract.kind == "spot":
        # Coins are paid for in cash: the profit of open futures buys none.
        available = min(available, summary.cash - summary.order_freeze)
    if needed > available:
        return Rejection(
            10529, f"insufficient available balance: the order needs {needed:.2f}, available {available:.2f}"
        )
    return None


CHECKS: tuple[Callable[[ContractCandidate], Rejection | None], ...] = (
    _quantity,
    _price_grid,
    _client_order_id,
    _reduce_only,
    _open_orders,
    _price_limits,
    _position_limit,
    _margin,
)
WAITING_CHECKS = (_quantity, _price_grid, _trigger, _client_order_id, _stop_orders)

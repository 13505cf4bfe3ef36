"""What an order must satisfy before it exists or is changed: small functions in one list, each with its code.

Codes and limits: the venue's error table and contract specifications; docs name the field and the remedy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.contracts import Contract
from services.exchange.matching import closable
from services.exchange.model import Instrument, Order, Rejection
from services.exchange.quotes import BaseMarket, Quote
from services.exchange.valuation import Valuation, exact
from shared.options.instruments import instrument_kind

ZERO = Decimal(0)
LOWER_BAND = 0.01
UPPER_BAND = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """An order as it would be, and what it is judged against; `previous` is the order that it amends."""

    order: Order
    previous: Order | None
    option: Instrument
    quote: Quote
    market: BaseMarket
    config: ExchangeConfig
    state: ExchangeState
    valuation: Valuation

    def others(self) -> list[Order]:
        """The account's other open orders in the option."""
        orders = self.state.open_orders(self.order.account_id, self.order.symbol)
        return [order for order in orders if order.order_id != self.order.order_id]


def price_limits(option: Instrument, quote: Quote) -> tuple[Decimal, Decimal]:
    """Lowest and highest price of an order, USD: mark - 1 % and + 5 % of the forward, times max(1, 4 |delta|)."""
    scale = quote.underlying * max(1.0, 4.0 * abs(quote.delta))
    lowest = max(option.tick_size, exact(quote.mark - LOWER_BAND * scale))
    return lowest, exact(quote.mark + UPPER_BAND * scale)


def refusal(candidate: Candidate) -> Rejection | None:
    """The first check that fails."""
    return next((found for check in CHECKS if (found := check(candidate))), None)


def quantity_refusal(option: Instrument | Contract, quantity: Decimal, most: Decimal) -> Rejection | None:
    """Why nobody may trade so much of an instrument at once; `most` is the largest order."""
    lot = option.min_quantity
    if not quantity.is_finite():
        return Rejection(10573, f"qty {quantity} error: it must be a number")
    if quantity < lot:
        return Rejection(10558, f"qty {quantity} is below the minimum of {lot}")
    if quantity > most:
        return Rejection(10534, f"qty {quantity} is above the maximum of {most} per order")
    if quantity % lot:
        return Rejection(10573, f"qty {quantity} error: it must be a multiple of {lot}")
    return None


def price_refusal(option: Instrument | Contract, price: Decimal) -> Rejection | None:
    """Why nothing may be traded at a price: it is no positive multiple of the tick."""
    if not price.is_finite() or price <= 0:
        return Rejection(10573, f"price {price} error: it must be a number above 0")
    if price % option.tick_size:
        return Rejection(10573, f"price {price} error: it must be a multiple of the tick size {option.tick_size}")
    return None


def _quantity(candidate: Candidate) -> Rejection | None:
    return quantity_refusal(candidate.option, candidate.order.quantity, candidate.market.config.max_order_quantity)


def _price_grid(candidate: Candidate) -> Rejection | None:
    return price_refusal(candidate.option, candidate.order.price)


def _price_limits(candidate: Candidate) -> Rejection | None:
    lowest, highest = price_limits(candidate.option, candidate.quote)
    price = candidate.order.price
    if price > highest:
        return Rejection(10531, f"price {price} is above the maximum limit {highest}")
    if price < lowest:
        return Rejection(10532, f"price {price} is below the minimum limit {lowest}")
    return None


def _volatility(candidate: Candidate) -> Rejection | None:
    switches = candidate.config.switches
    iv = candidate.market.implied_of(candidate.order.symbol, candidate.order.price)
    if iv is not None and iv > switches.order_iv_max:
        return Rejection(10538, f"price {candidate.order.price} implies an IV above {switches.order_iv_max:.0%}")
    if switches.order_iv_min and (iv is None or iv < switches.order_iv_min):
        return Rejection(10539, f"price {candidate.order.price} implies an IV below {switches.order_iv_min:.0%}")
    return None


def _client_order_id(candidate: Candidate) -> Rejection | None:
    client_order_id = candidate.order.client_order_id
    known = candidate.state.accounts[candidate.order.account_id].order_of_client_id
    if candidate.previous is not None or client_order_id is None or client_order_id not in known:
        return None
    ever = candidate.config.switches.client_order_id_scope == "ever"
    if ever or not candidate.state.orders[known[client_order_id]].state.is_final:
        return Rejection(10577, f"clientOrderId {client_order_id} is in use: choose one that was never used")
    return None


def _open_orders(candidate: Candidate) -> Rejection | None:
    most = candidate.market.config.max_open_orders
    if candidate.previous is not None:
        return None
    index = f"{candidate.option.index}-"
    orders = candidate.state.open_orders(candidate.order.account_id)
    if sum(order.symbol.startswith(index) and instrument_kind(order.symbol) == "option" for order in orders) >= most:
        return Rejection(10535, f"too many open orders: at most {most} in {candidate.option.index}")
    return None


def _reduce_only(candidate: Candidate) -> Rejection | None:
    order = candidate.order
    if not order.reduce_only:
        return None
    claimed = sum(
        (other.remaining for other in candidate.others() if other.reduce_only and other.side is order.side), ZERO
    )
    position = candidate.state.position(order.account_id, order.symbol)
    free = closable(position, order.side) - claimed
    if order.remaining > free:
        return Rejection(
            10536, f"insufficient open position: reduce-only qty {order.remaining} exceeds {max(free, ZERO)}"
        )
    return None


def _position_limit(candidate: Candidate) -> Rejection | None:
    order, most = candidate.order, candidate.market.config.max_position_quantity
    position = candidate.state.position(order.account_id, order.symbol)
    same_side = sum((other.remaining for other in candidate.others() if other.side is order.side), ZERO)
    if position * order.side.sign + same_side + order.remaining > most:
        return Rejection(10534, f"qty {order.quantity} could lead to a position above the maximum of {most}")
    return None


def _margin(candidate: Candidate) -> Rejection | None:
    order = candidate.order
    before = candidate.state.open_orders(order.account_id, order.symbol)
    after = [order if other.order_id == order.order_id else other for other in before]
    if candidate.previous is None:
        after.append(order)
    valuation = candidate.valuation
    frozen = sum(valuation.frozen(order.account_id, order.symbol, before).values(), ZERO)
    needed = sum(valuation.frozen(order.account_id, order.symbol, after).values(), ZERO) - frozen
    if needed <= 0:
        return None
    available = valuation.summary(order.account_id).available
    if needed > available:
        return Rejection(
            10529, f"insufficient available balance: the order needs {needed:.2f}, available {available:.2f}"
        )
    return None


CHECKS: tuple[Callable[[Candidate], Rejection | None], ...] = (
    _quantity,
    _price_grid,
    _client_order_id,
    _reduce_only,
    _open_orders,
    _price_limits,
    _volatility,
    _position_limit,
    _margin,
)

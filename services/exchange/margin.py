"""Standard margin of option positions and the cash that open orders freeze.

The venue does not publish its formulas; these are those of the largest crypto option venue's standard margin:

    initial     = max(15 % * index - out of the money, 10 % * index) + mark      per unit of a short option
    maintenance = 7.5 % * index + mark (puts: at least 7.5 % of the mark)

A long option needs none: its premium was paid in full. Figures are marks (floats) until they are summed up.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from services.exchange.config import FeeConfig, MarginConfig
from services.exchange.fees import trade_fee
from services.exchange.model import Order, Side

CENT_OF_CENT = Decimal("0.0001")


class UnitMargin(NamedTuple):
    """Margin of one unit short, USD."""

    initial: Decimal
    maintenance: Decimal


def short_margin(config: MarginConfig, *, index: float, strike: float, mark: float, is_call: bool) -> UnitMargin:
    """Margin per unit of a short option, rounded up to 4 decimals."""
    out_of_the_money = max(strike - index, 0.0) if is_call else max(index - strike, 0.0)
    initial = max(config.initial * index - out_of_the_money, config.initial_floor * index) + mark
    base = config.maintenance * index
    maintenance = (base if is_call else max(base, config.maintenance * mark)) + mark
    return UnitMargin(_round_up(initial), _round_up(maintenance))


def order_freeze(
    fees: FeeConfig, orders: Iterable[Order], position: Decimal, unit: UnitMargin, index: Decimal
) -> dict[int, Decimal]:
    """What each open order of one account in one option freezes, USD, by order id.

    `orders` in the order in which they may claim the position: what closes it freezes nothing. Beyond that a buy
    freezes premium and fee, a sell the margin of the short that the premium does not cover, and the fee.
    """
    closable = {Side.BUY: max(-position, Decimal(0)), Side.SELL: max(position, Decimal(0))}
    frozen = {}
    for order in orders:
        closing = min(order.remaining, closable[order.side])
        closable[order.side] -= closing
        opening = order.remaining - closing
        unit_cost = order.price if order.side is Side.BUY else max(unit.initial - order.price, Decimal(0))
        fee = trade_fee(fees, opening, order.price, index, is_taker=True)
        frozen[order.order_id] = opening * unit_cost + fee
    return frozen


def _round_up(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(CENT_OF_CENT, rounding="ROUND_CEILING")

"""Margin of futures and what their orders and those of spot freeze. Source: the venue's contract specification.

initial     = value / leverage, value = average price * quantity
maintenance = value * rate - deduction, by tiers of the value
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from services.exchange.matching import closable
from services.exchange.model import Order, Side

ZERO = Decimal(0)


class Tier(NamedTuple):
    """Up to a value in USDT: the highest leverage, the maintenance rate and what is deducted."""

    value: Decimal
    max_leverage: int
    rate: Decimal
    deduction: Decimal


TIERS: tuple[Tier, ...] = tuple(
    Tier(Decimal(value), leverage, Decimal(rate), Decimal(deduction))
    for value, leverage, rate, deduction in (
        (50_000, 125, "0.004", 0),
        (500_000, 100, "0.005", 50),
        (10_000_000, 50, "0.01", 2_550),
        (75_000_000, 20, "0.025", 152_550),
        (100_000_000, 10, "0.05", 1_402_550),
        (200_000_000, 5, "0.1", 6_402_550),
        (400_000_000, 4, "0.125", 11_402_550),
        (600_000_000, 3, "0.15", 21_402_550),
        (800_000_000, 2, "0.25", 81_402_550),
        (1_000_000_000, 1, "0.5", 281_402_550),
    )
)


def tier_of(value: Decimal) -> Tier:
    """The tier of a position's value; beyond the last one still that."""
    return next((tier for tier in TIERS if value <= tier.value), TIERS[-1])


def maintenance_margin(value: Decimal) -> Decimal:
    """Of one position, USDT."""
    tier = tier_of(value)
    return value * tier.rate - tier.deduction


def futures_freeze(
    orders: Iterable[Order], position: Decimal, leverage: int, taker_rate: Decimal
) -> dict[int, Decimal]:
    """What each order of one account in one contract freezes, USDT by order id: margin and fee of what it opens.
    `orders` in the order in which they may claim the position; stop orders that wait freeze nothing."""
    left = {side: closable(position, side) for side in Side}
    frozen = {}
    for order in orders:
        if not order.state.is_open:
            frozen[order.order_id] = ZERO
            continue
        closing = min(order.remaining, left[order.side])
        left[order.side] -= closing
        value = (order.remaining - closing) * order.price
        frozen[order.order_id] = ZERO if order.reduce_only else value / leverage + value * taker_rate
    return frozen


def spot_freeze(orders: Iterable[Order]) -> dict[int, Decimal]:
    """USDT that each order of spot freezes: what a buy would pay. A sell freezes its coins."""
    return {order.order_id: order.remaining * order.price if order.side is Side.BUY else ZERO for order in orders}


def liquidation_price(
    quantity: Decimal, mark: Decimal, margin_balance: Decimal, maintenance: Decimal, rate: Decimal
) -> Decimal | None:
    """The mark at which the margin balance meets the maintenance margin, with everything but this contract's mark as
    it is. `quantity` is signed and not 0; `rate` is the maintenance rate of its tier. None where no price above 0
    does it."""
    room = margin_balance - maintenance
    price = mark - room / (quantity - abs(quantity) * rate)
    return price.quantize(Decimal("0.01")) if price > 0 else None

"""Price-time matching as a plan: what an order would trade with, before anything happens.

A better price goes first; at one price the makers' ladder stands before clients' orders (its quotes were there
first), and clients' orders stand in the order of their arrival.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from services.exchange.model import Level, Order, SelfTradePrevention, Side

ZERO = Decimal(0)
PositionOf = Callable[[str], Decimal]


@dataclass(frozen=True, slots=True)
class Match:
    """One trade to be: with a client's resting order, or with the ladder where `maker` is None."""

    price: Decimal
    quantity: Decimal
    maker: Order | None


@dataclass(slots=True)
class Plan:
    """What happens in order, and what is left: `stop` says that self-trade prevention ends the taker."""

    steps: list[Match | Order] = field(default_factory=list)
    filled: Decimal = ZERO
    stop: bool = False


def closable(position: Decimal, side: Side) -> Decimal:
    """How much an order of `side` can take off a signed position."""
    return max(-position * side.sign, ZERO)


def plan_taker(
    taker: Order,
    makers: Sequence[Level],
    clients: Sequence[Order],
    stp: SelfTradePrevention,
    position_of: PositionOf,
) -> Plan:
    """What `taker` would do to the opposite side. `makers` and `clients` come best first.

    A step is a match, or an own resting order that self-trade prevention cancels. A reduce-only order of a client
    gives no more than its account's position, from `position_of(account_id)`, after the earlier matches.
    """
    plan = Plan()
    moved: dict[str, Decimal] = {}
    for level, maker in _queue(makers, clients, taker.side):
        left = taker.remaining - plan.filled
        price = level.price if maker is None else maker.price
        if not left or (price - taker.price) * taker.side.sign > 0:
            break
        available = level.quantity if maker is None else maker.remaining
        if maker is not None and maker.account_id == taker.account_id:
            if stp is not SelfTradePrevention.CANCEL_TAKER:
                plan.steps.append(maker)
            if stp is not SelfTradePrevention.CANCEL_MAKER:
                plan.stop = True
                break
            continue
        if maker is not None:
            position = position_of(maker.account_id) + moved.get(maker.account_id, ZERO)
            if maker.reduce_only:
                available = min(available, closable(position, maker.side))
        quantity = min(left, available)
        if not quantity:
            continue
        if maker is not None:
            moved[maker.account_id] = moved.get(maker.account_id, ZERO) + maker.side.sign * quantity
        plan.steps.append(Match(price, quantity, maker))
        plan.filled += quantity
    return plan


def plan_resting(
    orders: Iterable[Order], makers: Sequence[Level], position_of: PositionOf
) -> list[tuple[Order, Decimal]]:
    """What resting orders of one side trade with a ladder that has moved onto them, at their own prices.

    `orders` in price-time order, `makers` of the opposite side best first. No lot of the ladder is given twice.
    """
    result = []
    taken = ZERO
    moved: dict[str, Decimal] = {}
    for order in orders:
        reachable = sum((size for price, size in makers if (price - order.price) * order.side.sign <= 0), ZERO)
        wanted = order.remaining
        if order.reduce_only:
            position = position_of(order.account_id) + moved.get(order.account_id, ZERO)
            wanted = min(wanted, closable(position, order.side))
        quantity = min(wanted, reachable - taken)
        if quantity <= 0:
            continue
        taken += quantity
        moved[order.account_id] = moved.get(order.account_id, ZERO) + order.side.sign * quantity
        result.append((order, quantity))
    return result


def _queue(makers: Sequence[Level], clients: Sequence[Order], taker_side: Side) -> list[tuple[Level, Order | None]]:
    """Both sources in the order in which the taker meets them."""
    queue: list[tuple[Level, Order | None]] = [(level, None) for level in makers]
    queue += [(Level(order.price, order.remaining), order) for order in clients]
    return sorted(queue, key=lambda entry: (entry[0].price * taker_side.sign, entry[1] is not None))

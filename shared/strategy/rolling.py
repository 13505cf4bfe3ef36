"""Rolling a trade: close it and open its successor as one action, within a net price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from shared.messages.conditions import ExitCondition
from shared.messages.trades import LegOrder, TradeUpdate
from shared.options.chain import ChainView
from shared.options.instruments import instrument_kind, underlying_of
from shared.strategy.legs import AnyLeg, LegSpec, LinearLeg

_STEP = Decimal("1e-8")
WITHIN_MAX_S = 180.0
"""A grant lasts longer than this and an opening together."""
ROLLS_MAX = 1_000


class Roll(msgspec.Struct, frozen=True, kw_only=True):
    """When a strategy's trade is rolled, into what, and what that may cost.

    when: exit conditions, or plain functions as in `StrategyConfig.exit_conditions`; any one rolls.
    net_limit_usd: the most that closing the trade and opening its successor may cost together, USD for the whole
    structure before fees: above 0 a debit is allowed, below 0 a credit of at least so much is asked for. A future
    counts with its price × quantity, paid when it is bought and received when it is sold: of a long quarterly that is
    rolled into the next one it is what that is dearer by, of a short one as much below 0.
    legs: of the successor; empty for the legs (or the legs_factory) of the strategy.
    max_rolls: how often one chain is rolled at most, 1 to 1000.
    within_seconds: how long the close may take; when it takes longer nothing is opened in its place.
    Raises ValueError naming the field and what is allowed.

    >>> from shared.strategy import dte_exit
    >>> monthly = Roll(when=[dte_exit(7)], net_limit_usd=-20.0, max_rolls=5)
    >>> from shared.strategy import LegSpec
    >>> next_quarter = [LegSpec.future("BTC", "buy", "0.1", {"quarterly": 2})]
    >>> quarterly = Roll(when=[dte_exit(3)], legs=next_quarter, net_limit_usd=150.0)
    """

    when: Sequence[ExitCondition | Callable[..., object]]
    net_limit_usd: float
    legs: Sequence[AnyLeg] = ()
    max_rolls: int = 3
    within_seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in ("when", "legs"):
            given = getattr(self, field)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ValueError(f"roll: {field} {given!r} must be a list: put it in [ ]")
            msgspec.structs.force_setattr(self, field, tuple(given))
        if not self.when:
            raise ValueError("roll: when must name at least one condition")
        if not all(isinstance(leg, LegSpec | LinearLeg) for leg in self.legs):
            raise ValueError("roll: legs must be a list of LegSpec, or what straddle() or strangle() return")
        for field, least, most in (
            ("net_limit_usd", float("-1e9"), 1e9),
            ("max_rolls", 1, ROLLS_MAX),
            ("within_seconds", 5, WITHIN_MAX_S),
        ):
            value = getattr(self, field)
            is_number = isinstance(value, int if field == "max_rolls" else int | float)
            if isinstance(value, bool) or not is_number or not least <= value <= most:
                kind = "a whole number" if field == "max_rolls" else "a number"
                raise ValueError(f"roll: {field} {value!r} must be {kind}, {least:g} to {most:g}")


def cost_to_trade_usd(
    legs: Sequence[LegOrder], chain_of: Callable[[str], ChainView | str], *, prices: list[float] | None = None
) -> float | str:
    """What trading these legs would cost, USD: paid > 0, received < 0; or why that cannot be said.

    Each leg at the worse for us of mark and mid, of which execution takes one, and at mark where a side of its book
    is missing: the far side of a wide book says nothing. A future counts with its whole price. `chain_of` gives the
    chain in which a symbol has a fresh price, or why there is none. `prices` takes the price of each leg, USD a unit.
    """
    total = 0.0
    for leg in legs:
        chain = chain_of(leg.symbol)
        if isinstance(chain, str):
            return chain
        quote = chain.quote(leg.symbol)
        if quote is None or quote.mark is None:
            return f"no mark of {leg.symbol}"
        mid = quote.mark if quote.mid is None else quote.mid
        price = max(quote.mark, mid) if leg.side == "buy" else min(quote.mark, mid)
        total += price * float(leg.quantity) * (1 if leg.side == "buy" else -1)
        if prices is not None:
            prices.append(price)
    return total


def closing_legs(trade: TradeUpdate) -> tuple[LegOrder, ...]:
    """The orders that close what a trade holds."""
    return tuple(
        LegOrder(symbol=leg.symbol, side="sell" if leg.side == "buy" else "buy", quantity=leg.held_quantity)
        for leg in trade.legs
        if leg.held_quantity > 0
    )


def uneven_futures(trade: TradeUpdate, legs: Sequence[LegOrder]) -> str | None:
    """Why a net price means nothing: the successor's futures are not as many coins, bought less sold, as those that
    the trade holds, and each coin more or less would count with its whole price. None when they are."""
    closing, wanted = _future_coins(closing_legs(trade)), _future_coins(legs)
    for underlying in sorted(closing.keys() | wanted.keys()):
        coins_held, coins_wanted = -closing[underlying], wanted[underlying]
        if coins_held != coins_wanted:
            return (
                f"its futures of {underlying} are {coins_held:+f} coins in all and those of the successor "
                f"{coins_wanted:+f}: a net limit is of as many coins, so size them by a number of coins"
            )
    return None


def _future_coins(legs: Sequence[LegOrder]) -> defaultdict[str, Decimal]:
    """Bought less sold, by underlying."""
    coins: defaultdict[str, Decimal] = defaultdict(Decimal)
    for leg in legs:
        if instrument_kind(leg.symbol) != "option":
            coins[underlying_of(leg.symbol)] += leg.quantity if leg.side == "buy" else -leg.quantity
    return coins


def price_limits(
    legs: Sequence[LegOrder], prices: Sequence[float], budget_usd: Decimal
) -> tuple[Decimal, ...] | None:
    """The worst price of each leg, USD per unit, so that all legs at theirs cost `budget_usd` together at most.

    What there is to spare over `prices` is shared out in proportion to each leg's value. None when the legs cost
    more than the budget at `prices` already.
    """
    exact = [Decimal(str(price)) for price in prices]
    signs = [1 if leg.side == "buy" else -1 for leg in legs]
    pairs = list(zip(legs, exact, signs, strict=True))
    spare = budget_usd - sum((sign * price * leg.quantity for leg, price, sign in pairs), Decimal(0))
    if spare < 0:
        return None
    value = sum((price * leg.quantity for leg, price, _ in pairs), Decimal(0))
    share = spare / value if value else Decimal(0)
    return tuple(
        (price * (1 + share)).quantize(_STEP, ROUND_FLOOR)
        if sign > 0
        else max(Decimal(0), price * (1 - share)).quantize(_STEP, ROUND_CEILING)
        for _, price, sign in pairs
    )

"""Structures that are made of legs. Each factory returns a list of LegSpec, to be read in its order.

Everywhere: qty in coins, or a rule (see `LegSpec`), of one unit of the structure; side "buy" or "sell" (or 1, 2) is
that of the structure as its name is meant; expiry is an expiry criterion as of a leg; deltas of puts may be written
with or without the minus; widths are in USD between strikes, and the wing is the listed strike nearest to that. What
each makes at most, loses at most and where it breaks even is told by `shared.options.payoff` of the legs found.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from shared.messages.base import Side
from shared.options.symbols import OptionType
from shared.strategy.criteria import ClosestStrike, ExpiryCriterion, FromLeg, StrikeCriterion
from shared.strategy.legs import AnyLeg, LegSpec, side_of
from shared.strategy.quantity import OfLeg, QuantityForm, quantity_of

AnySide = Side | Literal[1, 2]
Expiry = ExpiryCriterion | Mapping[str, Any]
Strike = StrikeCriterion | Mapping[str, Any]


def straddle(
    qty: QuantityForm,
    dte: int | Literal["next"] = "next",
    side: AnySide = 1,
    underlying: str = "BTC",
    expiry_criteria: Expiry | None = None,
) -> list[LegSpec]:
    """A call and a put at the strike nearest to the index. `expiry_criteria` takes the place of `dte`.

    Bought it loses at most its premium and gains without bound; sold the other way round. It breaks even at the
    strike ± the premium per unit.

    qty: in coins, or a rule.

    >>> [leg.option_type for leg in straddle("0.1", dte=7, side="sell")]
    ['C', 'P']
    """
    expiry = {"dte": dte} if expiry_criteria is None else expiry_criteria
    return [
        LegSpec("C", side, qty, ClosestStrike(), expiry, underlying),
        LegSpec("P", side, _like(qty), FromLeg(0, 0), expiry, underlying),
    ]


def strangle(
    qty: QuantityForm,
    call_delta: float = 0.25,
    put_delta: float = -0.25,
    dte: int | Literal["next"] = "next",
    side: AnySide = 1,
    underlying: str = "BTC",
    expiry_criteria: Expiry | None = None,
) -> list[LegSpec]:
    """A call and a put out of the money, by delta. `expiry_criteria` takes the place of `dte`.

    Bought it loses at most its premium and gains without bound; sold the other way round. It breaks even the premium
    per unit above the call's and below the put's strike.

    qty: in coins, or a rule.

    >>> [leg.strike.value for leg in strangle("0.1", call_delta=0.2, put_delta=-0.15)]
    [0.2, -0.15]
    """
    expiry = {"dte": dte} if expiry_criteria is None else expiry_criteria
    return [
        LegSpec("C", side, qty, _delta(call_delta), expiry, underlying),
        LegSpec("P", side, _like(qty), _delta(put_delta), expiry, underlying),
    ]


def vertical(
    option_type: OptionType,
    side: AnySide,
    qty: QuantityForm,
    strike: Strike,
    width: float,
    expiry: Expiry,
    underlying: str = "BTC",
) -> list[LegSpec]:
    """The option at `strike` bought or sold, and one `width` USD further out of the money against it.

    Sold it is a credit spread: it gains at most the credit and loses at most width − credit, per unit. Bought: at
    most the debit lost, width − debit gained.

    qty: in coins, or a rule. width: USD between strikes.

    >>> [leg.order_side for leg in vertical("P", "sell", "0.1", {"type": "delta", "value": 0.3}, 2_000, {"dte": 7})]
    ['sell', 'buy']
    """
    out = _width(width) if option_type == "C" else -_width(width)
    return [
        LegSpec(option_type, side, qty, strike, expiry, underlying),
        LegSpec(option_type, _other(side), _like(qty), FromLeg(0, out), expiry, underlying),
    ]


def iron_condor(
    qty: QuantityForm,
    expiry: Expiry,
    call_delta: float = 0.20,
    put_delta: float = -0.20,
    width: float = 2_000,
    side: AnySide = "sell",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """A strangle by delta, and wings `width` USD further out. side "sell" sells the strangle and buys the wings.

    Sold it gains at most the credit and loses at most the wider wing − credit, per unit; it breaks even the credit
    beyond each of its inner strikes.

    qty: in coins, or a rule. width: USD between strikes.

    >>> [(leg.option_type, leg.order_side) for leg in iron_condor("0.1", {"dte": 7})]
    [('C', 'sell'), ('P', 'sell'), ('C', 'buy'), ('P', 'buy')]
    """
    wing = _width(width)
    return [
        LegSpec("C", side, qty, _delta(call_delta), expiry, underlying),
        LegSpec("P", side, _like(qty), _delta(put_delta), expiry, underlying),
        LegSpec("C", _other(side), _like(qty), FromLeg(0, wing), expiry, underlying),
        LegSpec("P", _other(side), _like(qty), FromLeg(1, -wing), expiry, underlying),
    ]


def iron_butterfly(
    qty: QuantityForm,
    expiry: Expiry,
    width: float,
    strike: Strike | None = None,
    side: AnySide = "sell",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """A straddle at `strike` (the nearest to the index), and wings `width` USD away. side "sell" sells the straddle.

    Sold it gains at most the credit, at the strike, and loses at most width − credit, per unit; it breaks even at
    the strike ± credit.

    qty: in coins, or a rule. width: USD between strikes.

    >>> [leg.order_side for leg in iron_butterfly("0.1", {"weekly": 1}, width=5_000)]
    ['sell', 'sell', 'buy', 'buy']
    """
    body, wing = ClosestStrike() if strike is None else strike, _width(width)
    return [
        LegSpec("C", side, qty, body, expiry, underlying),
        LegSpec("P", side, _like(qty), FromLeg(0, 0), expiry, underlying),
        LegSpec("C", _other(side), _like(qty), FromLeg(0, wing), expiry, underlying),
        LegSpec("P", _other(side), _like(qty), FromLeg(0, -wing), expiry, underlying),
    ]


def butterfly(
    option_type: OptionType,
    qty: QuantityForm,
    expiry: Expiry,
    width: float,
    strike: Strike | None = None,
    side: AnySide = "buy",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """One wing bought on either side of two sold at `strike` (the nearest to the index). side "sell" mirrors it.

    Bought it loses at most the debit and gains at most width − debit, at the middle; it breaks even the debit inside
    each wing, where both wings are as wide.

    qty: in coins, or a rule. width: USD between strikes.

    >>> [(leg.order_side, str(leg.quantity)) for leg in butterfly("C", "0.1", {"dte": 7}, width=2_000)]
    [('sell', '0.2'), ('buy', '0.1'), ('buy', '0.1')]
    """
    body, wing = ClosestStrike() if strike is None else strike, _width(width)
    return [
        LegSpec(option_type, _other(side), _like(qty, 2, of=1), body, expiry, underlying),
        LegSpec(option_type, side, qty, FromLeg(0, -wing), expiry, underlying),
        LegSpec(option_type, side, _like(qty, of=1), FromLeg(0, wing), expiry, underlying),
    ]


def ratio_spread(
    option_type: OptionType,
    qty: QuantityForm,
    expiry: Expiry,
    strike: Strike,
    width: float,
    ratio: float = 2,
    side: AnySide = "buy",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """One option at `strike` bought against `ratio` sold `width` USD further out. side "sell" is the backspread.

    Bought it gains most at the outer strike: width − debit (+ credit); its loss beyond is unbounded with calls, and
    bounded by a price of 0 with puts.

    qty: of what is bought, in coins, or a rule. width: USD between strikes. ratio: sold for each one bought.

    >>> [(leg.order_side, str(leg.quantity)) for leg in ratio_spread("C", "0.1", {"dte": 7}, ClosestStrike(), 4_000)]
    [('buy', '0.1'), ('sell', '0.2')]
    """
    out = _width(width) if option_type == "C" else -_width(width)
    return [
        LegSpec(option_type, side, qty, strike, expiry, underlying),
        LegSpec(option_type, _other(side), _like(qty, ratio), FromLeg(0, out), expiry, underlying),
    ]


def calendar(
    option_type: OptionType,
    qty: QuantityForm,
    near: Expiry,
    far: Expiry,
    strike: Strike | None = None,
    side: AnySide = "buy",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """The far expiry bought against the near one sold, at one strike (the nearest to the index).

    Bought it loses at most the debit; it gains most when the near one expires at the strike, how much depends on the
    volatility that the far one then has. Fails when the strike is not listed in both expiries.

    qty: in coins, or a rule.

    >>> [leg.order_side for leg in calendar("C", "0.1", {"dte": "next"}, {"monthly": 1})]
    ['buy', 'sell']
    """
    body = ClosestStrike() if strike is None else strike
    return [
        LegSpec(option_type, side, qty, body, far, underlying),
        LegSpec(option_type, _other(side), _like(qty), FromLeg(0, 0), near, underlying),
    ]


def diagonal(
    option_type: OptionType,
    qty: QuantityForm,
    near: Expiry,
    near_strike: Strike,
    far: Expiry,
    far_strike: Strike,
    side: AnySide = "buy",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """A far option bought against a near one sold at another strike. side "sell" mirrors it.

    Bought it loses at most the debit where the far strike is the nearer to the money, else the debit and the distance
    of the strikes.

    qty: in coins, or a rule.

    >>> legs = diagonal("C", "0.1", {"dte": 7}, {"type": "delta", "value": 0.2}, {"monthly": 1}, ClosestStrike())
    >>> [leg.order_side for leg in legs]
    ['buy', 'sell']
    """
    return [
        LegSpec(option_type, side, qty, far_strike, far, underlying),
        LegSpec(option_type, _other(side), _like(qty), near_strike, near, underlying),
    ]


def risk_reversal(
    qty: QuantityForm,
    expiry: Expiry,
    call_delta: float = 0.25,
    put_delta: float = -0.25,
    side: AnySide = "buy",
    underlying: str = "BTC",
) -> list[LegSpec]:
    """A call bought and a put sold, both out of the money. side "sell" mirrors it.

    Bought it gains without bound above; below it loses at most the put's strike (+ debit, − credit), per unit. Sold
    its loss above is unbounded.

    qty: in coins, or a rule.

    >>> [(leg.option_type, leg.order_side) for leg in risk_reversal("0.1", {"dte": 30})]
    [('C', 'buy'), ('P', 'sell')]
    """
    return [
        LegSpec("C", side, qty, _delta(call_delta), expiry, underlying),
        LegSpec("P", _other(side), _like(qty), _delta(put_delta), expiry, underlying),
    ]


def covered_call(
    qty: QuantityForm,
    expiry: Expiry,
    strike: Strike | None = None,
    underlying: str = "BTC",
    *,
    buys_coins: bool = False,
) -> list[AnyLeg]:
    """A call sold (by default of delta 0.25) against as many coins, which the trade buys at spot and sells again
    (`buys_coins`), or which the account holds outside of this trade.

    With the coin it gains at most strike − cost + premium and loses at most cost − premium, per unit
    (`shared.options.payoff.held_coin`). Of coins outside the desk sees the call alone: the trade must declare a
    `max_loss`.

    qty: in coins, or a rule.

    >>> covered_call("0.1", {"monthly": 1})[0].order_side
    'sell'
    >>> len(covered_call("0.1", {"monthly": 1}, buys_coins=True))
    2
    """
    call = LegSpec("C", "sell", qty, _delta(0.25) if strike is None else strike, expiry, underlying)
    return [call, LegSpec.spot(underlying, "buy", {"of_leg": 0})] if buys_coins else [call]


def cash_secured_put(
    cash_usd: float, expiry: Expiry, strike: Strike | None = None, underlying: str = "BTC"
) -> list[LegSpec]:
    """A put sold (by default of delta 0.25), so many that `cash_usd` pays for all of them at the strike.

    It gains at most the premium and loses at most strike − premium, per unit; it breaks even at strike − premium.

    >>> cash_secured_put(20_000, {"monthly": 1})[0].quantity
    ByNotional(usd=20000.0)
    """
    quantity = {"notional_usd": cash_usd}
    return [LegSpec("P", "sell", quantity, _delta(0.25) if strike is None else strike, expiry, underlying)]


def _delta(value: float) -> dict[str, Any]:
    return {"type": "delta", "value": value}


def _width(width: float) -> float:
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise ValueError(f"width {width!r} must be USD between strikes, above 0")
    return float(width)


def _other(side: AnySide) -> Side:
    return "sell" if side_of(side) == "buy" else "buy"


def _like(qty: QuantityForm, ratio: float = 1, of: int = 0) -> QuantityForm:
    """The quantity of a leg of which there are `ratio` per unit of leg `of`, which has `qty`."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < float("inf"):
        raise ValueError(f"ratio {ratio!r} must be a number above 0")
    quantity = quantity_of(qty)
    # a rule of its own would give each leg another size, and a wing that covers its body no more
    return quantity * Decimal(str(ratio)) if isinstance(quantity, Decimal) else OfLeg(of, ratio)

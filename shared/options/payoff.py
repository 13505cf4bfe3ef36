"""What a structure of options makes: at its first expiry, at most, at least, and under a stress. Arrays, pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.options.black76 import price
from shared.options.instruments import InstrumentKind
from shared.options.symbols import NS_PER_YEAR

F8 = NDArray[np.float64]
FEE_RATE = 0.0004
FEE_CAP_FRACTION = 0.125
FUTURES_FEE_RATE = 0.0006
SPOT_FEE_RATE = 0.001
_GRID_POINTS = 401
_GRID_WIDTH = 3.0


class PayoffLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a structure. quantity: in coins, bought > 0, sold < 0. price: what one unit costs, USD.

    iv: annualised fraction, NaN when it is not known; it is used for legs that outlive the first expiry, and under
    stress. A coin that is held, and a future, is a call of strike 0 at its cost (`held_coin`). forward_ratio: the
    forward of its expiry, the mark of a future, over the index: what it is worth now moves with that.
    """

    is_call: bool
    strike: float
    expiry_ns: int
    quantity: float
    price: float
    iv: float = math.nan
    forward_ratio: float = 1.0


class PayoffFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is certain of a structure at its first expiry, before fees, USD.

    premium_usd: Σ quantity × price: paid > 0, received < 0. max_profit_usd, max_loss_usd: inf without a bound;
    a loss is > 0, and 0 where nothing can be lost. breakevens: prices of the underlying at which it makes nothing,
    ascending. is_estimate: legs outlive the first expiry, so that profit and breakevens hold at today's volatilities
    only, on one forward for all; the loss is a bound all the same. So are figures of futures of several expiries,
    as if they were all worth what the coin is; nothing bounds what lies between them, and so their loss.
    """

    premium_usd: float
    max_profit_usd: float
    max_loss_usd: float
    breakevens: tuple[float, ...]
    is_estimate: bool


def held_coin(quantity: float, cost: float, expiry_ns: int) -> PayoffLeg:
    """`quantity` coins that were bought at `cost` USD each, as a leg beside those that expire at `expiry_ns`."""
    return PayoffLeg(is_call=True, strike=0.0, expiry_ns=expiry_ns, quantity=quantity, price=cost, iv=0.0)


def trading_fee_usd(price_usd: float, index: float, quantity: float, *, kind: InstrumentKind = "option") -> float:
    """min(rate × index, cap × price) × |quantity| of an option, rate × price × |quantity| of a future or of spot,
    USD > 0. Source: the venue's fee schedule, taker."""
    if kind == "spot":
        return abs(quantity) * SPOT_FEE_RATE * price_usd
    if kind != "option":
        return abs(quantity) * FUTURES_FEE_RATE * price_usd
    return abs(quantity) * min(FEE_RATE * index, FEE_CAP_FRACTION * price_usd)


def payoff_at(legs: Sequence[PayoffLeg], underlying: F8, at_ns: int | None = None) -> F8:
    """P&L at an instant (the first expiry) against the price of the underlying (n,), before fees, USD; shape (n,).

    Legs that outlive it are worth their Black-76 price then at their `iv`: at an instant on their own forwards as
    they are to the index now, at the first expiry on one forward for all; NaN everywhere when one of these is NaN.
    """
    strikes, quantities, prices, is_call, expiries_ns, vols = _columns(legs)
    left = np.maximum(expiries_ns - (expiries_ns.min() if at_ns is None else at_ns), 0) / NS_PER_YEAR
    ratios = np.where(left > 0, _forward_ratios(legs), 1.0) if at_ns is not None else np.ones(len(legs))
    worth = _worth(underlying[:, None] * ratios, strikes, left, np.where(left > 0, vols, 0.0), is_call)
    result: F8 = ((worth - prices) * quantities).sum(axis=1)
    return result


def payoff_figures(legs: Sequence[PayoffLeg]) -> PayoffFigures:
    """Maximum profit, maximum loss and breakevens. Raises ValueError without a leg."""
    if not legs:
        raise ValueError("a payoff needs at least one leg")
    premium = sum(leg.quantity * leg.price for leg in legs)
    if len(_expiries_ns(legs)) > 1:
        return _mixed(legs, premium)
    at = np.array(sorted({0.0, *(leg.strike for leg in legs)}))
    made = _intrinsic(legs, at) - premium
    slope = sum(leg.quantity for leg in legs if leg.is_call)
    # float sums of quantities such as 0.1 and -0.1 leave a remainder that is no position
    if abs(slope) < 1e-9:
        slope = 0.0
    return PayoffFigures(
        premium_usd=premium,
        max_profit_usd=math.inf if slope > 0 else max(float(made.max()), 0.0),
        max_loss_usd=math.inf if slope < 0 else max(-float(made.min()), 0.0),
        breakevens=_crossings(at, made, slope),
        is_estimate=False,
    )


def _expiries_ns(legs: Sequence[PayoffLeg]) -> set[int]:
    """Of options; of futures those that expire before the last option, and all where these have several. A future
    that outlives the options is worth what the coin is when they expire."""
    options = {leg.expiry_ns for leg in legs if leg.strike}
    futures = {leg.expiry_ns for leg in legs if not leg.strike}
    last_ns = max(options, default=0)
    return options | {at_ns for at_ns in futures if len(futures) > 1 or at_ns < last_ns}


def stressed_loss_usd(
    legs: Sequence[PayoffLeg], index: float, now_ns: int, *, spot_pct: float, vol_points: float
) -> float:
    """The largest loss if the underlying moved at once by up to `spot_pct` per cent and volatility by up to
    `vol_points` (0.01 each), either way; USD before fees, 0 where nothing is lost, NaN where a leg has no `iv`.

    Every tenth of the move is looked at, at the lower, the same and the higher volatility (not below one point).
    The forward of each expiry moves as the index does.
    """
    strikes, quantities, prices, is_call, expiries_ns, vols = _columns(legs)
    years = np.maximum(expiries_ns - now_ns, 0) / NS_PER_YEAR
    moves = index * (1 + np.linspace(-spot_pct, spot_pct, 21) / 100)
    shocks = np.array([-vol_points, 0.0, vol_points]) / 100
    shocked = np.where(vols > 0, np.maximum(vols + shocks[:, None], 0.01), vols)
    forwards = moves[:, None, None] * _forward_ratios(legs)
    worth = _worth(forwards, strikes, years, shocked[None, :, :], is_call)
    made = ((worth - prices) * quantities).sum(axis=2)
    return math.nan if np.isnan(made).any() else max(-float(made.min()), 0.0)


def _worth(forward: F8, strikes: F8, years: F8, vols: F8, is_call: NDArray[np.bool_]) -> F8:
    """By Black-76; a coin or a future, of strike 0, is worth what the underlying is, whenever it expires."""
    worth: F8 = np.where(
        strikes > 0, price(forward, np.where(strikes > 0, strikes, 1.0), years, vols, is_call), forward
    )
    return worth


def _columns(legs: Sequence[PayoffLeg]) -> tuple[F8, F8, F8, NDArray[np.bool_], NDArray[np.int64], F8]:
    return (
        np.array([leg.strike for leg in legs]),
        np.array([leg.quantity for leg in legs]),
        np.array([leg.price for leg in legs]),
        np.array([leg.is_call for leg in legs], dtype=np.bool_),
        np.array([leg.expiry_ns for leg in legs], dtype=np.int64),
        np.array([leg.iv for leg in legs]),
    )


def _forward_ratios(legs: Sequence[PayoffLeg]) -> F8:
    return np.array([leg.forward_ratio for leg in legs])


def _intrinsic(legs: Sequence[PayoffLeg], at: F8) -> F8:
    total = np.zeros_like(at)
    for leg in legs:
        inside = at - leg.strike if leg.is_call else leg.strike - at
        total += leg.quantity * np.maximum(inside, 0.0)
    return total


def _mixed(legs: Sequence[PayoffLeg], premium: float) -> PayoffFigures:
    """A later long leg is worth at least its intrinsic value at the first expiry; a later short one has no bound."""
    expiries_ns = _expiries_ns(legs)
    first_ns = min(expiries_ns)
    bound = math.inf
    one_future = len({leg.expiry_ns for leg in legs if not leg.strike}) <= 1
    if one_future and all(leg.quantity > 0 for leg in legs if leg.strike and leg.expiry_ns > first_ns):
        slope = sum(leg.quantity for leg in legs if leg.is_call)
        kinks = np.array(sorted({0.0, *(leg.strike for leg in legs)}))
        if slope > -1e-9:
            bound = max(premium - float(_intrinsic(legs, kinks).min()), 0.0)
    highest = max((leg.strike for leg in legs if leg.strike), default=max(leg.price for leg in legs))
    strikes = np.array([leg.strike for leg in legs if leg.strike])
    at = np.unique(
        np.concatenate([np.linspace(highest / _GRID_POINTS, highest * _GRID_WIDTH, _GRID_POINTS), strikes])
    )
    made = payoff_at(legs, at)
    known = not np.isnan(made).any()
    slope = sum(leg.quantity for leg in legs if leg.is_call)
    return PayoffFigures(
        premium_usd=premium,
        max_profit_usd=math.inf if slope > 1e-9 else max(float(made.max()), 0.0) if known else math.nan,
        max_loss_usd=bound,
        breakevens=_crossings(at, made, 0.0) if known else (),
        is_estimate=True,
    )


def _crossings(at: F8, made: F8, slope_beyond: float) -> tuple[float, ...]:
    """Where the straight lines between the points, and the ray beyond the last, cross zero."""
    # a value this near to zero is rounding, not money
    rounded = np.where(np.abs(made) < 1e-9, 0.0, made)
    found: list[float] = []
    signs = np.sign(rounded)
    for left in np.flatnonzero(signs[:-1] * signs[1:] < 0).tolist():
        share = rounded[left] / (rounded[left] - rounded[left + 1])
        found.append(float(at[left] + share * (at[left + 1] - at[left])))
    for zero in np.flatnonzero(signs == 0).tolist():
        after = signs[zero + 1] if zero + 1 < len(at) else np.sign(slope_beyond)
        before = signs[zero - 1] if zero else after
        # where it only touches zero it goes on earning, or losing
        if before != after:
            found.append(float(at[zero]))
    if slope_beyond and rounded[-1] * slope_beyond < 0:
        found.append(float(at[-1] - rounded[-1] / slope_beyond))
    return tuple(sorted(found))

"""Margin, price band and worst loss of option structures. Array in, array out; estimates made before an order.

The venue publishes no formula for its standard margin. The one used here is that of the largest crypto option
venue, per unit of a short option, in USD:

    initial = max(short_margin_fraction × index − out of the money, short_margin_floor_fraction × index) + mark

A long option needs none: its premium is paid in full.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.risk.config import RiskConfig

F8 = NDArray[np.float64]
Flags = NDArray[np.bool_]


def short_initial_margin(config: RiskConfig, index: F8, strike: F8, mark: F8, is_call: Flags) -> F8:
    """Initial margin of one unit short, USD, shape (n,). NaN where an input is NaN."""
    out_of_the_money = np.maximum(np.where(is_call, strike - index, index - strike), 0.0)
    scan = np.maximum(
        config.short_margin_fraction * index - out_of_the_money, config.short_margin_floor_fraction * index
    )
    margin: F8 = scan + mark
    return margin


def trading_fee(config: RiskConfig, quantity: F8, price: F8, index: F8) -> F8:
    """min(rate × index, cap × price) × |quantity|, USD > 0, shape (n,). Source: the venue's fee schedule."""
    fee: F8 = np.abs(quantity) * np.minimum(config.fee_rate * index, config.fee_cap_fraction * price)
    return fee


def structure_margin(
    config: RiskConfig, quantity: F8, worst_price: F8, index: F8, strike: F8, mark: F8, is_call: Flags
) -> float:
    """Margin that opening a structure uses at worst, USD: premiums paid, margin of the shorts, fees.

    `quantity` is signed (short < 0), shape (n,) as all others. Every short is margined by itself, less the premium
    that it is sure to bring; legs do not cover one another, as under standard margin.
    """
    shorts = np.maximum(short_initial_margin(config, index, strike, mark, is_call) - worst_price, 0.0)
    per_unit = np.where(quantity > 0, worst_price, shorts)
    fees = trading_fee(config, quantity, np.maximum(worst_price, mark), index)
    return float(np.sum(np.abs(quantity) * per_unit + fees))


def worst_loss(quantity: F8, price: F8, strike: F8, is_call: Flags, expiry_ns: NDArray[np.int64]) -> float:
    """Largest loss at expiry of a structure on one underlying opened at `price`, USD before fees, never below 0.

    `quantity` is signed, shape (n,) as all others. inf if the loss goes on growing beyond the outermost strikes: a
    call or a put that no other leg covers. Long legs that expire with or after all shorts are worth at least their
    pay-off when the shorts expire; any other mixture of expiries is bounded by the sum over expiries.
    """
    cost = float(np.sum(quantity * price))
    shorts = quantity < 0
    covered_in_time = (
        bool(shorts.any())
        and np.unique(expiry_ns[shorts]).size == 1
        and bool(np.all(expiry_ns[~shorts] >= expiry_ns[shorts].max()))
    )
    if covered_in_time or not shorts.any():
        groups = [np.ones(quantity.shape, dtype=np.bool_)]
    else:
        groups = [expiry_ns == expiry for expiry in np.unique(expiry_ns)]
    lowest = sum(_lowest_payoff(quantity[group], strike[group], is_call[group]) for group in groups)
    return max(cost - lowest, 0.0)


def _lowest_payoff(quantity: F8, strike: F8, is_call: Flags) -> float:
    """The smallest pay-off over all prices of the underlying; -inf where a tail falls for ever."""
    if quantity[is_call].sum() < 0 or quantity[~is_call].sum() < 0:
        return -np.inf
    settlement = np.concatenate(([0.0], np.sort(strike)))[:, np.newaxis]
    payoff = np.maximum(np.where(is_call, settlement - strike, strike - settlement), 0.0) @ quantity
    return float(payoff.min())


def venue_price_band(config: RiskConfig, mark: float, index: float, delta: float, tick: float) -> tuple[float, float]:
    """Lowest and highest order price that the venue takes, USD per unit.

    mark − down × index × max(1, 4|delta|), at least a tick, to mark + up × index × max(1, 4|delta|). Source: the
    venue's contract specification.
    """
    reach = index * max(1.0, 4.0 * abs(delta))
    return max(tick, mark - config.price_limit_down_fraction * reach), mark + config.price_limit_up_fraction * reach

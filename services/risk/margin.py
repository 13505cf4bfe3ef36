"""Margin, price band and worst loss of option structures; estimates made before an order.

The venue publishes no formula for its standard margin. The one used here is that of the largest crypto option
venue, per unit of a short option, in USD:

    initial = max(short_margin_fraction × index − out of the money, short_margin_floor_fraction × index) + mark
    maintenance = short_maintenance_fraction × index + mark; of a put at least that fraction of its mark + mark

A long option needs none: its premium is paid in full. A future, long or short, needs futures_initial_fraction of
its value, which is one over the leverage.

Plain floats: a structure has a handful of legs, and an array of a handful costs ten times its arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from services.risk.config import RiskConfig
from shared.options.instruments import InstrumentKind


class StructureLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One leg as margin and loss see it: `quantity` is signed (short < 0), prices in USD per unit."""

    quantity: float
    worst_price: float
    index: float
    strike: float
    mark: float
    is_call: bool
    expiry_ns: int
    kind: InstrumentKind = "option"

    @property
    def is_option(self) -> bool:
        """A future or a coin of spot is a call of strike 0, see `Instrument`."""
        return bool(self.strike)

    @property
    def is_future(self) -> bool:
        return not self.is_option and self.kind != "spot"


def short_initial_margin(config: RiskConfig, index: float, strike: float, mark: float, *, is_call: bool) -> float:
    """Initial margin of one unit short, USD. All inputs finite."""
    out_of_the_money = max(strike - index if is_call else index - strike, 0.0)
    scan = max(config.short_margin_fraction * index - out_of_the_money, config.short_margin_floor_fraction * index)
    return scan + mark


def short_maintenance_margin(config: RiskConfig, index: float, mark: float, *, is_call: bool) -> float:
    """Maintenance margin of one unit short, USD. All inputs finite."""
    base = config.short_maintenance_fraction * index
    return (base if is_call else max(base, config.short_maintenance_fraction * mark)) + mark


def trading_fee(
    config: RiskConfig, quantity: float, price: float, index: float, kind: InstrumentKind = "option"
) -> float:
    """min(rate × index, cap × price) × |quantity| of an option, rate × price × |quantity| of a future or of spot,
    USD > 0. Source: the venue's fee schedule."""
    if kind != "option":
        return abs(quantity) * (config.spot_fee_rate if kind == "spot" else config.futures_fee_rate) * price
    return abs(quantity) * min(config.fee_rate * index, config.fee_cap_fraction * price)


def structure_margin(config: RiskConfig, legs: Iterable[StructureLeg]) -> float:
    """Margin that opening a structure uses at worst, USD: premiums paid, margin of the shorts, fees.

    Every short is margined by itself, less the premium that it is sure to bring; legs do not cover one another, as
    under standard margin. A future also counts what it loses at once when it is opened at its worst price; coins of
    spot are paid for. NaN where a figure of a leg is missing.
    """
    total = 0.0
    for leg in legs:
        if not _is_known(leg):
            return math.nan
        per_unit = leg.worst_price
        if leg.is_future:
            at_once = (leg.worst_price - leg.mark) * math.copysign(1.0, leg.quantity)
            per_unit = config.futures_initial_fraction * max(leg.worst_price, leg.mark) + max(at_once, 0.0)
        elif leg.is_option and leg.quantity < 0:
            margin = short_initial_margin(config, leg.index, leg.strike, leg.mark, is_call=leg.is_call)
            per_unit = max(margin - leg.worst_price, 0.0)
        highest = max(leg.worst_price, leg.mark)
        fee = trading_fee(config, leg.quantity, highest, leg.index, leg.kind)
        total += abs(leg.quantity) * per_unit + fee
    return total


def worst_loss(legs: Sequence[StructureLeg]) -> float:
    """Largest loss at expiry of a structure on one underlying opened at its worst prices, USD before fees, never
    below 0. NaN where a figure of a leg is missing.

    inf if the loss goes on growing beyond the outermost strikes: a call or a put that no other leg covers, or a
    future, long without a put or short without a call; and of futures of several expiries, as nothing bounds what
    lies between their prices. Long legs that expire with or after all shorts are worth at least their pay-off when
    the shorts expire, a future and spot what the coin is; any other mixture of expiries is bounded by the sum over
    expiries. Coins that were bought lose what they cost, and no more.
    """
    if not all(map(_is_known, legs)):
        return math.nan
    cost = sum(leg.quantity * leg.worst_price for leg in legs)
    futures_expire = {leg.expiry_ns for leg in legs if leg.is_future}
    if len(futures_expire) > 1:
        return math.inf
    options_expire = {leg.expiry_ns for leg in legs if leg.is_option}
    shorts_expire = {leg.expiry_ns for leg in legs if leg.quantity < 0}
    last_short_ns = max(shorts_expire, default=0)
    covered_in_time = len(shorts_expire) <= 1 and all(leg.expiry_ns >= last_short_ns for leg in legs)
    outlives_options = len(options_expire) == 1 and max(futures_expire, default=0) > max(options_expire)
    if covered_in_time or outlives_options:
        return max(cost - _lowest_payoff(legs), 0.0)
    expiries = sorted({leg.expiry_ns for leg in legs})
    lowest = sum(_lowest_payoff([leg for leg in legs if leg.expiry_ns == expiry]) for expiry in expiries)
    return max(cost - lowest, 0.0)


def _lowest_payoff(legs: Sequence[StructureLeg]) -> float:
    """The smallest pay-off over all prices of the underlying; -inf where a tail falls for ever."""
    calls = sum(leg.quantity for leg in legs if leg.is_call)
    puts = sum(leg.quantity for leg in legs if not leg.is_call)
    futures = sum(leg.quantity for leg in legs if leg.is_future)
    if calls < 0 or puts < futures or puts < 0:
        return -math.inf
    return min(_payoff(legs, settlement) for settlement in (0.0, *(leg.strike for leg in legs)))


def _payoff(legs: Sequence[StructureLeg], settlement: float) -> float:
    total = 0.0
    for leg in legs:
        inside = settlement - leg.strike if leg.is_call else leg.strike - settlement
        if inside > 0.0:
            total += inside * leg.quantity
    return total


def _is_known(leg: StructureLeg) -> bool:
    """In a sum nothing that is missing is lost; `max` and `min` would lose it."""
    return math.isfinite(leg.quantity + leg.worst_price + leg.index + leg.strike + leg.mark)


def venue_price_band(config: RiskConfig, mark: float, index: float, delta: float, tick: float) -> tuple[float, float]:
    """Lowest and highest order price that the venue takes, USD per unit.

    mark − down × index × max(1, 4|delta|), at least a tick, to mark + up × index × max(1, 4|delta|). Source: the
    venue's contract specification.
    """
    reach = index * max(1.0, 4.0 * abs(delta))
    return max(tick, mark - config.price_limit_down_fraction * reach), mark + config.price_limit_up_fraction * reach

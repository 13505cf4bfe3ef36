"""What several legs are together: unit quantity, ratios, net price, side and name. Pure text and decimals.

The price of a structure is that of one unit in the direction of its side: legs of that side add up, the others are
taken off. A request whose legs are all SELL is a structure that is sold; any other is one that is bought.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.exchange.model import Side
from services.exchange.switches import Switches
from shared.options.symbols import OptionSymbol, parse_option_symbol

CUSTOM = "Custom"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SidedLeg(NamedTuple):
    """A leg with the side that one of both parties has in it."""

    symbol: str
    side: Side
    quantity: Decimal


def unit_quantity(quantities: Sequence[Decimal]) -> Decimal:
    """The largest quantity of which each of `quantities` is a whole multiple."""
    decimals = max(max(-int(quantity.as_tuple().exponent), 0) for quantity in quantities)
    scale = Decimal(10) ** decimals
    return Decimal(math.gcd(*(int(quantity * scale) for quantity in quantities))) / scale


def structure_side(taker_legs: Iterable[Side]) -> Side:
    """Whether a taker with these leg sides buys or sells the structure."""
    return Side.SELL if all(side is Side.SELL for side in taker_legs) else Side.BUY


def side_of_quote(request_sides: Sequence[Side], quote_side: Side) -> Side:
    """The taker's side of the structure when a quote is accepted: the request's with SELL, the opposite with BUY."""
    asked = structure_side(request_sides)
    return asked if quote_side is Side.SELL else asked.opposite


def net_price(legs: Sequence[SidedLeg], prices: Sequence[Decimal], side: Side) -> Decimal:
    """USD per unit of the structure for the party whose leg sides these are and whose side is `side`."""
    unit = unit_quantity([leg.quantity for leg in legs])
    return sum(
        (
            (price if leg.side is side else -price) * (leg.quantity / unit)
            for leg, price in zip(legs, prices, strict=True)
        ),
        Decimal(0),
    )


def name_of(legs: Sequence[SidedLeg], switches: Switches) -> str:
    """`Call`, `Call Spread`, `Call Butterfly` ... as documented; others by their usual names, or `Custom`."""
    found = _name([(parse_option_symbol(leg.symbol), leg) for leg in legs])
    documented = found.partition(" ")[2] in ("", "Spread", "Butterfly") and found.partition(" ")[0] in ("Call", "Put")
    return found if documented or switches.strategy_names == "known" else CUSTOM


def description_of(legs: Sequence[SidedLeg], switches: Switches) -> str:
    """Base, name, expiries and strikes: `BTC Call Butterfly 23 Jan 26 95000/96000/97000`."""
    options = sorted(
        (parse_option_symbol(leg.symbol) for leg in legs), key=lambda each: (each.expiry_date, each.strike)
    )
    bases = dict.fromkeys(leg.symbol.partition("USD-")[0] for leg in legs)
    padded = switches.description_day == "padded"
    dates = dict.fromkeys(_date_text(option, padded) for option in options)
    strikes = dict.fromkeys(format(option.strike, "f") for option in sorted(options, key=lambda each: each.strike))
    return f"{'/'.join(bases)} {name_of(legs, switches)} {'/'.join(dates)} {'/'.join(strikes)}"


def _date_text(option: OptionSymbol, padded: bool) -> str:
    date = option.expiry_date
    day = f"{date.day:02d}" if padded else str(date.day)
    return f"{day} {_MONTHS[date.month - 1]} {date.year % 100:02d}"


def _name(legs: list[tuple[OptionSymbol, SidedLeg]]) -> str:
    legs = sorted(legs, key=lambda pair: (pair[0].strike, pair[0].is_call, pair[0].expiry_date))
    options = [option for option, _ in legs]
    kinds = Counter(option.option_type for option in options)
    one_kind = ("Call" if "C" in kinds else "Put") if len(kinds) == 1 else ""
    expiries = {option.expiry_date for option in options}
    strikes = [option.strike for option in options]
    unit = unit_quantity([leg.quantity for _, leg in legs])
    signed = [int(leg.quantity / unit) * leg.side.sign for _, leg in legs]
    if len(legs) == 1:
        return one_kind
    if len({option.base for option in options}) > 1:
        return CUSTOM
    if len(legs) == 2 and one_kind and signed[0] == -signed[1]:
        if len(expiries) == 1:
            return f"{one_kind} Spread"
        return f"{one_kind} {'Calendar' if len(set(strikes)) == 1 else 'Diagonal'}"
    if len(expiries) > 1:
        return CUSTOM
    if len(legs) == 2 and not one_kind and abs(signed[0]) == abs(signed[1]):
        if signed[0] != signed[1]:
            return "Risk Reversal" if strikes[0] != strikes[1] else "Synthetic"
        return "Straddle" if strikes[0] == strikes[1] else "Strangle"
    if len(legs) == 3 and one_kind and signed in ([1, -2, 1], [-1, 2, -1]):
        return f"{one_kind} Butterfly"
    if len(legs) == 4 and signed in ([1, -1, -1, 1], [-1, 1, 1, -1]):
        if one_kind:
            return f"{one_kind} Condor"
        if [option.option_type for option in options] == ["P", "P", "C", "C"]:
            return "Iron Condor" if strikes[1] != strikes[2] else "Iron Butterfly"
    return CUSTOM

"""The name that traders give to a set of option legs: "iron condor", "short put", "bull call spread"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from shared.options.instruments import base_of, future_expiry_ns, instrument_kind
from shared.options.symbols import OptionType, SymbolError, parse_option_symbol

_WORDS = {"C": "call", "P": "put"}
OTHER = "other"


class _Leg(NamedTuple):
    """One option of the structure; `quantity` bought > 0, sold < 0."""

    option_type: OptionType
    strike: Decimal
    expiry: date
    quantity: Decimal

    @property
    def side(self) -> str:
        return "long" if self.quantity > 0 else "short"

    @property
    def word(self) -> str:
        return _WORDS[self.option_type]


def structure_name(legs: Iterable[tuple[str, Decimal]]) -> str:
    """What these legs are together: pairs of symbol and signed quantity (bought > 0, sold < 0).

    Legs in one symbol count once. Names are of the position: selling an iron condor for a credit is "iron condor",
    buying one "reverse iron condor". What has no name of its own is "other" with the number of its legs, and so is
    anything in more than one underlying or that is no option, except that a future or spot is named beside what it
    hedges, and two futures of one underlying on opposite sides are a "futures spread", bought when the later one is.
    """
    quantities: dict[str, Decimal] = {}
    for symbol, quantity in legs:
        quantities[symbol] = quantities.get(symbol, Decimal(0)) + quantity
    held = {symbol: quantity for symbol, quantity in quantities.items() if quantity}
    futures = [symbol for symbol in held if instrument_kind(symbol) != "option"]
    if futures and len(set(map(base_of, held))) == 1:
        if name := _futures_name({symbol: held.pop(symbol) for symbol in futures}):
            return f"{structure_name(held.items())} with {name}" if held else name
        return _other(len(held) + len(futures))
    try:
        parsed = [(parse_option_symbol(symbol), quantity) for symbol, quantity in held.items()]
    except SymbolError:
        return _other(len(held))
    if len({option.base for option, _ in parsed}) != 1:
        return _other(len(held))
    found = sorted(
        (_Leg(option.option_type, option.strike, option.expiry_date, quantity) for option, quantity in parsed),
        key=lambda leg: (leg.expiry, leg.strike, leg.option_type),
    )
    name = _NAMERS.get(len(found), _nothing)(found)
    return name or _other(len(found))


def _futures_name(held: Mapping[str, Decimal]) -> str:
    """Of futures of one underlying; "" for what has no name."""
    ordered = sorted(held, key=lambda symbol: future_expiry_ns(symbol) if "-" in symbol else math.inf)
    if len(ordered) == 1:
        kind = instrument_kind(ordered[0])
        return f"{'long' if held[ordered[0]] > 0 else 'short'} {kind}"
    if len(ordered) == 2 and "spot" not in map(instrument_kind, ordered) and held[ordered[0]] == -held[ordered[1]]:
        return f"{'long' if held[ordered[1]] > 0 else 'short'} futures spread"
    return ""


def _other(legs: int) -> str:
    return f"{OTHER}, {legs} leg{'' if legs == 1 else 's'}"


def _nothing(_: Sequence[_Leg]) -> str:
    return ""


def _one(legs: Sequence[_Leg]) -> str:
    return f"{legs[0].side} {legs[0].word}"


def _two(legs: Sequence[_Leg]) -> str:
    low, high = legs
    is_even = abs(low.quantity) == abs(high.quantity)
    if low.expiry != high.expiry:
        if low.option_type != high.option_type or low.side == high.side or not is_even:
            return ""
        return f"{high.side} {low.word} {'calendar' if low.strike == high.strike else 'diagonal'}"
    if low.option_type == high.option_type:
        if low.side == high.side:
            return ""
        if not is_even:
            return f"{low.word} ratio spread"
        # whoever owns the lower strike gains when the price rises, with calls and with puts
        return f"{'bull' if low.quantity > 0 else 'bear'} {low.word} spread"
    if not is_even:
        return ""
    call, put = (low, high) if low.option_type == "C" else (high, low)
    if call.side == put.side:
        if call.strike == put.strike:
            return f"{call.side} straddle"
        return f"{call.side} {'strangle' if put.strike < call.strike else 'guts'}"
    if call.strike == put.strike:
        return f"synthetic {call.side}"
    return f"{'long' if call.side == 'long' else 'short'} risk reversal"


def _three(legs: Sequence[_Leg]) -> str:
    if not _is_one_type(legs):
        return ""
    low, middle, high = (leg.quantity for leg in legs)
    if low == high and middle == -2 * low:
        return f"{legs[0].side} {legs[0].word} butterfly"
    return ""


def _four(legs: Sequence[_Leg]) -> str:
    if len({leg.expiry for leg in legs}) != 1 or len({abs(leg.quantity) for leg in legs}) != 1:
        return ""
    signs = [leg.quantity > 0 for leg in legs]
    if _is_one_type(legs):
        return f"{legs[0].side} {legs[0].word} condor" if signs in ([1, 0, 0, 1], [0, 1, 1, 0]) else ""
    puts = [leg for leg in legs if leg.option_type == "P"]
    calls = [leg for leg in legs if leg.option_type == "C"]
    if len(puts) != 2 or puts[0].side == puts[1].side or calls[0].side == calls[1].side:
        return ""
    if [leg.strike for leg in puts] == [leg.strike for leg in calls]:
        return "box spread" if puts[0].side != calls[0].side else ""
    if puts[1].strike > calls[0].strike or puts[0].side == calls[0].side:
        return ""
    kind = "iron butterfly" if puts[1].strike == calls[0].strike else "iron condor"
    return kind if puts[0].side == "long" else f"reverse {kind}"


def _is_one_type(legs: Sequence[_Leg]) -> bool:
    return len({(leg.option_type, leg.expiry) for leg in legs}) == 1


_NAMERS: dict[int, Callable[[Sequence[_Leg]], str]] = {1: _one, 2: _two, 3: _three, 4: _four}

"""Which leg bounds the loss of which: it is opened before that one, and closed after it."""

from __future__ import annotations

from collections.abc import Sequence

from services.execution.records import Leg


def opens_before(legs: Sequence[Leg], index: int) -> list[int]:
    """The legs of an opening that are filled before this one: what is bought before what is sold, and whatever bounds
    the loss of this one, as a put bought does that of a perpetual bought."""
    leg = legs[index]
    return [
        number
        for number, other in enumerate(legs)
        if number != index and ((leg.side == "sell" and other.side == "buy") or covers(other, leg))
    ]


def covers(leg: Leg, other: Leg) -> bool:
    """Whether a leg bounds the loss of another one, which is closed before it: a long option that of a short one of
    its type, a future bought counting as a call bought and one sold as a call sold; a long put that of a long
    future; a short future that of a short put. A long future covers a short one of another expiry."""
    one, two = leg.instrument, other.instrument
    if one.underlying != two.underlying:
        return False
    if one.option_type == "P" and not two.is_option:
        return leg.side == other.side == "buy"
    if not one.is_option and two.option_type == "P":
        return leg.side == other.side == "sell"
    return leg.side == "buy" and other.side == "sell" and one.option_type == two.option_type

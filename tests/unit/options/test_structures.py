"""The names of structures, by the legs that make them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.options.structures import structure_name


def legs(text: str) -> list[tuple[str, Decimal]]:
    """ "-1 C100, +2 P90 JUN" as symbols of one expiry, JUN of a later one."""
    found = []
    for part in text.split(", "):
        quantity, option, *later = part.split()
        expiry = "26JUN26" if later else "27MAR26"
        found.append((f"BTCUSD-{expiry}-{option[1:]}-{option[0]}", Decimal(quantity)))
    return found


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ("+1 C100", "long call"),
        ("-0.5 P100", "short put"),
        ("-1 C100, -1 P100", "short straddle"),
        ("+1 C110, +1 P90", "long strangle"),
        ("-1 C90, -1 P110", "short guts"),
        ("+1 C90, -1 C110", "bull call spread"),
        ("-1 C90, +1 C110", "bear call spread"),
        ("+1 P90, -1 P110", "bull put spread"),
        ("-1 P90, +1 P110", "bear put spread"),
        ("+1 C90, -2 C110", "call ratio spread"),
        ("+1 C100, -1 P100", "synthetic long"),
        ("-1 C110, +1 P90", "short risk reversal"),
        ("-1 C100, +1 C100 JUN", "long call calendar"),
        ("+1 P100, -1 P90 JUN", "short put diagonal"),
        ("+1 C90, -2 C100, +1 C110", "long call butterfly"),
        ("-1 P90, +2 P100, -1 P110", "short put butterfly"),
        ("+1 P80, -1 P90, -1 C110, +1 C120", "iron condor"),
        ("-1 P80, +1 P90, +1 C110, -1 C120", "reverse iron condor"),
        ("+1 P80, -1 P100, -1 C100, +1 C120", "iron butterfly"),
        ("+1 C90, -1 C100, -1 C110, +1 C120", "long call condor"),
        ("+1 C90, -1 C110, -1 P90, +1 P110", "box spread"),
        ("+1 C90, +1 C110", "other, 2 legs"),
        ("+1 P80, -1 P90, -2 C110, +2 C120", "other, 4 legs"),
        ("+1 C90, -1 C100, -1 C110", "other, 3 legs"),
    ],
)
def test_legs_have_the_name_that_traders_give_them_in_any_order(held: str, name: str) -> None:
    assert structure_name(legs(held)) == name
    assert structure_name(reversed(legs(held))) == name


def test_legs_of_one_symbol_count_once_and_what_cannot_be_named_is_other() -> None:
    assert structure_name(legs("-1 C100, -1 C100")) == "short call"
    assert structure_name([("BTCUSD", Decimal(1))]) == "long perpetual"
    assert structure_name([("BTCUSDT", Decimal(1))]) == "long spot"
    two = [("BTCUSD-27MAR26-100-C", Decimal(1)), ("ETHUSD-27MAR26-100-P", Decimal(1))]
    assert structure_name(two) == "other, 2 legs"
    assert structure_name([]) == "other, 0 legs"

"""The quick look at the decimals of a message lets through what the close look lets through, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.messages.figures import all_usual, check_decimal, check_of
from tests.hostile import WILD_DECIMALS


class Order(msgspec.Struct):
    price: Decimal
    quantity: Decimal
    average_price: Decimal | None
    name: str = ""


def refused(value: Decimal) -> bool:
    try:
        check_decimal(value, "price")
    except ValueError:
        return True
    return False


digits = st.text("0123456789", min_size=1, max_size=90)
decimals = st.builds(
    lambda sign, whole, part, power: Decimal(f"{sign}{whole}.{part}e{power}"),
    st.sampled_from(["", "-"]),
    digits,
    digits,
    st.integers(-100, 40),
)


@given(decimals | st.sampled_from(WILD_DECIMALS).map(Decimal))
@example(Decimal("0.01" + "1" * 75))
@example(Decimal("0.010" + "1" * 74))
@example(Decimal("1." + "1" * 75))
def test_what_passes_the_quick_look_would_pass_the_close_one(value: Decimal) -> None:
    assert not (all_usual((value,)) and refused(value))


@pytest.mark.parametrize("value", ["0", "0.25", "1250.5", "0.10", "110000"])
def test_prices_and_quantities_pass_the_quick_look(value: str) -> None:
    assert all_usual((Decimal(value), None))


@pytest.mark.parametrize("field", ["price", "quantity", "average_price"])
@pytest.mark.parametrize("wild", WILD_DECIMALS)
def test_one_wild_figure_among_usual_ones_is_refused_by_its_name(field: str, wild: str) -> None:
    fields = {"price": Decimal("1250.5"), "quantity": Decimal("0.25"), "average_price": None}
    check = check_of(Order)
    assert check is not None
    check(Order(**fields), "")
    with pytest.raises(ValueError, match=field):
        check(Order(**{**fields, field: Decimal(wild)}), "")

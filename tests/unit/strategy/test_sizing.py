"""Position size: the limit holds, whatever the inputs; what does not fit is 0 with its reason."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strategy import position_size

LOT = Decimal("0.01")


def test_two_per_cent_of_the_equity_by_hand() -> None:
    size = position_size(100_000, 1_500, risk_pct=2, lot_size=LOT, min_quantity=LOT)
    assert (size.quantity, size.risk_usd, size.limit_usd) == (Decimal("1.33"), pytest.approx(1_995), 2_000)


def test_both_multipliers_make_it_smaller() -> None:
    size = position_size(100_000, 1_500, risk_pct=2, lot_size=LOT, min_quantity=LOT, regime=0.5, confidence=0.5)
    assert (size.quantity, size.limit_usd) == (Decimal("0.33"), 500)


def test_it_is_never_rounded_up_to_the_smallest_order() -> None:
    size = position_size(10_000, 30_000, risk_pct=2, lot_size=LOT, min_quantity=LOT)
    assert (size.quantity, size.risk_usd) == (0, 0)
    assert size.reason == "0.01 would risk 300.00 USD, allowed are 200.00"


def test_no_equity_no_trade() -> None:
    assert position_size(-5, 100, risk_pct=2, lot_size=LOT, min_quantity=LOT).quantity == 0


def test_the_largest_quantity_is_kept_and_put_on_the_lot() -> None:
    size = position_size(
        100_000, 10, risk_pct=2, lot_size=Decimal("0.1"), min_quantity=LOT, max_quantity=Decimal("0.55")
    )
    assert size.quantity == Decimal("0.5")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("equity_usd", {"equity_usd": float("nan")}),
        ("loss_per_unit_usd", {"loss_per_unit_usd": 0.0}),
        ("loss_per_unit_usd", {"loss_per_unit_usd": float("inf")}),
        ("risk_pct", {"risk_pct": 101.0}),
        ("regime", {"regime": 1.5}),
        ("confidence", {"confidence": -0.1}),
        ("lot_size", {"lot_size": Decimal(0)}),
        ("max_quantity", {"max_quantity": Decimal("NaN")}),
    ],
)
def test_an_input_out_of_its_range_is_named(name: str, changes: dict[str, object]) -> None:
    inputs: dict[str, object] = {
        "equity_usd": 100_000.0,
        "loss_per_unit_usd": 100.0,
        "risk_pct": 2.0,
        "lot_size": LOT,
        "min_quantity": LOT,
    }
    with pytest.raises(ValueError, match=name):
        position_size(**(inputs | changes))  # type: ignore[arg-type]


@given(
    equity=st.floats(0, 1e8),
    loss=st.floats(0.01, 1e6),
    risk_pct=st.floats(0, 100),
    regime=st.floats(0, 1),
    confidence=st.floats(0, 1),
    lot=st.sampled_from(["0.001", "0.01", "0.1", "1"]),
)
def test_the_limit_holds_and_one_lot_more_would_break_it(
    equity: float, loss: float, risk_pct: float, regime: float, confidence: float, lot: str
) -> None:
    lot_size = Decimal(lot)
    size = position_size(
        equity,
        loss,
        risk_pct=risk_pct,
        lot_size=lot_size,
        min_quantity=lot_size,
        regime=regime,
        confidence=confidence,
    )
    assert size.risk_usd <= size.limit_usd <= equity * risk_pct / 100 * (1 + 1e-12)
    assert size.quantity % lot_size == 0
    assert float(size.quantity + lot_size) * loss > size.limit_usd * (1 - 1e-9)

"""Benches choose their legs on whatever day they are run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bench.quoting_load import LEGS
from bench.trader import IRON_CONDOR, nearest_options
from tests.unit.strategy.listed_chain import listed_chain

SATURDAY = datetime(2026, 11, 28, 9, tzinfo=UTC)
"""The week's expiry is less than six days away, and of the next one strikes are far apart."""


def at_ns(days: float) -> int:
    return round((SATURDAY + timedelta(days=days)).timestamp()) * 1_000_000_000


@pytest.mark.parametrize("days", range(0, 90, 3))
@pytest.mark.parametrize("wanted", [LEGS, IRON_CONDOR], ids=["quoting", "iron_condor"])
def test_no_option_is_chosen_twice(wanted: tuple[tuple[str, float], ...], days: int) -> None:
    view = listed_chain(at_ns(days))
    chosen = nearest_options(view, wanted, at_ns(days))
    assert len(set(chosen)) == len(wanted)
    instruments = [view.instrument(symbol) for symbol in chosen]
    assert [each is not None and each.option_type for each in instruments] == [kind for kind, _ in wanted]
    assert len({each.expiry_ns for each in instruments if each is not None}) == 1


def test_each_is_the_nearest_of_those_that_are_left() -> None:
    view = listed_chain(at_ns(0))
    first, second = nearest_options(view, [("C", 0.12), ("C", 0.12)], at_ns(0))
    delta = {symbol: view.value(symbol, "delta") or 0.0 for symbol in (first, second)}
    of_expiry = view.listed.is_call & (view.listed.expiries_ns == view.instrument(first).expiry_ns)  # type: ignore[union-attr]
    of_expiry &= np.isfinite(view.column("bid")) & np.isfinite(view.column("ask"))
    off = np.sort(np.abs(view.column("delta")[of_expiry] - 0.12))
    assert [abs(delta[first] - 0.12), abs(delta[second] - 0.12)] == pytest.approx(off[:2])

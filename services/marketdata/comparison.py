"""Our implied volatilities and Greeks beside the venue's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.messages.market import COMPARISON_COLUMNS
from shared.options import black76
from shared.options.implied_vol import implied_vol

F8 = NDArray[np.float64]
GREEKS = ("delta", "gamma", "vega", "theta", "rho")
VOLATILITIES = {"mark_iv": "mark", "bid_iv": "bid", "ask_iv": "ask"}
"""Implied volatilities, each with the price that it is solved from."""

COMPARED = (*VOLATILITIES, *GREEKS)


def own_greeks(columns: Mapping[str, F8], strikes: F8, years: F8, is_call: NDArray[np.bool_]) -> tuple[F8, ...]:
    """Black-76 Greeks of the venue's mark volatility and forward, each of shape (n,), in the order of GREEKS; NaN
    where either is missing."""
    ours = black76.greeks(columns["forward"], strikes, years, columns["mark_iv"], is_call)
    return ours.delta, ours.gamma, ours.vega, ours.theta, ours.rho


def own_volatilities(columns: Mapping[str, F8], strikes: F8, years: F8, is_call: NDArray[np.bool_]) -> F8:
    """Implied volatilities of mark, bid and ask, shape (3, n) in the order of VOLATILITIES; NaN for none."""
    prices = np.stack([columns[price] for price in VOLATILITIES.values()])
    return implied_vol(prices, columns["forward"], strikes, years, is_call).vol


def side_by_side(columns: Mapping[str, F8], volatilities: F8, greeks: tuple[F8, ...]) -> F8:
    """The matrix of a `ChainComparison`, shape (len(COMPARISON_COLUMNS), n). `columns` are the venue's."""
    matrix = np.stack([*volatilities, *greeks, *(columns[name] for name in COMPARED)])
    assert len(matrix) == len(COMPARISON_COLUMNS)
    return matrix.astype("<f8", copy=False)


def largest_differences(matrix: F8, tick_sizes: F8) -> dict[str, float]:
    """The largest absolute difference per name over all options; NaN where none is comparable.

    A volatility counts only where our vega (USD per volatility point) is at least one tick: elsewhere it is the
    rounding of the price that differs, not the model.
    """
    half = len(COMPARED)
    difference = np.abs(matrix[:half] - matrix[half:])
    vega = matrix[COMPARED.index("vega")]
    difference[: len(VOLATILITIES), ~(vega >= tick_sizes)] = np.nan
    largest = np.max(difference, axis=1, initial=-np.inf, where=np.isfinite(difference))
    return {
        name: float(value) if np.isfinite(value) else float("nan")
        for name, value in zip(COMPARED, largest, strict=True)
    }

"""What a structure is worth against the price of its underlying, now and at its first expiry. Arrays, pure."""

from __future__ import annotations

import numpy as np

from shared.messages.trades import LegStatus
from shared.options.black76 import price
from shared.options.implied_vol import implied_vol
from shared.options.instruments import future_expiry_ns, instrument_kind
from shared.options.symbols import NS_PER_YEAR, parse_option_symbol

_POINTS = 161
_WIDTH_MIN = 0.15


def payoff(
    legs: tuple[LegStatus, ...], marks: dict[str, float], forward: float, now_ns: int
) -> dict[str, list[float] | list[float | None] | float]:
    """P&L before fees of what the legs hold: `underlying` in USD, `at_expiry` and `now` in USD, `forward` today.

    At the first expiry later legs are worth their model price then, at the volatility of their mark, on one forward
    for all; `now` is None where a mark, and so a volatility, is missing. What was closed before is not in it.
    Futures are worth the price of the coin. Raises ValueError when no option is held, or a leg has no opening
    price.
    """
    held = [leg for leg in legs if leg.held_quantity and leg.open_price is not None]
    held.sort(key=lambda leg: instrument_kind(leg.symbol) != "option")
    symbols = [parse_option_symbol(leg.symbol) for leg in held if instrument_kind(leg.symbol) == "option"]
    if not symbols or not forward > 0:
        raise ValueError("nothing is held that has a payoff at an expiry")
    quantity = np.array([float(leg.held_quantity) * (1 if leg.side == "buy" else -1) for leg in held])
    paid = np.array([float(leg.open_price or 0) for leg in held])
    strike = np.array([float(symbol.strike) for symbol in symbols])
    is_call = np.array([symbol.is_call for symbol in symbols])
    years = np.array([max(symbol.expiry_ns - now_ns, 0) / NS_PER_YEAR for symbol in symbols])
    mark = np.array([marks.get(leg.symbol, np.nan) for leg in held[: len(symbols)]])
    vol = implied_vol(mark, np.full(len(symbols), forward), strike, years, is_call).vol
    low = min(float(strike.min()), forward)
    high = max(float(strike.max()), forward)
    width = max((high - low) * 0.6, forward * _WIDTH_MIN)
    at = np.linspace(max(low - width, 0.01), high + width, _POINTS)
    grid = at[:, None]
    dated = [leg.symbol for leg in held if instrument_kind(leg.symbol) == "future"]
    first = min([float(years.min()), *(max(future_expiry_ns(each) - now_ns, 0) / NS_PER_YEAR for each in dated)])
    left = years - first
    # beside the options, futures are worth what the coin is, at any time
    coins = np.broadcast_to(grid, (len(at), len(held) - len(symbols)))
    at_expiry = np.hstack([price(grid, strike, left, np.where(left > 0, vol, 0.0), is_call), coins])
    today = np.hstack([price(grid, strike, years, vol, is_call), coins])
    return {
        "underlying": at.round(2).tolist(),
        "at_expiry": _numbers(((at_expiry - paid) * quantity).sum(axis=1)),
        "now": _numbers(((today - paid) * quantity).sum(axis=1)),
        "forward": forward,
    }


def _numbers(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float | None]:
    return [round(value, 2) if np.isfinite(value) else None for value in values.tolist()]

"""Stress grids per unit of the options that are asked for, valued when a chain arrives and not when a grant waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from services.risk.market import MarketView
from services.risk.stress import F8, Scenarios, option_columns, unit_profits

_WANTED_NS = 60_000_000_000


class UnitGrids:
    """USD per unit long in each scenario, of the newest chain.

    An option that was asked for within the last minute is valued anew with each chain; any other when it is asked
    for. Its time to expiry is that of the valuation.
    """

    def __init__(self, scenarios: Scenarios, market: MarketView) -> None:
        self._scenarios = scenarios
        self._market = market
        self._grids: dict[str, dict[str, F8]] = {}
        self._wanted_ns: dict[str, int] = {}

    def on_chain(self, underlying: str, now_ns: int) -> None:
        """The market has taken a chain."""
        wanted = []
        for symbol in self._grids.pop(underlying, {}):
            if now_ns - self._wanted_ns[symbol] <= _WANTED_NS:
                wanted.append(symbol)
            else:
                del self._wanted_ns[symbol]
        if wanted:
            self._value(underlying, wanted, now_ns)

    def of(self, symbols: Iterable[str], now_ns: int) -> dict[str, tuple[str, F8]] | None:
        """Of each option its underlying and its grid, of shape (v, s); None where one is not known now."""
        by_underlying: dict[str, list[str]] = {}
        for symbol in symbols:
            by_underlying.setdefault(self._market.underlying_or_prefix(symbol), []).append(symbol)
        found: dict[str, tuple[str, F8]] = {}
        for underlying, part in by_underlying.items():
            if not self._market.is_fresh(underlying, now_ns):
                return None
            known = self._grids.get(underlying, {})
            if missing := [symbol for symbol in part if symbol not in known]:
                known = self._value(underlying, missing, now_ns)
            for symbol in part:
                if symbol not in known:
                    return None
                found[symbol] = underlying, known[symbol]
                self._wanted_ns[symbol] = now_ns
        return found

    def _value(self, underlying: str, symbols: Sequence[str], now_ns: int) -> dict[str, F8]:
        """All grids of the underlying, these among them where they can be had."""
        grids = self._grids.setdefault(underlying, {})
        profits = unit_profits(self._scenarios, option_columns(self._market, underlying, symbols, now_ns))
        for symbol, grid in zip(symbols, profits, strict=True):
            if np.isfinite(grid).all():
                grids[symbol] = grid
                self._wanted_ns.setdefault(symbol, now_ns)
        return grids

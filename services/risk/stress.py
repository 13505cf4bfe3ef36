"""Stressed loss: what options make if spot and volatility move at once, on a grid. Array in, array out.

An option is revalued by Black-76 (`shared.options.black76`): forward and volatility of its own expiry now, moved by
the scenario, `days` later. Its profit is model then − model now, so that a mark that differs from the model by a
constant does not count as a loss. Every expiry moves alike; skew and term structure keep their shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.risk.changes import Use, worst_loss_growth
from services.risk.config import RiskConfig
from services.risk.market import MarketView, is_delta_one
from shared.messages.trades import Grant
from shared.options.black76 import DAYS_PER_YEAR, price
from shared.options.implied_vol import implied_vol

F8 = NDArray[np.float64]
Units = Mapping[str, tuple[str, F8]]
"""Of each option its underlying and its grid per unit long."""

_NOTHING = 1e-9
_YEAR_NS = DAYS_PER_YEAR * 86_400 * 1e9


class Scenarios(msgspec.Struct, frozen=True):
    """Moves of spot and volatility as fractions, shape (s,) and (v,); the grids are (v, s)."""

    spot: F8
    vol: F8
    days: float

    @classmethod
    def of(cls, config: RiskConfig) -> Scenarios:
        return cls(np.array(config.stress_spot_pct) / 100, np.array(config.stress_vol_pct) / 100, config.stress_days)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.vol), len(self.spot)


class OptionColumns(msgspec.Struct, frozen=True):
    """What revaluing needs of n options: each of shape (n,), NaN where it is not known."""

    forward: F8
    strike: F8
    years: F8
    vol: F8
    is_call: NDArray[np.bool_]


def unit_profits(scenarios: Scenarios, options: OptionColumns) -> F8:
    """USD per unit long, shape (n, v, s); NaN where an option is not known."""
    vols, spots = scenarios.shape
    count, cells = len(options.forward), vols * spots
    # What they are worth then, a row per scenario, and in the last row what they are worth now: priced in one go.
    forward, years, vol = (np.empty((cells + 1, count)) for _ in range(3))
    np.multiply(
        options.forward, (1.0 + scenarios.spot)[:, np.newaxis], out=forward[:cells].reshape(vols, spots, count)
    )
    np.multiply(
        options.vol,
        (1.0 + scenarios.vol)[:, np.newaxis, np.newaxis],
        out=vol[:cells].reshape(vols, spots, count),
    )
    years[:cells] = np.maximum(options.years - scenarios.days / DAYS_PER_YEAR, 0.0)
    forward[cells], years[cells], vol[cells] = options.forward, options.years, options.vol
    worth = price(
        forward.ravel(),
        np.tile(options.strike, cells + 1),
        years.ravel(),
        vol.ravel(),
        np.tile(options.is_call, cells + 1),
    ).reshape(cells + 1, count)
    profits: F8 = np.ascontiguousarray((worth[:cells] - worth[cells]).T).reshape(count, vols, spots)
    return profits


def option_columns(market: MarketView, underlying: str, symbols: Sequence[str], now_ns: int) -> OptionColumns:
    """The options as the newest chain has them, and futures; NaN where unlisted or stale.

    The volatility is the chain's mark volatility, else that of the mark, else 0 where the mark is worth no more than
    its intrinsic value. Without a forward of its own an expiry moves with the index.
    """
    count = len(symbols)
    columns = OptionColumns(
        forward=np.full(count, np.nan),
        strike=np.full(count, np.nan),
        years=np.full(count, np.nan),
        vol=np.full(count, np.nan),
        is_call=np.zeros(count, dtype=np.bool_),
    )
    view = market.fresh_view(underlying, now_ns)
    if view is None:
        return columns
    # A future is worth what a call at a strike of nothing is: it moves with the index, whatever the volatility.
    futures = np.array([is_delta_one(symbol) for symbol in symbols], dtype=np.bool_)
    columns.forward[futures] = market.index(underlying)
    columns.strike[futures] = columns.years[futures] = columns.vol[futures] = _NOTHING
    columns.is_call[futures] = True
    at = np.array([view.listed.row_of.get(symbol, -1) for symbol in symbols], dtype=np.intp)
    known = at >= 0
    rows = at[known]
    forward = view.column("forward")[rows]
    forward = np.where(np.isfinite(forward), forward, market.index(underlying))
    years = np.maximum((view.listed.expiries_ns[rows] - now_ns) / _YEAR_NS, 0.0)
    strike, is_call = view.listed.strikes[rows], view.listed.is_call[rows]
    vol = view.column("mark_iv")[rows]
    missing = ~np.isfinite(vol)
    if missing.any():
        mark = view.column("mark")[rows]
        solved = implied_vol(mark[missing], forward[missing], strike[missing], years[missing], is_call[missing]).vol
        vol = vol.copy()
        vol[missing] = np.where(np.isfinite(solved), solved, np.where(np.isfinite(mark[missing]), 0.0, np.nan))
    for column, values in (
        (columns.forward, forward),
        (columns.strike, strike),
        (columns.years, years),
        (columns.vol, vol),
        (columns.is_call, is_call),
    ):
        column[known] = values
    return columns


class Stress:
    """The grids of some options, of shape (v, s) per underlying. `complete` is False where one was not known."""

    def __init__(self, scenarios: Scenarios) -> None:
        self.scenarios = scenarios
        self.grids: dict[str, F8] = {}
        self.positions: dict[str, tuple[str, F8]] = {}
        """Of each option its underlying and its own grid, where it is known."""

        self.complete = True

    @classmethod
    def of_quantities(
        cls, scenarios: Scenarios, market: MarketView, quantities: Mapping[str, float], now_ns: int
    ) -> Stress:
        """`quantities`: signed, per symbol."""
        stress = cls(scenarios)
        by_underlying: dict[str, list[str]] = {}
        for symbol, quantity in quantities.items():
            if quantity:
                by_underlying.setdefault(market.underlying_or_prefix(symbol), []).append(symbol)
        for underlying, symbols in by_underlying.items():
            profits = unit_profits(scenarios, option_columns(market, underlying, symbols, now_ns))
            profits *= np.array([quantities[symbol] for symbol in symbols])[:, np.newaxis, np.newaxis]
            known = np.asarray(np.isfinite(profits).all(axis=(1, 2)))
            stress.complete = stress.complete and bool(known.all())
            stress.grids[underlying] = profits[known].sum(axis=0)
            for symbol, grid, is_known in zip(symbols, profits, known, strict=True):
                if is_known:
                    stress.positions[symbol] = (underlying, grid)
        return stress


def stressed_loss(grids: Iterable[F8]) -> float:
    """Σ over underlyings of the loss of the worst scenario of each, ≥ 0: no underlying makes up for another."""
    return sum(max(-float(grid.min()), 0.0) for grid in grids)


def stressed_use(
    account: Stress, outstanding: Sequence[Grant], asked: Mapping[str, float], units: Units | None
) -> Use:
    """Stressed loss of the account with what was granted, without and with what is asked for (signed, per symbol).

    A grant counts where it loses and makes no room where it gains. `units` has the options of both; NaN without it.
    """
    if units is None or not account.complete:
        return Use(np.nan, np.nan, np.nan, touched=bool(asked))
    before = dict(account.grids)
    low, high = dict(account.grids), dict(account.grids)
    for grant in outstanding:
        sums: dict[str, F8] = {}
        for leg in grant.legs:
            underlying, grid = units[leg.symbol]
            profit = float(leg.max_quantity if leg.side == "buy" else -leg.max_quantity) * grid
            sums[underlying] = sums.get(underlying, 0.0) + profit
            low[underlying] = low.get(underlying, 0.0) + np.minimum(profit, 0.0)
            high[underlying] = high.get(underlying, 0.0) + np.maximum(profit, 0.0)
        for underlying, grid in sums.items():
            before[underlying] = before.get(underlying, 0.0) + np.minimum(grid, 0.0)
    added: dict[str, F8] = {}
    for symbol, quantity in asked.items():
        underlying, grid = units[symbol]
        added[underlying] = added.get(underlying, 0.0) + quantity * grid
    after = dict(before)
    change = 0.0
    for underlying, profit in added.items():
        nothing = np.zeros_like(profit)
        after[underlying] = after.get(underlying, nothing) + profit
        change += worst_loss_growth(low.get(underlying, nothing), high.get(underlying, nothing), profit)
    return Use(stressed_loss(before.values()), stressed_loss(after.values()), change, touched=bool(asked))

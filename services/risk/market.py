"""The market as risk needs it: one option at a time, and Greeks of many without touching the rest of the chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.account import PositionGreeks
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot, Instrument, InstrumentList
from shared.options.chain import ChainView, OptionList
from shared.options.instruments import instrument_kind, underlying_of

F8 = NDArray[np.float64]
GREEKS = ("delta", "gamma", "vega", "theta", "rho")
_LISTS_KEPT = 3
_BID, _ASK, _MARK = (CHAIN_COLUMNS.index(name) for name in ("bid", "ask", "mark"))
_greeks_in: Callable[[Sequence[float]], tuple[float, ...]] = itemgetter(*map(CHAIN_COLUMNS.index, GREEKS))
_UNKNOWN = (math.nan,) * len(GREEKS)
DELTA_ONE = (1.0, 0.0, 0.0, 0.0, 0.0)
"""Greeks of a future or of spot per coin: it moves with the index. Its basis is not modelled."""


def is_delta_one(symbol: str) -> bool:
    """Whether a symbol is a perpetual, a dated future or spot."""
    return instrument_kind(symbol) != "option"


class OptionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One option, future or spot, now. Prices in USD per unit; `greeks`: those of GREEKS, per unit long; NaN where
    missing."""

    instrument: Instrument
    index: float
    bid: float
    ask: float
    mark: float
    greeks: tuple[float, ...]

    @property
    def delta(self) -> float:
        return self.greeks[0]


class _Underlying:
    def __init__(self) -> None:
        self.lists: dict[str, OptionList] = {}
        self.view: ChainView | None = None
        self.index = math.nan
        self.index_received_ns = 0


class MarketView:
    """The newest chain and index of each underlying; nothing in it is older than the caller allows."""

    def __init__(self, age_max_ns: int) -> None:
        self._age_max_ns = age_max_ns
        self._underlyings: dict[str, _Underlying] = {}
        self._underlying_of: dict[str, str] = {}

    def on_list(self, listed: InstrumentList) -> None:
        part = self._part(listed.underlying)
        part.lists[listed.list_id] = OptionList(listed)
        for old in list(part.lists)[:-_LISTS_KEPT]:
            del part.lists[old]
        self._underlying_of = {
            symbol: name
            for name, known in self._underlyings.items()
            for each in known.lists.values()
            for symbol in (*each.row_of, *each.linear_of)
        }

    def on_chain(self, chain: ChainSnapshot) -> None:
        """Take a chain; one of an unknown list says nothing, and what we had ages."""
        part = self._part(chain.underlying)
        listed = part.lists.get(chain.list_id)
        if listed is None:
            return
        part.view = ChainView(chain, listed)
        if chain.index_received_ns >= part.index_received_ns:
            part.index, part.index_received_ns = chain.index_price, chain.index_received_ns

    def underlying_of(self, symbol: str) -> str | None:
        """The underlying that lists this symbol, now or a little while ago."""
        return self._underlying_of.get(symbol)

    def underlying_or_prefix(self, symbol: str) -> str:
        """The underlying that lists this symbol, else the one that its name begins with."""
        return self._underlying_of.get(symbol) or underlying_of(symbol)

    @property
    def may_list_spot(self) -> bool:
        """Whether a pair of spot is listed, or nothing is known of what is."""
        lists = [each for part in self._underlyings.values() for each in part.lists.values()]
        return not lists or any(each.spot is not None for each in lists)

    def fresh_view(self, underlying: str, now_ns: int) -> ChainView | None:
        """The newest chain, None while it is stale or missing."""
        part = self._underlyings.get(underlying)
        return part.view if part is not None and self.is_fresh(underlying, now_ns) else None

    def age_ns(self, underlying: str, now_ns: int) -> int | None:
        """Age of the oldest part of chain and index; None where one of them is missing."""
        part = self._underlyings.get(underlying)
        if part is None or part.view is None or math.isnan(part.index):
            return None
        return now_ns - min(part.view.snapshot.received_ns, part.index_received_ns)

    def symbol_age_ns(self, symbol: str, now_ns: int) -> int | None:
        """Age of what is known of one symbol: a future has one of its own. None where nothing is known of it."""
        part = self._underlyings.get(self.underlying_or_prefix(symbol))
        return None if part is None or part.view is None else now_ns - part.view.received_ns(symbol)

    def is_fresh(self, underlying: str, now_ns: int) -> bool:
        age_ns = self.age_ns(underlying, now_ns)
        return age_ns is not None and abs(age_ns) <= self._age_max_ns

    def index(self, underlying: str) -> float:
        """The newest index, NaN if there is none."""
        part = self._underlyings.get(underlying)
        return math.nan if part is None else part.index

    def option(self, symbol: str) -> OptionFacts | None:
        """The row of one option, future or pair of spot, whatever its age; None for what the current chain does not
        list."""
        for part in self._underlyings.values():
            values = None if part.view is None else part.view.values(symbol)
            instrument = None if part.view is None else part.view.instrument(symbol)
            if values is not None and instrument is not None:
                return OptionFacts(
                    instrument=instrument,
                    index=part.index,
                    bid=values[_BID],
                    ask=values[_ASK],
                    mark=values[_MARK],
                    greeks=_greeks_in(values),
                )
        return None

    def option_greeks(self, symbol: str, now_ns: int) -> tuple[float, ...]:
        """Those of GREEKS of one option or future per unit held long; NaN where unlisted, missing or stale."""
        if is_delta_one(symbol):
            return DELTA_ONE if self.is_fresh(self.underlying_or_prefix(symbol), now_ns) else _UNKNOWN
        underlying = self._underlying_of.get(symbol)
        part = None if underlying is None else self._underlyings.get(underlying)
        if underlying is None or part is None or part.view is None or not self.is_fresh(underlying, now_ns):
            return _UNKNOWN
        row = self._rows(part).get(symbol)
        return _UNKNOWN if row is None else _greeks_in(part.view.row(row))

    def greeks(self, underlying: str, symbols: Sequence[str], now_ns: int) -> F8:
        """Greeks per unit held long, shape (5, len(symbols)); NaN where unlisted, missing or stale."""
        found = self._columns(GREEKS, underlying, symbols, now_ns)
        if self.is_fresh(underlying, now_ns):
            found[:, [is_delta_one(symbol) for symbol in symbols]] = np.array(DELTA_ONE)[:, np.newaxis]
        return found

    def mark_ivs(self, underlying: str, symbols: Sequence[str], now_ns: int) -> F8:
        """Volatilities of the marks as fractions, shape (len(symbols),); NaN as for `greeks`."""
        return self._columns(("mark_iv",), underlying, symbols, now_ns).ravel()

    def _columns(self, names: Sequence[str], underlying: str, symbols: Sequence[str], now_ns: int) -> F8:
        result = np.full((len(names), len(symbols)), np.nan)
        part = self._underlyings.get(underlying)
        if part is None or part.view is None or not self.is_fresh(underlying, now_ns):
            return result
        rows = self._rows(part)
        at = np.array([rows.get(symbol, -1) for symbol in symbols], dtype=np.intp)
        known = at >= 0
        for index, name in enumerate(names):
            result[index, known] = part.view.column(name)[at[known]]
        return result

    def _part(self, underlying: str) -> _Underlying:
        return self._underlyings.setdefault(underlying, _Underlying())

    @staticmethod
    def _rows(part: _Underlying) -> Mapping[str, int]:
        return {} if part.view is None else part.view.listed.row_of


def position_greeks(values: F8) -> PositionGreeks:
    """The message form of a vector of shape (5,)."""
    return PositionGreeks(*(float(value) for value in values))

"""A chain snapshot as arrays. The only reader of `ChainSnapshot.matrix`, and its only writer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.ids import content_hash
from shared.messages.contracts import SpotSpec
from shared.messages.market import (
    CHAIN_COLUMNS,
    NEVER_NS,
    ChainSnapshot,
    FutureQuote,
    Instrument,
    InstrumentList,
    PerpetualQuote,
    SpotQuote,
)

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
_ArrayT = TypeVar("_ArrayT", F8, I8, NDArray[np.bool_])
_F8 = np.dtype("<f8")
_QUOTE_ROWS = [CHAIN_COLUMNS.index(name) for name in ("bid", "ask", "bid_size", "ask_size", "mark", "delta")]


class Quote(msgspec.Struct, frozen=True):
    """One option's or future's row of a chain; a value the venue did not give is None. USD per unit."""

    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    mark: float | None
    delta: float | None

    @property
    def mid(self) -> float | None:
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


class OptionList:
    """An instrument list and what its chains are read by: made once per list, for all its chains."""

    def __init__(self, message: InstrumentList) -> None:
        self.list_id = message.list_id
        self.instruments = message.instruments
        self.perpetual = message.perpetual
        self.futures = message.futures
        self.spot = None if message.spot is None else _spot_instrument(message.spot, message.underlying)

    @cached_property
    def future_of(self) -> Mapping[str, Instrument]:
        """The perpetual and the dated futures by symbol."""
        listed = self.futures if self.perpetual is None else (self.perpetual, *self.futures)
        return {instrument.symbol: instrument for instrument in listed}

    @cached_property
    def linear_of(self) -> Mapping[str, Instrument]:
        """The futures, and the pair of spot, by symbol."""
        return self.future_of if self.spot is None else {**self.future_of, self.spot.symbol: self.spot}

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        return {instrument.symbol: row for row, instrument in enumerate(self.instruments)}

    @cached_property
    def strikes(self) -> F8:
        return _frozen(np.array([float(instrument.strike) for instrument in self.instruments]))

    @cached_property
    def expiries_ns(self) -> I8:
        return _frozen(np.array([instrument.expiry_ns for instrument in self.instruments], dtype=np.int64))

    @cached_property
    def last_trades_ns(self) -> I8:
        return _frozen(np.array([instrument.last_trade_ns for instrument in self.instruments], dtype=np.int64))

    @cached_property
    def is_call(self) -> NDArray[np.bool_]:
        return _frozen(np.array([instrument.option_type == "C" for instrument in self.instruments], dtype=np.bool_))


class ChainView:
    """The columns of one snapshot beside its instruments. Raises ValueError when list and matrix do not belong.

    The columns are of options. What is asked for by symbol (`instrument`, `values`, `value`, `quote`) may be a
    perpetual, a dated future or the pair of spot too, whose delta is 1 and whose other Greeks are 0. The mark of spot
    is the middle of its book.
    """

    def __init__(self, snapshot: ChainSnapshot, listed: OptionList) -> None:
        if snapshot.list_id != listed.list_id:
            raise ValueError(f"chain of list {snapshot.list_id} cannot be read with list {listed.list_id}")
        shape = (len(CHAIN_COLUMNS), len(listed.instruments))
        if len(snapshot.matrix) != shape[0] * shape[1] * _F8.itemsize:
            values = len(snapshot.matrix) / _F8.itemsize
            raise ValueError(f"chain matrix of {snapshot.underlying} holds {values:g} values, not {shape}")
        self.snapshot = snapshot
        self.listed = listed
        self._matrix: F8 = np.ndarray(shape, _F8, snapshot.matrix)
        self._columns: dict[str, F8] = {}
        self._quotes: dict[str, Quote] = {}

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return self.listed.instruments

    def column(self, name: str) -> F8:
        """One column, shape (n,), read-only, NaN where missing. Raises ValueError for an unknown name."""
        column = self._columns.get(name)
        if column is None:
            column = self._matrix[CHAIN_COLUMNS.index(name)]
            if not column.flags.aligned:
                # a matrix begins anywhere in its frame, and numpy works slower on what is not at multiples of eight
                column = _frozen(column.copy())
            self._columns[name] = column
        return column

    @cached_property
    def atm_ivs(self) -> tuple[I8, F8]:
        """The implied volatility at the money of each expiry: expiries (n,) ascending, UTC ns, and fractions (n,).

        Of the call and of the put whose strikes are nearest to the forward of their expiry, the mean; expiries that
        have neither are left out.
        """
        away, vols = np.abs(self.listed.strikes - self.column("forward")), self.column("mark_iv")
        known = np.isfinite(away) & np.isfinite(vols) & (vols > 0)
        sums: dict[int, list[float]] = {}
        for kind in (self.listed.is_call, ~self.listed.is_call):
            rows = np.flatnonzero(known & kind)
            rows = rows[np.lexsort((away[rows], self.listed.expiries_ns[rows]))]
            expiries, first = np.unique(self.listed.expiries_ns[rows], return_index=True)
            for expiry, vol in zip(expiries.tolist(), vols[rows[first]].tolist(), strict=True):
                sums.setdefault(expiry, []).append(vol)
        ordered = sorted(sums)
        means = [sum(sums[expiry]) / len(sums[expiry]) for expiry in ordered]
        return np.array(ordered, dtype=np.int64), np.array(means, dtype=np.float64)

    def atm_iv(self, days: float, now_ns: int) -> float | None:
        """The implied volatility at the money in `days` of 24 h, a fraction; None where no expiry ahead has one.

        Between two expiries the total variance σ²t is linear in time; before the first and after the last of those
        ahead it is theirs.
        """
        expiries, vols = self.atm_ivs
        left = (expiries - np.int64(now_ns)) / 86_400e9
        ahead = left > 0
        if not ahead.any():
            return None
        left, vols = left[ahead], vols[ahead]
        if not left[0] < days < left[-1]:
            return float(vols[0] if days <= left[0] else vols[-1])
        return math.sqrt(float(np.interp(days, left, vols**2 * left)) / days)

    def row(self, row: int) -> list[float]:
        """All values of one option in the order of CHAIN_COLUMNS, NaN where missing: for whoever looks at a few
        options, to whom columns would cost more."""
        values: list[float] = self._matrix[:, row].tolist()
        return values

    def instrument(self, symbol: str) -> Instrument | None:
        row = self.listed.row_of.get(symbol)
        return self.listed.linear_of.get(symbol) if row is None else self.instruments[row]

    @cached_property
    def _futures(self) -> Mapping[str, PerpetualQuote | FutureQuote | SpotQuote]:
        """What is known of listed futures and of spot, by symbol."""
        listed, snapshot = self.listed, self.snapshot
        known: dict[str, PerpetualQuote | FutureQuote | SpotQuote] = {
            quote.symbol: quote for quote in snapshot.futures if quote.symbol in listed.future_of
        }
        if snapshot.perpetual is not None and listed.perpetual is not None:
            known[listed.perpetual.symbol] = snapshot.perpetual
        if snapshot.spot is not None and listed.spot is not None:
            known[listed.spot.symbol] = snapshot.spot
        return known

    def received_ns(self, symbol: str) -> int:
        """When what is shown of a symbol was received: each future and spot has an age of its own, options that of
        the oldest part of the chain."""
        quote = self._futures.get(symbol)
        return self.snapshot.received_ns if quote is None else quote.received_ns

    def values(self, symbol: str) -> list[float] | None:
        """All values in the order of CHAIN_COLUMNS, NaN where missing; None for what is not listed, and for a future
        or spot of which nothing fresh is known."""
        row = self.listed.row_of.get(symbol)
        if row is not None:
            return self.row(row)
        quote = self._futures.get(symbol)
        return None if quote is None else _future_values(quote)

    def value(self, symbol: str, column: str) -> float | None:
        """One value; None when the symbol is not listed or the value is missing or not finite."""
        row = self.listed.row_of.get(symbol)
        if row is not None:
            value = float(self.column(column)[row])
        elif (values := self.values(symbol)) is not None:
            value = values[CHAIN_COLUMNS.index(column)]
        else:
            return None
        return value if math.isfinite(value) else None

    def forward_ratio(self, symbol: str) -> float:
        """The forward of an option's expiry, the mark of a future or of spot, over the index; 1 where not known."""
        column = "forward" if symbol in self.listed.row_of else "mark"
        forward, index = self.value(symbol, column), self.snapshot.index_price
        return forward / index if forward is not None and forward > 0 and index > 0 else 1.0

    def quote(self, symbol: str) -> Quote | None:
        """The row that pricing an order needs; None when the symbol is not listed. Read once: an option is looked at
        for each order that rests in it."""
        found = self._quotes.get(symbol)
        if found is None and (values := self.values(symbol)) is not None:
            found = Quote(*(values[number] if math.isfinite(values[number]) else None for number in _QUOTE_ROWS))
            self._quotes[symbol] = found
        return found


def _frozen(array: _ArrayT) -> _ArrayT:
    """All chains of a list share it."""
    array.setflags(write=False)
    return array


def _spot_instrument(spec: SpotSpec, underlying: str) -> Instrument:
    """Coins are worth what a call of strike 0 is that never expires."""
    return Instrument(
        symbol=spec.symbol,
        underlying=underlying,
        option_type="C",
        strike=Decimal(0),
        expiry_ns=NEVER_NS,
        last_trade_ns=NEVER_NS,
        tick_size=spec.tick_size,
        lot_size=spec.lot_size,
        min_quantity=spec.min_quantity,
        max_quantity=spec.max_quantity,
    )


def _future_values(quote: PerpetualQuote | FutureQuote | SpotQuote) -> list[float]:
    given = {name: getattr(quote, name) for name in ("bid", "ask", "bid_size", "ask_size")}
    mark = (quote.bid + quote.ask) / 2 if isinstance(quote, SpotQuote) else quote.mark
    given |= {"mark": mark, "delta": 1.0, "gamma": 0.0, "vega": 0.0, "theta": 0.0, "rho": 0.0, "forward": mark}
    return [given.get(name, math.nan) for name in CHAIN_COLUMNS]


def list_id_of(
    instruments: tuple[Instrument, ...],
    perpetual: Instrument | None = None,
    spot: SpotSpec | None = None,
    futures: tuple[Instrument, ...] = (),
) -> str:
    """The content hash that names an instrument list."""
    content = (*instruments, *(each for each in (perpetual, spot) if each is not None), *futures)
    return content_hash(msgspec.msgpack.encode(content))


def matrix_bytes(matrix: F8) -> memoryview:
    """`ChainSnapshot.matrix` of an array of shape (len(CHAIN_COLUMNS), n), which is read-only from now on."""
    return _frozen(matrix).reshape(-1).view(np.uint8).data


def pack_columns(columns: Mapping[str, F8], count: int) -> memoryview:
    """Build `ChainSnapshot.matrix` from columns of shape (count,); a column that is not given is all NaN."""
    matrix = np.full((len(CHAIN_COLUMNS), count), np.nan, dtype="<f8")
    for name, values in columns.items():
        matrix[CHAIN_COLUMNS.index(name)] = values
    return matrix_bytes(matrix)


def snap_price(price: float | Decimal, tick_size: Decimal, *, up: bool) -> Decimal:
    """The one place where a float becomes an order price: the nearest tick above (`up`) or below, in plain notation.

    A value within a billionth of a tick counts as on it. Raises ValueError for a price that is not finite.
    """
    return _snap(price, tick_size, up=up)


def snap_quantity(quantity: float | Decimal, lot_size: Decimal) -> Decimal:
    """The largest multiple of the lot that is not above `quantity`, in plain notation."""
    return _snap(quantity, lot_size, up=False)


def snap_up(quantity: Decimal, lot_size: Decimal) -> Decimal:
    """The smallest multiple of the lot that is not below `quantity`, in plain notation."""
    down = snap_quantity(quantity, lot_size)
    return down if down >= quantity else down + lot_size


def _snap(value: float | Decimal, step: Decimal, *, up: bool) -> Decimal:
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        raise ValueError(f"{value} cannot be put on a grid of {step}")
    steps = exact / step
    nearest = steps.to_integral_value()
    if abs(steps - nearest) > Decimal("1e-9"):
        nearest = steps.to_integral_value("ROUND_CEILING" if up else "ROUND_FLOOR")
    return Decimal(format(nearest * step, "f"))

"""The columns of one underlying: which option is where, what was received when, and what may still be shown."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from services.marketdata import comparison
from shared.messages.contracts import SpotSpec
from shared.messages.market import CHAIN_COLUMNS, Instrument, InstrumentList
from shared.options.chain import list_id_of
from shared.options.symbols import years_to_expiry
from shared.venues.ports import ChainPush

F8 = NDArray[np.float64]
_RACE_NS = 2_000_000_000
_COLUMNS_OF_ROW = attrgetter(*CHAIN_COLUMNS)
_ROW = {name: CHAIN_COLUMNS.index(name) for name in CHAIN_COLUMNS}
_GREEK_ROWS = [_ROW[name] for name in comparison.GREEKS]
_PRICE_ROWS = [_ROW[name] for name in ("bid", "ask")]


def sorted_instruments(instruments: tuple[Instrument, ...], now_ns: int) -> tuple[Instrument, ...]:
    """Unexpired options, or futures, by expiry, strike and type: the order of columns, and of the content hash."""
    alive = (option for option in instruments if option.expiry_ns > now_ns)
    return tuple(sorted(alive, key=lambda option: (option.expiry_ns, option.strike, option.option_type)))


def is_overtaken(venue_ns: int, now_ns: int, held_venue_ns: int, held_received_ns: int) -> bool:
    """Whether a push says less than what is held: it is older by the venue's clock, and what is held is young.

    A stream and a poll race for a moment; an older stamp for longer means that the venue's clock was set back.
    """
    return venue_ns < held_venue_ns and now_ns - held_received_ns < _RACE_NS


class Columns:
    """One instrument list with its matrix, shape (len(CHAIN_COLUMNS), n), NaN where nothing was received."""

    def __init__(
        self,
        underlying: str,
        instruments: tuple[Instrument, ...],
        now_ns: int,
        perpetual: Instrument | None = None,
        spot: SpotSpec | None = None,
        futures: tuple[Instrument, ...] = (),
    ) -> None:
        self.listed = InstrumentList(
            underlying=underlying,
            list_id=list_id_of(instruments, perpetual, spot, futures),
            instruments=instruments,
            perpetual=perpetual,
            spot=spot,
            futures=futures,
        )
        self._at = {option.symbol: column for column, option in enumerate(instruments)}
        self._matrix = np.full((len(CHAIN_COLUMNS), len(instruments)), np.nan, dtype="<f8")
        self._strikes = np.array([float(option.strike) for option in instruments])
        self._expiries_ns = np.array([option.expiry_ns for option in instruments], dtype=np.int64)
        self._is_call = np.array([option.option_type == "C" for option in instruments])
        self._columns_of = {
            int(expiry): np.flatnonzero(self._expiries_ns == expiry) for expiry in np.unique(self._expiries_ns)
        }
        self._tick_sizes = np.array([float(option.tick_size) for option in instruments])
        self._open_interest = np.full(len(instruments), np.nan)
        self._interest_read_ns = np.zeros(len(instruments), dtype=np.int64)
        self.expiry_names = {option.expiry_ns: option.symbol.split("-")[1] for option in instruments}
        self._listed_ns = dict.fromkeys(self._columns_of, now_ns)
        self._received_ns = dict.fromkeys(self._columns_of, 0)
        self._venue_ns = dict.fromkeys(self._columns_of, 0)

    @property
    def expiries_ns(self) -> tuple[int, ...]:
        return tuple(self._columns_of)

    def received_ns(self, expiry_ns: int) -> int:
        """When the newest data of an expiry was received, 0 for never."""
        return self._received_ns.get(expiry_ns, 0)

    def lists(self, symbol: str) -> bool:
        return symbol in self._at

    def listed_ns(self, expiry_ns: int) -> int:
        """Since when an expiry has been listed here."""
        return self._listed_ns[expiry_ns]

    def take_over(self, earlier: Columns) -> None:
        """Keep what was received for the options that are in both lists."""
        pairs = [(self._at[symbol], column) for symbol, column in earlier._at.items() if symbol in self._at]
        if pairs:
            here, there = np.array(pairs).T
            self._matrix[:, here] = earlier._matrix[:, there]
            self._open_interest[here] = earlier._open_interest[there]
            self._interest_read_ns[here] = earlier._interest_read_ns[there]
        for expiry_ns in self._columns_of:
            self._listed_ns[expiry_ns] = earlier._listed_ns.get(expiry_ns, self._listed_ns[expiry_ns])
            self._received_ns[expiry_ns] = earlier.received_ns(expiry_ns)
            self._venue_ns[expiry_ns] = earlier._venue_ns.get(expiry_ns, 0)

    def take(self, push: ChainPush, now_ns: int) -> int:
        """Replace one expiry by a push, unless a newer one has just been taken. Returns how many of its options are
        not listed."""
        columns = self._columns_of.get(push.expiry_ns)
        if columns is None:
            return len(push.rows)
        if is_overtaken(push.venue_ns, now_ns, self._venue_ns[push.expiry_ns], self._received_ns[push.expiry_ns]):
            return 0
        at = np.array([self._at.get(row.symbol, -1) for row in push.rows], dtype=np.intp)
        known = at >= 0
        self._matrix[:, columns] = np.nan
        if known.any():
            flat = np.fromiter(chain.from_iterable(map(_COLUMNS_OF_ROW, push.rows)), np.float64)
            values = flat.reshape(len(push.rows), len(CHAIN_COLUMNS)).T
            values[~np.isfinite(values)] = np.nan
            for row in _PRICE_ROWS:
                prices = values[row]
                prices[prices <= 0.0] = np.nan
            self._matrix[:, at[known]] = values[:, known]
        self._received_ns[push.expiry_ns] = now_ns
        self._venue_ns[push.expiry_ns] = push.venue_ns
        return int(len(push.rows) - known.sum())

    def take_open_interest(self, push: ChainPush, now_ns: int) -> None:
        """Keep the open interest that was read apart from the stream, whose own is 0."""
        known = [(self._at[row.symbol], row.open_interest) for row in push.rows if row.symbol in self._at]
        if known:
            at = np.array([column for column, _ in known], dtype=np.intp)
            values = np.array([value for _, value in known])
            values[~(np.isfinite(values) & (values >= 0.0))] = np.nan
            self._open_interest[at] = values
            self._interest_read_ns[at] = now_ns

    def forget_times(self, now_ns: int) -> None:
        """Nothing that was received counts as fresh any more, and every expiry as listed from now on."""
        self._received_ns = dict.fromkeys(self._received_ns, 0)
        self._listed_ns = dict.fromkeys(self._listed_ns, now_ns)

    def shown(self, now_ns: int, age_max_ns: int, interest_age_max_ns: int) -> tuple[F8, int, int] | None:
        """The matrix with stale expiries missing, the receipt of its oldest part, and the venue's newest time; None
        when every expiry is stale. Open interest that was read apart stands before what was pushed, as long as it is
        no older than `interest_age_max_ns`."""
        fresh = [e for e, received in self._received_ns.items() if received and now_ns - received <= age_max_ns]
        if not fresh:
            return None
        matrix = self._matrix.copy()
        usable = np.isfinite(self._open_interest) & (now_ns - self._interest_read_ns <= interest_age_max_ns)
        np.copyto(matrix[_ROW["open_interest"]], self._open_interest, where=usable)
        for expiry_ns in self._columns_of.keys() - set(fresh):
            matrix[:, self._columns_of[expiry_ns]] = np.nan
        return matrix, min(self._received_ns[e] for e in fresh), max(self._venue_ns[e] for e in fresh)

    def put_own_greeks(self, matrix: F8, now_ns: int) -> None:
        """Put ours in place of the venue's where volatility and forward are known."""
        years = years_to_expiry(now_ns, self._expiries_ns)
        own = comparison.own_greeks(_named(matrix), self._strikes, years, self._is_call)
        for at, values in zip(_GREEK_ROWS, own, strict=True):
            np.copyto(matrix[at], values, where=np.isfinite(values))

    def compare(self, matrix: F8, now_ns: int) -> tuple[F8, dict[str, float]]:
        """Our figures beside those of `matrix`, which must be the venue's: the matrix of a `ChainComparison`, and the
        largest difference per name."""
        columns, years = _named(matrix), years_to_expiry(now_ns, self._expiries_ns)
        greeks = comparison.own_greeks(columns, self._strikes, years, self._is_call)
        volatilities = comparison.own_volatilities(columns, self._strikes, years, self._is_call)
        both = comparison.side_by_side(columns, volatilities, greeks)
        return both, comparison.largest_differences(both, self._tick_sizes)


def _named(matrix: F8) -> dict[str, F8]:
    return dict(zip(CHAIN_COLUMNS, matrix, strict=True))

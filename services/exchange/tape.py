"""The public tape: trades of others with the market makers, a pure function of (seed, option, step).

Random numbers are hashes of option, minute and ordinal, so that any stretch of the past can be had again, also after
a restart, an option that nobody asks about costs nothing, and asking changes nothing. A trade takes the makers' best
price of its step, at most its size. Clients' orders do not meet the tape: they trade with the makers' ladders.

How often an option trades: a Poisson number per minute, whose mean falls with the distance of the strike from the
index and with the time to expiry. The index counts as it was at the start of its chunk, which is known without
drawing the chunk. Prices are integer ticks and sizes integer lots here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from services.exchange.config import TapeConfig
from services.exchange.ladder import Tops, uniform
from services.exchange.listing import NS_PER_DAY, Listing
from services.exchange.market import NS_PER_YEAR, IndexPath
from services.exchange.model import F8, I8
from services.exchange.settlement import SUSPENDED_BEFORE_EXPIRY_NS

MINUTE_NS = 60_000_000_000
PER_MINUTE_MAX = 8
BLOCK_CELLS = 100_000
# A trade is at most as far from the index as it is likely to matter: standard deviations at this volatility.
REACH_VOL = 0.5
TENOR_DAYS = 4.0
MIN_YEARS = 1.0 / 8_760.0
POPULARITY_DISPERSION = 0.6
SIZE_DISPERSION = 1.0
_POPULARITY, _COUNT, _OFFSET, _SIDE, _LOTS, _LOW_BITS = range(11, 17)

TopsAt = Callable[[I8, I8], Tops]
"""The makers' best quotes of some rows of the listing, each at its own step; arrays (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prints:
    """Trades in the order in which they happened, arrays (n,). `row` is that of the listing, `side_is_buy` the
    taker's side, `low_bits` what tells the ids of trades of one millisecond apart."""

    row: I8
    step: I8
    ticks: I8
    lots: I8
    side_is_buy: NDArray[np.bool_]
    low_bits: I8

    def __len__(self) -> int:
        return len(self.step)

    def slice(self, first: int, end: int) -> "Prints":
        return Prints(
            self.row[first:end],
            self.step[first:end],
            self.ticks[first:end],
            self.lots[first:end],
            self.side_is_buy[first:end],
            self.low_bits[first:end],
        )


_NO_INTS: I8 = np.zeros(0, dtype=np.int64)
NO_PRINTS = Prints(_NO_INTS, _NO_INTS, _NO_INTS, _NO_INTS, np.zeros(0, dtype=np.bool_), _NO_INTS)


class Tape:
    """The tape of one base. Rows are those of the listing at the time of the call."""

    def __init__(
        self, config: TapeConfig, listing: Listing, path: IndexPath, tops_at: TopsAt, origin_ns: int, step_ns: int
    ) -> None:
        self._config = config
        self._listing = listing
        self._path = path
        self._tops_at = tops_at
        self._origin_ns = origin_ns
        self._step_ns = step_ns

    def prints(self, rows: I8, first_step: int, end_step: int) -> Prints:
        """Trades of some options in the steps [first_step, end_step)."""
        first_step = max(first_step, 0)
        if end_step <= first_step or not len(rows) or not self._config.trades_per_hour:
            return NO_PRINTS
        first = (self._origin_ns + first_step * self._step_ns) // MINUTE_NS
        last = (self._origin_ns + (end_step - 1) * self._step_ns) // MINUTE_NS
        width = max(BLOCK_CELLS // len(rows), 1)
        parts = [
            self._candidates(rows, np.arange(start, min(start + width, last + 1)))
            for start in range(first, last + 1, width)
        ]
        row, minute, ordinal = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return self._priced(row, minute, ordinal, first_step, end_step)

    def newest(self, row: int, end_step: int, first_step: int, count: int) -> Prints:
        """The last `count` trades of one option before `end_step`, none before `first_step`; oldest first."""
        span = max(NS_PER_DAY // 6 // self._step_ns, 1)
        rows = np.array([row], dtype=np.int64)
        start, found = end_step, NO_PRINTS
        while len(found) < count and start > first_step:
            # Older stretches are asked for in growing pieces: an option that hardly trades is soon looked through.
            start, before = max(start - span, first_step), start
            older = self.prints(rows, start, before)
            found = _joined(older, found) if len(found) else older
            span *= 4
        return found.slice(max(len(found) - count, 0), len(found))

    def _candidates(self, rows: I8, minutes: I8) -> tuple[I8, I8, I8]:
        """(row, minute, ordinal in the minute) of trades that may happen, before quotes are looked at."""
        listing, at_ns = self._listing, minutes * MINUTE_NS
        keys = listing.keys[rows]
        popularity = np.exp(POPULARITY_DISPERSION * ndtri(uniform(keys, _POPULARITY)))
        most = self._config.trades_per_hour / 60.0 * popularity
        # Means are largest at the money and near expiry: cells that would not trade even so need no closer look.
        bound = most / self._tenor(listing.expiry_ns[rows] - at_ns[-1])
        drawn = uniform(keys[:, None], _COUNT, minutes[None, :])
        at_row, at_minute = np.nonzero(drawn > np.exp(-bound)[:, None])
        drawn = drawn[at_row, at_minute]
        opens = self._path.chunk_opens(np.maximum((at_ns - self._origin_ns) // self._step_ns, 0))
        distance = listing.log_strike[rows][at_row] - opens[at_minute]
        left_ns = listing.expiry_ns[rows][at_row] - at_ns[at_minute]
        variance = REACH_VOL**2 * np.maximum(left_ns / NS_PER_YEAR, MIN_YEARS)
        mean = most[at_row] * np.exp(-distance * distance / (2.0 * variance)) / self._tenor(left_ns)
        counts = _poisson(drawn, mean)
        total = int(counts.sum())
        ordinal = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows[np.repeat(at_row, counts)], minutes[np.repeat(at_minute, counts)], ordinal

    @staticmethod
    def _tenor(left_ns: I8) -> F8:
        """How many times less an option trades that expires later."""
        result: F8 = 1.0 + np.maximum(left_ns, 0) / (TENOR_DAYS * NS_PER_DAY)
        return result

    def _priced(self, row: I8, minute: I8, ordinal: I8, first_step: int, end_step: int) -> Prints:
        """Those of the candidates that find a quote, in order."""
        listing, keys = self._listing, self._listing.keys[row]
        steps_per_minute = MINUTE_NS // self._step_ns
        offset = (uniform(keys, _OFFSET, minute, ordinal) * steps_per_minute).astype(np.int64)
        step = (minute * MINUTE_NS - self._origin_ns) // self._step_ns + offset
        at_ns = self._origin_ns + step * self._step_ns
        happens = (step >= first_step) & (step < end_step) & (at_ns >= listing.listed_ns[row])
        happens &= at_ns < listing.expiry_ns[row] - SUSPENDED_BEFORE_EXPIRY_NS
        order = np.nonzero(happens)[0]
        order = order[np.lexsort((ordinal[order], keys[order], step[order]))]
        row, minute, ordinal, step, keys = row[order], minute[order], ordinal[order], step[order], keys[order]
        if not len(row):
            return NO_PRINTS
        tops = self._tops_at(row, step)
        is_buy = uniform(keys, _SIDE, minute, ordinal) < 0.5
        ticks = np.where(is_buy, tops.ask_ticks, tops.bid_ticks)
        normal = ndtri(uniform(keys, _LOTS, minute, ordinal))
        wanted = np.maximum(np.rint(self._config.trade_lots * np.exp(SIZE_DISPERSION * normal)), 1.0)
        lots = np.minimum(wanted.astype(np.int64), np.where(is_buy, tops.ask_lots, tops.bid_lots))
        low_bits = (uniform(keys, _LOW_BITS, minute) * (1 << 18)).astype(np.int64) * PER_MINUTE_MAX + ordinal
        quoted = ticks > 0
        return Prints(
            row=row[quoted],
            step=step[quoted],
            ticks=ticks[quoted],
            lots=lots[quoted],
            side_is_buy=is_buy[quoted],
            low_bits=low_bits[quoted],
        )


def _poisson(drawn: F8, mean: F8) -> I8:
    """Poisson quantiles of `drawn`, at most PER_MINUTE_MAX."""
    counts = np.zeros(len(drawn), dtype=np.int64)
    term = np.exp(-mean)
    below = term.copy()
    for number in range(1, PER_MINUTE_MAX + 1):
        counts += drawn > below
        term = term * mean / number
        below += term
    return counts


def _joined(older: Prints, newer: Prints) -> Prints:
    return Prints(
        np.concatenate([older.row, newer.row]),
        np.concatenate([older.step, newer.step]),
        np.concatenate([older.ticks, newer.ticks]),
        np.concatenate([older.lots, newer.lots]),
        np.concatenate([older.side_is_buy, newer.side_is_buy]),
        np.concatenate([older.low_bits, newer.low_bits]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class DayFigures:
    """What the tape of the current UTC day says about each listed option, arrays (n,); ticks 0 and lots 0 mean
    nothing yet. `last_ticks` and `last_step` (-1: none) also know the day before."""

    lots: I8
    lot_ticks: I8
    high_ticks: I8
    low_ticks: I8
    last_ticks: I8
    last_step: I8


class TapeDay:
    """`DayFigures` at the current step, brought forward by what was printed since they were last asked for."""

    def __init__(self, tape: Tape, listing: Listing, path: IndexPath, origin_ns: int, step_ns: int) -> None:
        self._tape = tape
        self._listing = listing
        self._path = path
        self._moves = 0
        self._origin_ns = origin_ns
        self._step_ns = step_ns
        self._figures: DayFigures | None = None
        self._symbols: tuple[str, ...] = ()
        self._day = -1
        self._done = 0
        self._ahead = NO_PRINTS
        self._ahead_end = 0

    def at(self, step: int) -> DayFigures:
        """The figures at `step`, which is usually that of the last call or later."""
        day = (self._origin_ns + step * self._step_ns) // NS_PER_DAY
        if self._figures is None or step + 1 < self._done or day > self._day + 1:
            self._start(day)
        elif self._symbols is not self._listing.symbols:
            self._carry()
        if self._moves != self._path.moves:
            # An operator moved the market: what was drawn ahead of it was priced without.
            self._moves = self._path.moves
            self._ahead, self._ahead_end = NO_PRINTS, self._done
        if day > self._day:
            # What is left of the day before comes first, so that its volume does not count for the new one.
            self._count_until(self._step_of(day * NS_PER_DAY))
            self._turn(day)
        self._count_until(step + 1)
        assert self._figures is not None
        return self._figures

    def _step_of(self, at_ns: int) -> int:
        return max(at_ns - self._origin_ns, 0) // self._step_ns

    def _start(self, day: int) -> None:
        """Nothing known: begin with the day before."""
        self._figures = _no_figures(len(self._listing.symbols))
        self._symbols = self._listing.symbols
        self._day = day - 1
        self._done = self._step_of(self._day * NS_PER_DAY)
        self._ahead_end = self._done

    def _turn(self, day: int) -> None:
        """A new day: volumes and extremes begin anew, last prices older than the day before are forgotten."""
        assert self._figures is not None
        fresh = _no_figures(len(self._symbols))
        kept = self._figures.last_step >= self._step_of((day - 1) * NS_PER_DAY)
        fresh.last_ticks[kept] = self._figures.last_ticks[kept]
        fresh.last_step[kept] = self._figures.last_step[kept]
        self._figures = fresh
        self._day = day

    def _carry(self) -> None:
        """The list changed: figures go with their options, new ones have none."""
        assert self._figures is not None
        row_of = {symbol: row for row, symbol in enumerate(self._symbols)}
        pairs = [(row, row_of[symbol]) for row, symbol in enumerate(self._listing.symbols) if symbol in row_of]
        carried = _no_figures(len(self._listing.symbols))
        if pairs:
            new, old = (np.array(rows) for rows in zip(*pairs, strict=True))
            for name in DayFigures.__slots__:
                getattr(carried, name)[new] = getattr(self._figures, name)[old]
        self._figures = carried
        self._symbols = self._listing.symbols
        self._ahead, self._ahead_end = NO_PRINTS, self._done

    def _count_until(self, end_step: int) -> None:
        """Count the trades of the steps before `end_step` that are not counted yet."""
        while self._done < end_step:
            if self._done >= self._ahead_end:
                self._look_ahead(end_step)
            end = min(end_step, self._ahead_end)
            count = int(np.searchsorted(self._ahead.step, end))
            if count:
                self._count(self._ahead.slice(0, count))
                self._ahead = self._ahead.slice(count, len(self._ahead))
            self._done = end

    def _look_ahead(self, end_step: int) -> None:
        """Draw what is wanted and the rest of its last minute at once."""
        end_ns = self._origin_ns + end_step * self._step_ns
        self._ahead_end = max((-(-end_ns // MINUTE_NS) * MINUTE_NS - self._origin_ns) // self._step_ns, end_step)
        self._ahead = self._tape.prints(np.arange(len(self._symbols)), self._done, self._ahead_end)

    def _count(self, prints: Prints) -> None:
        figures = self._figures
        assert figures is not None
        np.add.at(figures.lots, prints.row, prints.lots)
        np.add.at(figures.lot_ticks, prints.row, prints.lots * prints.ticks)
        np.maximum.at(figures.high_ticks, prints.row, prints.ticks)
        low = figures.low_ticks
        low[low == 0] = np.iinfo(np.int64).max
        np.minimum.at(low, prints.row, prints.ticks)
        low[low == np.iinfo(np.int64).max] = 0
        # Of several trades of one option the last one counts: assignment goes in order.
        figures.last_ticks[prints.row] = prints.ticks
        figures.last_step[prints.row] = prints.step


def _no_figures(size: int) -> DayFigures:
    lots, lot_ticks, high, low, last = (np.zeros(size, dtype=np.int64) for _ in range(5))
    return DayFigures(lots, lot_ticks, high, low, last, np.full(size, -1, dtype=np.int64))
